"""The label set of a dataset (contract 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import AUTO, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator

LABELS = "/data-annotations/labels"
RENAME = "@modelarts:rename_to"


def names(caller: Caller) -> list[str]:
    return [label["name"] for label in caller.get(LABELS)["labels"]]


def codes(response: Any) -> list[str | None]:
    """Return the code of each result, None for a success."""
    assert response.status_code == 200, response.text
    return [result.get("error_code") for result in response.json()["results"]]


def test_labels_keep_type_and_attributes(digits: Caller) -> None:
    attributes = [{"id": "1", "name": "size", "type": "select", "values": [{"id": "1", "value": "big"}]}]
    label = {"name": "eleven", "type": 0, "property": {"@modelarts:color": "#ffffff"}, "attributes": attributes}
    assert digits("POST", LABELS, json={"labels": [label]}).json()["success"]
    assert digits.get(LABELS)["labels"][-1] == label


def test_a_label_is_not_made_twice_and_shares_no_shortcut(digits: Caller) -> None:
    body = {"labels": [{"name": "a", "property": {"@modelarts:shortcut": "q"}}, {"name": "3"}, {"name": "a"}]}
    assert codes(digits("POST", LABELS, json=body)) == [None, "ModelArts.4411", "ModelArts.4411"]
    body = {"labels": [{"name": "b", "property": {"@modelarts:shortcut": "q"}}]}
    assert digits("POST", LABELS, json=body).json()["success"] is False
    assert names(digits) == [*"0123456789", "a"]


def test_labels_of_relations_name_labels_of_entities(emulator: Emulator) -> None:
    caller = Caller(emulator, emulator.load_samples(102, 1))
    relation = {"name": "is", "type": 102, "property": {"@modelarts:from_type": "x", "@modelarts:to_type": "person"}}
    assert codes(caller("POST", LABELS, json={"labels": [relation]})) == ["ModelArts.4414"]
    assert caller("POST", LABELS, json={"labels": [{"name": "x", "type": 103}, relation]}).json()["success"]
    refused = caller("POST", LABELS + "/delete", json={"labels": [{"name": "x"}]})
    assert codes(refused) == ["ModelArts.4415"]
    assert {"is", "x"} <= set(names(caller))
    of_a_relation = {"name": "was", "type": 102, "property": {"@modelarts:from_type": "is"}}
    assert codes(caller("POST", LABELS, json={"labels": [of_a_relation]})) == ["ModelArts.4414"]


def test_labels_have_a_type_of_their_dataset(digits: Caller, emulator: Emulator) -> None:
    body = {"labels": [{"name": "said", "type": 201}, {"name": "plain"}]}
    assert codes(digits("POST", LABELS, json=body)) == ["ModelArts.4413", None]
    table = Caller(emulator, emulator.load_samples(400, 1))
    assert codes(table("POST", LABELS, json={"labels": [{"name": "cell"}]})) == ["ModelArts.4383"]


def test_attributes_of_a_label_do_not_repeat_themselves(digits: Caller) -> None:
    twins = [{"name": "size", "type": "text"}] * 2
    values = [{"name": "size", "type": "select", "values": [{"value": "big"}] * 2}]
    body = {"labels": [{"name": "a", "attributes": twins}, {"name": "b", "attributes": values}, {"name": "c"}]}
    assert codes(digits("POST", LABELS, json=body)) == ["ModelArts.4428", "ModelArts.4429", None]


def test_samples_and_proposals_follow_a_renamed_label(proposals: Callable[..., Caller]) -> None:
    caller = proposals(40)
    first = caller.walk()[0]
    name = first["labels"][0]["name"]
    caller.confirm([first])
    proposed = sum(sample["labels"][0]["name"] == name for sample in caller.walk())
    body = {"labels": [{"name": name, "property": {RENAME: "new", "@modelarts:color": "#8a1524"}}, {"name": "x"}]}
    assert codes(caller("PUT", LABELS, json=body)) == [None, "ModelArts.4410"]
    assert caller.dataset.names_of(first["sample_id"]) == ["new"]
    assert sum(sample["labels"][0]["name"] == "new" for sample in caller.walk()) == proposed > 0
    assert caller.get(AUTO)["sample_count"] == 39
    renamed = next(label for label in caller.get(LABELS)["labels"] if label["name"] == "new")
    assert renamed["property"] == {"@modelarts:color": "#8a1524"}
    other = next(one for one in names(caller) if one != "new")
    assert caller("PUT", LABELS, json={"labels": [{"name": other, "property": {RENAME: "new"}}]}).json()["results"] == [
        {"success": False, "error_code": "ModelArts.4411", "error_msg": "The label name is already used. [new]"}
    ]


@pytest.mark.parametrize(("policy", "left", "labeled"), [(None, 1797, 135), (0, 1797, 135), (1, 1782, 135)])
def test_a_label_is_deleted_alone_or_with_its_samples(
    digits: Caller, policy: int | None, left: int, labeled: int
) -> None:
    query = {} if policy is None else {"delete_policy": policy}
    answer = digits("POST", LABELS + "/delete", params=query, json={"labels": [{"name": "3"}, {"name": "x"}]})
    assert codes(answer) == [None, "ModelArts.4410"]
    counts = digits.get()
    assert (counts["total_sample_count"], counts["annotated_sample_count"]) == (left, labeled)
    assert "3" not in names(digits)


def test_a_sample_with_another_label_outlives_one_of_its_labels(digits: Caller) -> None:
    both, *_ = [one for one in digits.dataset.samples if digits.dataset.names_of(one) == ["3"]]
    digits.dataset.edit(both, ["3", "4"])
    assert digits("DELETE", LABELS + "/3").status_code == 204
    assert digits.dataset.names_of(both) == ["4"]
    assert digits.get()["total_sample_count"] == 1797 - 14


@pytest.mark.parametrize(("delete_source", "back"), [("false", 15), ("true", 0)])
def test_files_of_deleted_samples_stay_unless_they_are_to_go(digits: Caller, delete_source: str, back: int) -> None:
    assert digits("DELETE", LABELS + "/3", params={"delete_source": delete_source}).status_code == 204
    digits("POST", "/sync-data")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert digits.get("/sync-data/status")["add_sample_count"] == back


def test_one_label_is_changed_by_its_name(digits: Caller) -> None:
    answer = digits("PUT", LABELS + "/3", params={"label_type": 0}, json={"@modelarts:color": "#93c47d"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert digits.get(LABELS)["labels"][3]["property"] == {"@modelarts:color": "#93c47d"}
    assert digits("PUT", LABELS + "/3", json={RENAME: "r\u00f6se"}).status_code == 204
    assert digits("DELETE", LABELS + "/r\u00f6se").status_code == 204
    assert names(digits) == [*"012456789"]
    assert digits.refused("PUT", LABELS + "/4", params={"label_type": 1}, json={}) == (400, "ModelArts.4410")
    assert digits.refused("PUT", LABELS + "/x", json={}) == (400, "ModelArts.4410")
    assert digits.refused("DELETE", LABELS + "/x") == (400, "ModelArts.4410")


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("POST", LABELS, {"labels": [{"name": ""}]}),
        ("POST", LABELS, {"labels": [{"name": "x" * 1025}]}),
        ("POST", LABELS, {"labels": [{"name": "a", "property": {"@modelarts:color": "red"}}]}),
        ("POST", LABELS, {"labels": [{"name": "a", "property": {"@modelarts:default_shape": "star"}}]}),
        ("POST", LABELS, {"labels": [{"name": "a", "attributes": [{"name": "x" * 65}]}]}),
        ("POST", LABELS, {"labels": [{"name": "a", "type": 400}]}),
        ("POST", LABELS, {"labels": [{"type": 0}]}),
        ("POST", LABELS, {}),
        ("POST", LABELS + "/delete?delete_policy=3", {"labels": [{"name": "3"}]}),
        ("PUT", LABELS + "/3", {"@modelarts:color": 7}),
        ("PUT", LABELS + "/3?label_type=400", {}),
    ],
)
@pytest.mark.wrong_requests
def test_labels_outside_the_contract(digits: Caller, method: str, tail: str, body: Any) -> None:
    assert digits.refused(method, tail, json=body) == (400, "ModelArts.0104")
    assert names(digits) == [*"0123456789"]


@pytest.mark.wrong_requests
def test_unknown_properties_are_refused_in_strict_mode(digits: Caller) -> None:
    body = {"labels": [{"name": "a", "property": {"colour": "#93c47d"}}]}
    digits.emulator.variants.strict_requests = True
    assert digits.refused("POST", LABELS, json=body) == (400, "ModelArts.0104")
    digits.emulator.variants.strict_requests = False
    assert digits("POST", LABELS, json=body).json()["success"]


def test_labels_stand_still_while_a_version_is_published(digits: Caller) -> None:
    digits("POST", "/versions", json={})
    label = {"labels": [{"name": "3"}]}
    for method, tail, body in (
        ("POST", LABELS, label),
        ("PUT", LABELS, label),
        ("POST", LABELS + "/delete", label),
        ("PUT", LABELS + "/3", {}),
        ("DELETE", LABELS + "/3", None),
        ("PUT", "", {"add_labels": [{"name": "a"}]}),
    ):
        assert digits.refused(method, tail, json=body) == (400, "ModelArts.4381")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert digits("DELETE", LABELS + "/3").status_code == 204
