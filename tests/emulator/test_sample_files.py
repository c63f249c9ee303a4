"""Uploading and deleting samples (contract 6.4)."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.emulator.conftest import AUTO, SAMPLES, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator


def picture(shade: int = 0, mode: str = "RGB") -> str:
    """Return a small image as base64 text."""
    buffer = io.BytesIO()
    Image.new(mode, (20, 10), (shade,) * len(mode)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def upload(caller: Caller, samples: list[dict[str, Any]], **body: Any) -> Any:
    response = caller("POST", SAMPLES, json={"samples": samples, **body})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def empty(emulator: Emulator) -> Caller:
    """A user of a dataset without samples."""
    caller = Caller(emulator)
    body = {
        "dataset_name": "empty",
        "dataset_type": 0,
        "data_sources": [{"data_path": "/bucket/in/"}],
        "work_path": "/bucket/out/",
        "work_path_type": 0,
    }
    caller.dataset_id = caller("POST", f"/v2/{emulator.project_id}/datasets", json=body).json()["dataset_id"]
    emulator.clock.advance(emulator.job_seconds)
    return caller


def test_an_uploaded_image_is_a_sample_with_its_labels(empty: Caller) -> None:
    answer = upload(
        empty,
        [{"name": "1.png", "data": picture(), "labels": [{"name": "rose"}]}, {"name": "2.png", "data": picture(9)}],
    )
    assert answer["success"] is True
    assert [result["name"] for result in answer["results"]] == ["/bucket/in/1.png", "/bucket/in/2.png"]
    first = empty.get(f"{SAMPLES}/{answer['results'][0]['info']}")
    assert (first["sample_name"], first["metadata"]["@modelarts:size"]) == ("1.png", [20, 10, 3])
    assert [label["name"] for label in first["labels"]] == ["rose"]
    url = first["source"]
    assert empty.session.get(url, timeout=10).content.startswith(b"\x89PNG")
    counts = empty.get()
    assert (counts["total_sample_count"], counts["annotated_sample_count"], counts["status"]) == (2, 1, 1)


def test_uploaded_labels_may_wait_for_confirmation(empty: Caller) -> None:
    upload(empty, [{"name": "1.png", "data": picture(), "labels": [{"name": "rose"}]}], final_annotation=False)
    waiting = empty.get(AUTO)["samples"]
    assert [label["name"] for sample in waiting for label in sample["labels"]] == ["rose"]
    assert empty.get()["annotated_sample_count"] == 0
    empty.confirm(waiting)
    assert empty.get()["annotated_sample_count"] == 1


def test_uploaded_images_can_be_labeled_by_the_machine(empty: Caller) -> None:
    dark = [{"name": f"d{n}.png", "data": picture(n), "labels": [{"name": "dark"}]} for n in range(5)]
    light = [{"name": f"l{n}.png", "data": picture(250 - n), "labels": [{"name": "light"}]} for n in range(5)]
    upload(empty, [*dark, *light, {"name": "x.png", "data": picture(8)}, {"name": "y.png", "data": picture(240)}])
    empty.finish()
    proposed = {
        sample["metadata"]["@modelarts:origin_source"].rpartition("/")[2]: sample["labels"][0]["name"]
        for sample in empty.walk()
    }
    assert proposed == {"x.png": "dark", "y.png": "light"}


def test_each_sample_fails_for_itself(empty: Caller) -> None:
    answer = upload(
        empty,
        [
            {"name": "1.png", "data": picture()},
            {"name": "1.png", "data": picture()},
            {"name": "2.png", "data": "not base64"},
            {"name": "3.png"},
            {"name": "4.png", "data_source": {"data_path": "/bucket/none/4.png"}},
        ],
    )
    assert answer["success"] is False
    codes = [result.get("error_code") for result in answer["results"]]
    assert codes == [None, "ModelArts.4422", "ModelArts.4421", "ModelArts.4421", "ModelArts.4651"]
    assert empty.get()["total_sample_count"] == 1


def test_a_sample_is_made_of_a_file_that_is_there(empty: Caller) -> None:
    (path,) = empty.emulator.put_images("/bucket/else/", 1)
    answer = upload(empty, [{"name": "5.png", "data_source": {"data_path": path}}])
    assert answer["results"][0]["name"] == "/bucket/in/5.png"


def test_boxes_want_the_size_of_the_image(proposals: Callable[..., Caller]) -> None:
    caller = proposals(1, kind="detection")
    box = {"name": "daisy", "property": {"@modelarts:shape": "bndbox", "@modelarts:feature": [[1, 2], [3, 4]]}}
    answer = upload(caller, [{"name": "1.png", "data": picture(), "labels": [box]}])
    assert answer["results"][0]["error_code"] == "ModelArts.4423"
    sized = {"name": "1.png", "data": picture(), "labels": [box], "metadata": {"@modelarts:size": [20, 10]}}
    assert upload(caller, [sized])["success"] is True


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"samples": [{"data": "aaaa"}]},
        {"samples": [{"name": "a<b.png", "data": "aaaa"}]},
        {"samples": [{"name": "x" * 1025, "data": "aaaa"}]},
        {"samples": [{"name": "1.png", "data": 5}]},
        {"samples": [{"name": "1.png", "encoding": "latin-1"}]},
        {"samples": [{"name": "1.png"}], "final_annotation": "no"},
    ],
)
@pytest.mark.wrong_requests
def test_uploads_outside_the_contract(empty: Caller, body: Any) -> None:
    assert empty.refused("POST", SAMPLES, json=body) == (400, "ModelArts.0104")
    assert empty.get()["total_sample_count"] == 0


def test_labels_wait_in_datasets_of_images_only(empty: Caller) -> None:
    empty.dataset.dataset_type = 100
    body = {"samples": [{"name": "1.txt", "data": "aaaa"}], "final_annotation": False}
    assert empty.refused("POST", SAMPLES, json=body) == (501, "ModelArts.4383")


def test_samples_are_deleted_and_unknown_ones_said(digits: Caller) -> None:
    digits.emulator.variants.results = "normal"
    labeled = digits.get(SAMPLES, sample_state="__ALL__", limit=1)["samples"][0]["sample_id"]
    answer = digits("POST", SAMPLES + "/delete", json={"samples": [labeled, "x"]}).json()
    assert answer == {
        "success": False,
        "results": [
            {"success": True},
            {"success": False, "error_code": "ModelArts.4420", "error_msg": "Sample not found. [x]"},
        ],
    }
    assert digits.refused("GET", f"{SAMPLES}/{labeled}") == (400, "ModelArts.4420")
    counts = digits.get()
    assert (counts["total_sample_count"], counts["annotated_sample_count"], counts["deleted_sample_count"]) == (
        1796,
        149,
        1,
    )
    assert digits.get("/data-annotations/stats")["sample_stats"]["deleted"] == 1


def test_a_deleted_sample_leaves_proposals_and_teams(proposals: Callable[..., Caller]) -> None:
    caller = proposals(3)
    gone = caller.sample_ids(1)[0]
    team_task = caller.emulator.create_team_task(caller.dataset_id)
    assert caller("POST", SAMPLES + "/delete", json={"samples": [gone]}).json() == {"success": True}
    assert caller.waiting() == 2
    assert caller.get(f"/workforce-tasks/{team_task}{SAMPLES}")["sample_count"] == 2


@pytest.mark.parametrize(("delete_source", "back"), [(False, 1), (True, 0)])
def test_the_file_of_a_deleted_sample_stays_unless_it_is_to_go(digits: Caller, delete_source: bool, back: int) -> None:
    body = {"samples": digits.sample_ids(1), "delete_source": delete_source}
    assert digits("POST", SAMPLES + "/delete", json=body).json() == {"success": True}
    digits("POST", "/sync-data")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert digits.get("/sync-data/status")["add_sample_count"] == back
    assert digits.get()["total_sample_count"] == 1796 + back


def test_nothing_is_deleted_while_files_come_in(digits: Caller) -> None:
    digits("POST", "/sync-data")
    body = {"samples": digits.sample_ids(1)}
    assert digits.refused("POST", SAMPLES + "/delete", json=body) == (500, "ModelArts.4424")
    digits.emulator.clock.advance(digits.emulator.job_seconds)
    assert digits("POST", SAMPLES + "/delete", json=body).json() == {"success": True}


@pytest.mark.parametrize("body", [{}, {"samples": [""]}, {"samples": [5]}, {"samples": [], "delete_source": "no"}])
@pytest.mark.wrong_requests
def test_deletions_outside_the_contract(digits: Caller, body: Any) -> None:
    assert digits.refused("POST", SAMPLES + "/delete", json=body) == (400, "ModelArts.0104")
