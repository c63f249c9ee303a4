"""One job of the service: what is remembered, what a poll means, and which listed job is ours."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    Throttled,
)
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS
from airflow_provider_modelarts.client.resources.transfers import Sync
from airflow_provider_modelarts.hooks.errors import (
    ServiceJobFailed,
    ServiceJobsUnclearError,
    ServiceJobTimeout,
    ServiceJobUnknownError,
    ServiceJobUnreadableError,
)
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.utils.dataset_jobs import DatasetReadiness, ImportJob, PublicationJob, SyncJob
from airflow_provider_modelarts.utils.job_kinds import JOB_KINDS, job_of
from airflow_provider_modelarts.utils.service_job import JobState, ServiceJob
from airflow_provider_modelarts.utils.service_job_start import (
    JOB_RECORD_KEY,
    ServiceJobRecord,
    ServiceJobStarter,
    ServiceJobStore,
)
from airflow_provider_modelarts.utils.service_job_wait import JobOutcome, JobWait
from airflow_provider_modelarts.utils.task_record import RECORD_KEY, TaskIntent
from tests.support.operator_driver import StandInStore, StandInTaskInstance, context_of, moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


# --- what is remembered


def test_the_names_that_running_airflows_hold_stay() -> None:
    assert set(JOB_KINDS) >= {"readiness", "sync", "import", "export", "publication"}
    assert JOB_RECORD_KEY == "modelarts_service_job" != RECORD_KEY
    assert job_of("import", {"dataset_id": "d"}) == ImportJob("d")
    with pytest.raises(KeyError):
        job_of("other", {"dataset_id": "d"})


def test_every_kind_has_a_name_of_its_own_and_text_fields_alone() -> None:
    for name, kind in JOB_KINDS.items():
        assert kind.name == name
        assert kind.noun
        ids = {one.name: "x" for one in fields(kind)}
        assert "dataset_id" in ids
        assert asdict(job_of(name, ids)) == ids


RECORD = ServiceJobRecord("starting", "sync", {"dataset_id": "d"}, "af-1", "f", known=("a",), facts={"n": 1})


def test_a_record_survives_its_store(moved_clock: MovedClock) -> None:
    store = ServiceJobStore(
        context_of(StandInTaskInstance(moment(moved_clock)), run_started=moment(moved_clock), store=StandInStore())
    )
    assert store.read() is None
    store.write(RECORD)
    assert store.read() == RECORD


def test_what_a_later_version_adds_to_a_record_is_left_out_and_what_is_no_record_is_none() -> None:
    stored = {**asdict(RECORD), "known": ["a"], "added_later": 1}
    assert ServiceJobRecord.from_json(stored) == RECORD
    for value in (None, [], "text", {}, {"phase": "started"}):
        assert ServiceJobRecord.from_json(value) is None


# --- what a poll means


def make_wait(deadline: float = 1000) -> JobWait:
    return JobWait(ImportJob("d"), "i", deadline=deadline, started=0)


@pytest.mark.parametrize(
    ("condition", "status", "error"), [("succeeded", "success", None), ("failed", "failed", ServiceJobFailed)]
)
def test_a_job_that_is_over_ends_the_wait(condition: Any, status: str, error: type | None) -> None:
    outcome = make_wait().on_answer(JobState("i", condition, summary={"n": 1}, reason="It broke. [M.1]"), 10)
    assert isinstance(outcome, JobOutcome)
    assert (outcome.status, outcome.kind, outcome.job_id, outcome.summary) == (status, "import", "i", {"n": 1})
    again = JobOutcome.from_event(outcome.to_event())
    assert again == outcome
    found = again.exception()
    assert (found and type(found)) is error
    if found:
        assert "Import i of dataset d failed: It broke. [M.1]. Mend the cause" in str(found)


def test_a_job_that_is_not_over_at_the_deadline_is_a_timeout_that_says_what_was_seen() -> None:
    wait = make_wait()
    assert wait.on_answer(JobState("i", "active", progress="running, 3 of 7 files"), 999) == pytest.approx(1)
    outcome = wait.on_answer(JobState("i", "active", progress="running, 4 of 7 files"), 1000)
    assert isinstance(outcome, JobOutcome)
    assert type(outcome.exception()) is ServiceJobTimeout
    assert "(last: running, 4 of 7 files)" in outcome.message


def test_errors_that_pass_do_not_end_a_wait_before_its_deadline() -> None:
    wait = make_wait()
    for now in range(0, 900, 10):
        assert not isinstance(wait.on_error(ServiceUnavailable("down"), now), JobOutcome)
    assert wait.on_error(Throttled("slow", retry_after=70), 900) == 70
    outcome = wait.on_error(ServiceUnavailable("down"), 1000)
    assert isinstance(outcome, JobOutcome)
    assert (outcome.status, outcome.summary["error"]["type"]) == ("timeout", "ServiceUnavailable")


@pytest.mark.parametrize(
    ("error", "raised"),
    [(NotFound("gone"), ServiceJobUnreadableError), (AuthenticationError("no"), AuthenticationError)],
)
def test_several_refusals_in_a_row_end_a_wait(error: Any, raised: type) -> None:
    wait = make_wait()
    for _ in range(ODD_ANSWERS - 1):
        assert not isinstance(wait.on_error(error, 0), JobOutcome)
    wait.on_answer(JobState("i", "active"), 0)
    for _ in range(ODD_ANSWERS - 1):
        assert not isinstance(wait.on_error(error, 0), JobOutcome)
    outcome = wait.on_error(error, 0)
    assert isinstance(outcome, JobOutcome)
    found = JobOutcome.from_event(outcome.to_event()).exception()
    assert type(found) is raised
    assert f"The last refusal: {error.message}" in str(found)


def test_a_dataset_that_is_broken_is_not_waited_for(emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(3)
    emulator.dataset(dataset_id).status = 4
    wait = JobWait(DatasetReadiness(dataset_id), dataset_id, deadline=1e12)
    outcome = wait.poll(ModelArtsHook(), _Log())
    assert isinstance(outcome, JobOutcome)
    assert type(outcome.exception()) is ServiceJobFailed
    assert "cannot be worked with: error" in outcome.message


# --- which job is ours


class SilentPublication(PublicationJob):
    """A service that does not show the description of a version."""

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the versions without their text."""
        return [replace(state, shown="") for state in super().listed(client, request)]


@dataclass
class Starts:
    """Starters of the tries of one Airflow task."""

    clock: MovedClock
    job: ServiceJob
    request: dict[str, Any]

    def __post_init__(self) -> None:
        self.ti = StandInTaskInstance(moment(self.clock), max_tries=3)
        self.state = StandInStore()
        self.run_started = moment(self.clock)

    def starter(self) -> ServiceJobStarter:
        context = context_of(self.ti, run_started=self.run_started, store=self.state)
        return ServiceJobStarter(
            ModelArtsHook(),
            ServiceJobStore(context),
            TaskIntent.of(context),
            self.job,
            self.request,
            is_first_try=self.ti.try_number == 1,
            log=_Log(),
        )


class _Log:
    def info(self, *_: Any) -> None: ...
    def warning(self, *_: Any) -> None: ...


BODY: dict[str, Any] = {"body": {}, "extra": None}


def test_without_a_text_what_was_not_there_before_is_ours(emulator: Emulator, moved_clock: MovedClock) -> None:
    emulator.job_seconds = 5
    dataset_id = emulator.load_proposals(5)
    client = ModelArtsHook().client
    client.versions.create(dataset_id)
    moved_clock.advance(100)
    starts = Starts(moved_clock, SilentPublication(dataset_id), BODY)
    record = starts.starter().start()
    starting = starts.starter().store.read()
    assert starting is not None
    assert starting.phase == "starting"  # as after a crash before the next record
    found = starts.starter().find()
    assert found is not None
    assert found.job_id == record.job_id


def test_of_several_none_is_ours_until_a_clear(emulator: Emulator, moved_clock: MovedClock) -> None:
    emulator.job_seconds = 5
    dataset_id = emulator.load_proposals(5)
    starts = Starts(moved_clock, SilentPublication(dataset_id), BODY)
    starts.starter().start()
    moved_clock.advance(100)
    ModelArtsHook().client.versions.create(dataset_id)
    with pytest.raises(ServiceJobsUnclearError, match="clear the task"):
        starts.starter().find()
    starts.ti.max_tries += 1
    assert starts.starter().find() is None


def test_a_version_of_somebody_else_with_a_text_is_not_ours(emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(5)
    starts = Starts(moved_clock, PublicationJob(dataset_id), BODY)
    starter = starts.starter()
    starter.store.write(starter.make_record("starting"))
    ModelArtsHook().client.versions.create(dataset_id, {"description": "by hand"})
    assert starts.starter().find() is None


def test_a_marker_that_only_begins_like_ours_is_another(emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(5)
    starts = Starts(moved_clock, PublicationJob(dataset_id), BODY)
    starter = starts.starter()
    starter.store.write(starter.make_record("starting"))
    ModelArtsHook().client.versions.create(dataset_id, {"description": f"{starter.intent.marker}0"})
    assert starts.starter().find() is None


def test_a_refused_start_leaves_nothing_that_could_be_taken_for_ours(
    emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_proposals(5)
    starts = Starts(moved_clock, ImportJob(dataset_id), {"body": {"import_path": "/b/none/"}, "extra": None})
    with pytest.raises(InvalidRequest):
        starts.starter().start()
    emulator.put_images("/b/none/", 1)
    ModelArtsHook().client.imports.start(dataset_id, {"import_path": "/b/none/"})
    assert starts.starter().find() is None


@pytest.mark.parametrize(("code", "is_gone"), [("ModelArts.4359", True), ("Gateway.0404", False)])
def test_a_job_is_gone_by_a_word_of_the_service_alone(
    emulator: Emulator, moved_clock: MovedClock, code: str, is_gone: bool
) -> None:
    """Some proxy in between knows no job at all; a second import would be the answer to that."""
    dataset_id = emulator.load_proposals(5)
    emulator.put_images("/b/more/", 1)
    starts = Starts(moved_clock, ImportJob(dataset_id), {"body": {"import_path": "/b/more/"}, "extra": None})
    record = starts.starter().start()
    starts.starter().store.write(record)
    starts.ti.try_number += 1
    rule = emulator.faults.add("GET", f"/{record.job_id}", "status", status=404, code=code, times=None)
    if is_gone:
        assert starts.starter().find() is None
    else:
        with pytest.raises(ServiceJobUnreadableError):
            starts.starter().find()
    assert rule.fired > 1


@pytest.mark.parametrize("late", [2, 9])
def test_a_synchronization_that_shows_late_is_looked_for(
    emulator: Emulator, moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    dataset_id = emulator.load_digits(labeled=10)
    starts = Starts(moved_clock, SyncJob(dataset_id), BODY)
    client = ModelArtsHook().client
    client.sync.start(dataset_id)
    moved_clock.advance(100)
    before, status = client.sync.status(dataset_id), Sync.status
    answers = [before] * (1 + late)

    def status_late(*arguments: Any, **parameters: Any) -> Any:
        return answers.pop() if answers else status(*arguments, **parameters)

    monkeypatch.setattr(Sync, "status", status_late)
    if late == 2:
        assert starts.starter().start().job_id != before.task_id
    else:
        with pytest.raises(ServiceJobUnknownError, match="looks for the job before it starts another"):
            starts.starter().start()
        answers.clear()
        found = starts.starter().find()
        assert found is not None
        assert found.job_id != before.task_id
    assert emulator.journal.count("POST", "/sync-data") == 2
