"""Synchronization, import, export, publication: started once, waited for, resumed, and what is said when they fail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from airflow_provider_modelarts.client.errors import DatasetBusy, ServiceUnavailable
from airflow_provider_modelarts.client.resources.transfers import Exports, Imports, Sync
from airflow_provider_modelarts.client.resources.versions import Versions
from airflow_provider_modelarts.hooks.errors import ParameterError, ServiceJobFailed, ServiceJobTimeout
from airflow_provider_modelarts.operators._service_job import ServiceJobOperator
from airflow_provider_modelarts.operators.datasets import (
    ModelArtsCheckDatasetOperator,
    ModelArtsExportSamplesOperator,
    ModelArtsImportSamplesOperator,
    ModelArtsPublishVersionOperator,
    ModelArtsSyncDatasetOperator,
)
from airflow_provider_modelarts.utils.service_job_start import JOB_RECORD_KEY, ServiceJobStore
from tests.support.operator_driver import (
    Ending,
    StandInStore,
    StandInTaskInstance,
    context_of,
    drive,
    drive_try,
    moment,
)
from tests.support.operator_tries import Crash, after, run_try

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
RETRIES = 3
INCOMING, OUTGOING = "/incoming/flowers/", "/outgoing/flowers/"


@dataclass(frozen=True)
class Kind:
    """One kind of job: its operator, what it is given, where its start goes, and what starts it in the client."""

    operator: type[ServiceJobOperator]
    path: str
    client: type
    start: str
    given: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "sync": Kind(ModelArtsSyncDatasetOperator, "/sync-data", Sync, "start"),
    "import": Kind(
        ModelArtsImportSamplesOperator, "/import-tasks", Imports, "start", {"import_path": f"obs:/{INCOMING}"}
    ),
    "export": Kind(ModelArtsExportSamplesOperator, "/export-tasks", Exports, "start", {"path": f"obs:/{OUTGOING}"}),
    "version": Kind(ModelArtsPublishVersionOperator, "/versions", Versions, "create"),
}
every_kind = pytest.mark.parametrize("name", KINDS)


@dataclass
class JobLife:
    """One Airflow task that starts a job, through its tries."""

    emulator: Emulator
    clock: MovedClock
    dataset_id: str
    kind: Kind
    has_store: bool = True
    deferrable: bool = True

    def __post_init__(self) -> None:
        self.run_started = moment(self.clock)
        self.store = StandInStore() if self.has_store else None
        self.clear_number = 0
        self.ti = StandInTaskInstance(moment(self.clock), task_id="job", max_tries=RETRIES)

    def attempt(self, *, crash: Callable[[pytest.MonkeyPatch], None] | None = None, **parameters: Any) -> Ending | None:
        """Run one try; return how it ended, None if it crashed."""
        given = {"dataset_id": self.dataset_id, "deferrable": self.deferrable, **self.kind.given, **parameters}
        operator = self.kind.operator(task_id="job", **given)
        return run_try(
            operator,
            self.clock,
            self.ti,
            crash=crash,
            run_started=self.run_started,
            store=self.store,
            clear_number=self.clear_number,
        )

    def retry(self, **parameters: Any) -> Ending | None:
        """Run the next try, as after a failure or a lost worker; Airflow has deleted the XComs."""
        self.ti = replace(self.ti, start_date=moment(self.clock), try_number=self.ti.try_number + 1, xcoms={})
        return self.attempt(**parameters)

    def clear(self, **parameters: Any) -> Ending | None:
        """Run the next try, as after a user has cleared the task."""
        self.ti = replace(self.ti, max_tries=self.ti.try_number + RETRIES)
        self.clear_number += 1
        return self.retry(**parameters)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """The bodies of the starts that reached the service."""
        found = self.emulator.journal.select("POST", match=lambda record: record.path.endswith(self.kind.path))
        return [json.loads(record.body) if record.body else {} for record in found]

    def before_the_reply(self, patch: pytest.MonkeyPatch) -> None:
        """Die after the service got the start, before its answer is known."""
        after(self.kind.client, self.kind.start)(patch)


def at_record(phase: str, *, written: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a moment to die: when a record of a phase is to be written, or just was."""

    def patch_in(patch: pytest.MonkeyPatch) -> None:
        write = ServiceJobStore.write

        def write_or_die(store: ServiceJobStore, record: Any) -> None:
            if record.phase != phase:
                return write(store, record)
            if written:
                write(store, record)
            raise Crash

        patch.setattr(ServiceJobStore, "write", write_or_die)

    return patch_in


def before_the_result(patch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        raise Crash

    patch.setattr(ServiceJobOperator, "_conclude", die)


MOMENTS = {
    "before_the_record": at_record("starting", written=False),
    "before_the_start": at_record("starting", written=True),
    "before_it_is_stored": at_record("started", written=False),
    "before_it_is_deferred": at_record("started", written=True),
    "before_the_result": before_the_result,
}


@pytest.fixture
def begin(emulator: Emulator, moved_clock: MovedClock) -> Callable[..., JobLife]:
    """Begin a task's life on a dataset with three new images in its folder, and two elsewhere."""
    emulator.job_seconds = 300
    dataset_id = emulator.load_digits(labeled=100)
    emulator.add_images(dataset_id, 3)
    emulator.put_images(INCOMING, 2, label="1")

    def begin(name: str, **given: Any) -> JobLife:
        return JobLife(emulator, moved_clock, dataset_id, KINDS[name], **given)

    return begin


# --- what is sent, and what is returned


@both_ways
def test_new_images_come_in(begin: Any, deferrable: bool) -> None:
    life = begin("sync", deferrable=deferrable)
    ending = life.attempt()
    assert ending.error is None
    result = ending.result
    assert result.pop("sync_id")
    assert result == {"samples_before": 1797, "samples_after": 1800, "added": 3, "deleted": 0}
    assert ending.deferrals == deferrable
    assert len(life.starts) == 1


@both_ways
def test_a_folder_is_imported(begin: Any, deferrable: bool) -> None:
    life = begin("import", deferrable=deferrable)
    ending = life.attempt(final_annotation="false", settings='{"difficult_only": "false"}')
    assert ending.error is None
    assert {name: ending.result[name] for name in ("imported", "unconfirmed")} == {"imported": 2, "unconfirmed": 2}
    assert life.starts == [{"import_path": f"obs:/{INCOMING}", "final_annotation": False, "difficult_only": False}]


@both_ways
def test_labeled_samples_are_exported(begin: Any, deferrable: bool) -> None:
    life = begin("export", deferrable=deferrable)
    ending = life.attempt(export_type="0")
    assert ending.error is None
    assert {name: ending.result[name] for name in ("samples", "exported")} == {"samples": 100, "exported": 100}
    assert life.starts == [{"path": f"obs:/{OUTGOING}", "export_type": 0}]


@both_ways
def test_a_version_is_published(begin: Any, deferrable: bool) -> None:
    life = begin("version", deferrable=deferrable)
    ending = life.attempt(version_name="nightly", description="by Airflow")
    assert ending.error is None
    (body,) = life.starts
    assert body["version_name"] == "nightly"
    assert body["description"].startswith("by Airflow af-")
    assert ending.result["version_name"] == "nightly"
    assert ending.result["manifest_path"].endswith("/nightly/nightly.manifest")
    assert ending.result["labeled"] == 100


# --- exactly once


@both_ways
@pytest.mark.parametrize("moment", [*MOMENTS, "before_the_reply"])
@every_kind
def test_after_a_crash_the_next_try_ends_as_if_nothing_had_happened(
    begin: Any, name: str, moment: str, deferrable: bool
) -> None:
    life = begin(name, deferrable=deferrable)
    assert life.attempt(crash=MOMENTS.get(moment, life.before_the_reply)) is None
    ending = life.retry()
    assert ending.error is None, ending.error
    assert len(life.starts) == 1
    if name == "sync":
        assert (ending.result["samples_before"], ending.result["added"]) == (1797, 3)


LOST = [(name, fault) for name in KINDS for fault in ("reset_after", "truncated")]
LOST.remove(("sync", "truncated"))  # its answer has no body that could be cut


@pytest.mark.parametrize(("name", "fault"), LOST)
def test_a_lost_reply_is_no_second_start(begin: Any, name: str, emulator: Emulator, fault: str) -> None:
    life = begin(name)
    emulator.faults.add("POST", KINDS[name].path.strip("/"), fault)
    ending = life.attempt()
    assert ending.error is None, ending.error
    assert emulator.faults.fired[fault] == 1
    assert len(life.starts) == 1


@every_kind
def test_a_start_that_did_not_arrive_is_sent_by_a_retry(begin: Any, name: str, emulator: Emulator) -> None:
    life = begin(name)
    emulator.faults.add("POST", KINDS[name].path.strip("/"), "status", status=502)
    ending = life.attempt()
    assert type(ending.error) is ServiceUnavailable
    assert emulator.faults.fired["status"] == 1
    assert life.retry().error is None
    assert len(life.starts) == 2  # the first was not carried out


@every_kind
def test_a_retry_goes_on_with_what_was_not_over_in_time(begin: Any, name: str) -> None:
    life = begin(name)
    ending = life.attempt(timeout=60)
    assert type(ending.error) is ServiceJobTimeout
    assert "It goes on" in str(ending.error)
    assert life.retry().error is None
    assert len(life.starts) == 1


@pytest.mark.parametrize("name", ["sync", "import", "export"])
def test_what_succeeded_is_done_again_after_a_clear(begin: Any, name: str) -> None:
    life = begin(name)
    assert life.attempt().error is None
    life.clock.advance(60)
    assert life.clear().error is None
    assert len(life.starts) == 2


@both_ways
def test_after_a_clear_a_version_of_the_same_labels_is_kept(begin: Any, deferrable: bool) -> None:
    life = begin("version", deferrable=deferrable)
    first = life.attempt()
    life.clock.advance(600)
    assert life.clear().result == first.result
    assert life.clear().result == first.result
    assert len(life.starts) == 1


def two_labels_change_places(life: JobLife) -> None:
    """No count tells that."""
    dataset = life.emulator.dataset(life.dataset_id)
    labeled = {dataset.names_of(key)[0]: key for key in dataset.samples if dataset.names_of(key)}
    (one, first), (other, second) = list(labeled.items())[:2]
    dataset.edit(first, other)
    dataset.edit(second, one)


def one_label_is_added(life: JobLife) -> None:
    dataset = life.emulator.dataset(life.dataset_id)
    dataset.edit(next(key for key in dataset.samples if not dataset.names_of(key)), "1")


def the_version_is_deleted(life: JobLife) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    versions = ModelArtsHook().client.versions
    for version in list(versions.list(life.dataset_id)):
        versions.delete(life.dataset_id, version.version_id)


@pytest.mark.parametrize("happens", [two_labels_change_places, one_label_is_added, the_version_is_deleted])
def test_after_a_clear_another_version_is_published_if_something_has_changed(begin: Any, happens: Any) -> None:
    life = begin("version")
    first = life.attempt()
    life.clock.advance(600)
    happens(life)
    second = life.clear()
    assert second.error is None
    assert second.result["version_id"] != first.result["version_id"]
    assert len(life.starts) == 2


@pytest.mark.parametrize(("status", "code"), [(400, "ModelArts.0104"), (403, "ModelArts.0108")])
def test_after_a_clear_another_version_is_published_where_the_labels_of_one_cannot_be_read(
    begin: Any, emulator: Emulator, status: int, code: str
) -> None:
    life = begin("version")
    assert life.attempt().error is None
    life.clock.advance(600)
    rule = emulator.faults.add(
        "GET", "/samples", "status", status=status, code=code, times=None, match=lambda call: "version_id" in call.query
    )
    assert life.clear().error is None
    assert rule.fired
    assert len(life.starts) == 2


def test_an_outage_while_the_labels_of_a_version_are_read_publishes_nothing(begin: Any, emulator: Emulator) -> None:
    life = begin("version")
    first = life.attempt()
    life.clock.advance(600)
    rule = emulator.faults.add("GET", "/samples", "status", status=503, times=None)
    assert type(life.clear().error) is ServiceUnavailable
    assert rule.fired
    emulator.faults.clear()
    assert life.retry().result == first.result
    assert len(life.starts) == 1


def test_after_a_clear_with_other_parameters_another_version_is_published(begin: Any) -> None:
    life = begin("version")
    first = life.attempt()
    life.clock.advance(600)
    assert life.clear(description="asked for").result["version_id"] != first.result["version_id"]


def test_two_runs_that_publish_one_dataset_at_once_have_a_version_each(begin: Any) -> None:
    first = begin("version")
    first.attempt(crash=MOMENTS["before_it_is_deferred"])
    second = begin("version")
    second.dataset_id, second.ti.run_id = first.dataset_id, "another"
    ended = [second.attempt(), first.retry()]  # the second waits for the first one's version, and for the minute
    assert [ending.error for ending in ended] == [None, None]
    assert {ending.result["version_name"] for ending in ended} == {"V001", "V002"}


@pytest.mark.parametrize("moment", [at_record("awaited", written=True), at_record("awaited", written=False)])
def test_a_retry_after_the_minute_between_two_versions_publishes_one(
    begin: Any, emulator: Emulator, moment: Any
) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    emulator.job_seconds = 5
    first = begin("version")
    assert first.attempt().error is None
    life = begin("version")
    life.dataset_id, life.ti.run_id = first.dataset_id, "another"
    assert life.attempt(crash=moment) is None
    life.clock.advance(90)
    ending = life.retry()
    assert ending.error is None
    assert ending.result["version_name"] == "V002"
    assert len(list(ModelArtsHook().client.versions.list(life.dataset_id))) == 2


@every_kind
def test_a_start_that_arrives_after_its_worker_was_killed_is_no_reason_for_another(
    begin: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = begin(name)
    sent: list[Callable[[], Any]] = []
    start = getattr(life.kind.client, life.kind.start)

    def send_and_die(*arguments: Any, **parameters: Any) -> Any:
        sent.append(lambda: start(*arguments, **parameters))
        raise Crash

    def sleep(seconds: float) -> None:
        while sent:
            sent.pop()()
        pause(seconds)

    assert life.attempt(crash=lambda patch: patch.setattr(life.kind.client, life.kind.start, send_and_die)) is None
    pause = life.clock.sleep
    monkeypatch.setattr(life.clock, "sleep", sleep)
    ending = life.retry()
    assert ending.error is None, ending.error
    assert sent == []
    assert len(life.starts) == 1


@every_kind
def test_what_is_active_is_followed_after_a_clear(begin: Any, name: str) -> None:
    life = begin(name)
    life.attempt(timeout=60)
    assert life.clear().error is None
    assert len(life.starts) == 1


@every_kind
def test_what_failed_is_started_again_and_its_result_was_pushed(begin: Any, name: str, emulator: Emulator) -> None:
    life = begin(name)
    emulator.faults.add("POST", KINDS[name].path.strip("/"), "fail_task", code="ModelArts.4917", message="It broke")
    ending = life.attempt()
    assert type(ending.error) is ServiceJobFailed
    assert "It broke" in str(ending.error)
    assert "ModelArts.4917" in str(ending.error)
    assert ending.xcoms["return_value"]
    life.clock.advance(60)
    assert life.retry().error is None
    assert len(life.starts) == 2


@every_kind
def test_a_zombie_starts_nothing(begin: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    life = begin(name)

    def broken(*_: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(life.store, "set", broken)
    assert type(life.attempt().error) is BrokenPipeError
    assert life.starts == []


@every_kind
def test_where_airflow_keeps_nothing_what_is_active_is_followed(begin: Any, name: str) -> None:
    life = begin(name, has_store=False)
    life.attempt(crash=life.before_the_reply)
    assert life.retry().error is None
    assert len(life.starts) == 1


@pytest.mark.parametrize("moment", ["before_the_reply", "before_it_is_deferred", "before_the_result"])
@every_kind
def test_where_airflow_keeps_nothing_what_is_over_is_known_by_its_time(begin: Any, name: str, moment: str) -> None:
    life = begin(name, has_store=False)
    assert life.attempt(crash=MOMENTS.get(moment, life.before_the_reply)) is None
    life.clock.advance(600)
    ending = life.retry()
    assert ending.error is None
    assert len(life.starts) == 1


@pytest.mark.parametrize("name", ["sync", "import", "export"])
def test_where_airflow_keeps_nothing_a_clear_starts_another(begin: Any, name: str) -> None:
    life = begin(name, has_store=False)
    assert life.attempt().error is None
    life.clock.advance(600)
    assert life.clear().error is None
    assert len(life.starts) == 2


@pytest.mark.parametrize("name", ["sync", "import", "export"])
def test_where_airflow_keeps_nothing_the_job_of_the_run_before_is_not_ours(begin: Any, name: str) -> None:
    before = begin(name, has_store=False)
    assert before.attempt().error is None
    before.clock.advance(1)
    life = JobLife(before.emulator, before.clock, before.dataset_id, before.kind, has_store=False)
    life.ti.run_id = "another"
    assert life.attempt(crash=MOMENTS["before_the_start"]) is None
    life.clock.advance(600)
    assert life.retry().error is None
    assert len(life.starts) == 2


def test_where_airflow_keeps_nothing_of_several_that_are_over_none_is_taken(begin: Any) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    life = begin("export", has_store=False)
    life.attempt(crash=life.before_the_reply)
    for kind in (0, 2):
        ModelArtsHook().client.exports.start(life.dataset_id, {"path": OUTGOING, "export_type": kind})
    life.clock.advance(600)
    ending = life.retry()
    assert type(ending.error) is AirflowFailException
    assert "clear the task to start another" in str(ending.error)
    assert life.clear().error is None


def test_where_airflow_keeps_nothing_an_export_of_another_kind_is_not_ours(begin: Any) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    life = begin("export", has_store=False)
    life.attempt(crash=MOMENTS["before_the_start"], export_type=1)
    theirs = ModelArtsHook().client.exports.start(life.dataset_id, {"path": OUTGOING, "export_type": 0})
    life.clock.advance(600)
    assert life.retry(export_type=1).result["export_id"] != theirs


def test_a_version_is_found_by_its_marker_where_airflow_keeps_nothing(begin: Any) -> None:
    life = begin("version", has_store=False)
    life.attempt(crash=life.before_the_reply)
    life.clock.advance(600)
    assert life.retry().error is None
    assert len(life.starts) == 1


def test_a_version_from_before_a_clear_is_followed_where_airflow_keeps_nothing(begin: Any) -> None:
    life = begin("version", has_store=False)
    life.attempt(crash=life.before_the_reply)
    assert life.clear().error is None
    assert len(life.starts) == 1


def test_what_runs_is_not_ours_if_airflow_would_know_of_our_start(begin: Any) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    life = begin("import")
    life.attempt(crash=MOMENTS["before_the_record"])
    theirs = ModelArtsHook().client.imports.start(life.dataset_id, {"import_path": INCOMING})
    ending = life.retry()
    assert ending.error is None
    assert ending.result["import_id"] != theirs


def test_a_version_without_a_marker_is_not_ours_where_the_service_shows_markers(begin: Any) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    assert begin("version").attempt().error is None
    life = begin("version", has_store=False)
    life.ti.run_id = "another"
    life.clock.advance(100)
    life.attempt(crash=MOMENTS["before_the_record"])
    theirs = ModelArtsHook().client.versions.create(life.dataset_id)
    ending = life.retry()
    assert ending.error is None
    assert ending.result["version_id"] != theirs


def test_what_others_have_imported_before_is_not_taken_for_ours(begin: Any) -> None:
    theirs = begin("import")
    assert theirs.attempt().error is None
    theirs.clock.advance(60)
    assert theirs.clear().error is None
    life = begin("import")
    life.ti.run_id = "another"
    life.attempt(crash=MOMENTS["before_the_start"])
    ending = life.retry()
    assert ending.error is None
    assert len(life.starts) == 3


def test_the_import_of_other_inputs_is_not_followed(begin: Any, emulator: Emulator) -> None:
    """As after a clear of mapped tasks whose inputs have changed their order."""
    emulator.put_images("/incoming/other/", 1)
    life = begin("import")
    assert life.attempt().error is None
    ending = life.retry(import_path="/incoming/other/")
    assert ending.error is None
    assert [body["import_path"] for body in life.starts] == [f"obs:/{INCOMING}", "/incoming/other/"]
    assert ending.result["imported"] == 1


def test_of_several_that_may_be_ours_none_is_taken_and_all_are_named(begin: Any) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    life = begin("export")
    life.attempt(crash=life.before_the_reply)
    ModelArtsHook().client.exports.start(life.dataset_id, {"path": OUTGOING})
    ending = life.retry()
    assert type(ending.error) is AirflowFailException
    assert all(task.task_id in str(ending.error) for task in ModelArtsHook().client.exports.list(life.dataset_id))
    assert len(life.starts) == 2
    assert life.clear().error is None
    assert len(life.starts) == 3


# --- a dataset that is busy


@both_ways
@pytest.mark.parametrize("name", ["sync", "import", "version"])
def test_a_busy_dataset_is_waited_for(begin: Any, name: str, deferrable: bool) -> None:
    other = begin("version")
    other.ti.task_id = "other"
    assert type(other.attempt(timeout=60).error) is ServiceJobTimeout
    assert other.emulator.dataset(other.dataset_id).status == 6
    life = begin(name, deferrable=deferrable)
    ending = life.attempt()
    assert ending.error is None, ending.error
    assert ending.deferrals == 2 * deferrable
    assert life.store.get(JOB_RECORD_KEY)["phase"] == "started"


@both_ways
def test_what_a_dataset_is_busy_with_need_not_show_in_its_status(
    begin: Any, emulator: Emulator, deferrable: bool
) -> None:
    life = begin("version", deferrable=deferrable)
    emulator.faults.add("POST", "versions", "status", status=403, code="ModelArts.4613", times=5)
    begun = life.clock.now()
    ending = life.attempt()
    assert ending.error is None, ending.error
    assert emulator.faults.fired["status"] == 5
    assert life.clock.now() - begun >= 5 * 30 + emulator.job_seconds
    assert ending.deferrals == 6 * deferrable


def test_after_a_refusal_somebody_elses_start_is_not_taken_for_ours(begin: Any, emulator: Emulator) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    life = begin("export")
    emulator.faults.add("POST", "export-tasks", "status", status=403, code="ModelArts.0112")
    assert type(life.attempt().error) is AirflowFailException
    theirs = ModelArtsHook().client.exports.start(life.dataset_id, {"path": OUTGOING})
    ending = life.retry()
    assert ending.result["export_id"] != theirs


@both_ways
def test_the_minute_between_two_versions_is_waited_out(begin: Any, deferrable: bool, emulator: Emulator) -> None:
    emulator.job_seconds = 5
    assert begin("version").attempt().error is None
    life = begin("version", deferrable=deferrable)
    life.ti.run_id = "another"
    ending = life.attempt()
    assert ending.error is None
    assert ending.result["version_name"] == "V002"


def test_a_dataset_that_stays_busy_is_given_up_at_the_deadline(begin: Any) -> None:
    begin("version").attempt(timeout=60)
    life = begin("sync")
    ending = life.attempt(timeout=100)
    assert type(ending.error) is ServiceJobTimeout
    assert len(life.starts) == 1  # refused
    life.clock.advance(600)
    assert life.retry().error is None


# --- the end of a try


def test_the_alarm_of_execution_timeout_is_a_timeout(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    life = begin("import")
    start = Imports.start

    def start_then_alarm(*arguments: Any, **parameters: Any) -> str:
        start(*arguments, **parameters)
        raise AirflowTaskTimeout

    with monkeypatch.context() as patch:
        patch.setattr(Imports, "start", start_then_alarm)
        ending = life.attempt()
    assert type(ending.error) is ServiceJobTimeout
    assert life.retry().error is None
    assert len(life.starts) == 1


def test_a_wait_that_no_triggerer_ended_says_so_and_a_retry_goes_on(begin: Any) -> None:
    life = begin("export")
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    operator = life.kind.operator(task_id="job", dataset_id=life.dataset_id, **life.kind.given)
    context = context_of(life.ti, run_started=life.run_started, store=life.store)
    with pytest.raises(ServiceJobTimeout, match="Check that a triggerer runs"):
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert life.retry().error is None
    assert len(life.starts) == 1


def test_the_end_of_the_wait_for_a_busy_dataset_is_no_success_of_a_job(begin: Any) -> None:
    """Also if Airflow has lost what the task has stored."""
    life = begin("export")
    operator = life.kind.operator(task_id="job", dataset_id=life.dataset_id, deferrable=False, **life.kind.given)
    context = context_of(life.ti, run_started=life.run_started, store=life.store)
    event = {"status": "success", "kind": "readiness", "job_id": life.dataset_id, "message": "", "summary": {}}
    assert operator.execute_complete(context, event)["export_id"]
    assert len(life.starts) == 1


def test_errors_on_the_way_are_survived(begin: Any, emulator: Emulator) -> None:
    life = begin("export")
    emulator.faults.add("GET", "export-tasks/", "status", status=503, times=3)
    assert life.attempt().error is None
    assert emulator.faults.fired["status"] == 3


def test_an_unknown_dataset_fails_without_retries(begin: Any) -> None:
    for name in KINDS:
        ending = begin(name).attempt(dataset_id="unknown")
        assert type(ending.error) is AirflowFailException
        assert "Check dataset_id" in str(ending.error)


# --- wrong parameters


@pytest.mark.parametrize(
    ("name", "parameters", "complaint"),
    [
        ("sync", {"dataset_id": ""}, "dataset_id is empty"),
        ("sync", {"deferrable": "maybe"}, "deferrable must be true or false"),
        ("import", {"import_path": "incoming"}, "import_path must be a path of OBS"),
        ("import", {"import_type": "folder"}, "import_type must be one of dir, manifest"),
        ("import", {"settings": {"difficult": True}}, "difficult is unknown; is difficult_only meant"),
        ("import", {"settings": {"import_type": "dir"}, "import_type": "dir"}, "Give one of them"),
        ("export", {"export_type": 4}, "export_type must be a number from 0 to 3"),
        ("export", {"path": None}, "path is empty"),
        ("version", {"version_name": "a" * 33}, "version_name must be 1 to 32"),
        ("version", {"description": "a" * 221}, "description must have at most 220 characters"),
        ("version", {"description": "a > b"}, "description must be at most 256 characters, none of"),
        ("version", {"settings": "[]"}, "settings must be a dict"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(
    name: str, parameters: dict[str, Any], complaint: str
) -> None:
    kind = KINDS[name]
    with pytest.raises(ParameterError, match=complaint):
        kind.operator(task_id="job", **{"dataset_id": "d", **kind.given, **parameters})


@pytest.mark.parametrize(
    ("name", "extra"),
    [("version", {"description": "x"}), ("import", {"import_type": "dir"}), ("export", {"path": "/b/"})],
)
def test_what_the_contract_knows_is_refused_in_extra_when_the_dag_is_parsed(name: str, extra: dict[str, Any]) -> None:
    kind = KINDS[name]
    with pytest.raises(ParameterError, match=rf"extra\.{next(iter(extra))} is a field of the request itself"):
        kind.operator(task_id="job", dataset_id="d", extra=extra, **kind.given)


@every_kind
def test_what_a_template_did_not_give_is_said_before_anything_is_sent(begin: Any, name: str) -> None:
    life = begin(name)
    operator = life.kind.operator(task_id="job", **{"dataset_id": "{{ params.dataset }}", **life.kind.given})
    operator.dataset_id = "None"
    ending = drive_try(operator, life.clock, life.ti, run_started=life.run_started)
    assert type(ending.error) is AirflowFailException
    assert "dataset_id is 'None'" in str(ending.error)
    assert len(life.emulator.journal) == 0


# --- the check


def check(emulator: Emulator, clock: MovedClock, dataset_id: str, **parameters: Any) -> Ending:
    """Run the check once."""
    return drive(ModelArtsCheckDatasetOperator(task_id="check", dataset_id=dataset_id, **parameters), clock)


def test_a_dataset_that_can_be_labeled_passes_the_check(emulator: Emulator, moved_clock: MovedClock) -> None:
    ending = check(emulator, moved_clock, emulator.load_digits(labeled=100))
    assert ending.error is None
    assert (ending.result["ready"], ending.result["unmet"]) == (True, [])
    assert "- yes: 10 labels are given; 2 are needed." in ending.xcoms["summary"]
    assert len(json.dumps(ending.result)) < 2000


@pytest.mark.parametrize(
    ("labeled", "parameters", "error"),
    [
        (0, {}, AirflowFailException),
        (0, {"if_nothing_to_label": "skip"}, AirflowFailException),
        (0, {"if_not_ready": "skip"}, AirflowSkipException),
        (1797, {}, AirflowFailException),
        (1797, {"if_nothing_to_label": "skip"}, AirflowSkipException),
    ],
)
def test_a_check_fails_or_skips_and_its_list_was_pushed(
    emulator: Emulator, moved_clock: MovedClock, labeled: int, parameters: dict[str, Any], error: type[Exception]
) -> None:
    ending = check(emulator, moved_clock, emulator.load_digits(labeled=labeled), **parameters)
    assert type(ending.error) is error
    assert "cannot be labeled by machine now" in str(ending.error)
    assert ending.xcoms["return_value"]["unmet"] == (
        ["unlabeled_images"] if labeled else ["labels", "images_per_label"]
    )
    assert "- NO: " in ending.xcoms["summary"]


def test_a_check_of_a_busy_dataset_is_worth_a_retry(emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    emulator.dataset(dataset_id).status = 6
    assert type(check(emulator, moved_clock, dataset_id).error) is DatasetBusy
    skipped = check(emulator, moved_clock, dataset_id, if_nothing_to_label="skip")
    assert type(skipped.error) is DatasetBusy


@pytest.mark.parametrize("name", ["if_not_ready", "if_nothing_to_label"])
@pytest.mark.parametrize("value", [None, "ignore", "{{ params.x }}"])
def test_wrong_choices_of_a_check_are_found_when_the_dag_is_parsed(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=name):
        ModelArtsCheckDatasetOperator(task_id="check", dataset_id="d", **{name: value})
