"""A connection that is edited in the middle of a run or wait is used soon, and a rotated password ends nothing (B5)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.teams import ModelArtsUpdateTeamSamplesOperator
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from tests.operators.runners import WRITE, ConfirmRunner, check_sums
from tests.support.on_request import OnRequest
from tests.support.operator_driver import drive
from tests.triggers.watch_timeline import WatchTimeline, start
from tests.triggers.watch_timeline import trigger as watch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.emulator.http.journal import Record
    from tests.support.clock import MovedClock

VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"
TOKENS = "/v3/auth/tokens"


class Rotation:
    """Rotates the password once, when a request has been carried out; its answer goes out after that."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self._emulator, self._monkeypatch = emulator, monkeypatch

    def at(self, method: str, path_part: str, number: int, *, in_airflow: bool = True) -> None:
        """Rotate it with one request: the first with this method and path is 1.

        :param in_airflow: whether Airflow's connection gets the new one too
        """

        def rotate() -> None:
            self._emulator.set_password("r0tated-in-the-middle")
            if in_airflow:
                self._monkeypatch.setenv(VARIABLE, self._emulator.connection_json)

        self._rotating = OnRequest(self._emulator, method, path_part, number, rotate)

    @property
    def done(self) -> bool:
        return self._rotating.done


class Move:
    """Names the service by another host in Airflow's connection; the old one goes on answering."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self._emulator, self._monkeypatch = emulator, monkeypatch
        self.at = float("inf")

    def make(self) -> None:
        moved = {**self._emulator.connection, "host": self._emulator.url.replace("127.0.0.1", "localhost")}
        self._monkeypatch.setenv(VARIABLE, json.dumps(moved))
        self.at = self._emulator.clock.now()

    def hosts(self, records: Iterable[Record] | None = None) -> set[str]:
        """Return where requests went to: by default those that came more than a minute after the edit."""
        late = self._emulator.journal.select(None, "/v2/", match=lambda record: record.time > self.at + 60)
        return {record.headers["host"].partition(":")[0] for record in (late if records is None else records)}


@pytest.fixture
def move(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Move:
    return Move(emulator, monkeypatch)


@pytest.fixture
def rotation(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Rotation:
    return Rotation(emulator, monkeypatch)


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> ConfirmRunner:
    return ConfirmRunner(emulator, moved_clock, tmp_path, samples=1000)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("ledger", [False, True])
def test_a_confirmation_goes_on_and_its_counts_are_of_the_whole(
    runner: ConfirmRunner, rotation: Rotation, concurrency: int, ledger: bool
) -> None:
    rotation.at("PUT", WRITE, 3)
    given = {"ledger_uri": runner.ledger_uri} if ledger else {}
    ending = runner.confirm(concurrency=concurrency, **given)
    assert rotation.done
    assert ending.error is None
    check_sums(ending.result)
    assert (ending.result["seen"], ending.result["confirmed"], ending.result["passes"]) == (1000, 1000, 1)
    assert runner.dataset.unconfirmed == 0
    assert runner.emulator.journal.count("POST", TOKENS) == 3  # the first, one with the old password, the new one
    assert len(runner.entries()) == (1000 if ledger else 0)


def test_a_confirmation_where_nothing_fails_uses_an_edited_connection_within_a_minute(
    runner: ConfirmRunner, move: Move, moved_clock: MovedClock
) -> None:
    journal = runner.emulator.journal
    after: list[int] = []

    def a_minute_passes() -> None:
        moved_clock.advance(61)
        after.append(len(journal) + 1)

    edited = OnRequest(runner.emulator, "PUT", WRITE, 3, move.make)
    passed = OnRequest(runner.emulator, "PUT", WRITE, 4, a_minute_passes)
    ending = runner.confirm(concurrency=1)
    assert edited.done
    assert passed.done
    assert ending.error is None
    assert (ending.result["seen"], ending.result["confirmed"]) == (1000, 1000)
    assert move.hosts(journal[after[0] :]) == {"localhost"}


def test_a_wait_of_the_triggerer_uses_an_edited_connection_within_a_minute(
    emulator: Emulator, move: Move, moved_clock: MovedClock
) -> None:
    emulator.task_seconds = 300
    dataset_id = emulator.load_digits(labeled=100)
    label_task_id = ModelArtsHook().client.tasks.start(dataset_id)
    trigger = ModelArtsLabelTaskTrigger(dataset_id, label_task_id, deadline=moved_clock.now() + 3600)

    async def wait() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    edited = OnRequest(emulator, "GET", label_task_id, 2, move.make)
    (event,) = asyncio.run(wait())
    assert edited.done
    assert event["status"] == "success"
    assert move.hosts() == {"localhost"}


def test_a_watch_uses_an_edited_connection_within_a_minute(
    emulator: Emulator, move: Move, moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    story = WatchTimeline(moved_clock, monkeypatch)
    story.at(60, move.make)
    story.at(150, lambda: start(dataset_id))
    assert len(story.watch(watch(dataset_id), until=1200)) == 1
    assert move.hosts() == {"localhost"}


def test_making_a_plan_goes_on(runner: ConfirmRunner, rotation: Rotation) -> None:
    rotation.at("GET", "/auto-annotations/", 4)
    ending = runner.plan()
    assert rotation.done
    assert ending.error is None
    assert ending.result["confirmed"] == 1000


def test_an_undo_goes_on(runner: ConfirmRunner, rotation: Rotation) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    runner.emulator.journal.clear()
    rotation.at("PUT", WRITE, 3)
    ending = runner.revert()
    assert rotation.done
    assert ending.error is None
    assert (ending.result["seen"], ending.result["cleared"]) == (1000, 1000)


@pytest.mark.parametrize("asked", ["PUT", "GET"])
def test_team_samples_are_written_to_the_end(
    emulator: Emulator, moved_clock: MovedClock, rotation: Rotation, asked: str
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    dataset = emulator.dataset(dataset_id)
    sample_ids = list(dataset.samples)[:250]
    task_id = emulator.create_team_task(dataset_id, ["a@example.com"], sample_ids=sample_ids)
    samples = [{"sample_id": one, "labels": [{"name": "7"}]} for one in sample_ids]
    rotation.at("PUT", "workforce-tasks", 2)
    if asked == "GET":  # the answer to the second write is lost, so that the samples are read next
        emulator.faults.add("PUT", "workforce-tasks", "reset_after", after=1)
    ending = drive(
        ModelArtsUpdateTeamSamplesOperator(
            task_id="update", dataset_id=dataset_id, workforce_task_id=task_id, samples=samples
        ),
        moved_clock,
    )
    assert rotation.done
    assert ending.error is None
    assert (ending.result["samples"], ending.result["updated"]) == (250, 250)


def test_a_password_that_airflow_does_not_know_yet_ends_the_run_after_one_try(
    runner: ConfirmRunner, rotation: Rotation
) -> None:
    rotation.at("PUT", WRITE, 3, in_airflow=False)
    ending = runner.confirm(concurrency=1)
    assert rotation.done
    assert type(ending.error) is AirflowFailException
    check_sums(ending.xcoms["return_value"])
    assert ending.xcoms["return_value"]["confirmed"] == runner.dataset.annotated > 0
    assert runner.emulator.journal.count("POST", TOKENS) == 2
