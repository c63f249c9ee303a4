"""Servers that behave as the emulator never does: the same bytes for every request, or one connection by hand."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


class CannedServer(ThreadingHTTPServer):
    """Answers every request with the same bytes, well formed or not, and hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.head = b""
        """Status line and header fields."""
        self.body = b""
        self.asked: list[str] = []
        """The target of every request."""

    def answer(self, head: str, body: str = "") -> None:
        """Answer with these from now on; a line feed in ``head`` ends a header field."""
        self.head, self.body = head.replace("\n", "\r\n").encode("latin-1"), body.encode()


class _Handler(BaseHTTPRequestHandler):
    server: CannedServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.wfile.write(self.server.head + b"\r\n\r\n" + self.server.body)
        self.close_connection = True

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def canned(
    head: str = "HTTP/1.1 200 OK", body: str = "{}", tls: ssl.SSLContext | None = None
) -> Iterator[CannedServer]:
    """Run such a server on a port of its own."""
    server = CannedServer()
    server.answer(head, body)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # looks that often for its end
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def one_connection(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Let ``talk`` hold one connection; yields the address to connect to and waits, at the end, until it is done."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()
