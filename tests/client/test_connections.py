"""The way to the service: time-outs, proxies, certificates, kept connections, and what goes out on them. B9, B12."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import ModelArtsClient, TokenCredentials
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, ServiceUnavailable, StartUnknown
from airflow_provider_modelarts.client.transport import session
from airflow_provider_modelarts.client.transport.session import HttpSession, Request
from airflow_provider_modelarts.client.validation import Endpoint
from tests.support.error_text import one_line
from tests.support.servers import canned, one_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

ThroughProxy = Callable[..., tuple[ModelArtsClient, list[bytes]]]

Tunnel = tuple[list[bytes], threading.Semaphore]

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
DATASET = '{"dataset_id": "d1"}'


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_host_that_does_not_answer_is_named_with_the_time_out(
    silent_port: int, make_client: Callable[..., ModelArtsClient]
) -> None:
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
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with ModelArtsClient(f"http://127.0.0.1:{port}", TokenCredentials("t", "p")) as client:
        with pytest.raises(ServiceUnavailable, match=rf"127.0.0.1:{port} could not be reached") as caught:
            client.tasks.start("d1")
        assert caught.value.certainly_not_executed
        with pytest.raises(ServiceUnavailable):
            client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])
    assert len(moved_clock.slept) == 10


def test_an_answer_may_take_longer_than_the_connection() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        threading.Event().wait(0.15)  # the time itself is what is tested
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"dataset_id": "d"}')

    credentials = TokenCredentials("t", "p")
    with (
        one_connection(talk) as url,
        ModelArtsClient(url, credentials, retries=False, timeout=(0.05, 60)) as client,
    ):
        assert client.datasets.get("d").dataset_id == "d"


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what moves the clock by which answers are given up."""
    now = [monotonic()]
    monkeypatch.setattr(session, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (HEAD, b"X-Drop: 1\r\n"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Connection: close\r\n\r\n", b" "),
    ],
    ids=["status", "fields", "body", "chunks", "body without length"],
)
@pytest.mark.parametrize("behind_tls", [False, True], ids=["plain", "tls"])
def test_an_answer_that_drips_is_given_up_and_the_request_may_have_been_carried_out(
    pass_time: Callable[[float], None], certificate: Path, start: bytes, drop: bytes, behind_tls: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", certificate)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) if behind_tls else connection as way, suppress(OSError):
            way.recv(65536)
            way.sendall(start)
            for _ in range(90):  # fewer than HTTP takes header fields
                pass_time(29)
                way.sendall(drop)
                threading.Event().wait(0.005)

    with one_connection(talk) as url:
        address, trusted = url.replace("http:", "https:") if behind_tls else url, f"{certificate}.crt"
        made = ModelArtsClient(address, TokenCredentials("t", "p"), timeout=(5, 30), retries=False, verify=trusted)
        with made as client, pytest.raises(StartUnknown, match="did not complete its answer within 120 s") as caught:
            client.tasks.start("d1")
    assert "d1" in one_line(caught.value)


@pytest.mark.parametrize(("wait", "pause"), [(30, 28), (1, 14)], ids=["four waits", "a minute"])
def test_a_slow_answer_may_take_longer_than_each_wait_for_it(
    pass_time: Callable[[float], None], wait: int, pause: int
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in (HEAD, b"Content-Length: 19\r\n\r\n", b'{"dataset_id":', b' "d"}'):
            pass_time(pause)
            connection.sendall(piece)
            threading.Event().wait(0.005)

    credentials = TokenCredentials("t", "p")
    with one_connection(talk) as url, ModelArtsClient(url, credentials, retries=False, timeout=wait) as client:
        assert client.datasets.get("d").dataset_id == "d"


def test_netrc_is_ignored(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login intruder password intruder\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client.datasets.get(dataset_id)
    assert all("authorization" not in record.headers for record in emulator.journal)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Clear the environment's settings of proxies."""
    for name in (*PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def through_proxy(no_proxies: pytest.MonkeyPatch) -> Iterator[ThroughProxy]:
    """Return a client whose proxy answers each request with the same bytes, if any, and hangs up; and what it got."""
    server = socket.create_server(("127.0.0.1", 0))
    for name in ("http_proxy", "https_proxy"):
        no_proxies.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
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

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return ModelArtsClient(url, TokenCredentials("t", "p"), allow_http=True, **options), asked

    yield make
    for thread in threads:
        socket.create_connection(server.getsockname()).close()
        thread.join()
    server.close()


def test_loopback_never_goes_through_a_proxy(
    make_client: Callable[..., ModelArtsClient], dataset_id: str, no_proxies: pytest.MonkeyPatch, silent_port: int
) -> None:
    for name in PROXIES:
        no_proxies.setenv(name, f"http://127.0.0.1:{silent_port}")
    # a request that went to the silent proxy would end by this time-out
    assert make_client(retries=False, timeout=5).datasets.get(dataset_id)


def test_other_hosts_go_through_the_environments_proxy(through_proxy: ThroughProxy) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\nConnection: close\r\n\r\n{"dataset_id": "d"}'
    client, asked = through_proxy("http://modelarts.example.com", answer, retries=False)
    with client:
        assert client.datasets.get("d").dataset_id == "d"
    assert asked[0].startswith(b"GET http://modelarts.example.com/v2/p/datasets/d HTTP/1.1")


def test_what_is_lost_behind_a_proxy_may_have_been_carried_out(
    through_proxy: ThroughProxy,
) -> None:
    client, asked = through_proxy("http://modelarts.example.com")
    with client:
        with pytest.raises(StartUnknown):
            client.tasks.start("d1")
        assert client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])[0].ok is None
    assert [request.split(b" ")[0] for request in asked] == [b"POST", b"PUT"]


def test_what_a_proxy_refuses_was_not_carried_out(
    through_proxy: ThroughProxy,
) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    client, asked = through_proxy("https://modelarts.example.com", refusal, retries=False)
    with client, pytest.raises(ServiceUnavailable, match="proxy") as caught:
        client.tasks.start("d1")
    assert caught.value.certainly_not_executed
    assert all(request.startswith(b"CONNECT ") for request in asked)


def test_a_proxy_that_is_no_address_is_told_before_anything_is_sent(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("https_proxy", "http://a..b:3128")
    with ModelArtsClient("modelarts.example.com", TokenCredentials("MIIt", "p"), retries=False) as client:
        with pytest.raises(ModelArtsError, match="proxy") as caught:
            client.tasks.start("d1")
        assert caught.value.certainly_not_executed
        assert "d1" in one_line(caught.value)


def test_a_host_that_speaks_no_tls(emulator: Emulator) -> None:
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
    with canned(body=DATASET, tls=context) as server:
        yield server.server_port


@pytest.fixture
def tunnel(certificate: Path, no_proxies: pytest.MonkeyPatch) -> Iterator[Tunnel]:
    """A proxy that answers in the place of the host behind it, and hangs up after each answer without a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", certificate)
    asked: list[bytes] = []
    """What the proxy was told; the rest is encrypted."""
    ended = threading.Semaphore(0)

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            asked.append(connection.recv(65536))
            if not asked[-1]:
                connection.close()
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
                request = b""
                while not request.endswith((b"\r\n\r\n", b"]}]}")):
                    request += encrypted.recv(65536)
                encrypted.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"success":true}')
            connection.close()
            ended.release()

    with socket.create_server(("127.0.0.1", 0)) as server:
        no_proxies.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked, ended
        socket.create_connection(server.getsockname()).close()
        thread.join()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_proxy_is_told_nothing_but_the_host_whenever_a_connection_is_made_again(tunnel: Tunnel) -> None:
    asked, ended = tunnel
    with ModelArtsClient(
        "https://modelarts.example.com", TokenCredentials("hidden", "p"), verify=False, retries=False
    ) as client:
        for _ in range(3):
            outcomes = client.samples.update("d1", [{"sample_id": "s", "labels": [{"name": "a"}]}])
            assert [outcome.ok for outcome in outcomes] == [True]
            assert ended.acquire(timeout=30)
    assert [request.split(b" HTTP")[0] for request in asked] == [b"CONNECT modelarts.example.com:443"] * 3
    assert not any(b"hidden" in request for request in asked)


def test_certificates_are_checked_and_verify_names_whom_to_trust(
    tls_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(InvalidRequest, match=str(file)) as caught:
        ModelArtsClient("modelarts.example.com", TokenCredentials("t", "p"), verify=str(file))
    assert "certificates" in one_line(caught.value)


def test_cookies_do_not_stick(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.faults.add(
        "GET", dataset_id, "status", status=400, code="ModelArts.0104", headers={"Set-Cookie": "session=1; Path=/"}
    )
    with pytest.raises(InvalidRequest):
        client.datasets.get(dataset_id)
    client.datasets.get(dataset_id)
    assert all("cookie" not in record.headers for record in emulator.journal)


def test_a_header_field_that_cannot_be_sent_is_not_quoted(emulator: Emulator) -> None:
    credentials = TokenCredentials("MIIt", "p")
    object.__setattr__(credentials, "token", "MIIsentinel\r\nX-Other: 1")  # as from an answer with a folded field
    with ModelArtsClient(emulator.url, credentials, retries=False) as client:
        with pytest.raises(InvalidRequest, match="d1") as caught:
            client.tasks.start("d1")
        assert caught.value.certainly_not_executed
        assert "sentinel" not in one_line(caught.value)
        assert len(emulator.journal) == 0


def test_close_ends_the_kept_connections() -> None:
    ended: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.settimeout(20)
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATASET)}\r\n\r\n{DATASET}".encode())
        ended.append(connection.recv(65536))

    with one_connection(talk) as url:
        client = ModelArtsClient(url, TokenCredentials("t", "p"), retries=False)
        client.datasets.get("d1")
        assert ended == []
        client.close()
    assert ended == [b""]


def test_more_places_than_connections_are_kept_for_are_all_reached() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(canned(body=DATASET)) for _ in range(6)]
        endpoints = [Endpoint(f"http://127.0.0.1:{server.server_port}") for server in servers]
        exchange = stack.enter_context(closing(HttpSession()))
        for endpoint in endpoints * 3:
            assert exchange.send(Request("GET", endpoint, ("v2",)), "read").body == DATASET.encode()
        assert [len(server.asked) for server in servers] == [3] * 6


def test_an_endpoint_may_have_a_path_of_its_own() -> None:
    with canned(body=DATASET) as server:
        url = f"http://127.0.0.1:{server.server_port}/gate/1/"
        with ModelArtsClient(url, TokenCredentials("t", "p"), retries=False) as client:
            client.datasets.get("d1", running_task_type=0)
    assert server.asked == ["/gate/1/v2/p/datasets/d1?check_running_task=true&running_task_type=0"]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_name_that_is_not_known_a_port_that_refuses_and_tls_that_fails_are_told_apart(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, no_proxies: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def said(url: str) -> str:
        with (
            ModelArtsClient(url, TokenCredentials("MIIsentinel", "p"), retries=False) as client,
            pytest.raises(ServiceUnavailable) as caught,
        ):
            client.datasets.get("d1")
        cause = caught.value.__cause__
        assert isinstance(cause, OSError), "what the operating system said"
        shown = "".join(traceback.format_exception(caught.value))
        assert type(cause).__name__ in shown
        assert "sentinel" not in shown
        assert cause.__traceback__ is None, "its frames hold the token"
        return one_line(caught.value)

    port = closed_port()
    assert f"could not be reached at port {port} (Connection refused)" in said(f"http://127.0.0.1:{port}")
    assert "the encrypted connection" in said(emulator.url.replace("http:", "https:"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "its name is not known here (Name or service not known)" in said("https://ma.example.com")


def test_the_error_says_how_often_it_was_tried_and_how_long_in_all(moved_clock: MovedClock) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with ModelArtsClient(url, TokenCredentials("t", "p")) as client:
        began = moved_clock.now()
        with pytest.raises(ServiceUnavailable) as caught:
            client.datasets.get("d1")
        seconds = moved_clock.now() - began
        assert seconds > 20
        assert f"It was tried 6 times in {seconds:.0f} s." in one_line(caught.value)
        assert "tried 6 times" in caught.value.message
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    with ModelArtsClient(url, TokenCredentials("t", "p"), retries=False) as client:
        with pytest.raises(ServiceUnavailable) as once:
            client.datasets.get("d1")
        assert "tried" not in str(once.value)


def test_what_a_proxy_says_to_its_refusal_is_told(through_proxy: ThroughProxy) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    client, _ = through_proxy("https://modelarts.example.com", refusal, retries=False)
    with client, pytest.raises(ServiceUnavailable, match=r"proxy .*407 Proxy Authentication Required"):
        client.datasets.get("d1")
