"""Hugging Face's image folder: a ``metadata.jsonl`` that names the image of each line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat
from airflow_provider_modelarts.labeling.export.shapes import ALL_SHAPES
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents
    from airflow_provider_modelarts.labeling.export.samples import ExportedSample

METADATA = "metadata.jsonl"


def _files(contents: ExportContents) -> Iterator[ExportFile]:
    yield ExportFile(METADATA, lambda: (encode_line(_row(sample)) for sample in contents.samples()))


def _row(sample: ExportedSample) -> dict[str, Any]:
    """Return a row; all rows have the same columns with values of the same kinds, as a table needs them."""
    width, height, _ = sample.size or (None, None, None)
    whole = [label.name for label in sample.kept if label.shape is None]
    marking = [(label, label.place) for label in sample.kept if label.shape is not None]
    boxes = [shape.bounds for _, shape in marking]
    return {
        "file_name": sample.file_name,
        "sample_id": sample.sample_id,
        "source": sample.source,
        "width": width,
        "height": height,
        "labels": whole,
        "objects": {
            "categories": [label.name for label, _ in marking],
            "bbox": [
                [float(number) for number in (left, top, right - left, bottom - top)]
                for left, top, right, bottom in boxes
            ],
            "shape": [shape.kind for _, shape in marking],
            "points": [[[float(x), float(y)] for x, y in shape.points] for _, shape in marking],
            "radius": [None if shape.radius is None else float(shape.radius) for _, shape in marking],
        },
    }


IMAGEFOLDER = ExportFormat(
    name="imagefolder",
    files=_files,
    shapes=ALL_SHAPES,
    image_labels=True,
    names_by_stem=False,
)
