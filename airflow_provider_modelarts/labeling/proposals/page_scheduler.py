"""Reads the list of proposals once: pages are read ahead, and dealt with from the last to the first (B14).

A page is dealt with when every page above it has been answered; its writes then go out while lower pages are read.
What is confirmed leaves the list behind the reader, so lower pages do not move.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.proposals.page_order import Numbered
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
from airflow_provider_modelarts.labeling.stop_signal import StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_modelarts.client import Page
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.proposals.page_order import ListBounds
    from airflow_provider_modelarts.labeling.proposals.worker_pool import ConcurrencyLimiter, WorkerPool

AHEAD = 2
"""Pages per thread that are read ahead: enough that no thread is idle, few enough that no page grows old."""


class PageScheduler:
    """Schedules page reads on a worker pool. Follow-up work (writes) runs before further reads.

    :param pool: carries the requests
    :param pace: how many may be in flight
    :param read: asks for the page of a number
    :param deal_with: called for each page in turn; returns the jobs that follow from it
    :param stop: once it is requested nothing further is read or dealt with. Jobs that are ready are still started,
        because they account for what they do not send. The first error aborts it
    """

    def __init__(
        self,
        pool: WorkerPool,
        pace: ConcurrencyLimiter,
        read: Callable[[int], Page[SampleRow]],
        deal_with: Callable[[Numbered], Iterable[WorkItem[Any]]],
        stop: StopSignal,
    ) -> None:
        self._pool = pool
        self._pace = pace
        self._read = read
        self._deal_with = deal_with
        self._stop = stop
        self._ready: deque[WorkItem[Any]] = deque()
        self._answered: dict[int, Page[SampleRow]] = {}
        self._unread = self._due = -1
        self._error: Exception | None = None

    def steps(self, last: Numbered | None = None, jobs: Iterable[WorkItem[Any]] = ()) -> Iterator[None]:
        """Read down from the last page, until all that follows has been done; yields after each answer.

        :param last: the last page, read already
        :param jobs: to be done first
        :raises Exception: the first error, after everything in flight has been accounted for
        """
        self._ready.extend(jobs)
        if last is not None:
            self._unread, self._due = last.number - 1, last.number
            self._answer(last.number, last.page)
            yield
        while True:
            self._hand_out()
            if not self._pool.busy:
                break
            job = self._pool.finished()
            try:
                self._follow(job.conclude())
            except Exception as error:  # noqa: BLE001 - raised again when nothing is in flight any more
                self._error = self._error or error
                self._stop.abort()
            yield
        if self._error is not None:
            raise self._error

    def _hand_out(self) -> None:
        while self._pool.busy < self._pace.allowed:
            job = self._next()
            if job is None:
                return
            self._pool.start(job)

    def _next(self) -> WorkItem[Any] | None:
        if self._ready:
            return self._ready.popleft()
        ahead = len(self._answered) + self._pool.busy
        if self._unread < 0 or ahead >= AHEAD * self._pace.allowed or not self._goes_on():
            return None
        number = self._unread
        self._unread -= 1
        return WorkItem(partial(self._read, number), partial(self._answer, number))

    def _answer(self, number: int, page: Page[SampleRow]) -> Iterable[WorkItem[Any]]:
        self._answered[number] = page
        while self._due in self._answered and self._goes_on():
            self._follow(self._deal_with(Numbered(self._due, self._answered.pop(self._due))), last=True)
            self._due -= 1
        return ()

    def _follow(self, jobs: Iterable[WorkItem[Any]], *, last: bool = False) -> None:
        """Put jobs in line: behind the others if they come from a page, before them if they continue a job."""
        if last:
            self._ready.extend(jobs)
        else:
            self._ready.extendleft(reversed(list(jobs)))

    def _goes_on(self) -> bool:
        return self._error is None and not self._stop.is_requested()


def pages_ahead(pool: WorkerPool, pace: ConcurrencyLimiter, bounds: ListBounds) -> Iterator[Page[SampleRow]]:
    """Read the list once, from its last page to its first; for reading alone.

    :param pool: carries the requests; nobody else may use it until all pages are read
    :param pace: how many may be in flight
    :param bounds: of the list
    :raises ModelArtsError: if a page cannot be read
    """
    waiting: deque[Page[SampleRow]] = deque()

    def take(numbered: Numbered) -> Iterable[WorkItem[Any]]:
        waiting.append(numbered.page)
        return ()

    for _ in PageScheduler(pool, pace, bounds.pages.page, take, StopSignal()).steps(bounds.last):
        while waiting:
            yield waiting.popleft()


class ListCountMonitor:
    """Whether the list's count is what this run's own writes make it, or others change the list as well.

    While writes are in flight the count may be anything between two bounds.

    :param total: the count before the first write of this pass
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self.written = 0
        self.under_way = 0
        self.disturbed = False

    def look(self, page: Page[SampleRow], written_before: int) -> None:
        """Compare the count of an answer.

        :param page: the answer, just taken in
        :param written_before: samples known to be written when it was asked for
        """
        most, least = self._total - written_before, self._total - self.written - self.under_way
        self.disturbed = self.disturbed or page.total is None or not least <= page.total <= most
