"""Readers of the fields of answers that hold lists and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.models import AnyModel, to_integer, to_object, to_objects, to_text

if TYPE_CHECKING:
    from collections.abc import Callable


def list_of(model: type[AnyModel]) -> Callable[[Any], tuple[AnyModel, ...]]:
    """Return the reader of a list of objects; what is no object is left out, a missing list is empty."""
    return lambda value: tuple(map(model, to_objects(value)))


def to_texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list; a missing list is empty."""
    return tuple(text for text in map(to_text, value) if text) if isinstance(value, list) else ()


def to_counts(value: object) -> dict[str, int]:
    """Return a map of whole numbers; what is no number is left out."""
    numbers = {name: to_integer(one) for name, one in to_object(value).items()}
    return {name: number for name, number in numbers.items() if number is not None}
