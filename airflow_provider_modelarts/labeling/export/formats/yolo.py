"""YOLO: a text file for each image, with a line for each box or outline, relative to the size of the image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.export.file_names import stem_of
from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat
from airflow_provider_modelarts.labeling.export.shapes import BOX, POLYGON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents
    from airflow_provider_modelarts.labeling.export.samples import ExportedSample
    from airflow_provider_modelarts.labeling.export.shapes import LabelShape, Number

FOLDER = "labels"
CLASSES = "data.yaml"
_SHORT, _LONG = 0x100, 0x10000


def _files(
    contents: ExportContents, numbers_of: Callable[[LabelShape, int, int], Iterable[Number]]
) -> Iterator[ExportFile]:
    yield ExportFile(CLASSES, lambda: [_classes(contents.classes).encode("ascii")])
    classes = {name: str(number) for number, name in enumerate(contents.classes)}
    for sample in contents.samples():
        lines = partial(_lines, sample, classes, numbers_of)
        yield ExportFile(f"{FOLDER}/{stem_of(sample.file_name)}.txt", lines, is_small=True)


def _lines(
    sample: ExportedSample, classes: dict[str, str], numbers_of: Callable[[LabelShape, int, int], Iterable[Number]]
) -> list[bytes]:
    width, height, _ = sample.image
    lines = [" ".join([classes[one.name], *map(repr, numbers_of(one.place, width, height))]) for one in sample.kept]
    return ["".join(f"{line}\n" for line in lines).encode("ascii")]


def _box(shape: LabelShape, width: int, height: int) -> Iterable[Number]:
    left, top, right, bottom = shape.bounds
    return (left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height


def _outline(shape: LabelShape, width: int, height: int) -> Iterable[Number]:
    """Return the points of a polygon; a box is one of four points."""
    left, top, right, bottom = shape.bounds
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    points = corners if shape.kind == BOX else shape.points
    return [number for x, y in points for number in (x / width, y / height)]


def _classes(names: Iterable[str]) -> str:
    """Return the names of the classes by number, as the YAML that YOLO reads."""
    rows = "".join(f"  {number}: {_quoted(name)}\n" for number, name in enumerate(names))
    return f"path: .\ntrain: images\nval: images\nnames:\n{rows}" if rows else "path: .\nnames: {}\n"


def _quoted(text: str) -> str:
    """Return a text in YAML's double quotes, which can hold any character as an escape."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return f"\\{char}"
    if " " <= char <= "~":
        return char
    return f"\\x{code:02x}" if code < _SHORT else f"\\u{code:04x}" if code < _LONG else f"\\U{code:08x}"


YOLO = ExportFormat(
    name="yolo",
    files=partial(_files, numbers_of=_box),
    folders=(FOLDER,),
    shapes=frozenset({BOX}),
    needs_size=True,
    stays_inside=True,
    names_by_stem=True,
)
YOLO_SEGMENT = ExportFormat(
    name="yolo-segment",
    files=partial(_files, numbers_of=_outline),
    folders=(FOLDER,),
    shapes=frozenset({BOX, POLYGON}),
    needs_size=True,
    stays_inside=True,
    names_by_stem=True,
)
