"""A call to the service: authorized, repeated where that is safe, its errors mapped."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from airflow_provider_modelarts.client.error_codes import is_token_error
from airflow_provider_modelarts.client.errors import (
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    ServiceUnavailable,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.transport.response import parse_response, redact
from airflow_provider_modelarts.client.transport.session import JSON, HttpSession, Request
from airflow_provider_modelarts.client.validation import strict_json, validate_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from airflow_provider_modelarts.client.auth.credentials import Credentials
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.response import Response
    from airflow_provider_modelarts.client.validation import Endpoint

log = logging.getLogger(__name__)

Step = TypeVar("Step")

MAX_BODY = 12 * 1024 * 1024
"""Bytes that a body may have (contract 0)."""

LONGEST_PAUSE = 60.0
LONGEST_RETRY_AFTER = 120.0
"""Seconds that a call waits because the service asked for it; beyond that the caller decides, by ``retry_after``."""


def _not_executed(error: BaseException) -> bool:
    """Whether the request certainly was not carried out and may be later: no connection, or throttled."""
    return isinstance(error, Throttled) or (isinstance(error, ServiceUnavailable) and not error.sent)


def _passing(error: BaseException) -> bool:
    """Whether the same harmless request may succeed a moment later."""
    if isinstance(error, ForeignAnswer):
        return False
    return isinstance(error, (Throttled, ServiceUnavailable, UnexpectedResponse))


@dataclass(frozen=True)
class Policy:
    """When a request is sent again.

    :param again: which errors allow it
    :param attempts: how often it is sent at most
    """

    again: Callable[[BaseException], bool]
    attempts: int = 6

    def may_repeat(self, error: BaseException) -> bool:
        """Whether the policy allows another attempt after an error."""
        patient = getattr(error, "retry_after", None) or 0
        return patient <= LONGEST_RETRY_AFTER and self.again(error)


HARMLESS = Policy(_passing)
"""Reads, stops, deletes: sending them twice does no harm (contract 7.4)."""

WRITE = Policy(_not_executed)
"""Starts and label writes: again only if the first one certainly was not carried out."""


def once(policy: Policy) -> Policy:
    """Return a policy that sends once."""
    return replace(policy, attempts=1)


class Transport:
    """Calls one service with one credential; shared between threads.

    :param endpoint: where the service is
    :param credentials: who calls
    :param exchange: carries requests
    :param clock: sleeps between attempts
    :param project_id: wins over the credential's own
    :param allow_http: allow plain http to IAM on other hosts
    :param retries: False: every request is sent once, as a signal handler wants it
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        exchange: HttpSession,
        clock: Clock,
        *,
        project_id: str | None = None,
        allow_http: bool = False,
        retries: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self._exchange = exchange
        self._retries = retries
        self._authorizer = credentials.authorizer(self._send_token, clock, project_id=project_id, allow_http=allow_http)

    def project_id(self) -> str:
        """Return the project that addresses name; for a password credential this may fetch the token."""
        project_id: str = self._repeated(HARMLESS, self._authorizer.project_id)
        return project_id

    def get(
        self,
        what: str,
        *segments: str,
        query: Mapping[str, str | None] | None = None,
        retry: bool = True,
        own: Collection[str] = (),
    ) -> Any:
        """Read something below the project.

        :param what: what for, as in "list samples of dataset d": errors begin with "Cannot" and this
        :param segments: path below the project, not encoded
        :param query: parameters; those that are None are not sent
        :param retry: False: one attempt (a poll: the wait itself is the retry)
        :param own: keys with which an answer may name an error's code and is none; see :func:`~.response.json_of`
        :return: parsed JSON, a list or an object
        """
        policy = HARMLESS if retry else once(HARMLESS)
        return self.call("GET", what, *segments, query=query, policy=policy, own=own)

    def harmless(self, method: str, what: str, *segments: str) -> Any:
        """Send something without a body that may be sent twice, such as a stop; parameters as :meth:`get`."""
        return self.call(method, what, *segments, policy=HARMLESS)

    def write(
        self,
        method: str,
        what: str,
        *segments: str,
        body: Any,
        retry: bool = True,
        before_sending: Callable[[], None] | None = None,
        own: Collection[str] = (),
    ) -> Any:
        """Send something that must not be carried out twice unknowingly; parameters as :meth:`get`.

        :param body: what to send as JSON
        :param retry: False: one attempt
        :param before_sending: called each time that it is about to go out; see :meth:`call`
        :raises InvalidRequest: if it is no strict JSON or too large, before anything is sent
        """
        policy = WRITE if retry else once(WRITE)
        content = encoded(body, "the request")
        return self.call(method, what, *segments, policy=policy, body=content, before_sending=before_sending, own=own)

    def call(
        self,
        method: str,
        what: str,
        *segments: str,
        policy: Policy,
        query: Mapping[str, str | None] | None = None,
        body: bytes | None = None,
        before_sending: Callable[[], None] | None = None,
        own: Collection[str] = (),
    ) -> Any:
        """Send a request and return the JSON of its answer, None if there is none.

        :param method: HTTP method
        :param what: what for
        :param segments: path below the project, not encoded
        :param policy: when to send it again
        :param query: parameters; those that are None are not sent
        :param body: JSON text; see :func:`encoded`
        :param before_sending: called each time that the request is about to go out, after it was authorized, which may
            have taken a while; what it raises keeps the request from being sent, and comes through as it is
        :param own: keys with which an answer may name an error's code and is none
        :raises ModelArtsError: of the kind that the code table names
        """
        for segment in segments:
            validate_id("an id", segment)
        pairs = tuple((name, value) for name, value in (query or {}).items() if value is not None)
        headers = {} if body is None else {"Content-Type": JSON}
        return self._repeated(
            policy, lambda: self._authorized(method, segments, pairs, headers, body, what, before_sending, own)
        )

    def _authorized(
        self,
        method: str,
        segments: tuple[str, ...],
        query: tuple[tuple[str, str], ...],
        headers: dict[str, str],
        body: bytes | None,
        what: str,
        before_sending: Callable[[], None] | None,
        own: Collection[str],
    ) -> Any:
        """Send once; after a token error once more with a new token, for nothing was carried out."""
        path = ("v2", _beforehand(self._authorizer.project_id), *segments)
        request = Request(method, self.endpoint, path, query, headers, body)
        signed = request.with_headers(_beforehand(lambda: self._authorizer.headers(request)))
        if before_sending is not None:
            before_sending()
        try:
            return self._attempt(signed, what, own)[1]
        except ModelArtsError as error:
            if not is_token_error(error.status, error.code) or not _beforehand(lambda: self._authorizer.renew(signed)):
                raise
        renewed = request.with_headers(_beforehand(lambda: self._authorizer.headers(request)))
        if before_sending is not None:
            before_sending()
        try:
            return self._attempt(renewed, what, own)[1]
        except ModelArtsError as error:
            if is_token_error(error.status, error.code):
                self._authorizer.renewal_failed(renewed)
            raise

    def _attempt(self, request: Request, what: str, own: Collection[str]) -> tuple[Response, Any]:
        answer = self._exchange.send(request, what)
        return answer, parse_response(answer, what, partial(self._hide, request), self.clock.now(), own)

    def _hide(self, request: Request, text: str) -> str:
        carried = request.headers.get("X-Auth-Token", "")  # another thread may have replaced it meanwhile
        return redact(text, (*self._authorizer.secrets(), carried))

    def _repeated(self, policy: Policy, attempt: Callable[[], Any]) -> Any:
        if policy.attempts == 1 or not self._retries:
            return attempt()
        retrying = Retrying(
            stop=stop_after_attempt(policy.attempts),
            wait=_pause,
            retry=retry_if_exception(policy.may_repeat),
            sleep=self.clock.sleep,
            before_sleep=_log_pause,
            reraise=True,
        )
        began = self.clock.now()
        try:
            return retrying(attempt)
        except ModelArtsError as error:
            attempts = retrying.statistics["attempt_number"]
            if attempts > 1:
                error.add(f"It was tried {attempts} times in {self.clock.now() - began:.0f} s.")
            raise

    def _send_token(
        self, endpoint: Endpoint, make_body: Callable[[], dict[str, Any]], what: str
    ) -> tuple[Response, Any]:
        request = Request(
            "POST",
            endpoint,
            ("v3", "auth", "tokens"),
            (("nocatalog", "true"),),
            {"Content-Type": f"{JSON};charset=utf8"},
            encoded(make_body(), "the credential"),
        )
        # once: what needs the token is repeated as a whole
        return self._attempt(request, what, ("token",))


def _beforehand(step: Callable[[], Step]) -> Step:
    """Do what precedes a request; whatever fails in it, the request itself was not sent."""
    try:
        return step()
    except ModelArtsError as error:
        error.sent = False
        raise


def encoded(value: Any, name: str) -> bytes:
    """Return a body.

    :param value: what to send
    :param name: what to call it in an error
    :raises InvalidRequest: if it is no strict JSON, or larger than the service takes
    """
    body = strict_json(value, name).encode()
    if len(body) > MAX_BODY:
        raise InvalidRequest(f"{name} makes {len(body)} bytes, more than the {MAX_BODY} of a body: send less at once.")
    return body


def _pause(state: RetryCallState) -> float:
    """Return the seconds to wait: growing from one, scattered, and never less than the service asked for."""
    error = state.outcome.exception() if state.outcome else None
    grown = min(LONGEST_PAUSE, 2.0 ** (state.attempt_number - 1))
    scattered = grown * random.uniform(0.75, 1.25)  # noqa: S311 - scatters attempts, protects nothing
    return max(scattered, getattr(error, "retry_after", None) or 0)


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0
    log.warning("Trying again in %.0f s, attempt %d: %s", seconds, state.attempt_number + 1, error)
