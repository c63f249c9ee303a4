"""Reads an Airflow connection of type ``modelarts`` into checked settings. Pure: nothing is sent or looked up.

Which fields there are stands in ``hooks/connection_form.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.regions import address_of, region_at, region_of
from airflow_provider_modelarts.client.validation import Endpoint, as_flag, as_number, decoded, shown
from airflow_provider_modelarts.hooks.connection_form import EXTRA_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk import Connection

Value = TypeVar("Value")

DEFAULT_CONNECT_TIMEOUT = 5.0
DEFAULT_TIMEOUT = 30.0
DEFAULT_POLL_THREADS = 32

# The vendor's console, where the examples of its documents lead for the datasets of a region.
_CONSOLE = "https://console.huaweicloud.com/modelarts/?region={region}#/dataset?dataset_id={dataset_id}"
_VENDOR = re.compile(r"https?://modelarts\.([\w-]+)\.myhuaweicloud\.com(:\d+)?")

_MORE_FLAGS = {"yes": True, "on": True, "no": False, "off": False}
_STANDARD = ("host", "port", "login", "password")
_SECRETS = ("password", "security_token")


# By way of authentication what it needs: words for the user, and fields of which one must be filled in.
_NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "password": {
        "login (IAM user)": ("login",),
        "password (of the IAM user)": ("password",),
        "extra.domain_name (account)": ("domain_name",),
        "extra.region (or extra.iam_endpoint)": ("iam_endpoint", "region"),
        "extra.region (or extra.project_name, or extra.project_id)": ("project_id", "project_name", "region"),
    },
    "access_key": {
        "login (access key)": ("login",),
        "password (secret key)": ("password",),
        "extra.project_id": ("project_id",),
    },
    "token": {"password (token)": ("password",), "extra.project_id": ("project_id",)},
}
_ENDPOINT_NEED = {"host (or extra.region)": ("host", "region")}


@dataclass(frozen=True)
class ConnectionSettings:
    """What a connection says, checked and complete; equal settings mean the same client.

    :param endpoint: base URL of ModelArts
    :param auth: ``password``, ``access_key`` or ``token``
    :param login: IAM user or access key
    :param secret: password, secret key or token
    :param project_id: project of the URLs; None: read from the token
    :param verify: check of the TLS certificate: yes, no, or a file of CA certificates
    :param timeout: seconds to connect, seconds to wait for an answer
    :param allow_http: whether plain http may leave this machine
    :param poll_threads: threads of the triggerer's pool
    :param console: address of a dataset in the console, with ``{dataset_id}`` in it; None: not known
    :param obs_endpoint: base URL of object storage; None: not known
    :param region: the region, for people and lineage; where it is not known, the host name of the endpoint
    :param unknown: a phrase for the log about each key of the extra that has no effect
    """

    endpoint: str
    auth: str
    login: str | None
    secret: str = field(repr=False)
    project_id: str | None
    domain_name: str | None
    project_name: str | None
    iam_endpoint: str | None
    security_token: str | None = field(repr=False)
    verify: bool | str
    timeout: tuple[float, float]
    allow_http: bool
    poll_threads: int
    console: str | None = None
    obs_endpoint: str | None = None
    region: str = ""
    unknown: tuple[str, ...] = field(default=(), compare=False)


def read_settings(connection: Connection, *, project_id: str | None = None) -> ConnectionSettings:
    """Return the settings that a connection holds.

    :param connection: of type ``modelarts``
    :param project_id: takes the place of the connection's own
    :return: settings with every default filled in
    :raises InvalidRequest: naming every field that is missing, or the first whose value makes no sense
    """
    extra = read_extra(connection)
    values = {**extra, **{name: getattr(connection, name) for name in _STANDARD}}
    if project_id:
        values["project_id"] = project_id
    reader = _Reader(f"Connection {connection.conn_id!r}", values)
    auth = reader.value("auth", "password", {name: name for name in _NEEDS}.get, f"one of {', '.join(_NEEDS)}")
    unknown = _unknown_keys(extra)
    reader.require({**_ENDPOINT_NEED, **_NEEDS[auth]}, auth, unknown)
    region = reader.text("region")
    iam_endpoint = reader.text("iam_endpoint")
    if not iam_endpoint and auth == "password":
        iam_endpoint = reader.address("iam", "extra.iam_endpoint")
    timeout = reader.number("timeout", DEFAULT_TIMEOUT, *_bounds("timeout"))
    port = None if reader.text("port") is None else reader.whole("port", 0, 1, 65535)
    default: bool | str = True
    verify = reader.value(
        "verify", default, _verify, "true, false or the path of an existing file with CA certificates"
    )
    endpoint = reader.url("host", reader.text("host") or reader.address("modelarts", "host"), port)
    return ConnectionSettings(
        endpoint=endpoint,
        auth=auth,
        login=reader.text("login"),
        # A password may begin or end with a blank; keys and tokens never do, but are pasted with line ends.
        secret=str(values["password"]) if auth == "password" else reader.text("password") or "",
        project_id=reader.text("project_id"),
        domain_name=reader.text("domain_name"),
        project_name=reader.text("project_name") or region,
        iam_endpoint=reader.url("iam_endpoint", iam_endpoint) if iam_endpoint else None,
        security_token=reader.text("security_token"),
        verify=verify,
        timeout=(min(DEFAULT_CONNECT_TIMEOUT, timeout), timeout),
        allow_http=reader.value("allow_http", False, _flag, "true or false"),
        poll_threads=reader.whole("poll_threads", DEFAULT_POLL_THREADS, *_bounds("poll_threads")),
        console=reader.console(endpoint, region and region_of(region)),
        obs_endpoint=reader.obs(endpoint, region),
        region=region_of(region) if region else region_at(endpoint),
        unknown=unknown,
    )


def _bounds(name: str) -> tuple[float, float]:
    schema = EXTRA_FIELDS[name]["schema"]
    return schema["minimum"], schema["maximum"]


def _unknown_keys(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a phrase for each key of the extra that is ignored, with what may be meant; never its value."""
    phrases = []
    for key in sorted(set(extra) - set(EXTRA_FIELDS)):
        if key in _STANDARD:
            phrases.append(f"extra.{key} has no effect: fill in the connection's own field {key}")
            continue
        near = get_close_matches(key.lower(), EXTRA_FIELDS, 1)
        phrases.append(f"extra.{key} is not known" + (f": is extra.{near[0]} meant?" if near else " and has no effect"))
    return tuple(phrases)


def read_extra(connection: Connection) -> dict[str, Any]:
    """Return the extra; Airflow's own ``extra_dejson`` logs a traceback for what is no JSON, and goes on without it.

    :param connection: of type ``modelarts``
    :raises InvalidRequest: if it is no JSON object, or has a key twice
    """
    if not connection.extra:
        return {}
    extra = decoded(connection.extra, f"Connection {connection.conn_id!r}: extra")
    if not isinstance(extra, dict):
        # The text itself stays out of the message: it may hold a secret.
        raise InvalidRequest(f"Connection {connection.conn_id!r}: extra is not a JSON object. Write it as one.")
    return extra


def _flag(text: str) -> bool | None:
    return as_flag(_MORE_FLAGS.get(text.lower(), text))


def _verify(text: str) -> bool | str | None:
    found = _flag(text)
    return text if found is None and Path(text).exists() else found


class _Reader:
    """Reads fields of a connection; every error names the connection and the field."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self._where = where
        self._values = values

    def _wrong(self, name: str, expected: str, value: object) -> InvalidRequest:
        field_name = name if name in _STANDARD else f"extra.{name}"
        quoted = self._quoted(name, value)
        return InvalidRequest(
            f"{self._where}: {field_name} must be {expected}, not {quoted}. Correct it in the connection."
        )

    def _quoted(self, name: str, value: object) -> str:
        """Return a wrong value for a message, unless it may be a secret or hold one, as addresses with a user do."""
        if isinstance(value, (dict, list)):
            return f"a {type(value).__name__}"
        secrets = [str(self._values.get(secret) or "") for secret in _SECRETS]
        hides = any(secret and secret in str(value) for secret in secrets)
        if name in _SECRETS or hides or any(mark in str(value) for mark in "@?#"):
            return "the value given, which may hold a secret and is not shown"
        return shown(value)

    def require(self, needs: Mapping[str, tuple[str, ...]], auth: str, unknown: tuple[str, ...]) -> None:
        missing = [words for words, names in needs.items() if not any(self.text(name) for name in names)]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise InvalidRequest(
                f"{self._where} is half-filled for auth {auth!r}: {', '.join(missing)} {verb} missing. "
                + "".join(f"{phrase}. " for phrase in unknown)
                + "Fill in the connection; nothing was sent."
            )

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, (dict, list)):
            raise self._wrong(name, "a text", value)
        return str(value).strip() or None

    def value(self, name: str, default: Value, convert: Callable[[str], Value | None], expected: str) -> Value:
        """Return a field, converted; None from ``convert`` means that its value makes no sense."""
        text = self.text(name)
        found = default if text is None else convert(text)
        if found is None:
            raise self._wrong(name, expected, text)
        return found

    def number(self, name: str, default: float, low: float, high: float) -> float:
        def within(text: str) -> float | None:
            number = as_number(text)
            return number if number is not None and low <= number <= high else None

        return self.value(name, default, within, f"a number from {low:g} to {high:g}")

    def whole(self, name: str, default: int, low: float, high: float) -> int:
        number = self.number(name, default, low, high)
        if number != int(number):
            raise self._wrong(name, "a whole number", self.text(name))
        return int(number)

    def console(self, endpoint: str, region: str | None) -> str | None:
        """Return where the console shows a dataset, from the connection or the region of the vendor's endpoint."""
        vendor = _VENDOR.fullmatch(endpoint)
        address = self.text("console") or (_CONSOLE if vendor else None)
        if address is None:
            return None
        if not address.lower().startswith(("http://", "https://")):
            raise self._wrong("console", "an http(s) URL; {dataset_id} and {region} in it are filled in", address)
        return address.replace("{region}", vendor[1] if vendor else region or "")

    def obs(self, endpoint: str, region: str | None) -> str | None:
        """Return where object storage is: as the connection says, else in its region or in that of the endpoint."""
        vendor = _VENDOR.fullmatch(endpoint)
        place = vendor[1] if vendor else region
        given = self.text("obs_endpoint") or (address_of("obs", place) if place else None)
        return given and self.url("obs_endpoint", given)

    def address(self, service: str, name: str) -> str:
        """Return the address of a service in the connection's region."""
        region = self.text("region") or ""
        address = address_of(service, region)
        if address is None:
            raise InvalidRequest(
                f"{self._where}: the domain of region {region!r} is not known, so {name} must be given: "
                f"the URL or host of {'IAM' if service == 'iam' else 'ModelArts'} there. Fill it in; nothing was sent."
            )
        return address

    def url(self, name: str, value: str, port: int | None = None) -> str:
        """Return a base URL; a bare host means https. The client refuses plain http if ``allow_http`` is not set."""
        try:
            return Endpoint(value, name, allow_http=True, port=port).url
        except InvalidRequest:
            raise self._wrong(name, "a host or an http(s) URL without user, query and fragment", value) from None
