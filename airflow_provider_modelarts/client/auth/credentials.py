"""Credentials: who calls. Plain data whose ``repr`` hides the secrets."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import validate_id


@dataclass(frozen=True)
class TokenCredentials:
    """A ready-made token; it cannot be renewed.

    :param token: as IAM gave it in ``X-Subject-Token``, scoped to the project
    :param project_id: the project it is scoped to
    :raises InvalidRequest: if a value is empty or cannot be sent
    """

    token: str = field(repr=False)
    project_id: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", _checked_header("token", self.token))
        validate_id("project_id", self.project_id)


@dataclass(frozen=True)
class AccessKeyCredentials:
    """An access key that signs every request.

    :param access_key: names the key
    :param secret_key: signs; it is never sent
    :param project_id: the project to work in
    :param security_token: comes with temporary keys
    :raises InvalidRequest: if a value is empty or cannot be sent
    """

    access_key: str
    secret_key: str = field(repr=False)
    project_id: str
    security_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("access_key", "secret_key", "security_token"):
            value = getattr(self, name)
            if name != "security_token" or value is not None:
                object.__setattr__(self, name, _checked_header(name, value))
        validate_id("project_id", self.project_id)


@dataclass(frozen=True)
class PasswordCredentials:
    """An IAM user with a password; tokens are fetched, kept and renewed.

    :param iam_endpoint: where IAM is reached, URL or host
    :param user: name of the IAM user
    :param password: its password
    :param domain: name of the account
    :param project_name: name of the project, for built-in ones the region; asked by name if no id is given
    :param project_id: id of the project; wins over the name
    :raises InvalidRequest: if endpoint, user, password or account is empty
    """

    iam_endpoint: str
    user: str
    password: str = field(repr=False)
    domain: str
    project_name: str | None = None
    project_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("iam_endpoint", "user", "password", "domain"):
            _checked_text(name, getattr(self, name))


Credentials = TokenCredentials | AccessKeyCredentials | PasswordCredentials
"""What a client takes to authorize its requests."""


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
