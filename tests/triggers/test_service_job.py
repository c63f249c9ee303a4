"""The trigger for jobs of the service: what is stored of it, and the one event that it fires."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers.service_job import ModelArtsServiceJobTrigger
from airflow_provider_modelarts.utils.job_kinds import JOB_KINDS

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

GIVEN: dict[str, Any] = {
    "kind": "import",
    "ids": {"dataset_id": "d"},
    "job_id": "i",
    "deadline": 123.5,
    "poll_interval": 7,
    "started": 1.5,
    "not_before": 2.5,
    "modelarts_conn_id": "other",
    "project_id": "p",
}


def events(trigger: ModelArtsServiceJobTrigger) -> list[Any]:
    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(run())


def test_it_is_built_again_of_what_is_stored() -> None:
    path, kwargs = ModelArtsServiceJobTrigger(**GIVEN).serialize()
    assert path == "airflow_provider_modelarts.triggers.service_job.ModelArtsServiceJobTrigger"
    assert kwargs == GIVEN == json.loads(json.dumps(kwargs))
    ModelArtsServiceJobTrigger(**kwargs).prove_serializable()


def test_what_cannot_be_stored_is_found_before_anything_is_started() -> None:
    with pytest.raises(TypeError):
        ModelArtsServiceJobTrigger(**{**GIVEN, "ids": {"dataset_id": object()}}).prove_serializable()
    with pytest.raises(TypeError, match="cannot be stored"):
        ModelArtsServiceJobTrigger(**{**GIVEN, "ids": {"dataset_id": ("a", "b")}}).prove_serializable()


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_every_kind_can_be_waited_for(kind: str) -> None:
    ids = {one.name: "x" for one in fields(JOB_KINDS[kind])}
    assert ModelArtsServiceJobTrigger(kind, ids, "j", deadline=1).make_wait().job == JOB_KINDS[kind](**ids)


def test_it_fires_one_event_of_json(emulator: Emulator, moved_clock: MovedClock) -> None:
    emulator.job_seconds = 40
    dataset_id = emulator.load_proposals(4)
    version_id = ModelArtsHook().client.versions.create(dataset_id)
    begun = moved_clock.now()
    trigger = ModelArtsServiceJobTrigger(
        "publication", {"dataset_id": dataset_id}, version_id, deadline=begun + 3600, not_before=begun + 20
    )
    (event,) = events(trigger)
    assert json.loads(json.dumps(event)) == event
    assert set(event) == {"status", "kind", "job_id", "message", "summary"}
    assert (event["status"], event["kind"], event["job_id"]) == ("success", "publication", version_id)
    assert moved_clock.slept[0] == pytest.approx(20)
    assert emulator.journal.count("DELETE", "/versions") == 0


def test_it_gives_up_at_its_deadline(emulator: Emulator, moved_clock: MovedClock) -> None:
    emulator.job_seconds = 400
    dataset_id = emulator.load_proposals(4)
    version_id = ModelArtsHook().client.versions.create(dataset_id)
    deadline = moved_clock.now() + 100
    (event,) = events(
        ModelArtsServiceJobTrigger("publication", {"dataset_id": dataset_id}, version_id, deadline=deadline)
    )
    assert event["status"] == "timeout"
    assert moved_clock.now() == pytest.approx(deadline)
