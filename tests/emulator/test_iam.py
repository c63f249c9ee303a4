"""Tokens, projects, access keys and signatures (contract 1)."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_modelarts.emulator.http.signing import canonical_request, signature
from tests.emulator.conftest import AUTO, SAMPLES, Caller, ask_token, token_body

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator


def test_a_token(emulator: Emulator) -> None:
    response = ask_token(emulator, token_body(emulator))
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
    assert not ask_token(emulator, token_body(emulator), params={"nocatalog": "1"}).json()["token"]["catalog"]
    assert len(set(emulator.tokens)) == 2


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"name": "nobody"}, {"domain": {"name": "other"}}])
def test_a_wrong_password(emulator: Emulator, changes: dict[str, Any]) -> None:
    response = ask_token(emulator, token_body(emulator, **changes))
    assert response.status_code == 401
    assert response.json() == {
        "error": {"code": 401, "message": "The username or password is wrong.", "title": "Unauthorized"}
    }


@pytest.mark.wrong_requests
@pytest.mark.parametrize("body", [[], {}, {"auth": {"identity": {"methods": ["totp"]}}}])
def test_a_bad_token_request(emulator: Emulator, body: Any) -> None:
    response = ask_token(emulator, body)
    assert (response.status_code, response.json()["error"]["title"]) == (400, "Bad Request")


def test_an_unknown_project(emulator: Emulator) -> None:
    assert ask_token(emulator, token_body(emulator, scope={"project": {"name": "nowhere"}})).status_code == 404


def test_wrong_passwords_lock_the_user(emulator: Emulator) -> None:
    emulator.variants.lock_after = 3
    for _ in range(3):
        assert ask_token(emulator, token_body(emulator, password="wrong")).status_code == 401
    assert ask_token(emulator, token_body(emulator)).status_code == 401
    emulator.set_password("new")
    assert ask_token(emulator, token_body(emulator)).status_code == 201


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
    domain = ask_token(emulator, token_body(emulator, scope={"domain": {"name": emulator.domain}}))
    assert "project" not in domain.json()["token"]
    headers = {"X-Auth-Token": domain.headers["X-Subject-Token"]}
    assert digits.refused("GET", headers=headers) == (401, "ModelArts.0212")
    other = ask_token(emulator, token_body(emulator, scope={"project": {"name": emulator.other_project_name}}))
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


STAMP = "%Y%m%dT%H%M%SZ"


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
    url = emulator.url + digits.path(AUTO) + "?limit=2&label_name=a%20b%2Bc~&offset=0"
    assert _signed(emulator, "GET", url).status_code == 200
    put = emulator.url + digits.path(SAMPLES)
    sample_id = digits.sample_ids(1)[0]
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
