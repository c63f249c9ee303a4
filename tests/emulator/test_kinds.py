"""Datasets of texts, sounds and tables beside those of images (contract 3.3, 6.1)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator.state.kinds import KINDS
from tests.emulator.conftest import AUTO, SAMPLES, Caller

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

STATS = "/data-annotations/stats"
LABELS = "/data-annotations/labels"
FILES: dict[int, tuple[str, bytes]] = {
    1: ("a.txt", "Ann lives in Köln.".encode()),
    2: ("a.wav", b"RIFF----WAVE"),
    4: ("a.csv", b"name,town\nAnn,Bonn\nBen,Trier\n"),
}
OTHERS = [(kind, KINDS[kind].sample_type) for kind in (100, 101, 102, 200, 201, 202, 400)]


def create(emulator: Emulator, dataset_type: int, **further: Any) -> Caller:
    """Return a user of a new dataset, made over HTTP, whose input folder is "/bucket/in/"."""
    caller = Caller(emulator)
    body = {
        "dataset_name": f"kind-{dataset_type}",
        "dataset_type": dataset_type,
        "data_sources": [{"data_path": "/bucket/in/", "with_column_header": True}],
        "work_path": "/bucket/out/",
        "work_path_type": 0,
        **further,
    }
    answer = caller("POST", f"/v2/{emulator.project_id}/datasets", json=body)
    assert answer.status_code == 201, answer.text
    caller.dataset_id = answer.json()["dataset_id"]
    emulator.clock.advance(emulator.job_seconds)
    return caller


@pytest.mark.parametrize(("dataset_type", "sample_type"), OTHERS)
def test_a_dataset_of_any_kind_takes_its_files(emulator: Emulator, dataset_type: int, sample_type: int) -> None:
    for name, content in FILES.values():
        emulator.put_files("/bucket/in/", {name: content})
    caller = create(emulator, dataset_type, import_data=True)
    name, content = FILES[sample_type]
    (sample,) = caller.get(SAMPLES)["samples"]
    assert (sample["sample_type"], sample["sample_name"], sample["sample_size"]) == (sample_type, name, len(content))
    assert "@modelarts:size" not in sample["metadata"]
    assert caller.session.get(sample["source"], timeout=10).content == content
    assert caller.get(SAMPLES, sample_type=sample_type)["sample_count"] == 1
    assert caller.get(SAMPLES, sample_type=0)["sample_count"] == 0
    assert caller.get()["dataset_type"] == dataset_type


def test_texts_and_tables_show_their_data(emulator: Emulator) -> None:
    emulator.put_files("/bucket/in/", dict(FILES.values()))
    (text,) = create(emulator, 100).get(SAMPLES)["samples"]
    assert text["sample_data"] == ["Ann lives in Köln."]
    columns = [{"schema_id": 1, "name": "name", "type": "STRING"}]
    table = create(emulator, 400, import_data=True, schema=columns)
    (sample,) = table.get(SAMPLES)["samples"]
    assert sample["sample_data"] == ["Ann,Bonn", "Ben,Trier"], "the names of the columns are no data"
    described = table.get()
    assert (described["schema"], described["dataset_format"], described["import_data"]) == (columns, 1, True)
    assert "sample_data" not in create(emulator, 200).get(SAMPLES)["samples"][0]


def test_tables_are_read_only_if_that_was_asked_for(emulator: Emulator) -> None:
    emulator.put_files("/bucket/in/", dict(FILES.values()))
    table = create(emulator, 400)
    assert table.get()["total_sample_count"] == 0
    table("POST", "/import-tasks", json={"import_path": "/bucket/in/"})
    emulator.clock.advance(emulator.job_seconds)
    assert table.get()["total_sample_count"] == 1


@pytest.mark.parametrize("encoding", ["UTF-8", "GBK", "GB2312"])
def test_an_uploaded_text_is_read_in_its_encoding(emulator: Emulator, encoding: str) -> None:
    caller = create(emulator, 100)
    data = base64.b64encode("你好".encode(encoding)).decode()
    sample = {"name": "a.txt", "data": data, "encoding": encoding, "sample_type": 1, "labels": [{"name": "greeting"}]}
    answer = caller("POST", SAMPLES, json={"samples": [sample]}).json()
    assert answer["success"], answer
    assert caller.get(f"{SAMPLES}/{answer['results'][0]['info']}")["sample_data"] == ["你好"]


def test_uploads_that_are_something_else_are_refused(emulator: Emulator) -> None:
    caller = create(emulator, 100)
    chinese, plain = (base64.b64encode(content).decode() for content in ("你好".encode("gbk"), b"hello"))
    samples = [
        {"name": "1.txt", "data": chinese, "encoding": "UTF-8"},
        {"name": "2.txt", "data": plain, "sample_type": 0},
        {"name": "3.txt", "data": plain, "labels": [{"name": "rose", "type": 0}]},
        {"name": "4.txt", "data": plain},
    ]
    answer = caller("POST", SAMPLES, json={"samples": samples}).json()
    codes = [result.get("error_code") for result in answer["results"]]
    assert codes == ["ModelArts.4421", "ModelArts.0104", "ModelArts.4413", None]
    assert caller.get()["total_sample_count"] == 1


@pytest.mark.parametrize("task_type", ["auto-label", "pre-label", "auto-grouping"])
@pytest.mark.parametrize("dataset_type", [kind for kind, _ in OTHERS])
def test_the_machine_labels_images_only(emulator: Emulator, dataset_type: int, task_type: str) -> None:
    caller = Caller(emulator, emulator.load_samples(dataset_type, 12, labeled=0 if dataset_type == 400 else 10))
    body = {"task_type": task_type, "model_id": "m"}
    assert caller.refused("POST", "/tasks", json=body) == (501, "ModelArts.4383")
    assert caller.get("/tasks")["total_count"] == 0
    assert caller.get(AUTO)["sample_count"] == 0


@pytest.mark.parametrize("dataset_type", [kind for kind, _ in OTHERS if kind != 400])
def test_labels_of_every_kind_are_kept_and_counted(emulator: Emulator, dataset_type: int) -> None:
    caller = Caller(emulator, emulator.load_samples(dataset_type, 6, labeled=4))
    labeled = caller.get(SAMPLES, sample_state="__ALL__")["samples"]
    assert len(labeled) == 4
    free = caller.get(SAMPLES, sample_state="__NONE__")["samples"][-1]
    model = next(one for one in caller.get(SAMPLES)["samples"] if one["sample_id"] == labeled[-1]["sample_id"])
    # The labels of one sample, written to it once more.
    assert caller.put([{"sample_id": model["sample_id"], "labels": model["labels"]}]) == {"success": True}
    again = caller.get(f"{SAMPLES}/{model['sample_id']}")
    assert (again["labels"], again["sample_status"]) == (model["labels"], "MANUAL_ANNOTATION")
    assert free["sample_status"] == "UN_ANNOTATION"
    stats = caller.get(STATS)
    assert stats["sample_stats"]["manual_annotation"] == 4
    expected: dict[str, int] = {}
    for sample in labeled:
        for label in sample["labels"]:
            if "name" in label:
                expected[label["name"]] = expected.get(label["name"], 0) + 1
    assert {one["name"]: one["count"] for one in stats["label_stats"]} == expected
    assert {one["type"] for one in stats["label_stats"]} <= KINDS[dataset_type].label_types
    types = {label["type"] for sample in labeled for label in sample["labels"]}
    assert types == KINDS[dataset_type].label_types
    for label_type in types - {103}:  # by which a list cannot be filtered (contract 3.1)
        assert caller.get(SAMPLES, label_type=label_type)["sample_count"] == 4
    now = int(emulator.clock.now() * 1000)
    metrics = caller.get("/metrics", start_time=now, end_time=now)["metrics"]
    assert list(metrics["manual_annotation"].values()) == [4]


def test_new_labels_join_the_label_set_with_their_type(emulator: Emulator) -> None:
    caller = Caller(emulator, emulator.load_samples(102, 1))
    (sample_id,) = caller.sample_ids(1)
    span = {"@modelarts:start_index": 0, "@modelarts:end_index": 5}
    entity = {"name": "place", "type": 103, "id": "1", "property": span}
    assert caller.put([{"sample_id": sample_id, "labels": [entity]}]) == {"success": True}
    types = {label["name"]: label["type"] for label in caller.get(LABELS)["labels"]}
    assert types == {"person": 103, "company": 103, "works_at": 102, "place": 103}


def test_search_by_what_a_label_says(emulator: Emulator) -> None:
    caller = Caller(emulator, emulator.load_samples(202, 4, labeled=4))
    said = '[{"label_list":{"labels":[{"type":202,"property":{"@modelarts:source":["Bob"]}}]}}]'
    assert caller.get(SAMPLES, search_conditions=said)["sample_count"] == 1


@pytest.mark.parametrize("dataset_type", [100, 101, 102, 202])
def test_members_label_texts_and_speech(emulator: Emulator, dataset_type: int) -> None:
    caller = Caller(emulator, emulator.load_samples(dataset_type, 2, labeled=1))
    first, second = caller.sample_ids(2)
    labels = caller.dataset.labels_of(first)
    task_id = emulator.create_team_task(caller.dataset_id, sample_ids=[first, second])
    url = f"/workforce-tasks/{task_id}{SAMPLES}"
    (worker_id,) = emulator.dataset(caller.dataset_id).team_workers(task_id)
    written = {"samples": [{"sample_id": first, "worker_id": worker_id, "labels": labels}]}
    assert caller("PUT", url, json=written).json() == {"success": True}
    (copy,) = caller.get(url, sample_state="__UNCHECK__")["samples"]
    assert (copy["labels"], copy["sample_type"]) == (labels, KINDS[dataset_type].sample_type)
    assert caller.dataset.labels_of(second) == []


def test_a_published_version_and_an_export_keep_what_is_no_image(emulator: Emulator) -> None:
    caller = Caller(emulator, emulator.load_samples(201, 2, labeled=1))
    before = {sample["sample_name"]: sample["labels"] for sample in caller.get(SAMPLES)["samples"]}
    parameters = {
        "export_dest": "NEW_DATASET",
        "export_new_dataset_name": "copy",
        "export_new_dataset_work_path": "/bucket/copied/",
    }
    caller("POST", "/export-tasks", json={"path": "/bucket/export/", "export_type": 2, "export_params": parameters})
    emulator.clock.advance(emulator.job_seconds)
    caller.get("/export-tasks")
    copied = Caller(emulator, emulator.datasets[-1])
    found = copied.get(SAMPLES)["samples"]
    assert {sample["sample_name"]: sample["labels"] for sample in found} == before
    assert {sample["sample_type"] for sample in found} == {2}
    assert copied.session.get(found[0]["source"], timeout=10).content.startswith(b"RIFF")


def test_what_cannot_be_made_up(emulator: Emulator) -> None:
    for dataset_type, labeled in ((0, 0), (600, 0), (100, 3), (400, 1)):
        with pytest.raises(ValueError, match=str(dataset_type)):
            emulator.load_samples(dataset_type, 2, labeled=labeled)


def test_a_manifest_of_another_kind_brings_nothing(emulator: Emulator) -> None:
    sounds = Caller(emulator, emulator.load_samples(201, 2, labeled=2))
    sounds("POST", "/versions", json={})
    emulator.clock.advance(60)
    manifest = sounds.get("/versions")["versions"][0]["manifest_path"]
    body = {"import_path": manifest, "import_type": "manifest"}
    texts = create(emulator, 100)
    assert texts.refused("POST", "/import-tasks", json=body) == (400, "ModelArts.4340")
    other_sounds = create(emulator, 200)
    other_sounds("POST", "/import-tasks", json=body)
    emulator.clock.advance(emulator.job_seconds)
    counts = other_sounds.get()
    assert (counts["total_sample_count"], counts["annotated_sample_count"]) == (2, 0)
    same = create(emulator, 201)
    same("POST", "/import-tasks", json=body)
    emulator.clock.advance(emulator.job_seconds)
    assert same.get()["annotated_sample_count"] == 2
