"""The emulator as its users see it: one seed one story, credentials, the clock, what a person does beside the API."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_modelarts.emulator import Emulator, pytest_plugin
from tests.emulator.conftest import AUTO, SAMPLES, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

modelarts_emulator = pytest_plugin.modelarts_emulator


def _story(seed: int) -> Any:
    with Emulator(seed) as emulator:
        emulator.clock.freeze()
        caller = Caller(emulator, emulator.load_digits())
        task_id = caller.finish(collect_key_sample=True)
        page = caller.get(AUTO, limit=100)["samples"]
        synthetic = Caller(emulator, emulator.load_proposals(20, kind="detection"))
        return (
            emulator.user,
            emulator.password,
            emulator.secret_key,
            emulator.project_id,
            emulator.tokens,
            caller.dataset_id,
            task_id,
            [(s["sample_id"], s["labels"], s["metadata"]["@modelarts:hard_reasons"]) for s in page],
            [(s["sample_id"], s["labels"]) for s in synthetic.walk()],
        )


def test_one_seed_one_story() -> None:
    first, again, other = _story(7), _story(7), _story(8)
    assert first == again
    assert all(left != right for left, right in zip(first, other, strict=True))


def test_reset(digits: Caller) -> None:
    emulator = digits.emulator
    emulator.variants.hard = "text"
    emulator.faults.add("GET", "", "reset")
    emulator.set_password("other")
    emulator.reset()
    assert emulator.datasets == ()
    assert emulator.variants.hard == "bool"
    assert len(emulator.journal) == 0
    digits.session.headers["X-Auth-Token"] = emulator.issue_token()
    assert digits.refused("GET") == (400, "ModelArts.4352")
    digits.dataset_id = emulator.load_digits()
    assert digits("GET").status_code == 200


def test_bad_numbers_are_refused() -> None:
    emulator = Emulator()
    with pytest.raises(ValueError, match="labeled must lie"):
        emulator.load_digits(labeled=1798)
    with pytest.raises(ValueError, match="kind is one of"):
        emulator.load_proposals(1, kind="video")
    with pytest.raises(ValueError, match="hard_share"):
        emulator.load_proposals(1, hard_share=2)
    with pytest.raises(ValueError, match="cannot be moved back"):
        emulator.clock.advance(-1)


def test_the_clock() -> None:
    clock = Emulator().clock
    clock.freeze()
    begin = clock.now()
    assert clock.now() == begin
    clock.advance(1.5)
    assert clock.now() == begin + 1.5
    clock.resume()
    assert begin + 1.5 <= clock.now() < begin + 60


def test_credentials_can_be_given() -> None:
    emulator = Emulator(
        user="u", password="p", domain="d", access_key="ak", secret_key="sk", signature="sentinel", region="eu-1"
    )
    connection = emulator.connection
    assert (connection["login"], connection["password"], connection["conn_type"]) == ("u", "p", "modelarts")
    assert connection["extra"] == {
        "auth": "password",
        "region": "eu-1",
        "iam_endpoint": emulator.url,
        "domain_name": "d",
        "project_name": "eu-1",
    }
    signed = emulator.connection_for("access_key")
    assert (signed["login"], signed["password"], signed["extra"]["project_id"]) == ("ak", "sk", emulator.project_id)
    token = emulator.connection_for("token")
    assert token["password"] == emulator.tokens[-1]
    assert set(emulator.secrets) == {"p", "sk", "sentinel", token["password"]}
    with pytest.raises(ValueError, match="auth is"):
        emulator.connection_for("magic")


def test_the_fixture(modelarts_emulator: Emulator) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_MODELARTS_DEFAULT"])
    assert connection == modelarts_emulator.connection
    assert requests.get(connection["host"] + "/v3/auth/projects", timeout=10).status_code == 401


def test_proposals_of_ones_own(proposals: Callable[..., Caller]) -> None:
    caller = proposals(3)
    document = {
        "sample_id": "s" * 34,
        "labels": [{"name": "x", "odd": [1, 1.0]}],
        "metadata": {"@modelarts:hard": "True"},
    }
    caller.dataset.propose([document])
    served = caller.get(AUTO, limit=1)["samples"][0]
    assert json.dumps({name: served[name] for name in document}) == json.dumps(document)
    assert caller.waiting() == 4


def test_a_person_edits_beside_the_machine(digits: Caller) -> None:
    digits.finish()
    dataset = digits.dataset
    sample_id = next(iter(dataset.proposals))
    dataset.edit(sample_id, ["1", {"name": "2", "property": {"k": 1.0}}])
    assert sample_id not in dataset.proposals
    sample = digits.get(f"{SAMPLES}/{sample_id}")
    assert sample["annotated_by"] == "human/emulator/person"
    assert [label["name"] for label in sample["labels"]] == ["1", "2"]
    dataset.edit(sample_id, [])
    assert digits.get(f"{SAMPLES}/{sample_id}")["labels"] == []
