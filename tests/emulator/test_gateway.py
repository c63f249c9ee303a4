"""The gateway: unknown calls, limits, request ids, errors of the emulator itself (contract 7 and 10)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import requests

from tests.emulator.conftest import AUTO, SAMPLES, Caller, ask_token, token_body


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", "/nothing"), ("DELETE", "/tasks"), ("GET", "/v9/x"), ("OPTIONS", "")]
)
def test_unpublished_calls(digits: Caller, method: str, tail: str) -> None:
    response = digits(method, tail)
    assert (response.status_code, response.json()["error_code"]) == (404, "APIGW.0101")
    assert response.json()["request_id"] == response.headers["X-Request-Id"]


@pytest.mark.wrong_requests
def test_head_is_unpublished(digits: Caller) -> None:
    assert digits("HEAD").status_code == 404


@pytest.mark.wrong_requests
def test_get_with_a_body(digits: Caller) -> None:
    assert digits.refused("GET", json={}) == (400, "APIGW.0201")


@pytest.mark.wrong_requests
def test_an_address_above_32_kilobytes(digits: Caller) -> None:
    assert digits("GET", params={"x": "y" * 30_000}).status_code == 200
    assert digits.refused("GET", params={"x": "y" * 33_000}) == (414, "APIGW.0201")


@pytest.mark.wrong_requests
def test_a_body_above_twelve_megabytes(digits: Caller) -> None:
    body = b'{"samples": [], "filler": "' + b"x" * (12 * 1024 * 1024) + b'"}'
    assert digits.refused("PUT", SAMPLES, data=body) == (413, "ModelArts.4104")


def test_each_answer_has_its_request_id(digits: Caller) -> None:
    seen = {digits("GET").headers["X-Request-Id"] for _ in range(3)} | {
        digits("GET", "/tasks/unknown").headers["X-Request-Id"]
    }
    assert len(seen) == 4
    assert {record.request_id for record in digits.emulator.journal} == seen


def test_the_rate_limit(digits: Caller) -> None:
    emulator = digits.emulator
    emulator.variants.rate_limit = (2, 60)
    emulator.variants.retry_after = 7
    emulator.clock.advance(60 - emulator.clock.now() % 60)
    assert [digits("GET").status_code for _ in range(3)] == [200, 200, 429]
    response = digits("GET")
    assert (response.json()["error_code"], response.headers["Retry-After"]) == ("APIGW.0308", "7")
    emulator.clock.advance(60)
    assert digits("GET").status_code == 200


@pytest.mark.wrong_requests
@pytest.mark.parametrize("tail", [AUTO, SAMPLES, "", "/tasks", "/data-annotations/stats", "/workforce-tasks"])
def test_unknown_query_parameters_are_ignored_or_refused(digits: Caller, tail: str) -> None:
    misspelled = {"lable_name": "rose"}
    assert digits("GET", tail, params=misspelled).status_code == 200
    digits.emulator.variants.strict_requests = True
    assert digits.refused("GET", tail, params=misspelled) == (400, "ModelArts.0104")


UNKNOWN_DATASET = ["", "/tasks", "/tasks/x", AUTO, SAMPLES, "/data-annotations/stats"]


@pytest.mark.parametrize("tail", UNKNOWN_DATASET)
@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_dataset(digits: Caller, tail: str, status: int) -> None:
    digits.emulator.variants.unknown_status = status
    digits.dataset_id = "unknown"
    assert digits.refused("GET", tail) == (status, "ModelArts.4352")


def test_datasets_are_known_in_their_own_project_only(digits: Caller) -> None:
    emulator = digits.emulator
    answer = ask_token(emulator, token_body(emulator, scope={"project": {"name": emulator.other_project_name}}))
    headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}
    url = f"/v2/{answer.json()['token']['project']['id']}/datasets"
    assert digits.get(f"/v2/{emulator.project_id}/datasets")["total_number"] == 1
    assert digits("GET", url, headers=headers).json() == {"total_number": 0, "datasets": []}
    for method, tail in (("GET", ""), ("GET", AUTO), ("POST", "/tasks")):
        body = {"json": {"task_type": "auto-label"}} if method == "POST" else {}
        refused = digits.refused(method, f"{url}/{digits.dataset_id}{tail}", headers=headers, **body)
        assert refused == (400, "ModelArts.4352")
    assert emulator.dataset(digits.dataset_id).tasks == {}


STRICT = [
    b'{"samples": [{"sample_id": "a", "labels": [{"name": "x"},]}]}',
    b'{"samples": [{"sample_id": "a", "labels": [{"name": "x", "score": NaN}]}]}',
    b'{"samples": []} text',
    b"{'samples': []}",
    b'{"samples": [',
    b"",
    b'\xff{"samples": []}',
    b'{"samples": [{"sample_id": "a", "labels": [{"name": "x", "property": {"y": 1e999}}]}]}',
    b'{"samples": [{"sample_id": "a", "labels": [{"name": "x", "score": -1e999}]}]}',
    rb'{"samples": [{"sample_id": "a", "labels": [{"name": "half \ud83d"}]}]}',
    rb'{"samples": [{"sample_id": "a", "labels": [{"name": "x", "property": {"\uDE00": 1}}]}]}',
]


@pytest.mark.wrong_requests
@pytest.mark.parametrize("body", STRICT)
def test_only_strict_json(digits: Caller, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert digits.refused("PUT", SAMPLES, data=body, headers=headers) == (400, "ModelArts.4105")


def test_whole_characters_may_be_escaped(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    body = rb'{"samples": [{"sample_id": "%s", "labels": [{"name": "\ud83d\ude00 \u00fc"}]}]}' % sample_id.encode()
    assert digits("PUT", SAMPLES, data=body, headers={"Content-Type": "application/json"}).json() == {"success": True}
    assert digits.dataset.names_of(sample_id) == ["😀 ü"]


def test_nothing_secret_is_logged(digits: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    digits.finish()
    digits.get(AUTO)
    ask_token(digits.emulator, token_body(digits.emulator))
    digits.emulator.faults.add("GET", "", "reset")
    with pytest.raises(requests.ConnectionError):
        digits("GET")
    own = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("urllib3"))
    assert not any(secret in own for secret in digits.emulator.secrets)


def _fail(*_: object) -> bool:
    raise LookupError("no digits\nin the cellar")


def _fail_the_classifier(digits: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_modelarts.emulator.data.classifier.guess_labels", lambda *_, **__: _fail())


def _fail_an_observer(digits: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    digits.emulator.observers.append(_fail)


def _fail_a_condition(digits: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    digits.emulator.faults.add("GET", "", "html", match=_fail)


@pytest.mark.parametrize("spoil", [_fail_the_classifier, _fail_an_observer, _fail_a_condition])
def test_an_error_of_the_emulator_itself_is_logged_and_named_in_the_answer(
    digits: Caller, spoil: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    digits.finish()
    spoil(digits, monkeypatch)
    response = digits("GET", AUTO)
    body = response.json()
    assert (response.status_code, body["error_code"]) == (500, "APIGW.0601")
    assert body["error_msg"].startswith("The emulator itself failed")
    assert "LookupError: no digits in the cellar" in body["error_msg"]
    assert body["request_id"] == response.headers["X-Request-Id"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "GET" in record.getMessage()
    assert AUTO in record.getMessage()
    assert "in _fail" in caplog.text


def test_proposals_that_the_classifier_failed_to_make_are_made_at_the_next_request(
    digits: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.finish()
    with monkeypatch.context() as broken:
        _fail_the_classifier(digits, broken)
        assert digits("GET", AUTO).status_code == 500
    assert digits.waiting() == 1797 - 150
