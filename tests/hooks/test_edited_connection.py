"""A connection that is edited while the process lives: what uses it at once, what within a minute, and what goes on."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.client.errors import NotFound, ServiceUnavailable, StartUnknown
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError
from airflow_provider_modelarts.hooks.modelarts import REREAD_AFTER, ModelArtsHook, clear_clients
from tests.support.servers import one_connection

if TYPE_CHECKING:
    import socket

    from airflow_provider_modelarts.emulator import Emulator

VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"
DEAD = "http://127.0.0.1:9"


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
