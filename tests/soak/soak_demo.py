"""The demo's Airflow, ended by each signal that may end it, and beside another that has taken its port."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from demo.airflow_processes import AirflowProcessError, AirflowProcesses
from tests.e2e.support import processes_of
from tests.test_demo import check_ui

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ui(number: signal.Signals, record_property: Any) -> None:
    begin = time.monotonic()
    check_ui(number)
    record_property("story", f"{time.monotonic() - begin:.0f} s")


def test_another_airflow_on_the_port_is_not_taken_for_its_own(tmp_path: Path) -> None:
    with AirflowProcesses(tmp_path / "first") as first:
        second = AirflowProcesses(tmp_path / "second", port=first.port)
        with pytest.raises(AirflowProcessError, match="api-server ended"):
            second.start()
        first.check_alive()
    assert processes_of(tmp_path / "second") == []
