"""The DAG that runs when a labeling task has ended: what it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.triggers.event import ModelArtsLabelTaskEventTrigger
from demo.environment import EXAMPLE_DAGS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DAG_ID = "confirm_when_labeled"
FILE = EXAMPLE_DAGS / f"{DAG_ID}.py"


def parsed(folder: Path) -> Any:
    """Return the DAG as a DAG processor reads it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(folder)
    assert bag.import_errors == {}
    return bag.dags[DAG_ID]


def watchers(dag: Any) -> list[Any]:
    """Return the watchers of the one asset that the DAG is scheduled by."""
    (asset,) = dag.timetable.asset_condition.objects
    return list(asset.watchers)


def test_it_watches_the_dataset_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELARTS_WATCHED_DATASET", "6mHUGe7ETlhayb4qDMN")
    dag = parsed(FILE)
    (watcher,) = watchers(dag)
    assert isinstance(watcher.trigger, ModelArtsLabelTaskEventTrigger)
    assert watcher.trigger.serialize()[1] == {
        "dataset_id": "6mHUGe7ETlhayb4qDMN",
        "states": ["succeeded"],
        "label_task_type": None,
        "poll_interval": 30,
        "modelarts_conn_id": "modelarts_default",
        "project_id": None,
    }
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "name_ended_tasks": {"confirm"},
        "confirm": set(),
    }


def test_without_a_dataset_it_watches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELARTS_WATCHED_DATASET", raising=False)
    assert watchers(parsed(FILE)) == []
