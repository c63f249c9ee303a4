"""What the operators' tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operators.bureau import Bureau
from tests.operators.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def bureau(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> Bureau:
    return Bureau(emulator, moved_clock, tmp_path)


@pytest.fixture
def scene(emulator: Emulator, moved_clock: MovedClock) -> Scene:
    return Scene(emulator, moved_clock)
