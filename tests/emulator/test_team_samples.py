"""Team labeling: a copy of each sample per member (contract 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.emulator.conftest import Caller


def test_team_copies_are_separate(digits: Caller) -> None:
    emulator = digits.emulator
    dataset = emulator.dataset(digits.dataset_id)
    chosen = digits.sample_ids(3)
    team = emulator.create_team_task(digits.dataset_id, ["a@example.com", "b@example.com"], sample_ids=chosen)
    workers = {email: worker_id for worker_id, email in dataset.team_workers(team).items()}
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    before = dataset.labels_of(chosen[0])

    def put(*samples: dict[str, Any], **body: Any) -> Any:
        return digits("PUT", url, json={"samples": list(samples), **body}).json()

    def written(worker: str, name: str, sample_id: str = chosen[0]) -> dict[str, Any]:
        return {"sample_id": sample_id, "worker_id": workers[worker], "labels": [{"name": name}]}

    assert put(written("a@example.com", "1"), written("b@example.com", "2")) == {"success": True}
    copies = digits.get(url)
    assert copies["sample_count"] == 6
    found = {
        (sample["sample_id"], sample["worker_id"]): [label["name"] for label in sample["labels"]]
        for sample in copies["samples"]
    }
    assert found[chosen[0], workers["a@example.com"]] == ["1"]
    assert found[chosen[0], workers["b@example.com"]] == ["2"]
    assert found[chosen[1], workers["a@example.com"]] == []
    assert dataset.labels_of(chosen[0]) == before
    one = {"worker_id": workers["b@example.com"]}
    assert digits.refused("GET", f"{url}/{chosen[0]}", params=one) == (400, "ModelArts.4624")
    # only labels that exist; others of the same request are written
    answer = put(written("a@example.com", "nobody"), written("a@example.com", "3", chosen[1]))
    assert [result.get("error_code") for result in answer["results"]] == ["ModelArts.4410", None]
    assert dataset.team_labels_of(team, chosen[1], workers["a@example.com"])[0]["name"] == "3"
    # a member writes its own copy, and not after acceptance
    answer = put(written("b@example.com", "4"), email="a@example.com")
    assert answer["results"][0]["error_code"] == "ModelArts.4600"
    assert put({"sample_id": chosen[0], "labels": [{"name": "5"}]}, email="a@example.com") == {"success": True}
    dataset.accept(team, chosen[0], workers["a@example.com"])
    assert dataset.names_of(chosen[0]) == ["5"]
    answer = put(written("a@example.com", "6"), email="a@example.com")
    assert answer["results"][0]["error_code"] == "ModelArts.4600"
    assert put(written("a@example.com", "7")) == {"success": True}, "the owner may"
    assert digits.get(f"{url}/{chosen[0]}", **one)["labels"][0]["name"] == "2"
    assert put(written("a@example.com", "1", "unknown"))["results"][0]["error_code"] == "ModelArts.4420"
    tasks = digits.get("/workforce-tasks")
    assert (tasks["count"], tasks["tasks"][0]["task_id"]) == (1, team)
    assert digits.get(f"/workforce-tasks/{team}", sample_stats="true")["sample_stats"]["accepted_sample_count"] == 1
    assert digits.get()["workforce_task_count"] == 1


@pytest.mark.parametrize(
    "state", ["__ALL__", "__NONE__", "__UNCHECK__", "__ACCEPTED__", "__REJECTED__", "__REVIEWED__"]
)
def test_team_samples_in_a_state(digits: Caller, state: str) -> None:
    dataset = digits.dataset
    chosen = digits.sample_ids(4)
    team = digits.emulator.create_team_task(digits.dataset_id, sample_ids=chosen)
    (worker_id,) = dataset.team_workers(team)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    body = {"samples": [{"sample_id": one, "labels": [{"name": "3"}]} for one in chosen[:3]]}
    assert digits("PUT", url, json=body).json() == {"success": True}
    dataset.accept(team, chosen[0], worker_id)
    expected = {
        "__ALL__": chosen[:3],
        "__NONE__": chosen[3:],
        "__UNCHECK__": chosen[1:3],
        "__ACCEPTED__": chosen[:1],
        "__REJECTED__": [],
        "__REVIEWED__": [],
    }
    answer = digits.get(url, sample_state=state)
    assert answer["sample_count"] == len(expected[state])
    assert [sample["sample_id"] for sample in answer["samples"]] == expected[state]


@pytest.mark.wrong_requests  # lower case and an empty state, as in the examples (quirk 35)
def test_team_states_are_read_as_those_of_a_dataset(digits: Caller) -> None:
    team = digits.emulator.create_team_task(digits.dataset_id)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    assert digits.get(url, sample_state="")["sample_count"] == 1797
    assert digits.get(url, sample_state="__all__")["sample_count"] == 0
    assert digits.refused("GET", url, params={"sample_state": "__SOME__"}) == (400, "ModelArts.0104")
    assert digits.refused("GET", url, params={"locale": "de"}) == (400, "ModelArts.0104")
    assert "x-image-process=p" in digits.get(url, limit=1, process_parameter="p")["samples"][0]["source"]


def test_a_team_sample_keeps_metadata_and_usage_and_hands_them_on_when_it_is_accepted(digits: Caller) -> None:
    dataset = digits.dataset
    sample_id = digits.sample_ids(1)[0]
    emails = ["a@example.com", "b@example.com"]
    team = digits.emulator.create_team_task(digits.dataset_id, emails, sample_ids=[sample_id])
    first, second = dataset.team_workers(team)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    written = {"sample_id": sample_id, "worker_id": first, "labels": [{"name": "3"}]}
    written |= {"metadata": {"@modelarts:hard": True, "weather": "fog"}, "sample_usage": "EVAL"}
    assert digits("PUT", url, json={"samples": [written]}).json() == {"success": True}
    copy, other = digits.get(url)["samples"]
    assert (copy["worker_id"], other["worker_id"]) == (first, second)
    assert (copy["sample_usage"], copy["metadata"]["weather"]) == ("EVAL", "fog")
    assert copy["metadata"]["@modelarts:hard"] is True
    assert "sample_usage" not in other
    assert "weather" not in other["metadata"]
    place = f"/data-annotations/samples/{sample_id}"
    assert "weather" not in digits.get(place)["metadata"], "not before acceptance"
    dataset.accept(team, sample_id, first)
    sample = digits.get(place)
    assert (sample["sample_usage"], sample["metadata"]["weather"]) == ("EVAL", "fog")
