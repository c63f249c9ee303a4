"""Reads which samples of a team task, and which copies, a DAG author means: lists, or JSON text of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.sample_updates import emptied_copies, labeled_elements
from airflow_provider_modelarts.client.validation import as_number, decoded, digits_as_text, strict_json

Element = dict[str, Any]


def parse_team_samples(value: object) -> list[Element]:
    """Read samples as a DAG author gives them.

    :param value: a list of ``{"sample_id", "labels", "worker_id"?, ...}``, or JSON text of one
    :return: the samples as they go out
    :raises InvalidRequest: in one line, for anything else; writing a sample without labels would erase its labels
    """
    given = [_with_text_names(one) for one in _listed(value)]
    for place, one in enumerate(given, start=1):
        if not isinstance(one, dict) or not isinstance(one.get("sample_id"), str) or not one["sample_id"]:
            raise InvalidRequest(f'Sample {place} of {len(given)} must be an object with a "sample_id".')
    elements = labeled_elements(given)
    for element in elements:
        strict_json(element, f"Sample {element['sample_id']}")
    return elements


def parse_copies(value: object) -> list[Element]:
    """Read which copies are meant, as a DAG author names them.

    :param value: a list of sample ids or of ``{"sample_id", "worker_id"}``, or JSON text of one
    :return: for each copy an object with the ids that were given
    :raises InvalidRequest: in one line, for an empty list, for other fields, and for a copy that comes twice
    """
    given: list[Any] = [
        _with_text_names(one) if isinstance(one, dict) else digits_as_text(one) for one in _listed(value)
    ]
    elements = emptied_copies(given)
    return [{name: one[name] for name in ("sample_id", "worker_id") if name in one} for one in elements]


def _listed(value: object) -> list[Any]:
    """Return what a list holds; among them the outputs of mapped tasks, which are read as they are needed.

    :raises InvalidRequest: if it is none, or empty
    """
    value = decoded(value, "samples")
    found = list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)) else []
    if not found:
        what = "the text is no JSON" if isinstance(value, str) else "see what its template renders to"
        raise InvalidRequest(f"samples must be a list with at least one sample, or JSON text of one: {what}.")
    return found


def _with_text_names(element: Any) -> Any:
    """Return a sample whose ids and names of labels are text, and whose types of labels are numbers, as they go out.

    Native rendering makes numbers of digits, and other rendering makes text of numbers.
    """
    if not isinstance(element, dict):
        return element
    found = {
        key: digits_as_text(value) if key in ("sample_id", "worker_id") else value for key, value in element.items()
    }
    if isinstance(element.get("labels"), list):
        found["labels"] = [_with_text_name(label) if isinstance(label, dict) else label for label in element["labels"]]
    return found


def _with_text_name(label: dict[str, Any]) -> dict[str, Any]:
    found = dict(label)
    if "name" in label:
        found["name"] = digits_as_text(label["name"])
    if isinstance(label.get("type"), str):
        kind = as_number(label["type"])
        found["type"] = label["type"] if kind is None else kind
    return found
