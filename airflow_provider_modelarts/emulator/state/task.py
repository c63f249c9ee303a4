"""The life of a labeling task as a function of time (contract 2, and section 10, row "Task machine")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUED, INITIALIZING, RUNNING, FAILED, SUCCEEDED, STOPPING, STOPPED = -1, 0, 1, 2, 3, 4, 5
ACTIVE = frozenset({QUEUED, INITIALIZING, RUNNING, STOPPING})  # contract 8.1: "-1, 0, 1, 4"

# Task types and their numbers in answers (contract 2.2).
TYPES = {"auto-label": 0, "pre-label": 1, "auto-grouping": 2}

STOP_SHARE = 1 / 6  # of the whole duration: how long stopping takes
FAIL_SHARE = 0.6  # where in its life a task fails that cannot be labeled

SUBMITTED = "Submit auto labeling task succeed, waiting for auto labeling task to finish. "
DONE = {"pre-label": "prelabel task execute successfully."}
DONE_OTHERWISE = "task executed successfully."


@dataclass(frozen=True)
class Phase:
    """A stretch of a task's life, up to a share of its duration.

    :param progress: percent, in the number format of the examples (quirk 6).
    :param code: progress code, not an error (quirk 8).
    """

    until: float
    status: int
    progress: float
    code: str | None
    message: str


PHASES = (
    Phase(0.05, QUEUED, 0, None, ""),
    Phase(0.10, INITIALIZING, 0, "ModelArts.4900", "The task is prepared."),
    Phase(0.30, RUNNING, 10.0, "ModelArts.4902", "Start to export annotations. Export task id is {export_id}"),
    Phase(1.00, RUNNING, 30, "ModelArts.4914", SUBMITTED),
)


@dataclass(frozen=True)
class Event:
    """A node of the event tree of contract 2.3.

    :param begin: share of the task's duration at which it begins; `end` likewise.
    """

    name: str
    begin: float
    end: float
    children: tuple[Event, ...] = ()


EVENTS = (
    Event("start", 0.05, 0.10),
    Event("init", 0.10, 0.30),
    Event(
        "labeling",
        0.30,
        0.90,
        (
            Event("jobstat_init", 0.30, 0.35),
            Event("jobstat_waiting", 0.35, 0.40),
            Event("jobstat_running", 0.40, 0.88),
            Event("jobstat_completed", 0.88, 0.90),
        ),
    ),
    Event("result_processing", 0.90, 0.97),
    Event("end", 0.97, 1.00),
)
EVENTS_FROM = 0.30  # earlier the result holds two counters only (quirk 10)


@dataclass(frozen=True)
class Failure:
    """Why a task fails."""

    code: str = "ModelArts.4917"
    message: str = "The auto labeling job failed."
    detail: str = "Injected failure."


@dataclass
class Task:
    """One labeling task.

    :param kind: "auto-label", "pre-label" or "auto-grouping".
    :param started: epoch seconds.
    :param duration: seconds until it succeeds.
    :param training: final labels of the labeled samples when it started; it learns from these.
    :param job: ids of the export and of the training job.
    :param failure: known at the start; the task fails at a share of its duration.
    :param settled: its proposals were made.
    """

    task_id: str
    dataset_id: str
    kind: str
    started: float
    duration: float
    config: dict[str, Any]
    name: str
    collect_hard: bool
    model_id: str | None
    training: dict[str, str]
    total: int
    annotated: int
    job: dict[str, Any]
    failure: Failure | None = None
    stop_requested: float | None = None
    settled: bool = False
    unconfirmed: int = 0

    def fraction(self, now: float) -> float:
        """Return how much of its life has passed, 0..1; a stop or a failure holds it still."""
        share = (now - self.started) / self.duration if self.duration > 0 else 1.0
        if self.stop_requested is not None:
            share = min(share, (self.stop_requested - self.started) / self.duration)
        if self.failure is not None:
            share = min(share, FAIL_SHARE)
        return min(max(share, 0.0), 1.0)

    def status(self, now: float) -> int:
        """Return the status number of contract 2.3."""
        if self.stop_requested is not None:
            return STOPPED if now >= self.ended() else STOPPING
        share = self.fraction(now)
        if self.failure is not None and share >= FAIL_SHARE:
            return FAILED
        return SUCCEEDED if share >= 1.0 else self._phase(share).status

    def ended(self) -> float:
        """Return when it ends or ended, epoch seconds."""
        if self.stop_requested is not None:
            return self.stop_requested + self.duration * STOP_SHARE
        return self.started + self.duration * (FAIL_SHARE if self.failure else 1.0)

    def _phase(self, share: float) -> Phase:
        return next((phase for phase in PHASES if share < phase.until), PHASES[-1])

    def describe(self, now: float, shape: Callable[[float], float]) -> dict[str, Any]:
        """Return what list and detail have in common (contract 2.2, 2.3).

        :param shape: turns progress into the number format in use (quirk 6).
        """
        status = self.status(now)
        phase = self._phase(self.fraction(now))
        body: dict[str, Any] = {
            "task_name": self.name,
            "create_time": _local_text(self.started),
            "status": status,
            "progress": shape(100.0 if status == SUCCEEDED else phase.progress),
            "elapsed_time": int(min(now, self.ended()) - self.started),
            "export_type": 0,
            "config": self.config,
        }
        code, message = phase.code, phase.message.format(export_id=self.job["export_id"])
        if status == SUCCEEDED:
            code, message = "ModelArts.4996", DONE.get(self.kind, DONE_OTHERWISE)
        if status == STOPPED:
            code, message = "ModelArts.4393", "The task was stopped."
        if status == FAILED and self.failure:
            code, message = self.failure.code, self.failure.message
            body |= {"error_code": code, "error_msg": message, "error_detail": self.failure.detail}
        if code:
            body |= {"code": code, "message": message}
        if self.model_id is not None:
            body["model_id"] = self.model_id
        return body

    def job_names(self) -> dict[str, Any]:
        """Return what `result` says of the training job."""
        return {name: self.job[name] for name in ("train_job_name", "train_job_id", "version_id")}

    def result(self, now: float) -> dict[str, Any]:
        """Return TaskResult; it grows while the task runs (contract 2.3, quirk 10)."""
        result: dict[str, Any] = self.counters(now)
        if self.fraction(now) >= EVENTS_FROM:
            events = [self._event(now, number, 1, event) for number, event in enumerate(EVENTS, 1)]
            result |= {"events": events, **self.job_names(), "continuity": False}
        return result

    def counters(self, now: float) -> dict[str, int]:
        """Return the counters of `result`, which the list shows beside it (contract 2.2)."""
        counters = {"total_sample_count": self.total, "annotated_sample_count": self.annotated}
        if self.status(now) == SUCCEEDED:
            counters["unconfirmed_sample_count"] = self.unconfirmed
        return counters

    def _event(self, now: float, ordinal: int, level: int, event: Event) -> dict[str, Any]:
        """Return a node of the event tree as it stands (contract 2.3)."""
        share = self.fraction(now)
        if share >= event.end:
            status = "success"
        elif share < event.begin:
            status = "waiting"
        else:
            status = "failed" if self.status(now) in (FAILED, STOPPED) else "running"
        shown: dict[str, Any] = {"name": event.name, "ordinal": ordinal, "level": level, "status": status}
        if status != "waiting":
            shown["create_time"] = int((self.started + event.begin * self.duration) * 1000)
        # A composite that still runs has no elapsed time; a leaf counts (examples of contract 2.3).
        if status in ("success", "failed") or (status == "running" and not event.children):
            shown["elapsed_time"] = int((min(share, event.end) - event.begin) * self.duration)
        if status == "failed" and not event.children and self.failure:
            shown |= {"error_code": self.failure.code, "error_message": self.failure.message}
        if event.children:
            children = enumerate(event.children, 1)
            shown["events"] = [self._event(now, number, level + 1, child) for number, child in children]
        return shown


def _local_text(timestamp: float) -> str:
    """Return UTC+8 without zone (contract 0, row "Times"; quirk 7)."""
    moment = datetime.fromtimestamp(timestamp, UTC).astimezone(timezone(timedelta(hours=8)))
    return moment.strftime("%Y-%m-%d %H:%M:%S")
