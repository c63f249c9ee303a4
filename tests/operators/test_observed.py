"""What a task reports of its work as lineage, asset events and metrics. No failure there fails the task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.hooks.errors import ServiceJobFailed
from airflow_provider_modelarts.hooks.modelarts import clear_clients
from airflow_provider_modelarts.operators import _observed
from airflow_provider_modelarts.operators.datasets import ModelArtsPublishVersionOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
    ModelArtsRevertConfirmationOperator,
)
from airflow_provider_modelarts.utils.lineage import lineage_of
from airflow_provider_modelarts.utils.metrics import THROTTLED
from demo import metadata
from demo.environment import airflow_settings, child_environment
from tests.operators.runners import RUN_ID, WRITE, ConfirmRunner
from tests.support.dag_runner import run_dag
from tests.support.metrics import record_metrics
from tests.support.operator_driver import (
    StandInTaskInstance,
    as_task_runner,
    context_of,
    drive_try,
    fired_event,
    moment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.operators._observed import ObservedOperator
    from tests.operators.runners import StartRunner
    from tests.support.clock import MovedClock
    from tests.support.metrics import RecordedMetrics
    from tests.support.operator_driver import Ending

POLICY = {"min_score": 0.9}


@pytest.fixture
def metrics() -> Iterator[RecordedMetrics]:
    with record_metrics() as recorded:
        yield recorded


class Observer:
    """Runs operators, each of which can be asked afterwards."""

    def __init__(self, runner: ConfirmRunner) -> None:
        self.runner = runner
        self.places = {"plan_uri": runner.plan_uri, "ledger_uri": runner.ledger_uri}

    def run(self, operator: ObservedOperator, try_number: int = 1) -> tuple[Ending, Any]:
        ti = StandInTaskInstance(
            moment(self.runner.clock), run_id=RUN_ID, task_id=operator.task_id, try_number=try_number, max_tries=3
        )
        started = self.runner.run_started
        ending = drive_try(operator, self.runner.clock, ti, run_started=started, copies=False)
        return ending, operator._observation

    def plan(self) -> tuple[Ending, Any]:
        return self.run(
            ModelArtsPlanConfirmationOperator(
                task_id="plan", dataset_id=self.runner.dataset_id, plan_uri=self.places["plan_uri"], policy=POLICY
            )
        )

    def confirm(self, try_number: int = 1, **given: Any) -> tuple[Ending, Any]:
        operator = ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id=self.runner.dataset_id, **given)
        return self.run(operator, try_number)

    def revert(self, **given: Any) -> tuple[Ending, Any]:
        ledger_uri = self.places["ledger_uri"]
        operator = ModelArtsRevertConfirmationOperator(
            task_id="revert", ledger_uri=ledger_uri, ledger_run_id=RUN_ID, **given
        )
        return self.run(operator)


@pytest.fixture
def observer(runner: ConfirmRunner) -> Observer:
    return Observer(runner)


def rows(observation: Any) -> list[tuple[str, int | None]]:
    return [(node.name, node.rows) for node in lineage_of(observation)[1]]


def test_a_plan_a_confirmation_and_its_undo_hang_together(observer: Observer, metrics: RecordedMetrics) -> None:
    emulator, dataset_id = observer.runner.emulator, observer.runner.dataset_id
    planned, plan = observer.plan()
    confirmed, confirmation = observer.confirm(**observer.places)
    reverted, revert = observer.revert()
    assert [planned.error, confirmed.error, reverted.error] == [None] * 3
    count = confirmed.result["confirmed"]
    assert 0 < count == reverted.result["cleared"] < 250
    plan_file, ledger = (observer.places[name].removeprefix("file://") for name in ("plan_uri", "ledger_uri"))
    assert rows(plan) == [(plan_file, 250)]
    assert [node.name for node in lineage_of(confirmation)[0]] == [dataset_id, plan_file]
    assert rows(confirmation) == [(dataset_id, count), (ledger, None)]
    # Which dataset it was is read from the ledger.
    assert [node.name for node in lineage_of(revert)[0]] == [ledger, plan_file]
    assert rows(revert) == [(dataset_id, count)]
    assert {node.namespace for node in lineage_of(revert)[1]} == {
        f"modelarts://{emulator.region}/{emulator.project_id}"
    }
    assert metrics.counts == {
        "modelarts.samples.confirmed": count,
        "modelarts.samples.review": 250 - count,
        "modelarts.samples.failed": 0,
        "modelarts.samples.unknown": 0,
        "modelarts.samples.restored": 0,
        "modelarts.samples.cleared": count,
        THROTTLED: 0,
    }


def test_a_plan_of_its_own_is_what_a_confirmation_writes(observer: Observer) -> None:
    ending, seen = observer.confirm(policy=POLICY, ledger_uri=observer.places["ledger_uri"])
    plan_file = ending.result["plan_uri"].removeprefix("file://")
    assert (plan_file, 250) in rows(seen)
    assert [node.name for node in lineage_of(seen)[0]] == [observer.runner.dataset_id]


def test_what_an_approval_leaves_of_a_plan_is_a_plan_of_the_confirmation(observer: Observer) -> None:
    observer.plan()
    rejected = next(iter(observer.runner.dataset.proposals))
    answer = {"chosen_options": ["Approve"], "params_input": {"reject_samples": [rejected], "reject_labels": []}}
    ending, seen = observer.confirm(**observer.places, approval=answer)
    assert ending.error is None
    given, applied = (uri.removeprefix("file://") for uri in (observer.places["plan_uri"], ending.result["plan_uri"]))
    assert given != applied
    assert [node.name for node in lineage_of(seen)[0]] == [observer.runner.dataset_id, given]
    assert [name for name, _ in rows(seen)] == [observer.runner.dataset_id, applied, f"{observer.runner.folder}/ledger"]


def test_a_preview_writes_nothing_and_counts_nothing(observer: Observer, metrics: RecordedMetrics) -> None:
    _, seen = observer.confirm(policy=POLICY, preview=True)
    assert rows(seen) == []
    assert set(metrics.counts) == {THROTTLED}


@pytest.mark.parametrize("with_ledger", [True, False])
def test_every_sample_counts_once_however_many_tries_it_takes(
    observer: Observer, metrics: RecordedMetrics, with_ledger: bool
) -> None:
    """With a ledger the second try's result has what the first one confirmed, too."""
    runner = observer.runner
    given: dict[str, Any] = {"ledger_uri": observer.places["ledger_uri"]} if with_ledger else {}
    sample_id = next(iter(runner.dataset.proposals))
    runner.emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    first, failed = observer.confirm(**given)
    assert isinstance(first.error, ConfirmationError)
    assert (250 - runner.dataset.unconfirmed, rows(failed)[0][1]) == (249, 249)
    assert metrics.counts["modelarts.samples.failed"] == 1
    assert "modelarts.samples.review" not in metrics.counts
    runner.emulator.faults.clear()
    second, seen = observer.confirm(2, **given)
    assert second.error is None
    assert second.result["confirmed"] == (250 if with_ledger else 1)
    assert rows(seen)[0] == (runner.dataset_id, 1)
    assert metrics.counts["modelarts.samples.confirmed"] == 250


def test_throttling_is_counted_once_and_only_what_is_new(observer: Observer, metrics: RecordedMetrics) -> None:
    faults = observer.runner.emulator.faults
    faults.add("PUT", WRITE, "status", times=2, status=429)
    assert observer.confirm(policy=POLICY)[0].error is None
    assert metrics.counts[THROTTLED] == 2
    assert observer.confirm(policy=POLICY)[0].error is None
    assert metrics.counts[THROTTLED] == 2


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_start_tells_what_it_proposed_and_how_long_it_waited(
    starter: StartRunner, metrics: RecordedMetrics, deferrable: bool
) -> None:
    operator = starter.operator(wait_for_completion=True, deferrable=deferrable)
    ti = StandInTaskInstance(moment(starter.clock), task_id="start")
    ending = drive_try(operator, starter.clock, ti, run_started=moment(starter.clock), copies=False)
    assert ending.error is None
    (output,) = lineage_of(operator._observation)[1]
    assert output.name == starter.dataset_id
    assert output.rows == starter.emulator.dataset(starter.dataset_id).unconfirmed > 0
    assert metrics.times["modelarts.label_task.wait_seconds"].total_seconds() >= 300


@pytest.mark.parametrize("is_heard", [True, False])
def test_after_a_wait_a_token_is_fetched_for_lineage_alone_and_only_if_somebody_listens(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """A resumed task has no token, and IAM may be down: the end of the task waits for no second attempt."""
    monkeypatch.setattr(_observed, "find_spec", lambda _: object() if is_heard else None)
    operator = starter.operator(wait_for_completion=True, deferrable=True)
    ti = StandInTaskInstance(moment(starter.clock), task_id="start")
    context = context_of(ti, run_started=moment(starter.clock))
    with pytest.raises(TaskDeferred) as deferred:
        as_task_runner(operator, context)
    event = fired_event(deferred.value)
    clear_clients()  # the resumed task runs in another process
    emulator = starter.emulator
    rule = emulator.faults.add("POST", "/auth/tokens", "status", status=503, times=None)
    slept = len(starter.clock.slept)
    result = operator.resume_execution("execute_complete", {"event": event}, context)
    assert result == event["label_task_id"]
    assert len(starter.clock.slept) == slept
    assert rule.fired == (1 if is_heard else 0)
    assert lineage_of(operator._observation)[1] == []


def test_a_start_that_does_not_wait_has_no_time(starter: StartRunner, metrics: RecordedMetrics) -> None:
    assert starter.start().error is None
    assert metrics.times == {}
    assert metrics.counts == {THROTTLED: 0}


def test_a_version_that_failed_is_none(emulator: Emulator, moved_clock: MovedClock, metrics: RecordedMetrics) -> None:
    dataset_id = emulator.load_proposals(20)
    emulator.faults.add("POST", "versions", "fail_task", code="ModelArts.4917", message="It broke")
    operator = ModelArtsPublishVersionOperator(task_id="publish", dataset_id=dataset_id)
    ti = StandInTaskInstance(moment(moved_clock), task_id="publish")
    ending = drive_try(operator, moved_clock, ti, run_started=moment(moved_clock), copies=False)
    assert isinstance(ending.error, ServiceJobFailed)
    assert rows(operator._observation) == []
    assert "modelarts.publish.wait_seconds" in metrics.times


def test_what_fails_here_fails_no_task(
    observer: Observer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no metrics today")

    monkeypatch.setattr(_observed, "emit_metrics", broken)
    ending, seen = observer.confirm(policy=POLICY)
    assert ending.error is None
    assert "The metrics of this task are incomplete: no metrics today" in capsys.readouterr().out
    assert rows(seen)[0] == (observer.runner.dataset_id, ending.result["confirmed"])


# --- asset events, in Airflow

DIGITS = Asset("digits")
ALIAS = AssetAlias("whatever dataset it is")


def events_of(run_id: str) -> list[tuple[str, dict[str, Any], str | None]]:
    """Return the asset events of a run, as Airflow has stored them: URI, extra, partition."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetModel.uri, AssetEvent.extra, AssetEvent.partition_key).join(
            AssetEvent, AssetEvent.asset_id == AssetModel.id
        )
        found = session.execute(query.where(AssetEvent.source_run_id == run_id).order_by(AssetEvent.id)).all()
        return [(uri, extra, partition) for uri, extra, partition in found]


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_the_events_of_outlets_say_what_was_confirmed_and_published(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(40)
    with DAG("tells_its_assets", schedule=None) as dag:
        confirm = ModelArtsConfirmSamplesOperator(
            task_id="confirm",
            dataset_id=dataset_id,
            policy=POLICY,
            ledger_uri=f"file://{tmp_path}/ledger",
            outlets=[DIGITS, ALIAS],
        )
        publish = ModelArtsPublishVersionOperator(
            task_id="publish", dataset_id=dataset_id, outlets=[Asset.ref(name="digits")]
        )
        confirm >> publish
    done = run_dag(dag)
    assert done.state == "success", done.log
    counts, version = (done.tasks[task].xcom for task in ("confirm", "publish"))
    confirmed, aliased, published = events_of(done.run_id)
    expected = {
        "operation": "confirm",
        "dataset_id": dataset_id,
        "preview": False,
        **{name: counts[name] for name in ("seen", "confirmed", "review", "left", "failed", "gone")},
        "plan_uri": counts["plan_uri"],
        "ledger_uri": f"file://{tmp_path}/ledger",
    }
    assert confirmed == ("digits", expected, None)
    alias_extra = {name: aliased[1][name] for name in expected}
    assert aliased[0] == f"modelarts://{emulator.region}/{emulator.project_id}/{dataset_id}"
    assert alias_extra == expected
    assert published[0] == "digits"
    assert published[1] == {
        "operation": "publish",
        "dataset_id": dataset_id,
        "preview": False,
        **{name: version[name] for name in ("version_id", "version_name", "samples", "labeled")},
        "manifest_uri": f"obs:/{version['manifest_path']}",
    }
    # A DAG that is scheduled on the asset would not be started by an event with a partition.
    assert published[2] is None


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_a_version_is_a_partition_where_the_schedule_leaves_that_to_tasks(emulator: Emulator) -> None:
    sdk = pytest.importorskip("airflow.sdk")
    if not hasattr(sdk, "PartitionedAtRuntime"):
        pytest.skip("this Airflow knows no partitions of that kind")
    dataset_id = emulator.load_proposals(20)
    with DAG("names_partitions", schedule=sdk.PartitionedAtRuntime()) as dag:
        ModelArtsPublishVersionOperator(task_id="publish", dataset_id=dataset_id, outlets=[DIGITS])
    done = run_dag(dag)
    assert done.state == "success", done.log
    ((_, extra, partition),) = events_of(done.run_id)
    assert partition == extra["version_id"] == done.tasks["publish"].xcom["version_id"]


# --- lineage, by OpenLineage's own listener in Airflow

DAG_FILE = """
from airflow.sdk import DAG

from airflow_provider_modelarts.operators.datasets import ModelArtsPublishVersionOperator
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.operators.samples import *

DATASET = "{{ params.dataset_id }}"
PLACE = "file://FOLDER"

with DAG("lineage", schedule=None, params={"dataset_id": ""}):
    label = ModelArtsStartLabelTaskOperator(
        task_id="label", dataset_id=DATASET, wait_for_completion=True, deferrable=True, poll_interval=1
    )
    plan = ModelArtsPlanConfirmationOperator(
        task_id="plan", dataset_id=DATASET, plan_uri=PLACE + "/plan.jsonl", policy={"min_score": 0.9}
    )
    confirm = ModelArtsConfirmSamplesOperator(
        task_id="confirm", dataset_id=DATASET, plan_uri=PLACE + "/plan.jsonl", ledger_uri=PLACE + "/ledger"
    )
    publish = ModelArtsPublishVersionOperator(task_id="publish", dataset_id=DATASET, poll_interval=1)
    undo = ModelArtsRevertConfirmationOperator(
        task_id="undo", ledger_uri=PLACE + "/ledger", ledger_run_id="{{ run_id }}"
    )
    label >> plan >> confirm >> publish >> undo
"""
TEST_FILE = """
import json
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow_provider_modelarts.emulator.pytest_plugin import modelarts_emulator


def test_it(modelarts_emulator):
    modelarts_emulator.task_seconds = 1
    dataset_id = modelarts_emulator.load_digits(labeled=150)
    run = DagBag().dags["lineage"].test(run_conf={"dataset_id": dataset_id})
    assert run.state == "success"
    told = {"dataset_id": dataset_id, "region": modelarts_emulator.region, "project": modelarts_emulator.project_id}
    Path("told.json").write_text(json.dumps({**told, "secrets": modelarts_emulator.secrets}))
"""


def test_openlineage_hears_of_every_task_and_of_no_secret(tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.openlineage")
    (tmp_path / "dags").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "dags" / "lineage.py").write_text(DAG_FILE.replace("FOLDER", str(tmp_path)), encoding="utf-8")
    (tmp_path / "test_lineage.py").write_text(TEST_FILE, encoding="utf-8")
    metadata.copy_to(tmp_path / "home")
    file = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    settings = airflow_settings(tmp_path / "home", dags_folder=tmp_path / "dags")
    settings["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=child_environment(os.environ, settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    text = file.read_text(encoding="utf-8")
    assert [secret for secret in told["secrets"] if secret in text] == []
    events = [json.loads(line) for line in text.splitlines()]
    ended = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    dataset, plan, ledger = told["dataset_id"], f"{tmp_path}/plan.jsonl", f"{tmp_path}/ledger"

    def named(task: str, side: str) -> list[str]:
        return [one["name"] for one in ended[f"lineage.{task}"][side]]

    assert {task: named(task, "inputs") for task in ("label", "plan", "confirm", "publish", "undo")} == {
        "label": [dataset],
        "plan": [dataset],
        "confirm": [dataset, plan],
        "publish": [dataset],
        "undo": [ledger, plan],
    }
    version = ended["lineage.publish"]["outputs"][0]["facets"]["version"]["datasetVersion"]
    assert {task: named(task, "outputs")[:2] for task in ("label", "plan", "confirm", "undo")} == {
        "label": [dataset],
        "plan": [plan],
        "confirm": [dataset, ledger],
        "undo": [dataset],
    }
    assert named("publish", "outputs")[0] == f"{dataset}/{version}"
    counts = [ended[f"lineage.{task}"]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] for task in
              ("label", "plan", "confirm", "undo")]  # fmt: skip
    assert counts[0] == counts[1] == 1647
    assert 0 < counts[2] == counts[3] < 1647
    namespaces = {one["namespace"] for event in ended.values() for one in (*event["inputs"], *event["outputs"])}
    assert f"modelarts://{told['region']}/{told['project']}" in namespaces
