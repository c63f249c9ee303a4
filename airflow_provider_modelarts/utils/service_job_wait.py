"""The wait for a job of the service: what the answer to a poll means, and how a wait ends (B6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import AuthenticationError, ModelArtsError
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS, PollSchedule
from airflow_provider_modelarts.client.redaction import short_line
from airflow_provider_modelarts.client.waiting import describe, error_from
from airflow_provider_modelarts.hooks.errors import ServiceJobFailed, ServiceJobTimeout, ServiceJobUnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.utils.service_job import JobCondition, JobState, Waitable

JobStatus = Literal["success", "failed", "timeout", "error"]

_STATUSES: dict[JobCondition, JobStatus] = {"succeeded": "success", "failed": "failed"}


@dataclass(frozen=True)
class JobOutcome:
    """How a wait for a job ended.

    :param status: ``success``, ``failed``, ``timeout`` or ``error`` (the service refuses to answer)
    :param kind: name of the job's kind
    :param job_id: the job
    :param message: one line for people
    :param summary: of the job as last read; ``error`` holds a poll's error
    """

    status: JobStatus
    kind: str
    job_id: str
    message: str
    summary: dict[str, Any] = field(default_factory=dict)

    def to_event(self) -> dict[str, Any]:
        """Return the payload of the trigger's event: exactly ``status, kind, job_id, message, summary``."""
        return dict(vars(self))

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> JobOutcome:
        """Return the outcome that :meth:`to_event` wrote.

        :param event: the payload
        :raises KeyError: if a key is missing
        """
        summary = dict(event["summary"] or {})
        return cls(event["status"], event["kind"], event["job_id"], event["message"], summary)

    def exception(self) -> ModelArtsError | None:
        """Return the error that the operator raises, the same after :meth:`from_event`; None after a success."""
        if self.status == "success":
            return None
        if self.status == "error":
            return unreadable_error(self.message, error_from(self.summary.get("error") or {}, self.message))
        return (ServiceJobFailed if self.status == "failed" else ServiceJobTimeout)(self.message)


class JobWait(PollSchedule):
    """One wait for one job: takes what a poll brought, returns when to poll next or how the wait ended.

    A few permanent errors in a row are survived: whoever has started a job knows that it exists. Not so with a kind of
    job that is not ``is_patient``: nobody has started what a sensor waits for.

    :param job: what kind it is, and where
    :param job_id: the job; each has a jitter of its own
    :param deadline: epoch seconds at which the wait ends
    :param poll_interval: seconds between polls after the early ones
    :param started: epoch seconds at which the wait began, in whatever process; None: at its first call
    """

    def __init__(
        self, job: Waitable, job_id: str, *, deadline: float, poll_interval: float = 30, started: float | None = None
    ) -> None:
        super().__init__(job_id, deadline=deadline, poll_interval=poll_interval, started=started)
        self.job = job
        self.job_id = job_id
        self._what = job.describe(job_id)
        self._patience = ODD_ANSWERS if job.is_patient else 1
        self._refusals_left = self._patience
        self._last: JobState | None = None

    def poll(self, hook: ModelArtsHook, log: Any) -> JobOutcome | float:
        """Send one request, without retries: the wait itself is the retry (B6).

        :return: how the wait ended, or the seconds until the next poll
        """
        try:
            state = self.job.read(hook.client, self.job_id)
        except ModelArtsError as error:
            step = self.on_error(error, system_clock.now())
            if not isinstance(step, JobOutcome):
                log.warning("The state of a job is unknown for now; asking again in %.0f s. %s", step, error)
            return step
        if state.progress and (self._last is None or state.progress != self._last.progress):
            log.info("%s: %s", self._what, state.progress)
        return self.on_answer(state, system_clock.now())

    def on_answer(self, state: JobState, now: float) -> JobOutcome | float:
        """Take the answer to a poll."""
        self._last = state
        self._refusals_left = self._patience
        status = _STATUSES.get(state.condition)
        if status is None:
            return self._next(now)
        reason = (short_line(state.reason, 500) or "the service gives no reason").rstrip(".")
        failure = f"{self._what} failed: {reason}. Mend the cause, then run the task again."
        message = f"{self._what} succeeded." if status == "success" else failure
        return self._outcome(status, message, state.summary)

    def on_error(self, error: ModelArtsError, now: float) -> JobOutcome | float:
        """Take the error of a poll; the outcome is ``error`` after several permanent ones in a row."""
        self._refusals_left -= error.permanent
        if not self._refusals_left:
            return self._outcome("error", unreadable_message(self._what, error), {"error": describe(error)})
        return self._next(now, error)

    def _next(self, now: float, error: ModelArtsError | None = None) -> JobOutcome | float:
        if now < self.deadline:
            return self.next_pause(now, (error.retry_after if error else None) or 0.0)
        seen = (self._last.progress or self._last.condition) if self._last else "never seen"
        message = (
            f"{self._what} was not over at the deadline (last: {seen}). It goes on: allow more time, or run the task "
            "again, which waits for it."
        )
        summary = dict(self._last.summary) if self._last else {}
        if error:
            message += f" The last poll failed: {error}"
            summary["error"] = describe(error)
        return self._outcome("timeout", message, summary)

    def _outcome(self, status: JobStatus, message: str, summary: dict[str, Any]) -> JobOutcome:
        return JobOutcome(status, self.job.name, self.job_id, message, summary)


def unreadable_message(what: str, error: ModelArtsError) -> str:
    """Return the message of a wait that gives up because the service refuses several polls in a row."""
    return (
        f"{what} may still be running and is no longer waited for: {ODD_ANSWERS} requests in a row were refused. "
        f"Check it in the console. The last refusal: {error.message}"
    )


def unreadable_error(message: str, error: ModelArtsError) -> ModelArtsError:
    """Return the error for such a message. A refused credential keeps its class: a retry would send it again."""
    error_class = type(error) if isinstance(error, AuthenticationError) else ServiceJobUnreadableError
    return error_class(message, **error.details())
