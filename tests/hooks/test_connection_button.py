"""The button "Test" of the connection form: what it tries, and what it says, without secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client.errors import AuthenticationError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"


def test_a_wrong_password_names_user_and_endpoint_and_not_the_password(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection, "password": "wr0ng-s3nt1nel"}))
    ok, message = ModelArtsHook().test_connection()
    assert not ok
    assert emulator.user in message
    assert emulator.url in message
    assert "wr0ng-s3nt1nel" not in message
    assert "\n" not in message


def test_the_connection_test_says_that_it_works(emulator: Emulator) -> None:
    ok, message = ModelArtsHook().test_connection()
    assert ok, message
    assert emulator.url in message
    assert not any(secret in message for secret in emulator.secrets)


def test_the_connection_test_finds_a_wrong_endpoint(emulator: Emulator) -> None:
    fault = emulator.faults.add("GET", "/datasets/", "status", status=404, code="APIGW.0101", message="No such API.")
    ok, message = ModelArtsHook().test_connection()
    assert fault.fired
    assert not ok
    assert "APIGW.0101" in message


def test_the_connection_test_finds_a_host_that_does_not_answer(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection, "host": "http://127.0.0.1:9"}))
    ok, message = ModelArtsHook().test_connection()
    assert not ok
    assert "127.0.0.1:9" in message


def test_the_connection_test_names_missing_fields(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection, "login": ""}))
    ok, message = ModelArtsHook().test_connection()
    assert not ok
    assert "'modelarts_default' is half-filled for auth 'password': login (IAM user) is missing" in message
    assert len(emulator.journal) == 0


def test_the_connection_test_asks_again_because_a_person_does(emulator: Emulator) -> None:
    right = emulator.password
    emulator.set_password("changed-behind-our-back")
    with pytest.raises(AuthenticationError):
        ModelArtsHook().client.datasets.get("d")
    emulator.set_password(right)
    assert ModelArtsHook().test_connection()[0]


def test_unknown_keys_of_the_extra_are_warned_of_once_and_told_by_the_connection_test(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extra = {**emulator.connection["extra"], "pol_threads": 8}
    monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection, "extra": extra}))
    for _ in range(3):
        assert ModelArtsHook().look_afresh().client
    assert caplog.text.count("extra.pol_threads is not known: is extra.poll_threads meant?") == 1
    ok, message = ModelArtsHook().test_connection()
    assert ok
    assert "extra.poll_threads meant?" in message
