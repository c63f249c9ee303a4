"""The record that an Airflow task keeps of its labeling task, and the intent that the record belongs to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow_provider_modelarts.utils.task_state import TaskKey

if TYPE_CHECKING:
    from airflow.sdk import Context

Phase = Literal["starting", "started", "ending", "awaited"]

RECORD_KEY = "modelarts_label_task"
"""Key of the record in the task's state store, or among its XComs."""

_REQUIRED_FIELDS = frozenset({"phase", "dataset_id", "marker", "fingerprint", "deadline"})


class TaskIntent(NamedTuple):
    """Identifies one Airflow task in one run. Retries share the intent, a clear makes another one.

    A clear changes ``max_tries``; the clear of a finished run also changes the run's start. The start tells apart runs
    of the same name: those of two Airflow installations, or a run that was deleted and created again.

    :param task: 10 hex digits that stand for dag, run, task and map index
    :param start: 6 hex digits that stand for the start of the run
    :param max_tries: as Airflow has it
    :param is_cleared: whether anything in the run was ever cleared, so that the run may have had another start
    :param run_started: epoch seconds at which the run began, after its last clear; None: not known
    """

    task: str
    start: str
    max_tries: int
    is_cleared: bool
    run_started: float | None = None

    @classmethod
    def of(cls, context: Context) -> TaskIntent:
        """Return the intent of the task that a context belongs to."""
        ti, dag_run = context["ti"], context["dag_run"]
        started = dag_run.start_date.astimezone(UTC) if dag_run.start_date else None
        task = _digest([*TaskKey.of(ti)])
        start = _digest([task, started.isoformat() if started else None])
        is_cleared = bool(dag_run.clear_number)
        return cls(task[:10], start[:6], ti.max_tries, is_cleared, started.timestamp() if started else None)

    @property
    def marker(self) -> str:
        """The text that goes into the name of this intent's labeling task."""
        return f"af-{self.task}{self.start}-{self.max_tries}"

    def is_before_a_clear(self, marker: str) -> bool:
        """Return whether a marker belongs to the same Airflow task in the same run, before a clear."""
        of_this_run = f"af-{self.task}" if self.is_cleared else f"af-{self.task}{self.start}-"
        return marker.startswith(of_this_run) and marker != self.marker


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class LabelTaskRecord:
    """What an Airflow task knows about its labeling task. Stored as JSON.

    :param phase: ``starting``: the start request is about to be sent; ``started``: the Airflow task ends with this
        labeling task; ``ending``: it is being stopped, the next step is decided when it is over; ``awaited``: no
        labeling task of this Airflow task is known, at most one of somebody else that is in the way
    :param marker: of the intent that the record belongs to
    :param fingerprint: of the inputs that the record belongs to
    :param deadline: epoch seconds at which the try gives up
    :param ours: whether this Airflow task has certainly started it; others are never stopped
    :param known: ids of the labeling tasks that were listed before the start
    :param adopted: whether somebody else has started it and ``if_running`` is ``adopt``
    """

    phase: Phase
    dataset_id: str
    marker: str
    fingerprint: str
    deadline: float
    label_task_id: str = ""
    ours: bool = True
    known: tuple[str, ...] = ()
    adopted: bool = False

    @classmethod
    def from_json(cls, value: object) -> LabelTaskRecord | None:
        """Return the record that was stored; None for anything else."""
        if not isinstance(value, dict) or not _REQUIRED_FIELDS.issubset(value):
            return None
        names = {field.name for field in fields(cls)}
        given = {name: part for name, part in value.items() if name in names}
        return cls(**{**given, "known": tuple(given.get("known") or ())})

    @property
    def is_known_to_exist(self) -> bool:
        """Whether this Airflow task has started it and waits for its end: a single "not found" proves nothing."""
        return self.phase == "started" and not self.adopted

    @property
    def may_be_stopped(self) -> bool:
        """Whether this Airflow task has certainly started it and waits for its end."""
        return self.ours and self.phase == "started"


class TaskStore:
    """Keeps what a task knows in its state store, which outlives tries, or else as XComs, which do not.

    Both are written through the task's supervisor. A zombie process has lost its supervisor, so its write fails, and it
    starts and stops nothing: the next try may already be running beside it.
    """

    def __init__(self, context: Context) -> None:
        self._ti: Any = context["ti"]
        self._state_store: Any = context.get("task_state_store")

    @property
    def outlives_tries(self) -> bool:
        """Whether a later try finds what this one stores."""
        return self._state_store is not None

    def get(self, key: str) -> Any:
        """Return what is stored under a key, or None; without a state store only what this try has stored is found."""
        if self._state_store is not None:
            return self._state_store.get(key)
        task = TaskKey.of(self._ti)
        return self._ti.xcom_pull(task_ids=task.task_id, key=key, map_indexes=task.map_index)

    def set(self, key: str, value: Any) -> None:
        """Store JSON under a key."""
        if self._state_store is not None:
            self._state_store.set(key, value)
        else:
            self.push_xcom(key, value)

    def push_xcom(self, key: str, value: Any) -> None:
        """Push an XCom of the task."""
        self._ti.xcom_push(key=key, value=value)


class RecordStore(TaskStore):
    """Keeps the record of a task's labeling task."""

    last_written: LabelTaskRecord | None = None
    """The record that this process has written last, or tried to; known without asking Airflow."""

    def read(self) -> LabelTaskRecord | None:
        """Return the stored record; without a state store only one of this try is found."""
        return LabelTaskRecord.from_json(self.get(RECORD_KEY))

    def write(self, record: LabelTaskRecord) -> None:
        """Replace the stored record."""
        self.last_written = record
        self.set(RECORD_KEY, {**asdict(record), "known": list(record.known)})
