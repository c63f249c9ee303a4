"""Filters of the list of proposals, as users give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import as_label, validate_label

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTERS = ("label_name", "first_label", "label_type", "low_score", "high_score", "search_conditions")
"""What users choose proposals by; the service has no ``first_label``."""


def checked_label(name: str, value: str | None) -> str | None:
    """Return the label to choose by, None for all; a template that rendered to nothing must not mean "all"."""
    if value is None:
        return None
    if not isinstance(value, str) or as_label(value) is None:
        raise InvalidRequest(f"{name} must be a label's name, not {value!r}. Leave it out to take all labels.")
    return validate_label(name, value)


def checked_filters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters of the list of proposals, each only if it is given; types and conditions checked and read.

    :raises InvalidRequest: for a type that is none, and for conditions that are none or choose all
    """
    from airflow_provider_modelarts.client.requests.search import choosing_conditions, read_label_type

    found = {name: value for name, value in given.items() if value is not None}
    if "label_type" in found:
        found["label_type"] = read_label_type(found["label_type"])
    if "search_conditions" in found:
        found["search_conditions"] = choosing_conditions(found["search_conditions"], "list proposals")
    return found
