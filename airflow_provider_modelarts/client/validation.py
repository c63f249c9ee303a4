"""Local refusals: what is certainly wrong is said before anything is sent."""

from __future__ import annotations

import ipaddress
import json
import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.redaction import without_queries

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_PAGE = 100
_PORTS = {"http": 80, "https": 443}
_LONGEST_LABEL = 63
_SHOWN = 100
# Of ModelArts (/v2, with the project or where it stands in a catalog) and of IAM (/v3, /v2.0, /v3/auth/tokens).
_VERSION = re.compile(
    r"/+v(2|3)(\.0)?(/+(auth(/+tokens)?|projects|[0-9a-f]{32}|[$%][({](tenant|project)_id[)}]s?))?/*$", re.IGNORECASE
)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
# What float() and int() take beyond this ("1_0", "infinity", digits of other scripts) is no number of JSON. Nor is
# "0.", which "0.{{ percent }}" leaves of a threshold whose digits got lost.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d+)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)


def is_number(value: object) -> bool:
    """Return whether a value is text that says a finite number, plainly."""
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def shown(value: object) -> str:
    """Return a wrong value as an error quotes it: its type as well if it is no text, and not more than is of use."""
    text = without_queries(repr(value))
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return text if isinstance(value, str) or value is None else f"{text} ({type(value).__name__})"


def validate_id(name: str, value: object) -> str:
    """Return an id that can stand in a path.

    :param name: what to call it in the error
    :param value: the id, opaque (contract 0)
    :raises InvalidRequest: if it is no text, empty, or one that a proxy would resolve as a parent folder
    """
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {shown(value)}.")
    if not value.strip() or value.strip(".") == "":
        raise InvalidRequest(f"{name} must be an id, not {value!r}: is the value that should fill it there?")
    return value


def checked_email(name: str, value: object) -> str:
    """Return the e-mail address of a team member; raise InvalidRequest for what certainly is none."""
    if not isinstance(value, str) or "@" not in value:
        raise InvalidRequest(f"{name} must be the address of a team member, not {value!r}.")
    return value


def checked_choice(name: str, value: str, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices; raise InvalidRequest naming them otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequest(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def checked_limit(limit: int) -> int:
    """Return a page size of 1 to 100 (contract 0.1); raise InvalidRequest otherwise."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit must be a whole number from 1 to {MAX_PAGE}, not {limit!r}.")
    return limit


def checked_count(name: str, value: int) -> int:
    """Return a whole number from 0; raise InvalidRequest otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequest(f"{name} must be a whole number from 0, not {value!r}.")
    return value


def checked_seconds(name: str, value: float) -> float:
    """Return a positive, finite number of seconds; raise InvalidRequest otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
        raise InvalidRequest(f"{name} must be a number of seconds above 0, not {shown(value)}.")
    return value


def checked_scores(low: float | str | None, high: float | str | None) -> tuple[str | None, str | None]:
    """Return both bounds as the decimal text the service wants (contract 3.1).

    :param low: lower bound, None for none
    :param high: upper bound, None for none
    :raises InvalidRequest: if one is no number from 0 to 1, or the lower one is above the upper
    """
    lower, upper = _score("low_score", low), _score("high_score", high)
    if lower is not None and upper is not None and lower > upper:
        raise InvalidRequest(f"low_score must not be above high_score, but {low} is above {high}.")
    return (None if lower is None else format(lower, "f")), (None if upper is None else format(upper, "f"))


def _score(name: str, value: float | str | None) -> Decimal | None:
    if value is None:
        return None
    score = _decimal(value)
    if score is None or not 0 <= score <= 1:
        raise InvalidRequest(f"{name} must be a number from 0 to 1, not {value!r}.")
    return abs(score)


def _decimal(value: object) -> Decimal | None:
    text = str(value)
    return Decimal(text.strip()) if is_number(text) else None


def checked_conditions(value: object) -> str | None:
    """Return search conditions as the JSON text of a list, the form that every edition of the service reads.

    :param value: a condition, a list of them, either as JSON text, or None
    :raises InvalidRequest: if it is none of these
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise InvalidRequest(
                f"search_conditions must be a list of conditions; the text given is no JSON: {shown(value)}."
            ) from None
    conditions = [value] if isinstance(value, dict) else value
    if not isinstance(conditions, (list, tuple)) or not all(isinstance(one, dict) for one in conditions):
        raise InvalidRequest(
            f"search_conditions must be a list of objects, see table 3.1 of the contract, not {shown(value)}."
        )
    return strict_json(list(conditions), "search_conditions")


def strict_json(value: Any, name: str) -> str:
    """Return JSON as the service's strict parser takes it (contract 10).

    :param value: what to write
    :param name: what to call it in the error
    :raises InvalidRequest: if it holds NaN, infinity, or something that JSON cannot say
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{name} cannot be written as JSON: {error}.") from None


def with_brackets(url: str) -> str:
    """Return a URL whose host, if it is an IPv6 address, stands in brackets: connection URIs are read without them."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    try:
        is_bare = ipaddress.ip_address(host).version == 6
    except ValueError:
        is_bare = False
    return f"{scheme}://[{host}]{slash}{path}" if is_bare else url


_ADDRESSES = "give a URL such as https://host:port, or a host."


class Endpoint:
    """Where a service is reached.

    The version of the API at the end of the path is left out, as in the address of IAM that OpenStack's files have
    (``https://host/v3``): it comes with each request.

    :param text: a URL (``https://host:port/prefix``) or a host, which means https
    :param name: which setting it comes from, for errors
    :param allow_http: accept plain http also for hosts other than this machine
    :raises InvalidRequest: if it is no address, carries a user or password, or is plain http without leave
    """

    def __init__(self, text: str, name: str = "endpoint", *, allow_http: bool = False) -> None:
        if not isinstance(text, str) or not text.strip():
            raise InvalidRequest(f"{name} is empty: give the address of the service, as URL or host.")
        text = text.strip()
        try:
            parts = urlsplit(with_brackets(text if "://" in text else f"https://{text}"))
            port = parts.port
        except ValueError:
            raise InvalidRequest(f"{name} is no address{_quoted(text)}: {_ADDRESSES}") from None
        host = parts.hostname or ""
        if parts.username is not None or parts.password is not None:
            raise InvalidRequest(f"{name} must not carry a user or password: they belong into the credential.")
        shown = f"[{host}]" if ":" in host else host
        if parts.scheme not in ("http", "https") or not _is_host(shown) or parts.query or parts.fragment:
            raise InvalidRequest(f"{name} is no http(s) address{_quoted(text)}: {_ADDRESSES}")
        self.is_loopback = is_loopback(host)
        if parts.scheme == "http" and not (self.is_loopback or allow_http):
            raise InvalidRequest(
                f"{name} http://{shown} would send the credential in the clear: use https, or set allow_http."
            )
        # the default port is not sent in the Host header, so it must not be signed either
        self.host = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
        self.port = port or _PORTS[parts.scheme]
        self.prefix = _VERSION.sub("", parts.path).rstrip("/")
        self.url = f"{parts.scheme}://{self.host}{self.prefix}"

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"


def _quoted(text: str) -> str:
    """Return a wrong address as an error quotes it; one that may hold a password or a signature is not quoted."""
    return f", {shown(text)}" if re.fullmatch(r"([^:@?#]*://)?[^:@?#]*(:\d*)?(/[^:@?#]*)?", text) else ""


def _is_host(shown: str) -> bool:
    """Whether a name can be looked up at all: no label is empty or longer than DNS takes; one dot may end it."""
    return bool(_HOST.fullmatch(shown)) and all(
        0 < len(label) <= _LONGEST_LABEL for label in shown.removesuffix(".").split(".")
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, which neither plain http nor a missing proxy can expose."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
