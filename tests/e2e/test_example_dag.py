"""The example DAG, unchanged, in ``dag.test()``; ``tests/soak/soak_examples.py`` runs it in real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.support import check_outcome, outcome_of
from tests.support.dag_runner import run_dag

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

DAG_ID = "auto_label_images"
LABELED = 150


def example_dag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    assert bag.import_errors == {}
    return bag.dags[DAG_ID]


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_in_one_process(emulator: Emulator) -> None:
    dataset_id = emulator.load_digits(labeled=LABELED)
    outcome = run_dag(example_dag(), conf={"dataset_id": dataset_id})
    assert {name: task.state for name, task in outcome.tasks.items()} == {
        "start": "success",
        "wait": "success",
        "list_proposals": "success",
        "confirm": "success",
    }
    assert outcome.tasks["list_proposals"].xcom == 1797 - LABELED
    check_outcome(emulator, dataset_id, outcome.tasks["confirm"].xcom, labeled=LABELED)


@pytest.mark.usefixtures("airflow_db")
def test_a_higher_threshold_leaves_more_to_people(emulator: Emulator, moved_clock: MovedClock) -> None:
    dag = example_dag()
    left = []
    for min_score in (0.5, 0.99):
        dataset_id = emulator.load_digits(labeled=LABELED)
        outcome = run_dag(dag, conf={"dataset_id": dataset_id, "min_score": min_score})
        assert outcome.state == "success"
        left.append(outcome_of(emulator, dataset_id)[1])
    assert left[0] < left[1]
    assert moved_clock.slept, "the wait slept by the moved clock"


@pytest.mark.usefixtures("airflow_db")
def test_without_a_dataset_it_fails_before_anything_is_started(emulator: Emulator) -> None:
    outcome = run_dag(example_dag())
    assert outcome.state == "failed"
    assert outcome.tasks["start"].error is not None
    assert "\n" not in str(outcome.tasks["start"].error)
    assert emulator.journal.count("POST", "/tasks") == 0
