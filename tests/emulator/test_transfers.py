"""Imports, exports and synchronization (contract 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import AUTO, SAMPLES, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORTS, EXPORTS = "/import-tasks", "/export-tasks"
FOLDER = "/bucket/new/"


def start(caller: Caller, tail: str, **body: Any) -> str:
    response = caller("POST", tail, json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["task_id"])


def finish(caller: Caller, tail: str, **body: Any) -> Any:
    """Start an import or export, let it end and return it."""
    task_id = start(caller, tail, **body)
    caller.emulator.clock.advance(caller.emulator.job_seconds)
    return caller.get(f"{tail}/{task_id}")


def import_all(caller: Caller, **body: Any) -> Any:
    return finish(caller, IMPORTS, **{"import_type": "dir", "import_path": f"obs:/{FOLDER}", **body})


# --- imports


def test_an_import_takes_its_time(digits: Caller) -> None:
    digits.emulator.put_images(FOLDER, 3, label="seven")
    digits.emulator.job_seconds = 100
    task_id = start(digits, IMPORTS, import_type="dir", import_path=f"obs:/{FOLDER}")
    assert task_id.startswith(f"{digits.dataset_id}_")
    words = []
    for _ in range(4):
        words.append(digits.get(f"{IMPORTS}/{task_id}")["status"])
        digits.emulator.clock.advance(15)
    assert words == ["QUEUING", "STARTING", "RUNNING", "RUNNING"]
    assert digits.get()["status"] == 8
    assert digits.get(check_running_task="true", running_task_type=5)["running_tasks_id"] == [task_id]
    digits.emulator.clock.advance(60)
    done = digits.get(f"{IMPORTS}/{task_id}")
    assert (done["status"], done["elapsed_time"], done["import_type"]) == ("COMPLETED", 100, 0)
    counts = (done["total_sample_count"], done["imported_sample_count"], done["annotated_sample_count"])
    assert counts == (3, 3, 3)
    assert (digits.get()["status"], digits.get()["total_sample_count"]) == (1, 1800)
    assert digits.get(IMPORTS)["import_tasks"][0].items() <= done.items()
    assert "seven" in digits.dataset.labels


def test_the_same_files_are_imported_once_and_labels_stay(digits: Caller) -> None:
    digits.emulator.put_images(FOLDER, 2, label="seven")
    import_all(digits)
    new = [one for one in digits.dataset.samples if digits.dataset.names_of(one) == ["seven"]]
    digits.dataset.edit(new[0], "eight")
    again = import_all(digits)
    assert (again["total_sample_count"], again["imported_sample_count"]) == (2, 0)
    assert digits.dataset.names_of(new[0]) == ["eight"]


@pytest.mark.parametrize(
    ("body", "imported", "labeled", "waiting"),
    [
        ({}, 3, 2, 0),
        ({"import_annotations": False}, 3, 0, 0),
        ({"final_annotation": False}, 3, 0, 2),
        ({"included_labels": ["a"]}, 1, 1, 0),
        ({"included_labels": [{"name": "a"}]}, 1, 1, 0),
        ({"excluded_labels": ["a"]}, 2, 1, 0),
        ({"difficult_only": True}, 1, 1, 0),
    ],
)
def test_what_an_import_takes(
    proposals: Callable[..., Caller], body: dict[str, Any], imported: int, labeled: int, waiting: int
) -> None:
    caller = proposals(0)
    caller.emulator.put_images(FOLDER, 1, label="a")
    caller.emulator.put_images(FOLDER, 1, label="b", hard=True)
    caller.emulator.put_images(FOLDER, 1)
    done = import_all(caller, **body)
    counts = (done["imported_sample_count"], done["annotated_sample_count"], done["unconfirmed_sample_count"])
    assert counts == (imported, labeled, waiting)
    assert caller.get(AUTO)["sample_count"] == waiting
    assert caller.get()["annotated_sample_count"] == labeled


def test_labels_alone_are_imported_for_samples_without_labels(proposals: Callable[..., Caller]) -> None:
    caller = proposals(0)
    caller.emulator.put_images(FOLDER, 2, label="a")
    import_all(caller, import_annotations=False)
    first, second = caller.sample_ids(2)
    caller.dataset.edit(first, "mine")
    done = import_all(caller, import_samples=False)
    assert (done["imported_sample_count"], done["annotated_sample_count"]) == (0, 1)
    assert [caller.dataset.names_of(one) for one in (first, second)] == [["mine"], ["a"]]


def test_the_manifest_of_a_version_is_imported_with_its_labels(
    digits: Caller, proposals: Callable[..., Caller]
) -> None:
    version_id = digits("POST", "/versions", json={}).json()["version_id"]
    other = proposals(0)
    body = {"import_type": "manifest", "import_path": digits.get(f"/versions/{version_id}")["manifest_path"]}
    assert other.refused("POST", IMPORTS, json=body) == (400, "ModelArts.4312")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    done = finish(other, IMPORTS, **body)
    assert (done["import_type"], done["imported_sample_count"], done["annotated_sample_count"]) == (1, 1797, 150)
    assert other.get()["annotated_sample_count"] == 150


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"import_path": "obs://bucket/empty/"}, 400, "ModelArts.4340"),
        ({"import_path": "/bucket//new/"}, 400, "ModelArts.4315"),
        ({"import_path": "somewhere"}, 400, "ModelArts.4374"),
        ({"import_path": FOLDER, "import_type": "manifest"}, 400, "ModelArts.4312"),
        ({"import_path": FOLDER, "import_origin": "dws"}, 400, "ModelArts.4396"),
    ],
)
def test_imports_of_what_is_not_there(digits: Caller, body: dict[str, Any], status: int, code: str) -> None:
    digits.emulator.put_images(FOLDER, 1)
    assert digits.refused("POST", IMPORTS, json=body) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"import_path": 5},
        {"import_path": FOLDER, "import_type": "file"},
        {"import_path": FOLDER, "included_labels": [5]},
        {"import_path": FOLDER, "included_labels": [{"type": 0}]},
        {"import_path": FOLDER, "final_annotation": "no"},
    ],
)
@pytest.mark.wrong_requests
def test_imports_outside_the_contract(digits: Caller, body: Any) -> None:
    assert digits.refused("POST", IMPORTS, json=body) == (400, "ModelArts.0104")


def test_an_unknown_import_does_not_exist(digits: Caller) -> None:
    assert digits.get(f"{IMPORTS}/x")["status"] == "NOT_EXIST"
    export = start(digits, EXPORTS, path=FOLDER)
    assert digits.get(f"{IMPORTS}/{export}")["status"] == "NOT_EXIST"


def test_an_import_can_fail(digits: Caller) -> None:
    digits.emulator.put_images(FOLDER, 1)
    digits.emulator.faults.add("POST", IMPORTS, "fail_task", code="ModelArts.4362", message="no right to read")
    done = import_all(digits)
    assert (done["status"], done["error_code"], done["error_msg"]) == ("FAILED", "ModelArts.4362", "no right to read")
    assert (digits.get()["status"], digits.get()["total_sample_count"]) == (1, 1797)


# --- exports


def test_an_export_writes_files_that_can_be_imported(digits: Caller, proposals: Callable[..., Caller]) -> None:
    digits.emulator.job_seconds = 100
    task_id = start(digits, EXPORTS, path=FOLDER, export_type=0)
    begun = digits.get(f"{EXPORTS}/{task_id}")
    assert (begun["status"], begun["progress"], begun["export_type"]) == ("INIT", 0.0, 0)
    assert "total_sample_count" not in begun
    digits.emulator.clock.advance(50)
    assert digits.get(f"{EXPORTS}/{task_id}")["progress"] == 50.0
    assert (digits.get()["status"], digits.get(f"{EXPORTS}/{task_id}")["status"]) == (1, "RUNNING")
    digits.emulator.clock.advance(50)
    done = digits.get(f"{EXPORTS}/{task_id}")
    assert (done["status"], done["progress"], done["finished_sample_count"]) == ("SUCCESSED", 100.0, 150)
    other = proposals(0)
    assert import_all(other)["annotated_sample_count"] == 150


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({}, 1797),
        ({"export_type": 1}, 1647),
        ({"export_type": 2}, 1797),
        ({"sample_state": "__ALL__"}, 150),
        ({"export_type": 3, "export_params": {"sample_state": "__NONE__"}}, 1647),
        ({"export_type": 3, "export_params": {"sample_state": ""}}, 1797),
        (
            {
                "export_type": 3,
                "export_params": {
                    "search_conditions": [
                        {"label_list": {"labels": [{"name": "3"}]}},
                        {"label_list": {"labels": [{"name": "4"}]}},
                    ]
                },
            },
            30,
        ),
    ],
)
def test_what_an_export_takes(digits: Caller, body: dict[str, Any], count: int) -> None:
    assert finish(digits, EXPORTS, path=FOLDER, **body)["finished_sample_count"] == count


def test_chosen_samples_and_versions_are_exported(digits: Caller) -> None:
    version_id = digits("POST", "/versions", json={}).json()["version_id"]
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    chosen = digits.sample_ids(2)
    parameters = {"samples": chosen}
    assert finish(digits, EXPORTS, path=FOLDER, export_type=3, export_params=parameters)["finished_sample_count"] == 2
    digits("POST", SAMPLES + "/delete", json={"samples": chosen})
    assert finish(digits, EXPORTS, path=FOLDER)["finished_sample_count"] == 1795
    assert finish(digits, EXPORTS, path=FOLDER, version_id=version_id)["finished_sample_count"] == 1797
    assert digits.refused("POST", EXPORTS, json={"path": FOLDER, "version_id": "x"}) == (400, "ModelArts.4353")
    assert digits.get(EXPORTS, export_type=3)["total_count"] == 1
    assert digits.get(EXPORTS, limit=1)["export_tasks"][0]["version_id"] == version_id


def test_an_export_makes_a_dataset(digits: Caller) -> None:
    parameters = {
        "export_dest": "NEW_DATASET",
        "export_new_dataset_name": "copy",
        "export_new_dataset_work_path": "/bucket/out/",
    }
    finish(digits, EXPORTS, path=FOLDER, export_type=3, export_params=parameters)
    made = Caller(digits.emulator, digits.emulator.datasets[-1])
    shown = made.get()
    assert (shown["dataset_name"], shown["total_sample_count"], shown["annotated_sample_count"]) == ("copy", 1797, 150)
    assert shown["data_sources"][0]["data_path"] == FOLDER
    made.finish()
    assert made.waiting() == 1647
    body = {"path": FOLDER, "export_type": 3, "export_params": parameters}
    assert digits.refused("POST", EXPORTS, json=body) == (400, "ModelArts.4351")
    body["export_params"] = {"export_dest": "NEW_DATASET"}
    assert digits.refused("POST", EXPORTS, json=body) == (400, "ModelArts.4384")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "ModelArts.4358"),
        ({"path": "somewhere"}, "ModelArts.4358"),
        ({"path": FOLDER, "export_type": 4}, "ModelArts.0104"),
        ({"path": FOLDER, "export_params": {"export_dest": "MOON"}}, "ModelArts.0104"),
        ({"path": FOLDER, "export_type": 3, "export_params": {"search_conditions": [{"kvp": "1"}]}}, "ModelArts.0104"),
        ({"path": FOLDER, "export_params": {"train_sample_ratio": "2"}}, "ModelArts.0104"),
        ({"path": FOLDER, "export_params": {"search_conditions": [{"hard": "2"}]}}, "ModelArts.0104"),
        ({"path": FOLDER, "sample_state": "all"}, "ModelArts.0104"),
    ],
)
@pytest.mark.wrong_requests
def test_exports_outside_the_contract(digits: Caller, body: Any, code: str) -> None:
    assert digits.refused("POST", EXPORTS, json=body) == (400, code)


def test_an_unknown_export_and_one_that_fails(digits: Caller) -> None:
    assert digits.refused("GET", f"{EXPORTS}/x") == (400, "ModelArts.4359")
    digits.emulator.faults.add("POST", EXPORTS, "fail_task", code="ModelArts.4358", message="full")
    failed = finish(digits, EXPORTS, path=FOLDER)
    assert (failed["status"], failed["error_code"], failed["progress"]) == ("FAILED", "ModelArts.4358", 0.0)


# --- synchronization


def test_a_synchronization_takes_new_files_in_and_lost_ones_out(digits: Caller) -> None:
    assert digits.get("/sync-data/status") == {"status": "NOT_EXIST", "dataset_id": digits.dataset_id}
    digits.emulator.add_images(digits.dataset_id, 5)
    digits.emulator.add_images(digits.dataset_id, 2, label="3")
    digits.dataset.lose_files(digits.sample_ids(3))
    answer = digits("POST", "/sync-data")
    assert (answer.status_code, answer.content) == (200, b"")
    running = digits.get("/sync-data/status")
    assert (running["status"], digits.get()["status"]) == ("QUEUING", 5)
    assert digits.get()["total_sample_count"] == 1797
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    done = digits.get("/sync-data/status")
    assert done["status"] == "COMPLETED"
    counts = (done["add_sample_count"], done["deleted_sample_count"], done["total_sample_count"])
    assert counts == (7, 3, 1801)
    assert (digits.get()["status"], digits.get()["total_sample_count"]) == (1, 1801)
    digits.finish()
    assert digits.waiting() == 1801 - digits.get()["annotated_sample_count"]


@pytest.mark.parametrize(
    ("busy", "code"),
    [(5, "ModelArts.4355"), (6, "ModelArts.4343"), (7, "ModelArts.4349"), (8, "ModelArts.4356")],
)
def test_a_busy_dataset_takes_nothing_else_in(digits: Caller, busy: int, code: str) -> None:
    digits.emulator.put_images(FOLDER, 1)
    digits.dataset.status = busy
    assert digits.refused("POST", "/sync-data") == (400, code)
    assert digits.refused("POST", IMPORTS, json={"import_path": FOLDER}) == (400, code)
    assert digits.refused("POST", "/versions", json={}) == (400, code)


def test_jobs_end_in_the_order_of_their_ends(digits: Caller) -> None:
    emulator = digits.emulator
    digits.start()
    emulator.add_images(digits.dataset_id, 4)
    digits("POST", "/sync-data")
    emulator.clock.advance(emulator.task_seconds + emulator.job_seconds)
    # the images came in while the labeling task ran, so they are proposed as well
    assert digits.waiting() == 1797 + 4 - 150


def test_an_export_keeps_metadata_and_usage_and_clears_what_it_is_told_to(digits: Caller) -> None:
    first, second = digits.sample_ids(2)
    hard = {"@modelarts:hard": True, "@modelarts:hard_reasons": [3], "weather": "rain"}
    labels = [{"name": "1"}]
    digits.put(
        [
            {"sample_id": first, "labels": labels, "metadata": hard, "sample_usage": "TEST"},
            {"sample_id": second, "labels": labels},
        ]
    )
    for clears, gives_out in ((False, False), (True, True)):
        parameters = {
            "export_dest": "NEW_DATASET",
            "export_new_dataset_name": f"copy-{clears}",
            "export_new_dataset_work_path": "/bucket/out/",
            "samples": [first, second],
            "clear_hard_property": clears,
            "ratio_sample_usage": gives_out,
            "train_sample_ratio": "0.5",
        }
        finish(digits, EXPORTS, path=f"{FOLDER}{clears}/", export_type=3, export_params=parameters)
        made = Caller(digits.emulator, digits.emulator.datasets[-1])
        samples = {sample["sample_name"]: sample for sample in made.get(SAMPLES)["samples"]}
        usages = [sample.get("sample_usage") for sample in samples.values()]
        assert sorted(usages, key=str) == (["EVAL", "TRAIN"] if gives_out else [None, "TEST"])
        (metadata,) = [one["metadata"] for one in samples.values() if "weather" in one["metadata"]]
        assert ("@modelarts:hard_reasons" in metadata) is not clears
