"""The gateway: request ids, limits, faults, credentials, the journal (contract 10, row "Gateway")."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from airflow_provider_modelarts.emulator.api import iam
from airflow_provider_modelarts.emulator.api.console import PATH as CONSOLE
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.faults import replacement
from airflow_provider_modelarts.emulator.http.journal import Journal, Record
from airflow_provider_modelarts.emulator.http.messages import Call, Refusal, Reply
from airflow_provider_modelarts.emulator.http.routes import find_route
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.documents import PLACE
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from airflow_provider_modelarts.emulator.http.faults import Faults
    from airflow_provider_modelarts.emulator.state.store import Store

LOG = logging.getLogger(__name__)

BODY_LIMIT = 12 * 1024 * 1024  # contract 0: 12 MB
URI_LIMIT = 32 * 1024  # contract 0: 32 KB
IMAGES = "/obs/"
BESIDE = (IMAGES, CONSOLE)
"""What is neither of the two services: observers do not see it. Faults may hit images, not the page."""


class Gateway:
    """The ASGI application.

    :param store: returns the state to work on; a reset puts another one in its place.
    :param drop: resets the connection of a client, given its address and port.
    :param place: returns the emulator's own address, for image URLs.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        faults: Faults,
        journal: Journal,
        observers: list[Callable[[Record], None]],
        *,
        drop: Callable[[tuple[str, int]], None],
        place: Callable[[], str],
    ) -> None:
        self._store = store
        self._faults, self._journal, self._observers = faults, journal, observers
        self._drop, self._place = drop, place
        self._requests = 0
        self._window: tuple[int, int] = (0, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        call = await self._read(scope, receive)
        try:
            rule = None if call.path.startswith(CONSOLE) else self._faults.take(call)
            if rule is not None:
                call.fault, call.fault_args = rule.kind, rule.args
            reply = await self._reply(call)
        except Exception as error:  # noqa: BLE001 - conditions of rules and observers are functions of the user
            reply = self._own_failure(call, error)
        is_cut = call.fault == "truncated"
        if reply is not None:
            await self._send(send, call, reply, is_cut=is_cut)
        if reply is None or is_cut:
            self._drop(scope["client"])
            await receive()  # the disconnect; leaving before it would look like a forgotten answer to the server

    async def _read(self, scope: Scope, receive: Receive) -> Call:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= BODY_LIMIT:
                parts.append(chunk)
            if not message.get("more_body"):
                break
        self._requests += 1
        query_string = scope["query_string"].decode("latin-1")
        return Call(
            method=scope["method"],
            path=scope["path"],
            raw_path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
            query_string=query_string,
            query=dict(parse_qsl(query_string, keep_blank_values=True)),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=b"".join(parts),
            size=size,
            request_id=ids.hex_id(self._store().seed, "request", self._requests),
        )

    async def _reply(self, call: Call) -> Reply | None:
        """Return what is sent back, with the exchange noted; None: the connection is reset."""
        delay = call.fault_args.get("seconds", 0.1) if call.fault == "delay" else None
        is_late = call.fault_args.get("applied")
        if delay is not None and not is_late:
            await asyncio.sleep(delay)
        reply = None if call.fault == "reset" else replacement(call) or self._execute(call)
        if delay is not None and is_late:
            await asyncio.sleep(delay)
        is_reset = call.fault in ("reset", "reset_after")
        self._note(call, reply, is_reset=is_reset)
        return None if is_reset else reply

    def _execute(self, call: Call) -> Reply:
        """Return the reply of the service or of the gateway itself."""
        store = self._store()
        with store.lock:
            try:
                return self._serve(store, call)
            except UnknownObjectError as unknown:
                refusal = refuse(unknown.code, unknown.name, status=store.variants.unknown_status)
            except Refusal as error:
                refusal = error
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller must see that it is not the service's
                return self._own_failure(call, error)
            return refusal.reply(call.request_id, store.variants.code_prefix)

    def _own_failure(self, call: Call, error: Exception) -> Reply:
        """Log an error of the emulator itself, and return a reply that says whose error it is."""
        LOG.error("the emulator failed at %s %s", call.method, call.path, exc_info=error)
        text = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"The emulator itself failed; its log has the traceback. [{text}]"
        return Refusal(500, "APIGW.0601", message).reply(call.request_id, self._store().variants.code_prefix)

    def _serve(self, store: Store, call: Call) -> Reply:
        if call.fault == "expired_token":
            store.identity.tokens.pop(call.headers.get("x-auth-token", ""), None)
        elif call.fault == "revoke":
            store.identity.revoke()
        if call.size > BODY_LIMIT:
            raise refuse("ModelArts.4104")
        if len(call.raw_path) + len(call.query_string) > URI_LIMIT:
            raise Refusal(414, "APIGW.0201", "The URI is too long.")
        found = find_route(call.method, call.path)
        if found is None:
            raise refuse("APIGW.0101")
        if call.method == "GET" and (call.body or "content-length" in call.headers):
            raise refuse("APIGW.0201", "GET with a body")  # contract 0, row "GET requests"
        route, call.params = found
        if route.needs_project:
            self._throttle(store)
            iam.authenticate(store, call)
            # Datasets are known only in the project that holds them (contract 0: they lie below it).
            dataset_id = call.params.get("dataset_id")
            if dataset_id is not None and call.params["project_id"] != store.identity.project_id:
                raise UnknownObjectError("ModelArts.4352", dataset_id)
            unknown = sorted(set(call.query).difference(route.query))
            if unknown and store.variants.strict_requests:
                raise refuse("ModelArts.0104", f"{unknown[0]} is not known")
        return route.handler(store, call)

    def _throttle(self, store: Store) -> None:
        """Refuse what exceeds the optional rate limit (contract 10, row "Gateway")."""
        variants = store.variants
        if variants.rate_limit is None:
            return
        allowed, seconds = variants.rate_limit
        window = math.floor(store.clock.now() / seconds)
        used = self._window[1] if self._window[0] == window else 0
        self._window = (window, used + 1)
        if used >= allowed:
            headers = () if variants.retry_after is None else (("Retry-After", str(variants.retry_after)),)
            raise refuse("APIGW.0308", headers=headers)

    def _note(self, call: Call, reply: Reply | None, *, is_reset: bool) -> None:
        """Put the exchange into the journal and show it to the observers."""
        keep = self._journal.keep_bodies
        sent = reply or Reply(0)
        headers = {name.lower(): value for name, value in sent.headers}
        record = Record(
            method=call.method,
            path=call.path,
            query=call.query,
            headers=call.headers,
            body=call.body if keep else b"",
            status=0 if is_reset else sent.status,
            response=self._placed(sent.body) if keep else b"",
            time=self._store().clock.now(),
            fault=call.fault,
            request_id=call.request_id,
            response_headers=headers | {"x-request-id": call.request_id},
        )
        self._journal.append(record)
        if not call.path.startswith(BESIDE):
            for observer in self._observers:
                observer(record)

    def _placed(self, body: bytes) -> bytes:
        return body.replace(PLACE.encode(), self._place().encode())

    async def _send(self, send: Send, call: Call, reply: Reply, *, is_cut: bool) -> None:
        body = reply.body if call.path.startswith(IMAGES) else self._placed(reply.body)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers]
        headers.append((b"X-Request-Id", call.request_id.encode()))
        if reply.status == 204 and body:
            # Clients do not read the body of a 204; on a kept connection it would precede the next answer.
            headers.append((b"Connection", b"close"))
        if reply.status != 204 or body:
            headers.append((b"Content-Length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        body = body[: len(body) // 2] if is_cut else body
        await send({"type": "http.response.body", "body": body, "more_body": is_cut})
