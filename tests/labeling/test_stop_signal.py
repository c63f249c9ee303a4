"""One object says that nothing further may be written."""

from __future__ import annotations

import threading

from airflow_provider_modelarts.labeling.stop_signal import StopSignal


def test_an_end_by_an_error_is_no_request() -> None:
    stop = StopSignal()
    assert not stop.is_set()
    stop.abort()
    assert (stop.is_set(), stop.is_requested()) == (True, False)
    stop.request()
    assert (stop.is_set(), stop.is_requested()) == (True, True)


def test_one_yes_of_the_caller_counts_for_good() -> None:
    answers = iter([False, True])
    stop = StopSignal(lambda: next(answers))
    assert [stop.is_set() for _ in range(4)] == [False, True, True, True]


def test_who_asks_waits_until_it_is_decided() -> None:
    stop, found, asks = StopSignal(), [], threading.Event()

    def ask() -> None:
        asks.set()
        found.append(stop.is_set())

    writer = threading.Thread(target=ask)
    with stop.undecided():
        writer.start()
        assert asks.wait(5)
        assert found == []
        stop.request()
    writer.join(5)
    assert found == [True]
