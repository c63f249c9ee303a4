"""Typed client of the ModelArts labeling API. It never imports Airflow.

What its texts call the contract is ``docs/contract/modelarts-api.md`` in the project's repository.

Names are resolved on first use: ``client.errors``, ``client.states``, ``client.clock`` and ``client.waiting`` can be
imported from a DAG file without paying for the HTTP library.
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
    from airflow_provider_modelarts.client.sample_updates import SampleOutcome
    from airflow_provider_modelarts.client.states import (
        DatasetStatus,
        DatasetType,
        EventStatus,
        LabelType,
        Order,
        SampleState,
        SampleStatus,
        TaskState,
        TaskType,
    )
    from airflow_provider_modelarts.client.transport.transport import ClientSettings

_HOMES = {
    "AccessKeyCredentials": "auth",
    "ClientSettings": "transport.transport",
    "Dataset": "resources.datasets",
    "DatasetStats": "resources.datasets",
    "DatasetStatus": "states",
    "DatasetType": "states",
    "EventStatus": "states",
    "Label": "resources.labels",
    "LabelStats": "resources.labels",
    "LabelTask": "resources.tasks",
    "LabelType": "states",
    "ModelArtsClient": "client",
    "OffsetMode": "paging",
    "Order": "states",
    "Page": "resources.samples",
    "PasswordCredentials": "auth",
    "Sample": "resources.samples",
    "SampleLabel": "resources.samples",
    "SampleOutcome": "sample_updates",
    "SampleState": "states",
    "SampleStatus": "states",
    "TaskEvent": "resources.tasks",
    "TaskState": "states",
    "TaskType": "states",
    "TokenCredentials": "auth",
}

__all__ = [
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
    "ModelArtsClient",
    "OffsetMode",
    "Order",
    "Page",
    "PasswordCredentials",
    "Sample",
    "SampleLabel",
    "SampleOutcome",
    "SampleState",
    "SampleStatus",
    "TaskEvent",
    "TaskState",
    "TaskType",
    "TokenCredentials",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except AttributeError as error:
        # Python would take this for a name that is not there, and hide what is missing
        raise ImportError(f"{__name__}.{_HOMES[name]} cannot be loaded on this system: {error}") from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
