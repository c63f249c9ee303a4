"""Rows of a list of samples, read from the bytes of an answer.

A dataset has hundreds of thousands of proposals, and a confirmation looks at a few fields of each. So a page is decoded
once, into small records. The labels stay bytes: what is written back is, byte for byte, what came.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Raw, field

from airflow_provider_modelarts.client.models import parse_json, to_name, to_text
from airflow_provider_modelarts.client.resources.samples import (
    DETECTION,
    HARD,
    HARD_REASONS,
    SIZE,
    Sample,
    stable_origin,
)
from airflow_provider_modelarts.client.sample_updates import labeled_elements
from airflow_provider_modelarts.client.validation import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NULL = _NO_LABELS = Raw(b"null")
NOTHING = Raw(b"")
"""JSON that is not there; fields are left out of a record where they are this very object."""
_SPACE = re.compile(r"[ \t\n\r]*")
_parse_value = json.JSONDecoder().raw_decode


class RowProperty(msgspec.Struct, gc=False):
    """What a decision and a write need of a label's properties.

    :param hard: whether the label says that the example is hard, as it came: see ``to_flag``
    :param shape: the place in the image that it marks, or ``feature``, the older name; empty without
    """

    hard: bool | int | float | str | None = field(default=None, name=HARD)
    shape: Raw = field(default=NOTHING, name="@modelarts:shape")
    feature: Raw = field(default=NOTHING, name="@modelarts:feature")


class RowLabel(msgspec.Struct, gc=False):
    """What a decision and a write need of a label."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    type: int | None = None
    score: float | str | None = None
    property: RowProperty | None = None


class RowMetadata(msgspec.Struct, gc=False, omit_defaults=True):
    """What decisions, plans and writes need of a sample's metadata.

    :param size: JSON, exactly as it came; empty without
    """

    size: Raw = field(default=NOTHING, name=SIZE)
    hard: bool | int | float | str | None = field(default=None, name=HARD)
    hard_reasons: Any = field(default=None, name=HARD_REASONS)
    origin_source: str | None = field(default=None, name="@modelarts:origin_source")
    new_source: str | None = field(default=None, name="@modelarts:new_source")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hard={self.hard!r})"


class SampleRow(msgspec.Struct, gc=False):
    """One row of a list of samples. Fields as of :class:`Sample`, but for these.

    :param labels: JSON, exactly as it came
    :param read_labels: the labels once they are read, see :meth:`plain_labels`
    """

    is_odd: ClassVar[bool] = False
    """Whether something of it is not as the API documents it."""

    sample_id: Annotated[str, msgspec.Meta(min_length=1)]
    labels: Raw = _NO_LABELS
    score: int | float | str | None = None
    annotated_by: str | None = None
    worker_id: str | None = None
    source: str | None = None
    metadata: RowMetadata | None = None
    read_labels: list[RowLabel] | None = field(default=None, name="\ue000")  # no service sends that

    def __repr__(self) -> str:
        """Show no signatures: addresses of the sample and within its metadata have some."""
        return f"{type(self).__name__}(sample_id={self.sample_id!r}, labels={self.label_names!r})"

    @property
    def sample(self) -> Sample:
        """The sample as a model that has the fields above only."""
        raw: dict[str, Any] = {"sample_id": self.sample_id, "labels": parse_json(bytes(self.labels))}
        for name in ("score", "annotated_by", "worker_id", "source"):
            if (value := getattr(self, name)) is not None:
                raw[name] = value
        if self.metadata is not None:
            raw["metadata"] = parse_json(_encode(self.metadata))
        return Sample(raw)

    def plain_labels(self) -> list[RowLabel] | None:
        """Return the labels if there are some, and each is as documented and has a name; None: see :attr:`sample`."""
        if self.read_labels is None:
            try:
                labels = _decode_labels(self.labels)
            except msgspec.MsgspecError:
                labels = []
            # blanks are no name, as sample_updates.py says
            self.read_labels = labels if all(label.name.strip() for label in labels) else []
        return self.read_labels or None

    @property
    def label_names(self) -> list[str]:
        """The names of its labels, one for each."""
        labels = self.plain_labels()
        return self.sample.label_names if labels is None else [label.name for label in labels]

    @property
    def oddity(self) -> str | None:
        """As :attr:`Sample.oddity`."""
        return None if self.plain_labels() is not None else self.sample.oddity

    @property
    def origin(self) -> str | None:
        """As :attr:`Sample.origin`."""
        metadata = self.metadata
        places = () if metadata is None else (metadata.origin_source, metadata.new_source)
        return stable_origin(places, self.source)

    def element(self) -> bytes:
        """Return what is sent to confirm it, as JSON: id and labels as they came, of detection samples the size too.

        :raises InvalidRequest: if its labels cannot be written
        """
        labels = self.plain_labels()
        if labels is None or self.worker_id:
            return self._odd_element()
        marks_a_place = False
        for label in labels:
            if not label.name.strip():
                return self._odd_element()
            marks = label.property
            if label.type == DETECTION or (marks is not None and (marks.shape, marks.feature) != _NO_PLACE):
                marks_a_place = True
        sized, size = b"", NOTHING if self.metadata is None else self.metadata.size
        if marks_a_place and size != NOTHING and parse_json(bytes(size)):  # an empty one says nothing
            sized = b',"metadata":{"%b":%b}' % (SIZE.encode(), size)
        return b'{"sample_id":%b,"labels":%b%b}' % (_encode(self.sample_id), self.labels, sized)

    def _odd_element(self) -> bytes:
        """Return the same of a sample that needs a closer look; its labels still go out as they came."""
        (element,) = labeled_elements([self.sample])
        rest = {name: value for name, value in element.items() if name != "labels"}
        return b'%b,"labels":%b}' % (strict_json(rest, "the sample").encode()[:-1], self.labels)


class OddRow(SampleRow, gc=False, kw_only=True):
    """A row of which something is not as the API documents it.

    :param whole: its JSON
    """

    is_odd: ClassVar[bool] = True

    whole: Raw

    @property
    def sample(self) -> Sample:
        """The sample as a model."""
        return Sample(parse_json(bytes(self.whole)))

    def plain_labels(self) -> None:
        """Return nothing: see :attr:`sample`."""

    @property
    def origin(self) -> str | None:
        """As :attr:`Sample.origin`."""
        return self.sample.origin

    def element(self) -> bytes:
        """As of a plain row."""
        return self._odd_element()


_NO_PLACE = (NOTHING, NOTHING)


class _Page(msgspec.Struct, forbid_unknown_fields=True):
    """The plain form of an answer that lists samples; any other field may say that it is an error."""

    samples: list[SampleRow]
    sample_count: int | None = None


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_row = msgspec.json.Decoder(SampleRow).decode
_decode_labels = msgspec.json.Decoder(list[RowLabel]).decode
_encode = msgspec.json.Encoder().encode


def parse_page(body: bytes) -> Any:
    """Return an answer that lists samples, with its samples as rows; whatever else it is, as ``parse_json`` does.

    :raises ValueError: if it is no JSON
    :raises RecursionError: if it is nested too deep
    """
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into what it passes over
        page = _decode_page(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _parse_odd_page(body)
    return {"samples": page.samples, "sample_count": page.sample_count}


def _parse_odd_page(body: bytes) -> Any:
    """Return an answer in which something is not as documented; each row by itself is plain or odd."""
    content = parse_json(body)
    if not isinstance(content, dict) or not isinstance(content.get("samples"), list):
        return content
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    begin, end = dict(_members(text, 0))["samples"]
    content["samples"] = [parse_row(row.encode("utf-8", "surrogatepass")) for row in _elements(text[begin:end])]
    return content


def parse_row(row: bytes) -> SampleRow:
    """Return a row from its JSON, which is valid; one that is no object counts as one without properties."""
    try:
        if not row.isascii():
            row.decode()
        return _decode_row(row)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raw, text = parse_json(row), row.decode(json.detect_encoding(row), "surrogatepass")
    if not isinstance(raw, dict):
        raw, text = {}, "{}"
    places = dict(_members(text, 0))
    begin, end = places.get("labels", (0, 0))
    labels = text[begin:end].encode("utf-8", "surrogatepass") or b"null"
    return OddRow(
        to_name(raw.get("sample_id")),
        Raw(labels),
        annotated_by=to_text(raw.get("annotated_by")),
        worker_id=to_text(raw.get("worker_id")),
        whole=Raw(text.encode("utf-8", "surrogatepass")),
    )


def row_of(sample: Sample) -> SampleRow:
    """Return the row of a sample that is at hand as a model."""
    try:
        return parse_row(json.dumps(sample.raw).encode())
    except RecursionError:  # not to be met: the same was parsed
        return OddRow(sample.sample_id, whole=Raw(b"{}"))


def _members(text: str, place: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the keys of a JSON object, and where their values begin and end; it is known to be valid."""
    place = _skip(text, place) + 1
    while text[place := _skip(text, place)] != "}":
        if text[place] == ",":
            place = _skip(text, place + 1)
        key, place = _parse_value(text, place)
        begin = _skip(text, _skip(text, place) + 1)
        _, place = _parse_value(text, begin)
        yield key, (begin, place)


def _elements(text: str) -> Iterator[str]:
    """Yield the texts of a JSON array's elements; it is known to be valid."""
    place = 1
    while text[place := _skip(text, place)] != "]":
        if text[place] == ",":
            place = _skip(text, place + 1)
        begin = place
        _, place = _parse_value(text, begin)
        yield text[begin:place]


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return place if found is None else found.end()


def body_of(rows: Sequence[SampleRow]) -> bytes:
    """Return the body that confirms samples with the labels that they came with.

    :raises InvalidRequest: if one of them cannot be written
    """
    return b'{"samples":[%b]}' % b",".join([row.element() for row in rows])
