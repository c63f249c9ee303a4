"""What all request models share, and the one way from what a user gives to what is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import as_flag, as_number, decoded, digits_as_text, shown
from airflow_provider_modelarts.client.wording import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

_SECRET = re.compile(r"passw|secret|token|credential|access_key|(^|_)(ak|sk|pwd)$", re.IGNORECASE)
_MOST_PROBLEMS = 3
_MOST_KEYS = 15


def wrong_value(expected: str) -> PydanticCustomError:
    """Return the error of a validator about a wrong value: "must be {expected}, not {value}"."""
    return PydanticCustomError("wrong", "must be {expected}", {"expected": expected})


def _to_whole(value: object) -> int:
    found = as_number(value)
    if found is None or found != int(found):
        raise wrong_value("a whole number")
    return int(found)


def _to_number(value: object) -> float | int:
    found = as_number(value)
    if found is None:
        raise wrong_value("a number")
    return found


def _to_flag(value: object) -> bool:
    found = as_flag(value)
    if found is None:
        raise wrong_value("true or false")
    return found


def _to_id(value: object) -> str:
    text = digits_as_text(value)
    if not isinstance(text, str) or text.strip() in ("", "None") or not text.strip("."):
        raise wrong_value("an id as text")
    return text


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a check of a text.

    :param pattern: the regular expression that the whole text must match, within ASCII
    :param expected: what the error says must be there: "a day as yyyyMMdd"
    """
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise wrong_value(expected)
        return text

    return AfterValidator(check)


WHOLE = BeforeValidator(_to_whole)
"""Takes a whole number also as text; for choices of numbers: ``Annotated[Literal[0, 1], WHOLE]``."""
FROM_JSON = BeforeValidator(decoded)
"""Takes a list or map also as JSON text: ``Annotated[list[str], FROM_JSON]``. Models take it anyway."""

# The types of the fields that are not plain text: templates give text for all of them.
Integer = Annotated[int, WHOLE]
Number = Annotated[int | float, BeforeValidator(_to_number)]
Flag = Annotated[bool, BeforeValidator(_to_flag)]
Id = Annotated[str, BeforeValidator(_to_id)]
"""Opaque text; a whole number is taken too, since native rendering makes one of an id that consists of digits."""


def _check_samples(ids: list[str]) -> list[str]:
    if not ids:
        raise ValueError("is empty: give at least one sample")
    sample_id, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise ValueError(f"has the sample {sample_id[:100]!r} {times} times: give each once")
    return ids


SampleIds = Annotated[list[Id], FROM_JSON, AfterValidator(_check_samples)]
"""Ids of at least one sample, each once."""


class RequestBody(BaseModel):
    """A JSON object to send: frozen, and without fields that the contract does not know.

    A field that is None counts as not given and is not sent. Fields are set by their own name or by the service's key.
    Where the two differ, the service's key stands in ``validation_alias`` and ``serialization_alias``, or an
    ``alias_generator`` makes it (``alias`` alone would name the argument, too).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        hide_input_in_errors=True,  # pydantic's own text would quote passwords
    )

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:
        """Return what was given without None; refuse keys that are unknown."""
        data = decoded(data)
        if not isinstance(data, Mapping):
            return data
        keys = cls.service_keys()
        known = tuple(dict.fromkeys((*keys.values(), *keys)))
        is_closed = cls.model_config.get("extra") == "forbid"
        if is_closed:
            _refuse_unknown(data, known)
        return {
            key: value.value if isinstance(value, Enum) else value
            for key, value in data.items()
            if value is not None or not (is_closed or key in known)
        }

    @classmethod
    def service_keys(cls) -> dict[str, str]:
        """Return the service's key for each field."""
        rename: Any = cls.model_config.get("alias_generator") or str
        return {name: field.serialization_alias or rename(name) for name, field in cls.model_fields.items()}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show what was given; no secrets, and no signatures of addresses."""
        for name in self.model_fields_set:
            value = getattr(self, name)
            yield name, "***" if _SECRET.search(name) else _Shown(value) if isinstance(value, str) else value


class _Shown(str):
    """A text whose ``repr`` is how errors quote it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return shown(str(self))


AnyBody = TypeVar("AnyBody", bound=RequestBody)


def _refuse_unknown(data: Mapping[Any, Any], known: Sequence[str]) -> None:
    unknown = [key for key in data if key not in known]
    if not unknown:
        return
    first = str(unknown[0])
    near = get_close_matches(first.strip().lower(), known, 1, 0.7)
    hint = f"; is {near[0]} meant?" if near else ""
    if not near:
        few = len(known) <= _MOST_KEYS
        hint = f"; known are {', '.join(known)}" if few else "; if the service knows it, give it in extra"
    also = f" (also unknown: {', '.join(map(str, unknown[1:]))})" if unknown[1:] else ""
    raise PydanticCustomError("unknown", "is unknown{rest}", {"key": first[:100], "rest": f"{hint}{also[:200]}"})


def checked(model: type[AnyBody], given: AnyBody | Mapping[str, Any] | str, what: str, path: str = "") -> AnyBody:
    """Return what a user gave as a request model.

    :param model: the model that it must fit
    :param given: the model, a plain dict, or the JSON text of one
    :param what: what the request is to do, for the error: "create a dataset"
    :param path: where in the request it stands, for the error
    :raises InvalidRequest: if it does not fit, with the path of each field
    """
    if isinstance(given, model):
        return given
    if isinstance(given, RequestBody):
        raise InvalidRequest(f"Cannot {what}: give {model.__name__}, not {type(given).__name__}.")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False)
    said = first_of([_problem(one, path) for one in found], _MOST_PROBLEMS, separator="; ")
    raise InvalidRequest(f"Cannot {what}: {said}{'' if said.endswith('?') else '.'}")


def to_body(
    model: type[RequestBody],
    given: RequestBody | Mapping[str, Any] | str,
    what: str,
    extra: Mapping[str, Any] | None = None,
    *,
    path: str = "",
) -> dict[str, Any]:
    """Return the JSON object to send: what was given, under the service's keys.

    :param model: the model that it must fit
    :param given: the model, a plain dict, or the JSON text of one; text from templates is converted at every depth
    :param what: what the request is to do, for the error: "create a dataset"
    :param extra: fields that the contract does not know, sent as they are; within objects that the model declares, too:
        ``{"config": {"new_setting": 1}}``
    :param path: where in the request it stands, for the error
    :raises InvalidRequest: if it does not fit, or if ``extra`` holds a field that the model declares
    """
    body = checked(model, given, what, path).model_dump(exclude_unset=True)
    if extra is not None:
        _merge(model, body, extra, what, "extra")
    return body


def _merge(model: type[RequestBody], body: dict[str, Any], extra: Mapping[str, Any], what: str, path: str) -> None:
    """Add the fields of ``extra`` that the model does not declare; go into objects that both have."""
    if not isinstance(extra, Mapping):
        raise InvalidRequest(f"Cannot {what}: {path} must be an object of additional fields.")
    keys = model.service_keys()
    names = {key: name for name, key in keys.items()} | {name: name for name in keys}
    for key, value in extra.items():
        if key not in names:
            body[key] = value
            continue
        name = names[key]
        inner = _model_of(model.model_fields[name].annotation)
        if inner is None or not isinstance(value, Mapping):
            raise InvalidRequest(
                f"Cannot {what}: {path}.{key} is a field of the request itself: give it there, where it is checked."
            )
        if not value:
            # It would add an empty object, which to the service may mean more than nothing.
            raise InvalidRequest(f"Cannot {what}: {path}.{key} holds no fields: leave it out, or give what it adds.")
        _merge(inner, body.setdefault(keys[name], {}), value, what, f"{path}.{key}")


def _model_of(annotation: Any) -> type[RequestBody] | None:
    """Return the model of a field that holds one object; None for every other field."""
    kinds = [one for one in (get_args(annotation) or (annotation,)) if one is not type(None)]
    is_model = len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], RequestBody)
    return kinds[0] if is_model and get_origin(annotation) in (None, Union, UnionType) else None


# What pydantic calls its findings, in the words of this package; the names in braces stand in its context.
_SAYINGS = {
    "unknown": "is unknown{rest}",
    "wrong": "must be {expected}",
    "missing": "is missing",
    "extra_forbidden": "is given twice, under both its names",
    "literal_error": "must be one of {expected}",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be above {gt}",
    "less_than": "must be below {lt}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} elements",
    "too_short": "must have at least {min_length} elements",
    "value_error": "{error}",
}
# These say all without the value.
_WITHOUT_VALUE = ("unknown", "missing", "extra_forbidden", "value_error", "too_long", "too_short")


def _problem(error: ErrorDetails, path: str) -> str:
    """Return one finding: the path of the field, and what is wrong with it."""
    kind, context = error["type"], error.get("ctx", {})
    steps = (*error["loc"], context["key"]) if kind == "unknown" else error["loc"]
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    saying = _SAYINGS.get(kind)
    said = error["msg"][:1].lower() + error["msg"][1:] if saying is None else saying.format_map(context)
    return f"{path or 'the request'} {said}{'' if kind in _WITHOUT_VALUE else _quoted(kind, path, error['input'])}"


def _quoted(kind: str, path: str, value: object) -> str:
    """Return the wrong value as an error quotes it: no secret, and of objects and lists only what they are."""
    if _SECRET.search(path):
        return ""
    if isinstance(value, Mapping):
        return ", not an object"
    if kind in ("model_type", "list_type", "dict_type") and isinstance(value, str):
        return "; the text given is no JSON of one"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", not a list"
    is_plain = value is None or isinstance(value, (str, int, float))
    return f", not {shown(value) if is_plain else type(value).__name__}"
