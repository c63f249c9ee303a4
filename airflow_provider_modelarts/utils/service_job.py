"""Jobs of the service that an Airflow task starts exactly once and waits for: imports, exports, publications (B1, B6).

What differs between the kinds of jobs stands in subclasses of :class:`ServiceJob`, what is only waited for in those of
:class:`Waitable`; ``utils/job_kinds.py`` lists them. What they share is here: the record of a start, the search for
what an earlier try has started, the wait. No job is stopped. A job that is not waited for any more goes on, and the
next try finds it.

Labeling tasks have a machinery of their own in ``utils/label_task_start.py``: they can be stopped, and shut others out.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import AuthenticationError, DatasetBusy, ModelArtsError, NotFound
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS, ODD_PAUSES, PollSchedule
from airflow_provider_modelarts.client.redaction import short_line
from airflow_provider_modelarts.client.waiting import describe, error_from
from airflow_provider_modelarts.hooks.errors import (
    ServiceJobFailed,
    ServiceJobsUnclearError,
    ServiceJobTimeout,
    ServiceJobUnknownError,
    ServiceJobUnreadableError,
)
from airflow_provider_modelarts.utils.polling import SEARCH_PAUSES, paused
from airflow_provider_modelarts.utils.task_record import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.utils.task_record import TaskIntent

T = TypeVar("T")

JobCondition = Literal["active", "succeeded", "failed"]
JobPhase = Literal["starting", "started", "awaited"]
JobStatus = Literal["success", "failed", "timeout", "error"]

JOB_RECORD_KEY = "modelarts_service_job"
"""Key of the record in the task's state store, or among its XComs."""

# Any marker of this package: a list that shows one comes from a service that returns the text it was given.
_MARKER = re.compile(r"af-[0-9a-f]{16}--?\d+")

# Seconds from a refusal because the dataset is busy to the next start. Not all that it is busy with shows in its
# status; where that is normal all the time, this is how often a start is tried. By code: one version a minute.
_BUSY_PAUSE = 30.0
_BUSY_PAUSES = {"ModelArts.4370": 60.0}

# Seconds before each search for what a killed worker may have started. Its request may still be on its way: the client
# would have waited 30 s for the answer. A start that is sent beside it would be a second one.
_IN_FLIGHT_PAUSES = (0.0, 5.0, 10.0, 15.0, 15.0)

_STATUSES: dict[JobCondition, JobStatus] = {"succeeded": "success", "failed": "failed"}
_REQUIRED_FIELDS = frozenset({"phase", "kind", "ids", "marker", "fingerprint"})


@dataclass(frozen=True)
class JobState:
    """What the service says of one job.

    :param job_id: its id
    :param condition: ``active`` also for states that are not known
    :param created: when it was started, epoch milliseconds by the service's clock; None: it does not say
    :param shown: text in which the service shows the marker; empty if it shows none
    :param progress: short phrase for the log
    :param summary: small, JSON primitives only: what the operator returns
    :param reason: why it failed, with the service's code
    """

    job_id: str
    condition: JobCondition
    created: int | None = None
    shown: str = ""
    progress: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Waitable(ABC):
    """One kind of thing to wait for, in one place; its fields are the ids that lead there, all of them text.

    Its ``name`` is stored in running Airflows.
    """

    name: ClassVar[str]
    """Of the kind, as triggers and records have it."""

    noun: ClassVar[str]
    """Of a job of this kind, for messages."""

    is_patient: ClassVar[bool] = True
    """Whether a wait survives a few refusals; False where the Airflow task has not started what it waits for."""

    dataset_id: str

    @abstractmethod
    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return what the service says of one job, in one attempt: the wait is the retry."""

    def describe(self, job_id: str) -> str:
        """Return the name of one job, for messages."""
        return f"{self.noun.capitalize()} {job_id} of dataset {self.dataset_id}"


@dataclass(frozen=True)
class ServiceJob(Waitable):
    """One kind of job that is started here; a subclass says how it is started, listed and read."""

    @abstractmethod
    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:
        """Send the start, once.

        :param request: what is asked for, JSON primitives only
        :param marker: text by which a later try finds the job, if the service keeps a text
        :return: id of the job; empty if the service does not say, so that it is looked for in the list
        :raises DatasetBusy: if the same start will do later; the dataset is waited for
        """

    @abstractmethod
    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the jobs that such a request may have started, in any order."""

    def still_serves(self, client: ModelArtsClient, job_id: str) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether a job that succeeded before a clear leaves nothing to do for another one.

        :param job_id: the job, which has succeeded
        """
        return False

    def facts(self, client: ModelArtsClient) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return what the result needs from the time before the start: small, JSON primitives only."""
        return {}


# --- what is remembered


@dataclass(frozen=True)
class ServiceJobRecord:
    """What an Airflow task knows about its job. Stored as JSON.

    :param phase: ``starting``: the start is about to be sent; ``started``: the Airflow task ends with this job;
        ``awaited``: nothing was started yet, the dataset is busy
    :param kind: name of the job's kind
    :param ids: fields of the job's kind
    :param marker: of the intent that the record belongs to
    :param fingerprint: of the inputs that the record belongs to
    :param job_id: the job; empty before the start
    :param known: before the start, ids of the newest jobs that were listed
    :param newest: when they were started, epoch milliseconds by the service's clock; what is older is not ours
    :param facts: from the time before the start
    :param not_before: while the dataset is awaited, epoch seconds of the next start at the earliest
    :param sent: epoch seconds at which the start was about to be sent; None: not noted
    """

    phase: JobPhase
    kind: str
    ids: dict[str, str]
    marker: str
    fingerprint: str
    job_id: str = ""
    known: tuple[str, ...] = ()
    newest: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    not_before: float | None = None
    sent: float | None = None

    @classmethod
    def from_json(cls, value: object) -> ServiceJobRecord | None:
        """Return the record that was stored; None for anything else."""
        if not isinstance(value, dict) or not _REQUIRED_FIELDS.issubset(value):
            return None
        names = {one.name for one in fields(cls)}
        given = {name: part for name, part in value.items() if name in names}
        return cls(**{**given, "known": tuple(given.get("known") or ())})


class ServiceJobStore(TaskStore):
    """Keeps the record of a task's job."""

    def read(self) -> ServiceJobRecord | None:
        """Return the stored record; without a state store only one of this try is found."""
        return ServiceJobRecord.from_json(self.get(JOB_RECORD_KEY))

    def write(self, record: ServiceJobRecord) -> None:
        """Replace the stored record."""
        self.set(JOB_RECORD_KEY, {**asdict(record), "known": list(record.known)})


# --- the start


@dataclass(frozen=True)
class ServiceJobStarter:
    """Starts the job of one try of an operator, or finds the one that is there already.

    :param job: the kind of job, and where
    :param request: what is asked for, JSON primitives only
    :param is_first_try: whether no earlier try can have started anything
    """

    hook: ModelArtsHook
    store: ServiceJobStore
    intent: TaskIntent
    job: ServiceJob
    request: dict[str, Any]
    is_first_try: bool
    log: Any

    def find(self) -> ServiceJobRecord | None:
        """Return the job to wait for if it exists already; None if one has to be started.

        A retry goes on with the job of the try before it, unless that failed. After a clear, a job that is still active
        is followed, as it cannot be stopped; one that is over only if another would do nothing more.

        :raises ServiceJobsUnclearError: if several may be the one
        """
        record = self.store.read()
        if record is None:
            return None if self.is_first_try else self._find_without_record()
        if record.phase == "awaited" or record.fingerprint != self._fingerprint:
            return None
        if record.phase == "starting":
            return self._find_in_flight(record)
        try:
            state = self._ask_patiently(lambda client: self.job.read(client, record.job_id), record.job_id)
        except NotFound:
            self.log.info("%s does not exist any more.", self.job.describe(record.job_id))
            return None
        return self._decide(state, record)

    def start(self) -> ServiceJobRecord:
        """Start a job.

        :return: the job to wait for, or, if the dataset is busy, a record in phase ``awaited``
        :raises ServiceJobUnknownError: if the service does not show what was started
        :raises ModelArtsError: of the start; after a lost reply only if no listed job can be the one
        """
        states = self.job.listed(self.hook.client, self.request)
        newest = max((state.created for state in states if state.created is not None), default=None)
        known = tuple(state.job_id for state in states if state.created in (None, newest))
        facts = self.job.facts(self.hook.client)
        record = self.make_record("starting")
        record = replace(record, known=known, newest=newest, facts=facts, sent=system_clock.now())
        self.store.write(record)  # fails in a zombie, which then starts nothing
        try:
            job_id = self.job.start(self.hook.client, self.request, record.marker)
        except ModelArtsError as error:
            return self._after_refusal(error, record)
        if not job_id:
            return self._find_patiently(record, None)
        self.log.info("Started: %s.", self.job.describe(job_id))
        return replace(record, phase="started", job_id=job_id, known=())

    def make_record(self, phase: JobPhase) -> ServiceJobRecord:
        """Return a record of this try."""
        return ServiceJobRecord(phase, self.job.name, asdict(self.job), self.intent.marker, self._fingerprint)

    def _after_refusal(self, error: ModelArtsError, record: ServiceJobRecord) -> ServiceJobRecord:
        """Return what to wait for after a start that failed: the dataset, or what was started all the same."""
        if not error.certainly_not_executed:
            return self._find_patiently(record, error)
        # Without this record a later try could take somebody else's next one for its own.
        record = self.make_record("awaited")
        if isinstance(error, DatasetBusy):
            pause = max(_BUSY_PAUSES.get(error.code or "", _BUSY_PAUSE), error.retry_after or 0.0)
            record = replace(record, not_before=system_clock.now() + pause)
        self.store.write(record)
        if not isinstance(error, DatasetBusy):
            raise error
        self.log.info("Dataset %s is busy; starting when it is not. %s", self.job.dataset_id, error)
        return record

    def _find_patiently(self, record: ServiceJobRecord, lost: ModelArtsError | None) -> ServiceJobRecord:
        """Return what a start has started whose reply was lost, or names no id."""
        for _ in paused(SEARCH_PAUSES):
            try:
                found = self._find_started(record)
            except ServiceJobsUnclearError:
                raise
            except ModelArtsError as error:
                self.log.warning("It is not known yet whether a job was started. %s", error)
                continue
            if found is not None:
                return found
        raise lost or ServiceJobUnknownError(
            f"A start was sent ({self.job.noun} of dataset {self.job.dataset_id}), and the service does not show the "
            "job. Run the task again: it looks for the job before it starts another."
        )

    def _find_in_flight(self, record: ServiceJobRecord) -> ServiceJobRecord | None:
        """Return what a killed worker has started; its request is waited for as long as it may be on its way."""
        arrives_until = (record.sent or 0.0) + sum(_IN_FLIGHT_PAUSES)
        for _ in paused(_IN_FLIGHT_PAUSES):
            is_last_look = system_clock.now() >= arrives_until
            found = self._find_started(record)
            if found is not None or is_last_look:
                return found
        return None

    def _find_started(self, record: ServiceJobRecord) -> ServiceJobRecord | None:
        """Return what a start in phase ``starting`` has started: by its marker, or else by elimination."""
        states = self._list_patiently()
        new = [state for state in states if _is_new(state, record)]
        marked = [state for state in new if record.marker in _markers(state)]
        if marked:
            return self._decide(_most_useful(marked), record)
        if any(_markers(state) for state in states):
            return None
        new = [state for state in new if not state.shown]
        if not new:
            return None
        if len(new) > 1 and record.marker != self.intent.marker:
            return None  # whoever clears the task was asked to look, and wants another
        if len(new) > 1:
            raise self._unclear(new)
        return self._decide(new[0], record)

    def _find_without_record(self) -> ServiceJobRecord | None:
        """Return what an earlier try may have started: by its marker, or where Airflow keeps no state by its time."""
        states = self._list_patiently()
        record = self.make_record("started")
        marked = [state for state in states if self.intent.marker in _markers(state)]
        if marked:
            return self._decide(_most_useful(marked), record)
        active = [state for state in states if state.condition == "active"]
        for state in active:
            for marker in filter(self.intent.is_before_a_clear, _markers(state)):
                return self._decide(state, replace(record, marker=marker))
        # The record is stored before a start: if it would still be there, nothing was started, and these are others'.
        if self.store.outlives_tries or any(_markers(state) for state in states):
            return None
        silent = [state for state in states if not state.shown]
        found = [state for state in silent if state.condition == "active"][:1] or self._finished_in_this_run(silent)
        if len(found) > 1:
            raise self._unclear(found)
        return self._decide(found[0], record) if found else None

    def _finished_in_this_run(self, states: Iterable[JobState]) -> list[JobState]:
        """Return jobs that have succeeded since the run began, unless a user may have cleared the task since.

        Without a record the time and the place of a job are all that tells whose it is. If nothing in the run was
        cleared, an earlier try of this Airflow task has probably started it. Doing its work twice would be worse: a
        second import writes labels over those that people have changed since the first.
        """
        done = [state for state in states if state.condition == "succeeded"]
        lasting = [state for state in done if self._still_serves(state)]
        if lasting or self.intent.is_cleared or self.intent.run_started is None:
            return lasting
        begun = int(self.intent.run_started) * 1000  # the service may write whole seconds
        return [state for state in done if state.created is not None and state.created >= begun]

    def _still_serves(self, state: JobState) -> bool:
        try:
            return self.job.still_serves(self.hook.client, state.job_id)
        except ModelArtsError as error:
            if not error.permanent:
                raise
            self.log.warning("It cannot be told whether another job would change anything. %s", error)
            return False

    def _unclear(self, states: Iterable[JobState]) -> ServiceJobsUnclearError:
        names = ", ".join(f"{state.job_id} ({state.condition})" for state in states)
        return ServiceJobsUnclearError(
            f"A start was interrupted ({self.job.noun} of dataset {self.job.dataset_id}), and nothing tells which "
            f"job it has started: one of {names} may be it. Look at them in the console, then clear the task to "
            "start another."
        )

    def _decide(self, state: JobState, record: ServiceJobRecord) -> ServiceJobRecord | None:
        """Return the job to wait for, given one of this Airflow task; None if another has to be started."""
        name = self.job.describe(state.job_id)
        is_cleared = state.condition == "succeeded" and record.marker != self.intent.marker
        if state.condition == "failed" or (is_cleared and not self._still_serves(state)):
            self.log.info("%s is over (%s); another one is started.", name, state.condition)
            return None
        if is_cleared:
            self.log.info("%s was over before the task was cleared, and another one would change nothing.", name)
        else:
            self.log.info("Following what an earlier try or request has started: %s (%s).", name, state.condition)
        return replace(record, phase="started", job_id=state.job_id, marker=self.intent.marker, known=())

    @property
    def _fingerprint(self) -> str:
        text = json.dumps([self.job.name, asdict(self.job), self.request], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _list_patiently(self) -> list[JobState]:
        return self._ask_patiently(lambda client: self.job.listed(client, self.request), "of an earlier try")

    def _ask_patiently(self, ask: Callable[[ModelArtsClient], T], job_id: str) -> T:
        """Return the answer of the service. One refusal proves nothing, so several in a row are needed to give up.

        :raises NotFound: if it is not found each time
        """
        for _ in paused(ODD_PAUSES):
            try:
                return ask(self.hook.client)
            except ModelArtsError as error:
                if not error.permanent:
                    raise
                refusal = error
        if isinstance(refusal, NotFound):
            raise refusal
        raise _given_up(_unreadable(self.job.describe(job_id), refusal), refusal)


def _is_new(state: JobState, record: ServiceJobRecord) -> bool:
    """Return whether a job may have been started after a record was written."""
    is_older = None not in (state.created, record.newest) and (state.created or 0) < (record.newest or 0)
    return state.job_id not in record.known and not is_older


def _markers(state: JobState) -> list[str]:
    """Return the markers in a job's text; it may also contain what its author chose."""
    return _MARKER.findall(state.shown)


def _most_useful(states: Sequence[JobState]) -> JobState:
    """Return an active job, else one that succeeded, else any."""
    order: Iterable[JobCondition] = ("active", "succeeded", "failed")
    return next(state for condition in order for state in states if state.condition == condition)


def _unreadable(what: str, error: ModelArtsError) -> str:
    """Return the message of a wait that gives up because the service refuses several polls in a row."""
    return (
        f"{what} may still be running and is no longer waited for: {ODD_ANSWERS} requests in a row were refused. "
        f"Check it in the console. The last refusal: {error.message}"
    )


def _given_up(message: str, error: ModelArtsError) -> ModelArtsError:
    """Return the error for such a message. A refused credential keeps its class: a retry would send it again."""
    error_class = type(error) if isinstance(error, AuthenticationError) else ServiceJobUnreadableError
    return error_class(message, **error.details())


# --- the wait


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
            return _given_up(self.message, error_from(self.summary.get("error") or {}, self.message))
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
            return self._outcome("error", _unreadable(self._what, error), {"error": describe(error)})
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
