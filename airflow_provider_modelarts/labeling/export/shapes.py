"""Places in an image: the shapes of contract 3.3, read from a label's properties. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.models import to_number

if TYPE_CHECKING:
    from collections.abc import Mapping

SHAPE = "@modelarts:shape"
FEATURE = "@modelarts:feature"
BOX, POLYGON, CIRCLE, LINE, DASHED, POINT, POLYLINE = (
    "bndbox",
    "polygon",
    "circle",
    "line",
    "dashed",
    "point",
    "polyline",
)
ALL_SHAPES = frozenset({BOX, POLYGON, CIRCLE, LINE, DASHED, POINT, POLYLINE})
_MANY = 1 << 30
# By shape, how many points it has at least and at most; a circle has its center and its radius.
_POINTS = {
    BOX: (2, 2),
    POLYGON: (3, _MANY),
    CIRCLE: (1, 1),
    LINE: (2, 2),
    DASHED: (2, 2),
    POINT: (1, 1),
    POLYLINE: (2, _MANY),
}

Number = float | int
Point = tuple[Number, Number]


class BadShapeError(ValueError):
    """A label marks a place that cannot be read as the contract has it; the text says why."""


class LabelShape(NamedTuple):
    """A place in an image, in pixels from its upper left corner.

    :param kind: one of :data:`ALL_SHAPES`
    :param points: its points; of a box the upper left and the lower right corner, of a circle the center
    :param radius: of a circle
    """

    kind: str
    points: tuple[Point, ...]
    radius: Number | None = None

    @property
    def bounds(self) -> tuple[Number, Number, Number, Number]:
        """The smallest box around it: left, top, right, bottom."""
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        reach = self.radius or 0
        return min(xs) - reach, min(ys) - reach, max(xs) + reach, max(ys) + reach

    def is_within(self, width: Number, height: Number) -> bool:
        """Whether all of it lies in an image of that size, in pixels."""
        left, top, right, bottom = self.bounds
        return left >= 0 and top >= 0 and right <= width and bottom <= height

    @property
    def area(self) -> Number:
        """The area of a box or of a polygon, in square pixels."""
        if self.kind == BOX:
            left, top, right, bottom = self.bounds
            return (right - left) * (bottom - top)
        following = (*self.points[1:], self.points[0])
        doubled = sum(x * below - right * y for (x, y), (right, below) in zip(self.points, following, strict=True))
        return abs(doubled) / 2


def read_shape(properties: Mapping[str, Any]) -> LabelShape | None:
    """Return the place that a label marks; None if it marks none. Nothing is guessed.

    :param properties: of the label, as they arrived (contract 3.3)
    :raises BadShapeError: if the place is not as the contract has it
    """
    kind, feature = properties.get(SHAPE), properties.get(FEATURE)
    if kind is None and feature is None:
        return None
    if not isinstance(kind, str) or kind not in ALL_SHAPES:
        raise BadShapeError(f"its shape is {kind!r}")
    if not isinstance(feature, list):
        raise BadShapeError(f"its {kind} has no list of points")
    radius = None
    if kind == CIRCLE:
        if len(feature) != 2:
            raise BadShapeError("its circle has not a center and a radius")
        (radius,) = _numbers(feature[1], 1)
        feature = feature[:1]
        if radius <= 0:
            raise BadShapeError("its circle has no radius above 0")
    points = tuple(map(_point, feature))
    fewest, most = _POINTS[kind]
    if not fewest <= len(points) <= most:
        raise BadShapeError(f"its {kind} has {len(points)} points")
    if kind == BOX and not (points[0][0] < points[1][0] and points[0][1] < points[1][1]):
        raise BadShapeError("the corners of its box are not upper left and lower right")
    return LabelShape(kind, points, radius)


def _point(value: object) -> Point:
    x, y = _numbers(value, 2)
    return x, y


def _numbers(value: object, count: int) -> list[Number]:
    numbers = [to_number(one) for one in value] if isinstance(value, list) else []
    found = [number for number in numbers if number is not None]
    if len(numbers) != count or len(found) != count:
        raise BadShapeError("a coordinate in it is no number")
    return found
