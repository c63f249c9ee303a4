"""Answers that are not the service's, or not well formed: pages, odd bodies, broken HTTP. B9, B12, contract 7."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import ModelArtsClient, TokenCredentials
from airflow_provider_modelarts.client.auth import forget_tokens
from airflow_provider_modelarts.client.errors import (
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    NotFound,
    ServiceUnavailable,
    StartUnknown,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.transport.response import Response, redact
from airflow_provider_modelarts.client.transport.session import HttpSession, Request
from tests.support.error_text import one_line
from tests.support.servers import canned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


def test_a_proxys_page_is_told_in_one_line(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "html", status=502, times=None)
    with pytest.raises(ServiceUnavailable) as caught:
        client.datasets.get(dataset_id)
    text = one_line(caught.value)
    assert "proxy" in text
    assert "<" not in text
    emulator.faults.clear()
    page = "<!DOCTYPE html><html><head><style>a{}</style><title>Please log in</title></head></html>"
    rule = emulator.faults.add("GET", dataset_id, "status", status=200, body=page, times=None)
    with pytest.raises(UnexpectedResponse, match="Please log in") as foreign:
        client.datasets.get(dataset_id)
    assert "endpoint" in one_line(foreign.value)
    assert rule.fired == 1


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_page_with_a_refusal_is_not_the_services(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int
) -> None:
    emulator.faults.add("GET", dataset_id, "html", status=status, times=None)
    with pytest.raises(ForeignAnswer, match="endpoint"):
        client.datasets.get(dataset_id)


@pytest.mark.parametrize("body", ['{"dataset_id": ', "garbage", "[]", "3", '"text"', '{"a":1} trailing'])
def test_a_malformed_answer_is_told_in_one_line(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str, body: str
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=200, body=body)
    with pytest.raises(UnexpectedResponse) as caught:
        make_client(retries=False).datasets.get(dataset_id)
    assert dataset_id in one_line(caught.value)


@pytest.mark.parametrize("body", ["{}", "[]", '{"samples": 3, "sample_count": "many"}'])
def test_a_list_that_is_none(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str, body: str
) -> None:
    emulator.faults.add("GET", "auto-annotations", "status", status=200, body=body)
    with pytest.raises(UnexpectedResponse):
        list(make_client(retries=False).proposals.list(dataset_id))


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"error_code": "ModelArts.4352", "error_msg": "It is unknown."}, "ModelArts.4352", "It is unknown"),
        ({"error_code": "ModelArts.4352", "error_message": "It is unknown."}, "ModelArts.4352", "It is unknown"),
        ({"errorCode": "ModelArts.4352", "errorMsg": "It is unknown."}, "ModelArts.4352", "It is unknown"),
        ({"code": "ModelArts.4352", "message": "It is unknown."}, "ModelArts.4352", "It is unknown"),
        ({"error": {"code": 400, "message": "It is unknown.", "title": "Bad Request"}}, None, "It is unknown"),
        ({"error": "It is unknown."}, None, "It is unknown"),
        ("It is unknown.", None, "It is unknown"),
        ("", None, "no reason"),
    ],
)
def test_every_shape_of_an_error_body(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, body: Any, code: str | None, text: str
) -> None:
    sent = body if isinstance(body, str) else json.dumps(body | {"request_id": "own-id"})
    emulator.faults.add("GET", dataset_id, "status", status=400, body=sent)
    with pytest.raises(ModelArtsError, match=text) as caught:
        client.datasets.get(dataset_id)
    error = caught.value
    assert (error.code, error.status, error.method) == (code, 400, "GET")
    assert error.path == f"/v2/{emulator.project_id}/datasets/{dataset_id}"
    assert error.request_id
    if isinstance(body, dict) and "error" not in body:
        assert error.request_id == "own-id"
        assert isinstance(error, NotFound)


def test_a_long_error_text_is_cut_and_folded(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=400, code="ModelArts.0104", message="line\n" * 1000)
    with pytest.raises(InvalidRequest) as caught:
        client.datasets.get(dataset_id)
    assert len(one_line(caught.value)) < 900


def test_codes_and_request_ids_are_folded_too(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    body = json.dumps({"error_code": "Model\nArts.1", "error_msg": "x", "request_id": "a\nb"})
    emulator.faults.add("GET", dataset_id, "status", status=400, body=body)
    with pytest.raises(InvalidRequest) as caught:
        client.datasets.get(dataset_id)
    one_line(caught.value)


@pytest.fixture
def scripted() -> Iterator[Callable[..., ModelArtsClient]]:
    """Return a client, that sends once, of a service that gives one answer, however strange."""
    with canned() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        with ModelArtsClient(url, TokenCredentials("MIIt", "p"), retries=False) as made:

            def answer(head: str, body: str = "") -> ModelArtsClient:
                server.answer(head, body)
                return made

            yield answer


@pytest.mark.parametrize(
    "target", ["http://[::bad/", "http://h:99999x/", "//", "\xff\xfe", "ht!tp://x", "http://*x/", ""]
)
def test_a_redirect_to_no_address_is_refused_like_any_other(
    scripted: Callable[..., ModelArtsClient], target: str
) -> None:
    client = scripted(f"HTTP/1.1 302 Found\nLocation: {target}\nContent-Length: 0")
    with pytest.raises(ForeignAnswer, match="redirect") as caught:
        client.datasets.get("d1")
    assert "d1" in one_line(caught.value)
    with pytest.raises(StartUnknown):
        client.tasks.start("d1")


def check_that_it_may_have_been_carried_out(client: ModelArtsClient) -> None:
    with pytest.raises(ServiceUnavailable) as caught:
        client.datasets.get("d1")
    assert not caught.value.certainly_not_executed
    assert "d1" in one_line(caught.value)
    with pytest.raises(StartUnknown):
        client.tasks.start("d1")
    assert client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])[0].ok is None


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\nContent-Length: 5, 6",
        "HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 4",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
        "HTTP/9.9 OK",
        "no HTTP at all",
    ],
)
def test_whatever_is_wrong_with_an_answer_the_request_may_have_been_carried_out(
    scripted: Callable[..., ModelArtsClient], head: str
) -> None:
    client = scripted(head, "zzzz")
    check_that_it_may_have_been_carried_out(client)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", "<html><body><h1>408 Request Time-out</h1></body></html>"),
        ("text/plain", "upstream timed out"),
        ("application/json", '{"error_code": "ModelArts.4205", "error_msg": "backend connection timeout"}'),
        ("application/json", ""),
    ],
)
def test_whatever_shape_a_time_out_behind_the_gateway_has_the_request_may_have_been_carried_out(
    scripted: Callable[..., ModelArtsClient], kind: str, body: str
) -> None:
    client = scripted(f"HTTP/1.1 408 Request Timeout\nContent-Type: {kind}", body)
    check_that_it_may_have_been_carried_out(client)


@pytest.mark.parametrize("seconds", ["9" * 400, "1e999", "nan", "soon", "-5"])
def test_a_retry_after_that_is_none_harms_nothing(scripted: Callable[..., ModelArtsClient], seconds: str) -> None:
    client = scripted(f"HTTP/1.1 429 Slow\nContent-Length: 0\nRetry-After: {seconds}")
    with pytest.raises(Throttled) as caught:
        client.datasets.get("d1")
    assert not caught.value.retry_after


def test_a_number_beyond_all_measure_is_read_as_none(scripted: Callable[..., ModelArtsClient]) -> None:
    huge = "1" + "0" * 400
    body = json.dumps({"status": 1}).replace("}", f', "progress": {huge}, "elapsed_time": 1e999}}')
    task = scripted("HTTP/1.1 200 OK", body).tasks.get("d1", "t1")
    assert (task.status, task.progress, task.elapsed_time) == (1, None, None)
    assert task.raw["progress"] == 10**400


@pytest.mark.parametrize(
    "value",
    [
        "[1, 1.0, -0, -0.0, 1e5, 0.1, 1e-7, 5e-324, 1e400, NaN, 123456789012345678901234567890]",
        '{"name": "first", "name": "last"}',
        r'"\ud83d\ude00 \u00e9 \u2028 \ud800 half"',
        "[" * 300 + "]" * 300,
    ],
)
def test_what_arrives_is_what_pythons_own_parser_reads(scripted: Callable[..., ModelArtsClient], value: str) -> None:
    body = f'{{"dataset_id": "d1", "other": {value}}}'
    raw = scripted("HTTP/1.1 200 OK", body).datasets.get("d1").raw
    assert repr(raw) == repr(json.loads(body))


def test_an_answer_larger_than_what_is_received_at_once_comes_whole(
    scripted: Callable[..., ModelArtsClient],
) -> None:
    text = "x" * 1_000_000
    body = json.dumps({"dataset_id": "d1", "description": text})
    for length in (f"Content-Length: {len(body)}", "X-Length: unknown"):
        head = f"HTTP/1.1 200 OK\nConnection: close\n{length}"
        assert scripted(head, body).datasets.get("d1").raw["description"] == text
    with pytest.raises(ServiceUnavailable, match="broke the connection"):
        scripted(f"HTTP/1.1 200 OK\nContent-Length: {len(body) + 1}", body).datasets.get("d1")


LONG_TOKEN = "MIIabc" + "".join(f"{number:05}-" for number in range(1000))
ECHO = "Bad gateway. Request was: GET /v2/x X-Auth-Token: "


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ECHO, ""),
        ("<html><pre>" + ECHO, "</pre>"),
        ("<style>" + "a{}" * 1300 + "</style>" + ECHO, ""),
        (ECHO * 79, " and so on"),
        (ECHO, " and again " + LONG_TOKEN * 3),
    ],
    ids=["text", "page", "late in a page", "late in a text", "often"],
)
def test_no_part_of_a_token_that_is_echoed_is_quoted(kind: str, before: str, after: str) -> None:
    with canned(f"HTTP/1.1 502 Bad\nContent-Type: {kind}", before + LONG_TOKEN + after) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        token = TokenCredentials(LONG_TOKEN, "p")
        with ModelArtsClient(url, token, retries=False) as client, pytest.raises(ServiceUnavailable) as caught:
            client.datasets.get("d1")
    said = one_line(caught.value)
    assert "MIIabc" not in said
    assert "0-0" not in said


@pytest.mark.parametrize("secret", ['pass"word\\1', "pässwörd/1", "pass<&>'word", "pass\tword 1", "half \ud800 word"])
@pytest.mark.parametrize(
    "written",
    [
        str,
        json.dumps,
        lambda secret: json.dumps(secret, ensure_ascii=False),
        html.escape,
        lambda secret: html.escape(secret, quote=False),
        lambda secret: html.escape(json.dumps(secret)),
        lambda secret: json.dumps(secret).replace("/", r"\/"),
    ],
    ids=["plain", "json", "json in utf-8", "html", "html with quotes", "json in html", "json with escaped slashes"],
)
def test_a_secret_is_hidden_however_it_is_written(secret: str, written: Callable[[str], str]) -> None:
    said = redact(f"You sent {written(secret)}, again", ["other-secret", secret])
    assert said.replace('"', "").replace("&quot;", "") == "You sent ***, again"


def test_a_secret_within_another_does_not_save_the_rest_of_it() -> None:
    assert redact("X-Auth-Token: MIIsecret-rest", ["secret", "MIIsecret-rest"]) == "X-Auth-Token: ***"


def test_a_token_that_was_replaced_meanwhile_is_hidden_as_well(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = HttpSession.send

    def echo(self: HttpSession, request: Request, what: str) -> Response:
        answer = send(self, request, what)
        if "X-Auth-Token" not in request.headers:
            return answer
        forget_tokens()
        return replace(answer, status=502, body=f"I got {request.headers['X-Auth-Token']}".encode())

    monkeypatch.setattr(HttpSession, "send", echo)
    with pytest.raises(ServiceUnavailable, match=r"I got \*\*\*") as caught:
        make_client(retries=False).datasets.get(dataset_id)
    assert not any(token in one_line(caught.value) for token in emulator.tokens)


@pytest.mark.parametrize("odd", ["?", "http://", "<script>"])
def test_a_huge_text_without_end_is_read_at_once(scripted: Callable[..., ModelArtsClient], odd: str) -> None:
    for kind, body in (("text/plain", odd * 300_000), ("application/json", json.dumps({"error_msg": odd * 300_000}))):
        with pytest.raises(ServiceUnavailable) as caught:
            scripted(f"HTTP/1.1 502 Bad\nContent-Type: {kind}", body).datasets.get("d1")
        assert len(one_line(caught.value)) < 900
