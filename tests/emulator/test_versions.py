"""Versions of a dataset: published, switched to, deleted (contract 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import SAMPLES, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator


def publish(caller: Caller, **body: Any) -> str:
    response = caller("POST", "/versions", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["version_id"])


def finish(caller: Caller, **body: Any) -> str:
    """Publish a version, and let time pass until the next one may be published."""
    version_id = publish(caller, **body)
    caller.emulator.clock.advance(60)
    return version_id


def test_a_version_is_published_in_time(digits: Caller) -> None:
    version_id = publish(digits, description="first", train_evaluate_sample_ratio="0.8")
    creating = digits.get(f"/versions/{version_id}")
    assert (creating["status"], creating["is_current"]) == (0, False)
    assert digits.get(check_running_task="true", running_task_type=6)["exist_running_task"] is True
    assert (digits.get()["status"], digits.dataset.status) == (6, 6)
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    made = digits.get(f"/versions/{version_id}")
    folder = digits.get()["inner_annotation_path"] + "V001/"
    assert {
        "version_name": "V001",
        "version_format": "Default",
        "status": 1,
        "is_current": True,
        "description": "first",
        "train_evaluate_sample_ratio": "0.8",
        "total_sample_count": 1797,
        "annotated_sample_count": 150,
        "manifest_path": folder + "V001.manifest",
        "clear_hard_property": True,
        "label_type": "single",
    }.items() <= made.items()
    assert {row["sample_count"] for row in made["label_stats"]} == {15}
    dataset = digits.get()
    assert (dataset["status"], dataset["current_version_id"], dataset["current_version_name"]) == (
        1,
        version_id,
        "V001",
    )
    assert (dataset["next_version_num"], dataset["dataset_version_count"]) == (2, 1)


def test_versions_are_numbered_listed_and_filtered(digits: Caller) -> None:
    first = finish(digits, train_evaluate_sample_ratio="0.5")
    named = finish(digits, version_name="V002")
    third = publish(digits)
    listed = digits.get("/versions")
    assert listed["total_number"] == 3
    assert [one["version_id"] for one in listed["versions"]] == [third, named, first]
    assert [one["version_name"] for one in listed["versions"]] == ["V003", "V002", "V001"]
    assert listed["versions"][1]["previous_version_id"] == first
    assert "previous_version_id" not in listed["versions"][2]
    assert [one["version_id"] for one in digits.get("/versions", status=0)["versions"]] == [third]
    assert [one["version_id"] for one in digits.get("/versions", limit=1, offset=1)["versions"]] == [named]
    assert [one["version_id"] for one in digits.get("/versions", train_evaluate_ratio="0.4,0.9")["versions"]] == [first]
    assert digits.get("/versions", version_format=2)["total_number"] == 0
    datasets = f"/v2/{digits.emulator.project_id}/datasets"
    shown = digits.get(datasets, contain_versions="true", train_evaluate_ratio="0.4,0.9")["datasets"]
    assert [one["version_id"] for one in shown[0]["versions"]] == [first]
    assert digits.get(datasets, version_format=2)["total_number"] == 0


def test_what_a_dataset_refuses_to_publish(digits: Caller, proposals: Callable[..., Caller]) -> None:
    publish(digits, version_name="mine")
    assert digits.refused("POST", "/versions", json={}) == (400, "ModelArts.4343")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert digits.refused("POST", "/versions", json={}) == (400, "ModelArts.4370")
    digits.emulator.clock.advance(60 - digits.emulator.job_seconds)
    assert digits.refused("POST", "/versions", json={"version_name": "mine"}) == (400, "ModelArts.4371")
    digits.emulator.variants.max_versions = 1
    assert digits.refused("POST", "/versions", json={}) == (400, "ModelArts.4714")
    assert proposals(0).refused("POST", "/versions", json={}) == (400, "ModelArts.4825")
    split = {"train_evaluate_sample_ratio": "0.5"}
    assert proposals(3).refused("POST", "/versions", json=split) == (400, "ModelArts.4342")
    assert digits.refused("GET", "/versions/x") == (400, "ModelArts.4353")


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("POST", "/versions", {"version_name": "x" * 33}),
        ("POST", "/versions", {"version_name": "a b"}),
        ("POST", "/versions", {"description": 'a "quote"'}),
        ("POST", "/versions", {"version_format": "TXT"}),
        ("POST", "/versions", {"train_evaluate_sample_ratio": "1.2"}),
        ("POST", "/versions", {"train_evaluate_sample_ratio": 0.5}),
        ("GET", "/versions?status=7", None),
        ("GET", "/versions?version_format=3", None),
        ("GET", "/versions?train_evaluate_ratio=half", None),
        ("GET", "/versions?limit=1001", None),
    ],
)
@pytest.mark.wrong_requests
def test_versions_outside_the_contract(digits: Caller, method: str, tail: str, body: Any) -> None:
    assert digits.refused(method, tail, **({} if body is None else {"json": body})) == (400, "ModelArts.0104")


def test_a_version_keeps_samples_and_labels_as_they_were(digits: Caller) -> None:
    version_id = finish(digits)
    labeled, other = (one["sample_id"] for one in digits.get(SAMPLES, sample_state="__ALL__", limit=2)["samples"])
    before = digits.dataset.names_of(labeled)
    digits.dataset.edit(labeled, "new")
    digits("POST", SAMPLES + "/delete", json={"samples": [other]})
    of_version = digits.get(SAMPLES, version_id=version_id, sample_state="__ALL__", limit=100)
    assert of_version["sample_count"] == 150
    names = {one["sample_id"]: [label["name"] for label in one["labels"]] for one in of_version["samples"]}
    assert names[labeled] == before
    assert len(digits.get("/data-annotations/labels", version_id=version_id)["labels"]) == 10
    assert len(digits.get("/data-annotations/labels")["labels"]) == 11
    assert digits.refused("GET", SAMPLES, params={"version_id": "x"}) == (400, "ModelArts.4353")


def test_a_switch_brings_a_version_back(digits: Caller) -> None:
    first = finish(digits)
    labeled = digits.get(SAMPLES, sample_state="__ALL__", limit=1)["samples"][0]["sample_id"]
    before = digits.dataset.names_of(labeled)
    digits.dataset.edit(labeled, "new")
    second = finish(digits)
    assert digits("PUT", json={"current_version_id": first}).status_code == 200
    assert digits.get()["status"] == 7
    assert digits.refused("POST", "/versions", json={}) == (400, "ModelArts.4349")
    assert digits.refused("PUT", json={"current_version_id": second}) == (400, "ModelArts.4349")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert (digits.get()["status"], digits.get()["current_version_id"]) == (1, first)
    assert digits.dataset.names_of(labeled) == before
    assert digits.refused("PUT", json={"current_version_id": "x"}) == (400, "ModelArts.4353")


def test_a_version_that_failed_is_not_switched_to(digits: Caller) -> None:
    digits.emulator.faults.add("POST", "/versions", "fail_task", message="no space")
    failed = finish(digits)
    shown = digits.get(f"/versions/{failed}")
    assert (shown["status"], shown["message"], shown["is_current"]) == (4, "no space", False)
    assert digits.get()["status"] == 1
    assert digits.refused("PUT", json={"current_version_id": failed}) == (400, "ModelArts.4824")


def test_a_version_is_deleted_once_it_is_published(digits: Caller) -> None:
    version_id = publish(digits)
    assert digits.refused("DELETE", f"/versions/{version_id}") == (400, "ModelArts.4828")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert digits("DELETE", f"/versions/{version_id}").status_code == 204
    assert digits.refused("DELETE", f"/versions/{version_id}") == (400, "ModelArts.4353")
    assert digits.get("/versions")["total_number"] == 0
    assert "current_version_id" not in digits.get()
    assert digits.get()["annotated_sample_count"] == 150


def test_no_labeling_starts_while_a_version_is_published(digits: Caller) -> None:
    sample = digits.get(SAMPLES, limit=1)["samples"][0]["sample_id"]
    publish(digits)
    assert digits.refused("POST", "/tasks", json={"task_type": "auto-label"}) == (403, "ModelArts.4821")
    body = {"samples": [{"sample_id": sample, "labels": [{"name": "3"}]}]}
    assert digits.refused("PUT", SAMPLES, json=body) == (400, "ModelArts.4381")
    assert digits.refused("POST", SAMPLES + "/delete", json={"samples": [sample]}) == (400, "ModelArts.4381")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    digits.start()


USED = {"@modelarts:hard": True, "@modelarts:hard_reasons": [3], "weather": "rain"}


def use(caller: Caller, usages: dict[str, str]) -> None:
    samples = [
        {"sample_id": sample_id, "labels": [{"name": "1"}], "metadata": USED, "sample_usage": usage}
        for sample_id, usage in usages.items()
    ]
    assert caller.put(samples) == {"success": True}


def published(caller: Caller, **options: Any) -> dict[str, Any]:
    """Publish a version, and return its labeled samples by id."""
    body = caller("POST", "/versions", json=options)
    assert body.status_code == 201, body.text
    caller.emulator.clock.advance(60)
    version_id = body.json()["version_id"]
    found: list[Any] = []
    for page in range(100):
        listed = caller.get(SAMPLES, version_id=version_id, sample_state="__ALL__", limit=100, offset=page)
        found += listed["samples"]
        if len(found) >= listed["sample_count"]:
            break
    return {sample["sample_id"]: sample for sample in found}


def test_a_version_keeps_usage_and_hardness_if_that_was_asked_for(digits: Caller) -> None:
    usages = dict(zip(digits.sample_ids(4), ("TRAIN", "EVAL", "TEST", "INFERENCE"), strict=True))
    use(digits, usages)
    kept = published(digits, remove_sample_usage=False, clear_hard_property=False)
    assert {sample_id: kept[sample_id]["sample_usage"] for sample_id in usages} == usages
    assert all(kept[sample_id]["metadata"].items() >= USED.items() for sample_id in usages)
    others = {sample["sample_usage"] for sample_id, sample in kept.items() if sample_id not in usages}
    assert others == {"TRAIN"}, "the ratio is 1.00 by default"
    # The dataset itself is as it was.
    assert {one: digits.get(f"{SAMPLES}/{one}")["sample_usage"] for one in usages} == usages


def test_a_version_clears_usage_and_hardness_by_default_and_splits(digits: Caller) -> None:
    usages = dict.fromkeys(digits.sample_ids(4), "INFERENCE")
    use(digits, usages)
    split = published(digits, train_evaluate_sample_ratio="0.8")
    counted = [sample["sample_usage"] for sample in split.values()]
    assert {usage: counted.count(usage) for usage in set(counted)} == {
        "TRAIN": round(0.8 * len(split)),
        "EVAL": len(split) - round(0.8 * len(split)),
    }
    for sample_id in usages:
        metadata = split[sample_id]["metadata"]
        assert metadata["weather"] == "rain"
        assert not any(name.startswith("@modelarts:hard") for name in metadata)


def test_a_manifest_brings_metadata_and_usage_along(digits: Caller, emulator: Emulator) -> None:
    use(digits, dict.fromkeys(digits.sample_ids(1), "EVAL"))
    published(digits, version_name="whole", remove_sample_usage=False, clear_hard_property=False)
    manifest = digits.get("/versions")["versions"][0]["manifest_path"]
    other = Caller(emulator, emulator.load_proposals(0))
    body = {"import_path": manifest, "import_type": "manifest", "difficult_only": True}
    other("POST", "/import-tasks", json=body)
    emulator.clock.advance(emulator.job_seconds)
    (sample,) = other.get(SAMPLES)["samples"]
    assert sample["sample_usage"] == "EVAL"
    assert sample["metadata"].items() >= USED.items()
