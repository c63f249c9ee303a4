"""The whole night: new images, labels, people, a version; a second night without images; one dataset's failure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from example_dags import nightly_pipeline
from tests.support.dag_runner import DagOutcome, run_dag
from tests.support.team_member import make_team

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")
STEPS = ("sync", "check", "label_and_confirm.label", "label_and_confirm.plan", "label_and_confirm.confirm", "team",
         "people", "begin", "accept", "publish")  # fmt: skip


def run(dataset_ids: list[str], workforce_id: str, folder: Path) -> DagOutcome:
    bag = DagBag(Path(nightly_pipeline.__file__))
    assert bag.import_errors == {}
    given = {"dataset_ids": dataset_ids, "workforce_id": workforce_id, "place": f"file://{folder}", "min_score": 0.9}
    return run_dag(bag.dags["nightly_pipeline"], conf=given)


def states(outcome: DagOutcome, number: int) -> dict[str, str | None]:
    return {step: outcome.tasks[f"night.{step}_{number}"].state for step in STEPS}


@pytest.fixture
def client(emulator: Emulator) -> ModelArtsClient:
    """The hook's: its connection leads to the emulator."""
    return ModelArtsHook().client


@pytest.fixture
def workforce_id(emulator: Emulator, client: ModelArtsClient) -> str:
    emulator.job_seconds = emulator.team_seconds = 5
    return make_team(emulator, client)


def test_a_night_for_two_datasets_and_the_night_after_it(
    emulator: Emulator, moved_clock: MovedClock, client: ModelArtsClient, workforce_id: str, tmp_path: Path
) -> None:
    good, lost = emulator.load_digits(), "there-is-no-such-data"
    dataset = emulator.dataset(good)
    first = run([good, lost], workforce_id, tmp_path)
    assert states(first, 0) == dict.fromkeys(STEPS, "success"), first.log
    # What fails for one dataset stays its own.
    assert states(first, 1) == {**dict.fromkeys(STEPS, "upstream_failed"), "sync": "failed"}
    confirm, people = (first.tasks[f"night.{step}_0"].xcom for step in ("label_and_confirm.confirm", "people"))
    assert confirm["confirmed"] > 0
    assert confirm["review"] == people["awaiting_acceptance"] > 0
    assert dataset.annotated == 150 + confirm["confirmed"] + confirm["review"] == len(dataset.samples)
    (version,) = client.versions.list(good)
    assert first.tasks["night.publish_0"].xcom["version_id"] == version.version_id

    moved_clock.sleep(120)
    second = run([good], workforce_id, tmp_path)
    assert second.state == "success", second.log
    assert states(second, 0) == {**dict.fromkeys(STEPS, "skipped"), "sync": "success"}
    assert len(list(client.versions.list(good))) == 1
    assert len(list(client.team_tasks.list(good))) == 1
