"""Stories about triggerers that restart, die, freeze, or are not there; everybody's, so one story after the other."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from demo.airflow_processes import SECOND_TRIGGERER, AirflowProcesses
from tests.soak.world import World, expect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = "triggerer"
FROZEN_SECONDS = 50.0
WAYS = ("start_deferred", "sensor_deferred")
EACH = 2
"""So many tasks of each way wait while the triggerer is disturbed."""


@contextlib.contextmanager
def worlds(airflow: AirflowProcesses, folder: Path, ways: tuple[str, ...]) -> Iterator[list[World]]:
    """Give a world for each way, all alive."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                World(airflow, f"{folder.name}_{number}_{way}", folder / f"{number}_{way}", threading.Event()).alive()
            )
            for number, way in enumerate(ways)
        ]


def restarted(airflow: AirflowProcesses, told: list[World]) -> None:
    airflow.stop_component(FIRST)
    airflow.start_component(FIRST)


def killed(airflow: AirflowProcesses, told: list[World]) -> None:
    airflow.kill_component(FIRST)
    airflow.start_component(FIRST)


def frozen_beside_a_second(airflow: AirflowProcesses, told: list[World]) -> None:
    """The first stands still until the second has taken over its triggers, and then wakes up."""
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
        # It says what it does with triggers that are not its own any more, and its on_kill has had its time.
        log = airflow.log_file(FIRST)
        told[0].until(
            lambda: b"no longer" in log.read_bytes() or time.monotonic() - begin > FROZEN_SECONDS + 20, "", 60
        )
        for world in told:
            world.until_looked_again(3)
            world.let_the_job_end()
            world.until_over()
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
        DISTURBANCES[name](airflow, told)
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
