"""Datasets, labels and statistics (contract 6.1, 6.2, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.emulator.conftest import Caller


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


def test_running_tasks_of_a_dataset(digits: Caller) -> None:
    task_id = digits.start()
    assert "exist_running_task" not in digits.get()
    asked = digits.get(check_running_task="true", running_task_type=0)
    assert (asked["exist_running_task"], asked["running_tasks_id"]) == (True, [task_id])
    asked = digits.get(check_running_task="true")
    assert asked["exist_running_task"] is False
    digits.emulator.clock.advance(6)
    assert digits.get(check_running_task="true", running_task_type=0)["running_tasks_id"] == []
