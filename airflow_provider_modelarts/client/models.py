"""Models of what the service sends: frozen, read when asked for, tolerant of its spellings (contract 9)."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit, urlunsplit

from pydantic_core import from_json

from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.validation import as_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FLAGS = {"true": True, "1": True, "false": False, "0": False}

Value = TypeVar("Value")


def parse_json(text: bytes) -> Any:
    """Return parsed JSON, just as Python's own parser would.

    :raises ValueError: if it is none
    :raises RecursionError: if it is nested too deep
    """
    try:
        return from_json(text)
    except ValueError:
        # half a surrogate pair, another encoding than UTF-8, deep nesting: the slower parser takes them
        return json.loads(text)


def to_number(value: object) -> float | int | None:
    """Return a finite number written as number or text, int and float kept apart; None for all else."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    return as_number(value)


def to_integer(value: object) -> int | None:
    """Return a whole number written as number or text; None for all else."""
    number = to_number(value)
    return None if number is None else int(number)


def to_text(value: object) -> str | None:
    """Return text, also of a number sent in its place; None for all else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def to_name(value: object) -> str:
    """Return text that every answer of the contract holds; empty where one leaves it out."""
    return value if type(value) is str else to_text(value) or ""


def to_flag(value: object) -> bool | None:
    """Return a truth value written as bool, number or text of any case; None for all else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    number = to_number(value)
    return None if number is None else number != 0


def to_reasons(value: object) -> tuple[int, ...]:
    """Return hard-example reasons, sent as ``[8, 6]`` or as ``"8-6"``; what is no number is dropped."""
    parts = value.split("-") if isinstance(value, str) else value if isinstance(value, list) else ()
    return tuple(reason for reason in map(to_integer, parts) if reason is not None)


def to_object(value: object) -> dict[str, Any]:
    """Return a JSON object; anything else counts as an empty one."""
    return value if isinstance(value, dict) else {}


def to_objects(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of a list; null, a missing list and null elements count as nothing."""
    return [element for element in value if isinstance(element, dict)] if isinstance(value, list) else []


def without_query(url: str) -> str:
    """Return an address without user, query and fragment: those carry signatures."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Model:
    """A JSON object of the service. It is frozen, and its properties are read when they are asked for.

    A dataset has hundreds of thousands of samples, of which a run looks at a few properties each: to read all of them
    in advance would cost more than to parse their JSON.

    :param raw: the parsed JSON object; it is kept as it is, so what is written back equals what arrived
    :raises TypeError: if it is no object
    """

    __slots__ = ("__dict__", "raw")  # the slot is read twice as fast as an attribute

    raw: dict[str, Any]
    _elsewhere: Mapping[str, Any] = {}
    """Values of fields that are not in ``raw``."""

    def __init__(self, raw: dict[str, Any]) -> None:
        if not isinstance(raw, dict):
            raise TypeError(f"{type(self).__name__} is read from a JSON object, not from {type(raw).__name__}.")
        _set_raw(self, raw)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted.")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.raw, self.__dict__)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show plain fields only, and no signatures: nested objects and texts may hold presigned addresses."""
        fields = [name for kind in type(self).__mro__ for name, one in vars(kind).items() if isinstance(one, Field)]
        values = {name: getattr(self, name) for name in fields}
        shown = {name: without_queries(one) if isinstance(one, str) else one for name, one in values.items()}
        plain = [f"{name}={one!r}" for name, one in shown.items() if isinstance(one, (str, int, float))]
        return f"{type(self).__name__}({', '.join(plain)})"


_set_raw = Model.raw.__set__  # type: ignore[attr-defined]  # the slot's, past the model's own __setattr__


def _rebuild(model: type[Model], raw: dict[str, Any], more: dict[str, Any]) -> Model:
    rebuilt = model(raw)
    rebuilt.__dict__.update(more)
    return rebuilt


class Field(Generic[Value]):
    """A property of a model that stands under its own name in the JSON object.

    :param read: turns what arrived into the value; it gets None where the service left the property out
    :param doc: what ``help()`` shows
    """

    def __init__(self, read: Callable[[Any], Value], doc: str | None = None) -> None:
        self._read = read
        self.__doc__ = doc

    def __set_name__(self, owner: type[Model], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, model: None, owner: type[Model]) -> Self: ...
    @overload
    def __get__(self, model: Model, owner: type[Model]) -> Value: ...
    def __get__(self, model: Model | None, owner: type[Model]) -> Self | Value:
        if model is None:
            return self
        value = model.raw.get(self._name)
        if value is None:
            value = model._elsewhere.get(self._name)  # noqa: SLF001 - a field is a part of the model
        return self._read(value)


def given(model: Model, name: str) -> int:
    """Return a whole number that every answer of the contract holds.

    :raises UnexpectedResponse: if this one left it out
    """
    number = to_integer(model.raw.get(name))
    if number is None:
        raise UnexpectedResponse(f"The service gave no {name} in {model!r}. Read it again with its own call.")
    return number


AnyModel = TypeVar("AnyModel", bound=Model)


def read(model: type[AnyModel], data: object, what: str, **known: str) -> AnyModel:
    """Return a model of what arrived.

    :param model: the model to read
    :param data: parsed JSON
    :param what: what was asked for, for the error
    :param known: what the request knows and the answer may leave out; the model's own keyword arguments
    :raises UnexpectedResponse: if it is no object; the value is not quoted, it may hold signatures
    """
    if not isinstance(data, dict):
        raise UnexpectedResponse(
            f"Cannot {what}: the answer is no JSON object, so it does not fit the API. "
            "Check that endpoint is a ModelArts v2 API."
        )
    return model(data, **known)


_REASONS = ("error_msg", "error_message", "errorMsg", "error", "errors")
_CODES = ("error_code", "errorCode", "code")


def failure_of(answer: Mapping[str, Any]) -> str | None:
    """Return what an answer says of its own failure although it names no code of the service; None if it says nothing.

    To be asked of an answer without any content: beside content such words may be notes.

    :param answer: the body of a success
    """
    code = next((value for key in _CODES if (value := to_integer(answer.get(key)))), None)
    reason = next((value for key in _REASONS if (value := answer.get(key))), None)
    success = to_flag(answer.get("success"))
    is_bad_code = code is not None and not 200 <= code < 300
    if success is False or is_bad_code or (reason and success is None and code is None):
        # "message" alone may be a friendly word.
        said = reason or answer.get("message") or code or "it is no success"
        return " ".join(without_queries(str(said)).split())[:300]
    return None


def checked_answer(answer: object, what: str, **names: str) -> object:
    """Return an answer about one thing if it is about the one that was asked for.

    :param answer: parsed JSON
    :param what: what was asked for, for the error
    :param names: what it must name, each with the id that was asked for
    :raises UnexpectedResponse: if it names none, or another one
    """
    for name, wanted in names.items():
        found = to_text(answer.get(name)) if isinstance(answer, dict) else None
        if found != wanted:
            said = f"names {name} {found[:100]}" if found else f"names no {name}"
            raise UnexpectedResponse(
                f"Cannot {what}: the answer {said}, so it is not what was asked for. "
                "Try again; if it stays so, check endpoint and proxies."
            )
    # A sample without labels, and nothing else, may look like such an answer.
    if "sample_id" in names and isinstance(answer, dict) and not answer.get("labels"):
        failure = failure_of(answer)
        if failure is not None:
            raise UnexpectedResponse(f"Cannot {what}: the answer has no labels and says: {failure}. Try again.")
    return answer
