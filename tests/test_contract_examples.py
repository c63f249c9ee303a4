"""Every JSON example of the contract's machine form is read without loss: 1 stays 1, and 1.0 stays 1.0."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provider_modelarts.client import (
    AcceptanceReport,
    AcceptanceStats,
    CreatedDataset,
    Dataset,
    DatasetMetrics,
    DatasetStats,
    DatasetVersion,
    ExportTask,
    HardDetail,
    ImportTask,
    Label,
    LabelStats,
    LabelTask,
    Sample,
    SampleCounts,
    SampleLabel,
    SearchOptions,
    SyncTask,
    TeamSample,
    TeamTask,
    Worker,
    WorkerTask,
    Workforce,
)
from airflow_provider_modelarts.client.resources.datasets import DataSource
from airflow_provider_modelarts.client.resources.labels import LabelAttribute
from airflow_provider_modelarts.client.resources.tasks import HardSelectTask, TaskEvent, TaskResult
from airflow_provider_modelarts.client.resources.transfers import ExportParameters
from airflow_provider_modelarts.client.sample_updates import outcomes
from tests.support.contract import METHODS, at, document, operations

if TYPE_CHECKING:
    from collections.abc import Iterator

# Which model reads what: schema, path to the objects ("*" is each element of a list), model.
READERS: tuple[tuple[str, tuple[str, ...], Any], ...] = (
    ("TaskDetail", (), LabelTask),
    ("TaskDetail", ("result", "events", "*"), TaskEvent),
    ("TaskDetail", ("result",), TaskResult),
    ("TaskDetail", ("result", "hard_select_tasks", "*"), HardSelectTask),
    ("TaskListResponse", ("tasks", "*"), LabelTask),
    ("TaskListResponse", ("tasks", "*", "result"), TaskResult),
    ("TaskListResponse", ("tasks", "*", "result", "hard_select_tasks", "*"), HardSelectTask),
    ("SampleListResponse", ("samples", "*"), Sample),
    ("SampleListResponse", ("samples", "*", "labels", "*"), SampleLabel),
    ("DescribeSampleResp", (), Sample),
    ("DescribeSampleResp", ("labels", "*"), SampleLabel),
    ("UpdateSamplesRequest", ("samples", "*"), Sample),
    ("UpdateSamplesRequest", ("samples", "*", "labels", "*"), SampleLabel),
    ("Dataset", (), Dataset),
    ("DatasetListResponse", ("datasets", "*"), Dataset),
    ("DatasetStats", (), DatasetStats),
    ("DatasetStats", ("label_stats", "*"), LabelStats),
    ("LabelListResponse", ("labels", "*"), Label),
    ("LabelsRequest", ("labels", "*"), Label),
    ("WorkforceTask", (), TeamTask),
    ("WorkforceTask", ("worker_stats", "*"), WorkerTask),
    ("WorkforceTaskListResponse", ("tasks", "*"), TeamTask),
    ("WorkforceTaskListResponse", ("tasks", "*", "sample_stats"), SampleCounts),
    ("WorkerTaskListResponse", ("worker_tasks", "*"), WorkerTask),
    ("Workforce", (), Workforce),
    ("WorkforceListResponse", ("workforces", "*"), Workforce),
    ("Worker", (), Worker),
    ("WorkerListResponse", ("workers", "*"), Worker),
    ("AcceptanceReport", (), AcceptanceReport),
    ("AcceptanceReport", ("total_stats",), AcceptanceStats),
    ("CreateDatasetResponse", (), CreatedDataset),
    ("DatasetMetrics", (), DatasetMetrics),
    ("DatasetVersion", (), DatasetVersion),
    ("VersionListResponse", ("versions", "*"), DatasetVersion),
    ("SearchConditionOptions", (), SearchOptions),
    ("ImportTaskListResponse", ("import_tasks", "*"), ImportTask),
    ("ImportTaskStatus", (), ImportTask),
    ("ExportTaskListResponse", ("export_tasks", "*"), ExportTask),
    ("ExportTaskStatus", (), ExportTask),
    ("SyncStatus", (), SyncTask),
)
# Models that declare each field of a schema, and the fields that they read under another name.
DECLARED: tuple[tuple[str, Any, frozenset[str]], ...] = (
    ("TaskDetail", LabelTask, frozenset({"resource_id"})),
    ("RunningTask", LabelTask, frozenset()),
    ("TaskResult", TaskResult, frozenset()),
    ("Event", TaskEvent, frozenset()),
    ("HardSelectTask", HardSelectTask, frozenset()),
    ("DescribeSampleResp", TeamSample, frozenset()),
    ("HardDetail", HardDetail, frozenset()),
    ("WorkforceTask", TeamTask, frozenset({"workforces_config"})),
    ("SampleStats", SampleCounts, frozenset()),
    ("CheckTaskStats", AcceptanceStats, frozenset()),
    ("AcceptanceReport", AcceptanceReport, frozenset()),
    ("WorkerTask", WorkerTask, frozenset()),
    ("Worker", Worker, frozenset()),
    ("Workforce", Workforce, frozenset()),
    ("Dataset", Dataset, frozenset({"running_tasks_id", "schema", "workforce_descriptor"})),
    ("CreateDatasetResponse", CreatedDataset, frozenset()),
    ("DataSource", DataSource, frozenset()),
    ("DatasetVersion", DatasetVersion, frozenset()),
    ("Label", Label, frozenset({"property"})),
    ("LabelAttribute", LabelAttribute, frozenset()),
    ("LabelStats", LabelStats, frozenset({"property"})),
    ("SearchConditionOptions", SearchOptions, frozenset()),
    ("DatasetMetrics", DatasetMetrics, frozenset({"metrics"})),
    (
        "DatasetStats",
        DatasetStats,
        frozenset({"label_stats", "sample_stats", "key_sample_stats", "grouped_label_stats"}),
    ),
    ("ImportTaskStatus", ImportTask, frozenset()),
    ("ExportTaskStatus", ExportTask, frozenset()),
    ("ExportParams", ExportParameters, frozenset()),
    ("SyncStatus", SyncTask, frozenset()),
)
# Small answers that a function reads; the first is tested below, the others by the tests of the client.
READ_BY_FUNCTION = {
    "BatchResult", "DatasetIdResponse", "IamTokenResponse", "MemberProgress", "SuccessResult", "TaskIdResponse",
    "UploadSamplesResult", "VersionIdResponse", "WorkforceIdResponse",
}  # fmt: skip
# Calls that this package does not make.
NOT_CALLED = {"IamProjectList"}
# Requests that are written, not read.
WRITTEN = {
    "AcceptCommentRequest", "BatchDeleteWorkersRequest", "CreateDatasetRequest", "CreateTaskRequest",
    "CreateVersionRequest", "CreateWorkerRequest", "CreateWorkforceRequest", "CreateWorkforceTaskRequest",
    "DeleteSamplesRequest", "ExportTaskRequest", "FinishAcceptanceRequest", "IamTokenRequest", "ImportTaskRequest",
    "LabelPropertyInput", "NotifyRequest", "ReviewRequest", "StartAcceptanceRequest", "StartWorkforceTaskRequest",
    "UpdateDatasetRequest", "UpdateWorkerRequest", "UpdateWorkforceRequest", "UpdateWorkforceTaskRequest",
    "UploadSamplesRequest",
}  # fmt: skip


class Example(NamedTuple):
    name: str
    schema: str
    value: Any


def _contents(node: Any) -> Iterator[tuple[str, Any]]:
    request = node.get("requestBody")
    if request is not None:
        yield "request", request["content"]
    for status, answer in node["responses"].items():
        if "content" in answer:
            yield status, answer["content"]


def examples() -> list[Example]:
    found = []
    for _, operation in operations():
        for where, content in _contents(operation.node):
            body = content["application/json"]
            schema = body["schema"].get("$ref", "").rpartition("/")[2]
            for name, example in body.get("examples", {}).items():
                label = f"{operation.node['operationId']}-{where}-{name}"
                found.append(Example(label, schema, example["value"]))
    return found


def objects(value: Any, path: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the objects at ``path`` in ``value``; a field that an example leaves out holds none."""
    values = [value]
    for step in path:
        if step == "*":
            values = [element for one in values for element in (one or ())]
        else:
            values = [one.get(step) for one in values]
    return [one for one in values if one is not None]


def readings() -> list[Any]:
    return [
        pytest.param(one, model, id=f"{example.name}-{model.__name__}-{number}")
        for example in examples()
        for schema, path, model in READERS
        if schema == example.schema
        for number, one in enumerate(objects(example.value, path))
    ]


@pytest.mark.parametrize(("source", "model"), readings())
def test_an_example_is_read_without_loss(source: dict[str, Any], model: Any) -> None:
    text = json.dumps(source, sort_keys=True)
    read = model(copy.deepcopy(source))
    assert json.dumps(read.raw, sort_keys=True) == text
    for name in dir(read):  # looking at it changes nothing
        if not name.startswith(("_", "model_")) and name not in ("copy", "dict", "json"):
            getattr(read, name)
    assert json.dumps(read.raw, sort_keys=True) == text


def test_every_example_has_its_reader_or_is_left_out_by_name() -> None:
    known = {schema for schema, _, _ in READERS} | READ_BY_FUNCTION | NOT_CALLED | WRITTEN
    assert {example.schema for example in examples()} == known
    assert len(examples()) == sum(_count(path) for path in document()["paths"].values())
    assert len(readings()) > 60


def _count(node: Any) -> int:
    """Count examples without knowing where in the contract they may stand."""
    return sum(
        len(content.get("application/json", {}).get("examples", {}))
        for method, operation in node.items()
        if method in METHODS
        for holder in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in [holder.get("content", {})]
    )


@pytest.mark.parametrize(
    ("schema", "model", "renamed"), DECLARED, ids=[f"{one[0]}-{one[1].__name__}" for one in DECLARED]
)
def test_every_field_of_the_schema_is_declared_and_explained(schema: str, model: Any, renamed: frozenset[str]) -> None:
    known = set(at(f"/components/schemas/{schema}")["properties"])
    assert renamed <= known
    missing = {name for name in known - renamed if not getattr(getattr(model, name, None), "__doc__", None)}
    assert not missing


def test_the_examples_hold_what_makes_this_hard() -> None:
    text = json.dumps([example.value for example in examples() if example.schema == "TaskListResponse"])
    assert "100.0" in text
    scores = {
        repr(label["score"])
        for example in examples()
        if example.schema in ("SampleListResponse", "DescribeSampleResp")
        for sample in objects(example.value, ("samples", "*")) or [example.value]
        for label in sample.get("labels") or ()
        if "score" in label
    }
    assert {"1", "1.0"} & scores


@pytest.mark.parametrize(
    "example", [one for one in examples() if one.schema == "BatchResult"], ids=lambda one: one.name
)
def test_a_batch_answer_is_understood(example: Example) -> None:
    results = example.value.get("results") or [{"success": example.value["success"]}]
    read = outcomes([f"sample{number}" for number in range(len(results))], example.value)
    assert [one.ok for one in read] == [result["success"] for result in results]
    assert [one.error_code for one in read] == [result.get("error_code") for result in results]
