"""A call to the service: authorized, repeated where that is safe, its errors mapped."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from airflow_provider_modelarts.client.auth.authorizers import make_authorizer
from airflow_provider_modelarts.client.error_codes import is_token_error
from airflow_provider_modelarts.client.errors import (
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    ServiceUnavailable,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.client.transport.response import parse_response, redact
from airflow_provider_modelarts.client.transport.session import JSON, HttpSession, Request
from airflow_provider_modelarts.client.validation import Endpoint, strict_json, validate_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_modelarts.client.auth.authorizers import Authorizer
    from airflow_provider_modelarts.client.auth.credentials import Credentials
    from airflow_provider_modelarts.client.clock import Clock

log = logging.getLogger(__name__)

Step = TypeVar("Step")

MAX_BODY = 12 * 1024 * 1024
"""Bytes that a body may have (contract 0)."""

ATTEMPTS = 6
LONGEST_PAUSE = 60.0
LONGEST_RETRY_AFTER = 120.0
"""Seconds that a call waits because the service asked for it; beyond that the caller decides, by ``retry_after``."""


def _may_repeat_harmless(error: BaseException) -> bool:
    """Whether a read, stop or delete may succeed a moment later; sent twice it does no harm (contract 7.4)."""
    is_passing = isinstance(error, (Throttled, ServiceUnavailable, UnexpectedResponse))
    return is_passing and not isinstance(error, ForeignAnswer)


def _may_repeat_write(error: BaseException) -> bool:
    """Whether a start or a label write certainly was not carried out and may be later: no connection, or throttled."""
    return isinstance(error, Throttled) or (isinstance(error, ServiceUnavailable) and not error.sent)


@dataclass(frozen=True)
class ClientSettings:
    """Where the service is, and who calls; parameters as of :class:`~.client.ModelArtsClient`."""

    endpoint: str
    credentials: Credentials
    project_id: str | None = None
    timeout: float | tuple[float, float] = (5, 30)
    verify: bool | str = True
    allow_http: bool = False
    pool_size: int = 64


Refresh = Callable[[ModelArtsError | None], ClientSettings]
"""Returns the settings to use: called with None before each request, and with the error after a failed one.

The same object as before stands for no change.
"""


class Route:
    """The way to the service by one client's settings: address, kept connections, authorization."""

    def __init__(self, settings: ClientSettings, clock: Clock) -> None:
        if settings.project_id is not None:
            validate_id("project_id", settings.project_id)
        self.settings = settings
        self.endpoint = Endpoint(settings.endpoint, allow_http=settings.allow_http)
        self.session = HttpSession(settings.timeout, settings.verify, settings.pool_size)
        self.authorizer = make_authorizer(
            settings.credentials,
            self.session,
            clock,
            project_id=settings.project_id,
            allow_http=settings.allow_http,
        )


class Transport:
    """Calls the service: authorizes, retries, and follows settings that change; shared between threads.

    Parameters as of :class:`~.client.ModelArtsClient`.
    """

    def __init__(self, settings: ClientSettings, clock: Clock, *, retries: bool, refresh: Refresh | None) -> None:
        self.clock = clock
        self._retries = retries
        self.refresh = refresh
        self.route = Route(settings, clock)
        self.throttled = 0
        """How many answers asked for fewer requests."""
        self._counting = threading.Lock()

    def project_id(self) -> str:
        """Return the project that addresses name; for a password credential this may fetch the token."""
        project_id: str = self._repeated(
            _may_repeat_harmless, ATTEMPTS, lambda route: _beforehand(route.authorizer.project_id)
        )
        return project_id

    def known_project_id(self) -> str | None:
        """Return the project if no request is needed for that; else None."""
        return self.route.authorizer.known_project_id()

    def get(
        self,
        what: str,
        *segments: str,
        query: Mapping[str, str | None] | None = None,
        retry: bool = True,
        own: Collection[str] = (),
        parse: Callable[[bytes], Any] = parse_json,
    ) -> Any:
        """Read something below the project; return the parsed JSON.

        :param what: what for, as in "list samples of dataset d": errors begin with "Cannot" and this
        :param segments: path below the project, not encoded
        :param query: parameters; those that are None are not sent
        :param retry: False: one attempt (a poll: the wait itself is the retry)
        :param own: keys with which an answer may name an error's code and is none; see ``parse_response``
        :param parse: reads the body of an answer, see ``parse_response``
        """
        options: Any = {"retry": retry, "query": _pairs(query), "own": own, "parse": parse}
        return self._call("GET", what, segments, _may_repeat_harmless, **options)

    def harmless(self, method: str, what: str, *segments: str) -> Any:
        """Send something without a body that may be sent twice, such as a stop; parameters as :meth:`get`."""
        return self._call(method, what, segments, _may_repeat_harmless)

    def write(
        self,
        method: str,
        what: str,
        *segments: str,
        body: Any = None,
        query: Mapping[str, str | None] | None = None,
        retry: bool = True,
        before_sending: Callable[[], None] | None = None,
        own: Collection[str] = (),
    ) -> Any:
        """Send something that must not be carried out twice unknowingly; parameters as :meth:`get`.

        :param body: what to send as JSON; bytes are JSON already; None: nothing
        :param retry: False: one attempt
        :param before_sending: called each time that the request is about to go out, after it was authorized, which may
            have taken a while; what it raises keeps the request from being sent, and comes through as it is
        :raises InvalidRequest: if it is no strict JSON or too large, before anything is sent
        """
        options: Any = {"retry": retry, "before_sending": before_sending, "own": own, "query": _pairs(query)}
        sent = None if body is None else encoded(body, "the request")
        return self._call(method, what, segments, _may_repeat_write, body=sent, **options)

    def _call(
        self,
        method: str,
        what: str,
        segments: tuple[str, ...],
        may_repeat: Callable[[BaseException], bool],
        *,
        retry: bool = True,
        query: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        before_sending: Callable[[], None] | None = None,
        own: Collection[str] = (),
        parse: Callable[[bytes], Any] = parse_json,
    ) -> Any:
        """Send a request and return the JSON of its answer, None if there is none."""
        for segment in segments:
            validate_id("an id", segment)
        fields = {} if body is None else {"Content-Type": JSON}

        def send(route: Route) -> Any:
            path = ("v2", _beforehand(route.authorizer.project_id), *segments)
            request = Request(method, route.endpoint, path, query, fields, body)
            return self._send(route, request, what, before_sending, own, parse)

        return self._repeated(may_repeat, ATTEMPTS if retry else 1, send)

    def _send(
        self,
        route: Route,
        request: Request,
        what: str,
        before_sending: Callable[[], None] | None,
        own: Collection[str],
        parse: Callable[[bytes], Any],
    ) -> Any:
        """Send once; after a token error once more with a new token, for nothing was carried out."""
        authorizer, is_renewed = route.authorizer, False
        while True:
            signed = request.with_headers(_beforehand(partial(authorizer.headers, request)))
            if before_sending is not None:
                before_sending()
            answer = route.session.send(signed, what)
            try:
                return parse_response(answer, what, partial(_hide, authorizer, signed), self.clock.now(), own, parse)
            except ModelArtsError as error:
                if isinstance(error, Throttled):
                    with self._counting:
                        self.throttled += 1
                if not is_token_error(error.status, error.code):
                    raise
                if is_renewed:
                    authorizer.renewal_failed(signed)
                if is_renewed or not _beforehand(partial(authorizer.renew, signed)):
                    raise
            is_renewed = True

    def _repeated(
        self, may_repeat: Callable[[BaseException], bool], attempts: int, attempt: Callable[[Route], Any]
    ) -> Any:
        """Make attempts until one succeeds, or fails with what may not be repeated."""
        if attempts == 1 or not self._retries:
            return self._routed(attempt)
        retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=_pause,
            retry=retry_if_exception(lambda error: _is_soon(error) and may_repeat(error)),
            sleep=self.clock.sleep,
            before_sleep=_log_pause,
            reraise=True,
        )
        began = self.clock.now()
        try:
            return retrying(self._routed, attempt)
        except ModelArtsError as error:
            made = retrying.statistics["attempt_number"]
            if made > 1:
                error.add(f"It was tried {made} times in {self.clock.now() - began:.0f} s.")
            raise

    def _routed(self, attempt: Callable[[Route], Any]) -> Any:
        """Make an attempt; if it fails and the settings have changed, one more by the new ones.

        Only where the service certainly did not carry the request out; else the next request uses them.
        """
        route = self.follow()
        try:
            return attempt(route)
        except ModelArtsError as error:
            changed = self.route if self.route is not route else self.follow(error)
            if changed is route or not error.certainly_not_executed:
                raise
        return attempt(changed)

    def follow(self, error: ModelArtsError | None = None) -> Route:
        """Return the route by the settings as they are now; see :data:`Refresh`."""
        if self.refresh is not None:
            settings = _beforehand(partial(self.refresh, error))
            if settings is not self.route.settings:
                self.route = Route(settings, self.clock)
        return self.route


def _pairs(query: Mapping[str, str | None] | None) -> tuple[tuple[str, str], ...]:
    """Return the parameters that are given."""
    return tuple((name, value) for name, value in (query or {}).items() if value is not None)


def _hide(authorizer: Authorizer, request: Request, text: str) -> str:
    """Take secrets out of a text, also the token that a request carried: another thread may have replaced it."""
    return redact(text, (*authorizer.secrets(), request.headers.get("X-Auth-Token", "")))


def _beforehand(step: Callable[[], Step]) -> Step:
    """Do what precedes a request; whatever fails in it, the request itself was not sent."""
    try:
        return step()
    except ModelArtsError as error:
        error.sent = False
        raise


def encoded(value: Any, name: str) -> bytes:
    """Return a body, which may be encoded already.

    :raises InvalidRequest: if it is no strict JSON, or larger than the service takes
    """
    body = value if isinstance(value, bytes) else strict_json(value, name).encode()
    if len(body) > MAX_BODY:
        raise InvalidRequest(f"{name} makes {len(body)} bytes, more than the {MAX_BODY} of a body: send less at once.")
    return body


def _is_soon(error: BaseException) -> bool:
    return (getattr(error, "retry_after", None) or 0) <= LONGEST_RETRY_AFTER


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
