"""A server that does as little as possible, in a process of its own, so that it is never what a benchmark measures.

It knows one labeling task, which runs for ever, under every id. Each answer takes ``--latency`` seconds. A request may
say in ``X-Planned`` when its sender meant to send it; the server notes how much later it came.

``python -m tests.benchmarks.local_server --latency 0.1`` prints the port and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING:
    from types import TracebackType

PROJECT = "p" * 32
TOKEN = "t" * 3000
"""As long as real ones are (contract 1.1): they travel with every poll."""

_EVENTS = [
    {"name": "start", "ordinal": 1, "level": 1, "status": "success", "create_time": 1624014895314, "elapsed_time": 1},
    {"name": "init", "ordinal": 2, "level": 1, "status": "success", "create_time": 1624014896314, "elapsed_time": 9},
    {
        "name": "labeling",
        "ordinal": 3,
        "level": 1,
        "status": "running",
        "create_time": 1624014905314,
        "events": [
            {"name": "jobstat_init", "ordinal": 1, "level": 2, "status": "success", "elapsed_time": 1},
            {"name": "jobstat_waiting", "ordinal": 2, "level": 2, "status": "success", "elapsed_time": 9},
            {"name": "jobstat_running", "ordinal": 3, "level": 2, "status": "running", "elapsed_time": 30},
            {"name": "jobstat_completed", "ordinal": 4, "level": 2, "status": "waiting"},
        ],
    },
    {"name": "result_processing", "ordinal": 4, "level": 1, "status": "waiting"},
    {"name": "end", "ordinal": 5, "level": 1, "status": "waiting"},
]
RUNNING_TASK = {
    "resource_id": "d" * 19,
    "create_time": "2021-06-18 19:14:55",
    "status": 1,
    "progress": 30,
    "code": "ModelArts.4914",
    "message": "Submit auto labeling task succeed, waiting for auto labeling task to finish. ",
    "elapsed_time": 55,
    "export_type": 0,
    "config": {"algorithm_type": "fast", "name": "af-0123456789abcdef-0", "confidence_scope": "0.0-0.5"},
    "result": {"total_sample_count": 30, "annotated_sample_count": 28, "events": _EVENTS},
}


def _answer(status: str, body: dict[str, Any], *headers: str) -> bytes:
    payload = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(payload)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + payload


def _token(lifetime: float = 86400) -> bytes:
    form = "%Y-%m-%dT%H:%M:%S.000000Z"
    token = {
        "expires_at": time.strftime(form, time.gmtime(time.time() + lifetime)),
        "issued_at": time.strftime(form, time.gmtime()),
        "project": {"id": PROJECT, "name": "cn-north-4"},
    }
    return _answer("201 Created", {"token": token}, f"X-Subject-Token: {TOKEN}")


TASK = _answer("200 OK", RUNNING_TASK)
NOT_YET = _answer("404 Not Found", {"error_code": "not yet"})


class Served:
    """What came since the last question for it."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.requests = 0
        self.connections = 0
        self.open = 0

    def report(self) -> dict[str, Any]:
        """Return the counts, and forget them; connections that are open stay counted."""
        found = {"late": self.late, "requests": self.requests, "connections": self.connections, "open": self.open}
        self.late, self.requests, self.connections = [], 0, 0
        return found


class Connection(asyncio.Protocol):
    """One kept connection; requests come one after another."""

    def __init__(self, served: Served, latency: float) -> None:
        self._served = served
        self._latency = latency
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._served.connections += 1
        self._served.open += 1

    def connection_lost(self, error: Exception | None) -> None:
        """Count it."""
        self._served.open -= 1
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take whole requests out of what came."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1")
            line, *fields = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._serve(line.split(" ")[1], headers)

    def _serve(self, path: str, headers: dict[str, str]) -> None:
        loop = asyncio.get_running_loop()
        if path.startswith("/served"):
            self._send(_answer("200 OK", self._served.report()))
            return
        self._served.requests += 1
        if "x-planned" in headers:
            self._served.late.append(time.time() - float(headers["x-planned"]))
        answer = _token() if "/auth/tokens" in path else NOT_YET if path.startswith("/not-yet") else TASK
        loop.call_later(self._latency, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


class LocalServer:
    """The server as a context manager.

    :param latency: seconds that each answer takes
    """

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self.url = ""

    def __enter__(self) -> LocalServer:
        """Start it in a process of its own."""
        command = [sys.executable, "-m", "tests.benchmarks.local_server", "--latency", str(self._latency)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._process.communicate()

    def served(self) -> dict[str, Any]:
        """Return what was served since the last call."""
        return served(self.url)


def served(url: str) -> dict[str, Any]:
    """Return what the server at an address has served since the last call."""
    with build_opener(ProxyHandler({})).open(f"{url}/served", timeout=60) as answer:
        report: dict[str, Any] = json.loads(answer.read())
    return report


async def _serve(latency: float) -> None:
    loop = asyncio.get_running_loop()
    counted = Served()
    server = await loop.create_server(lambda: Connection(counted, latency), "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that each answer takes")
    asyncio.run(_serve(parser.parse_args().latency))


if __name__ == "__main__":
    main()
