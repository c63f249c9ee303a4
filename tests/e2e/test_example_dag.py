"""The example DAG, unchanged, in ``dag.test()`` and in real Airflow processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator import Emulator
from tests.e2e.support import processes_of
from tests.support.harness import run_dag
from tests.support.leaks import leaks_in_folder

if TYPE_CHECKING:
    from demo.airflow_processes import AirflowProcesses
    from tests.support.clock import MovedClock

DAG_ID = "auto_label_images"
LABELED = 150


def example_dag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    assert bag.import_errors == {}
    return bag.dags[DAG_ID]


def outcome_of(emulator: Emulator, dataset_id: str) -> tuple[int, int]:
    """Return how many images have final labels, and how many still await a person."""
    dataset = emulator.dataset(dataset_id)
    return dataset.annotated, dataset.unconfirmed


def check_outcome(emulator: Emulator, dataset_id: str, result: dict[str, Any]) -> None:
    """The run's own numbers are those that the service holds."""
    annotated, unconfirmed = outcome_of(emulator, dataset_id)
    assert result["seen"] == 1797 - LABELED
    assert result["confirmed"] == annotated - LABELED
    assert result["review"] == unconfirmed
    assert result["seen"] == sum(result[part] for part in ("confirmed", "review", "left", "failed", "gone"))
    assert result["confirmed"] > 0
    assert result["review"] > 0
    assert emulator.journal.count("POST", "/tasks") == 1
    assert emulator.journal.count("POST", "/v3/auth/tokens") >= 1


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
    check_outcome(emulator, dataset_id, outcome.tasks["confirm"].xcom)


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


@pytest.mark.e2e
def test_in_real_processes(airflow_processes: AirflowProcesses) -> None:
    airflow = airflow_processes
    seen: set[str] = set()
    with Emulator(seed=1, task_seconds=3.0) as emulator:  # real time: the wait looks after five seconds
        airflow.add_connection("modelarts_default", emulator.connection)
        dataset_id = emulator.load_digits(labeled=LABELED)
        run_id = airflow.trigger(DAG_ID, {"dataset_id": dataset_id})

        def ended() -> bool:
            seen.add(str(airflow.task_state(DAG_ID, run_id, "wait")))
            return airflow.run_state(DAG_ID, run_id) in ("success", "failed")

        airflow.wait_until(ended, 120, "the run has not ended")
        assert airflow.run_state(DAG_ID, run_id) == "success"
        check_outcome(emulator, dataset_id, airflow.xcom(DAG_ID, run_id, "confirm"))
        secrets = {str(number): secret for number, secret in enumerate(emulator.secrets)}
    assert "deferred" in seen, "the wait held no worker"
    assert airflow.request("GET", "/api/v2/importErrors")["import_errors"] == []
    assert leaks_in_folder(airflow.home, secrets) == {}
    assert processes_of(airflow.home) != []
    airflow.stop()
    assert processes_of(airflow.home) == []
