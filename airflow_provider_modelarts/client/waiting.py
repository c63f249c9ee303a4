"""When to look at a labeling task next, and what an answer means.

Pure: no request, no sleep, no clock. Every way of waiting (client, operator, sensor, trigger) asks this module, so that
the same remote story ends the same everywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_modelarts.client.errors import (
    ERRORS,
    LabelTaskFailed,
    LabelTaskStopped,
    LabelTaskTimeout,
    ModelArtsError,
)
from airflow_provider_modelarts.client.redaction import storable, without_queries
from airflow_provider_modelarts.client.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EARLY_GAPS = ((10.0, 5.0), (60.0, 9.0))
"""How often a young wait looks: until so many seconds after its beginning, every so many seconds.

Then every ``poll_interval``, which is also the gap from the beginning on if it is shorter. Most labeling tasks of small
datasets are over within a minute, and the next step should not stand idle for half of one: with these gaps, jitter
included, the end of such a task is noticed within 10 s. It costs a long wait six requests more than it would without.
"""

JITTER = 0.1
"""Share of an interval by which looks are scattered, so that a thousand waits do not look in the same second."""

RESUMED_WITHIN = 30.0
"""Seconds in which a wait that goes on in a new process looks at the latest, if its ``poll_interval`` is longer."""

LONGEST = 5 * 365 * 86400.0
"""Seconds that any wait takes at most: as good as for ever, and a moment that clocks and databases can still name."""

ODD_ANSWERS = 5
"""Looks in a row whose answer is a permanent error, after which a wait for one's own labeling task gives up.

Whoever has started it knows that it is there. A single "not found" right after the start, a gateway that has no way to
the service for a moment, or one "forbidden" says little; to believe it would leave the labeling task behind.
"""

ODD_PAUSES = (0.0, *(EARLY_GAPS[0][1] for _ in range(ODD_ANSWERS - 1)))
"""Seconds before each look of a caller that does not wait, but has to know whether its labeling task is still there."""

Status = Literal["success", "failed", "stopped", "timeout", "error"]

_EXCEPTIONS: dict[str, type[ModelArtsError]] = {
    "failed": LabelTaskFailed,
    "stopped": LabelTaskStopped,
    "timeout": LabelTaskTimeout,
}


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
    def state(self) -> TaskState | int | None: ...  # noqa: D102 - fields of the contract
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

    :param status: ``success``, ``failed``, ``stopped``, ``timeout`` or ``error`` (the service refuses to tell)
    :param label_task_id: the labeling task waited for
    :param message: one line for people
    :param summary: small, JSON primitives only: the fields of :func:`summarize`; for ``error``, and for a ``timeout``
        whose last look had failed, also ``error`` with ``type, message, code, status, request_id, method, path``
    """

    status: Status
    label_task_id: str
    message: str
    summary: dict[str, Any] = field(default_factory=dict)

    def to_event(self) -> dict[str, Any]:
        """Return the payload of the trigger's event: exactly ``status, label_task_id, message, summary``."""
        return {
            "status": self.status,
            "label_task_id": self.label_task_id,
            "message": self.message,
            "summary": self.summary,
        }

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Outcome:
        """Return the outcome that :meth:`to_event` wrote.

        :param event: the payload
        :raises KeyError: if a key is missing
        """
        return cls(event["status"], event["label_task_id"], event["message"], dict(event["summary"] or {}))

    def exception(self) -> ModelArtsError | None:
        """Return what a waiting caller raises, the same after a trip through an event; None after a success."""
        if self.status == "success":
            return None
        if self.status == "error":
            error = dict(self.summary.get("error") or {})
            error_class = ERRORS.get(str(error.pop("type", "")), ModelArtsError)
            message = error.pop("message", self.message)
            facts: dict[str, Any] = {name: error.get(name) for name in _ERROR_FACTS}
            return error_class(message, **facts)
        error_class = _EXCEPTIONS[self.status]
        return error_class(self.message, code=self.summary.get("error_code"))


_ERROR_FACTS = ("code", "status", "request_id", "method", "path")


def summarize(task: WatchedTask) -> dict[str, Any]:
    """Return what a result or an event says about a labeling task.

    :param task: the task as last seen
    :return: ``state`` (number), ``progress``, ``elapsed_time`` (s), the three sample counts, the service's ``code`` and
        ``message``, and where present ``error_code``, ``error_msg``, ``error_detail``, ``failed_event``
    """
    summary: dict[str, Any] = {
        "state": None if task.state is None else int(task.state),
        "progress": task.progress,
        "elapsed_time": task.elapsed_time,
        "total_sample_count": task.total_sample_count,
        "annotated_sample_count": task.annotated_sample_count,
        "unconfirmed_sample_count": task.unconfirmed_sample_count,
        "code": _short(task.code),
        "message": _short(task.message),
    }
    for name in ("error_code", "error_msg", "error_detail"):
        if getattr(task, name):
            summary[name] = _short(getattr(task, name))
    failed = find_event(task.events, "failed")
    if failed:
        summary["failed_event"] = _short(failed[0])
    return summary


def find_event(events: Sequence[WatchedEvent], status: str, above: str = "") -> tuple[str, WatchedEvent] | None:
    """Return the path (as in ``labeling/jobstat_running``) and the innermost event that has a status, or None."""
    for event in events:
        path = f"{above}{event.name}"
        found = find_event(event.events, status, path + "/")
        if found or event.status == status:
            return found or (path, event)
    return None


class Wait:
    """One wait for one labeling task: feed it what a look brought, it says when to look next or how the wait ended.

    :param dataset_id: the dataset, for messages
    :param label_task_id: the labeling task waited for
    :param deadline: epoch seconds at which the wait gives up
    :param poll_interval: seconds between looks once the early ones are over
    :param seed: of the jitter; the default differs for each labeling task, so that waits do not march in step
    :param started: epoch seconds at which the wait began, in whatever process, so that it keeps its schedule; None:
        when it is first asked
    :param is_patient: whether the caller knows that the labeling task is there, as it has started it: then permanent
        errors end the wait only after :data:`ODD_ANSWERS` looks in a row
    """

    def __init__(
        self,
        dataset_id: str,
        label_task_id: str,
        *,
        deadline: float,
        poll_interval: float = 30,
        seed: int | str | None = None,
        started: float | None = None,
        is_patient: bool = False,
    ) -> None:
        self.dataset_id = dataset_id
        self.label_task_id = label_task_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.started = started
        self._random = random.Random(f"{seed}:{label_task_id}")  # noqa: S311 - scatters looks, protects nothing
        self._refusals_left = self._most_refusals = ODD_ANSWERS if is_patient else 1
        self._last_line: str | None = None
        self._last_task: WatchedTask | None = None

    def first_look(self, now: float, not_before: float | None = None) -> float:
        """Return the seconds until this process looks for the first time.

        When another process has looked last is not known, only how often it did: this look comes at a random moment of
        the gap in which it was due. So the waits of a restarted triggerer do not all look in the same second.

        :param now: epoch seconds
        :param not_before: epoch seconds at which a look is due, as another process knew; later it counts no more
        """
        elapsed = self._elapsed(now)
        if not_before is not None and not_before > now:
            # The machine that wrote both may be ahead of this one.
            return self._within(min(not_before - now, not_before - (self.started or now)), now)
        until_first = self._gap(0.0) - elapsed
        if until_first > 0:
            return self._within(until_first, now)
        return self._within(self._random.uniform(0, min(self._gap(elapsed), RESUMED_WITHIN)), now)

    def looked(self, task: WatchedTask, now: float) -> Outcome | float:
        """Take in an answer.

        :param task: the labeling task as the service describes it
        :param now: epoch seconds
        :return: how the wait ended, or the seconds until the next look
        """
        self._last_task = task
        self._refusals_left = self._most_refusals
        if task.state == TaskState.SUCCEEDED:
            return Outcome("success", self.label_task_id, f"{self._what} succeeded.", summarize(task))
        if task.state == TaskState.FAILED:
            return Outcome("failed", self.label_task_id, self._failure(task), summarize(task))
        if task.state == TaskState.STOPPED:
            message = f"{self._what} was stopped. Start a new one if its proposals are still wanted."
            return Outcome("stopped", self.label_task_id, message, summarize(task))
        return self._next(now, None, None)

    def failed(self, error: ModelArtsError, now: float) -> Outcome | float:
        """Take in a failed look.

        :param error: what the look raised
        :param now: epoch seconds
        :return: for an error that no later look can mend the outcome ``error``; else the seconds until the next look
        """
        self._refusals_left -= error.permanent
        if not self._refusals_left:
            summary = {"error": describe(error)}
            return Outcome("error", self.label_task_id, f"{self._what} cannot be watched: {error}", summary)
        return self._next(now, error.retry_after, error)

    def progress(self, task: WatchedTask) -> str | None:
        """Return a line for the log, or None if nothing that it shows has changed since the last call."""
        line = describe_progress(task)
        if line == self._last_line:
            return None
        self._last_line = line
        return f"{self._what}: {line}"

    @property
    def _what(self) -> str:
        return f"Labeling task {self.label_task_id} of dataset {self.dataset_id}"

    def _next(self, now: float, retry_after: float | None, error: ModelArtsError | None) -> Outcome | float:
        if now >= self.deadline:
            return self._timeout(error)
        return self._within(max(self._gap(self._elapsed(now)), retry_after or 0), now)

    def _within(self, seconds: float, now: float) -> float:
        return max(0.0, min(seconds, self.deadline - now, LONGEST))

    def _elapsed(self, now: float) -> float:
        if self.started is None:
            self.started = now
        # The machine on which the wait began may be ahead of this one.
        return max(0.0, now - self.started)

    def _gap(self, elapsed: float) -> float:
        """Return the seconds between a look, so many seconds after the beginning, and the next one."""
        early = next((gap for until, gap in EARLY_GAPS if elapsed < until), self.poll_interval)
        return min(early, self.poll_interval) * (1 + self._random.uniform(0, JITTER))

    def _failure(self, task: WatchedTask) -> str:
        texts = [task.error_msg or task.message or "the service gives no reason"]
        if task.error_detail and task.error_detail != task.error_msg:
            texts.append(task.error_detail)
        failed = find_event(task.events, "failed")
        if failed:
            path, event = failed
            reason = " ".join(text for text in (event.error_code, event.error_message) if text)
            texts.append(f"failed step {path}" + (f" ({reason})" if reason else ""))
        said = "; ".join(_short(text, 500) or "" for text in texts).rstrip(".")
        code = _short(task.error_code or task.code)
        return f"{self._what} failed: {said}{f' [{code}]' if code else ''}. Mend the cause, then start a new one."

    def _timeout(self, error: ModelArtsError | None) -> Outcome:
        task = self._last_task
        seen = describe_progress(task) if task else "never seen"
        message = (
            f"{self._what} was not over at the deadline (last: {seen}). Allow more time, or look at it in the console."
        )
        summary: dict[str, Any] = summarize(task) if task else {}
        if error:
            message += f" The last look failed: {error}"
            summary["error"] = describe(error)
        return Outcome("timeout", self.label_task_id, message, summary)


def describe(error: ModelArtsError) -> dict[str, Any]:
    """Return an error as JSON primitives, from which :meth:`Outcome.exception` builds it again."""
    facts = {name: getattr(error, name) for name in _ERROR_FACTS}
    return {"type": type(error).__name__, "message": _short(error.message, 2000), **facts}


def describe_progress(task: WatchedTask) -> str:
    """Return state, percent, current step and counts of a labeling task as one short phrase."""
    state = task.state
    parts = [state.name.lower() if isinstance(state, TaskState) else f"unknown state {state}, waiting on"]
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


def _short(text: str | None, length: int = 300) -> str | None:
    if text is None:
        return None
    line = storable(without_queries(" ".join(text.split())))
    return line if len(line) <= length else line[: length - 3] + "..."
