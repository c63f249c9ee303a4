"""Carries something out in a thread of its own, so that an alarm cannot tear it.

Airflow's alarm (``execution_timeout``) and Ctrl-C raise their exception in the main thread, between any two
instructions: also in the middle of noting what was written, or of a question to Airflow's supervisor, whose later
answers would then be taken for answers to other questions. So the main thread only waits. What strikes there asks the
work to stop, and what had been done by then goes along with the exception.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds: work that was asked to stop ends with the answers to what is under way, which have a time-out each."""


def run_in_thread(work: Callable[[], T], stop: StopSignal) -> T:
    """Carry out some work in a thread, and wait for it.

    :param work: what to do; once ``stop`` is set it must come to an end by itself
    :param stop: requested by what strikes here
    :return: what the work returns
    :raises BaseException: what the work raises; and what strikes here, with what the work then came to attached as
        ``result``: what it returned, or what its own error carries. Nothing is attached if it does not end in time
    """
    job = _Job(work)
    try:
        threading.Thread(target=copy_context().run, args=(job.run,), name="modelarts-work", daemon=True).start()
        job.ended.wait()
    except BaseException as struck:
        stop.request()
        if job.ended.wait(PATIENCE):
            result = getattr(job.error, "result", None) if job.error else job.results[0]
            struck.result = result  # type: ignore[attr-defined]  # whoever raised it knows nothing of the work
        raise
    if job.error is not None:
        raise job.error
    return job.results[0]


class _Job(Generic[T]):
    """What a thread does, and what it came to."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.ended = threading.Event()
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do it; to be called once."""
        try:
            self.results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self.error = error
        finally:
            self.ended.set()
