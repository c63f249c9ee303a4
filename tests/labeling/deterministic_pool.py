"""A crew whose threads take turns: one runs at a time, and who goes on at each request is drawn from a seed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
    from tests.labeling.simulated_process import SimulatedProcess


class _Worker:
    def __init__(self, job: WorkItem[Any]) -> None:
        self.job = job
        self.is_begun = self.is_over = False
        self.sleeps_until = 0.0
        self.error: BaseException | None = None
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def go_on(self) -> None:
        """Run until it gives way or ends."""
        if not self.is_begun:
            self.is_begun = True
            self._thread.start()
        self._mine.release()
        self._theirs.acquire()

    def give_way(self) -> None:
        self._theirs.release()
        self._mine.acquire()

    def _run(self) -> None:
        self._mine.acquire()
        try:
            self.job.run()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self.error = error
        self.is_over = True
        self._theirs.release()


class DeterministicPool:
    """Stands in for the crew; the same seed gives the same story, at any number of threads."""

    def __init__(self, size: int, process: SimulatedProcess, rng: random.Random) -> None:
        self.size = size
        self.busy = 0
        self._rng = rng
        self._workers: list[_Worker] = []
        self._running: _Worker | None = None
        self._clock = process.clock
        process.give_way = self._give_way
        process.clock.suspend = self._suspend

    def start(self, job: WorkItem[Any]) -> None:
        self.busy += 1
        self._workers.append(_Worker(job))
        assert self.busy <= self.size

    def finished(self) -> WorkItem[Any]:
        while True:
            worker = self._next()
            self._let_go_on(worker)
            if worker.is_over:
                self._workers.remove(worker)
                self.busy -= 1
                if worker.error is not None:
                    raise worker.error
                return worker.job

    def close(self) -> None:
        self._workers = [worker for worker in self._workers if worker.is_begun]
        while self._workers:
            # Time passes here too: one may be waiting out a pause.
            worker = self._next()
            self._let_go_on(worker)
            if worker.is_over:
                self._workers.remove(worker)

    def _next(self) -> _Worker:
        """Draw one of those who are awake; if all sleep, time passes until the first one wakes."""
        wakes = min(worker.sleeps_until for worker in self._workers)
        self._clock.time = max(self._clock.time, wakes)
        awake = [worker for worker in self._workers if worker.sleeps_until <= self._clock.time]
        return self._rng.choice(awake)

    def _let_go_on(self, worker: _Worker) -> None:
        self._running = worker
        worker.go_on()
        self._running = None

    def _give_way(self) -> None:
        if self._running is not None:
            self._running.give_way()

    def _suspend(self, until: float) -> bool:
        if self._running is None:
            return False
        self._running.sleeps_until = until
        self._running.give_way()
        return True
