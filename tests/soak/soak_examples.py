"""Stories of the example DAG, unchanged, in the Airflow of all other stories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.labeling.evidence.evidence_file import read_evidence
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from tests.e2e.support import check_outcome
from tests.soak.story_runner import Story
from tests.soak.story_world import LABELED, OVER, StoryWorld, expect
from tests.support.leaks import leaks_in_folder
from tests.support.team_member import make_team

if TYPE_CHECKING:
    from collections.abc import Callable

DAG_ID = "auto_label_images"
NIGHTLY = "nightly_pipeline"
PROVEN = "confirm_with_evidence"
TARGET = 0.9


def images_are_labeled(world: StoryWorld) -> None:
    """Start, wait in the triggerer, list, confirm; and no secret is left in Airflow's database and logs."""
    airflow, emulator = world.airflow, world.emulator
    airflow.add_connection("modelarts_default", emulator.connection)
    world.dag_id = DAG_ID
    world.run_id = airflow.trigger(DAG_ID, {"dataset_id": world.dataset_id})

    def waits() -> bool:
        state = airflow.task_state(DAG_ID, world.run_id, "wait")
        return state == "deferred" or state in OVER

    world.until(waits, "the sensor does not wait")
    expect(airflow.task_state(DAG_ID, world.run_id, "wait") == "deferred", "the wait held a worker", world)
    world.let_the_job_end()
    world.until_over()
    expect(world.run_state() == "success", "the run has not succeeded", world)
    check_outcome(emulator, world.dataset_id, airflow.xcom(DAG_ID, world.run_id, "confirm"), labeled=LABELED)
    unread = airflow.request("GET", "/api/v2/importErrors")["import_errors"]
    expect(unread == [], f"a DAG cannot be read: {unread}", world)
    secrets = {str(number): secret for number, secret in enumerate(emulator.secrets)}
    expect(leaks_in_folder(airflow.home, secrets) == {}, "a secret was written down", world)


def a_night_and_the_next(world: StoryWorld) -> None:
    """The whole night in real processes; the next one, without new images, ends green and skips what follows."""
    airflow, emulator = world.airflow, world.emulator
    emulator.task_seconds = emulator.job_seconds = emulator.team_seconds = 2
    airflow.add_connection("modelarts_night", emulator.connection)
    world.dag_id = NIGHTLY
    conf = {
        "dataset_ids": [world.dataset_id],
        "workforce_id": make_team(emulator, world.client()),
        "place": f"file://{world.folder}",
    }
    dataset = emulator.dataset(world.dataset_id)
    for night, expected in (("first", "success"), ("second", "skipped")):
        world.run_id = airflow.trigger(NIGHTLY, conf)
        world.until_over()
        states = {one["task_id"]: one["state"] for one in airflow.task_instances(NIGHTLY, world.run_id)}
        expect(states.pop("night.sync") == states.pop("name_datasets") == "success", f"{night} night: {states}", world)
        expect(set(states.values()) == {expected}, f"{night} night: {states}", world)
        expect(world.run_state() == "success", f"the {night} night has not succeeded", world)
    expect(dataset.annotated == len(dataset.samples), "not everything is labeled", world)
    with world.client() as client:
        made = [len(list(one.list(world.dataset_id))) for one in (client.versions, client.team_tasks, client.tasks)]
    expect(made == [1, 1, 1], f"versions, team tasks, labeling tasks: {made}", world)


def only_what_is_proven_is_confirmed(world: StoryWorld) -> None:
    """Label, draw an audit, let a team answer it, and confirm what that proves: of each such label enough is right."""
    airflow, emulator = world.airflow, world.emulator
    emulator.task_seconds = emulator.job_seconds = emulator.team_seconds = 2
    airflow.add_connection("modelarts_proven", emulator.connection)
    truth = emulator.truth(world.dataset_id)
    world.dag_id = PROVEN
    conf = {
        "dataset_id": world.dataset_id,
        "workforce_id": make_team(emulator, world.client()),
        "place": f"file://{world.folder}",
        "target": TARGET,
        "audit_size": 80,
    }
    world.run_id = airflow.trigger(PROVEN, conf)
    world.until_over()
    expect(world.run_state() == "success", "the run has not succeeded", world)
    evidence = read_evidence(next((world.folder / "evidence").glob("*.jsonl")))
    entries = [entry for _, entry in read_ledger(world.folder / "ledger", world.run_id).entries()]
    expect(entries, "nothing was confirmed", world)
    counts = airflow.xcom(PROVEN, world.run_id, "evaluate")
    expect(counts["confirmable"] == len(entries), f"{len(entries)} are confirmed, {counts}", world)
    for one in evidence.labels:
        confirmed = [entry for entry in entries if entry.after[0]["name"] == one.label]
        if one.proof.threshold is None:
            expect(not confirmed, f"label {one.label} is confirmed without a proof", world)
            continue
        wrong = sum(truth[entry.sample_id] != one.label for entry in confirmed) + one.proof.counts.wrong
        expect(wrong <= (1 - TARGET) * one.proof.counts.total, f"label {one.label} has {wrong} wrong", world)


def stories() -> list[Story]:
    return [
        Story(DAG_ID, images_are_labeled),
        Story(NIGHTLY, a_night_and_the_next),
        Story(PROVEN, only_what_is_proven_is_confirmed),
    ]


@pytest.mark.parametrize("story", stories(), ids=str)
def test_example(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
