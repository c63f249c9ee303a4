"""The task groups: wired so that they run as they are, also several at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, TaskGroup, task, task_group

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.task_groups import label_and_confirm
from tests.support.dag_runner import APPROVER, run_dag

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")
POLICY = {"min_score": 0.7}


@pytest.mark.parametrize("approve", [True, False])
def test_a_dataset_is_labeled_and_confirmed_as_planned(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, approve: bool
) -> None:
    dataset_id = emulator.load_digits()
    with DAG("night", schedule=None) as dag:
        group = label_and_confirm(dataset_id, policy=POLICY, place=f"file://{tmp_path}", approve=approve)

        @task
        def say(plan_uri: str) -> str:
            return plan_uri

        group >> say(group.get_child_by_label("plan").output["plan_uri"])
    outcome = run_dag(dag, approved="label_and_confirm.approve" if approve else None)
    assert outcome.state == "success", outcome.log
    planned, applied = (outcome.tasks[f"label_and_confirm.{name}"].xcom for name in ("plan", "confirm"))
    assert 0 < applied["confirmed"] == planned["confirmed"]
    assert emulator.dataset(dataset_id).annotated == 150 + applied["confirmed"]
    assert outcome.tasks["say"].xcom == applied["plan_uri"]
    plan = read_plan(tmp_path / "plans" / "night" / f"{outcome.run_id}.label_and_confirm.jsonl")
    assert plan.header.label_task_id == outcome.tasks["label_and_confirm.label"].xcom
    headers = {header for header, _ in read_ledger(tmp_path / "ledger", outcome.run_id).entries()}
    assert {header.approved_by for header in headers} == {APPROVER if approve else None}


def test_several_datasets_each_have_a_plan_of_their_own(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    datasets = [emulator.load_digits() for _ in range(2)]
    with DAG("night_of_several", schedule=None) as dag:

        @task_group
        def night(dataset_id: Any) -> None:
            label_and_confirm(dataset_id, policy=POLICY, place=f"file://{tmp_path}")

        night.expand(dataset_id=datasets)
    outcome = run_dag(dag)
    assert outcome.state == "success", outcome.log
    assert len(list((tmp_path / "plans" / "night_of_several").iterdir())) == 2
    assert all(emulator.dataset(dataset_id).annotated > 150 for dataset_id in datasets)


def test_groups_of_one_name_in_two_groups_each_have_a_plan_of_their_own(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    datasets = {name: emulator.load_digits() for name in ("one", "two")}
    with DAG("night_of_two_groups", schedule=None) as dag:
        for name, dataset_id in datasets.items():
            with TaskGroup(name):
                label_and_confirm(dataset_id, policy=POLICY, place=f"file://{tmp_path}")
    outcome = run_dag(dag)
    assert outcome.state == "success", outcome.log
    plans = {name: outcome.tasks[f"{name}.label_and_confirm.plan"].xcom["plan_uri"] for name in datasets}
    assert len(set(plans.values())) == 2
    assert all("/night_of_two_groups/" in uri for uri in plans.values())
    assert all(emulator.dataset(dataset_id).annotated > 150 for dataset_id in datasets.values())


def test_the_plan_of_another_place_is_the_one_that_is_applied(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id = emulator.load_digits()
    with DAG("night_elsewhere", schedule=None) as dag:
        label_and_confirm(
            dataset_id, policy=POLICY, place=f"file://{tmp_path}", plan={"plan_uri": f"file://{tmp_path}/mine.jsonl"}
        )
    outcome = run_dag(dag)
    assert outcome.state == "success", outcome.log
    assert outcome.tasks["label_and_confirm.confirm"].xcom["plan_uri"] == f"file://{tmp_path}/mine.jsonl"
    assert emulator.dataset(dataset_id).annotated > 150


def test_a_night_in_which_nothing_is_sure_skips_the_rest(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id = emulator.load_digits()
    with DAG("unsure_night", schedule=None) as dag:
        label_and_confirm(dataset_id, policy={"min_score": 1}, place=f"file://{tmp_path}", approve=True)
    outcome = run_dag(dag)
    states = {name.rpartition(".")[2]: one.state for name, one in outcome.tasks.items()}
    assert states == {"label": "success", "plan": "skipped", "approve": "skipped", "confirm": "skipped"}, outcome.log
    assert emulator.dataset(dataset_id).annotated == 150


def test_the_line_of_the_page_is_a_dag(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "pipelines.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    file = tmp_path / "page.py"
    file.write_text(code.replace("s3://my-bucket/modelarts", f"file://{tmp_path}"), encoding="utf-8")
    bag = DagBag(file)
    assert bag.import_errors == {}
    dataset_id = emulator.load_digits()
    outcome = run_dag(bag.dags["label_tonight"], conf={"dataset_id": dataset_id}, approved="label_and_confirm.approve")
    assert outcome.state == "success", outcome.log
    assert emulator.dataset(dataset_id).annotated > 150


@pytest.mark.parametrize("approve", [None, "", [], "yes", "{{ params.approve }}"])
def test_whether_a_person_is_asked_is_said_with_true_or_false(approve: Any) -> None:
    with DAG("night_without_a_word", schedule=None), pytest.raises(ParameterError, match="approve"):
        label_and_confirm("d", policy=POLICY, place="file:///tmp", approve=approve)


def test_a_plan_is_not_made_before_the_labeling_task_is_over() -> None:
    label = {"wait_for_completion": False}
    with DAG("hasty_night", schedule=None), pytest.raises(ParameterError, match="wait_for_completion"):
        label_and_confirm("d", policy=POLICY, place="file:///tmp", label=label)
