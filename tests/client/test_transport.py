"""One call under faults: what is repeated, what never is, and what the errors say. B9, B12, contract 7."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import TokenCredentials
from airflow_provider_modelarts.client.errors import (
    DatasetBusy,
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
    StartUnknown,
    TaskAlreadyRunning,
    Throttled,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


def one_line(error: ModelArtsError) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("fault", ["reset", "reset_after", "truncated"])
def test_a_read_survives_a_broken_connection(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, fault: str
) -> None:
    rule = emulator.faults.add("GET", dataset_id, fault, times=3)
    assert client.datasets.get(dataset_id).dataset_id == dataset_id
    assert rule.fired == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_is_tried_six_times_with_growing_pauses(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, status: int
) -> None:
    rule = emulator.faults.add("GET", dataset_id, "status", status=status, times=None)
    with pytest.raises(ServiceUnavailable):
        client.datasets.get(dataset_id)
    assert rule.fired == 6
    assert len(moved_clock.slept) == 5
    assert all(0.75 * 2**n <= pause <= 1.25 * 2**n for n, pause in enumerate(moved_clock.slept))


def test_callers_that_failed_together_do_not_come_back_together(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=503, times=None)
    for _ in range(4):
        with pytest.raises(ServiceUnavailable):
            client.datasets.get(dataset_id)
    assert len(set(moved_clock.slept[::5])) == 4


def test_a_poll_is_one_attempt(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    rule = emulator.faults.add("GET", "/tasks/t", "status", status=503, times=None)
    with pytest.raises(ServiceUnavailable):
        client.tasks.get(dataset_id, "t", retry=False)
    assert rule.fired == 1


def test_a_client_without_retries_sends_once(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    rule = emulator.faults.add("GET", dataset_id, "reset", times=None)
    with client.detached() as detached, pytest.raises(ServiceUnavailable):
        detached.datasets.get(dataset_id)
    assert rule.fired == 1


@pytest.mark.parametrize("status", [501, 400, 403, 404, 409])
def test_refusals_are_not_repeated(client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int) -> None:
    rule = emulator.faults.add("GET", dataset_id, "status", status=status, times=None)
    with pytest.raises(ModelArtsError) as caught:
        client.datasets.get(dataset_id)
    assert caught.value.permanent
    assert rule.fired == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_kept(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock, status: int
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=status, headers={"Retry-After": "17"}, times=2)
    client.datasets.get(dataset_id)
    assert moved_clock.slept == [17, 17]


def test_retry_after_as_a_date_is_kept(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    date = formatdate(moved_clock.now() + 40, usegmt=True)
    emulator.faults.add("GET", dataset_id, "status", status=429, headers={"Retry-After": date})
    client.datasets.get(dataset_id)
    assert moved_clock.slept == [pytest.approx(40, abs=1.1)]


def test_a_long_retry_after_is_left_to_the_caller(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add("GET", dataset_id, "status", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(Throttled) as caught:
        client.datasets.get(dataset_id)
    assert caught.value.retry_after == 3600
    assert moved_clock.slept == []


def test_a_rate_limit_slows_a_list_down_but_does_not_break_it(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    emulator.variants.rate_limit = (2, 10)
    assert len(list(client.proposals.list(dataset_id))) == 250
    assert moved_clock.slept


@pytest.mark.parametrize(
    ("fault", "args"),
    [("reset_after", {}), ("reset", {}), ("truncated", {}), ("html", {"status": 502}), ("status", {"status": 500}),
     ("status", {"status": 200, "body": "{}"}), ("status", {"status": 200, "body": ""})],
)  # fmt: skip
def test_a_start_whose_reply_is_lost_is_unknown_and_never_repeated(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, fault: str, args: dict[str, Any]
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    emulator.faults.add("POST", "/tasks", fault, match=lambda call: "auth" not in call.path, **args)
    with pytest.raises(StartUnknown) as caught:
        client.tasks.start(dataset_id)
    assert dataset_id in one_line(caught.value)
    assert not caught.value.permanent
    assert emulator.journal.count("POST", "/datasets/") == 1


def test_a_start_that_is_throttled_is_repeated(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    rule = emulator.faults.add("POST", "/tasks", "status", status=429, code="ModelArts.4395",
                               match=lambda call: "auth" not in call.path)  # fmt: skip
    assert client.tasks.start(dataset_id)
    assert rule.fired == 1
    assert len(list(client.tasks.list(dataset_id))) == 1


@pytest.mark.parametrize(
    ("fault", "args"),
    [("reset_after", {}), ("reset", {}), ("truncated", {}), ("html", {"status": 502}), ("status", {"status": 503}),
     ("status", {"status": 200, "body": "<html>login</html>"})],
)  # fmt: skip
def test_a_label_write_that_may_have_happened_is_not_repeated_but_unknown(
    client: ModelArtsClient,
    emulator: Emulator,
    dataset_id: str,
    moved_clock: MovedClock,
    fault: str,
    args: dict[str, Any],
) -> None:
    samples = client.proposals.page(dataset_id, 0, limit=3).items
    emulator.faults.add("PUT", dataset_id, fault, **args)
    outcomes = client.samples.update(dataset_id, samples)
    assert [(outcome.sample_id, outcome.ok) for outcome in outcomes] == [(one.sample_id, None) for one in samples]
    assert all(outcome.error_msg for outcome in outcomes)
    assert emulator.journal.count("PUT") == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ModelArts.4381", DatasetBusy),
        (403, "ModelArts.0108", PermissionDenied),
        (400, "ModelArts.4105", InvalidRequest),
    ],
)
def test_a_label_write_that_was_refused_raises(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int, code: str, expected: type[ModelArtsError]
) -> None:
    sample = client.proposals.page(dataset_id, 0, limit=1).items[0]
    emulator.faults.add("PUT", dataset_id, "status", status=status, code=code)
    with pytest.raises(expected) as caught:
        client.samples.update(dataset_id, [sample])
    assert caught.value.certainly_not_executed
    assert emulator.journal.count("PUT") == 1


def test_a_redirect_is_refused(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.faults.add(
        "GET", dataset_id, "status", status=302, headers={"Location": f"{emulator.url}/elsewhere?ticket=SECRET"}
    )
    with pytest.raises(ForeignAnswer, match="redirect") as caught:
        client.datasets.get(dataset_id)
    assert "SECRET" not in str(caught.value)
    assert emulator.journal.count("GET", "elsewhere") == 0
    assert emulator.journal.count("GET") == 1


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
    client = make_client(retries=False)
    if "samples" in body:
        assert list(client.proposals.list(dataset_id)) == []
    else:
        with pytest.raises(UnexpectedResponse):
            list(client.proposals.list(dataset_id))


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


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_host_that_does_not_answer_is_named_with_the_time_out(
    silent_port: int, make_client: Callable[..., ModelArtsClient]
) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    url = f"http://127.0.0.1:{silent_port}"
    with ModelArtsClient(url, TokenCredentials("t", "p"), timeout=(1, 0.05), retries=False) as client:
        with pytest.raises(
            ServiceUnavailable, match=rf"127.0.0.1:{silent_port} did not answer within 0.05 s"
        ) as caught:
            client.datasets.get("d1")
        assert "d1" in one_line(caught.value)
        assert not caught.value.certainly_not_executed
        outcomes = client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])
        assert [outcome.ok for outcome in outcomes] == [None]


def test_a_host_that_is_not_there_is_named_and_was_not_reached(moved_clock: MovedClock) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with ModelArtsClient(f"http://127.0.0.1:{port}", TokenCredentials("t", "p")) as client:
        with pytest.raises(ServiceUnavailable, match=rf"127.0.0.1:{port} could not be reached") as caught:
            client.tasks.start("d1")
        assert caught.value.certainly_not_executed
        with pytest.raises(ServiceUnavailable):
            client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])
    assert len(moved_clock.slept) == 10


def test_netrc_is_ignored(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login intruder password intruder\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client.datasets.get(dataset_id)
    assert all("authorization" not in record.headers for record in emulator.journal)


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def test_loopback_never_goes_through_a_proxy(
    make_client: Callable[..., ModelArtsClient], dataset_id: str, monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{silent_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # a request that went to the silent proxy would end by this time-out
    assert make_client(retries=False, timeout=5).datasets.get(dataset_id)


def test_other_hosts_go_through_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    asked: list[bytes] = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(65536))
            body = b'{"dataset_id": "d"}'
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            connection.sendall(head % len(body) + body)

    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in PROXIES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        url = "http://modelarts.example.com"
        with ModelArtsClient(url, TokenCredentials("t", "p"), allow_http=True, retries=False) as client:
            assert client.datasets.get("d").dataset_id == "d"
        thread.join()
    assert asked[0].startswith(b"GET http://modelarts.example.com/v2/p/datasets/d HTTP/1.1")


@pytest.fixture
def through_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[ModelArtsClient, list[bytes]]]]:
    """Return a client whose proxy answers each request with the same bytes, if any, and hangs up; and what it got."""
    from airflow_provider_modelarts.client import ModelArtsClient

    server = socket.create_server(("127.0.0.1", 0))
    for name in (*PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
    threads: list[threading.Thread] = []

    def make(url: str, answer: bytes = b"", **options: Any) -> tuple[ModelArtsClient, list[bytes]]:
        asked: list[bytes] = []

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    request = connection.recv(65536)
                    if not request:
                        return
                    asked.append(request)
                    connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return ModelArtsClient(url, TokenCredentials("t", "p"), allow_http=True, **options), asked

    yield make
    for thread in threads:
        socket.create_connection(server.getsockname()).close()
        thread.join()
    server.close()


def test_what_is_lost_behind_a_proxy_may_have_been_carried_out(
    through_proxy: Callable[..., tuple[ModelArtsClient, list[bytes]]],
) -> None:
    client, asked = through_proxy("http://modelarts.example.com")
    with client:
        with pytest.raises(StartUnknown):
            client.tasks.start("d1")
        assert client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])[0].ok is None
    assert [request.split(b" ")[0] for request in asked] == [b"POST", b"PUT"]


def test_what_a_proxy_refuses_was_not_carried_out(
    through_proxy: Callable[..., tuple[ModelArtsClient, list[bytes]]],
) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    client, asked = through_proxy("https://modelarts.example.com", refusal, retries=False)
    with client, pytest.raises(ServiceUnavailable, match="proxy") as caught:
        client.tasks.start("d1")
    assert caught.value.certainly_not_executed
    assert all(request.startswith(b"CONNECT ") for request in asked)


def test_an_answer_may_take_longer_than_the_connection() -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            threading.Event().wait(0.8)  # the time itself is what is tested
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"dataset_id": "d"}')

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with ModelArtsClient(url, TokenCredentials("t", "p"), retries=False, timeout=(0.4, 60)) as client:
            assert client.datasets.get("d").dataset_id == "d"
        thread.join()


@pytest.mark.wrong_requests  # no sample has such an id
def test_reads_have_no_body_and_ids_stay_in_their_segment(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    with pytest.raises(ModelArtsError):
        client.samples.get(dataset_id, "../../tasks?x=1#y %2e")
    record = emulator.journal.select("GET")[-1]
    assert record.path.endswith("/data-annotations/samples/../../tasks?x=1#y %2e")
    assert record.query == {}
    assert record.body == b""
    assert not {"content-length", "content-type", "transfer-encoding", "cookie"} & set(record.headers)
    assert record.headers["x-language"] == "en-us"


def test_cookies_do_not_stick(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.faults.add(
        "GET", dataset_id, "status", status=400, code="ModelArts.0104", headers={"Set-Cookie": "session=1; Path=/"}
    )
    with pytest.raises(InvalidRequest):
        client.datasets.get(dataset_id)
    client.datasets.get(dataset_id)
    assert all("cookie" not in record.headers for record in emulator.journal)


def test_a_host_that_speaks_no_tls(emulator: Emulator) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    url = emulator.url.replace("http://", "https://")
    client = ModelArtsClient(url, TokenCredentials("t", "p"), retries=False)
    with client, pytest.raises(ServiceUnavailable, match="TLS"):
        client.datasets.get("d1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key."""
    file = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", str(file) + ".crt"]  # fmt: skip
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    subprocess.run(command, check=True, capture_output=True)
    return file


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    """A server with that certificate which answers every request with a dataset."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _DatasetHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


class _DatasetHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"dataset_id": "d1"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_certificates_are_checked_and_verify_names_whom_to_trust(
    tls_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    def read(**settings: Any) -> str | None:
        url, token = f"https://127.0.0.1:{tls_port}", TokenCredentials("t", "p")
        with ModelArtsClient(url, token, retries=False, **settings) as client:
            return client.datasets.get("d1").dataset_id

    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidRequest, match="certificate") as caught:
        read()
    assert caught.value.permanent
    assert caught.value.certainly_not_executed
    assert read(verify=f"{certificate}.crt") == "d1"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
    assert read() == "d1"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(InvalidRequest, match="REQUESTS_CA_BUNDLE"):
        read()


def test_a_file_without_certificates_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(InvalidRequest, match=str(file)) as caught:
        ModelArtsClient("modelarts.example.com", TokenCredentials("t", "p"), verify=str(file))
    assert "certificates" in one_line(caught.value)


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_page_with_a_refusal_is_not_the_services(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int
) -> None:
    emulator.faults.add("GET", dataset_id, "html", status=status, times=None)
    with pytest.raises(ForeignAnswer, match="endpoint"):
        client.datasets.get(dataset_id)


class _Scripted(BaseHTTPRequestHandler):
    """Answers every request with what the test put into ``head`` (status line and header fields) and ``body``."""

    head: bytes
    body: bytes
    asked: str

    def do_GET(self) -> None:
        _Scripted.asked = self.path
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.wfile.write(self.head + b"\r\n\r\n" + self.body)
        self.close_connection = True

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def scripted() -> Iterator[Callable[..., ModelArtsClient]]:
    """Return a client, that sends once, of a service that gives one answer, however strange."""
    from airflow_provider_modelarts.client import ModelArtsClient

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Scripted)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made = ModelArtsClient(f"http://127.0.0.1:{server.server_port}", TokenCredentials("MIIt", "p"), retries=False)

    def answer(head: str, body: str = "") -> ModelArtsClient:
        _Scripted.head, _Scripted.body = head.replace("\n", "\r\n").encode("latin-1"), body.encode()
        return made

    yield answer
    made.close()
    server.shutdown()
    thread.join()
    server.server_close()


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
    with pytest.raises(ServiceUnavailable) as caught:
        client.datasets.get("d1")
    assert not caught.value.certainly_not_executed
    assert "d1" in one_line(caught.value)
    with pytest.raises(StartUnknown):
        client.tasks.start("d1")
    assert client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])[0].ok is None


def test_a_proxy_that_is_no_address_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    for name in (*PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://a..b:3128")
    with ModelArtsClient("modelarts.example.com", TokenCredentials("MIIt", "p"), retries=False) as client:
        with pytest.raises(ModelArtsError, match="proxy") as caught:
            client.tasks.start("d1")
        assert caught.value.certainly_not_executed
        assert "d1" in one_line(caught.value)


def test_a_header_field_that_cannot_be_sent_is_not_quoted(emulator: Emulator) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    credentials = TokenCredentials("MIIt", "p")
    object.__setattr__(credentials, "token", "MIIsentinel\r\nX-Other: 1")  # as from an answer with a folded field
    with ModelArtsClient(emulator.url, credentials, retries=False) as client:
        with pytest.raises(InvalidRequest, match="d1") as caught:
            client.tasks.start("d1")
        assert caught.value.certainly_not_executed
        assert "sentinel" not in one_line(caught.value)
        assert len(emulator.journal) == 0


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


@pytest.mark.parametrize("body", [None, b"", b"{}", b"x" * 1_000_000])
def test_a_request_goes_out_in_one_piece(monkeypatch: pytest.MonkeyPatch, body: bytes | None) -> None:
    from airflow_provider_modelarts.client.connections import make_adapter

    sent: list[bytes] = []

    class Socket:
        """Keeps what is sent."""

        def sendall(self, data: bytes) -> None:
            sent.append(bytes(data))

        def settimeout(self, seconds: float) -> None:
            """Never wait."""

    connection = make_adapter(1, 1).poolmanager.connection_from_url("http://service").ConnectionCls("service")
    monkeypatch.setattr(connection, "sock", Socket())
    connection.request("PUT", "/v2", body, {"X-Auth-Token": "t"})
    (data,) = sent
    head, _, rest = data.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /v2 HTTP/1.1\r\n")
    assert rest == (body or b"")


def test_codes_and_request_ids_are_folded_too(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    body = json.dumps({"error_code": "Model\nArts.1", "error_msg": "x", "request_id": "a\nb"})
    emulator.faults.add("GET", dataset_id, "status", status=400, body=body)
    with pytest.raises(InvalidRequest) as caught:
        client.datasets.get(dataset_id)
    one_line(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"error_code": "ModelArts.4964", "error_msg": "Already running."}, TaskAlreadyRunning),
        (500, {"error_code": "ModelArts.4354", "error_msg": "Quota."}, PreconditionFailed),
        (500, {"error_code": "ModelArts.7008", "error_msg": "Read-only."}, DatasetBusy),
        (500, {"error_code": "APIGW.0103", "error_msg": "No backend."}, InvalidRequest),
        (401, {"error_code": "ModelArts.4901", "error_msg": "OBS."}, PermissionDenied),
    ],
)
def test_a_start_that_was_refused_is_not_unknown(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, status: int, body: Any, expected: type[ModelArtsError]
) -> None:
    rule = emulator.faults.add("POST", f"{dataset_id}/tasks", "status", status=status, body=json.dumps(body))
    with pytest.raises(expected, match=body["error_code"]) as caught:
        client.tasks.start(dataset_id)
    assert type(caught.value) is expected
    assert caught.value.certainly_not_executed
    assert dataset_id in one_line(caught.value)
    assert rule.fired == 1


def test_an_endpoint_may_have_a_path_of_its_own(scripted: Callable[..., ModelArtsClient]) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    plain = scripted("HTTP/1.1 200 OK\nContent-Length: 2", "{}")
    with ModelArtsClient(f"{plain.endpoint}/gate/1/", TokenCredentials("t", "p"), retries=False) as client:
        client.datasets.get("d1", running_task_type=0)
    assert _Scripted.asked == "/gate/1/v2/p/datasets/d1?check_running_task=true&running_task_type=0"


def test_close_ends_the_kept_connections() -> None:
    from airflow_provider_modelarts.client import ModelArtsClient

    ended: list[bytes] = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            ended.append(connection.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = ModelArtsClient(url, TokenCredentials("t", "p"), retries=False)
        client.datasets.get("d1")
        assert ended == []
        client.close()
        thread.join()
    assert ended == [b""]


def test_more_places_than_connections_are_kept_for_are_all_reached() -> None:
    from airflow_provider_modelarts.client.checking import Endpoint
    from airflow_provider_modelarts.client.exchange import Exchange, Request

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _DatasetHandler) for _ in range(6)]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    endpoints = [Endpoint(f"http://127.0.0.1:{server.server_port}") for server in servers]
    with Exchange() as exchange:
        for endpoint in endpoints * 3:
            assert exchange.send(Request("GET", endpoint, ("v2",)), "read").body == b'{"dataset_id": "d1"}'
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()
