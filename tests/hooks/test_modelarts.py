"""The hook: one client for each connection and process, rotated passwords, and nothing secret in sight."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.sdk import BaseHook
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    StartUnknown,
)
from airflow_provider_modelarts.hooks.errors import (
    ConnectionUnknownError,
    ParameterError,
    permanent_errors_fail_at_once,
)
from airflow_provider_modelarts.hooks.modelarts import REREAD_AFTER, ModelArtsHook, clear_clients
from tests.support.servers import one_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"
TOKENS = "/v3/auth/tokens"


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were looked up, in order."""
    seen: list[str] = []
    look_up = BaseHook.get_connection

    def noted(conn_id: str) -> object:
        seen.append(conn_id)
        return look_up(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", noted)
    return seen


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


def test_a_rotated_password_is_read_from_the_connection_once_more(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, look_ups: list[str]
) -> None:
    dataset_id = emulator.load_proposals(1)
    hook = ModelArtsHook()
    before = hook.client
    hook.client.datasets.get(dataset_id)
    emulator.set_password("rotated-passw0rd")
    monkeypatch.setenv(VARIABLE, json.dumps(emulator.connection))
    assert hook.client.datasets.get(dataset_id).dataset_id == dataset_id
    assert before.datasets.get(dataset_id), "who held the client goes on too"
    assert len(look_ups) == 2


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


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no"),
        NotFound("no", status=400, code="ModelArts.4352"),
        InvalidRequest("no"),
        ParameterError("no"),
    ],
)
def test_what_no_retry_can_mend_fails_at_once_with_one_line_and_one_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AirflowFailException) as raised, permanent_errors_fail_at_once():
        raise error
    line = f"{error} [{type(error).__name__}]"
    assert str(raised.value) == line
    text = "".join(traceback.format_exception(raised.value))
    assert text.count("Traceback") == text.count(line) == 1
    *_, last = caplog.records
    assert (last.getMessage(), last.levelname, last.exc_info) == (line, "ERROR", None)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["DEBUG"]


@pytest.mark.parametrize("error", [ServiceUnavailable("busy"), ConnectionUnknownError("?"), KeyError("a bug")])
def test_everything_else_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, permanent_errors_fail_at_once():
        raise error
    assert raised.value is error


def test_the_connection_test_asks_again_because_a_person_does(emulator: Emulator) -> None:
    right = emulator.password
    emulator.set_password("changed-behind-our-back")
    with pytest.raises(AuthenticationError):
        ModelArtsHook().client.datasets.get("d")
    emulator.set_password(right)
    assert ModelArtsHook().test_connection()[0]


# --- a connection that is edited while the process lives


DEAD = "http://127.0.0.1:9"


@pytest.fixture
def other() -> Iterator[Emulator]:
    """A second service, which knows none of the first one's users, datasets and labeling tasks."""
    from airflow_provider_modelarts.emulator import Emulator

    with Emulator(seed=77) as second:
        yield second


def edited(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let Airflow's connection be the emulator's, but for some fields."""
    monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection, **changes}))


@pytest.mark.parametrize("before", ["nobody listens", "another service", "another project"])
def test_a_call_that_fails_goes_out_again_by_the_edited_connection(
    emulator: Emulator, other: Emulator, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    dataset_id = emulator.load_proposals(1)
    if before == "nobody listens":
        edited(emulator, monkeypatch, host=DEAD)
    elif before == "another service":
        edited(other, monkeypatch)
    else:
        extra = {**emulator.connection["extra"], "project_name": emulator.other_project_name}
        edited(emulator, monkeypatch, extra=extra)
    hook = ModelArtsHook()
    with pytest.raises((NotFound, ServiceUnavailable)):
        hook.client.tasks.get(dataset_id, "t", retry=False)
    edited(emulator, monkeypatch)
    clock_passes(monkeypatch)
    assert list(hook.client.tasks.list(dataset_id, retry=False)) == []


def clock_passes(monkeypatch: pytest.MonkeyPatch, seconds: float = 2) -> None:
    """Let time pass: by default more than the second in which failures that will be repeated share one reading."""
    now = Clock.now
    monkeypatch.setattr(Clock, "now", lambda self: now(self) + seconds)


def test_a_write_that_may_have_been_carried_out_is_not_sent_to_the_edited_connection(
    emulator: Emulator, other: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    ModelArtsHook().client.datasets.get(dataset_id)
    emulator.faults.add("POST", "/tasks", "reset_after")
    edited(other, monkeypatch)
    clock_passes(monkeypatch)
    with pytest.raises(StartUnknown):
        ModelArtsHook().client.tasks.start(dataset_id)
    assert other.journal.count("POST", "/tasks") == 0


def test_what_begins_uses_the_edited_connection_although_the_old_one_still_works(
    emulator: Emulator, other: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ModelArtsHook().client
    edited(other, monkeypatch)
    assert ModelArtsHook().client is before
    assert ModelArtsHook().look_afresh().client.endpoint == other.url
    assert ModelArtsHook().client.endpoint == other.url


def test_an_equal_connection_keeps_its_client(emulator: Emulator, look_ups: list[str]) -> None:
    before = ModelArtsHook().client
    for _ in range(3):
        assert ModelArtsHook().look_afresh().client is before
        with pytest.raises(NotFound):
            ModelArtsHook().client.datasets.get("d")
    assert len(look_ups) == 1 + 3 + 3


def test_what_begins_while_the_connection_is_read_takes_what_the_next_reading_finds(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, look_ups: list[str]
) -> None:
    ModelArtsHook().client.close()
    hooks = [ModelArtsHook().look_afresh() for _ in range(1000)]
    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(lambda hook: id(hook.client), hooks))) == 1
    assert len(look_ups) == 2


def test_calls_that_will_be_repeated_anyway_share_one_reading_in_a_second(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, look_ups: list[str]
) -> None:
    hook = ModelArtsHook()
    assert hook.client
    emulator.faults.add("GET", "/tasks/", "status", status=503, times=None)
    clock_passes(monkeypatch)
    later = Clock().now()
    monkeypatch.setattr(Clock, "now", lambda _: later)
    for _ in range(50):
        with pytest.raises(ServiceUnavailable):
            hook.client.tasks.get("d", "t", retry=False)
    assert len(look_ups) == 2


def test_old_connections_are_closed_when_the_last_call_over_them_is_over(
    emulator: Emulator, other: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.settimeout(20)
        connection.recv(65536)
        edited(other, monkeypatch)
        assert ModelArtsHook().look_afresh().client.endpoint == other.url
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"dataset_id": "d"}')
        ended.append(connection.recv(65536))

    with one_connection(talk) as url:
        monkeypatch.setenv(VARIABLE, json.dumps({**emulator.connection_for("token"), "host": url}))
        assert ModelArtsHook().client.datasets.get("d").dataset_id == "d"
    assert ended == [b""]


def test_where_nothing_fails_an_edited_connection_is_used_within_a_minute(
    emulator: Emulator, other: Emulator, monkeypatch: pytest.MonkeyPatch, look_ups: list[str]
) -> None:
    dataset_id = other.load_proposals(1)
    client = ModelArtsHook().client
    edited(other, monkeypatch)
    begin, asked = Clock().now(), len(emulator.journal)
    monkeypatch.setattr(Clock, "now", lambda _: begin + REREAD_AFTER - 1)
    assert client.endpoint == emulator.url
    monkeypatch.setattr(Clock, "now", lambda _: begin + REREAD_AFTER + 1)
    for _ in range(3):
        assert client.datasets.get(dataset_id).dataset_id == dataset_id
    assert len(emulator.journal) == asked
    assert len(look_ups) == 2
    assert REREAD_AFTER <= 60


def test_while_one_thread_reads_the_connection_again_the_others_go_on(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id, client = emulator.load_proposals(1), ModelArtsHook().client
    look_up, reads, go_on = BaseHook.get_connection, threading.Event(), threading.Event()

    def slow(conn_id: str) -> object:
        reads.set()
        assert go_on.wait(20)
        return look_up(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", slow)
    clock_passes(monkeypatch, REREAD_AFTER)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.datasets.get, dataset_id)
        assert reads.wait(20)
        assert client.datasets.get(dataset_id).dataset_id == dataset_id
        assert not first.done()
        go_on.set()
    assert first.result().dataset_id == dataset_id


def test_a_connection_that_cannot_be_read_again_or_is_half_filled_now_stops_nothing_that_works(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, look_ups: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    dataset_id, client = emulator.load_proposals(1), ModelArtsHook().client
    for number, change in enumerate(({"login": ""}, {"host": "ftp://nowhere"}, {"conn_type": "?"}), start=1):
        edited(emulator, monkeypatch, **change)
        clock_passes(monkeypatch, REREAD_AFTER * number)
        for _ in range(3):
            assert client.datasets.get(dataset_id).dataset_id == dataset_id
    assert len(look_ups) == 4
    assert caplog.text.count("as it was read before") == 2


def test_a_read_in_the_middle_of_a_list_follows_the_edited_connection(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = emulator.load_proposals(250)
    listed = ModelArtsHook().client.proposals.list(dataset_id)
    first = next(listed)
    emulator.set_password("rotated-passw0rd")
    edited(emulator, monkeypatch)
    assert len({first.sample_id, *(sample.sample_id for sample in listed)}) == 250


def test_a_refusal_is_no_final_word_as_long_as_the_connection_cannot_be_read(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = ModelArtsHook()
    assert hook.client
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConnectionUnknownError):
        hook.client.datasets.get("no-such-dataset")


@pytest.mark.parametrize("error", [OSError("database is locked"), AirflowNotFoundException("isn't defined")])
def test_what_begins_goes_on_with_what_was_known_if_airflow_cannot_read_the_connection(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> object:
        raise error

    before = ModelArtsHook().client
    monkeypatch.setattr(BaseHook, "get_connection", fail)
    assert ModelArtsHook().look_afresh().client is before
    assert "as it was read before" in caplog.text
    clear_clients()
    with pytest.raises(ConnectionUnknownError):
        _ = ModelArtsHook().client


def test_a_refused_sample_is_no_reason_to_read_the_connection(emulator: Emulator, look_ups: list[str]) -> None:
    emulator.faults.add("GET", "/datasets/", "status", status=400, code="ModelArts.4420", times=None)
    for _ in range(20):
        with pytest.raises(NotFound):
            ModelArtsHook().client.datasets.get("d")
    assert len(look_ups) == 1


def test_unknown_keys_of_the_extra_are_warned_of_once_and_told_by_the_connection_test(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extra = {**emulator.connection["extra"], "pol_threads": 8}
    edited(emulator, monkeypatch, extra=extra)
    for _ in range(3):
        assert ModelArtsHook().look_afresh().client
    assert caplog.text.count("extra.pol_threads is not known: is extra.poll_threads meant?") == 1
    ok, message = ModelArtsHook().test_connection()
    assert ok
    assert "extra.poll_threads meant?" in message
