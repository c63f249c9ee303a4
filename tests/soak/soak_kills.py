"""Stories about tasks that are killed (B1): one job, and the run ends as an undisturbed one does."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import psutil
import pytest
from airflow.sdk.execution_time import context as airflow_context

from tests.soak.story_runner import Story
from tests.soak.story_world import START_WAYS, StoryError, StoryWorld, expect, kill

RANDOM_KILLS = 30
SLOW_REPLY = 8.0

Victim = Callable[[psutil.Process], psutil.Process | None]

VICTIMS: dict[str, Victim] = {
    "own_process": lambda process: process,
    # The task's process lives on, beside the retry.
    "supervisor": lambda process: process.parent(),
}


def victim_of(world: StoryWorld, victim: str) -> psutil.Process:
    process = world.until(world.process, "the task's process cannot be found")
    return chosen(process, victim)


def chosen(process: psutil.Process, victim: str) -> psutil.Process:
    target = VICTIMS[victim](process)
    if target is None or "airflow worker" not in " ".join(target.cmdline()):
        raise StoryError(f"{target}, the {victim} of {process}, is no worker")
    return target


def kill_at_gate(point: str, victim: str, world: StoryWorld, way: str) -> None:
    """Kill at a point in the task's own code; whoever survives its supervisor goes on from there."""
    world.want_gate(point)
    world.begin_way("plain", way)
    if point == "resumed":
        world.until_waiting()
        world.let_the_job_end()
    world.at_gate(point)
    kill(victim_of(world, victim))
    world.open_gate(point)


def kill_before_reply(victim: str, world: StoryWorld, way: str) -> None:
    """Kill while the service's reply to the start is on its way."""
    world.emulator.faults.add("POST", "/tasks", "delay", applied=True, seconds=SLOW_REPLY)
    world.begin_way("plain", way)
    target = victim_of(world, victim)
    world.until_before_the_end(lambda: world.jobs, "no job was started")
    kill(target)
    expect(not world.starts, "the reply was faster than the kill", world)


def kill_while_polling(victim: str, world: StoryWorld, way: str) -> None:
    world.begin_way("plain", way)
    world.until_waiting()
    kill(victim_of(world, victim))


def then_it_goes_on(world: StoryWorld) -> None:
    """The retry runs; the job ends; the run is what it would have been."""
    world.until_before_the_end(lambda: world.tries() > 1, "Airflow does not try again")
    world.until_before_the_end(
        lambda: world.jobs and world.state() in ("running", "deferred"), "the retry waits for no job"
    )
    world.until_looked_again()
    world.let_the_job_end()
    world.ends_well()


GATES = ("begin", "before_post", "after_post", "before_defer", "resumed")
ONLY_DEFERRED = frozenset({"before_defer", "resumed"})


def at_gate(point: str, victim: str, way: str, world: StoryWorld) -> None:
    kill_at_gate(point, victim, world, way)
    if point == "resumed":
        world.ends_well()  # the job is over already
    else:
        then_it_goes_on(world)


def before_reply(victim: str, way: str, world: StoryWorld) -> None:
    kill_before_reply(victim, world, way)
    then_it_goes_on(world)


def while_polling(victim: str, way: str, world: StoryWorld) -> None:
    kill_while_polling(victim, world, way)
    if way.startswith("sensor"):
        world.until_before_the_end(lambda: world.tries() > 1, "Airflow does not try again")
        world.let_the_job_end()
        world.ends_well()
    else:
        then_it_goes_on(world)


def reply_lost(way: str, world: StoryWorld) -> None:
    """Nobody is killed, but the reply to the start is lost."""
    rule = world.emulator.faults.add("POST", "/tasks", "reset_after")
    world.begin_way("plain", way)
    world.until_before_the_end(lambda: rule.fired, "the reply was not lost")
    world.until_before_the_end(lambda: world.looks, "nobody looks at the job")
    world.let_the_job_end()
    world.ends_well()


def zombie_wakes_late(way: str, world: StoryWorld) -> None:
    """The supervisor is killed before the start; its task's process goes on when the retry has a job already."""
    world.want_gate("begin")
    world.begin_way("plain", way)
    world.at_gate("begin")
    zombie = world.until(world.process, "the task's process cannot be found")
    kill(chosen(zombie, "supervisor"))
    world.until_before_the_end(lambda: world.jobs, "the retry starts no job")
    world.open_gate("begin")
    world.until(lambda: not zombie.is_running() or zombie.status() == psutil.STATUS_ZOMBIE, "the zombie does not end")
    world.until_looked_again()
    world.let_the_job_end()
    world.ends_well()


REMEMBERS = hasattr(airflow_context, "TaskStateStoreAccessor")
"""Whether this Airflow keeps what a task stores from one try to the next; 3.2 does not."""


def unmarked(names: str, way: str, world: StoryWorld) -> None:
    """The service does not echo the marker, and the task is killed before it could store the job's id.

    Without a state store nothing is left to know the job by: it is taken for somebody else's, and neither doubled nor
    stopped.
    """
    world.emulator.variants.config_name = names
    kill_at_gate("after_post", "own_process", world, way)
    if REMEMBERS:
        then_it_goes_on(world)
        return
    world.until_over()
    expect(world.errors[-1:] == ["TaskAlreadyRunning"], "it ended otherwise", world)
    expect(len(world.starts) == 1 and not world.stops, "the job was doubled or stopped", world)


def job_dies_too(way: str, world: StoryWorld) -> None:
    """The task is killed, and its job fails before the retry: the retry starts one new job."""
    world.emulator.faults.add("POST", "/tasks", "fail_task")
    kill_at_gate("after_post", "own_process", world, way)
    world.let_the_job_end()
    world.until_before_the_end(lambda: len(world.jobs) == 2, "the retry starts no new job")
    world.until_looked_again()
    world.let_the_job_end()
    world.ends_well(jobs=2)


def at_random(number: int, world: StoryWorld) -> None:
    """Kill once at a random moment of the task's life, in whatever it does then."""
    draw = random.Random(f"kill {number}")
    way, victim = draw.choice(START_WAYS), draw.choice(sorted(VICTIMS))
    patience = draw.uniform(0, 9)
    world.begin_way("plain", way)
    world.until(lambda: world.process() or world.state() == "deferred", "the task does not run")
    world.ended.wait(patience)
    if process := world.process():
        target = chosen(process, victim)
        world.notes.append(f"{victim} of {way}, {'before' if not world.jobs else 'after'} the start")
        kill(target)
    else:  # deferred: what is left to kill is the process that resumes
        world.until_waiting()
        world.let_the_job_end()
        process = world.caught_process("the task does not resume")
        world.notes.append(f"{victim} of {way}, resumed")
        kill(chosen(process, victim))
    looks = world.looks

    def over() -> bool:
        # A process that was killed after it had deferred, and before it was gone, leaves a wait and no other try.
        if world.looks > looks and (world.tries() > 1 or world.state() == "deferred"):
            world.let_the_job_end()
        return world.run_state() in ("success", "failed")

    world.until(over, "the run is not over")
    world.ends_well()


def evicted(way: str, world: StoryWorld) -> None:
    """The worker is evicted: its supervisor gets a SIGTERM while the task runs."""
    point = None if way == "start_waiting" else "before_defer"
    if point:
        world.want_gate(point)
    world.begin_way("plain", way)
    if point:
        world.at_gate(point)
    else:
        world.until_waiting()
    process = world.until(world.process, "the task's process cannot be found")
    chosen(process, "supervisor").terminate()
    if point:
        world.open_gate(point)
    world.until_looked_again(3)
    world.let_the_job_end()
    world.ends_well()
    expect(world.tries() == 1, "the task was tried again", world)


def stories() -> list[Story]:
    told = [
        Story(f"{point}, {victim}, {way}", partial(at_gate, point, victim, way))
        for point in GATES
        for way in START_WAYS
        if way == "start_deferred" or point not in ONLY_DEFERRED
        for victim in VICTIMS
    ]
    told += [
        Story(f"before the reply, {victim}, {way}", partial(before_reply, victim, way))
        for way in START_WAYS
        for victim in VICTIMS
    ]
    told += [
        Story(f"polling, {victim}, {way}", partial(while_polling, victim, way))
        for way in ("start_waiting", "sensor_poke")
        for victim in VICTIMS
    ]
    for way in START_WAYS:
        told += [
            Story(f"reply lost, {way}", partial(reply_lost, way)),
            Story(f"zombie wakes late, {way}", partial(zombie_wakes_late, way)),
            Story(f"marker replaced, {way}", partial(unmarked, "invented", way)),
            Story(f"marker absent, {way}", partial(unmarked, "absent", way)),
            Story(f"job dies too, {way}", partial(job_dies_too, way)),
            Story(f"evicted, {way}", partial(evicted, way)),
        ]
    return told


def random_stories() -> list[Story]:
    return [Story(f"random kill {number}", partial(at_random, number)) for number in range(RANDOM_KILLS)]


@pytest.mark.parametrize("story", [*stories(), *random_stories()], ids=str)
def test_kill(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
