"""The documented workflow, unchanged, from start to confirmed labels."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from example_dags import auto_label_images
from tests.support.dag_runner import run_dag

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")
FILE = Path(auto_label_images.__file__)


@pytest.fixture
def dag() -> DAG:
    bag = DagBag(FILE)
    assert bag.import_errors == {}
    found: Any = bag.dags["auto_label_images"]
    return found  # type: ignore[no-any-return]


def test_it_labels_waits_lists_and_confirms(dag: DAG, emulator: Emulator, moved_clock: MovedClock) -> None:
    emulator.task_seconds = 60
    dataset_id = emulator.load_digits(labeled=150)
    outcome = run_dag(dag, conf={"dataset_id": dataset_id})
    assert outcome.state == "success", outcome.log
    assert {name: task.state for name, task in outcome.tasks.items()} == dict.fromkeys(
        ("start", "wait", "list_proposals", "confirm"), "success"
    )
    counts = outcome.tasks["confirm"].xcom
    assert outcome.tasks["list_proposals"].xcom == counts["seen"] == 1797 - 150
    assert 0 < counts["confirmed"] < counts["seen"]
    dataset = emulator.dataset(dataset_id)
    assert dataset.annotated == 150 + counts["confirmed"]
    assert dataset.unconfirmed == counts["review"]
    assert outcome.tasks["start"].xcom in dataset.tasks
    truth = emulator.truth(dataset_id)
    confirmed = [one for one in dataset.samples if dataset.names_of(one)]
    right = sum(dataset.names_of(one) == [truth[one]] for one in confirmed)
    assert right / len(confirmed) > 0.95, "the policy is there to keep wrong labels out"


def test_the_threshold_is_a_parameter(dag: DAG, emulator: Emulator, moved_clock: MovedClock) -> None:
    emulator.task_seconds = 60
    outcome = run_dag(dag, conf={"dataset_id": emulator.load_digits(labeled=150), "min_score": 1})
    assert outcome.tasks["confirm"].xcom["confirmed"] == 0
    assert dag.params["min_score"] == 0.9


def test_a_dataset_that_is_not_there_fails_at_once(dag: DAG, emulator: Emulator) -> None:
    outcome = run_dag(dag, conf={"dataset_id": "no-such-dataset"})
    assert outcome.tasks["start"].state == "failed"
    assert "no-such-dataset" in str(outcome.tasks["start"].error)
    assert outcome.tasks["confirm"].state == "upstream_failed"


def test_every_example_can_be_imported_as_it_is() -> None:
    bag = DagBag(FILE.parent)
    assert bag.import_errors == {}
    assert len(bag.dags) == len([file for file in FILE.parent.glob("*.py") if file.name != "__init__.py"])


def test_it_is_read_in_half_a_minute() -> None:
    source = FILE.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 65
    assert ast.get_docstring(ast.parse(source))
