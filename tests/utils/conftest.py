"""What the tests of start, retry and clear share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.utils.task_life import TaskLife

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def begin(emulator: Emulator, moved_clock: MovedClock) -> Callable[..., TaskLife]:
    """Begin a task's life on a dataset whose labeling tasks take five minutes."""
    emulator.task_seconds = 300
    return partial(TaskLife, emulator, moved_clock, emulator.load_digits(labeled=100))
