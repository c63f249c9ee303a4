"""Puts a credential on requests (contract 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from airflow_provider_modelarts.client.auth.credentials import (
    AccessKeyCredentials,
    Credentials,
    PasswordCredentials,
    TokenCredentials,
)
from airflow_provider_modelarts.client.auth.password import PasswordToken
from airflow_provider_modelarts.client.auth.signing import signed_headers
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import Endpoint

if TYPE_CHECKING:
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.session import HttpSession, Request


class Authorizer(Protocol):
    """Puts one credential on requests; shared by the threads of a client."""

    def project_id(self) -> str:
        """Return the project whose id goes into addresses."""

    def known_project_id(self) -> str | None:
        """Return the same, if no request is needed for it; else None."""

    def headers(self, request: Request) -> dict[str, str]:
        """Return what to add to a request."""

    def renew(self, request: Request) -> bool:
        """Replace the token that a request carried and the service refused; False if there is no other one."""

    def renewal_failed(self, request: Request) -> None:
        """Note that the service refused the new token too, which a request carried."""

    def secrets(self) -> tuple[str, ...]:
        """Return texts that must never be quoted."""


def make_authorizer(
    credentials: Credentials,
    session: HttpSession,
    clock: Clock,
    *,
    project_id: str | None = None,
    allow_http: bool = False,
) -> Authorizer:
    """Return what authorizes requests by a credential; the session sends token requests, none of them yet.

    :raises InvalidRequest: if it is no credential, if IAM's address is wrong, or if no project is given
    """
    match credentials:
        case TokenCredentials():
            return _FixedToken(credentials.token, project_id or credentials.project_id)
        case AccessKeyCredentials():
            return _Signer(credentials, project_id or credentials.project_id, clock)
        case PasswordCredentials():
            wanted = project_id or credentials.project_id
            if not wanted and not credentials.project_name:
                raise InvalidRequest("Neither project_id nor project_name is given: tokens are made for one project.")
            scope = ("id", wanted) if wanted else ("name", str(credentials.project_name))
            endpoint = Endpoint(credentials.iam_endpoint, "iam_endpoint", allow_http=allow_http)
            return PasswordToken(credentials, endpoint, scope, session, clock)
    raise InvalidRequest(
        "credentials must be PasswordCredentials, AccessKeyCredentials or TokenCredentials, "
        f"not {type(credentials).__name__}."
    )


class _Unrenewable:
    """A credential that stays as it is."""

    _project_id: str

    def project_id(self) -> str:
        return self._project_id

    def known_project_id(self) -> str | None:
        return self._project_id

    def renew(self, request: Request) -> bool:
        del request
        return False

    def renewal_failed(self, request: Request) -> None:
        """Nothing was renewed."""


class _FixedToken(_Unrenewable):
    def __init__(self, token: str, project_id: str) -> None:
        self._token = token
        self._project_id = project_id

    def headers(self, request: Request) -> dict[str, str]:
        del request
        return {"X-Auth-Token": self._token}

    def secrets(self) -> tuple[str, ...]:
        return (self._token,)


class _Signer(_Unrenewable):
    def __init__(self, credentials: AccessKeyCredentials, project_id: str, clock: Clock) -> None:
        self._credentials = credentials
        self._project_id = project_id
        self._clock = clock

    def headers(self, request: Request) -> dict[str, str]:
        keys = self._credentials
        extra = {"X-Project-Id": self._project_id}
        if keys.security_token:
            extra["X-Security-Token"] = keys.security_token
        return signed_headers(request, keys.access_key, keys.secret_key, self._clock.now(), extra)

    def secrets(self) -> tuple[str, ...]:
        return (self._credentials.secret_key, self._credentials.security_token or "")
