"""Whether a person left a proposal as it was. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.models import to_name, to_number, to_object
from airflow_provider_modelarts.labeling.label_equality import raw_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_modelarts.client.sample_rows import SampleRow

MEANING = tuple(
    f"@modelarts:{key}"
    for key in ("content", "source", "start_time", "end_time", "start_index", "end_index", "from", "to")
)
"""Properties of labels of speech and text that say what they are about (contract 3.3)."""
SHAPE = "@modelarts:shape"
FEATURE = "@modelarts:feature"
BOX = "bndbox"
_NO_SHAPE = ("", None)


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Its area; 0 if it is turned inside out."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


class Answer(NamedTuple):
    """What a person said of a proposal.

    :param right: the proposal was left as it was
    :param names: the label names that the person gave
    """

    right: bool
    names: tuple[str, ...]


def judge(proposal: SampleRow, labels: Sequence[Mapping[str, Any]], iou: float) -> Answer:
    """Return what the labels that a person gave say of a proposal.

    It is right if the labels have the same names, as often and in any order. Boxes must also lie in the same place: of
    the boxes of a name each must overlap one of the proposal's by ``iou``. Other shapes must be the same, and so must
    be the words of a text and what was said and when. Attributes of one's own do not count.

    :param proposal: as it was planned
    :param labels: what the person gave, as the service shows it
    :param iou: least intersection over union of two boxes that count as the same, 0 to 1
    """
    names = tuple(to_name(to_object(label).get("name")) for label in labels)
    proposed = _by_meaning_and_shape(raw_labels(proposal))
    given = _by_meaning_and_shape(labels)
    is_right = proposed.keys() == given.keys() and all(
        _same_places(kind[1], proposed[kind], given[kind], iou) for kind in proposed
    )
    return Answer(is_right, names)


def judge_names(proposal: SampleRow, names: Sequence[str]) -> Answer:
    """Return what bare names say; where more than names was proposed, they never say that all is right."""
    says_more = any(
        _shape(label) not in _NO_SHAPE or _meaning(label) != to_name(to_object(label).get("name"))
        for label in raw_labels(proposal)
    )
    return Answer(not says_more and Counter(names) == Counter(proposal.label_names), tuple(names))


def _shape(label: Any) -> Any:
    value = to_object(to_object(label).get("property"))
    # Older boxes have no shape.
    return value.get(SHAPE) or (BOX if FEATURE in value else "")


def _meaning(label: Any) -> str:
    """Return what a label says: its name, and which words, seconds or other labels it is about."""
    value = to_object(to_object(label).get("property"))
    parts = (f"\n{key}={value[key]}" for key in MEANING if value.get(key) not in (None, ""))
    return "".join((to_name(to_object(label).get("name")), *parts))


def _by_meaning_and_shape(labels: Sequence[Any]) -> dict[tuple[str, Any], list[Any]]:
    """Return the places of labels by name and shape; a label without a place counts as one that has None."""
    found: dict[tuple[str, Any], list[Any]] = {}
    for label in labels:
        place = to_object(to_object(label).get("property")).get(FEATURE)
        found.setdefault((_meaning(label), str(_shape(label))), []).append(place)
    return found


def _same_places(shape: Any, proposed: Sequence[Any], given: Sequence[Any], iou: float) -> bool:
    if len(proposed) != len(given):
        return False
    if shape in _NO_SHAPE:
        return True

    boxes = shape == BOX
    ours, theirs = ([(place, _box(place) if boxes else None) for place in places] for places in (proposed, given))
    return _can_be_matched(
        [
            [
                number
                for number, (other, other_box) in enumerate(theirs)
                if place == other or (None not in (box, other_box) and 0 < _overlap(box, other_box) >= iou)  # type: ignore[arg-type]
            ]
            for place, box in ours
        ]
    )


def _box(points: Any) -> Box | None:
    try:
        (left, top), (right, bottom) = points
    except (TypeError, ValueError):
        return None
    numbers = [to_number(one) for one in (left, top, right, bottom)]
    return None if None in numbers else Box(*numbers)  # type: ignore[arg-type]


def _overlap(one: Box, other: Box) -> float:
    """Return intersection over union; of boxes without any area 0."""
    common = Box(
        max(one.left, other.left),
        max(one.top, other.top),
        min(one.right, other.right),
        min(one.bottom, other.bottom),
    ).area
    whole = one.area + other.area - common
    return common / whole if whole else 0.0


def _can_be_matched(candidates: Sequence[Sequence[int]]) -> bool:
    """Whether each row can have a column of its own among its candidates (augmenting paths)."""
    owner: dict[int, int] = {}
    place_of: dict[int, int | None] = {}
    for row in range(len(candidates)):
        free, reached = _free_column(row, candidates, owner)
        while free is not None:
            taker = reached[free]
            owner[free] = taker
            place_of[taker], free = free, place_of.get(taker)
        if row not in place_of:
            return False
    return True


def _free_column(
    row: int, candidates: Sequence[Sequence[int]], owner: Mapping[int, int]
) -> tuple[int | None, Mapping[int, int]]:
    """Return a column that a row can have if others move on; for each column seen, the row that would move there."""
    reached: dict[int, int] = {}
    queue = [row]
    for mover in queue:
        for column in candidates[mover]:
            if column not in reached:
                reached[column] = mover
                if column not in owner:
                    return column, reached
                queue.append(owner[column])
    return None, reached
