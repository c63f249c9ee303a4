"""What the operators' tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operators.runners import ConfirmRunner, StartRunner

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> ConfirmRunner:
    return ConfirmRunner(emulator, moved_clock, tmp_path)


@pytest.fixture
def starter(emulator: Emulator, moved_clock: MovedClock) -> StartRunner:
    return StartRunner(emulator, moved_clock)
