"""Work in a thread of its own: an exception in the main thread stops it, and waits for its end."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client.errors import ServiceUnavailable
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.utils import worker_thread as module
from airflow_provider_modelarts.utils.worker_thread import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


class Alarm(BaseException):
    """As Airflow's, which no ``except Exception`` catches."""


@pytest.fixture
def strike() -> Iterator[Callable[[], None]]:
    """Raises an alarm in the main thread, from any."""

    def sound(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, sound)
    yield lambda: os.kill(os.getpid(), signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


def until(should_stop: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not should_stop():
        pause.wait(0.001)


def test_what_the_work_returns_is_returned_and_it_sees_this_threads_context() -> None:
    VARIABLE.set("of the task")
    assert run_in_thread(
        lambda: (VARIABLE.get(), threading.current_thread() is threading.main_thread()), StopSignal()
    ) == ("of the task", False)


@pytest.mark.parametrize("error", [ServiceUnavailable("down"), Alarm(), KeyError("a bug")])
def test_what_the_work_raises_is_raised_here(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        run_in_thread(work, StopSignal())
    assert raised.value is error


def test_a_stop_from_outside_reaches_the_work() -> None:
    stop = StopSignal()

    def work() -> bool:
        before = stop.is_set()
        stop.request()
        return before or not stop.is_set()

    assert run_in_thread(work, stop) is False


@pytest.mark.parametrize("fails", [False, True])
def test_an_alarm_stops_the_work_and_is_raised_when_that_has_ended(strike: Callable[[], None], fails: bool) -> None:
    stop = StopSignal()
    ended: list[str] = []

    def work() -> None:
        strike()
        until(stop.is_set)
        ended.append("counts")
        if fails:
            raise ServiceUnavailable("down")

    with pytest.raises(Alarm):
        run_in_thread(work, stop)
    assert ended == ["counts"]


def test_work_that_does_not_end_is_not_waited_for_for_ever(
    strike: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    may_end = threading.Event()
    ended: list[bool] = []

    def work() -> None:
        strike()
        ended.append(may_end.wait(60))

    with pytest.raises(Alarm):
        run_in_thread(work, StopSignal())
    assert ended == []
    may_end.set()
