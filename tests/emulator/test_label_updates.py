"""Writing labels (contract 4 and 10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import AUTO, SAMPLES, Caller, back

if TYPE_CHECKING:
    from collections.abc import Callable


def test_confirming_moves_the_sample(digits: Caller) -> None:
    digits.finish()
    page = digits.get(AUTO, limit=10)["samples"]
    assert digits.confirm(page) == {"success": True}
    assert digits.waiting() == 1637
    dataset = digits.get()
    assert (dataset["annotated_sample_count"], dataset["unconfirmed_sample_count"]) == (160, 1637)
    stats = digits.get("/data-annotations/stats")["sample_stats"]
    assert (stats["manual_annotation"], stats["auto_annotation"], stats["total"]) == (160, 1637, 1797)
    sample = digits.get(f"{SAMPLES}/{page[0]['sample_id']}")
    assert sample["sample_status"] == "MANUAL_ANNOTATION"
    assert sample["annotated_by"] == f"human/{digits.emulator.domain}/{digits.emulator.user}"
    assert sample["labels"] == [{key: page[0]["labels"][0][key] for key in ("name", "type", "property")}]
    # a repetition changes nothing
    assert digits.confirm(page) == {"success": True}
    assert digits.get()["annotated_sample_count"] == 160


def test_the_list_of_labels_is_replaced(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    digits.put([{"sample_id": sample_id, "labels": [{"name": "1"}, {"name": "2"}]}])
    digits.put([{"sample_id": sample_id, "labels": [{"name": "3"}]}])
    assert digits.dataset.labels_of(sample_id) == [{"name": "3", "type": 0, "property": {}}]


def test_a_new_label_name_joins_the_label_set(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    assert digits.put([{"sample_id": sample_id, "labels": [{"name": "seven"}]}])["success"]
    assert "seven" in {label["name"] for label in digits.get("/data-annotations/labels")["labels"]}
    digits.emulator.variants.new_labels = "refuse"
    answer = digits.put([{"sample_id": sample_id, "labels": [{"name": "eight"}]}])
    assert answer["results"][0]["error_code"] == "ModelArts.4410"


@pytest.mark.parametrize("element", [{"labels": []}, {}])
def test_no_labels_make_a_sample_unlabeled(digits: Caller, element: dict[str, Any]) -> None:
    digits.finish()
    dataset = digits.dataset
    labeled = next(sample_id for sample_id, sample in dataset.samples.items() if sample.labels)
    proposed = next(iter(dataset.proposals))
    digits.put([{"sample_id": labeled, **element}, {"sample_id": proposed, **element}])
    assert dataset.labels_of(labeled) == []
    assert dataset.annotated == 149
    assert proposed not in dataset.proposals
    assert dataset.labels_of(proposed) == []
    assert digits.get(f"{SAMPLES}/{labeled}")["sample_status"] == "UN_ANNOTATION"


def test_missing_labels_can_leave_the_labels_alone(digits: Caller) -> None:
    digits.emulator.variants.missing_labels = "keep"
    dataset = digits.dataset
    labeled = next(sample_id for sample_id, sample in dataset.samples.items() if sample.labels)
    before = dataset.labels_of(labeled)
    digits.put([{"sample_id": labeled, "metadata": {"@modelarts:hard": True, "test": "1"}}])
    assert dataset.labels_of(labeled) == before
    assert digits.get(f"{SAMPLES}/{labeled}")["metadata"]["test"] == "1"


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_metadata_is_merged_or_replaced(digits: Caller, mode: str) -> None:
    digits.emulator.variants.metadata = mode
    sample_id = digits.sample_ids(1)[0]
    for name in ("first", "second"):
        digits.put([{"sample_id": sample_id, "labels": [{"name": "1"}], "metadata": {name: "x"}}])
    metadata = digits.get(f"{SAMPLES}/{sample_id}")["metadata"]
    assert ("first" in metadata) is (mode == "merge")
    assert metadata["second"] == "x"


def test_unknown_samples_fail_alone(digits: Caller) -> None:
    known = digits.sample_ids(2)
    ids = [known[0], "unknown", known[1]]
    answer = digits.put([{"sample_id": sample_id, "labels": [{"name": "5"}]} for sample_id in ids])
    assert answer == {
        "success": False,
        "results": [
            {"success": True},
            {"success": False, "error_code": "ModelArts.4420", "error_msg": "Sample not found. [unknown]"},
            {"success": True},
        ],
    }
    dataset = digits.dataset
    assert [dataset.names_of(sample_id) for sample_id in known] == [["5"], ["5"]]


def test_detection_needs_the_size(proposals: Callable[..., Caller]) -> None:
    caller = proposals(20, kind="detection")
    first, second, third = caller.walk()[:3]
    answer = caller.put(
        [
            back(first),
            {**back(second), "metadata": {"@modelarts:size": second["metadata"]["@modelarts:size"]}},
            {**back(third), "labels": []},
        ]
    )
    assert [result["success"] for result in answer["results"]] == [False, True, True]
    assert answer["results"][0]["error_code"] == "ModelArts.4423"
    dataset = caller.dataset
    assert dataset.labels_of(first["sample_id"]) == []
    assert first["sample_id"] in dataset.proposals
    stored = dataset.labels_of(second["sample_id"])
    expected = [{key: label[key] for key in ("name", "type", "property")} for label in second["labels"]]
    assert json.dumps(stored) == json.dumps(expected)


def test_a_publishing_dataset_is_not_labeled(digits: Caller) -> None:
    dataset = digits.dataset
    dataset.status = 6
    sample_id = digits.sample_ids(1)[0]
    body = {"samples": [{"sample_id": sample_id, "labels": [{"name": "a"}]}]}
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.4381")
    dataset.status = 1
    assert digits.put(body["samples"])["success"]


WRONG: list[Any] = [
    {},
    [],
    {"samples": {}},
    {"samples": [{"labels": []}]},
    {"samples": [{"sample_id": 7, "labels": []}]},
    {"samples": [{"sample_id": "a", "labels": [{"name": 7}]}]},
    {"samples": [{"sample_id": "a", "labels": [{}]}]},
    {"samples": [{"sample_id": "a", "labels": [{"name": "x", "type": 5}]}]},
    {"samples": [{"sample_id": "a", "labels": [{"name": "x", "score": "1"}]}]},
    {"samples": [{"sample_id": "a", "labels": [{"name": "x", "score": True}]}]},
    {"samples": [{"sample_id": "a", "sample_usage": "train", "labels": []}]},
]


@pytest.mark.wrong_requests
@pytest.mark.parametrize("body", WRONG)
def test_wrong_types_are_refused(digits: Caller, body: Any) -> None:
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.0104")


@pytest.mark.wrong_requests
def test_unknown_fields_are_ignored_or_refused(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    element = {"sample_id": sample_id, "labels": [{"name": "1", "surplus": 1}]}
    assert digits.put([element])["success"]
    digits.emulator.variants.strict_requests = True
    assert digits.refused("PUT", SAMPLES, json={"samples": [element]}) == (400, "ModelArts.0104")


def test_usage_and_metadata_are_kept_with_the_labels(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    digits.put([{"sample_id": sample_id, "labels": [{"name": "1"}], "sample_usage": "TRAIN", "metadata": {"a": "b"}}])
    sample = digits.get(f"{SAMPLES}/{sample_id}")
    assert (sample["sample_usage"], sample["metadata"]["a"]) == ("TRAIN", "b")
    digits.put([{"sample_id": sample_id, "labels": [{"name": "2"}]}])
    assert digits.get(f"{SAMPLES}/{sample_id}")["sample_usage"] == "TRAIN"


@pytest.mark.wrong_requests
@pytest.mark.parametrize("label", [{}, {"name": ""}, {"nmae": "daisy"}])
def test_a_label_needs_a_name(digits: Caller, label: dict[str, Any]) -> None:
    sample_id = digits.sample_ids(1)[0]
    body = {"samples": [{"sample_id": sample_id, "labels": [label]}]}
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.0104")


def test_what_was_said_needs_no_name(digits: Caller) -> None:
    dataset = digits.dataset
    dataset.dataset_type = 201
    sample_id = digits.sample_ids(1)[0]
    said = {"property": {"@modelarts:content": "good morning"}}
    assert digits.put([{"sample_id": sample_id, "labels": [said]}]) == {"success": True}
    assert digits.get(f"{SAMPLES}/{sample_id}")["labels"] == [{"type": 201, **said}]
    assert digits.get("/data-annotations/stats")["sample_stats"]["manual_annotation"] == dataset.annotated


@pytest.mark.parametrize("form", ["normal", "missing", "short", "shuffled"])
def test_forms_of_results(digits: Caller, form: str) -> None:
    digits.emulator.variants.results = form
    known = digits.sample_ids(3)
    ids = ["unknown", *known]
    answer = digits.put([{"sample_id": sample_id, "labels": [{"name": "5"}]} for sample_id in ids])
    assert answer["success"] is False
    flags = [result["success"] for result in answer.get("results", [])]
    assert (
        flags
        == {
            "normal": [False, True, True, True],
            "missing": [],
            "short": [False],
            "shuffled": [True, True, True, False],
        }[form]
    )
    dataset = digits.dataset
    assert [dataset.names_of(sample_id) for sample_id in known] == [["5"]] * 3


def test_results_on_success(digits: Caller) -> None:
    digits.emulator.variants.results_on_success = True
    sample_id = digits.sample_ids(1)[0]
    answer = digits.put([{"sample_id": sample_id, "labels": [{"name": "5"}]}])
    assert answer == {"success": True, "results": [{"success": True}]}


def test_on_behalf_of_a_member(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    digits.put([{"sample_id": sample_id, "labels": [{"name": "5"}]}], email="a@b.c")
    assert digits.get(f"{SAMPLES}/{sample_id}")["annotated_by"] == "human/a@b.c"
