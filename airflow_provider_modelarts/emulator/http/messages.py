"""What a handler gets and gives: one request, one answer, or a refusal. And the strict JSON reader."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.emulator.state.task import Failure

JSON_HEADERS = (("Content-Type", "application/json; charset=UTF-8"),)


@dataclass(slots=True, repr=False)
class Call:
    """One request on its way through the emulator; its `repr` stays short, for it carries credentials.

    :param method: upper-case HTTP method.
    :param path: decoded path, without the query.
    :param raw_path: path as it was sent; signatures are made over it.
    :param query_string: query as it was sent.
    :param query: decoded query; of a repeated name the last value.
    :param headers: lower-case names.
    :param params: what the route's placeholders matched.
    :param spoiled: what an injected fault wants a label write to do.
    :param doom: why, by an injected fault, the labeling task that this request starts will fail.
    """

    method: str
    path: str
    raw_path: str
    query_string: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    request_id: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    spoiled: Spoiled | None = None
    doom: Failure | None = None

    def json(self) -> Any:
        """Return the body as JSON.

        :raises Refusal: 400 ModelArts.4105 for anything but strict JSON (contract 10, row "JSON").
        """
        return strict_json(self.body)


@dataclass(frozen=True)
class Spoiled:
    """What an injected fault does to the results of one label write (contract 10, row "Variants")."""

    position: int | None = None
    sample_id: str | None = None
    code: str = "ModelArts.4421"
    message: str = "Sample update failed."
    results: str | None = None


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
    :param code: the service's code, such as "ModelArts.4352" or "APIGW.0301"; for IAM's older shape the title.
    :param message: text for people.
    :param shape: "service", "gateway" (with request id) or "keystone" (contract 7.1).
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        shape: str = "service",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message
        self.shape = shape
        self.headers = headers

    def answer(self, request_id: str) -> Reply:
        """Return the refusal in the body shape of where it comes from (contract 7.1)."""
        body: dict[str, Any]
        if self.shape == "keystone":
            body = {"error": {"code": self.status, "message": self.message, "title": self.code}}
        else:
            body = {"error_code": self.code, "error_msg": self.message}
            if self.shape == "gateway":
                body["request_id"] = request_id
        return json_answer(body, status=self.status, headers=self.headers)


def dump_json(value: Any) -> bytes:
    """Return compact UTF-8 JSON; numbers keep the form they have in Python (1 stays 1, 1.0 stays 1.0)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def json_answer(value: Any, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Return an answer with a JSON body (contract 0, row "Encoding")."""
    return Reply(status, dump_json(value), JSON_HEADERS + headers)


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
