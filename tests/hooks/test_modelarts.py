"""The hook: one client for each connection and process, every way of authentication, and nothing secret in sight."""

from __future__ import annotations

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.sdk import BaseHook
from airflow.sdk._shared.secrets_masker import redact

from airflow_provider_modelarts.client.errors import AuthenticationError, InvalidRequest
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook, clear_clients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"
TOKENS = "/v3/auth/tokens"


@pytest.fixture
def no_clients() -> Iterator[None]:
    clear_clients()
    yield
    clear_clients()


def test_all_hooks_of_a_process_share_a_client_a_look_up_and_a_token(emulator: Emulator, look_ups: list[str]) -> None:
    dataset_id = emulator.load_proposals(1)
    barrier = threading.Barrier(16)

    def work(_: int) -> int:
        barrier.wait()
        client = ModelArtsHook().client
        client.datasets.get(dataset_id)
        return id(client)

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(work, range(16)))) == 1
    assert look_ups == ["modelarts_default"]
    assert emulator.journal.count("POST", TOKENS) == 1


def test_another_project_is_another_client(emulator: Emulator) -> None:
    assert ModelArtsHook().client is ModelArtsHook().get_conn()
    assert ModelArtsHook(project_id=emulator.project_id).client is not ModelArtsHook().client


def test_a_forked_child_makes_its_own_client(emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(1)
    parents = ModelArtsHook().client
    parents.datasets.get(dataset_id)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child is not watched
        try:
            own = ModelArtsHook().client
            os.write(writer, b"own" if own is not parents and own.datasets.get(dataset_id) else b"shared")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"own"
    assert ModelArtsHook().client is parents


@pytest.mark.parametrize("auth", ["password", "access_key", "token"])
def test_every_way_of_authentication_works(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, auth: str) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps(emulator.connection_for(auth)))
    dataset_id = emulator.load_proposals(2)
    assert ModelArtsHook().client.proposals.page(dataset_id, 0, limit=1).total == 2
    assert ModelArtsHook().test_connection()[0]


def test_a_temporary_key_brings_its_security_token(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = requests.post(
        f"{emulator.url}/v3.0/OS-CREDENTIAL/securitytokens",
        json={"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}},
        headers={"X-Auth-Token": emulator.issue_token()},
        timeout=10,
    )
    key = answer.json()["credential"]
    connection = {**emulator.connection_for("access_key"), "login": key["access"], "password": key["secret"]}
    connection["extra"] = {**connection["extra"], "security_token": key["securitytoken"]}
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    assert ModelArtsHook().test_connection()[0]


def test_what_the_connection_says_about_the_way_reaches_the_client(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def tried(**changes: Any) -> str:
        clear_clients()
        extra = {**emulator.connection["extra"], **changes}
        host = extra.pop("host", emulator.url)
        monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection, "host": host, "extra": extra}))
        return ModelArtsHook().test_connection()[1]

    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    assert f"verify names {file}" in tried(verify=str(file))
    assert "allow_http" in tried(host="http://0.0.0.0:9")
    assert "allow_http" not in tried(host="http://0.0.0.0:9", allow_http=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "did not answer within 1 s" in tried(host=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)


def test_a_refused_credential_is_not_sent_again(emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(1)
    emulator.set_password("changed-behind-our-back")
    for _ in range(100):
        with pytest.raises(AuthenticationError):
            ModelArtsHook().client.datasets.get(dataset_id)
    assert emulator.journal.count("POST", TOKENS) == 1


@pytest.mark.parametrize("auth", ["access_key", "token"])
def test_a_credential_that_stays_the_same_is_not_tried_twice(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, look_ups: list[str], auth: str
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection_for(auth), "password": "wr0ng-s3nt1nel"}))
    with pytest.raises(AuthenticationError):
        ModelArtsHook().client.datasets.get("d")
    assert len(look_ups) == 2
    assert emulator.journal.count("GET") == 1


@pytest.mark.usefixtures("no_clients")
def test_an_unknown_connection_is_named_and_may_be_retried() -> None:
    with pytest.raises(ConnectionUnknownError, match="'no_such_connection'") as raised:
        _ = ModelArtsHook("no_such_connection").client
    assert not raised.value.permanent


def test_secrets_are_masked_as_soon_as_they_are_read(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = emulator.connection_for("access_key")
    connection["extra"]["security_token"] = "s3nt1nel-security-token"
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    _ = ModelArtsHook().client
    shown = redact(f"{emulator.secret_key} s3nt1nel-security-token")
    assert shown == "*** ***"


def test_secrets_are_masked_in_the_form_in_which_they_are_sent(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**emulator.connection_for("access_key"), "password": " s3nt1nel-secret-key\n"}
    connection["extra"]["security_token"] = " s3nt1nel-security-token\n"
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    _ = ModelArtsHook().client
    assert redact("(s3nt1nel-secret-key) (s3nt1nel-security-token)") == "(***) (***)"


def test_an_extra_that_is_no_json_adds_one_line_to_what_airflow_says_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extra = '{"security_token": "s3nt1nel-security-token", bad}'
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps({"conn_type": "modelarts", "extra": extra}))
    BaseHook.get_connection("bad")
    said_by_airflow = len(caplog.records)
    caplog.clear()
    with pytest.raises(InvalidRequest, match="Connection 'bad': extra is not a JSON object") as raised:
        _ = ModelArtsHook("bad").client
    assert len(caplog.records) == said_by_airflow
    assert "s3nt1nel" not in str(raised.value)


def test_neither_hook_nor_client_shows_a_secret(emulator: Emulator) -> None:
    hook = ModelArtsHook()
    hook.client.datasets.get(emulator.load_proposals(1))
    for text in (repr(hook), repr(hook.client), repr(hook.settings), str(vars(hook))):
        assert not any(secret in text for secret in emulator.secrets)
