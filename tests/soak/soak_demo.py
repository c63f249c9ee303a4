"""The demo's Airflow, ended by each signal that may end it."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.test_demo import check_ui


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ui(number: signal.Signals, record_property: Any) -> None:
    begin = time.monotonic()
    check_ui(number)
    record_property("story", f"{time.monotonic() - begin:.0f} s")
