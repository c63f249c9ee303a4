"""Stories about triggerers that restart, die, freeze, or are not there; everybody's, so one story after the other."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from airflow.triggers.base import BaseTrigger

from demo.airflow_processes import SECOND_TRIGGERER, AirflowProcesses
from tests.soak.story_world import StoryWorld, expect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = "triggerer"
FROZEN_SECONDS = 50.0
WAYS = ("start_deferred", "sensor_deferred")
EACH = 2
"""So many tasks of each way wait while the triggerer is disturbed."""


FALSE_ALARM = "invoking on_kill"
"""What Airflow writes into a task's log when it takes a handed-over trigger for one that a user has ended."""


@contextlib.contextmanager
def worlds(airflow: AirflowProcesses, folder: Path, ways: tuple[str, ...]) -> Iterator[list[StoryWorld]]:
    """Give a world for each way, all alive."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                StoryWorld(
                    airflow, f"{folder.name}_{number}_{way}", folder / f"{number}_{way}", threading.Event()
                ).alive()
            )
            for number, way in enumerate(ways)
        ]


def has_heard_false_alarm(world: StoryWorld) -> bool:
    return FALSE_ALARM in world.task_log()


@contextlib.contextmanager
def restarted(airflow: AirflowProcesses, told: list[StoryWorld]) -> Iterator[None]:
    airflow.stop_component(FIRST)
    airflow.start_component(FIRST)
    yield


@contextlib.contextmanager
def killed(airflow: AirflowProcesses, told: list[StoryWorld]) -> Iterator[None]:
    airflow.kill_component(FIRST)
    airflow.start_component(FIRST)
    yield


@contextlib.contextmanager
def frozen_beside_a_second(airflow: AirflowProcesses, told: list[StoryWorld]) -> Iterator[None]:
    """The first stands still until the second has its triggers, and kills them in its own memory when it wakes."""
    airflow.start_component(SECOND_TRIGGERER)
    try:
        airflow.freeze_component(FIRST)
        begin = time.monotonic()
        try:
            for world in told:
                world.until_looked_again(2)
            told[0].until(lambda: time.monotonic() - begin >= FROZEN_SECONDS, "time stands still", 2 * FROZEN_SECONDS)
        finally:
            airflow.thaw_component(FIRST)
        if hasattr(BaseTrigger, "on_kill"):
            for world in told:
                world.until(partial(has_heard_false_alarm, world), "the first did not wake up")
        yield
    finally:
        airflow.stop_component(SECOND_TRIGGERER)


DISTURBANCES = {"restarted": restarted, "killed": killed, "frozen": frozen_beside_a_second}


@pytest.mark.parametrize("name", DISTURBANCES)
def test_disturbed_triggerer(name: str, airflow: AirflowProcesses, tmp_path: Path) -> None:
    with worlds(airflow, tmp_path, WAYS * EACH) as told:
        for world, way in zip(told, WAYS * EACH, strict=True):
            world.begin_way("plain", way)
        for world in told:
            world.until_waiting()
        with DISTURBANCES[name](airflow, told):
            for world in told:
                world.until_looked_again(2)
                world.let_the_job_end()
            for world in told:
                world.ends_well()
                expect(world.tries() == 1, "the task was tried again", world)


def test_no_triggerer(airflow: AirflowProcesses, tmp_path: Path) -> None:
    """Airflow's own limit of the deferral ends the wait: an operator stops its job, a sensor stops nothing."""
    settings = {
        ("abandoned", "start_deferred"): ("failed", ["LabelTaskTimeout"], 1),
        ("abandoned", "sensor_deferred"): ("failed", ["AirflowSensorTimeout"], 0),
        ("soft_abandoned", "sensor_deferred"): ("skipped", [], 0),
    }
    airflow.stop_component(FIRST)
    try:
        with worlds(airflow, tmp_path, tuple(way for _, way in settings)) as told:
            for world, (setting, way) in zip(told, settings, strict=True):
                world.begin_way(setting, way)
            for world, (state, errors, stops) in zip(told, settings.values(), strict=True):
                world.until_over()
                expect(world.state() == state, f"the task is not {state}", world)
                expect(world.errors == errors, f"it did not raise {errors}", world)
                expect(len(world.stops) == stops, f"there are not {stops} stops", world)
    finally:
        airflow.start_component(FIRST)
