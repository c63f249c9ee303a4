"""A hundred tasks with a wrong password: each process asks for a token once, and Airflow tries none again (B8)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.soak.story_runner import Story
from tests.soak.story_world import StoryWorld, expect

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 100
PATIENCE = 900.0


def wrong_password(way: str, world: StoryWorld) -> None:
    connection = world.emulator.connection
    world.emulator.set_password("another-passw0rd-since-this-morning")
    world.begin(f"crowd_{way}", connection=connection)
    world.until(lambda: world.run_state() in ("success", "failed"), "the run is not over", PATIENCE)
    asked = world.emulator.journal.count("POST", "/v3/auth/tokens")
    world.notes.append(f"{asked} token requests")
    tries = [instance["try_number"] for instance in world.airflow.task_instances(world.dag_id, world.run_id)]
    expect(world.run_state() == "failed", "the run has not failed", world)
    expect(tries == [1] * SIZE, f"there were retries: {tries}", world)
    expect(asked <= SIZE, f"{asked} token requests", world)


def stories() -> list[Story]:
    return [Story(f"wrong password, {way}", partial(wrong_password, way)) for way in ("start", "sensor")]


@pytest.mark.parametrize("story", stories(), ids=str)
def test_crowd(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
