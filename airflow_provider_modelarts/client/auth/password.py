"""Tokens of password credentials: fetched once, kept, renewed early (contract 1.1, 1.2).

A process keeps one token for each credential and scope, whatever number of clients uses it.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import os
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.error_codes import STATUSES
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    ForeignAnswer,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.transport.response import Response, parse_response, redact
from airflow_provider_modelarts.client.transport.session import JSON, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_modelarts.client.auth.credentials import PasswordCredentials
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.session import HttpSession
    from airflow_provider_modelarts.client.validation import Endpoint

RENEW_BEFORE = 30 * 60
"""Seconds before its end at which a token is renewed (contract 1.2)."""

REFUSED_FOR = 10 * 60
"""Seconds for which a refused password is not sent again. Then it is: IAM may know it by now, and nobody restarts a
triggerer."""

_LOCKED_FOR = {"IAM.0061": 15 * 60}
_OF_IDS = STATUSES[404].advice
_OF_ACCOUNT = "Check user, account and project, and that the project is one of the user's."
_DEFAULT_LIFE = 60 * 60
_PAUSE = 60

_Scope = tuple[str, str]


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    project_id: str
    expires: float
    renew_at: float


class _FetchLock:
    """The lock under which a token is fetched, and how that failed.

    A failed fetch makes way for a new lock: who waits for this one is told of the failure, who comes later tries again.
    While IAM hangs, each of many threads would otherwise wait for a time-out of its own, one after another.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler may interrupt the thread that holds it
        self.error: ModelArtsError | None = None
        self.what = ""
        self.scope: _Scope | None = None  # whom the error concerns; None: IAM itself is at fault, so all scopes

    def told(self, what: str) -> ModelArtsError | None:
        """Return the error for another caller, who may have wanted the token of another project."""
        error = self.error
        return type(error)(error.message.replace(self.what, what), **error.details()) if error else None


class _Account:
    """What this process knows about one user and password: its tokens, and whether IAM has refused it."""

    def __init__(self) -> None:
        self.fetch = _FetchLock()
        self.tokens: dict[_Scope, _Token] = {}
        self.refused: tuple[float, AuthenticationError] | None = None
        # by scope and service: what one region refuses may be right for another
        self.useless_until: dict[tuple[_Scope, str], float] = {}


_accounts: dict[tuple[str, ...], _Account] = {}
_hash_key = os.urandom(32)


def forget_tokens() -> None:
    """Drop every token and every remembered refusal of this process, as a new process would begin."""
    _accounts.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    # a lock that another thread of the parent held would stay locked
    os.register_at_fork(after_in_child=forget_tokens)


class PasswordToken:
    """Authorizes by the token of a user and password, for the project ``("id", ...)`` or ``("name", ...)``."""

    def __init__(
        self,
        credentials: PasswordCredentials,
        endpoint: Endpoint,
        scope: _Scope,
        session: HttpSession,
        clock: Clock,
    ) -> None:
        self._credentials = credentials
        self._endpoint = endpoint
        self._scope = scope
        self._session = session
        self._clock = clock
        # a keyed hash tells passwords apart, so that the table of accounts holds none
        secret = credentials.password.encode("utf-8", "surrogatepass")
        digest = hmac.new(_hash_key, secret, hashlib.sha256).hexdigest()
        self._key = (endpoint.url, credentials.domain, credentials.user, digest)

    def project_id(self) -> str:
        """Return the id of the token's project: the one that addresses must name."""
        return self._token().project_id

    def known_project_id(self) -> str | None:
        """Return the same, if it was given or if a token was fetched before; else None."""
        kind, name = self._scope
        token = self._account.tokens.get(self._scope)
        if kind == "id":
            return name
        return None if token is None else token.project_id

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
        token = account.tokens.get(self._scope)
        is_replaced = token is not None and token.value != used
        if not is_replaced and self._clock.now() < account.useless_until.get((self._scope, request.endpoint.url), 0.0):
            return False
        self._obtain(account, lambda token: token.value != used)
        return True

    def renewal_failed(self, request: Request) -> None:
        """Fetch none for a while: a thousand waits must not each ask for a token that does not help."""
        self._account.useless_until[self._scope, request.endpoint.url] = self._clock.now() + _PAUSE

    @property
    def _account(self) -> _Account:
        return _accounts.get(self._key) or _accounts.setdefault(self._key, _Account())

    def _token(self) -> _Token:
        account, now = self._account, self._clock.now()
        token = account.tokens.get(self._scope)
        if token and now < token.renew_at:
            return token
        if token and now < token.expires:
            return self._renewed_early(account, token)
        return self._obtain(account, lambda token: now < token.renew_at)

    def _renewed_early(self, account: _Account, token: _Token) -> _Token:
        """Renew a token that still works: one thread does it, and if IAM is down the old one serves on."""
        fetch = account.fetch
        if not fetch.lock.acquire(blocking=False):
            return token
        try:
            newest = account.tokens.get(self._scope)
            return newest if newest and newest is not token else self._fetch(account, fetch)
        except ModelArtsError as error:
            if error.permanent:
                raise
            pause = max(_PAUSE, error.retry_after or 0.0)
            later = account.tokens[self._scope] = replace(token, renew_at=self._clock.now() + pause)
            return later
        finally:
            fetch.lock.release()

    def _obtain(self, account: _Account, is_good: Callable[[_Token], bool]) -> _Token:
        """Return the kept token if it is good, else fetch one; one thread at a time does, for all that wait."""
        while True:
            fetch = account.fetch
            with fetch.lock:
                token = account.tokens.get(self._scope)
                if token and is_good(token):
                    return token
                error = fetch.told(self._what)
                if error is None:
                    account.tokens.pop(self._scope, None)
                    return self._fetch(account, fetch)
                if fetch.scope in (None, self._scope):
                    raise error

    def _fetch(self, account: _Account, fetch: _FetchLock) -> _Token:
        """Get a token, and keep it or how that failed; copies of errors, which would keep the frames of the call."""
        if account.refused and self._clock.now() < account.refused[0]:
            raise _again(account.refused[1])
        try:
            token = self._ask()
        except AuthenticationError as error:
            pause = max(_LOCKED_FOR.get(error.code or "", REFUSED_FOR), error.retry_after or 0.0)
            account.refused = (self._clock.now() + pause, copy.copy(error))
            raise
        except ModelArtsError as error:
            if not error.permanent:
                fetch.what, fetch.scope = self._what, self._scope if isinstance(error, UnexpectedResponse) else None
                fetch.error = copy.copy(error)
                account.fetch = _FetchLock()
            raise
        account.tokens[self._scope] = token
        return token

    def _ask(self) -> _Token:
        """Send the password once: who needs the token repeats as a whole."""
        what, fields = self._what, {"Content-Type": f"{JSON};charset=utf8"}
        path, query = ("v3", "auth", "tokens"), (("nocatalog", "true"),)
        request = Request("POST", self._endpoint, path, query, fields, self._body())
        answer = self._session.send(request, what)
        try:
            content = parse_response(answer, what, self._hide, self._clock.now(), ("token",))
        except UnexpectedResponse as error:
            # whoever answers so may be anybody: the password is not sent there again and again
            raise ForeignAnswer(error.message, **error.details()) from None
        except NotFound as error:
            # it is the user or the project that is unknown: who waits for the token would take it for a lost sample
            raise PermissionDenied(error.message.replace(_OF_IDS, _OF_ACCOUNT), **error.details()) from None
        return self._read(answer, content)

    def _hide(self, text: str) -> str:
        return redact(text, self.secrets())

    @property
    def _what(self) -> str:
        name, value = self._scope
        user = f"user {self._credentials.user!r} of account {self._credentials.domain!r}"
        return f"get a token for {user} and project {name} {value!r} at {self._endpoint.url}"

    def _body(self) -> bytes:
        keys = self._credentials
        user = {"name": keys.user, "password": keys.password, "domain": {"name": keys.domain}}
        name, value = self._scope
        identity = {"methods": ["password"], "password": {"user": user}}
        return json.dumps({"auth": {"identity": identity, "scope": {"project": {name: value}}}}).encode()

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
    """Return the seconds that a token lives, by the service's own clock where the answer has both ends."""
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
    """Return a refusal for one more caller: one exception must not collect the tracebacks of many threads."""
    message = error.message.rstrip()
    note = " (It was refused before and is not sent again, so that the user is not locked; correct the connection.)"
    return AuthenticationError(message.removesuffix(note) + note, **error.details())
