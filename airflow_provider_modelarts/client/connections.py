"""Connections that send a request in one piece and receive its answer in large ones.

Each call of the operating system lets another thread of the process run, which may take milliseconds until it stops
again: with many threads the number of these calls, not their work, decides how long an exchange takes.
"""

from __future__ import annotations

import http.client
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from requests.adapters import HTTPAdapter
    from urllib3.poolmanager import PoolManager, ProxyManager

BUFFER = 1 << 18
"""Bytes received at once: a page of samples has about a hundred thousand. Memory is touched as far as it is filled."""


class _Source:
    """A socket as an answer wants it, read through a large buffer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> Any:
        del mode  # answers are read as bytes
        return self._sock.makefile("rb", BUFFER)


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
    """Return what keeps such connections, by scheme; made when asked for, as importing urllib3 opens a socket (B21)."""
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
