"""A list of proposals that costs next to nothing to serve, in a process of its own, for the benchmark of confirming.

Pages are joined from prepared pieces, writes are counted and not parsed. What is written leaves the list: at its front
for a reader that always takes the first page, at its end for one that walks down from the last.

``python -m tests.benchmarks.bare_server`` prints the port and serves until its standard input closes. ``/reset`` sets
the number of proposals, the end at which they leave, and the seconds that each answer takes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING:
    from types import TracebackType

PROJECT = "p" * 32
TOKEN = "t" * 3000
"""As long as real ones are (contract 1.1)."""

_MARK = "@" * 32
_SIGNATURE = "AccessKeyId=AAAAAAAAAAAAAAAAAAAA&Expires=1626000000&x-obs-security-token=" + "s" * 330 + "&Signature=x"
_SAMPLE: dict[str, Any] = {
    "sample_id": _MARK,
    "sample_type": 0,
    "labels": [
        {
            "name": "rose",
            "type": 0,
            "id": "1",
            "score": 0.93,
            "property": {"@modelarts:hard": "false", "@modelarts:hard_coefficient": "0.0"},
        }
    ],
    "source": f"https://bucket.obs.cn-north-4.myhuaweicloud.com/images/{_MARK}.jpg?{_SIGNATURE}",
    "metadata": {
        "@modelarts:hard": False,
        "@modelarts:hard_coefficient": 1.0,
        "@modelarts:import_origin": 0,
        "@modelarts:size": [640, 480, 3],
        "@modelarts:origin_source": f"s3://bucket/images/{_MARK}.jpg",
    },
    "sample_time": 1624014895314,
    "sample_status": "UN_ANNOTATION",
    "annotated_by": "",
}
_PIECES = json.dumps(_SAMPLE).encode().split(_MARK.encode())
SUCCESS = b'{"success":true}'


def head(status: str, length: int) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


class Proposals:
    """The list. Its samples are numbered from 0, and so are their ids."""

    def __init__(self) -> None:
        self.reset(0, "end", 0.0)

    def reset(self, number: int, leave: str, latency: float) -> None:
        self.number = number
        self.leaves_at_front = leave == "front"
        self.latency = latency
        self.written = self.requests = 0
        self.bytes_in = self.bytes_out = 0

    def page(self, offset: int, limit: int) -> bytes:
        left = self.number - self.written
        first = min(offset * limit, left)
        stop = min(first + limit, left)
        start = self.written if self.leaves_at_front else 0
        samples = b",".join((b"%032x" % number).join(_PIECES) for number in range(start + first, start + stop))
        body = b'{"sample_count":%d,"samples":[%b]}' % (left, samples)
        return head("200 OK", len(body)) + body

    def write(self, body: bytes) -> bytes:
        self.written += body.count(b'"sample_id"')
        return head("200 OK", len(SUCCESS)) + SUCCESS

    def report(self) -> bytes:
        names = ("number", "written", "requests", "bytes_in", "bytes_out")
        body = json.dumps({name: getattr(self, name) for name in names}).encode()
        return head("200 OK", len(body)) + body


class Connection(asyncio.Protocol):
    """One kept connection; requests come one after another."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            fields = bytes(self._buffer[:end]).lower()
            place = fields.find(b"content-length:")
            length = int(fields[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            method, target, _ = bytes(self._buffer[:end]).split(b"\r\n", 1)[0].decode().split(" ")
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            self._proposals.bytes_in += end + 4 + length
            del self._buffer[: end + 4 + length]
            self._serve(method, target, body)

    def _serve(self, method: str, target: str, body: bytes) -> None:
        proposals = self._proposals
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/report":
            self._send(proposals.report())
        elif parts.path == "/reset":
            proposals.reset(int(query["number"]), query["leave"], float(query["latency"]))
            self._send(proposals.report())
        else:
            proposals.requests += 1
            if method == "PUT":
                answer = proposals.write(body)
            else:
                answer = proposals.page(int(query.get("offset", 0)), int(query.get("limit", 10)))
            proposals.bytes_out += len(answer)
            if proposals.latency:
                asyncio.get_running_loop().call_later(proposals.latency, self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


class BareServer:
    """The server as a context manager, in a process of its own."""

    def __enter__(self) -> BareServer:
        command = [sys.executable, "-m", "tests.benchmarks.bare_server"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def reset(self, number: int, leave: str, latency: float) -> None:
        """Start from the beginning.

        :param number: proposals
        :param leave: "front" or "end": where what is written leaves the list
        :param latency: seconds that each answer takes
        """
        self._ask(f"reset?number={number}&leave={leave}&latency={latency}")

    def report(self) -> dict[str, int]:
        """Return what was served since it was started from the beginning."""
        return self._ask("report")

    def _ask(self, path: str) -> dict[str, int]:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self.port}/{path}", timeout=60) as answer:
            report: dict[str, int] = json.loads(answer.read())
        return report


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    proposals = Proposals()
    server = await loop.create_server(lambda: Connection(proposals), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
