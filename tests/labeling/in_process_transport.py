"""Brings the real client to the emulator inside one process: no sockets, no threads of a server, no chance.

A request of the client goes to the emulator's own gateway; what the gateway does to a connection becomes what urllib3
would raise. So a simulation of a hundred requests takes a tenth of a second, and the same seed gives the same one.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ProtocolError

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.emulator.http.gateway import Gateway

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.labeling.simulated_process import SimulatedClock

URL = "http://127.0.0.1:1"

Carry = "Callable[[requests.PreparedRequest, Callable[[], requests.Response]], requests.Response]"


def client_of(emulator: Emulator, clock: SimulatedClock, carry: Carry) -> ModelArtsClient:
    """Return a client whose requests go to an emulator that is not started.

    :param carry: called for each request with a function that has it answered
    """
    credentials = PasswordCredentials(
        URL, emulator.user, emulator.password, emulator.domain, project_name=emulator.project_name
    )
    anything: Any = clock
    client = ModelArtsClient(URL, credentials, clock=anything)
    wire: Any = _Wire(emulator, carry)
    client._transport.route.session._way = lambda request, what: (wire, request.target)  # type: ignore[method-assign]
    return client


class _Wire:
    """Stands in for the connections to one host."""

    def __init__(self, emulator: Emulator, carry: Carry) -> None:
        self._carry = carry
        self._dropped = False
        self._gateway = Gateway(
            lambda: emulator._store,
            emulator.faults,
            emulator.journal,
            emulator.observers,
            drop=self._drop,
            place=lambda: URL,
        )

    def urlopen(self, method: str, target: str, body: bytes | None, headers: Any, **_: Any) -> Any:
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, URL + target, body
        request.headers = CaseInsensitiveDict(headers)
        response = self._carry(request, lambda: self._answer(request))
        return SimpleNamespace(status=response.status_code, headers=response.headers, data=response.content)

    def _drop(self, peer: object) -> None:
        self._dropped = True

    def _answer(self, request: requests.PreparedRequest) -> requests.Response:
        self._dropped = False
        sent = _Asgi(request)
        run_to_its_end(self._gateway(sent.scope, sent.receive, sent.send))
        if self._dropped and sent.status:
            raise ProtocolError("Connection broken: IncompleteRead")
        if self._dropped:
            raise ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))
        response = requests.Response()
        response.status_code = sent.status
        response.headers = CaseInsensitiveDict(sent.headers)
        response.url = request.url or ""
        response.request = request
        response._content = sent.body
        response._content_consumed = True  # type: ignore[attr-defined]  # there is nothing to read from
        return response


class _Asgi:
    """One request in the form that the gateway takes, and its answer."""

    def __init__(self, request: requests.PreparedRequest) -> None:
        parts = urlsplit(request.url or "")
        self.scope = {
            "type": "http",
            "method": request.method,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(_bytes(name).lower(), _bytes(value)) for name, value in request.headers.items()],
            "client": ("127.0.0.1", 1),
        }
        self._sent = _bytes(request.body or b"")
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._sent, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


def run_to_its_end(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing but its turn."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        return


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
