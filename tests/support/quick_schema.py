"""Says quickly that a value is valid: most of what is checked is, and jsonschema takes milliseconds to say so.

A schema becomes a function. What this module does not know (a keyword, a form of one) it does not judge: jsonschema has
to then, and it has to explain what is wrong.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Judge = Callable[[Any], bool]

SAYS_NOTHING = frozenset(
    {"description", "default", "examples", "format", "title", "contentMediaType", "contentSchema", "deprecated"}
)


class UnknownKeywordError(Exception):
    """A schema says something that this module cannot judge."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TYPES: dict[str, Judge] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


# What json makes of a value of that type, so that one look into a set is enough for most values.
CLASSES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def _type(names: Any) -> Judge:
    wanted = [names] if isinstance(names, str) else names
    classes = frozenset(one for name in wanted for one in CLASSES[name])
    judges = [TYPES[name] for name in wanted]
    return lambda value: type(value) in classes or any(judge(value) for judge in judges)


def _enum(values: Any) -> Judge:
    if not all(isinstance(value, (str, int)) or value is None for value in values):
        raise UnknownKeywordError("enum")
    # True equals 1, and 1.0 does too, which JSON Schema wants.
    known = {(isinstance(value, bool), value) for value in values}

    def judge(value: Any) -> bool:
        return not isinstance(value, (dict, list)) and (isinstance(value, bool), value) in known

    return judge


def _pattern(text: str) -> Judge:
    search = re.compile(text).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _bound(kind: Judge, holds: Callable[[Any, Any], bool]) -> Callable[[Any], Judge]:
    def keyword(limit: Any) -> Judge:
        return lambda value: not kind(value) or holds(value, limit)

    return keyword


def _required(names: list[str]) -> Judge:
    wanted = frozenset(names)
    return lambda value: not isinstance(value, dict) or wanted <= value.keys()


def _all(judges: list[Judge]) -> Judge:
    """Return what asks one judge after the other; ``all()`` of a generator takes several times as long."""
    if len(judges) == 1:
        return judges[0]
    if len(judges) == 2:
        first, second = judges
        return lambda value: first(value) and second(value)

    def judge(value: Any) -> bool:
        for one in judges:  # noqa: SIM110 - see above
            if not one(value):
                return False
        return True

    return judge


SIMPLE: dict[str, Callable[[Any], Judge]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value: _enum([value]),
    "pattern": _pattern,
    "required": _required,
    "minimum": _bound(_is_number, lambda value, limit: value >= limit),
    "maximum": _bound(_is_number, lambda value, limit: value <= limit),
    "exclusiveMinimum": _bound(_is_number, lambda value, limit: value > limit),
    "minLength": _bound(TYPES["string"], lambda value, limit: len(value) >= limit),
    "maxLength": _bound(TYPES["string"], lambda value, limit: len(value) <= limit),
    "minItems": _bound(TYPES["array"], lambda value, limit: len(value) >= limit),
    "maxItems": _bound(TYPES["array"], lambda value, limit: len(value) <= limit),
    "minProperties": _bound(TYPES["object"], lambda value, limit: len(value) >= limit),
}
COUNTED: dict[str, Callable[[int, int], bool]] = {
    "anyOf": lambda valid, _: valid > 0,
    "oneOf": lambda valid, _: valid == 1,
    "allOf": lambda valid, of: valid == of,
}
OF_ITEMS: dict[str, Callable[[Iterable[bool]], bool]] = {"items": all, "contains": any}


class QuickSchemas:
    """Judges for the schemas of one document.

    :param find: returns the schema that a ``$ref`` means.
    """

    def __init__(self, find: Callable[[str], Any]) -> None:
        self._find = find
        self._of_reference: dict[str, Judge] = {}
        self._lock = threading.Lock()

    def judge(self, schema: Any) -> Judge:
        """Return a function that tells whether a value is valid.

        :raises UnknownKeywordError: the schema cannot be judged here
        """
        # Threads share the judges of references. None of them may take one that another is still building, or one
        # that could not be finished.
        with self._lock:
            finished = dict(self._of_reference)
            try:
                return self._judge(schema)
            except UnknownKeywordError:
                self._of_reference = finished
                raise

    def _judge(self, schema: Any) -> Judge:
        if isinstance(schema, bool):
            return lambda _: schema
        return _all([*self._own(schema), *self._of_object(schema)])

    def _own(self, schema: dict[str, Any]) -> list[Judge]:
        judges = []
        for keyword, meant in schema.items():
            if keyword in SIMPLE:
                judges.append(SIMPLE[keyword](meant))
            elif keyword in COUNTED:
                judges.append(self._counted(COUNTED[keyword], [self._judge(part) for part in meant]))
            elif keyword in OF_ITEMS:
                judges.append(self._items(OF_ITEMS[keyword], self._judge(meant)))
            elif keyword == "$ref":
                judges.append(self._reference(meant))
            elif keyword not in SAYS_NOTHING and keyword not in ("properties", "additionalProperties"):
                raise UnknownKeywordError(keyword)
        return judges

    def _counted(self, holds: Callable[[int, int], bool], parts: list[Judge]) -> Judge:
        return lambda value: holds(sum(part(value) for part in parts), len(parts))

    def _items(self, holds: Callable[[Iterable[bool]], bool], judge: Judge) -> Judge:
        return lambda value: not isinstance(value, list) or holds(map(judge, value))

    def _reference(self, reference: str) -> Judge:
        if reference not in self._of_reference:
            self._of_reference[reference] = lambda value: built(value)  # noqa: PLW0108 - a schema may mean itself
            built = self._of_reference[reference] = self._judge(self._find(reference))
        return self._of_reference[reference]

    def _of_object(self, schema: dict[str, Any]) -> list[Judge]:
        if "properties" not in schema and "additionalProperties" not in schema:
            return []
        known = {name: self._judge(part) for name, part in schema.get("properties", {}).items()}
        judge_of, other = known.get, self._judge(schema.get("additionalProperties", True))

        def judge(value: Any) -> bool:
            if isinstance(value, dict):
                for name, part in value.items():
                    if not judge_of(name, other)(part):
                        return False
            return True

        return [judge]
