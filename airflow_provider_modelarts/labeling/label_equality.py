"""When labels are the same. Pure."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.client.sample_rows import SampleRow

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import Sample

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode
_encode_anything = json.JSONEncoder(sort_keys=True).encode

HARD = "@modelarts:hard"
"""Prefix of the properties that say how hard an example is: the service may change those at any time."""

Labels = Iterable[Mapping[str, Any]]


def raw_labels(sample: Sample | SampleRow) -> list[dict[str, Any]]:
    """Return a sample's labels exactly as they arrived; of an odd sample what stands there may be no objects."""
    given = parse_json(bytes(sample.labels)) if isinstance(sample, SampleRow) else sample.raw.get("labels")
    labels: Any = given or []
    if isinstance(labels, list):
        return labels
    odd: Any = [[labels]]  # equal to no list of labels
    return odd  # type: ignore[no-any-return]


def labels_as_list(row: SampleRow) -> msgspec.Raw:
    """Return a row's labels as the JSON of a list, for files: exactly as they came, unless they are none."""
    is_list = bytes(memoryview(row.labels)[:1]) == b"["
    return row.labels if is_list else msgspec.Raw(json.dumps(raw_labels(row)).encode("ascii"))


def same_proposal(one: SampleRow, other: SampleRow) -> bool:
    """Whether two reads of a sample show the same labels: all keys but ``id`` equal, in the same order (B14)."""
    if one.labels == other.labels:
        return True
    return _without_id(raw_labels(one)) == _without_id(raw_labels(other))


def shows_part_of(listed: SampleRow, whole: SampleRow) -> bool:
    """Whether every label that a trimmed list shows of a sample is one of its labels, in the same order."""
    labels = iter(_without_id(raw_labels(whole)))
    return all(label in labels for label in _without_id(raw_labels(listed)))


def with_other_labels(rows: Sequence[SampleRow]) -> set[str]:
    """Return the ids under which samples with different labels are listed."""
    shown: dict[str, SampleRow] = {}
    if len({row.sample_id for row in rows}) == len(rows):
        return set()
    return {
        row.sample_id for row in rows if row.sample_id and not same_proposal(shown.setdefault(row.sample_id, row), row)
    }


def fingerprint(row: SampleRow) -> int:
    """Return 64 bits that stand for the labels of a proposal, as :func:`same_proposal` compares them (B18)."""
    try:
        labels = _decode(row.labels)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # half a surrogate pair, as an escape or as bytes
        labels = raw_labels(row)
    if type(labels) is list and all(type(label) is dict for label in labels):
        for label in labels:
            label.pop("id", None)
    else:
        labels = _without_id(raw_labels(row))
    try:
        text = _encode(labels)
    except (ValueError, OverflowError):  # half a surrogate pair, an integer of more than 64 bits
        text = b""
    if not text or b"null" in text:  # which may stand for NaN as well
        text = _encode_anything(labels).encode("ascii")
    return int.from_bytes(blake2b(text, digest_size=8).digest())


def has_labels_of(final: Sample, written: Sample | SampleRow, *, loosely: bool = False) -> bool:
    """Whether a labeled sample has the labels that were written to it.

    Only name, type and property of a label count, in any order: the service keeps nothing else (contract 4.1,
    effects). If no type was sent, the service may choose it. How hard an example is does not count.

    :param final: the sample as it is now, with its final labels
    :param written: the proposal that was confirmed
    :param loosely: names that differ by blanks, case or the form of their characters (NFKC) count as equal, since a
        service may normalize them. Never use it to decide what is removed from a sample: a person may have corrected
        just that
    """
    kept, sent = raw_labels(final), raw_labels(written)
    if not all(isinstance(label, Mapping) for label in (*kept, *sent)):
        return False
    typed = all(label.get("type") is not None for label in sent)
    return bool(sent) and _kept(kept, typed=typed, loosely=loosely) == _kept(sent, typed=typed, loosely=loosely)


def labels_identity(final: Sample) -> list[str]:
    """Return what the labels of a sample are, in any order, as :func:`has_labels_of` compares them."""
    return _kept(raw_labels(final), typed=True, loosely=False)


def labels_digest(sample: Sample) -> bytes:
    """Return 16 bytes that stand for a sample's final labels, as :func:`has_labels_of` compares them."""
    text = json.dumps(labels_identity(sample))
    return blake2b(text.encode("ascii"), digest_size=16).digest()


def names(sample: Sample | SampleRow) -> str:
    """Return the names of a sample's labels as a message shows them."""
    return ", ".join(repr(label.get("name") if isinstance(label, Mapping) else label) for label in raw_labels(sample))


def _without_id(labels: Labels) -> list[Any]:
    return [
        {key: value for key, value in label.items() if key != "id"} if isinstance(label, Mapping) else label
        for label in labels
    ]


def _kept(labels: Labels, *, typed: bool, loosely: bool) -> list[str]:
    return sorted(_identity(label, typed=typed, loosely=loosely) for label in labels)


def _identity(label: Any, *, typed: bool, loosely: bool) -> str:
    if not isinstance(label, Mapping):
        return json.dumps({"no label": label})
    # No name is an empty one: labels of speech have none.
    name, value = label.get("name") or None, label.get("property")
    if loosely and isinstance(name, str):
        name = "".join(unicodedata.normalize("NFKC", name).casefold().split())
    if isinstance(value, Mapping):
        value = {key: value[key] for key in value if not str(key).startswith(HARD)}
    return json.dumps([name, label.get("type") if typed else None, _plain(value)])


def _plain(value: Any) -> Any:
    """Bring numbers and empty maps to one form: 1 and 1.0 are equal, and no property is an empty one."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value or {} if value is None else value
