"""Who is calling: credentials, and what they add to a request (contract 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from airflow_provider_modelarts.client.auth.password import PasswordToken, forget_tokens
from airflow_provider_modelarts.client.auth.signing import signed_headers
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import Endpoint, validate_id

if TYPE_CHECKING:
    from airflow_provider_modelarts.client.auth.password import SendToken
    from airflow_provider_modelarts.client.auth.refusals import SharedRefusals
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.session import Request

__all__ = [
    "AccessKeyCredentials",
    "Authorizer",
    "Credentials",
    "PasswordCredentials",
    "TokenCredentials",
    "forget_tokens",
]


class Authorizer(Protocol):
    """Puts one credential on requests; shared by the threads of a client."""

    def project_id(self) -> str:
        """Return the project whose id goes into addresses."""

    def headers(self, request: Request) -> dict[str, str]:
        """Return what to add to a request."""

    def renew(self, request: Request) -> bool:
        """Replace what a request carried and the service refused; False if there is nothing to replace it by."""

    def renewal_failed(self, request: Request) -> None:
        """Note that the replacement, which a request carried, was refused as well."""

    def secrets(self) -> tuple[str, ...]:
        """Return texts that must never be quoted."""


@runtime_checkable
class Credentials(Protocol):
    """What a client can be given to authorize its requests; plain data whose ``repr`` hides its secrets."""

    def authorizer(self, send: SendToken, clock: Clock, *, project_id: str | None, allow_http: bool) -> Authorizer:
        """Return the working side of this credential."""


def _checked_text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(f"{name} is empty: fill it in.")
    return value


def _checked_header(name: str, value: object) -> str:
    """Return text that fits into a header field; the value is not quoted, it is a secret."""
    text = _checked_text(name, value).strip()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise InvalidRequest(f"{name} holds characters that no {name} has: was it copied whole, without line breaks?")
    return text


@dataclass(frozen=True)
class TokenCredentials:
    """A ready-made token; it cannot be renewed.

    :param token: as IAM gave it in ``X-Subject-Token``, scoped to the project
    :param project_id: the project it is scoped to
    """

    token: str = field(repr=False)
    project_id: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", _checked_header("token", self.token))
        validate_id("project_id", self.project_id)

    def authorizer(self, send: SendToken, clock: Clock, *, project_id: str | None, allow_http: bool) -> Authorizer:
        """Return the working side of this credential."""
        del send, clock, allow_http
        return _FixedToken(self.token, project_id or self.project_id)


@dataclass(frozen=True)
class AccessKeyCredentials:
    """An access key that signs every request.

    :param access_key: names the key
    :param secret_key: signs; it never travels
    :param project_id: the project to work in
    :param security_token: comes with temporary keys
    """

    access_key: str
    secret_key: str = field(repr=False)
    project_id: str
    security_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access_key", _checked_header("access_key", self.access_key))
        object.__setattr__(self, "secret_key", _checked_header("secret_key", self.secret_key))
        if self.security_token is not None:
            object.__setattr__(self, "security_token", _checked_header("security_token", self.security_token))
        validate_id("project_id", self.project_id)

    def authorizer(self, send: SendToken, clock: Clock, *, project_id: str | None, allow_http: bool) -> Authorizer:
        """Return the working side of this credential."""
        del send, allow_http
        return _Signer(self, project_id or self.project_id, clock)


@dataclass(frozen=True)
class PasswordCredentials:
    """An IAM user with a password; tokens are fetched, kept and renewed.

    :param iam_endpoint: where IAM is reached, URL or host
    :param user: name of the IAM user
    :param password: its password
    :param domain: name of the account
    :param project_name: name of the project, for built-in ones the region; asked by name if no id is given
    :param project_id: id of the project; wins over the name
    :param refusals: where this machine's processes tell each other of a refused password; None: each finds out itself
    """

    iam_endpoint: str
    user: str
    password: str = field(repr=False)
    domain: str
    project_name: str | None = None
    project_id: str | None = None
    refusals: SharedRefusals | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("iam_endpoint", "user", "password", "domain"):
            _checked_text(name, getattr(self, name))

    def authorizer(self, send: SendToken, clock: Clock, *, project_id: str | None, allow_http: bool) -> Authorizer:
        """Return the working side of this credential."""
        wanted = project_id or self.project_id
        if not wanted and not self.project_name:
            raise InvalidRequest("Neither project_id nor project_name is given: tokens are made for one project.")
        scope = {"id": wanted} if wanted else {"name": str(self.project_name)}
        endpoint = Endpoint(self.iam_endpoint, "iam_endpoint", allow_http=allow_http)
        return PasswordToken(self, endpoint, scope, send, clock)


class _FixedToken:
    def __init__(self, token: str, project_id: str) -> None:
        self._token = token
        self._project_id = project_id

    def project_id(self) -> str:
        return self._project_id

    def headers(self, request: Request) -> dict[str, str]:
        del request
        return {"X-Auth-Token": self._token}

    def renew(self, request: Request) -> bool:
        del request
        return False

    def renewal_failed(self, request: Request) -> None:
        """Nothing was renewed."""

    def secrets(self) -> tuple[str, ...]:
        return (self._token,)


class _Signer:
    def __init__(self, credentials: AccessKeyCredentials, project_id: str, clock: Clock) -> None:
        self._credentials = credentials
        self._project_id = project_id
        self._clock = clock

    def project_id(self) -> str:
        return self._project_id

    def headers(self, request: Request) -> dict[str, str]:
        keys = self._credentials
        extra = {"X-Project-Id": self._project_id}
        if keys.security_token:
            extra["X-Security-Token"] = keys.security_token
        return signed_headers(request, keys.access_key, keys.secret_key, self._clock.now(), extra)

    def renew(self, request: Request) -> bool:
        del request
        return False

    def renewal_failed(self, request: Request) -> None:
        """Nothing was renewed."""

    def secrets(self) -> tuple[str, ...]:
        return (self._credentials.secret_key, self._credentials.security_token or "")
