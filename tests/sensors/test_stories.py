"""One table of remote stories against every way of waiting: same outcome, exception and XCom (B6, B7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_provider_modelarts.client import errors
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.sensors.label_task import ModelArtsLabelTaskSensor
from tests.conftest import forget_clients
from tests.support.operator_driver import Ending, drive
from tests.support.wait_stories import STORIES, SUCCEEDED, WaitStory, WaitWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

START_WAYS: dict[str, dict[str, Any]] = {"in the worker": {"deferrable": False}, "deferred": {"deferrable": True}}
SENSOR_WAYS: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}
WAITING_ERRORS: dict[str, type[Exception]] = {
    "failed": errors.LabelTaskFailed,
    "stopped": errors.LabelTaskStopped,
    "timeout": errors.LabelTaskTimeout,
}
OWN_ERRORS: dict[str, type[Exception]] = {
    **WAITING_ERRORS,
    "PermissionDenied": LabelTaskUnreadableError,
    "NotFound": LabelTaskUnreadableError,
}
"""What a start operator raises: the labeling task is its own, so Airflow's retries are left to it."""

SMALL_SUMMARY = {
    "state",
    "progress",
    "elapsed_time",
    "total_sample_count",
    "annotated_sample_count",
    "unconfirmed_sample_count",
    "code",
    "message",
}


class Stage:
    """Where one story is told again and again, each time with a new service."""

    def __init__(self, emulator: Emulator, clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emulator, self.clock, self.monkeypatch = emulator, clock, monkeypatch

    def tell(self, story: WaitStory, play: Callable[[WaitWorld], Ending]) -> Ending:
        with self.monkeypatch.context() as patch:
            forget_clients()
            self.emulator.reset()
            self.emulator.task_seconds = story.task_seconds
            world = WaitWorld(self.emulator, self.clock, patch, self.emulator.load_digits(labeled=100))
            world.tell_airflow_the_new_password()
            story.tell(world)
            ending = play(world)
            if story.fires:
                assert self.emulator.faults.fired[story.fires], "the fault of this story never happened"
            assert not world.plans, "the story ended before all of it had happened"
            return ending


@pytest.fixture
def stage(emulator: Emulator, moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(emulator, moved_clock, monkeypatch)


def start_and_wait(way: dict[str, Any], story: WaitStory) -> Callable[[WaitWorld], Ending]:
    def play(world: WaitWorld) -> Ending:
        operator = ModelArtsStartLabelTaskOperator(
            task_id="start",
            dataset_id=world.dataset_id,
            wait_for_completion=True,
            timeout=story.timeout,
            cancel_on_timeout=False,
            **way,
        )
        return drive(operator, world.clock)

    return play


def wait(way: dict[str, Any], story: WaitStory, **parameters: Any) -> Callable[[WaitWorld], Ending]:
    def play(world: WaitWorld) -> Ending:
        label_task_id = ModelArtsHook().client.tasks.start(world.dataset_id)
        sensor = ModelArtsLabelTaskSensor(
            task_id="wait",
            dataset_id=world.dataset_id,
            label_task_id=label_task_id,
            timeout=story.timeout,
            **way,
            **parameters,
        )
        return drive(sensor, world.clock)

    return play


def same(text: str) -> str:
    """Return a message without what differs from one telling to the next although nothing differs."""
    return re.sub(r"request id \S+|last: [^)]*\)|[0-9a-f]{32}", "...", text)


def check_error(error: BaseException | None, story: WaitStory, expected: type[BaseException]) -> None:
    assert type(error) is expected, repr(error)
    text = str(error)
    assert "\n" not in text
    for words in story.says:
        assert words in text


@pytest.mark.parametrize("name", STORIES)
def test_the_start_operator_ends_the_same_in_both_ways(stage: Stage, name: str) -> None:
    story = STORIES[name]
    endings = {way: stage.tell(story, start_and_wait(START_WAYS[way], story)) for way in START_WAYS}
    for ending in endings.values():
        if story.ending == "success":
            assert ending.error is None
            assert ending.result == stage.emulator.dataset(stage.emulator.datasets[0]).tasks.popitem()[0]
        else:
            check_error(ending.error, story, OWN_ERRORS.get(story.ending, AirflowFailException))
    assert endings["deferred"].deferrals == 1
    assert endings["in the worker"].deferrals == 0
    first, second = endings.values()
    assert first.result == second.result
    assert same(str(first.error)) == same(str(second.error))


@pytest.mark.parametrize("name", STORIES)
def test_the_sensor_ends_the_same_in_all_three_ways(stage: Stage, name: str) -> None:
    story = STORIES[name]
    endings = {way: stage.tell(story, wait(SENSOR_WAYS[way], story)) for way in SENSOR_WAYS}
    expected = {**WAITING_ERRORS, "timeout": AirflowSensorTimeout}.get(story.ending, AirflowFailException)
    for ending in endings.values():
        if story.ending == "success":
            assert ending.error is None
            assert set(ending.result) == SMALL_SUMMARY
            assert ending.result["state"] == SUCCEEDED
        else:
            check_error(ending.error, story, expected)
    assert endings["deferred"].deferrals == 1
    assert endings["reschedule"].reschedules > 1
    assert (endings["poke"].deferrals, endings["poke"].reschedules) == (0, 0)
    assert len({same(str(ending.error)) for ending in endings.values()}) == 1
    assert len({str(ending.result) for ending in endings.values()}) == 1
