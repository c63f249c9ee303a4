"""Tolerant reading: the service spells one thing in several ways, leaves fields out and adds others (contract 9)."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    InstanceOf,
    ModelWrapValidatorHandler,
    PrivateAttr,
    RootModel,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import from_json

from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.redaction import is_number, without_queries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


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
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not is_number(value):
            return None
        try:
            value = int(value)
        except ValueError:  # a fraction, or more digits than Python takes
            value = float(value)
    return value if isinstance(value, (int, float)) and _is_finite(value) else None


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond what a float holds is no count, score or time
        return False


def to_integer(value: object) -> int | None:
    """Return a whole number written as number or text; None for all else."""
    number = to_number(value)
    return None if number is None else int(number)


def to_text(value: object) -> str | None:
    """Return text, also of a number sent in its place; None for all else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


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


def to_objects(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of a list; null, a missing list and null elements count as nothing."""
    return [element for element in value if isinstance(element, dict)] if isinstance(value, list) else []


def without_query(url: str) -> str:
    """Return an address without user, query and fragment: those carry signatures."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


Number = Annotated[float | int | None, BeforeValidator(to_number)]
Integer = Annotated[int | None, BeforeValidator(to_integer)]
Text = Annotated[str | None, BeforeValidator(to_text)]
GivenText = Annotated[str, BeforeValidator(lambda value: to_text(value) or "")]
"""Text that every answer of the contract holds; empty in one that leaves it out."""

Flag = Annotated[bool | None, BeforeValidator(to_flag)]


class Record(BaseModel):
    """An object of the service: frozen, every field optional, unknown fields kept.

    ``raw`` is the very dict that was parsed, so what is written back equals what arrived.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True, protected_namespaces=())

    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_raw(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if not isinstance(data, dict):
            return handler(data)
        record = handler(cls._filled(data, info.context or {}))
        record._raw = data  # noqa: SLF001 - a class method of the attribute's own class
        return record

    @classmethod
    def _filled(cls, data: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        """Return the data to read, with what this answer leaves out and the request knows; subclasses say what."""
        del context
        return data

    @property
    def raw(self) -> dict[str, Any]:
        """What arrived, unchanged."""
        return self._raw

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Show plain fields only, and no signatures: nested objects and texts may hold presigned addresses."""
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        shown = [(name, value) for name, value in fields if isinstance(value, (str, int, float))]
        return [(name, without_queries(value) if isinstance(value, str) else value) for name, value in shown]


def given(record: Record, name: str) -> int:
    """Return a whole number that every answer of the contract holds.

    :raises UnexpectedResponse: if this one left it out
    """
    number = to_integer(record.raw.get(name))
    if number is None:
        raise UnexpectedResponse(f"The service gave no {name} in {record!r}. Read it again with its own call.")
    return number


class View(RootModel[InstanceOf[dict[str, Any]]]):
    """A JSON object whose properties are read when asked for.

    A dataset has hundreds of thousands of samples, of which a run looks at a few properties each: reading them all
    into the fields of a :class:`Record` would cost more than parsing their JSON.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    @property
    def raw(self) -> dict[str, Any]:
        """What arrived, unchanged."""
        return self.root


Model = TypeVar("Model", bound=Record | View)


def read(model: type[Model], data: object, what: str, **context: Any) -> Model:
    """Return a model of what arrived.

    :param model: the model to read
    :param data: parsed JSON
    :param what: what was asked for, for the error
    :param context: what the request knows and the answer may leave out
    :raises UnexpectedResponse: if it cannot be read; the values are not quoted, they may hold signatures
    """
    return cast("Model", _validated(model.model_validate, data, what, context))


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


def read_all(model: type[Model], data: list[dict[str, Any]], what: str, **context: Any) -> list[Model]:
    """Return models of the items of a list; parameters as of :func:`read`, which for each item would cost more."""
    adapter = _list_of(model)  # type: ignore[arg-type]  # its instances are not hashable, it is
    return cast("list[Model]", _validated(adapter.validate_python, data, what, context))


@cache
def _list_of(model: type[Model]) -> TypeAdapter[list[Model]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]  # known at run time only


def _validated(validate: Callable[..., Any], data: object, what: str, context: dict[str, Any]) -> Any:
    try:
        return validate(data, context=context)
    except ValidationError as error:
        faults = ", ".join(f"{'.'.join(map(str, fault['loc'])) or 'all'}: {fault['type']}" for fault in error.errors())
        raise UnexpectedResponse(
            f"Cannot {what}: the answer does not fit the API ({faults}). Check that endpoint is a ModelArts v2 API."
        ) from None
