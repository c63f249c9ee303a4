"""Stories about waits that are given up (B3, B7): a start operator stops its job, a sensor stops nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.soak.story_runner import Story
from tests.soak.story_world import SENSOR_WAYS, START_WAYS, StoryWorld, expect

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = ("timeout", "execution_timeout")


def start_gives_up(setting: str, way: str, world: StoryWorld) -> None:
    world.begin_way(setting, way)
    world.until_over()
    expect(world.state() == "failed", "the task has not failed", world)
    expect(world.errors == ["LabelTaskTimeout"], "it is no LabelTaskTimeout", world)
    expect(len(world.jobs) == 1 and len(world.starts) == 1, "there is not one job", world)
    expect(len(world.stops_of(next(iter(world.jobs)))) == 1, "the job was not stopped once", world)


def stop_is_slow(world: StoryWorld) -> None:
    """Airflow's own alarm, which comes a little after the deadline, must not cut the stopping short."""
    rule = world.emulator.faults.add("POST", "/stop", "delay", seconds=8.0)
    start_gives_up("execution_timeout", "start_waiting", world)
    expect(rule.fired == 1, "the stop was not slow", world)


def sensor_gives_up(setting: str, way: str, world: StoryWorld) -> None:
    world.begin_way(setting, way)
    world.until_over()
    soft = setting.startswith("soft")
    expect(world.state() == ("skipped" if soft else "failed"), "the sensor ended otherwise", world)
    expect(world.errors == ([] if soft else ["AirflowSensorTimeout"]), "it raised something else", world)
    expect(not world.stops, "the sensor has stopped a job", world)
    expect(world.looks, "the sensor did not look", world)  # how often: the machine decides


def stories() -> list[Story]:
    told = [Story(f"{limit}, {way}", partial(start_gives_up, limit, way)) for limit in LIMITS for way in START_WAYS]
    told += [
        Story(f"{soft}{limit}, {way}", partial(sensor_gives_up, f"{soft}{limit}", way))
        for limit in LIMITS
        for way in SENSOR_WAYS
        for soft in ("", "soft_")
    ]
    told.append(Story("execution_timeout, slow stop, start_waiting", stop_is_slow))
    return told


@pytest.mark.parametrize("story", stories(), ids=str)
def test_deadline(story: Story, run_story: Callable[[Story], None]) -> None:
    run_story(story)
