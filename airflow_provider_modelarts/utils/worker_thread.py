"""Runs work in a separate thread, so that execution_timeout cannot interrupt it half-way.

Airflow's ``execution_timeout`` and Ctrl-C raise their exception in the main thread, between any two instructions: also
while a write is being recorded, or between a question to Airflow's supervisor and its answer, which would then be taken
for the answer to the next question. So the main thread only waits.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that interrupted work gets to finish its requests in flight; each of them has a timeout of its own."""


def run_in_thread(work: Callable[[], T], stop: StopSignal) -> T:
    """Run some work in a thread, and wait for it.

    :param work: what to do; once ``stop`` is requested, it must end by itself
    :param stop: requested when an exception interrupts the waiting
    :return: what the work returns
    :raises BaseException: what the work raises; or what interrupts the waiting, once the work has ended or
        :data:`PATIENCE` is over
    """
    ended = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)
        finally:
            ended.set()

    try:
        threading.Thread(target=copy_context().run, args=(run,), name="modelarts-work", daemon=True).start()
        ended.wait()
    except BaseException:
        stop.request()
        ended.wait(PATIENCE)
        raise
    if errors:
        raise errors[0]
    return results[0]
