"""Lists of samples: paging, filters, order, and size (contract 0.1, 3 and 6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.conftest import Caller

AUTO = "/auto-annotations/samples"


def _ids(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["sample_id"] for sample in samples]


@pytest.mark.parametrize("mode", ["page", "record"])
def test_what_offset_counts(proposals: Callable[..., Caller], mode: str) -> None:
    caller = proposals(25)
    caller.emulator.variants.offset_mode = mode
    everything = _ids(caller.get(AUTO, limit=100)["samples"])
    assert len(everything) == 25
    step = 10 if mode == "page" else 1
    for offset in (0, 1, 2):
        page = caller.get(AUTO, limit=10, offset=offset)
        assert page["sample_count"] == 25
        assert _ids(page["samples"]) == everything[offset * step :][:10]
    assert caller.get(AUTO, limit=10, offset=25)["samples"] == []


def test_defaults_and_order(proposals: Callable[..., Caller]) -> None:
    caller = proposals(25)
    down = _ids(caller.walk(order="desc", limit=7))
    assert len(caller.get(AUTO)["samples"]) == 10
    assert _ids(caller.walk(order="asc", limit=7)) == down[::-1]
    assert _ids(caller.walk(limit=7)) == down
    assert len(set(down)) == 25


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "ten"},
        {"offset": -1},
        {"order": "up"},
        {"label_type": 7},
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
        {"search_conditions": "[" * 5_000},
    ],
)
def test_values_out_of_range(proposals: Callable[..., Caller], query: dict[str, Any]) -> None:
    assert proposals(5).refused("GET", AUTO, params=query) == (400, "ModelArts.0104")


@pytest.mark.parametrize("newest_first", [True, False])
def test_confirmed_samples_leave_every_page(proposals: Callable[..., Caller], newest_first: bool) -> None:
    """Like a walker: whatever is written, the pages are those of the list without it."""
    caller = proposals(1300)
    order = "desc" if newest_first else "asc"
    remaining = caller.walk(order=order)
    for round_number in range(4):
        gone = remaining[round_number::5][:60]
        caller.put([{"sample_id": s["sample_id"], "labels": s["labels"]} for s in gone])
        remaining = [sample for sample in remaining if sample not in gone]
        page = caller.get(AUTO, limit=100, offset=3, order=order)
        assert page["sample_count"] == len(remaining)
        assert page["samples"] == remaining[300:400]
    assert caller.walk(order=order) == remaining


def test_filters_by_label_and_score(proposals: Callable[..., Caller]) -> None:
    caller = proposals(300, kind="multi_label")
    everything = caller.walk()

    def having(test: Callable[[dict[str, Any]], bool]) -> list[str]:
        return [sample["sample_id"] for sample in everything if any(test(label) for label in sample["labels"])]

    def asked(**query: Any) -> list[str]:
        samples = caller.walk(**query)
        assert caller.get(AUTO, **query)["sample_count"] == len(samples)
        return _ids(samples)

    assert asked(label_name="rose") == having(lambda label: label["name"] == "rose")
    assert asked(label_name="nobody") == []
    assert asked(label_type=0) == _ids(everything)
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
    caller.put([{"sample_id": sample["sample_id"], "labels": sample["labels"]} for sample in roses[:20]])
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
        return _ids(caller.walk(search_conditions=json.dumps(value)))

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
    assert asked({"kvp": "120"}) == []
    assert len(asked({"sample_time": "day"})) == 60
    assert asked({"sample_time": "20190901-20190915"}) == []
    assert asked({"import_origin": "0"}) == _ids(everything)
    assert asked({"score": "0.9"}) == expected(lambda s: any(label["score"] >= 0.9 for label in s["labels"]))
    assert asked({"metadata": {"props": {"@modelarts:data_checked": ["True"]}, "op": "AND"}}) == _ids(everything)


def test_coefficients_are_searched_as_scores_are(digits: Caller) -> None:
    digits.finish(collect_key_sample=True)
    everything = digits.walk()

    def asked(coefficient: str) -> list[str]:
        return _ids(digits.walk(search_conditions=json.dumps([{"coefficient": coefficient}])))

    def between(low: float, high: float) -> list[str]:
        hard = "@modelarts:hard_coefficient"
        return [sample["sample_id"] for sample in everything if low <= float(sample["metadata"][hard]) <= high]

    assert asked("0.5") == between(0.5, 1)
    assert 0 < len(asked("0.5")) < len(everything)
    assert asked("0.5-0.6") == between(0.5, 0.6)
    assert asked("0") == _ids(everything)


def test_a_search_by_time_is_asked_again_when_time_has_passed(proposals: Callable[..., Caller]) -> None:
    caller = proposals(5)
    today = {"search_conditions": json.dumps([{"sample_time": "day"}])}
    assert caller.get(AUTO, **today)["sample_count"] == 5
    caller.emulator.clock.advance(2 * 24 * 3600)
    caller.session.headers["X-Auth-Token"] = caller.emulator.issue_token()
    assert caller.get(AUTO, **today)["sample_count"] == 0


def test_numbers_keep_their_form(proposals: Callable[..., Caller]) -> None:
    """Quirks 3 and 5: one and the same value as text, integer and float."""
    text = proposals(100, kind="detection", hard_share=0.5)("GET", AUTO, params={"limit": 100}).text
    for form in (
        '"score":1}',
        '"score":1.0}',
        '"0.0"',
        '"0"',
        ':1,"@modelarts:hard":true',
        ':1.0,"@modelarts:hard":true',
    ):
        assert form in text, form


def test_one_proposal(proposals: Callable[..., Caller]) -> None:
    caller = proposals(30, hard_share=1.0)
    sample = caller.walk()[3]
    alone = caller.get(f"{AUTO}/{sample['sample_id']}")
    details = alone.pop("hard_details", {})
    assert alone == sample
    assert {int(reason) for reason in details} <= set(sample["metadata"]["@modelarts:hard_reasons"])
    assert caller.refused("GET", f"{AUTO}/unknown") == (400, "ModelArts.4420")
    caller.put([{"sample_id": sample["sample_id"], "labels": sample["labels"]}])
    assert caller.refused("GET", f"{AUTO}/{sample['sample_id']}") == (400, "ModelArts.4420")


def test_one_hard_proposal_explains_its_reasons(digits: Caller) -> None:
    digits.finish(collect_key_sample=True)
    for listed in digits.walk():
        assert "hard_details" not in listed
        single = digits.get(f"{AUTO}/{listed['sample_id']}")
        reasons = listed["metadata"]["@modelarts:hard_reasons"]
        assert set(single.get("hard_details", {})) == {str(reason) for reason in reasons}
        assert all(one["reason"] and one["suggestion"] for one in single.get("hard_details", {}).values())
        if reasons:
            return
    raise AssertionError("no proposal was hard")


def test_presigned_urls_serve_the_image(digits: Caller) -> None:
    digits.finish()
    sample = digits.get(AUTO, limit=1, process_parameter="image/resize,m_lfit,h_200")["samples"][0]
    assert "x-image-process=image%2Fresize%2Cm_lfit%2Ch_200" in sample["source"]
    assert digits.emulator.secrets[2] in sample["source"]
    image = requests.get(sample["source"], timeout=10)
    assert image.headers["Content-Type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")
    assert requests.get(sample["source"].partition("?")[0], timeout=10).status_code == 403
    assert sample["metadata"]["@modelarts:origin_source"].startswith("s3://emulator-data/digits/input/digit_")


# --- the dataset's own lists


@pytest.mark.wrong_requests  # lower case and an empty state, as in the examples (quirk 35)
def test_sample_states(digits: Caller) -> None:
    digits.finish()
    counts = {
        state: digits.get("/data-annotations/samples", sample_state=state, limit=1)["sample_count"]
        for state in ("", "__ALL__", "__none__", "__AUTO_ANNOTATION__", "__ACCEPTED__")
    }
    assert counts == {"": 1797, "__ALL__": 150, "__none__": 1647, "__AUTO_ANNOTATION__": 1647, "__ACCEPTED__": 0}
    labeled = digits.get("/data-annotations/samples", label_name="3", limit=100)
    assert labeled["sample_count"] == 15
    assert {sample["labels"][0]["name"] for sample in labeled["samples"]} == {"3"}


@pytest.mark.wrong_requests
def test_an_unknown_sample_state(digits: Caller) -> None:
    query = {"sample_state": "__SOME__"}
    assert digits.refused("GET", "/data-annotations/samples", params=query) == (400, "ModelArts.0104")


SAMPLES = "/data-annotations/samples"


def test_statistics_count_the_samples_in_a_state(digits: Caller) -> None:
    digits.finish(collect_key_sample=True)

    def counts(**query: Any) -> tuple[dict[str, int], int]:
        stats = digits.get("/data-annotations/stats", **query)
        return stats["sample_stats"], sum(row["count"] for row in stats["label_stats"])

    labeled, labels = counts(sample_state="__ALL__")
    assert (labeled["total"], labeled["manual_annotation"], labeled["un_annotation"], labels) == (150, 150, 0, 150)
    waiting, labels = counts(sample_state="__AUTO_ANNOTATION__")
    assert (waiting["total"], waiting["auto_annotation"], labels) == (1647, 1647, 0)
    assert counts(sample_state="__ACCEPTED__")[0]["total"] == 0
    assert counts(email="nobody@example.com")[0]["total"] == 0


def test_every_documented_filter_of_samples_counts(digits: Caller) -> None:
    sample_id = next(iter(digits.emulator.truth(digits.dataset_id)))
    digits.put([{"sample_id": sample_id, "labels": [{"name": "5"}]}], email="a@b.c")
    (by_member,) = digits.get(SAMPLES, email="a@b.c")["samples"]
    assert by_member["sample_id"] == sample_id
    assert digits.get(SAMPLES, sample_type=0)["sample_count"] == 1797
    assert digits.get(SAMPLES, sample_type=1)["sample_count"] == 0, "there is no text here"
    processed = digits.get(SAMPLES, limit=1, process_parameter="image/resize,h_200")["samples"][0]
    assert "x-image-process=image%2Fresize%2Ch_200" in processed["preview"]
    assert digits.refused("GET", SAMPLES, params={"version_id": "v"}) == (400, "ModelArts.4353")
    assert digits.refused("GET", "/data-annotations/labels", params={"version_id": "v"}) == (400, "ModelArts.4353")


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    ("tail", "query"),
    [
        (SAMPLES, {"sample_type": 3}),
        (SAMPLES, {"preview": "yes"}),
        (SAMPLES, {"locale": "de"}),
        ("/data-annotations/stats", {"sample_state": "__SOME__"}),
        ("/data-annotations/stats", {"locale": "de"}),
    ],
)
def test_values_out_of_range_in_the_datasets_own_lists(digits: Caller, tail: str, query: dict[str, Any]) -> None:
    assert digits.refused("GET", tail, params=query) == (400, "ModelArts.0104")


@pytest.mark.wrong_requests
@pytest.mark.parametrize("tail", [AUTO, SAMPLES, "", "/tasks", "/data-annotations/stats", "/workforce-tasks"])
def test_unknown_query_parameters_are_ignored_or_refused(digits: Caller, tail: str) -> None:
    misspelled = {"lable_name": "rose"}
    assert digits("GET", tail, params=misspelled).status_code == 200
    digits.emulator.variants.strict_requests = True
    assert digits.refused("GET", tail, params=misspelled) == (400, "ModelArts.0104")


def test_labels_keep_type_and_attributes(digits: Caller) -> None:
    attributes = [{"id": "1", "name": "size", "type": "select", "values": [{"id": "1", "value": "big"}]}]
    label = {"name": "eleven", "type": 0, "property": {"@modelarts:color": "#ffffff"}, "attributes": attributes}
    assert digits("POST", "/data-annotations/labels", json={"labels": [label]}).json()["success"]
    assert digits.get("/data-annotations/labels")["labels"][-1] == label


def test_labels_and_statistics(digits: Caller) -> None:
    body = {"labels": [{"name": "eleven", "property": {"@modelarts:color": "#ffffff"}}, {"name": "3"}]}
    answer = digits("POST", "/data-annotations/labels", json=body).json()
    assert [result["success"] for result in answer["results"]] == [True, False]
    assert answer["results"][1]["error_code"] == "ModelArts.4411"
    labels = digits.get("/data-annotations/labels")
    assert labels["total_number"] == 11
    assert digits.get("/data-annotations/labels", limit=4, offset=1)["labels"] == labels["labels"][4:8]
    stats = digits.get("/data-annotations/stats")
    assert {row["name"]: row["sample_count"] for row in stats["label_stats"]} == {
        **{str(digit): 15 for digit in range(10)},
        "eleven": 0,
    }
    counts = stats["sample_stats"]
    assert counts["total"] == counts["all"] == counts["lefted"] == 1797
    assert counts["un_annotation"] + counts["manual_annotation"] + counts["auto_annotation"] == 1797
    options = digits.get("/data-annotations/search-condition")
    assert options["labelers"] == ["human/emulator/owner"]


def test_datasets(digits: Caller) -> None:
    other = digits.emulator.load_proposals(3, kind="detection")
    listed = digits.get(f"/v2/{digits.emulator.project_id}/datasets")
    assert [dataset["dataset_id"] for dataset in listed["datasets"]] == [other, digits.dataset_id]
    only = digits.get(f"/v2/{digits.emulator.project_id}/datasets", dataset_type=1, with_labels="true")
    assert [dataset["dataset_id"] for dataset in only["datasets"]] == [other]
    assert len(only["datasets"][0]["labels"]) == 4
    assert digits.get(f"/v2/{digits.emulator.project_id}/datasets", search_content="digi")["total_number"] == 1
    assert digits.get(f"/v2/{digits.emulator.project_id}/datasets", workspace_id="1")["total_number"] == 0
    previewed = digits.get(f"/v2/{digits.emulator.project_id}/datasets", file_preview="true", limit=1)["datasets"][0]
    assert len(previewed["samples"]) == 3


def test_datasets_are_known_in_their_own_project_only(digits: Caller) -> None:
    emulator = digits.emulator
    user = {"name": emulator.user, "password": emulator.password, "domain": {"name": emulator.domain}}
    identity = {"methods": ["password"], "password": {"user": user}}
    scope = {"project": {"name": emulator.other_project_name}}
    answer = digits("POST", "/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}})
    headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}
    url = f"/v2/{answer.json()['token']['project']['id']}/datasets"
    assert digits.get(f"/v2/{emulator.project_id}/datasets")["total_number"] == 1
    assert digits("GET", url, headers=headers).json() == {"total_number": 0, "datasets": []}
    for method, tail in (("GET", ""), ("GET", AUTO), ("POST", "/tasks")):
        body = {"json": {"task_type": "auto-label"}} if method == "POST" else {}
        refused = digits.refused(method, f"{url}/{digits.dataset_id}{tail}", headers=headers, **body)
        assert refused == (400, "ModelArts.4352")
    assert emulator.dataset(digits.dataset_id).tasks == {}


UNKNOWN_DATASET = ["", "/tasks", "/tasks/x", AUTO, "/data-annotations/samples", "/data-annotations/stats"]


@pytest.mark.parametrize("tail", UNKNOWN_DATASET)
@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_dataset(digits: Caller, tail: str, status: int) -> None:
    digits.emulator.variants.unknown_status = status
    digits.dataset_id = "unknown"
    assert digits.refused("GET", tail) == (status, "ModelArts.4352")


def test_a_hundred_thousand_proposals(proposals: Callable[..., Caller]) -> None:
    """Size changes nothing: pages from both ends, in the middle, and after writes."""
    caller = proposals(100_000)
    caller.emulator.journal.keep_bodies = True
    first = caller.get(AUTO, limit=100)
    assert first["sample_count"] == 100_000
    last = caller.get(AUTO, limit=100, offset=999, order="asc")
    assert _ids(last["samples"]) == _ids(first["samples"])[::-1]
    middle = caller.get(AUTO, limit=100, offset=500)["samples"]
    caller.put([{"sample_id": s["sample_id"], "labels": s["labels"]} for s in first["samples"]])
    assert caller.get(AUTO, limit=100, offset=499)["samples"] == middle
    assert caller.get(AUTO, limit=1)["sample_count"] == 99_900
    assert caller.emulator.dataset(caller.dataset_id).unconfirmed == 99_900
