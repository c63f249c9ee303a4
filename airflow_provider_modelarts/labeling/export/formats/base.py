"""What a format can express, and what it is made of: the files that hold an export."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from airflow_provider_modelarts.labeling.export.shapes import BadShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.labeling.export.samples import ExportedLabel, ExportedSample

SEGMENTATION = 3
IMAGE_LABEL_TYPES = frozenset({None, 0, 1, SEGMENTATION})
"""Label types (contract 6.1) of images: classification, detection, segmentation; None: the service did not say."""


class ExportFault(NamedTuple):
    """Why a sample or a label cannot be exported.

    :param code: one word, for counts
    :param text: for people
    """

    code: str
    text: str


class ExportFile(NamedTuple):
    """One file of an export.

    :param name: below the export's folder
    :param content: makes what it holds, in pieces
    :param is_small: it holds one sample; there are many of its kind
    """

    name: str
    content: Callable[[], Iterable[bytes]]
    is_small: bool = False


class ExportContents(Protocol):
    """What the writers of a format are given."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the labels, in the order of their numbers."""

    @property
    def place(self) -> str:
        """The URI of the export's folder."""

    def samples(self) -> Iterator[ExportedSample]:
        """Yield all samples, in the same order each time."""


@dataclass(frozen=True)
class ExportFormat:
    """A format, and what it can express. What it cannot is named in the result.

    :param name: as users write it
    :param files: makes the files of an export
    :param folders: folders that its files lie in, beside the export's own
    :param shapes: places in an image that it can express
    :param image_labels: it can say that the image as a whole has a label
    :param other_labels: types of labels of texts and sounds that it can express
    :param needs_size: it needs the size of an image whose labels mark places
    :param needs_source: it needs to know where an image lies
    :param needs_stable_source: that must be in object storage
    :param stays_inside: a place must lie within the image
    :param keeps_all: it keeps labels as they are, whatever they say
    :param xml: what goes into XML, which has no control characters: labels that mark places, or all
    :param names_by_stem: names of images that differ in the extension alone count as the same; None: it names none
    :param takes_proposals: it can tell a proposal from a decision
    """

    name: str
    files: Callable[[ExportContents], Iterator[ExportFile]]
    folders: tuple[str, ...] = ()
    shapes: frozenset[str] = field(default_factory=frozenset)
    image_labels: bool = False
    other_labels: frozenset[int] = frozenset()
    needs_size: bool = False
    needs_source: bool = True
    needs_stable_source: bool = False
    stays_inside: bool = False
    keeps_all: bool = False
    xml: Literal["places", "all"] | None = None
    names_by_stem: bool | None = None
    takes_proposals: bool = False

    def fault_of_sample(self, sample: ExportedSample) -> ExportFault | None:
        """Return why no label of a sample can be exported; None if nothing is in the way."""
        if self.needs_source and sample.source is None:
            return ExportFault("no_source", "the service does not say where the image lies")
        if self.needs_stable_source and not str(sample.source).startswith(("s3://", "obs://")):
            return ExportFault("no_source", "the service names no place in object storage for the image")
        marks_places = any(label.marks_a_place for label in sample.kept)
        if self.xml and (marks_places or self.xml == "all") and not is_xml_text(str(sample.source)):
            return ExportFault("not_in_xml", "its address has characters that XML does not have")
        if self.needs_size and sample.size is None and marks_places:
            return ExportFault("no_size", "the service does not say how large the image is (@modelarts:size)")
        return None

    def fault_of_label(self, label: ExportedLabel, sample: ExportedSample) -> ExportFault | None:
        """Return why a label cannot be exported; None if it can."""
        if self.keeps_all:
            return None
        if label.type not in IMAGE_LABEL_TYPES:
            if label.type in self.other_labels:
                return None
            return ExportFault("label_type", f"labels of type {label.type} are not of images")
        if not label.name:
            return ExportFault("no_name", "a label has no name")
        is_in_xml = self.xml == "all" or (self.xml is not None and label.marks_a_place)
        if is_in_xml and not all(map(is_xml_text, xml_texts(label))):
            return ExportFault("not_in_xml", "a label has characters that XML does not have")
        return self._fault_of_place(label, sample)

    def _fault_of_place(self, label: ExportedLabel, sample: ExportedSample) -> ExportFault | None:
        try:
            shape = label.shape
        except BadShapeError as error:
            return ExportFault("bad_shape", f"a label marks a place that cannot be read: {error}")
        if shape is None:
            if label.marks_a_place or label.type == SEGMENTATION:
                return ExportFault("bad_shape", "a label of a detection or segmentation marks no place")
            return None if self.image_labels else ExportFault("image_label", "a label is of the image as a whole")
        if shape.kind not in self.shapes:
            return ExportFault(f"shape_{shape.kind}", f"it cannot express a {shape.kind}")
        if self.stays_inside and sample.size is not None:
            width, height, _ = sample.image
            if not shape.is_within(width, height):
                return ExportFault("outside_image", f"a {shape.kind} reaches beyond the image of {width} x {height}")
        return None


def xml_texts(label: ExportedLabel) -> Iterator[str]:
    """Yield the texts of a label that go into XML."""
    yield label.name
    for name, value in label.attributes.items():
        yield name
        yield text_of(value)


def text_of(value: Any) -> str:
    """Return a value of an attribute as text: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_xml_text(text: str) -> bool:
    """Whether XML 1.0 has all characters of a text."""
    return all(
        char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"
        for char in text
    )


def json_array(elements: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a JSON array of elements that end with a line break, an element in each line."""
    separator = b"[\n"
    for element in elements:
        yield separator + element.rstrip(b"\n")
        separator = b",\n"
    yield b"[]" if separator == b"[\n" else b"\n]"
