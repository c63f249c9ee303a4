"""Injected faults (contract 10, row "Variants")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from tests.emulator.conftest import SAMPLES, Caller

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator


def test_status_faults(digits: Caller) -> None:
    faults = digits.emulator.faults
    rule = faults.add("GET", "/tasks", "status", status=503, headers={"Retry-After": 3}, after=1, times=2)
    statuses = [digits("GET", "/tasks").status_code for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    assert (rule.fired, faults.fired["status"], faults.fired.total()) == (2, 2, 2)
    faults.add("*", "", "status", status=400, code="ModelArts.4381", message="busy")
    response = digits("POST", "/tasks", json={"task_type": "auto-label"})
    assert (response.status_code, response.json()["error_code"]) == (400, "ModelArts.4381")
    assert digits.get("/tasks")["total_count"] == 0
    faults.add("GET", "", "status", status=200, body="[1,")
    assert digits("GET").text == "[1,"
    faults.add("GET", "", "status", status=503, headers={"Retry-After": 3})
    assert digits("GET").headers["Retry-After"] == "3"
    assert [record.fault for record in digits.emulator.journal].count("status") == 5


def test_a_fault_that_was_not_met_has_not_fired(digits: Caller) -> None:
    rule = digits.emulator.faults.add("PUT", "data-annotations", "reset_after", times=2)
    digits.get()
    assert rule.fired == 0
    assert not digits.emulator.faults.fired
    digits.emulator.faults.clear()
    assert digits.emulator.faults.rules == []


def test_misspelled_faults_are_errors(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="there is no fault"):
        emulator.faults.add("GET", "", "resets")
    with pytest.raises(ValueError, match="does not take"):
        emulator.faults.add("GET", "", "reset", status=3)
    with pytest.raises(AttributeError, match="there is no variant"):
        emulator.variants.harder = "x"
    with pytest.raises(ValueError, match="is one of"):
        emulator.variants.hard = "maybe"


def _put_one(caller: Caller) -> str:
    sample_id = caller.sample_ids(1)[0]
    caller("PUT", SAMPLES, json={"samples": [{"sample_id": sample_id, "labels": [{"name": "new"}]}]})
    return sample_id


@pytest.mark.parametrize(("kind", "is_written"), [("reset", False), ("reset_after", True)])
def test_resets(digits: Caller, kind: str, is_written: bool) -> None:
    rule = digits.emulator.faults.add("PUT", "data-annotations", kind)
    with pytest.raises(requests.ConnectionError):
        _put_one(digits)
    assert rule.fired == 1
    sample_id = digits.sample_ids(1)[0]
    names = digits.dataset.names_of(sample_id)
    assert (names == ["new"]) is is_written
    assert digits.emulator.journal[-1].status == 0
    assert digits("GET").status_code == 200


def test_a_truncated_body(digits: Caller) -> None:
    rule = digits.emulator.faults.add("GET", "/datasets/", "truncated")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        digits("GET")
    assert rule.fired == 1
    assert digits("GET").status_code == 200


def test_an_html_page(digits: Caller) -> None:
    digits.emulator.faults.add("GET", "", "html")
    response = digits("GET")
    assert (response.status_code, response.headers["Content-Type"]) == (502, "text/html")
    assert "<html>" in response.text


@pytest.mark.parametrize("applied", [False, True])
def test_a_delay(digits: Caller, applied: bool) -> None:
    rule = digits.emulator.faults.add("PUT", "", "delay", seconds=0.6, applied=applied)
    sample_id = digits.sample_ids(1)[0]
    body = {"samples": [{"sample_id": sample_id, "labels": [{"name": "new"}]}]}
    url = digits.emulator.url + digits.path(SAMPLES)
    with pytest.raises(requests.ReadTimeout):
        requests.put(url, json=body, headers=digits.session.headers, timeout=0.2)
    dataset = digits.dataset
    if applied:
        assert dataset.names_of(sample_id) == ["new"]
    # other requests are served during the delay
    assert digits("GET").status_code == 200
    assert rule.fired == 1


def test_one_sample_fails(digits: Caller) -> None:
    known = digits.sample_ids(3)
    samples = [{"sample_id": sample_id, "labels": [{"name": "new"}]} for sample_id in known]
    faults = digits.emulator.faults
    by_id = faults.add("PUT", "", "fail_sample", sample_id=known[1], code="ModelArts.4422", message="no")
    answer = digits.put(samples)
    assert [result["success"] for result in answer["results"]] == [True, False, True]
    assert answer["results"][1]["error_code"] == "ModelArts.4422"
    dataset = digits.dataset
    assert [dataset.names_of(sample_id) == ["new"] for sample_id in known] == [True, False, True]
    assert by_id.fired == 1
    assert digits.put(samples) == {"success": True}
    faults.add("PUT", "", "fail_sample")
    assert [result["success"] for result in digits.put(samples)["results"]] == [False, True, True]
    faults.add("PUT", "", "fail_sample", sample_id=known[2])
    assert digits.put(samples[:2]) == {"success": True}, "it waits for a write of its sample"


def test_results_of_one_write(digits: Caller) -> None:
    digits.emulator.faults.add("PUT", "", "results", form="missing")
    samples = [{"sample_id": "unknown", "labels": [{"name": "new"}]}]
    assert digits.put(samples) == {"success": False}
    assert len(digits.put(samples)["results"]) == 1


def test_tokens_die_in_mid_flight(digits: Caller) -> None:
    faults = digits.emulator.faults
    other = digits.emulator.issue_token()
    faults.add("GET", "/tasks", "expired_token", after=1)
    assert [digits("GET", "/tasks").status_code for _ in range(3)] == [200, 401, 401]
    digits.session.headers["X-Auth-Token"] = other
    assert digits("GET", "/tasks").status_code == 200
    faults.add("GET", "/tasks", "revoke")
    assert digits.refused("GET", "/tasks") == (401, "APIGW.0307")


def test_a_task_that_fails(digits: Caller) -> None:
    faults = digits.emulator.faults
    faults.add("POST", "/tasks", "fail_task", code="ModelArts.4992", message="sold out", detail="d")
    task = digits.get(f"/tasks/{digits.finish()}")
    assert (task["status"], task["error_code"], task["error_msg"]) == (2, "ModelArts.4992", "sold out")
    assert digits.get(f"/tasks/{digits.finish()}")["status"] == 3


def test_faults_choose_by_request(digits: Caller) -> None:
    digits.emulator.faults.add("GET", "/tasks", "status", status=500, match=lambda call: call.query.get("limit") == "7")
    assert digits("GET", "/tasks").status_code == 200
    assert digits("GET", "/tasks", params={"limit": 7}).status_code == 500
