"""Every operation of the contract has a call of the client and a route of the emulator, or stands in a table here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.emulator.http.routes import find_route
from tests.support.contract import find_operation, operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

LABELS = [{"name": "rose"}]
COMMENTS = [{"sample_id": "s", "worker_id": "w", "accept": True}]
SAMPLES = [{"sample_id": "s", "labels": LABELS}]

NEW = {"dataset_name": "d", "work_path": "/bucket/output/"}


def delete_team_task(client: ModelArtsClient) -> None:
    """Delete a team task that is there: the client reads it first."""
    dataset_id = next(client.datasets.list()).dataset_id
    client.team_tasks.delete(dataset_id, client.team_tasks.create(dataset_id, "name"))


def delete_worker(client: ModelArtsClient) -> None:
    """Remove a member who is there."""
    team_id = client.workforces.create("name")
    client.workforces.delete_worker(team_id, client.workforces.create_worker(team_id, "a@b.c", 0).worker_id)


def delete_version(client: ModelArtsClient) -> None:
    """Delete a version that is there: the client reads it first."""
    dataset_id = client.datasets.create(NEW).dataset_id
    client.sample_files.upload(dataset_id, [{"name": "1.png", "data": b"1"}])
    client.versions.delete(dataset_id, client.versions.create(dataset_id))


# What in the client sends each operation. The ids need not exist: what counts is the request.
CALLS: dict[str, Callable[[ModelArtsClient], Any]] = {
    "CreateToken": lambda c: c.project_id,
    "CreateTask": lambda c: c.tasks.start("d"),
    "ListTasks": lambda c: list(c.tasks.list("d")),
    "AutoAnnotationProgress": lambda c: c.tasks.get("d", "t"),
    "StopAutoAnnotation": lambda c: c.tasks.stop("d", "t"),
    "ListAutoAnnotationSamples": lambda c: list(c.proposals.list("d")),
    "DescribeAutoAnnotationSample": lambda c: c.proposals.get("d", "s"),
    "ListSamples": lambda c: list(c.samples.list("d")),
    "UpdateSamples": lambda c: c.samples.update("d", SAMPLES),
    "DescribeSample": lambda c: c.samples.get("d", "s"),
    "GetDatasetStats": lambda c: c.datasets.stats("d"),
    "ListLabels": lambda c: list(c.labels.list("d")),
    "ListDatasets": lambda c: list(c.datasets.list()),
    "DescDataset": lambda c: c.datasets.get("d"),
    "UploadSamplesJson": lambda c: c.sample_files.upload("d", [{"name": "1.png", "data": b"1"}]),
    "DeleteSamples": lambda c: c.sample_files.delete("d", ["s"]),
    "ListSearch": lambda c: c.datasets.search_options("d"),
    "CreateLabels": lambda c: c.labels.create("d", LABELS),
    "UpdateLabels": lambda c: c.labels.update("d", LABELS),
    "DeleteLabels": lambda c: c.labels.delete("d", ["rose"]),
    "UpdateLabel": lambda c: c.labels.update_one("d", "rose", {"color": "#ffffff"}),
    "DeleteLabelAndSamples": lambda c: c.labels.delete_with_samples("d", "rose"),
    "CreateDataset": lambda c: c.datasets.create(NEW),
    "UpdateDataset": lambda c: c.datasets.update("d", {"description": "flowers"}),
    "DeleteDataset": lambda c: c.datasets.delete(c.datasets.create(NEW).dataset_id),
    "GetDatasetMetrics": lambda c: c.datasets.metrics("d", start_time=1, end_time=2),
    "ListDatasetVersions": lambda c: list(c.versions.list("d")),
    "CreateDatasetVersion": lambda c: c.versions.create("d"),
    "DescribeDatasetVersion": lambda c: c.versions.get("d", "v"),
    "DeleteDatasetVersion": delete_version,
    "ListImportTasks": lambda c: list(c.imports.list("d")),
    "ImportTask": lambda c: c.imports.start("d", {"import_path": "/bucket/input/"}),
    "DescImportTask": lambda c: c.imports.get("d", "t"),
    "GetExportTasksStatusOfDataset": lambda c: list(c.exports.list("d")),
    "ExportTask": lambda c: c.exports.start("d", {"path": "/bucket/output/"}),
    "GetExportTaskStatusOfDataset": lambda c: c.exports.get("d", "t"),
    "SyncDataSource": lambda c: c.sync.start("d"),
    "SyncDataSourceState": lambda c: c.sync.status("d"),
    "ListWorkforceTaskSamples": lambda c: list(c.team_samples.list("d", "w")),
    "ListWorkforceTasks": lambda c: list(c.team_tasks.list("d")),
    "CreateWorkforceTask": lambda c: c.team_tasks.create("d", "name"),
    "DescWorkforceTask": lambda c: c.team_tasks.get("d", "w"),
    "StartWorkforceTask": lambda c: c.team_tasks.start("d", "w", {"workforces": []}),
    "UpdateWorkforceTask": lambda c: c.team_tasks.update("d", "w", task_name="name"),
    "DeleteWorkforceTask": delete_team_task,
    "DescribeWorkforceTaskSample": lambda c: c.team_samples.get("d", "w", "s"),
    "ReviewSamples": lambda c: c.team_samples.review("d", "w", COMMENTS),
    "ListWorkforceTaskStats": lambda c: c.team_tasks.stats("d", "w"),
    "GetWorkforceTaskMetrics": lambda c: c.team_tasks.metrics("d", "w"),
    "StartWorkforceSamplingTask": lambda c: c.team_tasks.start_acceptance("d", "w", sampling_num=1),
    "AcceptSamples": lambda c: c.team_tasks.comment_acceptance("d", "w", COMMENTS),
    "GetWorkforceSamplingTask": lambda c: c.team_tasks.acceptance_report("d", "w", "t"),
    "UpdateWorkforceSamplingTask": lambda c: c.team_tasks.finish_acceptance("d", "w", 0),
    "SendEmails": lambda c: c.team_tasks.notify("d", "w", ["a@b.c"]),
    "ListWorkforces": lambda c: list(c.workforces.list()),
    "CreateWorkforce": lambda c: c.workforces.create("name"),
    "DescWorkforce": lambda c: c.workforces.get("t"),
    "UpdateWorkforce": lambda c: c.workforces.update("t", description=""),
    "DeleteWorkforce": lambda c: c.workforces.delete(c.workforces.create("name")),
    "ListWorkerTasks": lambda c: list(c.workforces.worker_tasks()),
    "ListAllWorkers": lambda c: list(c.workforces.list_all_workers()),
    "ListWorkers": lambda c: list(c.workforces.list_workers("t")),
    "CreateWorker": lambda c: c.workforces.create_worker("t", "a@b.c", 0),
    "DescWorker": lambda c: c.workforces.get_worker("t", "w"),
    "UpdateWorker": lambda c: c.workforces.update_worker("t", "w", role=0),
    "DeleteWorker": delete_worker,
    "BatchDeleteWorkers": lambda c: c.workforces.delete_workers("t", ["w"]),
    "UpdateWorkforceTaskSamples": lambda c: c.team_samples.update("d", "w", SAMPLES),
}

# IAM belongs to another service: the client only fetches tokens, and takes projects from them (contract 1.3).
NOT_OF_THE_CLIENT = {"ValidateToken", "ListProjects", "ListAuthProjects", "CreateTemporaryAccessKey"}

# What is still missing. These tables may only shrink; what is there must not stand in them.
KNOWN_MISSING_CALLS: set[str] = set()
KNOWN_MISSING_ROUTES: set[str] = set()


def operation_ids() -> list[str]:
    return [operation.node["operationId"] for _, operation in operations()]


def test_the_contract_has_72_operations_and_the_tables_name_no_others() -> None:
    known = set(operation_ids())
    assert len(known) == len(operation_ids()) == 72
    assert known == {*CALLS, *NOT_OF_THE_CLIENT, *KNOWN_MISSING_CALLS}
    assert not set(CALLS) & (NOT_OF_THE_CLIENT | KNOWN_MISSING_CALLS)
    assert known >= KNOWN_MISSING_ROUTES


@pytest.mark.wrong_requests
@pytest.mark.parametrize("operation_id", CALLS)
def test_the_client_sends_it(
    operation_id: str, make_client: Callable[..., ModelArtsClient], emulator: Emulator
) -> None:
    emulator.load_proposals(1)
    try:
        CALLS[operation_id](make_client(retries=False))
    except ModelArtsError as error:
        assert error.status is not None, "it was refused before it was sent"  # noqa: PT017 - no error is right, too
    records = [(record.method, record.path) for record in emulator.journal]
    sent = [operation.node["operationId"] for one in records if (operation := find_operation(*one))]
    assert len(sent) == len(records)
    assert operation_id in sent


def missing_routes() -> set[str]:
    """Return the operations of the contract for which the emulator has no route."""
    missing = set()
    for _, operation in operations():
        path = "/".join("x1" if part.startswith("{") else part for part in operation.template.split("/"))
        found = find_route(operation.method, path)
        # A placeholder must not take what the contract spells out: "workers" is no id of a team.
        literal = [part for part in operation.template.split("/") if not part.startswith("{")]
        if found is None or [part for part in found[0].path.split("/") if not part.startswith("{")] != literal:
            missing.add(operation.node["operationId"])
    return missing


def test_the_emulator_serves_it() -> None:
    assert missing_routes() == KNOWN_MISSING_ROUTES
