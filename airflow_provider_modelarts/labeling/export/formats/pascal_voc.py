"""Pascal VOC: an XML file for each image. The manifest of ModelArts keeps more shapes in the same form."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from airflow_provider_modelarts.client.models import to_flag
from airflow_provider_modelarts.client.resources.samples import HARD
from airflow_provider_modelarts.labeling.export.file_names import stem_of
from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat, text_of
from airflow_provider_modelarts.labeling.export.shapes import BOX, CIRCLE, POINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents
    from airflow_provider_modelarts.labeling.export.samples import ExportedLabel, ExportedSample
    from airflow_provider_modelarts.labeling.export.shapes import LabelShape, Number

FOLDER = "Annotations"
_LINE_END = {"\r": "&#13;"}  # a parser reads a bare one as a line feed


def _files(contents: ExportContents) -> Iterator[ExportFile]:
    for sample in contents.samples():
        yield xml_file(FOLDER, sample, sample.kept, with_attributes=False)


def xml_file(folder: str, sample: ExportedSample, labels: list[ExportedLabel], *, with_attributes: bool) -> ExportFile:
    """Return the file about the places that labels of a sample mark.

    :param folder: where it lies
    :param with_attributes: custom attributes of labels go into it, in ModelArts's own element ``properties``
    """
    name = f"{folder}/{stem_of(sample.file_name)}.xml"
    return ExportFile(name, partial(_document, sample, labels, with_attributes=with_attributes), is_small=True)


def _document(sample: ExportedSample, labels: list[ExportedLabel], *, with_attributes: bool) -> list[bytes]:
    width, height, depth = sample.image
    head = [
        "<annotation>",
        "<folder>images</folder>",
        _element("filename", sample.file_name),
        _element("path", sample.source or ""),
        f"<source>{_element('database', 'ModelArts')}</source>",
        f"<size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>",
        "<segmented>0</segmented>",
    ]
    objects = [_object(label, with_attributes=with_attributes) for label in labels]
    return ["\n".join(['<?xml version="1.0" encoding="utf-8"?>', *head, *objects, "</annotation>\n"]).encode()]


def _object(label: ExportedLabel, *, with_attributes: bool) -> str:
    is_hard = bool(to_flag(label.properties.get(HARD)))
    parts = [
        _element("name", label.name),
        "<pose>Unspecified</pose>",
        "<truncated>0</truncated>",
        "<occluded>0</occluded>",
        f"<difficult>{int(is_hard)}</difficult>",
        _place(label.place),
    ]
    if with_attributes:
        parts += _properties(label)
    return "<object>" + "".join(parts) + "</object>"


def _properties(label: ExportedLabel) -> Iterator[str]:
    """Yield the custom attributes of a label as ModelArts has them; its own begin with an @."""
    custom = {name: value for name, value in label.attributes.items() if not name.startswith("@")}
    if custom:
        pairs = (_element("key", name) + _element("value", text_of(value)) for name, value in custom.items())
        yield "<properties>" + "".join(f"<property>{pair}</property>" for pair in pairs) + "</properties>"


def _place(shape: LabelShape) -> str:
    numbers = "".join(f"<{name}>{_plain(value)}</{name}>" for name, value in _coordinates(shape))
    return f"<{shape.kind}>{numbers}</{shape.kind}>"


def _coordinates(shape: LabelShape) -> Iterator[tuple[str, Number]]:
    """Yield the elements of a place by the names that ModelArts gives them."""
    if shape.kind == BOX:
        yield from zip(("xmin", "ymin", "xmax", "ymax"), shape.bounds, strict=True)
    elif shape.kind == CIRCLE:
        yield from zip(("cx", "cy", "r"), (*shape.points[0], shape.radius or 0), strict=True)
    elif shape.kind == POINT:
        yield from zip(("x", "y"), shape.points[0], strict=True)
    else:
        for number, (x, y) in enumerate(shape.points, start=1):
            yield f"x{number}", x
            yield f"y{number}", y


def _plain(number: Number) -> str:
    """Return a whole number without a fraction: the vendor's reader takes no other."""
    return str(int(number)) if number == int(number) else repr(number)


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text, _LINE_END)}</{name}>"


PASCAL_VOC = ExportFormat(
    name="pascal-voc",
    files=_files,
    folders=(FOLDER,),
    shapes=frozenset({BOX}),
    needs_size=True,
    xml="all",
    names_by_stem=True,
)
