"""Tokens of password credentials: fetched once, kept, renewed early (contract 1.1, 1.2).

They are kept per process, one for each credential and scope, whatever number of clients uses them.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_modelarts.client.auth.refusals import REMEMBERED
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    ForeignAnswer,
    ModelArtsError,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.forks import in_each_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_modelarts.client.auth.credentials import PasswordCredentials
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.response import Response
    from airflow_provider_modelarts.client.transport.session import Request
    from airflow_provider_modelarts.client.validation import Endpoint

    # the body is made by a function: values in frames end up in tools that show them
    SendToken = Callable[[Endpoint, Callable[[], dict[str, Any]], str], tuple[Response, Any]]

Found = TypeVar("Found")

RENEW_BEFORE = 30 * 60
"""Seconds before its end at which a token is renewed (contract 1.2)."""

_DEFAULT_LIFE = 60 * 60
_PAUSE = 60
_LOCKED_FOR = {"IAM.0061": 15 * 60}


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    project_id: str
    expires: float
    renew_at: float


@dataclass(frozen=True)
class _Failure:
    """A fetch that failed and may succeed later; those who waited for it are told.

    :param what: what was fetched
    :param scope: whom it concerns; None: IAM itself is at fault, so all scopes
    :param error: what happened
    """

    what: str
    scope: tuple[str, str] | None
    error: ModelArtsError

    def told(self, what: str) -> ModelArtsError:
        """Return the error for another caller, who may have wanted the token of another project."""
        error = self.error
        return type(error)(error.message.replace(self.what, what), **error.details())


class _Flight:
    """One thread's stay where tokens are fetched; each has a lock of its own, so that all who wait are let go at once.

    Of one lock for all, a thread that comes back at once is quicker to get hold than those that wait for it.
    """

    def __init__(self) -> None:
        # a signal handler of the thread that holds the lock must get through, hence re-entrant
        self.lock = threading.RLock()
        self.thread = threading.get_ident()
        self.failure: _Failure | None = None

    def wait(self) -> None:
        """Return when it is over."""
        with self.lock:
            pass


class _Account:
    """What this process knows about one user and password: its tokens, and whether IAM has refused it."""

    def __init__(self) -> None:
        self.tokens: dict[tuple[str, str], _Token] = {}
        self.refused: tuple[float, AuthenticationError] | None = None
        # by scope and service: what one region refuses may be right for another
        self.useless_until: dict[tuple[tuple[str, str], str], float] = {}
        self.has_turn = False
        self._flights: dict[str, _Flight] = {}  # one at most

    def alone(self, work: Callable[[_Flight], Found]) -> Found | _Flight:
        """Do what one thread at a time does, or return the flight of another thread that is doing so."""
        mine = _Flight()
        with mine.lock:
            try:
                # setdefault is atomic: no lock that a signal handler could find taken
                flight = self._flights.setdefault("", mine)
                if flight.thread == mine.thread:
                    return work(flight)
            finally:
                self.remove(mine)
        return flight

    def remove(self, flight: _Flight) -> None:
        """Make room for the next flight."""
        if self._flights.get("") is flight:
            self._flights.pop("", None)


class _Accounts:
    """All accounts of this process; a forked child begins anew, a lock held elsewhere would stay locked in it."""

    def __init__(self) -> None:
        self.forget()
        in_each_child(self.forget)

    def forget(self) -> None:
        """Drop all tokens and refusals."""
        self._key = os.urandom(32)
        self._accounts: dict[tuple[str, ...], _Account] = {}

    def of(self, credentials: PasswordCredentials, endpoint: Endpoint) -> _Account:
        """Return the account; passwords are told apart by a keyed hash, so that none is kept here."""
        digest = hmac.new(self._key, credentials.password.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        key = (endpoint.url, credentials.domain, credentials.user, digest)
        # atomic as well
        return self._accounts.setdefault(key, _Account())


_accounts = _Accounts()


def forget_tokens() -> None:
    """Drop every token and every remembered refusal of this process, as a new process would begin."""
    _accounts.forget()


class PasswordToken:
    """Authorizes by the token of a user and password.

    :param credentials: user and password
    :param endpoint: where IAM is
    :param scope: the project, ``{"id": ...}`` or ``{"name": ...}``
    :param send: sends a token request once
    :param clock: tells when a token is old
    """

    def __init__(
        self,
        credentials: PasswordCredentials,
        endpoint: Endpoint,
        scope: Mapping[str, str],
        send: SendToken,
        clock: Clock,
    ) -> None:
        self._credentials = credentials
        self._endpoint = endpoint
        self._scope = next(iter(scope.items()))
        self._send = send
        self._clock = clock

    def project_id(self) -> str:
        """Return the id of the token's project: the one that addresses must name."""
        return self._token().project_id

    def headers(self, request: Request) -> dict[str, str]:
        """Return the token's header field, after fetching or renewing the token if need be."""
        del request
        return {"X-Auth-Token": self._token().value}

    def secrets(self) -> tuple[str, ...]:
        """Return password and token."""
        token = self._account.tokens.get(self._scope)
        return (self._credentials.password, token.value if token else "")

    def renew(self, request: Request) -> bool:
        """Fetch a new token in place of the one that a request carried, unless another thread has done so."""
        account, used = self._account, request.headers.get("X-Auth-Token")

        def replaced() -> bool | None:
            token = account.tokens.get(self._scope)
            if token and token.value != used:
                return True
            useless = self._clock.now() < account.useless_until.get((self._scope, request.endpoint.url), 0.0)
            return False if useless else None

        def replace(flight: _Flight) -> bool:
            account.tokens.pop(self._scope, None)
            self._fetch(account, flight)
            return True

        return self._single(account, replaced, replace)

    def renewal_failed(self, request: Request) -> None:
        """Fetch none for a while: a thousand waits must not each ask for a token that does not help."""
        self._account.useless_until[self._scope, request.endpoint.url] = self._clock.now() + _PAUSE

    @property
    def _account(self) -> _Account:
        return _accounts.of(self._credentials, self._endpoint)

    def _token(self) -> _Token:
        account, now = self._account, self._clock.now()
        token = account.tokens.get(self._scope)
        if token and now < token.renew_at:
            return token
        if token and now < token.expires:
            return self._renewed_early(account, token)

        def fetched() -> _Token | None:
            token = account.tokens.get(self._scope)
            return token if token and now < token.renew_at else None

        return self._single(account, fetched, lambda flight: self._fetch(account, flight))

    def _renewed_early(self, account: _Account, token: _Token) -> _Token:
        """Renew a token that still works: one thread does it, and if IAM is down the old one serves on."""

        def renew(flight: _Flight) -> _Token:
            newest = account.tokens.get(self._scope)
            if newest and newest is not token:
                return newest
            try:
                return self._fetch(account, flight)
            except ModelArtsError as error:
                if error.permanent:
                    raise
                later = _Token(token.value, token.project_id, token.expires, self._clock.now() + _PAUSE)
                account.tokens[self._scope] = later
                return later

        result = account.alone(renew)
        return token if isinstance(result, _Flight) else result

    def _single(self, account: _Account, find: Callable[[], Found | None], fetch: Callable[[_Flight], Found]) -> Found:
        """Return what is found or else fetched, by one thread for all that wait for it.

        If it fails, it failed for those that waited too: while IAM hangs, each of many threads would else spend a
        time-out of its own, one after another.

        :param find: looks; None: it is to be fetched
        :param fetch: fetches
        """

        def found_or_fetched(flight: _Flight) -> Found:
            found = find()
            return fetch(flight) if found is None else found

        while True:
            result = account.alone(found_or_fetched)
            if not isinstance(result, _Flight):
                return result
            result.wait()
            account.remove(result)  # if its thread was torn out of it before it could
            found = find()
            if found is not None:
                return found
            if result.failure and result.failure.scope in (None, self._scope):
                raise result.failure.told(self._what)

    def _fetch(self, account: _Account, flight: _Flight) -> _Token:
        """Get a token; one thread at a time does."""
        if account.refused and self._clock.now() < account.refused[0]:
            raise _again(account.refused[1])
        self._recall()
        with self._turn(account):
            self._recall()  # once more: another process may just have been refused
            try:
                token = self._ask(account)
            except ModelArtsError as error:
                if not error.permanent:
                    scope = self._scope if isinstance(error, UnexpectedResponse) else None
                    # a copy: the original keeps the frames of this call alive
                    flight.failure = _Failure(self._what, scope, copy.copy(error))
                raise
        account.tokens[self._scope] = token
        return token

    def _recall(self) -> None:
        """Raise the refusal of which another process has told."""
        shared = self._credentials.refusals
        told = shared.recall(self._credentials, self._clock.now()) if shared else None
        if told:
            raise _again(told)

    @contextmanager
    def _turn(self, account: _Account) -> Iterator[None]:
        """Keep other processes from asking meanwhile; a signal handler must not wait for the thread it interrupts."""
        shared = self._credentials.refusals
        if not shared or account.has_turn:
            yield
            return
        account.has_turn = True
        try:
            with shared.turn(self._credentials, self._clock):
                yield
        finally:
            account.has_turn = False

    def _ask(self, account: _Account) -> _Token:
        """Send the password once, and tell the other processes what IAM says to it."""
        shared = self._credentials.refusals
        try:
            answer, content = self._send(self._endpoint, self._body, self._what)
        except AuthenticationError as error:
            # a copy: the original keeps the frames of this call alive
            remembered = AuthenticationError(error.message, **error.details())
            account.refused = (self._clock.now() + _LOCKED_FOR.get(error.code or "", REMEMBERED), remembered)
            if shared:
                shared.note(self._credentials, remembered, self._clock.now())
            raise
        except UnexpectedResponse as error:
            # whoever answers so may be anybody: the password is not sent there again and again
            raise ForeignAnswer(error.message, **error.details()) from None
        if shared:
            shared.forget(self._credentials)
        return self._read(answer, content)

    @property
    def _what(self) -> str:
        name, value = self._scope
        user = f"user {self._credentials.user!r} of account {self._credentials.domain!r}"
        return f"get a token for {user} and project {name} {value!r} at {self._endpoint.url}"

    def _body(self) -> dict[str, Any]:
        keys = self._credentials
        user = {"name": keys.user, "password": keys.password, "domain": {"name": keys.domain}}
        name, value = self._scope
        return {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {name: value}},
            }
        }

    def _read(self, answer: Response, content: Any) -> _Token:
        value = answer.headers.get("X-Subject-Token", "").strip()
        token = content.get("token") if isinstance(content, dict) else None
        token = token if isinstance(token, dict) else {}
        project = token.get("project")
        project_id = project.get("id") if isinstance(project, dict) else None
        missing = "X-Subject-Token" if not value else "token.project.id" if not project_id else None
        if missing:
            raise ForeignAnswer(
                f"Cannot {self._what}: the answer lacks {missing}. Check that iam_endpoint is an IAM v3 API "
                "and that the project exists.",
                status=answer.status,
                request_id=answer.headers.get("X-Request-Id"),
            )
        now = self._clock.now()
        life = _life(token, now)
        return _Token(value, str(project_id), now + life, now + life - min(RENEW_BEFORE, life / 2))


def _life(token: Mapping[str, Any], now: float) -> float:
    """Return how long a token lives, by the service's own clock where it tells both ends."""
    ends, begins = _moment(token.get("expires_at")), _moment(token.get("issued_at"))
    if ends is None:
        return _DEFAULT_LIFE
    return max(ends - (now if begins is None else begins), 0.0)


def _moment(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _again(error: AuthenticationError) -> AuthenticationError:
    """Return the refusal for another caller: one exception must not collect the tracebacks of many threads."""
    message = error.message.rstrip()
    note = " (It was refused before and is not sent again, so that the user is not locked; correct the connection.)"
    return AuthenticationError(message.removesuffix(note) + note, **error.details())
