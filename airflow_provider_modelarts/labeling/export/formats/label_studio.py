"""Label Studio: a list of tasks, final labels as annotations and undecided proposals as predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard
from xml.sax.saxutils import quoteattr

from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat, json_array
from airflow_provider_modelarts.labeling.export.shapes import BOX, CIRCLE, POINT, POLYGON
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents
    from airflow_provider_modelarts.labeling.export.samples import ExportedLabel, ExportedSample, ImageSize
    from airflow_provider_modelarts.labeling.export.shapes import LabelShape

TASKS = "tasks.json"
CONFIG = "config.xml"
IMAGE, CHOICES = "image", "choice"
POINT_WIDTH = 0.5
"""How large a point is drawn, in percent of the image's width; Label Studio asks for that."""

# By shape, the tags of Label Studio's configuration and of a region.
_TAGS = {BOX: "RectangleLabels", POLYGON: "PolygonLabels", CIRCLE: "EllipseLabels", POINT: "KeyPointLabels"}
_MODEL = "modelarts/active-learning"


def _files(contents: ExportContents) -> Iterator[ExportFile]:
    yield ExportFile(CONFIG, lambda: [_config(contents)])
    yield ExportFile(TASKS, lambda: json_array(encode_line(_task(sample)) for sample in contents.samples()))


def _task(sample: ExportedSample) -> dict[str, Any]:
    result = _result(sample)
    meta = {name: value for name, value in sample.record.items() if name not in ("labels", "proposals", "source")}
    task = {"data": {IMAGE: sample.source}, "meta": meta}
    if not sample.is_proposal:
        return {**task, "annotations": [{"result": result}]}
    scores = [label.score for label in sample.kept if _is_score(label.score)]
    score = {"score": min(scores)} if scores else {}
    return {**task, "annotations": [], "predictions": [{"model_version": _MODEL, **score, "result": result}]}


def _result(sample: ExportedSample) -> list[dict[str, Any]]:
    """Return the regions of a sample; its labels as a whole are choices of one region."""
    whole = [label for label in sample.kept if label.shape is None]
    regions = [
        _region(number, label, sample.image)
        for number, label in enumerate((label for label in sample.kept if label.shape is not None), start=1)
    ]
    if whole:
        names = list(dict.fromkeys(label.name for label in whole))
        value = {"choices": names}
        regions.append({"id": "choices", "type": "choices", "from_name": CHOICES, "to_name": IMAGE, "value": value})
    return regions


def _region(number: int, label: ExportedLabel, size: ImageSize) -> dict[str, Any]:
    shape, (width, height, _) = label.place, size
    kind = _TAGS[shape.kind].lower()
    region = {
        "id": f"region-{number}",
        "type": kind,
        "from_name": shape.kind,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**_value(shape, width, height), kind: [label.name]},
    }
    return {**region, "score": label.score} if _is_score(label.score) else region


def _is_score(score: float | None) -> TypeGuard[float]:
    """Whether Label Studio takes a score."""
    return score is not None and 0 <= score <= 1


def _value(shape: LabelShape, width: int, height: int) -> dict[str, Any]:
    """Return where a region is, in percent of the image."""
    points = [[100 * x / width, 100 * y / height] for x, y in shape.points]
    (x, y), *_ = points
    if shape.kind == POLYGON:
        return {"points": points, "closed": True}
    if shape.kind == POINT:
        return {"x": x, "y": y, "width": POINT_WIDTH}
    if shape.kind == CIRCLE:
        radius = shape.radius or 0
        return {"x": x, "y": y, "radiusX": 100 * radius / width, "radiusY": 100 * radius / height, "rotation": 0}
    left, top, right, bottom = shape.bounds
    return {
        "x": x,
        "y": y,
        "width": 100 * (right - left) / width,
        "height": 100 * (bottom - top) / height,
        "rotation": 0,
    }


def _config(contents: ExportContents) -> bytes:
    """Return the labeling configuration that the tasks fit."""
    kinds: set[str] = set()
    for sample in contents.samples():
        kinds.update(CHOICES if label.shape is None else label.shape.kind for label in sample.kept)
    controls = [_control(kind, tag, "Label", contents) for kind, tag in _TAGS.items() if kind in kinds]
    if CHOICES in kinds or not kinds:
        controls.append(_control(CHOICES, "Choices", "Choice", contents))
    image = f'  <Image name="{IMAGE}" value="${IMAGE}"/>'
    return "\n".join(["<View>", image, *controls, "</View>\n"]).encode()


def _control(name: str, tag: str, item: str, contents: ExportContents) -> str:
    several = ' choice="multiple"' if tag == "Choices" else ""
    # quoteattr writes line breaks and tabs as references: a parser would make blanks of them.
    items = "".join(f"\n    <{item} value={quoteattr(label)}/>" for label in contents.classes)
    return f'  <{tag} name="{name}" toName="{IMAGE}"{several}>{items}\n  </{tag}>'


LABEL_STUDIO = ExportFormat(
    name="label-studio",
    files=_files,
    shapes=frozenset(_TAGS),
    image_labels=True,
    needs_size=True,
    stays_inside=True,
    xml="all",
    takes_proposals=True,
)
