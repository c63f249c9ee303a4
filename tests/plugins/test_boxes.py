"""Places of labels as SVG draws them: each kind of shape, and what cannot be drawn is named and breaks nothing."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.labeling.export.shapes import ALL_SHAPES
from airflow_provider_modelarts.plugins.boxes import boxes_of
from tests.labeling.export_datasets import FEATURES, place
from tests.support.odd_json import SAMPLES

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")


def sample_of(*labels: Any, size: Any = (640, 480, 3)) -> Sample:
    metadata = {} if size is None else {"@modelarts:size": list(size) if isinstance(size, tuple) else size}
    return Sample({"sample_id": "a", "labels": list(labels), "metadata": metadata})


@pytest.mark.parametrize(
    ("shape", "tag", "attributes"),
    [
        ("bndbox", "rect", {"x": 10, "y": 20, "width": 100, "height": 200.5}),
        ("polygon", "polygon", {"points": "1,2 30,4 50,60.25"}),
        ("circle", "circle", {"cx": 50, "cy": 60, "r": 7}),
        ("line", "polyline", {"points": "1,2 3,4"}),
        ("dashed", "polyline", {"points": "5,6 7,8"}),
        ("point", "polyline", {"points": "9,11 9,11", "class": "point"}),
        ("polyline", "polyline", {"points": "1,1 2,3 5,8 13,21"}),
    ],
)
def test_each_kind_of_shape_has_an_element(shape: str, tag: str, attributes: dict[str, Any]) -> None:
    boxes = boxes_of(sample_of(place("rose", shape)))
    assert (boxes.width, boxes.height, boxes.faults) == (640, 480, {})
    (box,) = boxes.drawn
    assert (box.number, *box.element) == (1, tag, attributes)


def test_no_kind_of_shape_is_forgotten() -> None:
    boxes = boxes_of(sample_of(*(place("rose", shape) for shape in sorted(ALL_SHAPES))))
    assert {box.shape.kind for box in boxes.drawn} == ALL_SHAPES == set(FEATURES)


BAD: list[tuple[dict[str, Any], str]] = [
    (place("a", "star", [[1, 2], [3, 4]]), "its shape is 'star'"),
    (place("a", ["bndbox"], [[1, 2], [3, 4]]), r"its shape is \['bndbox'\]"),  # type: ignore[arg-type]
    (place("a", "bndbox", "x"), "no list of points"),  # type: ignore[arg-type]
    (place("a", "bndbox", [["a", 2], [3, 4]]), "no number"),  # type: ignore[list-item]
    (place("a", "bndbox", [[math.nan, 2], [3, 4]]), "no number"),
    (place("a", "bndbox", [[1, 2], [math.inf, 4]]), "no number"),
    (place("a", "bndbox", [[1, 2], [3, 10**400]]), "no number"),
    (place("a", "bndbox", [[1, 2]]), "1 points"),
    (place("a", "bndbox", [[3, 4], [1, 2]]), "not upper left and lower right"),
    (place("a", "bndbox", [[-9, 2], [-3, 4]]), "beyond the picture of 640 x 480"),
    (place("a", "bndbox", [[1, 481], [9, 490]]), "beyond the picture"),
    (place("a", "bndbox", [[1, 2], [1e308, 4]]), "beyond the picture"),
    (place("a", "bndbox", [[1, -481], [5, 4]]), "beyond the picture"),
    (place("a", "circle", [[1e308, 1], [1e308]]), "beyond the picture"),
    (place("a", "circle", [[5, 5], [-1]]), "no radius above 0"),
    (place("a", "polyline", [[641, 5], [650, 481]]), "beyond the picture"),
    ({"name": "a", "type": 1}, "it marks no place"),
    ({"name": "a", "type": 1, "property": "box"}, "it marks no place"),
    ({"name": "a", "property": {"@modelarts:shape": "bndbox"}}, "no list of points"),
    ({"name": "a", "property": {"@modelarts:feature": [[1, 2], [3, 4]]}}, "its shape is None"),
]


@pytest.mark.parametrize(("label", "reason"), BAD)
def test_what_cannot_be_drawn_is_named_and_the_rest_is_drawn(label: dict[str, Any], reason: str) -> None:
    boxes = boxes_of(sample_of(place("rose", "bndbox"), label, place("rose", "point"), label))
    assert [box.number for box in boxes.drawn] == [1, 3]
    ((said, numbers),) = boxes.faults.items()
    assert re.search(reason, said)
    assert numbers == [2, 4]


@pytest.mark.parametrize(
    "size", [None, [], [640], [640, 0], [-1, 5], ["a", 5], [640, 480, 3, 3], "640x480", {}, [math.nan, 5]], ids=str
)
def test_without_the_size_of_the_picture_nothing_is_drawn(size: Any) -> None:
    boxes = boxes_of(sample_of(place("rose", "bndbox"), place("rose", "point"), size=size))
    assert boxes.drawn == []
    assert boxes.faults == {"the service does not say how large the picture is": [1, 2]}


def test_a_label_of_the_whole_picture_is_no_box() -> None:
    boxes = boxes_of(sample_of({"name": "rose", "type": 0}, {"name": "rose"}, size=None))
    assert (boxes.drawn, boxes.faults) == ([], {})


def test_small_boxes_lie_upon_large_ones() -> None:
    features = ([[5, 5], [9, 9]], [[1, 1], [100, 100]], [[0, 7], [60, 8]])
    boxes = boxes_of(sample_of(*(place("rose", "bndbox", feature) for feature in features)))
    assert [box.number for box in boxes.drawn] == [2, 3, 1]


@pytest.mark.parametrize(
    ("shape", "feature"),
    [
        ("bndbox", [[-1, -2], [3, 4]]),
        ("bndbox", [[600, 400], [641.5, 480.5]]),
        ("circle", [[5, 5], [6]]),
        ("polyline", [[5, 5], [5, 481]]),
    ],
)
def test_what_reaches_over_the_border_is_drawn(shape: str, feature: list[list[float]]) -> None:
    boxes = boxes_of(sample_of(place("a", shape, feature)))
    (drawn,) = boxes.drawn
    assert (drawn.shape.points[0], boxes.faults) == (tuple(feature[0]), {})


@pytest.mark.parametrize(
    "feature", [[[0, 0], [640, 480]], [[630, 470], [640, 480]], [[0, 0], [1, 1]], [[-9, -99], [9, 9]]]
)
def test_the_number_stands_within_the_picture(feature: list[list[float]]) -> None:
    boxes = boxes_of(sample_of(place("rose", "bndbox", feature)))
    x, y = boxes.number_at(boxes.drawn[0])
    assert 0 <= x <= 640 - boxes.digit_height
    assert boxes.digit_height <= y <= 480


@pytest.mark.wrong_answers
@given(SAMPLES)
def test_whatever_a_sample_says_only_numbers_come_out(raw: dict[str, Any]) -> None:
    sample = Sample(raw)
    boxes = boxes_of(sample)
    numbers = [box.number for box in boxes.drawn] + [one for found in boxes.faults.values() for one in found]
    assert sorted(numbers) == [number for number, label in enumerate(sample.labels, 1) if label.is_detection]
    for box in boxes.drawn:
        for name, value in box.element.attributes.items():
            words = str(value).replace(",", " ").split()
            assert all(NUMBER.fullmatch(word) for word in words) or (name, value) == ("class", "point")
