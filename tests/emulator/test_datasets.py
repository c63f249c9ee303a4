"""Datasets and their statistics (contract 6.1, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import Caller

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator


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


NEW: dict[str, Any] = {
    "dataset_name": "flowers",
    "dataset_type": 0,
    "data_sources": [{"data_type": 0, "data_path": "/bucket/flowers/"}],
    "work_path": "/bucket/output/",
    "work_path_type": 0,
    "description": "of the garden",
    "labels": [{"name": "rose", "type": 0, "property": {"@modelarts:color": "#3399ff"}}],
}


def create(caller: Caller, **changes: Any) -> Caller:
    """Return a user of a new dataset, whose files have been read."""
    response = caller("POST", f"/v2/{caller.emulator.project_id}/datasets", json={**NEW, **changes})
    assert response.status_code == 201, response.text
    caller.emulator.clock.advance(caller.emulator.job_seconds)
    return Caller(caller.emulator, response.json()["dataset_id"])


def refusal(caller: Caller, **changes: Any) -> tuple[int, str]:
    return caller.refused("POST", f"/v2/{caller.emulator.project_id}/datasets", json={**NEW, **changes})


def test_a_dataset_is_created_with_the_files_of_its_folder(emulator: Emulator) -> None:
    emulator.put_images("/bucket/flowers/", 3, label="rose")
    emulator.put_images("/bucket/flowers/more/", 2)
    emulator.put_images("/bucket/elsewhere/", 1)
    caller = Caller(emulator)
    response = caller("POST", f"/v2/{emulator.project_id}/datasets", json=NEW)
    caller.dataset_id = response.json()["dataset_id"]
    creating = caller.get()
    assert (creating["status"], creating["total_sample_count"]) == (0, 0)
    emulator.clock.advance(emulator.job_seconds)
    made = caller.get()
    assert {name: made[name] for name in NEW if name != "labels"} == {
        name: value for name, value in NEW.items() if name != "labels"
    }
    assert made["labels"] == NEW["labels"]
    assert (made["status"], made["total_sample_count"], made["annotated_sample_count"]) == (1, 5, 3)
    assert made["inner_work_path"] == f"/bucket/output/flowers-{caller.dataset_id}/"
    served = caller.get("/data-annotations/samples")["samples"]
    assert all(sample["metadata"]["@modelarts:origin_source"].startswith("s3://bucket/flowers/") for sample in served)


def test_labels_beside_the_files_are_left_alone_if_that_is_asked_for(emulator: Emulator) -> None:
    emulator.put_images("/bucket/flowers/", 3, label="rose")
    made = create(Caller(emulator), import_annotations=False).get()
    assert (made["total_sample_count"], made["annotated_sample_count"]) == (3, 0)


def test_a_dataset_whose_creation_failed_is_in_error(emulator: Emulator) -> None:
    emulator.put_images("/bucket/flowers/", 3)
    emulator.faults.add("POST", "/datasets", "fail_task")
    made = create(Caller(emulator)).get()
    assert (made["status"], made["total_sample_count"]) == (4, 0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"work_path": "/bucket/"}, "ModelArts.4374"),
        ({"work_path": "/bucket//output/"}, "ModelArts.4315"),
        ({"work_path": "bucket/output"}, "ModelArts.4374"),
        ({"work_path": "/bucket/flowers/"}, "ModelArts.4374"),
        ({"work_path": "/bucket/flowers/output/"}, "ModelArts.4374"),
        ({"work_path": "/bucket/" + "x" * 700}, "ModelArts.4350"),
        ({"dataset_name": "a b"}, "ModelArts.0104"),
        ({"dataset_name": "x" * 101}, "ModelArts.0104"),
        ({"description": "5 < 6"}, "ModelArts.0104"),
        ({"description": "x" * 257}, "ModelArts.0104"),
        ({"data_sources": []}, "ModelArts.0104"),
        ({"data_sources": NEW["data_sources"] * 2}, "ModelArts.0104"),
        ({"dataset_type": 5}, "ModelArts.0104"),
        ({"labels": NEW["labels"] * 2}, "ModelArts.4411"),
        ({"labels": [{"name": "x" * 1025}]}, "ModelArts.0104"),
    ],
)
@pytest.mark.wrong_requests
def test_what_no_dataset_is_made_of(emulator: Emulator, changes: dict[str, Any], code: str) -> None:
    assert refusal(Caller(emulator), **changes) == (400, code)
    assert emulator.datasets == ()


def test_a_name_is_taken_once_and_datasets_have_a_quota(emulator: Emulator) -> None:
    caller = Caller(emulator)
    create(caller)
    assert refusal(caller) == (400, "ModelArts.4351")
    emulator.variants.max_datasets = 1
    assert refusal(caller, dataset_name="more") == (500, "ModelArts.4354")


@pytest.mark.wrong_requests
def test_unknown_fields_are_refused_in_strict_mode(emulator: Emulator) -> None:
    caller = Caller(emulator)
    create(caller, nonsense=1, data_sources=[{"data_path": "/bucket/flowers/", "more": 1}])
    emulator.variants.strict_requests = True
    assert refusal(caller, dataset_name="more", nonsense=1) == (400, "ModelArts.0104")
    source = {"data_path": "/bucket/flowers/", "more": 1}
    assert refusal(caller, dataset_name="more", data_sources=[source]) == (400, "ModelArts.0104")


def test_a_dataset_is_changed_as_a_whole_or_not_at_all(digits: Caller) -> None:
    change = {
        "dataset_name": "numbers",
        "description": "it's new",
        "add_labels": [{"name": "eleven"}],
        "update_labels": [{"name": "3", "property": {"@modelarts:rename_to": "three"}}],
        "delete_labels": [{"name": "9"}],
    }
    refused = {**change, "add_labels": [{"name": "eleven"}, {"name": "0"}]}
    assert digits.refused("PUT", json=refused) == (400, "ModelArts.4411")
    assert digits.refused("PUT", json={**change, "delete_labels": [{"name": "x"}]}) == (400, "ModelArts.4410")
    assert digits.refused("PUT", json={**change, "update_labels": [{"name": "x"}]}) == (400, "ModelArts.4410")
    before = digits.get()
    assert (before["dataset_name"], len(before["labels"])) == ("digits", 10)
    assert digits("PUT", json=change).json() == {"dataset_id": digits.dataset_id}
    after = digits.get()
    assert (after["dataset_name"], after["description"]) == ("numbers", "it's new")
    assert [label["name"] for label in after["labels"]] == [*"012", "three", *"45678", "eleven"]
    assert after["annotated_sample_count"] == 150 - 15
    assert after["inner_work_path"] == before["inner_work_path"]
    other = create(digits)
    assert other.refused("PUT", json={"dataset_name": "numbers"}) == (400, "ModelArts.4351")


def test_a_deleted_dataset_is_unknown_and_its_files_stay(digits: Caller) -> None:
    emulator, folder = digits.emulator, digits.get()["data_sources"][0]["data_path"]
    digits.start()
    assert digits.refused("DELETE") == (403, "ModelArts.4803")
    emulator.clock.advance(emulator.task_seconds)
    assert digits("DELETE").status_code == 204
    assert digits.refused("GET") == (400, "ModelArts.4352")
    assert digits.refused("DELETE") == (400, "ModelArts.4352")
    made = create(digits, dataset_name="digits", data_sources=[{"data_path": folder}])
    assert made.dataset_id != digits.dataset_id
    counted = made.get()
    assert (counted["total_sample_count"], counted["annotated_sample_count"]) == (1797, 0)


def test_metrics_have_a_point_for_each_day(digits: Caller) -> None:
    day = 24 * 3600
    start = int(digits.emulator.clock.now() * 1000)
    digits.emulator.clock.advance(2 * day)
    digits.session.headers["X-Auth-Token"] = digits.emulator.issue_token()
    digits.dataset.edit(digits.sample_ids(1)[0], "3")
    end = int(digits.emulator.clock.now() * 1000)
    series = digits.get("/metrics", start_time=start, end_time=end + 5000)["metrics"]
    assert set(series["total"]) == {str(start), str(start + day * 1000), str(end)}
    assert set(series["total"].values()) == {1797}
    assert series["manual_annotation"][str(end)] >= series["manual_annotation"][str(start)]
    assert digits.get("/metrics", start_time=0, end_time=1)["metrics"]["total"] == {}


@pytest.mark.wrong_requests
def test_metrics_want_both_times(digits: Caller) -> None:
    assert digits.refused("GET", "/metrics") == (400, "ModelArts.0104")
    assert digits.refused("GET", "/metrics", params={"start_time": 5, "end_time": 4}) == (400, "ModelArts.0104")
    query = {"start_time": 1, "end_time": 2, "workforce_task_id": "x"}
    assert digits.refused("GET", "/metrics", params=query) == (400, "ModelArts.4619")
