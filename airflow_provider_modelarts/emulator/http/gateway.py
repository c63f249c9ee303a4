"""The door: request ids, limits, faults, credentials, the journal (contract 10, row "Gateway")."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from airflow_provider_modelarts.emulator.api.console import PATH as CONSOLE
from airflow_provider_modelarts.emulator.http.errors import refuse, refuse_at_gateway
from airflow_provider_modelarts.emulator.http.journal import Journal, Record
from airflow_provider_modelarts.emulator.http.messages import Call, Refusal, Reply, Spoiled, dump_json
from airflow_provider_modelarts.emulator.http.routes import Routes
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.documents import PLACE
from airflow_provider_modelarts.emulator.state.task import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from airflow_provider_modelarts.emulator.http.faults import Faults, Rule
    from airflow_provider_modelarts.emulator.state.store import Store

LOG = logging.getLogger(__name__)

BODY_LIMIT = 12 * 1024 * 1024  # contract 0: 12 MB
URI_LIMIT = 32 * 1024  # contract 0: 32 KB
HTML = b"<html><head><title>%d</title></head><body><h1>%d Bad Gateway</h1><hr>proxy</body></html>\n"
IMAGES = "/obs/"
BESIDE = (IMAGES, CONSOLE)
"""What is neither of the two services: observers do not see it. Faults may strike images, not the page."""

# What an injected status says when the rule does not: code and text by status (contract 7.2, 7.3).
DEFAULT_CODES = {
    400: ("ModelArts.0104", "Parameter error."),
    401: ("APIGW.0301", "Incorrect IAM authentication information."),
    403: ("ModelArts.0108", "No permission."),
    404: ("APIGW.0101", "The API does not exist or has not been published in the environment."),
    413: ("ModelArts.4104", "The request body is too large."),
    429: ("APIGW.0308", "The throttling threshold has been reached."),
    500: ("APIGW.0601", "Internal server error."),
    502: ("APIGW.0610", "No backend available."),
    503: ("APIGW.0613", "The IAM service is temporarily unavailable."),
    504: ("APIGW.0201", "Backend timeout."),
}


class Gateway:
    """The ASGI application.

    :param service: returns the state to work on; a reset puts another one in its place.
    :param drop: resets the connection of a client, given its address and port.
    :param place: returns the emulator's own address, for image URLs.
    """

    def __init__(
        self,
        service: Callable[[], Store],
        faults: Faults,
        journal: Journal,
        observers: list[Callable[[Record], None]],
        *,
        drop: Callable[[tuple[str, int]], None],
        place: Callable[[], str],
    ) -> None:
        self._current_service = service
        self._faults, self._journal, self._observers = faults, journal, observers
        self._drop, self._place = drop, place
        self._routes = Routes()
        self._requests = 0
        self._window: tuple[int, int] = (0, 0)

    @property
    def _service(self) -> Store:
        return self._current_service()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        call, is_too_large = await self._read(scope, receive)
        rule = None
        try:
            rule = None if call.path.startswith(CONSOLE) else self._faults.take(call)
            answer = await self._answer(scope, call, rule, is_too_large=is_too_large)
        except Exception as error:  # noqa: BLE001 - conditions of rules and observers are functions of the user
            answer = self._own_failure(call, error)
        if answer is None:
            await self._reset(scope, receive)
            return
        is_cut = rule is not None and rule.kind == "truncated"
        await self._send(send, call, answer, is_cut=is_cut)
        if is_cut:
            await self._reset(scope, receive)

    async def _answer(self, scope: Scope, call: Call, rule: Rule | None, *, is_too_large: bool) -> Reply | None:
        """Return what is sent back, with the exchange noted; None: the connection is reset."""
        if rule is not None and rule.kind == "delay" and not rule.args.get("applied"):
            await asyncio.sleep(rule.args.get("seconds", 0.1))
        answer = None
        if rule is None or rule.kind != "reset":
            answer = self._replacement(call, rule) or self._execute(scope, call, rule, is_too_large=is_too_large)
        if rule is not None and rule.kind == "delay" and rule.args.get("applied"):
            await asyncio.sleep(rule.args.get("seconds", 0.1))
        is_reset = answer is None or (rule is not None and rule.kind == "reset_after")
        self._note(call, answer, rule, is_reset=is_reset)
        return None if is_reset else answer

    async def _reset(self, scope: Scope, receive: Receive) -> None:
        self._drop(scope["client"])
        await receive()  # the disconnect; leaving before it would look like a forgotten answer to the server

    async def _read(self, scope: Scope, receive: Receive) -> tuple[Call, bool]:
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
        call = Call(
            method=scope["method"],
            path=scope["path"],
            raw_path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
            query_string=query_string,
            query=dict(parse_qsl(query_string, keep_blank_values=True)),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=b"".join(parts),
            request_id=ids.hex_id(self._service.seed, "request", self._requests),
        )
        return call, size > BODY_LIMIT

    def _replacement(self, call: Call, rule: Rule | None) -> Reply | None:
        """Return what a fault answers instead of the service, which then does not execute the request."""
        if rule is None:
            return None
        if rule.kind == "html":
            status = rule.args.get("status", 502)
            return Reply(status, HTML % (status, status), (("Content-Type", "text/html"),))
        if rule.kind != "status":
            return None
        status = rule.args.get("status", 503)
        code, message = DEFAULT_CODES.get(status, ("ModelArts.0100", "Injected fault."))
        body = rule.args.get("body")
        if body is None:
            body = dump_json(
                {
                    "error_code": rule.args.get("code", code),
                    "error_msg": rule.args.get("message", message),
                    "request_id": call.request_id,
                }
            )
        elif isinstance(body, str):
            body = body.encode()
        headers = {"Content-Type": "application/json; charset=UTF-8"} | dict(rule.args.get("headers") or {})
        return Reply(status, body, tuple((name, str(value)) for name, value in headers.items()))

    def _execute(self, scope: Scope, call: Call, rule: Rule | None, *, is_too_large: bool) -> Reply:
        with self._service.lock:
            if rule is not None:
                self._prepare(call, rule)
            try:
                return self._serve(scope, call, is_too_large=is_too_large)
            except Refusal as refusal:
                return refusal.answer(call.request_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller must see that it is not the service's
                return self._own_failure(call, error)

    def _own_failure(self, call: Call, error: Exception) -> Reply:
        """Log an error of the emulator itself, and return an answer that says whose error it is."""
        LOG.error("the emulator failed at %s %s", call.method, call.path, exc_info=error)
        prefix = self._service.variants.code_prefix
        text = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"The emulator itself failed; its log has the traceback. [{text}]"
        return Refusal(500, f"{prefix}0601", message, shape="gateway").answer(call.request_id)

    def _prepare(self, call: Call, rule: Rule) -> None:
        """Let a fault act before the request is executed."""
        identity = self._service.identity
        args = rule.args
        if rule.kind == "expired_token":
            identity.expire(call.headers.get("x-auth-token", ""))
        elif rule.kind == "revoke":
            identity.revoke()
        elif rule.kind == "fail_sample":
            position = args.get("position", None if "sample_id" in args else 0)
            call.spoiled = Spoiled(
                position,
                args.get("sample_id"),
                args.get("code", Spoiled.code),
                args.get("message", Spoiled.message),
            )
        elif rule.kind == "results":
            call.spoiled = Spoiled(results=args.get("form", "short"))
        elif rule.kind == "fail_task":
            call.doom = Failure(
                args.get("code", "ModelArts.4917"),
                args.get("message", "The auto labeling job failed."),
                args.get("detail", "Injected fault."),
            )

    def _serve(self, scope: Scope, call: Call, *, is_too_large: bool) -> Reply:
        prefix = self._service.variants.code_prefix
        if is_too_large:
            raise refuse("4104")
        if len(call.raw_path) + len(call.query_string) > URI_LIMIT:
            raise Refusal(414, f"{prefix}0201", "The URI is too long.", shape="gateway")
        found = self._routes.find(scope)
        if found is None:
            raise refuse_at_gateway("0101", prefix=prefix)
        if call.method == "GET" and (call.body or "content-length" in call.headers):
            # Contract 0, row "GET requests".
            raise refuse_at_gateway("0201", "GET with a body", prefix=prefix)
        call.params = found.params
        if found.needs_project:
            self._throttle()
            self._service.identity.authenticate(call)
            self._check_project(call)
            unknown = sorted(set(call.query) - found.query)
            if unknown and self._service.variants.strict_requests:
                raise refuse("0104", f"{unknown[0]} is not known")
        return found.handler(self._service, call)

    def _check_project(self, call: Call) -> None:
        """Know datasets in the project only that holds them (contract 0: they lie below it)."""
        dataset_id = call.params.get("dataset_id")
        if dataset_id is not None and not self._service.holds_datasets(call.params["project_id"]):
            raise self._service.unknown("4352", dataset_id)

    def _throttle(self) -> None:
        """Refuse what exceeds the optional rate limit (contract 10, row "Gateway")."""
        variants = self._service.variants
        if variants.rate_limit is None:
            return
        allowed, seconds = variants.rate_limit
        window = math.floor(self._service.clock.now() / seconds)
        used = self._window[1] if self._window[0] == window else 0
        self._window = (window, used + 1)
        if used >= allowed:
            headers = () if variants.retry_after is None else (("Retry-After", str(variants.retry_after)),)
            raise refuse_at_gateway("0308", headers=headers, prefix=variants.code_prefix)

    def _note(self, call: Call, answer: Reply | None, rule: Rule | None, *, is_reset: bool) -> None:
        keep = self._journal.keep_bodies
        record = Record(
            method=call.method,
            path=call.path,
            query=call.query,
            headers=call.headers,
            body=call.body if keep else b"",
            status=0 if answer is None or is_reset else answer.status,
            response=self._placed(answer.body) if answer is not None and keep else b"",
            time=self._service.clock.now(),
            fault=rule.kind if rule else None,
            request_id=call.request_id,
            response_headers=_lowered(answer, call.request_id),
        )
        self._journal.append(record)
        if call.path.startswith(BESIDE):
            return
        for observer in self._observers:
            observer(record)

    def _placed(self, body: bytes) -> bytes:
        return body.replace(PLACE.encode(), self._place().encode())

    async def _send(self, send: Send, call: Call, answer: Reply, *, is_cut: bool) -> None:
        body = answer.body if call.path.startswith(IMAGES) else self._placed(answer.body)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
        headers.append((b"X-Request-Id", call.request_id.encode()))
        if answer.status == 204 and body:
            # Clients do not read the body of a 204; on a kept connection it would precede the next answer.
            headers.append((b"Connection", b"close"))
        if answer.status != 204 or body:
            headers.append((b"Content-Length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if is_cut:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        await send({"type": "http.response.body", "body": body})


def _lowered(answer: Reply | None, request_id: str) -> dict[str, str]:
    sent = dict(answer.headers) if answer is not None else {}
    return {name.lower(): value for name, value in {**sent, "X-Request-Id": request_id}.items()}
