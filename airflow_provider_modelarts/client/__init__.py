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
    from airflow_provider_modelarts.client.resources.datasets import Dataset, DatasetStats
    from airflow_provider_modelarts.client.resources.labels import Label, LabelStats
    from airflow_provider_modelarts.client.resources.samples import Page, Sample, SampleLabel
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
        LabelType,
        MailStatus,
        Order,
        SampleState,
        SampleStatus,
        TaskState,
        TaskType,
        TeamTaskState,
        WorkerRole,
        WorkerStatus,
    )
    from airflow_provider_modelarts.client.transport.transport import ClientSettings

_HOMES = {
    "auth": ("AccessKeyCredentials", "PasswordCredentials", "TokenCredentials"),
    "client": ("ModelArtsClient",),
    "paging": ("OffsetMode",),
    "resources.datasets": ("Dataset", "DatasetStats"),
    "resources.labels": ("Label", "LabelStats"),
    "resources.samples": ("Page", "Sample", "SampleLabel"),
    "resources.tasks": ("LabelTask", "TaskEvent"),
    "resources.team_samples": ("TeamSample",),
    "resources.team_tasks": (
        *("AcceptanceReport", "AcceptanceStats", "AcceptanceTask", "TeamCounts", "TeamTask", "TeamTaskTeam"),
    ),
    "resources.workforces": ("SampleCounts", "Worker", "WorkerRemoval", "WorkerTask", "Workforce"),
    "sample_updates": ("SampleOutcome",),
    "states": (
        *("AcceptanceAction", "DatasetStatus", "DatasetType", "EventStatus", "LabelType", "MailStatus", "Order"),
        *("SampleState", "SampleStatus", "TaskState", "TaskType", "TeamTaskState", "WorkerRole", "WorkerStatus"),
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
    "Dataset",
    "DatasetStats",
    "DatasetStatus",
    "DatasetType",
    "EventStatus",
    "Label",
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
    "TaskEvent",
    "TaskState",
    "TaskType",
    "TeamCounts",
    "TeamSample",
    "TeamTask",
    "TeamTaskState",
    "TeamTaskTeam",
    "TokenCredentials",
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
