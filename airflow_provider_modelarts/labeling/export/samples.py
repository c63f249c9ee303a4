"""A sample as an export takes it: its labels as the service shows them, without addresses that hold a signature."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.models import to_integer
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.resources.samples import SIZE, STABLE_SCHEMES, SampleLabel
from airflow_provider_modelarts.labeling.export.shapes import FEATURE, SHAPE, LabelShape, read_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_modelarts.client import Sample

DEFAULT_DEPTH = 3
"""Contract 3.3: the depth of an image of which only width and height are given."""
REDACTED = "(left out: an address with a signature or a password)"

# An address may stand in a text in other forms than its own: in JSON, in another address, without its scheme. What
# still looks signed when its query was cut is left out whole.
_ADDRESS = re.compile(r"//|/\\/|%2f%2f", re.IGNORECASE)
_SIGNED = re.compile(r"(signature|security-?token)(=|%3d)|//[^/?#\s@]*:[^/?#\s@]*@", re.IGNORECASE)


class ImageSize(NamedTuple):
    """Pixels of an image, and its channels."""

    width: int
    height: int
    depth: int


class ExportedLabel:
    """One label of an exported sample.

    :param raw: the label as it came
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        label = SampleLabel(raw)
        self.name: str = label.name
        self.type: int | None = label.type
        self.score: float | None = label.score
        self.properties: Mapping[str, Any] = label.property
        self.marks_a_place: bool = label.is_detection

    @cached_property
    def shape(self) -> LabelShape | None:
        """The place that it marks; raises BadShapeError if that cannot be read."""
        return read_shape(self.properties)

    @property
    def place(self) -> LabelShape:
        """The place that it marks; only of labels that mark one."""
        shape = self.shape
        if shape is None:
            raise ValueError(f"label {self.name!r} marks no place")
        return shape

    @property
    def attributes(self) -> dict[str, Any]:
        """What its properties say beside the place."""
        return {name: value for name, value in self.properties.items() if name not in (SHAPE, FEATURE)}


@dataclass
class ExportedSample:
    """What an export knows of a sample; made of what JSON has, so that it can wait in a temporary file.

    :param sample_id: the sample
    :param source: where it lies, without signature; None: the service does not say
    :param size: width, height, depth; None: the service does not say
    :param annotated_by: who labeled it, in the service's words
    :param usage: TRAIN, EVAL, TEST or INFERENCE, if the service says so
    :param labels: its labels as they came
    :param is_proposal: the labels are proposed, and nobody has decided
    :param confirmation: who confirmed it, when and by which rule, if a ledger says so
    :param planned: what a plan has decided about it, if one was given
    :param left_out: positions of labels that the format cannot express
    :param file_name: the name of its image in this export, if the format has one
    """

    sample_id: str
    source: str | None
    size: list[int] | None
    annotated_by: str | None
    usage: str | None
    labels: list[dict[str, Any]]
    is_proposal: bool = False
    confirmation: dict[str, Any] | None = None
    planned: dict[str, Any] | None = None
    left_out: list[int] = field(default_factory=list)
    file_name: str = ""

    @property
    def image(self) -> ImageSize:
        """Its size; only where a format that needs it has checked that it is there."""
        width, height, depth = self.size or (0, 0, 0)
        return ImageSize(width, height, depth)

    @cached_property
    def kept(self) -> list[ExportedLabel]:
        """The labels that the format can express."""
        return [ExportedLabel(raw) for place, raw in enumerate(self.labels) if place not in self.left_out]

    def keep_all_but(self, places: Iterable[int]) -> None:
        """Leave out labels.

        :param places: their positions
        """
        self.left_out = list(places)
        self.__dict__.pop("kept", None)

    @property
    def record(self) -> dict[str, Any]:
        """The sample for ``samples.jsonl``: all that is known of it, with all labels exactly as they are."""
        key = "proposals" if self.is_proposal else "labels"
        known = {
            "sample_id": self.sample_id,
            "file_name": self.file_name or None,
            "source": self.source,
            "size": self.size,
            "annotated_by": self.annotated_by or None,
            "usage": self.usage,
            "confirmation": self.confirmation,
            "planned": self.planned,
        }
        return {**{name: value for name, value in known.items() if value is not None}, key: self.labels}


def exported(sample: Sample, *, is_proposal: bool) -> tuple[ExportedSample, bool]:
    """Return a sample as an export takes it, and whether something looked like a signed address and was cut.

    :param sample: as the service lists it, not odd
    :param is_proposal: it is a proposal
    """
    labels = [dict(label.raw) for label in sample.labels]
    cleaned = [{key: value if key == "name" else _clean(value) for key, value in label.items()} for label in labels]
    usage = sample.raw.get("sample_usage")
    return (
        ExportedSample(
            sample_id=sample.sample_id,
            source=_source(sample.origin),
            size=read_size(sample.metadata.get(SIZE)),
            annotated_by=sample.annotated_by,
            usage=usage if isinstance(usage, str) and usage else None,
            labels=cleaned,
            is_proposal=is_proposal,
        ),
        cleaned != labels,
    )


def _source(origin: str | None) -> str | None:
    """Return where a sample lies; a question mark in the name of an object begins no query."""
    if origin is None or (origin.startswith(STABLE_SCHEMES) and not _SIGNED.search(origin)):
        return origin
    return without_queries(origin) or None


def read_size(value: object) -> list[int] | None:
    """Return width, height and depth of an image; None if they are not two or three whole numbers above 0.

    :param value: what the metadata of its sample say (``@modelarts:size``, contract 3.3)
    """
    numbers = [to_integer(one) for one in value] if isinstance(value, list) else []
    found = [number for number in numbers if number is not None and number > 0]
    if len(found) != len(numbers) or len(found) not in (2, 3):
        return None
    return found if len(found) == len(ImageSize._fields) else [*found, DEFAULT_DEPTH]


def _clean(value: Any) -> Any:
    """Return a value without queries of addresses: attributes of labels are free text, and may hold a presigned one."""
    if isinstance(value, str):
        found = without_queries(value) if "://" in value else value
        return REDACTED if _ADDRESS.search(found) and _SIGNED.search(found) else found
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    return value
