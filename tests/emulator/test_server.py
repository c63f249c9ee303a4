"""The server in a thread of its own."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from airflow_provider_modelarts.emulator import Emulator
from tests.emulator.conftest import Caller


def test_it_starts_and_stops_quickly_and_keeps_its_address() -> None:
    emulator = Emulator()
    begin = time.monotonic()
    emulator.start()
    assert time.monotonic() - begin < 5  # a hang, not a measurement
    url = emulator.url
    dataset_id = emulator.load_proposals(3)
    with pytest.raises(RuntimeError, match="runs already"):
        emulator.start()
    emulator.stop()
    emulator.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "modelarts-emulator"]
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)
    with emulator:
        assert emulator.url == url
        assert len(Caller(emulator, dataset_id).walk()) == 3


def test_two_at_once() -> None:
    with Emulator() as one, Emulator(seed=1) as other:
        assert one.url != other.url
        assert one.project_id != other.project_id
