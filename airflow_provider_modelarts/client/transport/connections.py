"""Connections that send a request in one piece and receive its answer in large ones.

Each call of the operating system lets another thread of the process run, which may take milliseconds until it stops
again: with many threads the number of these calls, not their work, decides how long an exchange takes.
"""

from __future__ import annotations

import http.client
import io
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from requests.adapters import HTTPAdapter
    from urllib3.poolmanager import PoolManager, ProxyManager

BUFFER = 1 << 18
"""Bytes received at once: a page of samples has about a hundred thousand. Memory is touched as far as it is filled."""


WAITS = 4
LEAST_LIMIT = 60.0
"""How long an answer may take in all: so many times what each wait for a part of it may take, or so many seconds.

Whoever sends a byte now and then would otherwise hold a thread for ever. A good answer comes in one or two parts, so
the limit only has to be far from what a slow line needs.
"""


class OverdueError(TimeoutError):
    """Parts of an answer came in time, but not the whole of it.

    :param seconds: what it was given
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("timed out")
        self.seconds = seconds


class _Limited(io.RawIOBase):
    """What a socket receives, until the answer's time is over; each wait has the socket's own time-out."""

    def __init__(self, received: Any, seconds: float) -> None:
        super().__init__()
        self._received = received
        self._seconds = seconds
        self._end = monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if monotonic() > self._end:
            raise OverdueError(self._seconds)
        count: int | None = self._received.readinto(buffer)
        return count

    def close(self) -> None:
        self._received.close()
        super().close()


class _Source:
    """A socket as an answer wants it, read through a large buffer and not for ever."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> Any:
        del mode  # answers are read as bytes
        wait = self._sock.gettimeout() or 0.0  # that for answers: urllib3 has set it by now
        return io.BufferedReader(_Limited(self._sock.makefile("rb", 0), max(WAITS * wait, LEAST_LIMIT)), BUFFER)


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(_Source(sock), *args, **options)  # type: ignore[arg-type]  # all that is asked of it


class _OnePiece:
    """What a connection needs to hold the head of a request back until its body is there."""

    response_class: Any = _Answer
    _held: bytes | None = None

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
        self._held = b"" if isinstance(body, bytes) and body else None
        try:
            super().request(method, url, body, *args, **options)  # type: ignore[misc]  # of the connection
        finally:
            self._held = None

    def send(self, data: Any) -> None:
        if self._held == b"":
            self._held = data
            return
        super().send(data if self._held is None else self._held + data)  # type: ignore[misc]  # of the connection


@cache
def _pools() -> dict[str, type]:
    """Return what keeps such connections, by scheme; made when asked for, as importing urllib3 opens a socket."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Plain(_OnePiece, HTTPConnection):
        pass

    class Encrypted(_OnePiece, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def make_adapter(scopes: int, pool_size: int) -> HTTPAdapter:
    """Return what keeps such connections, and knows of certificates and proxies what requests knows.

    :param scopes: hosts whose connections are kept
    :param pool_size: connections kept for each of them
    """
    from requests.adapters import HTTPAdapter
    from urllib3.poolmanager import pool_classes_by_scheme

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            equip(self.poolmanager)

        def proxy_manager_for(self, *args: Any, **options: Any) -> ProxyManager:
            manager: ProxyManager = super().proxy_manager_for(*args, **options)
            if manager.pool_classes_by_scheme is pool_classes_by_scheme:  # a SOCKS proxy has its own
                equip(manager)
            return manager

    def equip(manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = dict(_pools())

    return Adapter(pool_connections=scopes, pool_maxsize=pool_size, max_retries=0)
