"""What the triggers' tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.triggers.watch_timeline import MINUTE, WatchTimeline

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def timeline(moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> WatchTimeline:
    return WatchTimeline(moved_clock, monkeypatch)


@pytest.fixture
def dataset(emulator: Emulator, moved_clock: MovedClock) -> str:
    emulator.task_seconds = MINUTE
    return emulator.load_digits(labeled=100)
