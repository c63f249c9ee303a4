"""Stories about a job of somebody else, adopted or waited for (B1): it is never stopped by us."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.soak.soak_users import clear, fail_run, mark_task
from tests.soak.story_runner import Story
from tests.soak.story_world import START_WAYS, StoryWorld, expect, kill

if TYPE_CHECKING:
    from collections.abc import Callable

CHOICES = ("adopt", "wait")


def meet(choice: str, way: str, world: StoryWorld, *, setting: str = "") -> str:
    """Let a task meet a foreign job; return that job's id."""
    foreign = world.start_as_somebody_else()
    world.begin(f"{choice}_{setting}{way}")
    world.until_waiting()
    return foreign


def and_ends(choice: str, world: StoryWorld) -> None:
    """Let the foreign job end, and after it our own, if there is to be one."""
    world.let_the_job_end()
    if choice == "wait":
        world.until_before_the_end(lambda: len(world.jobs) == 2, "no job of our own was started")
        world.until_looked_again()
        world.let_the_job_end()
    world.ends_well(jobs=1 if choice == "adopt" else 2)


def undisturbed(choice: str, way: str, world: StoryWorld) -> None:
    meet(choice, way, world)
    and_ends(choice, world)


def ended(end: Callable[[StoryWorld], None], choice: str, way: str, world: StoryWorld) -> None:
    meet(choice, way, world)
    process = world.process()
    end(world)
    world.until_over()
    world.until(lambda: process is None or not process.is_running(), "the task's process goes on")
    world.let_the_job_end()
    expect(not world.stops, "the foreign job was stopped", world)
    expect(list(world.jobs.values()) == [3], "the foreign job did not go on alone", world)


def cleared(choice: str, way: str, world: StoryWorld) -> None:
    meet(choice, way, world)
    tries = world.tries()
    clear(world)
    world.until_before_the_end(lambda: world.tries() > tries, "the cleared task does not run again")
    world.until_waiting()
    world.until_looked_again()
    and_ends(choice, world)


def killed(choice: str, way: str, world: StoryWorld) -> None:
    """Its own process is killed; if it is deferred, the one that resumes or that starts our own job."""
    foreign = world.start_as_somebody_else()
    deferred = way == "start_deferred"
    if deferred:
        world.want_gate("before_defer")
    world.begin(f"{choice}_{way}")
    if deferred:
        world.at_gate("before_defer")
    else:
        world.until_waiting()
    kill(world.until(world.process, "the task's process cannot be found"))
    world.until_before_the_end(lambda: world.tries() > 1, "Airflow does not try again")
    world.until_looked_again(2)
    expect(not world.stops_of(foreign), "the foreign job was stopped", world)
    and_ends(choice, world)


def given_up(choice: str, way: str, world: StoryWorld) -> None:
    meet(choice, way, world, setting="timeout_")
    world.until_over()
    expect(world.errors == ["LabelTaskTimeout"], "it is no LabelTaskTimeout", world)
    expect(not world.stops, "the foreign job was stopped", world)
    expect(len(world.jobs) == 1, "another job was started", world)


COURSES: dict[str, Callable[[str, str, StoryWorld], None]] = {
    "undisturbed": undisturbed,
    "marked failed": partial(ended, partial(mark_task, "failed")),
    "run failed": partial(ended, fail_run),
    "cleared": cleared,
    "killed": killed,
    "timeout": given_up,
}


def stories() -> list[Story]:
    return [
        Story(f"{choice}, {name}, {way}", partial(course, choice, way))
        for choice in CHOICES
        for name, course in COURSES.items()
        for way in START_WAYS
    ]


@pytest.mark.parametrize("story", stories(), ids=str)
def test_foreign(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
