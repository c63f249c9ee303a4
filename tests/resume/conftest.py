"""What the tests of resuming share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.resume.life import Life

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def begin(emulator: Emulator, moved_clock: MovedClock) -> Callable[..., Life]:
    """Begin a task's life on a dataset whose labeling tasks take five minutes."""
    emulator.task_seconds = 300
    return partial(Life, emulator, moved_clock, emulator.load_digits(labeled=100))
