"""Starts a job of the service exactly once: the record of a start, and the search for what an earlier try started."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import DatasetBusy, ModelArtsError, NotFound
from airflow_provider_modelarts.client.poll_schedule import ODD_PAUSES
from airflow_provider_modelarts.hooks.errors import ServiceJobsUnclearError, ServiceJobUnknownError
from airflow_provider_modelarts.utils.polling import SEARCH_PAUSES, paused
from airflow_provider_modelarts.utils.service_job_wait import unreadable_error, unreadable_message
from airflow_provider_modelarts.utils.task_record import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.utils.service_job import JobCondition, JobState, ServiceJob
    from airflow_provider_modelarts.utils.task_record import TaskIntent

T = TypeVar("T")

JobPhase = Literal["starting", "started", "awaited"]

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

_REQUIRED_FIELDS = frozenset({"phase", "kind", "ids", "marker", "fingerprint"})


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

        :raises NotFound: if it is not found each time; by a 404 of a proxy alone a second job would be started
        """
        for _ in paused(ODD_PAUSES):
            try:
                return ask(self.hook.client)
            except ModelArtsError as error:
                if not error.permanent:
                    raise
                refusal = error
        if isinstance(refusal, NotFound) and refusal.is_word_of_service:
            raise refusal
        raise unreadable_error(unreadable_message(self.job.describe(job_id), refusal), refusal)


def _is_new(state: JobState, record: ServiceJobRecord) -> bool:
    """Return whether a job may have been started after a record was written."""
    is_older = state.created is not None and record.newest is not None and state.created < record.newest
    return state.job_id not in record.known and not is_older


def _markers(state: JobState) -> list[str]:
    """Return the markers in a job's text; it may also contain what its author chose."""
    return _MARKER.findall(state.shown)


def _most_useful(states: Sequence[JobState]) -> JobState:
    """Return an active job, else one that succeeded, else any."""
    order: Iterable[JobCondition] = ("active", "succeeded", "failed")
    return next(state for condition in order for state in states if state.condition == condition)
