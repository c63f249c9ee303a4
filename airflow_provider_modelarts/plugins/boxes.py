"""The places that labels mark in a picture, as SVG draws them. Pure.

What goes into the page from here are names that stand in this module, and numbers.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client.resources.samples import SIZE
from airflow_provider_modelarts.labeling.export.samples import read_size
from airflow_provider_modelarts.labeling.export.shapes import (
    BOX,
    CIRCLE,
    DASHED,
    LINE,
    POINT,
    POLYGON,
    POLYLINE,
    BadShapeError,
    read_shape,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_modelarts.client import Sample, SampleLabel
    from airflow_provider_modelarts.labeling.export.shapes import LabelShape, Number

_DIGITS_IN_PICTURE = 9
"""The number at a box is as high as the longer side of the picture, divided by this."""


class SvgElement(NamedTuple):
    """A shape as an element of SVG.

    :param tag: the name of the element
    :param attributes: where it lies, in pixels of the picture
    """

    tag: str
    attributes: Mapping[str, Number | str]


class DrawnBox(NamedTuple):
    """A label that is drawn.

    :param number: its number in the sample, from 1
    :param shape: the place that it marks
    :param element: the same for SVG
    """

    number: int
    shape: LabelShape
    element: SvgElement


class PictureBoxes(NamedTuple):
    """What is drawn upon the picture of a sample, and what cannot be drawn.

    :param width: of the picture, in pixels; 0: the service does not say, and nothing is drawn
    :param height: of the picture, in pixels; 0 as above
    :param drawn: what is drawn, the largest first: smaller ones lie upon them
    :param faults: why labels cannot be drawn, with the numbers of these labels
    """

    width: int
    height: int
    drawn: list[DrawnBox]
    faults: Mapping[str, list[int]]

    @property
    def digit_height(self) -> float:
        """How high the numbers at the boxes are, in pixels of the picture."""
        return max(self.width, self.height) / _DIGITS_IN_PICTURE

    def number_at(self, box: DrawnBox) -> tuple[Number, Number]:
        """Return where the lower left corner of a number lies, x and y: within the picture, if that is wide enough."""
        (x, y), height = box.shape.points[0], self.digit_height
        return max(min(x, self.width - height), 0), max(min(y + height, self.height), height)


def boxes_of(sample: Sample) -> PictureBoxes:
    """Return what can be drawn upon the picture of a sample.

    Each label that should mark a place is drawn whole, or its number stands with the reason why it is not.

    :param sample: its labels and its size as they arrived (contract 3.3)
    """
    width, height, _ = read_size(sample.metadata.get(SIZE)) or (0, 0, 0)
    drawn: list[DrawnBox] = []
    faults: defaultdict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(sample.labels, 1):
        if not label.is_detection:
            continue
        try:
            shape = _visible_shape(label, width, height)
            drawn.append(DrawnBox(number, shape, _ELEMENTS[shape.kind](shape)))
        except BadShapeError as error:
            faults[str(error)].append(number)
    drawn.sort(key=_extent, reverse=True)
    return PictureBoxes(width, height, drawn, dict(faults))


def _visible_shape(label: SampleLabel, width: int, height: int) -> LabelShape:
    """Return the place that a label marks; raise BadShapeError if there is none, or if nobody could see it.

    Machines often propose boxes that reach over the border by some pixels: those are drawn as they are.
    """
    shape = read_shape(label.property)
    if shape is None:
        raise BadShapeError("it marks no place")
    if not width:
        raise BadShapeError("the service does not say how large the picture is")
    left, top, right, bottom = shape.bounds
    if not (
        -width <= left <= width and 0 <= right <= 2 * width and -height <= top <= height and 0 <= bottom <= 2 * height
    ):
        raise BadShapeError(f"it lies beyond the picture of {width} x {height} pixels")
    return shape


def _extent(box: DrawnBox) -> Number:
    """Return how far a box reaches; an area would be 0 for all lines along the sides of the picture."""
    left, top, right, bottom = box.shape.bounds
    return right - left + bottom - top


def _rectangle(shape: LabelShape) -> SvgElement:
    left, top, right, bottom = shape.bounds
    return SvgElement("rect", {"x": left, "y": top, "width": right - left, "height": bottom - top})


def _circle(shape: LabelShape) -> SvgElement:
    ((x, y),) = shape.points
    return SvgElement("circle", {"cx": x, "cy": y, "r": shape.radius or 0})


def _polygon(shape: LabelShape) -> SvgElement:
    return SvgElement("polygon", {"points": _points(shape)})


def _line(shape: LabelShape) -> SvgElement:
    return SvgElement("polyline", {"points": _points(shape)})


def _point(shape: LabelShape) -> SvgElement:
    # A line to where it begins is a dot, as wide as the style sheet says in whatever size the picture is shown.
    return SvgElement("polyline", {"points": f"{_points(shape)} {_points(shape)}", "class": "point"})


def _points(shape: LabelShape) -> str:
    return " ".join(f"{x},{y}" for x, y in shape.points)


_ELEMENTS: dict[str, Callable[[LabelShape], SvgElement]] = {
    BOX: _rectangle,
    CIRCLE: _circle,
    POLYGON: _polygon,
    LINE: _line,
    DASHED: _line,
    POLYLINE: _line,
    POINT: _point,
}
