"""Threads that send requests for one thread that decides, and how many of them may do so at once."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

log = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
PIECE = 1.0
"""Seconds: who asks for a stop shall not wait for the end of a long pause."""


class WorkItem(Generic[Result]):
    """A request to send in a thread of the pool, and what to do with its answer in the thread that decides.

    :param work: sends the request
    :param then: deals with the answer, and returns the jobs that follow from it
    """

    def __init__(self, work: Callable[[], Result], then: Callable[[Result], Iterable[WorkItem[Any]]]) -> None:
        self._work = work
        self._then = then
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Send the request; an error is kept for the thread that decides."""
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again by conclude
            self._error = error

    def conclude(self) -> Iterable[WorkItem[Any]]:
        """Deal with the answer; raise what the request raised."""
        if self._error is not None:
            raise self._error
        return self._then(self._results.pop())


class WorkerPool:
    """A pool of threads; one other thread starts jobs and takes them out again, in the order in which they end.

    The standard library's pool makes a future and takes several locks for each job, which costs more than a job's own
    work on a page.

    :param size: threads at most
    """

    def __init__(self, size: int) -> None:
        self._threads: list[threading.Thread] = []
        self._waiting: SimpleQueue[WorkItem[Any] | None] = SimpleQueue()
        self._ended: SimpleQueue[WorkItem[Any]] = SimpleQueue()
        self.size = size
        self.busy = 0
        """Jobs started and not taken out."""

    def start(self, job: WorkItem[Any]) -> None:
        """Start a job, in this thread's context: its log lines belong to the same Airflow task."""
        self._waiting.put(job)
        self.busy += 1
        if self.busy > len(self._threads) < self.size:
            name = f"modelarts-confirm_{len(self._threads)}"
            thread = threading.Thread(target=copy_context().run, args=(self._work,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)  # not before: one that could not start must not be waited for

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            job.run()
            self._ended.put(job)

    def finished(self) -> WorkItem[Any]:
        """Wait until a job ends, and return it."""
        job = self._ended.get()
        self.busy -= 1
        return job

    def close(self) -> None:
        """Wait until the threads have ended; jobs that have not begun are dropped."""
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()


class ConcurrencyLimiter:
    """How many requests may be in flight: halved when the service throttles, grown back by one per round without.

    :param most: the number of threads
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._allowed = float(most)
        self._held_until = 0.0
        self._shrunk_at = -1.0
        self._in_a_row = 0

    @property
    def allowed(self) -> int:
        """Requests that may be in flight at once."""
        return max(1, int(self._allowed))

    def went_well(self) -> None:
        """Note an answer without throttling."""
        if self._allowed < self._most or self._in_a_row:
            with self._lock:
                self._in_a_row = 0
                self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def throttled(self, asked_at: float, retry_after: float | None) -> None:
        """Note that the service asked for fewer requests.

        :param asked_at: when the request went out: those that were in flight together count once
        :param retry_after: seconds that the service wants to be left alone, if it says so
        """
        now = self._clock.now()
        with self._lock:
            if asked_at > self._shrunk_at:
                self._shrunk_at = now
                self._allowed = max(1.0, self._allowed / 2)
                pause = min(FIRST_PAUSE * 2**self._in_a_row, LONGEST_PAUSE)
                self._in_a_row = min(self._in_a_row + 1, 8)
                self._held_until = max(self._held_until, now + pause)
                log.info("The service throttles; at most %d requests at once from now on.", self.allowed)
            if retry_after is not None:
                self._held_until = max(self._held_until, now + retry_after)

    def wait(self, stop: StopSignal | None = None) -> None:
        """Wait as long as the service wants to be left alone; a stop ends the wait."""
        while (left := self._held_until - self._clock.now()) > 0 and (stop is None or not stop.is_set()):
            self._clock.sleep(min(left, PIECE))
