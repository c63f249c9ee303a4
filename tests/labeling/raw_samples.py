"""Samples and labels as the service sends them, for tests that need some by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Raw = dict[str, Any]


def raw_sample(number: int, labels: list[Raw], **more: Any) -> Raw:
    return {"sample_id": f"{number:032x}" if number % 5 else f"sample {number}", "labels": labels, **more}


def raw_label(name: str = "rose", **more: Any) -> Raw:
    return {"name": name, "type": 0, "id": "1", "score": 0.9, "property": {"@modelarts:hard": "false"}, **more}


def without_id(labels: Sequence[Raw]) -> list[Raw]:
    return [{key: value for key, value in label.items() if key != "id"} for label in labels]


def stored(labels: Sequence[Raw]) -> list[Raw]:
    """Return what the service keeps of labels once they are final."""
    return [{key: label[key] for key in ("name", "type", "property") if key in label} for label in labels]
