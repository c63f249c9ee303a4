"""What labels must say, by their types (contract 3.3, 4.1, 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import AUTO, SAMPLES, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator


def span(start: int, end: int) -> dict[str, Any]:
    return {"@modelarts:start_index": start, "@modelarts:end_index": end}


def times(begin: str, end: str) -> dict[str, str]:
    return {"@modelarts:start_time": begin, "@modelarts:end_time": end}


def box(*points: list[int], shape: str = "bndbox") -> dict[str, Any]:
    return {"@modelarts:shape": shape, "@modelarts:feature": list(points)}


PERSON = {"name": "person", "type": 103, "id": "1", "property": span(0, 5)}
COMPANY = {"name": "company", "type": 103, "id": "2", "property": span(6, 8)}
WORKS = {"name": "works_at", "type": 102, "property": {"@modelarts:from": "1", "@modelarts:to": "2"}}
SAID = {"@modelarts:content": "good morning"}


@pytest.mark.parametrize(
    ("dataset_type", "labels"),
    [
        (100, [{"name": "happy"}, {"name": "sad", "type": 100}]),
        (101, [{"name": "person", "property": span(0, 5)}]),
        (102, [PERSON]),
        (102, [PERSON, COMPANY, WORKS]),
        (102, [{**PERSON, "name": "new"}, COMPANY, {**WORKS, "name": "new relation"}]),
        (200, [{"name": "low"}]),
        (201, [{"property": SAID}]),
        (201, [{"name": "said", "property": SAID | {"@modelarts:source": "Ann"}}]),
        (202, [{"property": times("00:00:00.000", "00:00:01.500")}]),
        (202, [{"name": "speech", "property": SAID | times("00:00:00.000", "01:00:00.000")}]),
    ],
)
def test_right_labels(emulator: Emulator, dataset_type: int, labels: list[dict[str, Any]]) -> None:
    caller = Caller(emulator, emulator.load_samples(dataset_type, 1))
    (sample_id,) = caller.sample_ids(1)
    assert caller.put([{"sample_id": sample_id, "labels": labels}]) == {"success": True}
    kept = caller.get(f"{SAMPLES}/{sample_id}")["labels"]
    assert [label["property"] for label in kept] == [label.get("property", {}) for label in labels]
    assert [label.get("name") for label in kept] == [label.get("name") for label in labels]
    # Relations name entities by their ids.
    assert [label["id"] for label in kept if label["type"] == 103] == [
        label["id"] for label in labels if label.get("type") == 103
    ]


@pytest.mark.parametrize(
    ("dataset_type", "labels", "said"),
    [
        (100, [{"name": "rose", "type": 0}], "type 0"),
        (101, [{"name": "person", "type": 103, "property": span(0, 5)}], "type 103"),
        (101, [{"name": "person"}], "without @modelarts:start_index, @modelarts:end_index"),
        (101, [{"name": "person", "property": {"@modelarts:start_index": 0}}], "without @modelarts:end_index"),
        (101, [{"name": "person", "property": span(3, 3)}], "not before"),
        (101, [{"name": "person", "property": span(0, 1000)}], "behind the end"),
        (102, [PERSON, WORKS], "to names no entity"),
        (102, [COMPANY, WORKS], "from names no entity"),
        (102, [PERSON, COMPANY, {**WORKS, "property": {"@modelarts:from": "1"}}], "without @modelarts:to"),
        (102, [{**PERSON, "id": "2"}, {**COMPANY, "id": "1"}, WORKS], "no person"),
        (200, [{"name": "said", "type": 201, "property": SAID}], "type 201"),
        (201, [{"property": {}}], "without @modelarts:content"),
        (201, [{"property": {"@modelarts:content": ""}}], "without @modelarts:content"),
        (202, [{"property": SAID}], "without @modelarts:start_time"),
        (202, [{"property": times("00:00:02.000", "00:00:01.000")}], "not before"),
    ],
)
def test_labels_that_break_the_rules_fail_alone(
    emulator: Emulator, dataset_type: int, labels: list[dict[str, Any]], said: str
) -> None:
    caller = Caller(emulator, emulator.load_samples(dataset_type, 2, labeled=1))
    right, wrong = caller.sample_ids(2)
    before = caller.dataset.labels_of(right)
    answer = caller.put([{"sample_id": wrong, "labels": labels}, {"sample_id": right, "labels": before}])
    assert [result["success"] for result in answer["results"]] == [False, True]
    assert answer["results"][0]["error_code"] == "ModelArts.4413"
    assert said in answer["results"][0]["error_msg"]
    assert caller.dataset.labels_of(wrong) == []
    assert caller.dataset.labels_of(right) == before


@pytest.mark.parametrize(
    "feature",
    [
        box([5, 5], [1, 9]),
        box([5, 5], [5, 9]),
        box([1, 1]),
        box([1, 1], [2, 2], [3, 3]),
        box([1, 1], [2, 2], shape="point"),
        box([1, 1], [2, 2], shape="circle"),
        box([1, 1], shape="line"),
        box([1], [2], shape="polygon"),
    ],
)
def test_the_points_of_a_shape(proposals: Callable[..., Caller], feature: dict[str, Any]) -> None:
    caller = proposals(2, kind="detection")
    (sample_id,) = caller.sample_ids(1)
    element = {"sample_id": sample_id, "metadata": {"@modelarts:size": [640, 640]}}
    answer = caller.put([{**element, "labels": [{"name": "daisy", "property": feature}]}])
    assert answer["results"][0]["error_code"] == "ModelArts.4413"
    for good in (box([1, 1], [9, 9]), box([5, 5], [2], shape="circle"), box([1, 2], shape="point")):
        assert caller.put([{**element, "labels": [{"name": "daisy", "property": good}]}]) == {"success": True}


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "properties",
    [
        {"@modelarts:content": 5},
        {"@modelarts:start_index": "0"},
        {"@modelarts:start_index": -1},
        {"@modelarts:end_index": 1.5},
        {"@modelarts:start_time": "00:00:01"},
        {"@modelarts:end_time": 5},
        {"@modelarts:source": ["Ann"]},
        {"@modelarts:from": 1},
        {"@modelarts:shape": "star"},
        {"@modelarts:feature": []},
        {"@modelarts:feature": [[1, -2]]},
        {"@modelarts:hard": False},
        {"@modelarts:hard_coefficient": 0.5},
        {"@modelarts:hard_reasons": "3-31"},
        {"@modelarts:hard_reasons": [3]},
    ],
)
def test_properties_of_other_forms_are_refused(digits: Caller, properties: dict[str, Any]) -> None:
    sample_id = digits.sample_ids(1)[0]
    body = {"samples": [{"sample_id": sample_id, "labels": [{"name": "1", "property": properties}]}]}
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.0104")


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "metadata",
    [
        {"@modelarts:hard": 2},
        {"@modelarts:hard": "true"},
        {"@modelarts:hard_coefficient": 1.5},
        {"@modelarts:hard_reasons": [31]},
        {"@modelarts:hard_reasons": [-1]},
        {"@modelarts:size": [640]},
        {"@modelarts:size": [640, 0]},
    ],
)
def test_metadata_of_other_forms_are_refused(digits: Caller, metadata: dict[str, Any]) -> None:
    body = {"samples": [{"sample_id": digits.sample_ids(1)[0], "labels": [{"name": "1"}], "metadata": metadata}]}
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.0104")


@pytest.mark.parametrize("dataset_type", [400, 900])
def test_tables_and_free_files_have_no_labels(emulator: Emulator, dataset_type: int) -> None:
    caller = Caller(emulator, emulator.load_samples(400, 1))
    caller.dataset.dataset_type = dataset_type
    (sample_id,) = caller.sample_ids(1)
    body = {"samples": [{"sample_id": sample_id, "labels": [{"name": "a"}]}]}
    assert caller.refused("PUT", SAMPLES, json=body) == (501, "ModelArts.4383")
    assert caller.put([{"sample_id": sample_id, "labels": [], "sample_usage": "TEST"}]) == {"success": True}
    assert caller.get(f"{SAMPLES}/{sample_id}")["sample_usage"] == "TEST"


def test_a_sample_of_another_type_is_refused(digits: Caller) -> None:
    first, second = digits.sample_ids(2)
    samples = [
        {"sample_id": first, "sample_type": 1, "labels": [{"name": "1"}]},
        {"sample_id": second, "sample_type": 0, "labels": [{"name": "1"}]},
    ]
    answer = digits.put(samples)
    assert [result.get("error_code") for result in answer["results"]] == ["ModelArts.0104", None]


@pytest.mark.wrong_requests
def test_odd_labels_go_back_as_they_came(digits: Caller) -> None:
    odd = {"name": "1", "type": 201, "id": "1", "property": {"@modelarts:hard": False, "@modelarts:feature": "?"}}
    sample_id = digits.sample_ids(1)[0]
    digits.dataset.propose([{"sample_id": sample_id, "labels": [odd]}])
    served = digits.get(f"{AUTO}/{sample_id}")
    assert digits.put([{"sample_id": sample_id, "labels": served["labels"]}]) == {"success": True}
    other = digits.sample_ids(2)[1]
    body = {"samples": [{"sample_id": other, "labels": [odd]}]}
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.0104")
