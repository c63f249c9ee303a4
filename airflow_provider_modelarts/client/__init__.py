"""Typed client of the ModelArts labeling API. It never imports Airflow.

"The contract" in its texts is ``docs/contract/modelarts-api.md`` of the project's repository.

Names are resolved on first use, so that a DAG file which imports ``client.errors`` does not load the HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.client.auth.credentials import (
        AccessKeyCredentials,
        PasswordCredentials,
        TokenCredentials,
    )
    from airflow_provider_modelarts.client.client import ModelArtsClient
    from airflow_provider_modelarts.client.paging import OffsetMode
    from airflow_provider_modelarts.client.resources.datasets import (
        CreatedDataset,
        Dataset,
        DatasetMetrics,
        DatasetStats,
        SearchOptions,
    )
    from airflow_provider_modelarts.client.resources.labels import Label, LabelOutcome, LabelStats
    from airflow_provider_modelarts.client.resources.sample_files import UploadOutcome
    from airflow_provider_modelarts.client.resources.samples import HardDetail, Page, Sample, SampleLabel
    from airflow_provider_modelarts.client.resources.tasks import LabelTask, TaskEvent
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample
    from airflow_provider_modelarts.client.resources.team_tasks import (
        AcceptanceReport,
        AcceptanceStats,
        AcceptanceTask,
        TeamCounts,
        TeamTask,
        TeamTaskTeam,
    )
    from airflow_provider_modelarts.client.resources.transfers import ExportTask, ImportTask, SyncTask
    from airflow_provider_modelarts.client.resources.versions import DatasetVersion
    from airflow_provider_modelarts.client.resources.workforces import (
        SampleCounts,
        Worker,
        WorkerRemoval,
        WorkerTask,
        Workforce,
    )
    from airflow_provider_modelarts.client.sample_updates import SampleOutcome
    from airflow_provider_modelarts.client.states import (
        AcceptanceAction,
        DatasetStatus,
        DatasetType,
        EventStatus,
        ExportState,
        ImportState,
        LabelType,
        MailStatus,
        Order,
        SampleState,
        SampleStatus,
        SampleType,
        SampleUsage,
        TaskState,
        TaskType,
        TeamTaskState,
        VersionStatus,
        WorkerRole,
        WorkerStatus,
    )
    from airflow_provider_modelarts.client.transport.transport import ClientSettings

_HOMES = {
    "auth": ("AccessKeyCredentials", "PasswordCredentials", "TokenCredentials"),
    "client": ("ModelArtsClient",),
    "paging": ("OffsetMode",),
    "resources.datasets": ("CreatedDataset", "Dataset", "DatasetMetrics", "DatasetStats", "SearchOptions"),
    "resources.labels": ("Label", "LabelOutcome", "LabelStats"),
    "resources.sample_files": ("UploadOutcome",),
    "resources.samples": ("HardDetail", "Page", "Sample", "SampleLabel"),
    "resources.tasks": ("LabelTask", "TaskEvent"),
    "resources.team_samples": ("TeamSample",),
    "resources.team_tasks": (
        *("AcceptanceReport", "AcceptanceStats", "AcceptanceTask", "TeamCounts", "TeamTask", "TeamTaskTeam"),
    ),
    "resources.transfers": ("ExportTask", "ImportTask", "SyncTask"),
    "resources.versions": ("DatasetVersion",),
    "resources.workforces": ("SampleCounts", "Worker", "WorkerRemoval", "WorkerTask", "Workforce"),
    "sample_updates": ("SampleOutcome",),
    "states": (
        *("AcceptanceAction", "DatasetStatus", "DatasetType", "EventStatus", "ExportState", "ImportState", "LabelType"),
        *("MailStatus", "Order", "SampleState", "SampleStatus", "SampleType", "SampleUsage", "TaskState"),
        *("TaskType", "TeamTaskState", "VersionStatus", "WorkerRole", "WorkerStatus"),
    ),
    "transport.transport": ("ClientSettings",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AcceptanceAction",
    "AcceptanceReport",
    "AcceptanceStats",
    "AcceptanceTask",
    "AccessKeyCredentials",
    "ClientSettings",
    "CreatedDataset",
    "Dataset",
    "DatasetMetrics",
    "DatasetStats",
    "DatasetStatus",
    "DatasetType",
    "DatasetVersion",
    "EventStatus",
    "ExportState",
    "ExportTask",
    "HardDetail",
    "ImportState",
    "ImportTask",
    "Label",
    "LabelOutcome",
    "LabelStats",
    "LabelTask",
    "LabelType",
    "MailStatus",
    "ModelArtsClient",
    "OffsetMode",
    "Order",
    "Page",
    "PasswordCredentials",
    "Sample",
    "SampleCounts",
    "SampleLabel",
    "SampleOutcome",
    "SampleState",
    "SampleStatus",
    "SampleType",
    "SampleUsage",
    "SearchOptions",
    "SyncTask",
    "TaskEvent",
    "TaskState",
    "TaskType",
    "TeamCounts",
    "TeamSample",
    "TeamTask",
    "TeamTaskState",
    "TeamTaskTeam",
    "TokenCredentials",
    "UploadOutcome",
    "VersionStatus",
    "Worker",
    "WorkerRemoval",
    "WorkerRole",
    "WorkerStatus",
    "WorkerTask",
    "Workforce",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOME_OF[name]}")
    except AttributeError as error:
        # Python would report a missing name, and hide the cause.
        raise ImportError(f"{__name__}.{_HOME_OF[name]} cannot be loaded on this system: {error}") from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
