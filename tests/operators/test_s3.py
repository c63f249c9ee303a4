"""Plans, ledgers and undos on real S3 software: moto's server on loopback, s3fs, a connection named in the URI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError, NoCredentialsError
from s3fs import S3FileSystem

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.labeling.ledger import recorder as recording
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.plan.lines import PlanHeader
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.storage.path import display_uri, list_folder, name_of, remove_file
from airflow_provider_modelarts.labeling.storage.sealed_file import NotStoredError
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._uri_parameters import PlaceUnavailableError
from airflow_provider_modelarts.operators.quality import ModelArtsQualityReportOperator
from airflow_provider_modelarts.plugins.review_index import Choice, ReviewIndex, digest_of
from tests.labeling.test_baseline import EVEN, night
from tests.operators.runners import RUN_ID, WRITE, ConfirmRunner
from tests.support.s3_server import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.s3_server import S3Server

PLACE = f"s3://store@{BUCKET}"
POLICY = {"min_score": 0.5, "hard_examples": "confirm"}
APPROVAL = {"chosen_options": ["Approve"], "responded_by_user": {"id": "17", "name": "ada"}}
CONDITIONS = ["held", 501, 405, 409, "ignored"]
KILLED = ["held", 409, "ignored"]


@pytest.fixture
def store(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """An empty bucket that the connection ``store`` leads to."""
    monkeypatch.setenv("AIRFLOW_CONN_STORE", bucket.connection())
    return bucket


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, store: S3Server) -> ConfirmRunner:
    runner = ConfirmRunner(emulator, moved_clock, tmp_path, 60)
    runner.plan_uri, runner.ledger_uri = f"{PLACE}/plans/{RUN_ID}.jsonl", f"{PLACE}/ledger"
    return runner


class Child:
    """A process that is ready to confirm, and is killed while its second write is answered."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.operators.confirm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def confirm_and_die(self, runner: ConfirmRunner, **parameters: Any) -> None:
        given = {
            "environment": {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")},
            "run_started": runner.run_started.isoformat(),
            "run_id": RUN_ID,
            "max_tries": 3,
            "parameters": {"dataset_id": runner.dataset_id, "batch_size": 10, "concurrency": 1, **parameters},
        }
        writes = runner.writes

        def watch(record: Any) -> None:
            if record.method == "PUT" and WRITE in record.path and runner.writes >= writes + 2:
                self._process.kill()

        runner.emulator.observers.append(watch)
        try:
            _, said = self._process.communicate(json.dumps(given) + "\n", timeout=120)
        finally:
            runner.emulator.observers.remove(watch)
        assert self._process.returncode == -9, said[-3000:]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def children() -> Iterator[list[Child]]:
    children = [Child() for _ in KILLED]  # they load Airflow side by side
    yield children
    for child in children:
        child.close()


def wanted(plan_uri: str) -> set[str]:
    plan = read_plan(ObjectStoragePath(plan_uri))
    return {one.sample.sample_id for one in plan.samples() if one.decision.action == "confirm"}


@pytest.mark.parametrize("conditions", KILLED)
def test_plan_approve_apply_kill_retry_undo(
    runner: ConfirmRunner,
    store: S3Server,
    children: list[Child],
    conditions: int | str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store.conditions = conditions
    before = runner.final
    planned = runner.plan(policy=POLICY)
    assert planned.error is None
    assert planned.result["plan_uri"] == runner.plan_uri
    given = {
        "plan_uri": planned.result["plan_uri"],
        "plan_digest": planned.xcoms["plan_digest"],
        "ledger_uri": runner.ledger_uri,
        "approved_by": APPROVAL,
    }
    children[KILLED.index(conditions)].confirm_and_die(runner, **given)
    written = sum(bool(labels) for labels in runner.final.values())
    assert 0 < written < planned.result["confirmed"]

    looked = runner.revert(preview=True)
    assert looked.error is None
    assert looked.result["unsettled"] == planned.result["confirmed"], "of none a part was stored, and the plan was read"

    retried = runner.confirm(try_number=2, **given)
    assert retried.error is None
    assert retried.result["confirmed"] == planned.result["confirmed"]
    samples = wanted(runner.plan_uri)
    assert {sample_id for sample_id, labels in runner.final.items() if labels} == samples
    ledger = read_ledger(ObjectStoragePath(runner.ledger_uri), RUN_ID)
    state = replay(read_plan(ObjectStoragePath(runner.plan_uri)), ledger)
    assert {state.fate(sample_id) for sample_id in samples} == {"confirmed"}
    header = ledger.chains[0].first()
    assert (header.plan_uri, header.approved_by) == (runner.plan_uri, "ada"), "with the connection that leads there"

    undone = runner.revert()
    assert undone.error is None
    assert (undone.result["cleared"], undone.result["unsettled"]) == (len(samples), 0)
    assert runner.final == before
    assert "not counted" not in capfd.readouterr().out
    assert all(request.is_signed for request in store.requests), "nothing was asked without the connection"
    assert not [name for name in ObjectStoragePath(PLACE).fs.find(BUCKET) if "write-test" in name]


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_the_first_plan_counts_for_two_tries(runner: ConfirmRunner, store: S3Server, conditions: int | str) -> None:
    """They confirm with a plan of their own, both having found none: it lies beside the ledger."""
    store.conditions = conditions
    place = ObjectStoragePath(PLACE) / "own.jsonl"
    with PlanWriter(place, PlanHeader("slow"), keep=lambda plan: True) as slow:
        quick = PlanWriter(place, PlanHeader("quick"), keep=lambda plan: True)
        with quick:
            pass
    assert slow.plan().digest == quick.plan().digest == read_plan(place).digest
    with PlanWriter(place, PlanHeader("late"), keep=lambda plan: plan.header.dataset_id == "late") as late:
        pass
    assert late.plan().digest == read_plan(place).digest, "it is replaced where that is meant"

    first = runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    again = runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri, try_number=2)
    assert first.error is None
    assert again.error is None
    assert again.result["plan_uri"] == first.result["plan_uri"]
    assert again.result["confirmed"] == first.result["confirmed"] > 0


def test_a_collision_is_repeated_until_it_is_known_who_came_first(store: S3Server) -> None:
    """S3 answers 409 while another write of the same object goes on: that is no store without conditions."""
    place = ObjectStoragePath(PLACE) / "own.jsonl"
    left = [409, 409]
    store.refuses = lambda request: left.pop() if request.is_conditional and left else None
    with PlanWriter(place, PlanHeader("ours"), keep=lambda plan: True):
        pass
    puts = [request for request in store.requests if request.method == "PUT" and request.path.endswith("own.jsonl")]
    assert [request.is_conditional for request in puts] == [True, True, True]


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_a_plan_that_is_not_stored_is_not_applied(
    runner: ConfirmRunner, store: S3Server, conditions: int | str
) -> None:
    """The store says that it has it, and has not: nobody could go on with it, or undo it."""
    store.conditions = conditions

    def lose(request: Any) -> None:
        if request.method == "PUT" and request.path.endswith(".plan.jsonl"):
            lost.append(request.path)
            store.client().delete_object(Bucket=BUCKET, Key=request.path.removeprefix(f"/{BUCKET}/"))

    lost: list[str] = []
    store.before_answer = lose
    ending = runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    assert lost
    assert type(ending.error) is NotStoredError
    assert "nothing lies there now" in str(ending.error)
    assert runner.writes == 0
    store.before_answer = lambda request: None
    assert runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri, try_number=2).error is None


# --- the undo and the plan's place


def leave_unsettled(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, *, is_old: bool = False, **given: Any
) -> int:
    """Confirm, and take away the last parts as a crash would have; return how many are not settled."""
    if is_old:
        monkeypatch.setattr(recording, "stored_uri", display_uri)
    planned = runner.plan(policy=POLICY, **given)
    ending = runner.confirm(plan_uri=planned.result["plan_uri"], ledger_uri=runner.ledger_uri)
    assert ending.error is None
    ledger = read_ledger(ObjectStoragePath(runner.ledger_uri), RUN_ID)
    for _, path in ledger.chains[0].parts[1:]:
        path.unlink()
    return int(ending.result["confirmed"])


@pytest.mark.parametrize("is_old", [False, True])
def test_the_undo_finds_the_plan_also_by_a_ledger_that_names_no_connection(
    runner: ConfirmRunner, store: S3Server, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    unsettled = leave_unsettled(runner, monkeypatch, is_old=is_old)
    store.requests.clear()
    ending = runner.revert()
    assert ending.error is None
    assert ending.result["unsettled"] == unsettled > 0
    assert all(request.is_signed for request in store.requests)


def test_the_undo_asks_nowhere_if_the_connection_is_not_known(
    runner: ConfirmRunner, store: S3Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A ledger of an older version, its plan in another bucket: which connection led there nobody knows any more."""
    store.client().create_bucket(Bucket="elsewhere")
    leave_unsettled(runner, monkeypatch, is_old=True, plan_uri="s3://store@elsewhere/plan.jsonl")
    store.requests.clear()
    ending = runner.revert()
    assert ending.error is None
    said = capfd.readouterr().out
    assert "unsettled are not counted, all else is undone" in said
    assert "does not say by which connection its plan s3://elsewhere/plan.jsonl is reached" in said
    assert not any("elsewhere" in request.path for request in store.requests)


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        ClientError({"Error": {"Code": "ExpiredToken", "Message": "The token has expired."}}, "GetObject"),
        RuntimeError("whatever a library raises"),
    ],
)
def test_a_plan_that_cannot_be_read_does_not_end_the_undo(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    planned = runner.plan(policy=POLICY)
    runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)

    def fails(path: Any) -> None:
        raise error

    monkeypatch.setattr("airflow_provider_modelarts.labeling.plan.plan_file.read_plan", fails)
    ending = runner.revert()
    assert ending.error is None
    assert ending.result["cleared"] == planned.result["confirmed"]
    said = capfd.readouterr().out
    assert "unsettled are not counted, all else is undone" in said
    assert type(error).__name__ in said


def test_a_plan_whose_store_refuses_does_not_end_the_undo(runner: ConfirmRunner, store: S3Server) -> None:
    planned = runner.plan(policy=POLICY)
    runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)
    store.refuses = lambda request: 403 if "/plans/" in request.path else None
    ending = runner.revert()
    assert ending.error is None
    assert ending.result["cleared"] == planned.result["confirmed"]


def test_a_plan_that_was_replaced_is_told(runner: ConfirmRunner, capfd: pytest.CaptureFixture[str]) -> None:
    runner.plan(policy=POLICY)
    runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)
    with PlanWriter(ObjectStoragePath(runner.plan_uri), PlanHeader(runner.dataset_id)):
        pass
    assert runner.revert().error is None
    assert "was replaced since" in capfd.readouterr().out


# --- places


def test_an_unknown_connection_is_never_left_out(runner: ConfirmRunner, store: S3Server) -> None:
    """Airflow would go on to the provider's own address, as nobody: with the bucket's name and the key."""
    uri = f"s3://stroe@{BUCKET}/labels"
    for ending in (
        runner.plan(plan_uri=f"{uri}/plan.jsonl"),
        runner.confirm(plan_uri=f"{uri}/plan.jsonl"),
        runner.confirm(ledger_uri=uri),
        runner.revert(ledger_uri=uri),
    ):
        assert type(ending.error) is PlaceUnavailableError
        assert "stroe" in str(ending.error)
        assert "look at its connection" in str(ending.error)
    assert not store.requests
    assert len(runner.emulator.journal) == 0


@pytest.mark.parametrize("place", [f"{PLACE}/", f"{PLACE}//", f"{PLACE}//a///b//"])
def test_several_slashes_are_one(runner: ConfirmRunner, place: str) -> None:
    """As the example DAGs make them of a place that ends in one."""
    before = runner.final
    planned = runner.plan(policy=POLICY, plan_uri=f"{place}/plans/plan.jsonl")
    assert planned.error is None
    given = {"plan_uri": f"{place}/plans/plan.jsonl", "ledger_uri": f"{place}/ledger"}
    confirmed = runner.confirm(**given)
    assert confirmed.error is None
    assert confirmed.result["confirmed"] == planned.result["confirmed"] > 0
    for uri in (confirmed.result["plan_uri"], confirmed.result["ledger_uri"], planned.result["plan_uri"]):
        assert "//" not in uri.removeprefix("s3://")
    again = runner.confirm(try_number=2, **given)
    assert (again.result["confirmed"], again.result["gone"]) == (planned.result["confirmed"], 0)
    assert runner.revert(ledger_uri=f"{place}/ledger").result["cleared"] == planned.result["confirmed"]
    assert runner.final == before


def test_the_root_of_a_bucket_is_a_place_for_ledgers_but_not_for_a_plan(runner: ConfirmRunner) -> None:
    assert runner.confirm(policy=POLICY, ledger_uri=PLACE).error is None
    assert runner.revert(ledger_uri=f"{PLACE}/").result["cleared"] > 0
    for plan_uri in (PLACE, f"{PLACE}/", f"{PLACE}/a/"):
        ending = runner.plan(plan_uri=plan_uri)
        assert type(ending.error) is AirflowFailException
        assert "names a folder" in str(ending.error)


def test_what_one_task_tries_a_place_with_is_no_other_tasks(runner: ConfirmRunner, store: S3Server) -> None:
    """Mapped tasks begin at once; what one takes away another must still find."""
    runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    names = [request.path for request in store.requests if request.method == "PUT" and "write-test" in request.path]
    assert len(names) == len(set(names)) == 2


def test_a_plan_beside_many_objects_does_not_list_them(runner: ConfirmRunner, store: S3Server) -> None:
    assert runner.plan(plan_uri=f"{PLACE}/plan.jsonl").error is None
    listed = [parse_qs(request.query) for request in store.requests if "list-type" in request.query]
    assert listed
    assert all(query.get("prefix") for query in listed)


# --- stores that are not S3


@pytest.mark.parametrize("status", [403, 400])
def test_what_obs_refuses_comes_with_the_extra_that_it_wants(
    runner: ConfirmRunner, store: S3Server, status: int
) -> None:
    store.refuses = lambda request: status if request.method == "PUT" else None
    for ending in (runner.plan(), runner.confirm(ledger_uri=runner.ledger_uri)):
        assert type(ending.error) is AirflowFailException
        text = str(ending.error)
        assert '"addressing_style": "virtual"' in text
        assert '"request_checksum_calculation": "when_required"' in text
        assert '"response_checksum_validation": "when_required"' in text
        assert "\n" not in text
    assert len(runner.emulator.journal) == 0


def test_the_extra_that_obs_wants_takes_effect(
    runner: ConfirmRunner, store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {
        "config_kwargs": {
            "s3": {"addressing_style": "virtual"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    }
    monkeypatch.setenv("AIRFLOW_CONN_STORE", store.connection(**extra))
    store.refuses = lambda request: 400 if any("checksum" in name for name in request.headers) else None
    assert runner.plan(policy=POLICY).error is None
    assert runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri).error is None
    path = ObjectStoragePath(runner.ledger_uri) / "cut off"
    with path.open("wb") as file:
        file.write(b"part")
    remove_file(path)
    remove_file(path)
    assert not [name for name in path.fs.find(BUCKET) if "write-test" in name or "cut off" in name]
    # An address without a name has no room for a bucket's, so that what is sent cannot show it.
    assert ObjectStoragePath(PLACE).fs.s3.meta.config.s3 == {"addressing_style": "virtual"}


def test_what_others_write_is_seen_also_without_a_connection(store: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow then lists by another file system than it writes by, and each remembers what it has listed."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-key",
        "AWS_ENDPOINT_URL": store.url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    folder = places.storage_path("ledger_uri", f"s3://{BUCKET}/ledger")
    for name in ("first", "second"):
        store.client().put_object(Bucket=BUCKET, Key=f"ledger/{name}", Body=b"x")
        assert name in [name_of(path) for path in list_folder(folder)]
    S3FileSystem.clear_instance_cache()


def test_the_review_page_reads_a_plan_once_and_sees_that_it_was_replaced(store: S3Server) -> None:
    place = ObjectStoragePath(PLACE) / "plans" / "shown.jsonl"

    def write(count: int) -> str:
        with PlanWriter(place, PlanHeader("shown")) as plan:
            for number in range(count):
                labels = [{"name": f"label {number % 7}", "score": number / count}]
                plan.add(Sample({"sample_id": str(number), "labels": labels}), Decision("confirm", "passed"))
        return plan.plan().digest

    digest = write(3000)
    assert digest_of(place) == digest
    index = ReviewIndex(place, digest)
    before = len(store.requests)
    assert [index.read(one).sample.sample_id for one in index.find(Choice("label 3"))[:2]] == ["3", "10"]
    assert len(store.requests) == before
    other = write(2)
    assert digest_of(place) == other != digest
    assert index.read(2999).sample.sample_id == "2999"


def test_the_night_before_is_found_in_the_ledger_and_in_the_report(runner: ConfirmRunner) -> None:
    """Both read the first line of each part alone, and s3fs reads no line of a length that is given."""
    runner.dataset.propose([], keep=False)
    for number in (1, 2):
        runner.dataset.propose(night(number, EVEN))
        runner.run_id, runner.plan_uri = f"night-{number}", f"{PLACE}/plans/night-{number}.jsonl"
        planned = runner.plan(policy={"min_score": 0.5, "max_drift": 0.1}, ledger_uri=runner.ledger_uri)
        assert planned.error is None, planned.error
        assert runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri).error is None
    assert "Nothing has moved more than chance would" in planned.xcoms["summary"]
    report = ModelArtsQualityReportOperator(
        task_id="report", dataset_id=runner.dataset_id, ledger_uri=runner.ledger_uri, report_uri=f"{PLACE}/report.html"
    )
    ending = runner.run(report, 1, 0)
    assert ending.error is None, ending.error
    assert "night-2" in (ObjectStoragePath(PLACE) / "report.html").read_text()
