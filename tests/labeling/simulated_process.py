"""Simulated processes that confirm: they die or freeze at any instant, and take turns with each other.

An instant lies before and after every request and every object that is stored. All processes of a simulation share one
clock, one emulator and one object storage; each has its own client, its own crew, and its own watcher.
"""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tests.labeling.in_process_transport import client_of
from tests.labeling.invariants import Killed, Violation
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from airflow_provider_modelarts.emulator import Emulator
    from tests.labeling.simulation import Simulation

_HERE = threading.local()


class SimulatedClock:
    """The emulator's frozen clock, as one process sees it."""

    def __init__(self, emulator: Emulator) -> None:
        self._clock = emulator.clock
        self.suspend: Callable[[float], bool] = lambda until: False

    @property
    def time(self) -> float:
        return self._clock.now()

    @time.setter
    def time(self, time: float) -> None:
        self._clock.advance(max(time - self._clock.now(), 0.0))

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        until = self.time + max(seconds, 0.0)
        if not self.suspend(until):
            self.time = until


class SimulatedProcess:
    """One process.

    :param simulation: what it belongs to
    :param work: what it does; returns its result
    :param undoes: it takes a confirmation back
    :param killed_at: the instant at which it dies; None: it does not
    :param frozen_at: the instant at which it stops for a while, with all its threads
    """

    def __init__(
        self,
        simulation: Simulation,
        work: Callable[[SimulatedProcess], Any],
        *,
        undoes: bool = False,
        killed_at: int | None = None,
        frozen_at: int | None = None,
    ) -> None:
        self.undoes = undoes
        self.simulation = simulation
        simulation.processes += 1
        self.name = f"process {simulation.processes}"
        self.clock = SimulatedClock(simulation.emulator)
        self.client = client_of(simulation.emulator, self.clock, self._carry)
        self.give_way: Callable[[], None] = lambda: None
        self.killed_at, self.frozen_at = killed_at, frozen_at
        self.is_dead = self.is_stopped = self.is_frozen = self.is_over = False
        self.instants = 0
        self.result: Any = None
        self.error: BaseException | None = None
        self.counts: Callable[[], Any] = lambda: None
        """Returns the counts of a confirmation that an error ended."""
        self.shown: dict[str, list[tuple[float, int, dict[str, Any]]]] = {}
        """What reads have shown, the oldest first: when, before which event, and what."""
        self.allowed: dict[str, int] = {}
        """For each sample sent the event before which the read was that allowed it."""
        self.sent: set[str] = set()
        self._work = work
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._takes_turns = False
        # With the real pool one thread at a time is on its way, so that all stand still when one is frozen. Threads
        # that take turns would wait for each other.
        self.one_at_a_time: Any = threading.RLock() if simulation.setup.threads else nullcontext()

    @staticmethod
    def here() -> SimulatedProcess:
        """Return the process whose main thread this is."""
        process: SimulatedProcess = _HERE.process
        return process

    def run(self) -> None:
        """Run to the end in this thread."""
        _HERE.process = self
        try:
            self.result = self._work(self)
        except BaseException as error:  # noqa: BLE001 - judged by the simulation
            self.error = error
            if isinstance(error, Violation):
                # Of real threads no second run does the same again.
                error.add_note("\n".join([str(self.simulation.setup), *self.simulation.told]))
        self.is_over = True

    def go_on(self) -> None:
        """Run in a thread of its own until the next instant at which it gives way, or to the end."""
        if not self._takes_turns:
            self._takes_turns = True
            self._thread.start()
        self._mine.release()
        self._theirs.acquire()

    def _run(self) -> None:
        self._mine.acquire()
        self.run()
        self._theirs.release()

    def instant(self, what: str) -> None:
        """Die here, or freeze, or let others go on, as the simulation has it."""
        self._check()
        self.instants += 1
        if self.instants == self.killed_at:
            self.simulation.tell(f"{self.name} is killed {what}")
            self.simulation.note(f"killed {what}")
            self.is_dead = self.simulation.had_unended_try = True
        if self.instants == self.frozen_at:
            self.simulation.tell(f"{self.name} is frozen {what}")
            self.simulation.note(f"frozen {what}")
            if self.simulation.setup.has_plan and self.simulation.plan is None:
                self.simulation.note("frozen while it plans")
            self.is_frozen = self.simulation.had_unended_try = True
        if self._takes_turns and not self.is_dead:
            self._theirs.release()
            self._mine.acquire()
        self._check()

    def _check(self) -> None:
        if self.is_dead:
            raise Killed

    def _carry(
        self, request: requests.PreparedRequest, have_answered: Callable[[], requests.Response]
    ) -> requests.Response:
        """Carry one request; everything that may happen beside it happens here."""
        kind = kind_of(request)
        self._check()
        if kind == "token":
            return self._carry_token(have_answered)
        with self.one_at_a_time:
            return self._carry_in_turn(kind, request, have_answered)

    def _carry_token(self, have_answered: Callable[[], requests.Response]) -> requests.Response:
        # Asked for under a lock of the client: whoever gave way now would never go on.
        simulation = self.simulation
        with simulation.world:
            self.clock.time += simulation.token_takes()
            if not simulation.setup.threads:
                simulation.run_due_events(self, "token")
            return have_answered()

    def _carry_in_turn(
        self, kind: str, request: requests.PreparedRequest, have_answered: Callable[[], requests.Response]
    ) -> requests.Response:
        simulation = self.simulation
        self._check()
        at, event = self.clock.now(), simulation.events
        simulation.watcher.check_sent(self, kind, request, at)
        self.give_way()
        self.clock.sleep(simulation.latency())
        self._check()
        with simulation.world:
            simulation.run_due_events(self, kind)
        self.instant(f"before {kind}")
        try:
            with simulation.world:
                response = simulation.as_answered(kind, simulation.watcher.watch(self, kind, request, have_answered))
        finally:
            self.instant(f"after {kind}")
            self.give_way()
            self._check()
        simulation.tell(
            f"{self.name} {kind} {request.path_url.rpartition('/')[2]}: {response.status_code}", request.body
        )
        simulation.watcher.check_read(self, kind, request, response, (at, event))
        return response


def kind_of(request: requests.PreparedRequest) -> str:
    """Return what a request is for."""
    method, path = request.method, request.path_url.partition("?")[0]
    if "auth/tokens" in path:
        return "token"
    if "auto-annotations/samples" in path:
        return "page" if path.endswith("/samples") else "proposal"
    if "data-annotations/samples" in path:
        return "write" if method == "PUT" else "final"
    return "status"


class ProcessStorage(Bucket):
    """Object storage as one process reaches it: what it stores appears whole or, if it dies, not at all."""

    def __init__(self, name: str, objects: dict[str, bytes], process: SimulatedProcess | None) -> None:
        super().__init__(name, objects)
        self._process = process

    def __truediv__(self, name: str) -> ProcessStorage:
        return ProcessStorage(f"{self}/{name}", self.objects, self._process)

    @property
    def parent(self) -> ProcessStorage:
        return ProcessStorage(str(self).rpartition("/")[0], self.objects, self._process)

    def open(self, mode: str = "rb") -> Any:
        if mode != "rb" and self._process is not None:
            with self._process.one_at_a_time:
                self._process.simulation.run_due_events(self._process, "store")
                self._process.instant("before store")
                self._process.simulation.let_storage_fail()
            # Parts of a ledger are small: they go out in one request.
            fails_halfway = str(self).endswith("plan.jsonl") and self._process.simulation.fails_halfway()
            return _MortalUpload(self, self._process, super().open(mode), fails_halfway=fails_halfway)
        return super().open(mode)


class _MortalUpload:
    def __init__(self, place: ProcessStorage, process: SimulatedProcess, upload: Any, *, fails_halfway: bool) -> None:
        self._place, self._process, self._upload = place, process, upload
        self._fails_halfway = fails_halfway

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> int:
        if self._fails_halfway:
            self._upload.write(data[: len(data) // 2])  # what s3fs then publishes when it is closed
            raise OSError("the storage does not answer any more")
        written: int = self._upload.write(data)
        return written

    def flush(self) -> None:
        pass

    def close(self) -> None:
        if self._process.is_dead:
            io.BytesIO.close(self._upload)  # or it would publish what it has when it is collected
            return
        with self._process.one_at_a_time:
            self._upload.close()
            self._process.instant("after store")
