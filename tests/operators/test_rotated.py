"""A password that is rotated in the middle of a run, in the service and in the connection, ends nothing (B5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.operators.teams import ModelArtsUpdateTeamSamplesOperator
from tests.operators.bureau import WRITE, Bureau, check_sums
from tests.support.drive import drive
from tests.support.once import Once

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
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

        self._rotating = Once(self._emulator, method, path_part, number, rotate)

    @property
    def done(self) -> bool:
        return self._rotating.done


@pytest.fixture
def rotation(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Rotation:
    return Rotation(emulator, monkeypatch)


@pytest.fixture
def bureau(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> Bureau:
    return Bureau(emulator, moved_clock, tmp_path, samples=1000)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("ledger", [False, True])
def test_a_confirmation_goes_on_and_its_counts_are_of_the_whole(
    bureau: Bureau, rotation: Rotation, concurrency: int, ledger: bool
) -> None:
    rotation.at("PUT", WRITE, 3)
    given = {"ledger_uri": bureau.ledger_uri} if ledger else {}
    ending = bureau.confirm(concurrency=concurrency, **given)
    assert rotation.done
    assert ending.error is None
    check_sums(ending.result)
    assert (ending.result["seen"], ending.result["confirmed"], ending.result["passes"]) == (1000, 1000, 1)
    assert bureau.dataset.unconfirmed == 0
    assert bureau.emulator.journal.count("POST", TOKENS) == 3  # the first, one with the old password, the new one
    assert len(bureau.entries()) == (1000 if ledger else 0)


def test_making_a_plan_goes_on(bureau: Bureau, rotation: Rotation) -> None:
    rotation.at("GET", "/auto-annotations/", 4)
    ending = bureau.plan()
    assert rotation.done
    assert ending.error is None
    assert ending.result["confirmed"] == 1000


def test_an_undo_goes_on(bureau: Bureau, rotation: Rotation) -> None:
    bureau.confirm(ledger_uri=bureau.ledger_uri)
    bureau.emulator.journal.clear()
    rotation.at("PUT", WRITE, 3)
    ending = bureau.revert()
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
    bureau: Bureau, rotation: Rotation
) -> None:
    rotation.at("PUT", WRITE, 3, in_airflow=False)
    ending = bureau.confirm(concurrency=1)
    assert rotation.done
    assert type(ending.error) is AirflowFailException
    check_sums(ending.xcoms["return_value"])
    assert ending.xcoms["return_value"]["confirmed"] == bureau.dataset.annotated > 0
    assert bureau.emulator.journal.count("POST", TOKENS) == 2
