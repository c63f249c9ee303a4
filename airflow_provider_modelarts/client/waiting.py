"""What the answer to a poll means, and how a wait ends; ``client/poll_schedule.py`` says when to poll.

Pure: no request, no sleep, no clock. Client, operator, sensor and trigger use it, so a wait ends the same in all four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_modelarts.client.errors import (
    ERRORS,
    LabelTaskFailed,
    LabelTaskStopped,
    LabelTaskTimeout,
    ModelArtsError,
)
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS, PollSchedule
from airflow_provider_modelarts.client.redaction import short_line
from airflow_provider_modelarts.client.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Status = Literal["success", "failed", "stopped", "timeout", "error"]

_STATUSES: dict[object, Status] = {
    TaskState.SUCCEEDED: "success",
    TaskState.FAILED: "failed",
    TaskState.STOPPED: "stopped",
}
_EXCEPTIONS: dict[str, type[ModelArtsError]] = {
    "failed": LabelTaskFailed,
    "stopped": LabelTaskStopped,
    "timeout": LabelTaskTimeout,
}
_ERROR_FACTS = ("code", "status", "request_id", "method", "path")


class WatchedEvent(Protocol):
    """One step in the event tree of a labeling task (contract 2.3)."""

    @property
    def name(self) -> str | None: ...  # noqa: D102 - a field of the contract
    @property
    def status(self) -> str | None: ...  # noqa: D102
    @property
    def error_code(self) -> str | None: ...  # noqa: D102
    @property
    def error_message(self) -> str | None: ...  # noqa: D102
    @property
    def events(self) -> Sequence[WatchedEvent]: ...  # noqa: D102


class WatchedTask(Protocol):
    """What a wait reads of a labeling task; ``LabelTask`` is one."""

    @property
    def status(self) -> TaskState | None: ...  # noqa: D102 - fields of the contract
    @property
    def progress(self) -> float | None: ...  # noqa: D102
    @property
    def code(self) -> str | None: ...  # noqa: D102
    @property
    def message(self) -> str | None: ...  # noqa: D102
    @property
    def error_code(self) -> str | None: ...  # noqa: D102
    @property
    def error_msg(self) -> str | None: ...  # noqa: D102
    @property
    def error_detail(self) -> str | None: ...  # noqa: D102
    @property
    def elapsed_time(self) -> float | None: ...  # noqa: D102
    @property
    def total_sample_count(self) -> int | None: ...  # noqa: D102
    @property
    def annotated_sample_count(self) -> int | None: ...  # noqa: D102
    @property
    def unconfirmed_sample_count(self) -> int | None: ...  # noqa: D102
    @property
    def events(self) -> Sequence[WatchedEvent]: ...  # noqa: D102


@dataclass(frozen=True)
class Outcome:
    """How a wait ended.

    :param status: ``success``, ``failed``, ``stopped``, ``timeout`` or ``error`` (the service refuses to answer)
    :param label_task_id: the labeling task
    :param message: one line for people
    :param summary: small, JSON primitives only: the fields of :func:`summarize`; for ``error``, and for a ``timeout``
        whose last poll failed, also ``error`` with ``type, message, code, status, request_id, method, path``
    """

    status: Status
    label_task_id: str
    message: str
    summary: dict[str, Any] = field(default_factory=dict)

    def to_event(self) -> dict[str, Any]:
        """Return the payload of the trigger's event: exactly ``status, label_task_id, message, summary``."""
        return dict(vars(self))

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Outcome:
        """Return the outcome that :meth:`to_event` wrote.

        :param event: the payload
        :raises KeyError: if a key is missing
        """
        return cls(event["status"], event["label_task_id"], event["message"], dict(event["summary"] or {}))

    def exception(self) -> ModelArtsError | None:
        """Return the error that a waiting caller raises, the same after :meth:`from_event`; None after a success."""
        if self.status == "success":
            return None
        if self.status == "error":
            return error_from(self.summary.get("error") or {}, self.message)
        return _EXCEPTIONS[self.status](self.message, code=self.summary.get("error_code"))


def summarize(task: WatchedTask) -> dict[str, Any]:
    """Return the facts about a labeling task that results and events hold.

    :param task: the labeling task as last read
    :return: ``state`` (number), ``progress``, ``elapsed_time`` (s), the three sample counts, the service's ``code`` and
        ``message``, and where present ``error_code``, ``error_msg``, ``error_detail``, ``failed_event``
    """
    summary: dict[str, Any] = {
        "state": None if task.status is None else int(task.status),
        "progress": task.progress,
        "elapsed_time": task.elapsed_time,
        "total_sample_count": task.total_sample_count,
        "annotated_sample_count": task.annotated_sample_count,
        "unconfirmed_sample_count": task.unconfirmed_sample_count,
        "code": short_line(task.code),
        "message": short_line(task.message),
    }
    for name in ("error_code", "error_msg", "error_detail"):
        if getattr(task, name):
            summary[name] = short_line(getattr(task, name))
    failed = find_event(task.events, "failed")
    if failed:
        summary["failed_event"] = short_line(failed[0])
    return summary


def find_event(events: Sequence[WatchedEvent], status: str, above: str = "") -> tuple[str, WatchedEvent] | None:
    """Return the path (as in ``labeling/jobstat_running``) and the innermost event that has a status, or None."""
    for event in events:
        path = f"{above}{event.name}"
        found = find_event(event.events, status, path + "/")
        if found or event.status == status:
            return found or (path, event)
    return None


class Wait(PollSchedule):
    """One wait for one labeling task: takes what a poll brought, returns when to poll next or how the wait ended.

    :param dataset_id: the dataset, for messages
    :param label_task_id: the labeling task; each has a jitter of its own
    :param deadline: epoch seconds at which the wait ends
    :param poll_interval: seconds between polls after the early ones
    :param started: epoch seconds at which the wait began, in whatever process; None: at its first call
    :param is_patient: True if the caller started the labeling task: then only ``ODD_ANSWERS`` permanent errors in a
        row end the wait, else one does
    """

    def __init__(
        self,
        dataset_id: str,
        label_task_id: str,
        *,
        deadline: float,
        poll_interval: float = 30,
        started: float | None = None,
        is_patient: bool = False,
    ) -> None:
        super().__init__(label_task_id, deadline=deadline, poll_interval=poll_interval, started=started)
        self.dataset_id = dataset_id
        self.label_task_id = label_task_id
        self._refusals_left = self._most_refusals = ODD_ANSWERS if is_patient else 1
        self._last_line: str | None = None
        self._last_task: WatchedTask | None = None

    def on_answer(self, task: WatchedTask, now: float) -> Outcome | float:
        """Take the answer to a poll.

        :param task: the labeling task as the service describes it
        :param now: epoch seconds
        :return: how the wait ended, or the seconds until the next poll
        """
        self._last_task = task
        self._refusals_left = self._most_refusals
        status = _STATUSES.get(task.status)
        if status is None:
            return self._next(now)
        messages = {
            "success": f"{self._what} succeeded.",
            "stopped": f"{self._what} was stopped. Start a new one if its proposals are still wanted.",
        }
        return Outcome(status, self.label_task_id, messages.get(status) or self._failure(task), summarize(task))

    def on_error(self, error: ModelArtsError, now: float) -> Outcome | float:
        """Take the error of a poll.

        :param error: what the poll raised
        :param now: epoch seconds
        :return: the outcome ``error`` if no later poll can succeed, else the seconds until the next poll
        """
        self._refusals_left -= error.permanent
        if not self._refusals_left:
            summary = {"error": describe(error)}
            return Outcome("error", self.label_task_id, f"{self._what} cannot be watched: {error}", summary)
        return self._next(now, error)

    def progress(self, task: WatchedTask) -> str | None:
        """Return a line for the log, or None if it would be the same as the last one."""
        line = describe_progress(task)
        if line == self._last_line:
            return None
        self._last_line = line
        return f"{self._what}: {line}"

    @property
    def _what(self) -> str:
        return f"Labeling task {self.label_task_id} of dataset {self.dataset_id}"

    def _next(self, now: float, error: ModelArtsError | None = None) -> Outcome | float:
        if now >= self.deadline:
            return self._timeout(error)
        return self.next_pause(now, (error.retry_after if error else None) or 0.0)

    def _failure(self, task: WatchedTask) -> str:
        texts = [task.error_msg or task.message or "the service gives no reason"]
        if task.error_detail and task.error_detail != task.error_msg:
            texts.append(task.error_detail)
        failed = find_event(task.events, "failed")
        if failed:
            path, event = failed
            reason = " ".join(text for text in (event.error_code, event.error_message) if text)
            texts.append(f"failed step {path}" + (f" ({reason})" if reason else ""))
        said = "; ".join(short_line(text, 500) or "" for text in texts).rstrip(".")
        code = short_line(task.error_code or task.code)
        return f"{self._what} failed: {said}{f' [{code}]' if code else ''}. Mend the cause, then start a new one."

    def _timeout(self, error: ModelArtsError | None) -> Outcome:
        task = self._last_task
        seen = describe_progress(task) if task else "never seen"
        message = (
            f"{self._what} was not over at the deadline (last: {seen}). Allow more time, or look at it in the console."
        )
        summary: dict[str, Any] = summarize(task) if task else {}
        if error:
            message += f" The last poll failed: {error}"
            summary["error"] = describe(error)
        return Outcome("timeout", self.label_task_id, message, summary)


def describe(error: ModelArtsError) -> dict[str, Any]:
    """Return an error as JSON primitives, from which :func:`error_from` builds it again."""
    facts = {name: getattr(error, name) for name in _ERROR_FACTS}
    return {"type": type(error).__name__, "message": short_line(error.message, 2000), **facts}


def error_from(description: Mapping[str, Any], message: str) -> ModelArtsError:
    """Return the error that :func:`describe` has described.

    :param description: what that function returned
    :param message: the text of the error, if the description has none
    """
    error_class = ERRORS.get(str(description.get("type", "")), ModelArtsError)
    facts: dict[str, Any] = {name: description.get(name) for name in _ERROR_FACTS}
    return error_class(description.get("message", message), **facts)


def describe_progress(task: WatchedTask) -> str:
    """Return state, percent, current step and counts of a labeling task as one short phrase."""
    state = task.status
    parts = [state.name.lower() if state is not None and state.is_known else f"unknown state {state}, waiting on"]
    if task.progress is not None:
        parts.append(f"{task.progress:g} %")
    running = find_event(task.events, "running")
    if running:
        parts.append(f"step {running[0]}")
    counts = (
        (task.total_sample_count, "samples"),
        (task.annotated_sample_count, "labeled"),
        (task.unconfirmed_sample_count, "proposed"),
    )
    parts.extend(f"{count} {word}" for count, word in counts if count is not None)
    return ", ".join(parts)
