"""COCO: one JSON document with images, annotations and categories, for boxes and polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat, json_array
from airflow_provider_modelarts.labeling.export.shapes import BOX, POLYGON
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents
    from airflow_provider_modelarts.labeling.export.samples import ExportedLabel, ExportedSample

DOCUMENT = "annotations.json"


def _files(contents: ExportContents) -> Iterator[ExportFile]:
    yield ExportFile(DOCUMENT, lambda: _document(contents))


def _document(contents: ExportContents) -> Iterator[bytes]:
    """Yield the document in pieces; the samples are read once for the images and once for the annotations."""
    numbers = {name: number for number, name in enumerate(contents.classes, start=1)}
    yield b'{"info":{"description":"Labels of a ModelArts dataset"},"licenses":[],"categories":'
    yield from json_array(encode_line({"id": number, "name": name}) for name, number in numbers.items())
    yield b',"images":'
    yield from json_array(
        encode_line(_image(number, sample)) for number, sample in enumerate(contents.samples(), start=1)
    )
    yield b',"annotations":'
    yield from json_array(_annotations(contents, numbers))
    yield b"}\n"


def _image(number: int, sample: ExportedSample) -> dict[str, Any]:
    width, height, _ = sample.image
    return {
        "id": number,
        "file_name": sample.file_name,
        "width": width,
        "height": height,
        "sample_id": sample.sample_id,
        "source": sample.source,
    }


def _annotations(contents: ExportContents, numbers: dict[str, int]) -> Iterator[bytes]:
    annotation_id = 0
    for image_id, sample in enumerate(contents.samples(), start=1):
        for label in sample.kept:
            annotation_id += 1
            yield encode_line(
                {"id": annotation_id, "image_id": image_id, "category_id": numbers[label.name], **_place(label)}
            )


def _place(label: ExportedLabel) -> dict[str, Any]:
    shape = label.place
    left, top, right, bottom = shape.bounds
    outline = [[number for point in shape.points for number in point]] if shape.kind == POLYGON else []
    return {
        "bbox": [left, top, right - left, bottom - top],
        "area": shape.area,
        "segmentation": outline,
        "iscrowd": 0,
        "attributes": label.attributes,
    }


COCO = ExportFormat(
    name="coco",
    files=_files,
    shapes=frozenset({BOX, POLYGON}),
    needs_size=True,
    names_by_stem=False,
)
