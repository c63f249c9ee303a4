"""Stories of the example DAG, unchanged, in the Airflow of all other stories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import check_outcome
from tests.soak.story_runner import Story
from tests.soak.story_world import LABELED, OVER, StoryWorld, expect
from tests.support.leaks import leaks_in_folder

if TYPE_CHECKING:
    from collections.abc import Callable

DAG_ID = "auto_label_images"


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
    expect(airflow.request("GET", "/api/v2/importErrors")["import_errors"] == [], "a DAG cannot be read", world)
    secrets = {str(number): secret for number, secret in enumerate(emulator.secrets)}
    expect(leaks_in_folder(airflow.home, secrets) == {}, "a secret was written down", world)


def stories() -> list[Story]:
    return [Story(DAG_ID, images_are_labeled)]


@pytest.mark.parametrize("story", stories(), ids=str)
def test_example(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
