"""What a handler gets and gives: one request, one reply, or a refusal. And the strict JSON reader."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_modelarts.emulator.state.json_text import dump_json

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_HEADERS = (("Content-Type", "application/json; charset=UTF-8"),)
EXTRA = {"emulator_extra": {"unknown": [1, 1.0, None]}}
"""Added to answers by the variant `extra_fields`."""


@dataclass(slots=True, repr=False)
class Call:
    """One request on its way through the emulator; its `repr` stays short, for it carries credentials.

    :param method: upper-case HTTP method.
    :param path: decoded path, without the query.
    :param raw_path: path as it was sent; signatures are made over it.
    :param query_string: query as it was sent.
    :param query: decoded query; of a repeated name the last value.
    :param headers: lower-case names.
    :param body: empty if `size`, in bytes, is above the limit.
    :param params: what the route's placeholders matched.
    :param fault: kind of the injected fault that this request meets; None: it meets none.
    :param fault_args: arguments of that fault.
    """

    method: str
    path: str
    raw_path: str
    query_string: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    size: int
    request_id: str
    params: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None
    fault_args: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the body as JSON.

        :raises Refusal: 400 ModelArts.4105 for anything but strict JSON (contract 10, row "JSON").
        """
        return strict_json(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back.

    :param headers: name and value pairs besides Content-Length and X-Request-Id.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):  # noqa: N818 - it is an answer of the service, not an error of the emulator
    """An answer that says no.

    :param status: HTTP status.
    :param code: "ModelArts." or "APIGW." and a number; for IAM's older shape the title.
    :param message: text for people.
    :param headers: further headers of the reply.
    """

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status, self.code, self.message, self.headers = status, code, message, headers

    def reply(self, request_id: str, prefix: str) -> Reply:
        """Return the refusal in the body shape of where it comes from: service, gateway or IAM (contract 7.1).

        :param prefix: of gateway codes, "APIGW." or "APIG." (quirk 55).
        """
        body: dict[str, Any] = {"error_code": self.code, "error_msg": self.message}
        if self.code.startswith("APIGW."):
            body |= {"error_code": prefix + self.code.removeprefix("APIGW."), "request_id": request_id}
        elif not self.code.startswith("ModelArts."):
            body = {"error": {"code": self.status, "message": self.message, "title": self.code}}
        return json_reply(body, status=self.status, headers=self.headers)


def json_reply(value: Any, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Return a reply with a JSON body (contract 0, row "Encoding")."""
    return Reply(status, dump_json(value), JSON_HEADERS + headers)


def done(*, with_body: bool = False) -> Reply:
    """Return 204 (contract 0, row "Success codes"), with the body of the examples if a variant wants it (quirk 28)."""
    return Reply(204, b'{"success":true}' if with_body else b"")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is beyond what a number can be")
    return number


def strict_json(body: bytes) -> Any:
    """Parse strict JSON: no trailing commas, no NaN or Infinity, no text after the value, no half characters.

    :raises Refusal: 400 ModelArts.4105 (contract 4.1 "Body is not strict JSON", quirk 18).
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_number)
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(value, ensure_ascii=False).encode()  # fails for one half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "ModelArts.4105", f"The request body is not valid JSON. [{error}]") from None
    return value
