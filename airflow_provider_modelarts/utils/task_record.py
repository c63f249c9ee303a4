"""What an Airflow task remembers of its labeling task: who it is, what was about to happen, and where that is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from airflow.sdk import Context

Phase = Literal["starting", "started", "ending", "awaited"]

MEMORY_KEY = "modelarts_label_task"
"""Under which the record is kept, in the task's state store or as XCom."""

# Without these a stored value is no record.
_NEEDED = frozenset({"phase", "dataset_id", "marker", "fingerprint", "deadline"})


class TaskIntent(NamedTuple):
    """What one Airflow task is there for in one run; retries keep it.

    A clear changes ``max_tries``; that of a finished run changes the run's start too. The start tells runs of one name
    apart: of two Airflow installations, or one that was deleted and made again.

    :param task: 10 hex digits that stand for dag, run, task and map index
    :param start: 6 hex digits that stand for the start of the run
    :param max_tries: as Airflow has it
    :param is_cleared: whether something of the run was ever cleared, so that it may have had another start
    """

    task: str
    start: str
    max_tries: int
    is_cleared: bool

    @classmethod
    def of(cls, context: Context) -> TaskIntent:
        """Return the intent of the task that a context belongs to."""
        ti = context["ti"]
        dag_run = context["dag_run"]
        started = dag_run.start_date
        begun = started.astimezone(UTC).isoformat() if started else None
        map_index = -1 if ti.map_index is None else ti.map_index
        task = _digest([ti.dag_id, ti.run_id, ti.task_id, map_index])
        return cls(task[:10], _digest([task, begun])[:6], ti.max_tries, bool(dag_run.clear_number))

    @property
    def marker(self) -> str:
        """The name that labeling tasks of this intent get."""
        return f"af-{self.task}{self.start}-{self.max_tries}"

    def is_before_a_clear(self, marker: str) -> bool:
        """Return whether a marker is of this Airflow task in this run, as it was before a clear."""
        of_this_run = f"af-{self.task}" if self.is_cleared else f"af-{self.task}{self.start}-"
        return marker.startswith(of_this_run) and marker != self.marker


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class LabelTaskRecord:
    """What is known of the labeling task of an Airflow task; JSON primitives only.

    :param phase: ``starting``: a start is about to be sent; ``started``: its end is the task's end; ``ending``: it is
        waited out, then all is decided anew; ``awaited``: somebody else's, if any, after which ours is started
    :param marker: of the intent that it belongs to
    :param fingerprint: of the inputs that it belongs to
    :param deadline: epoch seconds at which the try gives up
    :param ours: whether it is surely ours: others are never stopped
    :param known: labeling tasks that were there before the start
    :param adopted: whether somebody else has started it, and ``if_running`` says to wait for it as if it were ours
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
    def read(cls, value: object) -> LabelTaskRecord | None:
        """Return the record that was stored as JSON; None for anything else."""
        if not isinstance(value, dict) or not _NEEDED.issubset(value):
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
        """Whether it is ours and its end is waited for."""
        return self.ours and self.phase == "started"


class RecordStore:
    """Where an Airflow task keeps its record: in its state store, which outlives tries, or else as XCom.

    Both are written through the task's supervisor: a process whose supervisor is gone, and beside which the next try
    may be running, cannot write, and so does not go on to start or stop anything.
    """

    last: LabelTaskRecord | None = None
    """What this process has written last, or was about to write; known without asking Airflow."""

    def __init__(self, context: Context) -> None:
        self._ti: Any = context["ti"]
        self._store: Any = context.get("task_state_store")

    def read(self) -> LabelTaskRecord | None:
        """Return what was written last; with XCom only what this try has written."""
        if self._store is not None:
            return LabelTaskRecord.read(self._store.get(MEMORY_KEY))
        map_index = -1 if self._ti.map_index is None else self._ti.map_index
        found = self._ti.xcom_pull(task_ids=self._ti.task_id, key=MEMORY_KEY, map_indexes=map_index)
        return LabelTaskRecord.read(found)

    def write(self, record: LabelTaskRecord) -> None:
        """Keep a record in place of the one before."""
        self.last = record
        value = {**asdict(record), "known": list(record.known)}
        if self._store is not None:
            self._store.set(MEMORY_KEY, value)
        else:
            self.tell(MEMORY_KEY, value)

    def tell(self, key: str, value: Any) -> None:
        """Push an XCom of the task."""
        self._ti.xcom_push(key=key, value=value)
