"""How often a wait asks, and how soon it notices the end: against the emulator, on a moved clock.

For each duration of a job: status requests per job, and seconds between the job's end and its detection, over several
jobs, because looks are scattered. No job lasts a round number of seconds: each is up to a tenth shorter than the line
says. Beside it the HTTP provider's ``HttpSensor`` at its default interval, asking for the same job of the same emulator
with a ``response_check``. Every wait begins with its job.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from demo.environment import airflow_settings, drop_inherited

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator

JOBS = 10
DURATIONS = {"20 s": 20, "1 min": 60, "10 min": 600, "60 min": 3600}
SHORT = range(2, 60, 3)
"""Durations in seconds of jobs under a minute, whose worst delay is asked for."""

HTTP_DEFAULT_INTERVAL = 60.0
"""Seconds; ``HttpSensor`` leaves it to Airflow's sensors."""

AIMS = "aims: a job under a minute is noticed within 10 s, an hour costs at most 130 requests"


class Measured(NamedTuple):
    """One wait: status requests, and seconds between end and detection."""

    requests: int
    delay: float


def _start(emulator: Emulator, dataset_id: str, seconds: float) -> str:
    """Start a job that will be over after some seconds; it fails, which spares the emulator the labeling."""
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    emulator.task_seconds = seconds / _FAILS_AT
    emulator.dataset(dataset_id).fail_next_task()
    return ModelArtsHook().client.tasks.start(dataset_id)


_FAILS_AT = 0.6
"""Share of its life at which the emulator lets a job fail."""


def _by_trigger(emulator: Emulator, dataset_id: str, label_task_id: str) -> None:
    from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger

    trigger = ModelArtsLabelTaskTrigger(dataset_id, label_task_id, deadline=emulator.clock.now() + 86400)

    async def run() -> None:
        async for event in trigger.run():
            assert event.payload["status"] == "failed", event.payload

    asyncio.run(run())


def _by_http_sensor(emulator: Emulator, dataset_id: str, label_task_id: str) -> None:
    import time

    from airflow.providers.http.sensors.http import HttpSensor

    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": emulator.url})
    sensor = HttpSensor(
        task_id="wait",
        endpoint=f"v2/{emulator.project_id}/datasets/{dataset_id}/tasks/{label_task_id}",
        headers={"X-Auth-Token": emulator.issue_token()},
        response_check=lambda response: response.json()["status"] in (2, 3, 5),
    )
    assert sensor.poke_interval == HTTP_DEFAULT_INTERVAL
    real_sleep = time.sleep
    while not sensor.poke({}):
        emulator.clock.advance(sensor.poke_interval)
        real_sleep(0)


WAYS: dict[str, Callable[[Emulator, str, str], None]] = {"ModelArts": _by_trigger, "HttpSensor": _by_http_sensor}


def _measure(emulator: Emulator, dataset_id: str, way: str, seconds: float) -> Measured:
    label_task_id = _start(emulator, dataset_id, seconds)
    end = emulator.clock.now() + seconds
    emulator.journal.clear()
    WAYS[way](emulator, dataset_id, label_task_id)
    return Measured(emulator.journal.count("GET", f"/tasks/{label_task_id}"), emulator.clock.now() - end)


def _print_durations(emulator: Emulator, dataset_id: str, ways: list[str]) -> None:
    print(f"{'job':>16} {'asked by':<12} {'requests':>8} {'most':>5} {'delay, mean':>12} {'longest':>9}")
    for name, seconds in DURATIONS.items():
        for way in ways:
            found = [_measure(emulator, dataset_id, way, seconds * (1 - job / JOBS / 10)) for job in range(JOBS)]
            _print_line(name, way, found)
    for way in ways:
        found = [_measure(emulator, dataset_id, way, seconds + 0.5) for seconds in SHORT]
        _print_line("any under 1 min", way, found)


def _print_line(name: str, way: str, found: list[Measured]) -> None:
    requests, delays = [one.requests for one in found], [one.delay for one in found]
    print(
        f"{name:>16} {way:<12} {statistics.mean(requests):>8.1f} {max(requests):>5} "
        f"{statistics.mean(delays):>10.1f} s {max(delays):>7.1f} s"
    )


def main() -> None:
    """Print the table."""
    drop_inherited(os.environ)
    with tempfile.TemporaryDirectory() as home, contextlib.redirect_stderr(io.StringIO()):
        os.environ.update(airflow_settings(Path(home)))
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
        _compare()


def _compare() -> None:
    import pytest

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

    logging.disable(logging.CRITICAL)
    ways = [way for way in WAYS if way == "ModelArts" or find_spec("airflow.providers.http")]
    print(f"Polls and delay, {JOBS} jobs each, moved clock ({AIMS})")
    with Emulator(seed=0) as emulator, pytest.MonkeyPatch.context() as patch:
        os.environ["AIRFLOW_CONN_MODELARTS_DEFAULT"] = emulator.connection_json
        emulator.clock.freeze()
        MovedClock(emulator).install(patch)
        _print_durations(emulator, emulator.load_digits(labeled=100), ways)
    if "HttpSensor" not in ways:
        print("Nothing to compare with: apache-airflow-providers-http is not installed (pip install '.[bench]').")


if __name__ == "__main__":
    main()
