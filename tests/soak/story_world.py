"""What one story has: an emulator of its own, a run of a DAG, and hands to act with."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.emulator import Emulator
from tests.support.contract import ContractCheck

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Record
    from demo.airflow_processes import AirflowProcesses

TASK_ID = "job"
JOB_SECONDS = 1800.0
"""How long a labeling task takes by the emulator's clock: longer than any story, so that only the story ends it."""

LOOK_EVERY = 1.0
"""Seconds between two looks at a condition: a dozen stories at once ask one API server."""

PATIENCE = 180.0
"""Seconds until a story gives up waiting for what must happen: the machine may be slow, and no result depends on it."""

START_WAYS = ("start_deferred", "start_waiting")
SENSOR_WAYS = ("sensor_deferred", "sensor_poke", "sensor_reschedule")
"""Ways of waiting, as the names of the stories' DAGs have them."""

LABELED = 60
OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class StoryError(AssertionError):
    """The story took another course than it must."""


@dataclass
class StoryWorld:
    """One outcome of one story.

    :param name: distinguishes its connection from those of stories told beside it
    :param folder: shared with the Airflow task, which finds its gates there and leaves its errors
    :param ended: set when the whole run is given up
    """

    airflow: AirflowProcesses
    name: str
    folder: Path
    ended: threading.Event
    emulator: Emulator = field(default_factory=lambda: Emulator(seed=7, task_seconds=JOB_SECONDS))
    check: ContractCheck = field(default_factory=ContractCheck)
    notes: list[str] = field(default_factory=list)
    dag_id: str = ""
    run_id: str = ""
    label_task_id: str = ""
    team_task_id: str = ""
    is_begun: bool = False
    """Whether its run was asked for."""

    # --- life

    @contextlib.contextmanager
    def alive(self) -> Iterator[StoryWorld]:
        """Serve the emulator while the story is told; afterwards its exchanges must have kept to the contract."""
        self.folder.mkdir(parents=True)
        self.emulator.observers.append(self.check)
        with self.emulator:
            self.dataset_id = self.emulator.load_digits(labeled=LABELED)
            try:
                yield self
            finally:
                self._end_leftovers()
        if self.check.problems:
            raise StoryError("against the contract: " + "; ".join(self.check.problems[:5]))

    def _end_leftovers(self) -> None:
        """End a run whose story was cut short: its tasks would hold workers that other stories need."""
        for gate in self.folder.glob("*.reached"):
            gate.with_suffix(".open").touch()
        with contextlib.suppress(OSError):
            if self.run_id and self.run_state() not in ("success", "failed"):
                self.airflow.mark_run(self.dag_id, self.run_id, "failed")

    def begin(self, dag_id: str, *, connection: dict[str, Any] | None = None, **conf: Any) -> None:
        """Start a run of a DAG against this world's emulator, or with another connection."""
        conn_id = f"modelarts_{self.name}"
        self.airflow.add_connection(conn_id, connection or self.emulator.connection)
        self.dag_id = dag_id
        self.is_begun = True
        self.run_id = self.airflow.trigger(
            dag_id, {"dataset_id": self.dataset_id, "conn_id": conn_id, "folder": str(self.folder), **conf}
        )

    def begin_way(self, setting: str, way: str) -> None:
        """Start a run of the DAG of a setting and a way of waiting; for a sensor start a job to wait for first."""
        if way.startswith("sensor"):
            self.label_task_id = self.start_as_somebody_else()
        self.begin(f"{setting}_{way}", label_task_id=self.label_task_id)

    def client(self) -> ModelArtsClient:
        """Return a client of its own, of the same user."""
        credentials = PasswordCredentials(
            self.emulator.url,
            self.emulator.user,
            self.emulator.password,
            self.emulator.domain,
            project_name=self.emulator.project_name,
        )
        return ModelArtsClient(self.emulator.url, credentials)

    def start_as_somebody_else(self) -> str:
        """Start a labeling task that no Airflow task knows of; return its id."""
        with self.client() as client:
            task_id: str = client.tasks.start(self.dataset_id)
        return task_id

    # --- waiting

    def until(
        self, condition: Callable[[], Any], complaint: str, within: float = PATIENCE, *, every: float = LOOK_EVERY
    ) -> Any:
        """Wait until ``condition`` holds, and return what it gave; look every so many seconds.

        :raises StoryError: it does not hold in time
        """
        deadline = time.monotonic() + within
        while True:
            if self.ended.is_set():
                raise StoryError("the run was given up")
            self.airflow.check_alive()
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise StoryError(f"{complaint} after {within:.0f} s; {self.situation()}")
            self.ended.wait(every)

    def until_before_the_end(self, condition: Callable[[], Any], complaint: str) -> Any:
        """Wait as :meth:`until`, and give up at once if the task is over."""

        def holds() -> Any:
            value = condition()
            if not value and self.state() in ("failed", "success", "skipped"):
                value = condition()
                if not value:
                    raise StoryError(f"{complaint}, and the task is over; {self.situation()}")
            return value

        return self.until(holds, complaint)

    def situation(self) -> str:
        """Return what is known, for a complaint."""
        instances = self.airflow.task_instances(self.dag_id, self.run_id)
        tries = Counter((instance["state"], instance["try_number"]) for instance in instances)
        told = ", ".join(f"{number} {state} in try {tried}" for (state, tried), number in tries.items())
        return (
            f"tasks: {told}; jobs {self.jobs}, "
            f"starts {len(self.starts)}, stops {len(self.stops)}, looks {self.looks}, errors {self.errors}"
        )

    # --- Airflow's side

    def instance(self) -> dict[str, Any]:
        return self.airflow.task_instance(self.dag_id, self.run_id, TASK_ID)

    def state(self) -> str | None:
        state: str | None = self.instance()["state"]
        return state

    def tries(self) -> int:
        number: int = self.instance()["try_number"]
        return number

    def run_state(self) -> str:
        return self.airflow.run_state(self.dag_id, self.run_id)

    def process(self) -> psutil.Process | None:
        """Return the process that runs the task now, if there is one."""
        return self.airflow.task_process(self.instance()["id"])

    def caught_process(self, complaint: str) -> psutil.Process:
        """Return the process that runs this try as soon as there is one: it may live for a second only."""
        ti_id = self.instance()["id"]
        process: psutil.Process = self.until(lambda: self.airflow.task_process(ti_id), complaint, every=0.05)
        return process

    @property
    def errors(self) -> list[str]:
        """Names of the exceptions that ended the task, one for each failure that no retry followed."""
        file = self.folder / "errors"
        return file.read_text().split() if file.exists() else []

    def task_log(self) -> str:
        """Return what workers and triggerers have written into the task's log."""
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        return "".join(file.read_text(errors="replace") for file in sorted(folder.rglob("*")) if file.is_file())

    def result(self) -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, TASK_ID)

    # --- the service's side

    @property
    def jobs(self) -> dict[str, int]:
        """Status of each labeling task that was really started, oldest first."""
        return self.emulator.dataset(self.dataset_id).tasks

    @property
    def starts(self) -> list[Record]:
        """Requests that asked for a start, and were not refused."""
        return self.emulator.journal.select("POST", match=lambda it: it.path.endswith("/tasks") and it.status < 300)

    @property
    def stops(self) -> list[Record]:
        return self.emulator.journal.select("POST", match=lambda it: it.path.endswith("/stop"))

    def stops_of(self, label_task_id: str) -> list[Record]:
        return [record for record in self.stops if f"/{label_task_id}/" in record.path]

    @property
    def looks(self) -> int:
        """How often somebody has asked for the state of a labeling task."""
        return len(self.emulator.journal.select("GET", f"/{self.dataset_id}/tasks/"))

    def let_the_job_end(self) -> None:
        """Move the service's time to where every labeling task of now is over."""
        self.emulator.clock.advance(JOB_SECONDS + 1)

    # --- courses that many stories share

    def want_gate(self, point: str) -> None:
        """Let the next task that comes by ``point`` stand still there."""
        (self.folder / f"{point}.wanted").touch()

    def at_gate(self, point: str) -> None:
        """Wait until a task stands at ``point``."""
        self.until_before_the_end((self.folder / f"{point}.reached").exists, f"no task has come to {point!r}")

    def open_gate(self, point: str) -> None:
        (self.folder / f"{point}.open").touch()

    def until_waiting(self) -> None:
        """Wait until the task waits where it is meant to: deferred, or in its worker, and has looked at its job."""
        deferred = "deferred" in self.dag_id
        wanted = {True: "deferred", False: "running"}[deferred]
        if "reschedule" in self.dag_id:
            wanted = "up_for_reschedule"
        # A sensor looks once before it defers.
        least = 2 if "sensor" in self.dag_id else 1
        self.until_before_the_end(
            lambda: self.looks >= least and (self.state() == wanted or "reschedule" in self.dag_id),
            f"the task is not {wanted}",
        )

    def until_looked_again(self, times: int = 1) -> None:
        """Wait until somebody has looked at the labeling task ``times`` more."""
        wanted = self.looks + times
        self.until_before_the_end(lambda: self.looks >= wanted, "nobody looks at the labeling task any more")

    def until_stopped(self, label_task_id: str) -> None:
        """Wait until a stop of the labeling task was sent; note how long it took."""
        begin = time.monotonic()
        self.until(lambda: self.stops_of(label_task_id), "the labeling task was not stopped", 90)
        self.notes.append(f"stopped after {time.monotonic() - begin:.1f} s")

    def until_over(self) -> None:
        """Wait until the run is over."""
        self.until(lambda: self.run_state() in ("success", "failed"), "the run is not over")

    def ends_well(self, *, jobs: int = 1, stops: int = 0) -> None:
        """The run succeeds as if nothing had happened: so many jobs, so many stops, and the last job's result."""
        self.until_over()
        expect(self.run_state() == "success", "the run has not succeeded", self)
        expect(len(self.jobs) == jobs, f"there are not {jobs} jobs", self)
        # The journal takes a request in when it is answered, which one that is delayed may not be yet.
        self.until(lambda: len(self.starts) >= jobs, f"there are not {jobs} starts")
        expect(len(self.starts) == jobs, f"there are not {jobs} starts", self)
        expect(len(self.stops) == stops, f"there are not {stops} stops", self)
        if "start" in self.dag_id:
            expect(self.result() == list(self.jobs)[-1], f"the result {self.result()} is not the last job", self)
        else:
            expect(self.result()["state"] == 3, f"the result {self.result()} is no success", self)


def expect(condition: object, complaint: str, world: StoryWorld) -> None:
    """Hold a condition of a story.

    :raises StoryError: it does not hold; the complaint tells how things stand
    """
    if not condition:
        raise StoryError(f"{complaint}; {world.situation()}")


def kill(process: psutil.Process) -> None:
    """End a process by SIGKILL, unless it has just ended by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
