"""The manifest of ModelArts (contract 6.7), as it is imported: JSON Lines, with Pascal VOC XML beside it for places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.models import to_flag, to_number
from airflow_provider_modelarts.client.resources.samples import HARD
from airflow_provider_modelarts.labeling.export.formats.base import SEGMENTATION, ExportFile, ExportFormat
from airflow_provider_modelarts.labeling.export.formats.pascal_voc import xml_file
from airflow_provider_modelarts.labeling.export.shapes import ALL_SHAPES
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents
    from airflow_provider_modelarts.labeling.export.samples import ExportedLabel, ExportedSample

MANIFEST = "labels.manifest"
FOLDER = "annotations"
_HARD_COEFFICIENT = f"{HARD}_coefficient"
# Label types (contract 6.1) by the words of the manifest.
_KINDS = {
    0: "image_classification",
    100: "text_classification",
    101: "text_entity",
    102: "text_triplet",
    103: "text_triplet",
    200: "audio_classification",
    201: "audio_content",
    202: "audio_segmentation",
}
_SAMPLE_TYPES = {100: 1, 101: 1, 102: 1, 103: 1, 200: 2, 201: 2, 202: 2}


def _files(contents: ExportContents) -> Iterator[ExportFile]:
    yield ExportFile(MANIFEST, lambda: (encode_line(_line(contents.place, sample)) for sample in contents.samples()))
    for sample in contents.samples():
        marking = [label for label in sample.kept if label.marks_a_place]
        if marking:
            yield xml_file(FOLDER, sample, marking, with_attributes=True)


def _line(place: str, sample: ExportedSample) -> dict[str, Any]:
    marking = [label for label in sample.kept if label.marks_a_place]
    others = [label for label in sample.kept if not label.marks_a_place]
    annotations = [_annotation(sample, label) for label in others]
    if marking:
        annotations.append(_place_annotation(place, sample, marking))
    known = {"source": sample.source, "usage": sample.usage, "id": sample.sample_id}
    sample_type = _SAMPLE_TYPES.get(sample.kept[0].type or 0, 0)
    return {
        **{name: value for name, value in known.items() if value is not None},
        "sample-type": sample_type,
        "annotation": annotations,
    }


def _annotation(sample: ExportedSample, label: ExportedLabel) -> dict[str, Any]:
    """Return one label that marks no place in an image."""
    attributes = {name: value for name, value in label.attributes.items() if not name.startswith(HARD)}
    is_hard = to_flag(label.properties.get(HARD))
    said = {
        "name": label.name or None,
        "id": label.raw.get("id"),
        "property": attributes or None,
        "hard": None if is_hard is None else str(is_hard).lower(),
        "hard-coefficient": to_number(label.properties.get(_HARD_COEFFICIENT)),
        "confidence": label.score,
    }
    kind = {"type": f"modelarts/{_KINDS.get(label.type or 0, _KINDS[0])}"}
    return {**kind, **{name: value for name, value in said.items() if value is not None}, **_labeled(sample)}


def _place_annotation(place: str, sample: ExportedSample, labels: list[ExportedLabel]) -> dict[str, Any]:
    """Return where the places are that labels mark."""
    is_segmentation = any(label.type == SEGMENTATION for label in labels)
    return {
        "type": f"modelarts/{'image_segmentation' if is_segmentation else 'object_detection'}",
        "annotation-format": "PASCAL VOC",
        "annotation-loc": f"{place}/{xml_file(FOLDER, sample, labels, with_attributes=True).name}",
        **_labeled(sample),
    }


def _labeled(sample: ExportedSample) -> dict[str, Any]:
    """Return who labeled a sample, and when, as far as that is known."""
    at = (sample.confirmation or {}).get("confirmed_at")
    when = {} if at is None else {"creation-time": str(at)[:19].replace("T", " ")}
    return {"annotated-by": sample.annotated_by or "human", **when}


MODELARTS_MANIFEST = ExportFormat(
    name="modelarts-manifest",
    files=_files,
    folders=(FOLDER,),
    shapes=ALL_SHAPES,
    image_labels=True,
    other_labels=frozenset(_KINDS),
    needs_size=True,
    needs_stable_source=True,
    xml="places",
    names_by_stem=True,
)
