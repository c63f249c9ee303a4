"""The door: credentials, unknown calls, limits, faults, the journal (contract 1, 7 and 10)."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_modelarts.emulator import Emulator, Record
from airflow_provider_modelarts.emulator.http.signing import canonical_request, signature
from tests.emulator.conftest import Caller

STAMP = "%Y%m%dT%H%M%SZ"


def _body(emulator: Emulator, **changes: Any) -> dict[str, Any]:
    user = {"name": emulator.user, "password": emulator.password, "domain": {"name": emulator.domain}}
    user |= {name: value for name, value in changes.items() if name in user}
    scope = changes.get("scope", {"project": {"name": emulator.region}})
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}


def _token(emulator: Emulator, body: Any, **options: Any) -> requests.Response:
    return requests.post(f"{emulator.url}/v3/auth/tokens", json=body, timeout=10, **options)


# --- tokens


def test_a_token(emulator: Emulator) -> None:
    response = _token(emulator, _body(emulator))
    assert response.status_code == 201
    token = response.headers["X-Subject-Token"]
    assert token.startswith("MII")
    assert len(token) > 2000
    assert token in emulator.tokens
    body = response.json()["token"]
    assert body["project"]["id"] == emulator.project_id
    begin, end = (datetime.fromisoformat(body[name]).timestamp() for name in ("issued_at", "expires_at"))
    assert end - begin == 24 * 3600
    assert begin == pytest.approx(emulator.clock.now(), abs=0.001)
    assert body["catalog"]
    assert not _token(emulator, _body(emulator), params={"nocatalog": "1"}).json()["token"]["catalog"]
    assert len(set(emulator.tokens)) == 2


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"name": "nobody"}, {"domain": {"name": "other"}}])
def test_a_wrong_password(emulator: Emulator, changes: dict[str, Any]) -> None:
    response = _token(emulator, _body(emulator, **changes))
    assert response.status_code == 401
    assert response.json() == {
        "error": {"code": 401, "message": "The username or password is wrong.", "title": "Unauthorized"}
    }


@pytest.mark.wrong_requests
@pytest.mark.parametrize("body", [[], {}, {"auth": {"identity": {"methods": ["totp"]}}}])
def test_a_bad_token_request(emulator: Emulator, body: Any) -> None:
    response = _token(emulator, body)
    assert (response.status_code, response.json()["error"]["title"]) == (400, "Bad Request")


def test_an_unknown_project(emulator: Emulator) -> None:
    assert _token(emulator, _body(emulator, scope={"project": {"name": "nowhere"}})).status_code == 404


def test_wrong_passwords_lock_the_user(emulator: Emulator) -> None:
    emulator.variants.lock_after = 3
    for _ in range(3):
        assert _token(emulator, _body(emulator, password="wrong")).status_code == 401
    assert _token(emulator, _body(emulator)).status_code == 401
    emulator.set_password("new")
    assert _token(emulator, _body(emulator)).status_code == 201


def test_projects(emulator: Emulator) -> None:
    headers = {"X-Auth-Token": emulator.issue_token()}
    url = f"{emulator.url}/v3/projects"
    found = requests.get(url, params={"name": emulator.region}, headers=headers, timeout=10).json()["projects"]
    assert [project["id"] for project in found] == [emulator.project_id]
    assert requests.get(url, params={"name": "nowhere"}, headers=headers, timeout=10).json()["projects"] == []
    for query, count in (
        ({"enabled": "false"}, 0),
        ({"domain_id": "another"}, 0),
        ({"page": 1, "per_page": 1}, 1),
        ({"page": 3, "per_page": 1}, 0),
    ):
        listed = requests.get(url, params=query, headers=headers, timeout=10).json()["projects"]
        assert len(listed) == count
    mine = requests.get(f"{emulator.url}/v3/auth/projects", headers=headers, timeout=10).json()["projects"]
    assert {project["name"] for project in mine} == {emulator.region, emulator.other_project_name}
    assert (
        requests.get(f"{emulator.url}/v3/auth/projects", headers={"X-Auth-Token": "x"}, timeout=10).status_code == 401
    )


def test_checking_a_token(emulator: Emulator) -> None:
    token = emulator.issue_token()
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    url = f"{emulator.url}/v3/auth/tokens"
    assert requests.get(url, headers=headers, timeout=10).json()["token"]["project"]["id"] == emulator.project_id
    headers["X-Subject-Token"] = "MIIunknown"
    assert requests.get(url, headers=headers, timeout=10).status_code == 404


def test_what_a_token_opens(digits: Caller) -> None:
    emulator = digits.emulator
    assert digits("GET").status_code == 200
    del digits.session.headers["X-Auth-Token"]
    # the run-wide check rightly minds a request without credentials
    assert digits.refused("GET", headers={"X-Auth-Token": ""}) == (401, "APIGW.0301")
    assert digits.refused("GET", headers={"x-auth-token": "MIIunknown"}) == (401, "APIGW.0301")
    domain = _token(emulator, _body(emulator, scope={"domain": {"name": emulator.domain}}))
    assert "project" not in domain.json()["token"]
    headers = {"X-Auth-Token": domain.headers["X-Subject-Token"]}
    assert digits.refused("GET", headers=headers) == (401, "ModelArts.0212")
    other = _token(emulator, _body(emulator, scope={"project": {"name": emulator.other_project_name}}))
    headers = {"X-Auth-Token": other.headers["X-Subject-Token"]}
    assert digits.refused("GET", headers=headers) == (403, "ModelArts.0210")


def test_tokens_expire_are_revoked_and_die_with_the_password(digits: Caller) -> None:
    emulator = digits.emulator
    emulator.clock.advance(24 * 3600 - 1)
    assert digits("GET").status_code == 200
    emulator.clock.advance(1)
    assert digits.refused("GET") == (401, "APIGW.0301")
    digits.session.headers["X-Auth-Token"] = emulator.issue_token()
    emulator.revoke_tokens()
    assert digits.refused("GET") == (401, "APIGW.0307")
    digits.session.headers["X-Auth-Token"] = emulator.issue_token()
    emulator.set_password("new")
    assert digits.refused("GET") == (401, "APIGW.0301")
    emulator.variants.code_prefix = "APIG."
    assert digits.refused("GET") == (401, "APIG.0301")


# --- signatures (contract 1.4)

VECTOR_HEADERS = {
    "content-type": "application/json",
    "host": "service.region.example.com",
    "x-sdk-date": "20191115T033655Z",
}


def test_the_contracts_signature_vector() -> None:
    canonical = canonical_request(
        "GET",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
        VECTOR_HEADERS,
        sorted(VECTOR_HEADERS),
        b"",
    )
    import hashlib

    assert (
        hashlib.sha256(canonical.encode()).hexdigest()
        == "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
    )
    assert (
        signature("example-secret-key-for-tests-only-0001", "20191115T033655Z", canonical)
        == "1c691a49fe1eeb8ed38a13aa2ed4217f43d9eda2522e8f14c5d025d644dad010"
    )


def _signed(
    emulator: Emulator,
    method: str,
    url: str,
    body: bytes = b"",
    *,
    skew: float = 0,
    secret: str = "",
    unsigned: dict[str, str] | None = None,
    **extra: str,
) -> requests.Response:
    date = datetime.fromtimestamp(emulator.clock.now() + skew, UTC).strftime(STAMP)
    headers = {"host": urlsplit(emulator.url).netloc, "x-sdk-date": date, **extra}
    if body:
        headers["content-type"] = "application/json"
    request = requests.Request(method, url, headers=headers, data=body).prepare()
    parts = urlsplit(request.url or "")
    names = sorted(headers)
    canonical = canonical_request(method, parts.path, parts.query, headers, names, body)
    proof = signature(secret or emulator.secret_key, date, canonical)
    request.headers["Authorization"] = (
        f"SDK-HMAC-SHA256 Access={extra.get('access', emulator.access_key)}, SignedHeaders={';'.join(names)}, "
        f"Signature={proof}"
    )
    request.headers.update(unsigned or {})
    with requests.Session() as session:
        session.trust_env = False
        return session.send(request, timeout=10)


def test_signed_requests(digits: Caller) -> None:
    emulator = digits.emulator
    url = emulator.url + digits.path("/auto-annotations/samples") + "?limit=2&label_name=a%20b%2Bc~&offset=0"
    assert _signed(emulator, "GET", url).status_code == 200
    put = emulator.url + digits.path("/data-annotations/samples")
    sample_id = next(iter(emulator.truth(digits.dataset_id)))
    body = json.dumps({"samples": [{"sample_id": sample_id, "labels": [{"name": "1"}]}]}).encode()
    assert _signed(emulator, "PUT", put, body).json() == {"success": True}
    assert _signed(emulator, "GET", url, skew=14 * 60).status_code == 200
    for wrong in (
        _signed(emulator, "GET", url, secret="other"),
        _signed(emulator, "GET", url, skew=16 * 60),
        _signed(emulator, "GET", url, access="UNKNOWN"),
    ):
        assert (wrong.status_code, wrong.json()["error_code"]) == (401, "APIGW.0301")
    elsewhere = url.replace(emulator.project_id, "0" * 32)
    assert _signed(emulator, "GET", elsewhere).json()["error_code"] == "ModelArts.0210"


def test_many_wrong_signatures_lock_the_key(digits: Caller) -> None:
    emulator = digits.emulator
    url = emulator.url + digits.path("")
    for _ in range(6):
        assert _signed(emulator, "GET", url, secret="other").status_code == 401
    assert _signed(emulator, "GET", url).status_code == 401
    emulator.clock.advance(5 * 60)
    assert _signed(emulator, "GET", url).status_code == 200


def test_temporary_keys(digits: Caller) -> None:
    emulator = digits.emulator
    answer = digits(
        "POST",
        "/v3.0/OS-CREDENTIAL/securitytokens",
        json={"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}},
    )
    assert answer.status_code == 201
    credential = answer.json()["credential"]
    url = emulator.url + digits.path("")
    options = {"secret": credential["secret"], "access": credential["access"]}
    token = {"x-security-token": credential["securitytoken"]}
    assert _signed(emulator, "GET", url, **options, **token).status_code == 200
    assert _signed(emulator, "GET", url, **options).status_code == 401
    assert _signed(emulator, "GET", url, unsigned=token, **options).status_code == 401
    emulator.clock.advance(900)
    assert _signed(emulator, "GET", url, **options, **token).status_code == 401


# --- the gateway


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


def test_the_journal_records_and_keeps_secrets_out_of_its_repr(digits: Caller) -> None:
    observed: list[Record] = []
    digits.emulator.observers.append(observed.append)
    task_id = digits.start()
    digits.get(f"/tasks/{task_id}")
    journal = digits.emulator.journal
    assert observed == list(journal)
    assert [(record.method, record.status) for record in journal] == [("POST", 200), ("GET", 200)]
    assert journal.count("POST", "/tasks") == 1
    assert journal.count("GET") == 1
    assert journal.count() == len(journal) == 2
    assert json.loads(journal[0].body) == {"task_type": "auto-label"}
    assert json.loads(journal[-1].response)["task_id"] == task_id
    assert journal[0].headers["x-auth-token"] in digits.emulator.tokens
    assert not any(secret in repr(list(journal)) for secret in digits.emulator.secrets)
    journal.clear()
    assert list(journal) == []


def test_nothing_secret_is_logged(digits: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    digits.finish()
    digits.get("/auto-annotations/samples")
    _token(digits.emulator, _body(digits.emulator))
    digits.emulator.faults.add("GET", "", "reset")
    with pytest.raises(requests.ConnectionError):
        digits("GET")
    own = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("urllib3"))
    assert not any(secret in own for secret in digits.emulator.secrets)


# --- faults


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
    sample_id = next(iter(caller.emulator.truth(caller.dataset_id)))
    caller(
        "PUT", "/data-annotations/samples", json={"samples": [{"sample_id": sample_id, "labels": [{"name": "new"}]}]}
    )
    return sample_id


@pytest.mark.parametrize(("kind", "is_written"), [("reset", False), ("reset_after", True)])
def test_resets(digits: Caller, kind: str, is_written: bool) -> None:
    rule = digits.emulator.faults.add("PUT", "data-annotations", kind)
    with pytest.raises(requests.ConnectionError):
        _put_one(digits)
    assert rule.fired == 1
    sample_id = next(iter(digits.emulator.truth(digits.dataset_id)))
    names = digits.emulator.dataset(digits.dataset_id).names_of(sample_id)
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
    sample_id = next(iter(digits.emulator.truth(digits.dataset_id)))
    body = {"samples": [{"sample_id": sample_id, "labels": [{"name": "new"}]}]}
    url = digits.emulator.url + digits.path("/data-annotations/samples")
    with pytest.raises(requests.ReadTimeout):
        requests.put(url, json=body, headers=digits.session.headers, timeout=0.2)
    dataset = digits.emulator.dataset(digits.dataset_id)
    if applied:
        assert dataset.names_of(sample_id) == ["new"]
    # other requests are served meanwhile
    assert digits("GET").status_code == 200
    assert rule.fired == 1


def test_one_sample_fails(digits: Caller) -> None:
    known = list(digits.emulator.truth(digits.dataset_id))[:3]
    samples = [{"sample_id": sample_id, "labels": [{"name": "new"}]} for sample_id in known]
    faults = digits.emulator.faults
    by_id = faults.add("PUT", "", "fail_sample", sample_id=known[1], code="ModelArts.4422", message="no")
    answer = digits.put(samples)
    assert [result["success"] for result in answer["results"]] == [True, False, True]
    assert answer["results"][1]["error_code"] == "ModelArts.4422"
    dataset = digits.emulator.dataset(digits.dataset_id)
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


# --- the server


def test_it_starts_and_stops_quickly_and_keeps_its_address() -> None:
    emulator = Emulator()
    begin = time.monotonic()
    emulator.start()
    assert time.monotonic() - begin < 5  # a hang, not a measurement
    url = emulator.url
    dataset_id = emulator.load_proposals(3)
    with pytest.raises(RuntimeError, match="runs already"):
        emulator.start()
    emulator.stop()
    emulator.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "modelarts-emulator"]
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)
    with emulator:
        assert emulator.url == url
        assert len(Caller(emulator, dataset_id).walk()) == 3


def test_two_at_once() -> None:
    with Emulator() as one, Emulator(seed=1) as other:
        assert one.url != other.url
        assert one.project_id != other.project_id


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
    response = digits("GET", "/auto-annotations/samples")
    body = response.json()
    assert (response.status_code, body["error_code"]) == (500, "APIGW.0601")
    assert body["error_msg"].startswith("The emulator itself failed")
    assert "LookupError: no digits in the cellar" in body["error_msg"]
    assert body["request_id"] == response.headers["X-Request-Id"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "GET" in record.getMessage()
    assert "/auto-annotations/samples" in record.getMessage()
    assert "in _fail" in caplog.text


def test_proposals_that_the_classifier_failed_to_make_are_made_at_the_next_request(
    digits: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.finish()
    with monkeypatch.context() as broken:
        _fail_the_classifier(digits, broken)
        assert digits("GET", "/auto-annotations/samples").status_code == 500
    assert digits.get("/auto-annotations/samples")["sample_count"] == 1797 - 150
