"""Checks of what users give: what is certainly wrong is refused before anything is sent.

``as_...`` return None for what is no such value; ``validate_...`` raise :class:`InvalidRequest` with the name of the
parameter, what is expected, and the wrong value.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.wording import cut

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_PAGE = 100
"""The most items that the service gives at once (contract 0.1)."""

_LONGEST_SHOWN = 80
_BLANK = frozenset({"", "none", "null", "undefined"})
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
# What float() and int() take beyond this ("1_0", "infinity", digits of other scripts) is no number of JSON. Nor is
# "0.", which "0.{{ percent }}" leaves of a threshold whose digits got lost.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d+)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)

_PORTS = {"http": 80, "https": 443}
_LONGEST_DNS_LABEL = 63
# Of ModelArts (/v2, with the project or where it stands in a catalog) and of IAM (/v3, /v2.0, /v3/auth/tokens).
_VERSION = re.compile(
    r"/+v(2|3)(\.0)?(/+(auth(/+tokens)?|projects|[0-9a-f]{32}|[$%][({](tenant|project)_id[)}]s?))?/*$", re.IGNORECASE
)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def shown(value: object) -> str:
    """Return a wrong value as an error quotes it: one line without signatures, cut where it is long."""
    return cut(" ".join(without_queries(repr(value)).split()), _LONGEST_SHOWN)


def wrong(name: str, expected: str, value: object) -> InvalidRequest:
    """Return the error about a wrong value."""
    return InvalidRequest(f"{name} must be {expected}, not {shown(value)}.")


def as_number(value: object) -> float | int | None:
    """Return a finite number that is given as number or as text."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        try:
            value = int(value)
        except ValueError:  # a fraction, or more digits than Python takes
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Real, Decimal)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):  # an integer beyond what a float holds is no count, score or time
        return None
    return (value if isinstance(value, int) else found) if math.isfinite(found) else None


def as_flag(value: object) -> bool | None:
    """Return a truth value that is given as bool or as text."""
    return value if isinstance(value, bool) else _FLAGS.get(str(value).strip().lower())


def as_label(value: object) -> str | None:
    """Return the name of a label exactly as it is.

    ``None`` as text is what a template leaves of a missing value, so no label of that name can be chosen. A whole
    number is what native rendering makes of a name that consists of digits.
    """
    name = digits_as_text(value)
    return name if isinstance(name, str) and name.strip() not in ("", "None") else None


def is_blank(value: object) -> bool:
    """Whether a value is missing, or a text that a template leaves of a missing one."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _BLANK)


def digits_as_text(value: object) -> object:
    """Return a whole number as text: native rendering makes numbers of ids and names that consist of digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def decoded(value: object, name: str = "The JSON text") -> object:
    """Return what a JSON text stands for; anything else as it is.

    :param name: what the text is called in the error
    :raises InvalidRequest: for an object that has a key twice: nothing says which of both is meant
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, object_pairs_hook=partial(_with_each_key_once, name))
    except (ValueError, RecursionError):  # no JSON, or nested deeper than any request is
        return value


def _with_each_key_once(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidRequest(f"{name} has the key {shown(twice)} twice. Leave one of them out.")
    return found


def validate_id(name: str, value: object) -> str:
    """Return an id, which is opaque (contract 0).

    :param name: what to call it in the error
    :param value: the id
    :raises InvalidRequest: if it is no text, empty, or one that a proxy would resolve as a parent folder
    """
    if not isinstance(value, str):
        raise wrong(name, "an id as text", value)
    if not value.strip() or not value.strip("."):
        raise InvalidRequest(f"{name} must be an id, not {value!r}: is the value that should fill it there?")
    return value


def validate_list(name: str, values: Iterable[Any], of: str = "") -> list[Any]:
    """Return values as a list.

    :param of: what it is a list of, for the error: " of ids"
    :raises InvalidRequest: for None, for what is no list, and for what would be taken apart into characters or keys
    """
    if isinstance(values, (str, bytes, bytearray, Mapping)) or not isinstance(values, Iterable):
        raise wrong(name, f"a list{of}", values)
    return list(values)


def validate_email(name: str, value: object) -> str:
    """Return an e-mail address; whether there is such a team member is the service's to judge."""
    if not isinstance(value, str) or "@" not in value:
        raise wrong(name, "an e-mail address", value)
    return value


def validate_label(name: str, value: object) -> str:
    """Return the name of a label, given as text; see :func:`as_label`."""
    label = as_label(value) if isinstance(value, str) else None
    if label is None:
        raise wrong(name, "the name of a label", value)
    try:
        label.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name} {label!r} cannot be sent: half a surrogate pair has no UTF-8.") from None
    return label


def validate_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise wrong(name, f"one of {', '.join(choices)}", value)
    return str(value)


def validate_flag(name: str, value: object) -> bool:
    """Return a truth value, see :func:`as_flag`."""
    found = as_flag(value)
    if found is None:
        raise wrong(name, "true or false", value)
    return found


def validate_number(name: str, value: object, low: float, high: float = math.inf) -> float | int:
    """Return a number between two bounds, both included."""
    found = as_number(value)
    if found is None or not low <= found <= high:
        expected = f"a number from {low:g} to {high:g}" if high < math.inf else f"a number of at least {low:g}"
        raise wrong(name, expected, value)
    return found


def validate_whole(name: str, value: object, low: int, high: float = math.inf) -> int:
    """Return a whole number between two bounds, both included."""
    found = validate_number(name, value, low, high)
    if found != int(found):
        upto = f"from {low} to {high}" if high < math.inf else f"of at least {low}"
        raise wrong(name, f"a whole number {upto}", value)
    return int(found)


def validate_seconds(name: str, value: object) -> float:
    """Return seconds above 0; text is none."""
    found = None if isinstance(value, str) else as_number(value)
    if found is None or found <= 0:
        raise wrong(name, "a number of seconds above 0", value)
    return found


def validate_scores(low: float | str | None, high: float | str | None) -> tuple[str | None, str | None]:
    """Return both bounds as the decimal text that the service wants (contract 3.1).

    :param low: lower bound, None for none
    :param high: upper bound, None for none
    :raises InvalidRequest: if one is no number from 0 to 1, or the lower one is above the upper
    """
    lower, upper = _score("low_score", low), _score("high_score", high)
    if lower is not None and upper is not None and lower > upper:
        raise InvalidRequest(f"low_score must not be above high_score, but {low} is above {high}.")
    return (None if lower is None else format(lower, "f")), (None if upper is None else format(upper, "f"))


def _score(name: str, value: object) -> Decimal | None:
    if value is None:
        return None
    found = validate_number(name, value, 0, 1)
    exact = str(value).strip()
    return abs(Decimal(exact if _NUMBER.fullmatch(exact) else str(found)))


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


def _with_brackets(url: str) -> str:
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
    :param port: the port where the text has none; None: that of the scheme
    :raises InvalidRequest: if it is no address, carries a user or password, or is plain http without leave
    """

    def __init__(self, text: str, name: str = "endpoint", *, allow_http: bool = False, port: int | None = None) -> None:
        if not isinstance(text, str) or not text.strip():
            raise InvalidRequest(f"{name} is empty: give the address of the service, as URL or host.")
        text = text.strip()
        try:
            parts = urlsplit(_with_brackets(text if "://" in text else f"https://{text}"))
            port = port if parts.port is None else parts.port
        except ValueError:
            raise InvalidRequest(f"{name} is no address{_quoted(text)}: {_ADDRESSES}") from None
        host = parts.hostname or ""
        if parts.username is not None or parts.password is not None:
            raise InvalidRequest(f"{name} must not carry a user or password: they belong into the credential.")
        bracketed = f"[{host}]" if ":" in host else host
        if parts.scheme not in ("http", "https") or not _is_host(bracketed) or parts.query or parts.fragment:
            raise InvalidRequest(f"{name} is no http(s) address{_quoted(text)}: {_ADDRESSES}")
        self.is_loopback = _is_loopback(host)
        if parts.scheme == "http" and not (self.is_loopback or allow_http):
            raise InvalidRequest(
                f"{name} http://{bracketed} would send the credential in the clear: use https, or set allow_http."
            )
        # the default port is not sent in the Host header, so it must not be signed either
        self.host = bracketed if port in (None, _PORTS[parts.scheme]) else f"{bracketed}:{port}"
        self.port = port or _PORTS[parts.scheme]
        self.prefix = _VERSION.sub("", parts.path).rstrip("/")
        self.url = f"{parts.scheme}://{self.host}{self.prefix}"

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"


def _quoted(text: str) -> str:
    """Return a wrong address as an error quotes it; one that may hold a password or a signature is not quoted."""
    return f", {shown(text)}" if re.fullmatch(r"([^:@?#]*://)?[^:@?#]*(:\d*)?(/[^:@?#]*)?", text) else ""


def _is_host(name: str) -> bool:
    """Whether a name can be looked up at all: no label is empty or longer than DNS takes; one dot may end it."""
    return bool(_HOST.fullmatch(name)) and all(
        0 < len(label) <= _LONGEST_DNS_LABEL for label in name.removesuffix(".").split(".")
    )


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, which neither plain http nor a missing proxy can expose."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
