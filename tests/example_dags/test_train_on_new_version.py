"""The DAG that trains on versions: a publication starts it, and it finds the version by the event alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.datasets import ModelArtsPublishVersionOperator
from demo.environment import EXAMPLE_DAGS
from example_dags import train_on_new_version
from tests.support.dag_runner import _store, run_dag

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

pytestmark = pytest.mark.usefixtures("airflow_db", "moved_clock")
PUBLISHED = Asset(name="published_versions")


def example(name: str) -> Any:
    bag = DagBag(EXAMPLE_DAGS / f"{name}.py")
    assert bag.import_errors == {}
    return bag.dags[name]


def queued(dag_id: str) -> int:
    """Return how many assets have asked Airflow for a run of a DAG that is switched on."""
    from airflow.models.asset import AssetDagRunQueue
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        query = select(func.count()).where(AssetDagRunQueue.target_dag_id == dag_id)
        return int(session.scalar(query) or 0)


def switch_on(dag: Any) -> None:
    """Store a DAG where a DAG processor would have, as somebody has switched it on."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    _store(dag)
    with create_session() as session:
        model = session.get(DagModel, dag.dag_id)
        assert model is not None
        model.is_paused = False


def last_event() -> Any:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        event = session.scalars(select(AssetEvent).order_by(AssetEvent.id.desc())).first()
        assert event is not None
        return SimpleNamespace(extra=dict(event.extra))


def test_the_whole_night_publishes_what_it_waits_for() -> None:
    """The two files share the asset by its name."""
    (asset,) = example("train_on_new_version").timetable.asset_condition.objects
    publish = example("nightly_pipeline").get_task("night.publish")
    assert [outlet.name for outlet in publish.outlets] == [asset.name] == [PUBLISHED.name]


def test_a_publication_starts_it_and_it_finds_the_version(emulator: Emulator) -> None:
    training = example("train_on_new_version")
    switch_on(training)
    dataset_id = emulator.load_proposals(20)
    assert queued(training.dag_id) == 0
    with DAG("publishes_a_version", schedule=None) as dag:
        ModelArtsPublishVersionOperator(task_id="publish", dataset_id=dataset_id, outlets=[PUBLISHED])
    done = run_dag(dag)
    assert done.state == "success", done.log
    assert queued(training.dag_id) == 1

    name_versions = train_on_new_version.name_versions.function
    (version,) = name_versions(triggering_asset_events={PUBLISHED: [last_event()]})
    published = done.tasks["publish"].xcom
    assert version == {"dataset_id": dataset_id, "version_id": published["version_id"]}
    train = train_on_new_version.train.function
    assert train(version) == {**version, "manifest_path": published["manifest_path"], "images": published["labeled"]}

    ModelArtsHook().client.versions.delete(dataset_id, version["version_id"])
    with pytest.raises(AirflowSkipException, match="was deleted"):
        train(version)


def test_events_without_a_version_are_no_reason_to_train() -> None:
    name_versions = train_on_new_version.name_versions.function
    assert name_versions(triggering_asset_events={PUBLISHED: [SimpleNamespace(extra={"version_id": None})]}) == []
