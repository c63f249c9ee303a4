"""Imports, exports, synchronization. Contract 6.6."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import ExportState, ImportState
from airflow_provider_modelarts.client.errors import DatasetBusy, InvalidRequest, ModelArtsError, NotFound
from airflow_provider_modelarts.client.requests.transfers import ImportTaskRequest
from airflow_provider_modelarts.client.resources.transfers import ExportTask, ImportTask

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

FOLDER = "/bucket/new/"


@pytest.fixture
def digits(emulator: Emulator) -> str:
    emulator.clock.freeze()
    emulator.put_images(FOLDER, 3, label="seven")
    return emulator.load_digits()


def test_an_import_is_started_and_read(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    wanted = ImportTaskRequest(import_type="dir", import_path=f"obs:/{FOLDER}", final_annotation=False)
    task_id = client.imports.start(digits, wanted)
    assert json.loads(emulator.journal.select("POST", "/import-tasks")[-1].body) == {
        "import_type": "dir",
        "import_path": f"obs:/{FOLDER}",
        "final_annotation": False,
    }
    task = client.imports.get(digits, task_id)
    assert (task.status, task.is_terminal) == (ImportState.QUEUING, False)
    with pytest.raises(DatasetBusy):
        client.imports.start(digits, wanted)
    emulator.clock.advance(emulator.job_seconds)
    task = client.imports.get(digits, task_id)
    assert (task.status, task.is_terminal, task.import_type) == (ImportState.COMPLETED, True, 0)
    assert (task.imported_sample_count, task.unconfirmed_sample_count, task.elapsed_time) == (3, 3, 3)
    assert [one.task_id for one in client.imports.list(digits)] == [task_id]
    assert len(list(client.proposals.list(digits))) == 3
    with pytest.raises(NotFound, match="no such import"):
        client.imports.get(digits, "x")


def test_an_export_is_started_and_read(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    chosen: dict[str, Any] = {"export_params": {"search_conditions": [{"label_list": {"labels": [{"name": "3"}]}}]}}
    task_id = client.exports.start(digits, {"path": "/bucket/out/", "export_type": "3", **chosen})
    assert json.loads(emulator.journal.select("POST", "/export-tasks")[-1].body)["export_type"] == 3
    task = client.exports.get(digits, task_id)
    assert (task.status, task.is_terminal, task.progress) == (ExportState.INIT, False, 0.0)
    emulator.clock.advance(emulator.job_seconds)
    task = client.exports.get(digits, task_id)
    assert (task.status, task.is_terminal, task.progress) == (ExportState.SUCCEEDED, True, 100.0)
    assert task.finished_sample_count == 15
    assert task.export_params.export_dest == "DIR"
    assert task.export_params.search_conditions == tuple(chosen["export_params"]["search_conditions"])
    assert [one.task_id for one in client.exports.list(digits, export_type=3)] == [task_id]
    assert list(client.exports.list(digits, export_type=0)) == []
    with pytest.raises(NotFound):
        client.exports.get(digits, "x")


def test_a_synchronization_is_started_and_read(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    before = client.sync.status(digits)
    assert (before.status, before.is_terminal) == (ImportState.NOT_EXIST, True)
    emulator.add_images(digits, 4)
    client.sync.start(digits)
    assert emulator.journal.select("POST", "/sync-data")[-1].body == b""
    assert client.sync.status(digits).is_terminal is False
    with pytest.raises(DatasetBusy):
        client.sync.start(digits)
    emulator.clock.advance(emulator.job_seconds)
    done = client.sync.status(digits)
    assert (done.status, done.add_sample_count, done.deleted_sample_count) == (ImportState.COMPLETED, 4, 0)
    assert done.total_sample_count == client.datasets.get(digits).total_sample_count == 1801


@pytest.mark.parametrize(("resource", "tail"), [("imports", "/import-tasks"), ("exports", "/export-tasks")])
def test_a_failure_is_an_answer_and_no_error(
    client: ModelArtsClient, emulator: Emulator, digits: str, resource: str, tail: str
) -> None:
    emulator.faults.add("POST", tail, "fail_task", code="ModelArts.4362", message="no right")
    calls = getattr(client, resource)
    task_id = calls.start(digits, {"import_path": FOLDER} if resource == "imports" else {"path": FOLDER})
    emulator.clock.advance(emulator.job_seconds)
    task = calls.get(digits, task_id)
    assert (task.status, task.is_terminal) == ("FAILED", True)
    assert (task.error_code, task.error_msg) == ("ModelArts.4362", "no right")


@pytest.mark.parametrize(("resource", "tail"), [("imports", "import-tasks"), ("exports", "export-tasks")])
@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_nothing_is_started_twice_after_a_lost_answer(
    client: ModelArtsClient, emulator: Emulator, digits: str, resource: str, tail: str, kind: str
) -> None:
    emulator.faults.add("POST", tail, kind)
    calls = getattr(client, resource)
    with pytest.raises(ModelArtsError, match=rf"{resource}\.list"):
        calls.start(digits, {"import_path": FOLDER} if resource == "imports" else {"path": FOLDER})
    assert emulator.journal.count("POST", tail) == 1
    assert len(list(calls.list(digits))) == 1


def test_a_synchronization_is_not_started_twice_after_a_lost_answer(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    emulator.faults.add("POST", "sync-data", "reset_after")
    with pytest.raises(ModelArtsError, match=r"sync\.status"):
        client.sync.start(digits)
    assert emulator.journal.count("POST", "sync-data") == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "import_path is missing"),
        ({"import_path": "somewhere"}, "import_path must be a path of OBS"),
        ({"import_path": None}, "import_path is missing"),
        ({"import_path": FOLDER, "import_type": 0}, "import_type must be one of"),
        ({"import_path": FOLDER, "included_labels": [5]}, "included_labels"),
        ({"import_path": FOLDER, "final_anotation": False}, "final_anotation is unknown; is final_annotation meant"),
    ],
)
def test_wrong_imports_are_not_sent(
    client: ModelArtsClient, emulator: Emulator, digits: str, body: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.imports.start(digits, body)
    assert emulator.journal.count("POST", "import-tasks") == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"path": "somewhere"}, "path must be a path of OBS"),
        ({"path": FOLDER, "export_type": 4}, "export_type must be one of"),
        ({"path": FOLDER, "export_params": {"export_dest": "MOON"}}, r"export_params.export_dest must be one of"),
        ({"path": FOLDER, "export_params": {"sample_state": "all"}}, r"export_params.sample_state must be one of"),
        (
            {"path": FOLDER, "export_params": {"search_conditions": [{"hard": "2"}]}},
            r"export_params.search_conditions\[0\].hard must be one of",
        ),
    ],
)
def test_wrong_exports_are_not_sent(
    client: ModelArtsClient, emulator: Emulator, digits: str, body: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.exports.start(digits, body)
    with pytest.raises(InvalidRequest, match="export_type"):
        client.exports.list(digits, export_type=4)
    assert emulator.journal.count("POST", "export-tasks") == 0


@pytest.mark.parametrize(
    ("word", "state", "is_over"),
    [
        ("SUCCESSED", ExportState.SUCCEEDED, True),
        ("succeeded", ExportState.SUCCEEDED, True),
        ("STOPPED", ExportState.STOPPED, True),
        ("STOPPING", ExportState.STOPPING, False),
        ("PAUSED", "PAUSED", False),
        (None, None, False),
    ],
)
def test_words_of_an_export(word: str | None, state: object, is_over: bool) -> None:
    task = ExportTask({"status": word})
    assert task.status == state
    assert isinstance(task.status, ExportState) is isinstance(state, ExportState)
    assert task.is_terminal is is_over


def test_words_of_an_import() -> None:
    assert ImportTask({"status": "completed"}).status is ImportState.COMPLETED
    odd = ImportTask({"status": "PAUSED"})
    assert (odd.status, odd.is_terminal) == ("PAUSED", False)
