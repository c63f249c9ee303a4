"""How a picture is fetched from a storage that does as it likes."""

from __future__ import annotations

import gzip
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.plugins import pictures
from airflow_provider_modelarts.plugins.pictures import PictureUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


class Storage(ThreadingHTTPServer):
    """Answers every request in one way, and keeps what was asked."""

    def __init__(self, status: int, headers: dict[str, str], content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = status, headers, content
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Storage

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        status, headers, content = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def storage(status: int = 200, headers: dict[str, str] | None = None, content: bytes = PNG) -> Iterator[Storage]:
    with Storage(status, headers or {}, content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Hook:
    """Gives one sample with an address."""

    def __init__(self, source: object, endpoint: str = "http://127.0.0.1") -> None:
        self.client = self.samples = self
        self.settings = self
        self.endpoint, self.verify = endpoint, True
        self.raw = {"source": source}

    def get(self, dataset_id: str, sample_id: str, *, retry: bool) -> Hook:
        assert not retry
        return self


def fetch(source: object, endpoint: str = "http://127.0.0.1") -> pictures.Picture:
    return pictures.fetch(Hook(source, endpoint), "d", "s")  # type: ignore[arg-type]


def test_the_type_is_told_by_the_bytes_and_not_by_the_storage() -> None:
    with storage(headers={"Content-Type": "text/html"}) as server:
        assert fetch(f"{server.url}/a?Signature=x") == (PNG, "image/png")
    assert server.asked[0][0] == "/a?Signature=x"


def test_no_credential_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with storage() as server:
        fetch(server.url)
    assert {"Authorization", "Cookie", "X-Auth-Token"}.isdisjoint(server.asked[0][1])


@pytest.mark.parametrize("content", [b"BM: 1 secret: s3nt1nel", b"BM", b"RIFF 1 secret", b"GIF8 secret"])
def test_what_only_begins_like_a_picture_is_none(content: bytes) -> None:
    """An address may lead to a text that is not meant for people."""
    assert pictures.kind_of(content) is None
    assert pictures.kind_of(b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00") == "image/bmp"


def test_no_redirect_is_followed() -> None:
    with storage() as inner, storage(302, {"Location": f"{inner.url}/secret"}) as outer:
        with pytest.raises(PictureUnavailableError, match="answers 302"):
            fetch(outer.url)
        assert inner.asked == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_no_picture_and_names_no_address(status: int) -> None:
    with storage(status, content=b"<svg/>") as server, pytest.raises(PictureUnavailableError) as caught:
        fetch(f"{server.url}/a?Signature=s3nt1nel")
    assert str(status) in str(caught.value)
    assert "s3nt1nel" not in str(caught.value)
    assert caught.value.status == 502


@pytest.mark.parametrize("said", [True, False], ids=["length said", "length not said"])
def test_a_picture_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 1 << 20)
    content = PNG + bytes(4 << 20)
    headers = {"Content-Length": str(len(content))} if said else {}
    with storage(headers=headers, content=content) as server, pytest.raises(PictureUnavailableError) as caught:
        fetch(server.url)
    assert caught.value.status == 413


def test_a_picture_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_SECONDS", -1.0)
    with storage(content=PNG + bytes(1 << 20)) as server, pytest.raises(PictureUnavailableError) as caught:
        fetch(server.url)
    assert caught.value.status == 504


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Odd: ", b"a"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + PNG, b"a"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + PNG, b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ],
    ids=["in the header", "length said", "length not said", "in chunks"],
)
def test_a_picture_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, begin: bytes, drop: bytes) -> None:
    """A byte now and then keeps every single wait short; the storage drips until the other side hangs up."""
    monkeypatch.setattr(pictures, "MOST_SECONDS", 0.2)
    hung_up = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(begin)
            while not hung_up.wait(0.01):
                connection.sendall(drop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        end = threading.Timer(10, hung_up.set)  # of a test that fails
        end.start()
        try:
            with pytest.raises(PictureUnavailableError) as caught:
                fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/a?Signature=x")
            assert not hung_up.is_set()
        finally:
            end.cancel()
            hung_up.set()
            thread.join()
    assert caught.value.status == 504


def test_nothing_is_unpacked() -> None:
    """Some kilobytes that a storage calls compressed may become gigabytes in the API server."""
    with storage(headers={"Content-Encoding": "gzip"}, content=gzip.compress(PNG)) as server:
        with pytest.raises(PictureUnavailableError) as caught:
            fetch(server.url)
        assert server.asked[0][1]["Accept-Encoding"] == "identity"
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("source", "endpoint"),
    [
        ("http://127.0.0.1:1/a", "https://modelarts.example.com"),
        ("file:///etc/passwd", "https://modelarts.example.com"),
        ("ftp://127.0.0.1/a", "http://127.0.0.1"),
        ("/etc/passwd", "http://127.0.0.1"),
        (None, "http://127.0.0.1"),
        (["https://x"], "http://127.0.0.1"),
        ("", "http://127.0.0.1"),
    ],
)
def test_what_is_no_address_of_a_picture_is_not_asked_for(source: object, endpoint: str) -> None:
    with pytest.raises(PictureUnavailableError) as caught:
        fetch(source, endpoint)
    assert caught.value.status == 404


@pytest.mark.parametrize("source", ["http://[", "http://127.0.0.1:99999/a", "http://\x00/", "http:///a"])
def test_a_garbled_address_is_no_picture(source: str) -> None:
    with pytest.raises(PictureUnavailableError):
        fetch(source)
