"""The HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048
START_SECONDS = 10.0
SHUTDOWN_SECONDS = 1
# SO_LINGER with no time: closing sends a reset instead of a goodbye.
RESET = struct.pack("ii", 1, 0)


class _Uvicorn(uvicorn.Server):
    """A uvicorn server that says when it is ready and stops at once when told to."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        self._ready.set()

    async def main_loop(self) -> None:
        # uvicorn's own loop looks every 0.1 s whether it should end; hundreds of tests would wait for that.
        await self._wake.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        # As uvicorn does it, without the 0.1 s that it always waits for connections to notice.
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=SHUTDOWN_SECONDS)
        await asyncio.sleep(0)  # closed transports say goodbye in the next round of the loop

    def end(self) -> None:
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)


class HttpServer:
    """Serves an ASGI application on a loopback port from a background thread.

    :param host: address to listen on.
    :param port: 0 takes a free one, which is kept over :meth:`stop` and :meth:`start`.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._connections: dict[tuple[str, int], asyncio.Transport] = {}
        self._thread: threading.Thread | None = None
        self._server: _Uvicorn | None = None

    @property
    def url(self) -> str:
        """Address of the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self, app: ASGIApp) -> None:
        """Listen, and return when requests are served.

        :raises RuntimeError: it runs already, or did not come up in time.
        :raises OSError: the port is taken.
        """
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError(f"the emulator runs already at {self.url}")
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        # asyncio does this only for sockets that name their protocol; without it every answer takes 40 ms longer.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=self._protocol(),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        ready = threading.Event()
        self._server = _Uvicorn(config, ready)
        work = (self._server, listener)
        self._thread = threading.Thread(target=self._run, args=work, name="modelarts-emulator", daemon=True)
        self._thread.start()
        if not ready.wait(START_SECONDS):
            raise RuntimeError("the emulator did not start")

    def _run(self, server: _Uvicorn, listener: socket.socket) -> None:
        with listener:
            asyncio.run(server.serve(sockets=[listener]))

    def stop(self) -> None:
        """Stop serving and wait for the thread to end. Stopping twice is fine."""
        if self._server is not None and self._thread is not None:
            self._server.end()
            self._thread.join(SHUTDOWN_SECONDS + START_SECONDS)
        self._server = self._thread = None
        self._connections.clear()

    def drop(self, client: tuple[str, int]) -> None:
        """Reset a client's connection, from within the server's loop."""
        transport = self._connections.pop((client[0], client[1]), None)
        if transport is None:
            return
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()

    def _protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's protocol, extended to remember connections: faults must be able to reset them."""
        connections = self._connections

        # uvicorn chooses its base at import time, which a type checker cannot follow.
        class TrackedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
            def connection_made(self, transport: Any) -> None:
                peer = transport.get_extra_info("peername")
                self.emulator_peer = (peer[0], peer[1])
                connections[self.emulator_peer] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                connections.pop(self.emulator_peer, None)
                super().connection_lost(exc)

        return TrackedProtocol
