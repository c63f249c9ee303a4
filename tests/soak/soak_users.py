"""Stories about users who end or clear a waiting task (B4), and about what must not be taken for that."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from airflow.triggers.base import BaseTrigger

from tests.soak.story_runner import Story
from tests.soak.story_world import SENSOR_WAYS, START_WAYS, TASK_ID, StoryWorld, expect

if TYPE_CHECKING:
    from collections.abc import Callable


def mark_task(state: str, world: StoryWorld) -> None:
    world.airflow.mark_task(world.dag_id, world.run_id, TASK_ID, state)


def fail_run(world: StoryWorld) -> None:
    world.airflow.mark_run(world.dag_id, world.run_id, "failed")


def clear(world: StoryWorld) -> None:
    world.airflow.clear_tasks(world.dag_id, world.run_id, [TASK_ID])


ENDINGS: dict[str, Callable[[StoryWorld], None]] = {
    "marked failed": partial(mark_task, "failed"),
    "marked success": partial(mark_task, "success"),
    "marked skipped": partial(mark_task, "skipped"),
    "run failed": fail_run,
}


TELLS_TRIGGERS = hasattr(BaseTrigger, "on_kill")
"""Whether this Airflow tells a trigger that a user has ended its task; 3.2 does not."""


def ended(end: Callable[[StoryWorld], None], way: str, world: StoryWorld) -> None:
    """The job is stopped once, and nothing is started again; where Airflow tells nobody, the job goes on."""
    world.begin_way("plain", way)
    world.until_waiting()
    end(world)
    (job,) = world.jobs
    is_told = TELLS_TRIGGERS or way == "start_waiting"
    if is_told:
        world.until_stopped(job)
    world.until_over()
    if not is_told:
        world.let_the_job_end()
    expect(len(world.jobs) == 1, "another job was started", world)
    expect(len(world.stops) == is_told, "it was stopped more than once, or where nobody can", world)


def cleared(way: str, world: StoryWorld) -> None:
    """The job is stopped; when it is over exactly one new one starts, and the run succeeds."""
    world.begin_way("plain", way)
    world.until_waiting()
    (first,) = world.jobs
    clear(world)
    world.until_stopped(first)
    expect(len(world.jobs) == 1, "a new job was started before the old one was stopped", world)
    world.let_the_job_end()
    world.until_before_the_end(lambda: len(world.jobs) == 2, "no new job was started")
    world.until_waiting()
    world.until_looked_again()
    world.let_the_job_end()
    world.ends_well(jobs=2, stops=1)


def cleared_but_kept(way: str, world: StoryWorld) -> None:
    """With ``cancel_on_kill`` off the next try adopts the job."""
    world.begin_way("kept", way)
    world.until_waiting()
    process = world.process()
    clear(world)
    world.until(lambda: process is None or not process.is_running(), "the cleared task's process goes on")
    # Not before it waits again: a last look of the cleared try's trigger would be taken for one of the new try's.
    world.until_waiting()
    world.until_looked_again()
    world.let_the_job_end()
    world.ends_well()


def ended_but_kept(way: str, world: StoryWorld) -> None:
    """With ``cancel_on_kill`` off the job goes on."""
    world.begin_way("kept", way)
    world.until_waiting()
    process = world.process()
    mark_task("failed", world)
    world.until_over()
    world.until(lambda: process is None or not process.is_running(), "the task's process goes on")
    world.let_the_job_end()
    expect(list(world.jobs.values()) == [3], "the job did not go on", world)
    expect(not world.stops, "the job was stopped", world)


def cleared_when_over(way: str, world: StoryWorld) -> None:
    """A clear of a finished run, which Airflow runs again: what the start has left running is stopped first."""
    world.begin_way("unwaited", way)
    world.until_over()
    (first,) = world.jobs
    clear(world)
    world.until_stopped(first)
    world.let_the_job_end()
    world.ends_well(jobs=2, stops=1)


def signaled_when_over(way: str, world: StoryWorld) -> None:
    """Airflow ends a process whose callbacks take too long after the task's success: the job goes on."""
    world.begin_way("lingering", way)
    world.until_over()
    process = world.caught_process("the callback is over already")
    world.until(lambda: not process.is_running(), "the task's process goes on")
    expect(not (world.folder / "lingered").exists(), "Airflow has let the callback end", world)
    world.let_the_job_end()
    world.ends_well()


def sensor_ended(way: str, world: StoryWorld) -> None:
    """A sensor stops nothing."""
    world.begin_way("plain", way)
    world.until_waiting()
    process = world.process()
    mark_task("failed", world)
    world.until_over()
    world.until(lambda: process is None or not process.is_running(), "the sensor's process goes on")
    world.let_the_job_end()
    expect(list(world.jobs.values()) == [3], "the job did not go on", world)
    expect(not world.stops, "the job was stopped", world)


def sensor_cleared(way: str, world: StoryWorld) -> None:
    """A sensor that is cleared waits again."""
    world.begin_way("plain", way)
    world.until_waiting()
    clear(world)
    world.until_looked_again(2)
    world.let_the_job_end()
    world.ends_well()


def stories() -> list[Story]:
    told = [Story(f"{name}, {way}", partial(ended, end, way)) for name, end in ENDINGS.items() for way in START_WAYS]
    for way in START_WAYS:
        told += [
            Story(f"cleared, {way}", partial(cleared, way)),
            Story(f"cleared but kept, {way}", partial(cleared_but_kept, way)),
            Story(f"marked failed but kept, {way}", partial(ended_but_kept, way)),
            Story(f"cleared when the run was over, {way}", partial(cleared_when_over, way)),
        ]
    told.append(Story("signaled after its success", partial(signaled_when_over, "start_waiting")))
    for way in SENSOR_WAYS:
        told += [
            Story(f"marked failed, {way}", partial(sensor_ended, way)),
            Story(f"cleared, {way}", partial(sensor_cleared, way)),
        ]
    return told


@pytest.mark.parametrize("story", stories(), ids=str)
def test_user(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
