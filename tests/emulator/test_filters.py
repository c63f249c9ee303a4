"""Filters and search conditions of lists (contract 3.1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import AUTO, Caller, ids_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "query",
    [
        {"label_type": 7},
        {"label_type": 103},
        {"low_score": "high"},
        {"high_score": "1.5"},
        {"search_conditions": "{"},
        {"search_conditions": "[1]"},
        {"search_conditions": '{"hard":"true"}'},
        {"search_conditions": '{"unknown":"1"}'},
        {"search_conditions": '{"sample_time":"20190901-2019091501"}'},
        {"search_conditions": '{"sample_time":"20190901-20191015"}'},
        {"search_conditions": '{"sample_dir":"a/b"}'},
        {"search_conditions": '{"label_list":{"labels":[{"name":"a"},{"name":"b"}]}}'},
        {"search_conditions": '{"label_list":{"labels":["a"]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"name":"a","property":"b"}]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"name":"a","property":{"b":"c"}}]}}'},
        {"search_conditions": '{"metadata":{"props":{"a":5}}}'},
        # A misspelled part of a nested condition would let everything pass.
        {"search_conditions": '{"label_list":{"labels":[{"nmae":"rose"}]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"name":"rose"}],"opp":"OR"}}'},
        {"search_conditions": '{"label_list":{"label":[{"name":"rose"}]}}'},
        {"search_conditions": '{"label_list":{"labels":[]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"name":["rose"]}]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"type":7}]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"property":{"a":[1]}}]}}'},
        {"search_conditions": '{"label_list":{"labels":[{"name":"a","op":"XOR"}]}}'},
        {"search_conditions": '{"metadata":{"prop":{"a":["b"]}}}'},
        {"search_conditions": '{"metadata":{"props":{"a":["b"]},"ops":"OR"}}'},
        {"search_conditions": '{"metadata":{"props":{"a":"b"}}}'},
        {"search_conditions": '{"hard":1}'},
        {"search_conditions": '{"score":0.9}'},
        {"search_conditions": '{"labeler":["human/a/b"]}'},
        {"search_conditions": '{"frame_in_video":"1"}'},
        {"search_conditions": '{"coefficient":"hard"}'},
        {"search_conditions": '{"coefficient":"1.5"}'},
        {"search_conditions": '{"coefficient":"0.9-0.5"}'},
        {"search_conditions": '{"score":"0.5-1.5"}'},
        # No sample here can be found by these: an empty list would look like an answer.
        {"search_conditions": '{"kvp":"120"}'},
        {"search_conditions": '{"slice_thickness":"1"}'},
        {"search_conditions": '{"study_date":"20190901"}'},
        {"search_conditions": '{"frame_in_video":1}'},
        {"search_conditions": '{"time_in_video":"1"}'},
        {"search_conditions": '[{"hard":"1"},{"parent_sample_id":"a"}]'},
        {"search_conditions": "[" * 5_000},
    ],
)
def test_values_out_of_range(proposals: Callable[..., Caller], query: dict[str, Any]) -> None:
    assert proposals(5).refused("GET", AUTO, params=query) == (400, "ModelArts.0104")


def test_filters_by_label_and_score(proposals: Callable[..., Caller]) -> None:
    caller = proposals(300, kind="multi_label")
    everything = caller.walk()

    def having(test: Callable[[dict[str, Any]], bool]) -> list[str]:
        return [sample["sample_id"] for sample in everything if any(test(label) for label in sample["labels"])]

    def asked(**query: Any) -> list[str]:
        samples = caller.walk(**query)
        assert caller.get(AUTO, **query)["sample_count"] == len(samples)
        return ids_of(samples)

    assert asked(label_name="rose") == having(lambda label: label["name"] == "rose")
    assert asked(label_name="nobody") == []
    assert asked(label_type=0) == ids_of(everything)
    assert asked(label_type=1) == []
    assert asked(low_score="0.9") == having(lambda label: label["score"] >= 0.9)
    assert asked(low_score="1") == having(lambda label: label["score"] == 1)
    assert asked(low_score="0.5", high_score="0.7") == having(lambda label: 0.5 <= label["score"] <= 0.7)
    assert asked(label_name="rose", low_score="0.9") == having(
        lambda label: label["name"] == "rose" and label["score"] >= 0.9
    )
    # bounds are inclusive
    score = next(label["score"] for sample in everything for label in sample["labels"] if 0.4 < label["score"] < 0.9)
    assert asked(low_score=repr(score), high_score=repr(score)) == having(lambda label: label["score"] == score)
    # labels are shown whole
    assert caller.walk(label_name="rose")[0] in everything


def test_a_filtered_list_shrinks_as_well(proposals: Callable[..., Caller]) -> None:
    caller = proposals(300)
    roses = caller.walk(label_name="rose")
    caller.confirm(roses[:20])
    assert caller.walk(label_name="rose") == roses[20:]


def test_the_variant_that_trims_labels(proposals: Callable[..., Caller]) -> None:
    caller = proposals(50, kind="multi_label")
    caller.emulator.variants.trim_labels_to_filter = True
    for sample in caller.walk(label_name="rose"):
        assert {label["name"] for label in sample["labels"]} == {"rose"}
    assert any(len(sample["labels"]) > 1 for sample in caller.walk())


def test_search_conditions(proposals: Callable[..., Caller]) -> None:
    caller = proposals(60, kind="multi_label", hard_share=0.3)
    everything = caller.walk()

    def asked(*conditions: dict[str, Any], as_array: bool = True) -> list[str]:
        value = list(conditions) if as_array else conditions[0]
        return ids_of(caller.walk(search_conditions=json.dumps(value)))

    def names(sample: dict[str, Any]) -> set[str]:
        return {label["name"] for label in sample["labels"]}

    def expected(test: Callable[[dict[str, Any]], bool]) -> list[str]:
        return [sample["sample_id"] for sample in everything if test(sample)]

    hard = expected(lambda sample: sample["metadata"]["@modelarts:hard"])
    assert 8 < len(hard) < 30
    assert asked({"hard": "1"}) == hard
    assert asked({"hard": "1"}, as_array=False) == hard
    assert len(asked({"hard": "0"})) == 60 - len(hard)
    both = {"label_list": {"labels": [{"name": "rose"}, {"name": "tulip"}], "op": "AND"}}
    assert asked(both) == expected(lambda sample: {"rose", "tulip"} <= names(sample))
    either = {"label_list": {"labels": [{"name": "rose"}, {"name": "tulip"}], "op": "OR"}}
    assert asked(either) == expected(lambda sample: bool({"rose", "tulip"} & names(sample)))
    assert asked({"hard": "1"}, either) == [sample_id for sample_id in hard if sample_id in asked(either)]
    low = {"label_list": {"labels": [{"property": {"ripeness": ["low"]}}]}}
    assert asked(low) == expected(lambda s: any(label["property"]["ripeness"] == "low" for label in s["labels"]))
    present = {"label_list": {"labels": [{"property": {"ripeness": None}}]}}
    assert len(asked(present)) == 60
    name = everything[7]["metadata"]["@modelarts:origin_source"].rpartition("/")[2]
    assert asked({"sample_name": name}) == [everything[7]["sample_id"]]
    assert len(asked({"sample_dir": "synthetic-multi_label/input/"})) == 60
    assert asked({"sample_dir": "synthetic-multi_label/"}) == []
    assert len(asked({"sample_time": "day"})) == 60
    assert asked({"sample_time": "20190901-20190915"}) == []
    assert asked({"import_origin": "0"}) == ids_of(everything)
    assert asked({"score": "0.9"}) == expected(lambda s: any(label["score"] >= 0.9 for label in s["labels"]))
    assert asked({"metadata": {"props": {"@modelarts:data_checked": ["True"]}, "op": "AND"}}) == ids_of(everything)


def test_coefficients_are_searched_as_scores_are(digits: Caller) -> None:
    digits.finish(collect_key_sample=True)
    everything = digits.walk()

    def asked(coefficient: str) -> list[str]:
        return ids_of(digits.walk(search_conditions=json.dumps([{"coefficient": coefficient}])))

    def between(low: float, high: float) -> list[str]:
        hard = "@modelarts:hard_coefficient"
        return [sample["sample_id"] for sample in everything if low <= float(sample["metadata"][hard]) <= high]

    assert asked("0.5") == between(0.5, 1)
    assert 0 < len(asked("0.5")) < len(everything)
    assert asked("0.5-0.6") == between(0.5, 0.6)
    assert asked("0") == ids_of(everything)


def test_a_search_by_time_is_asked_again_when_time_has_passed(proposals: Callable[..., Caller]) -> None:
    caller = proposals(5)
    today = {"search_conditions": json.dumps([{"sample_time": "day"}])}
    assert caller.get(AUTO, **today)["sample_count"] == 5
    caller.emulator.clock.advance(2 * 24 * 3600)
    caller.session.headers["X-Auth-Token"] = caller.emulator.issue_token()
    assert caller.get(AUTO, **today)["sample_count"] == 0
