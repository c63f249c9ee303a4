"""Typed client of the ModelArts labeling API. It never imports Airflow.

Names are resolved on first use: ``client.errors``, ``client.states``, ``client.clock`` and ``client.waiting`` can be
imported from a DAG file without paying for the HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.client.auth import AccessKeyCredentials, PasswordCredentials, TokenCredentials
    from airflow_provider_modelarts.client.batches import SampleOutcome
    from airflow_provider_modelarts.client.client import ModelArtsClient
    from airflow_provider_modelarts.client.paging import OffsetMode
    from airflow_provider_modelarts.client.resources.datasets import Dataset, DatasetStats
    from airflow_provider_modelarts.client.resources.labels import Label, LabelStats
    from airflow_provider_modelarts.client.resources.samples import Page, Sample, SampleLabel
    from airflow_provider_modelarts.client.resources.tasks import LabelTask, TaskEvent
    from airflow_provider_modelarts.client.states import TaskState

_HOMES = {
    "AccessKeyCredentials": "auth",
    "Dataset": "resources.datasets",
    "DatasetStats": "resources.datasets",
    "Label": "resources.labels",
    "LabelStats": "resources.labels",
    "LabelTask": "resources.tasks",
    "ModelArtsClient": "client",
    "OffsetMode": "paging",
    "Page": "resources.samples",
    "PasswordCredentials": "auth",
    "Sample": "resources.samples",
    "SampleLabel": "resources.samples",
    "SampleOutcome": "batches",
    "TaskEvent": "resources.tasks",
    "TaskState": "states",
    "TokenCredentials": "auth",
}

__all__ = [
    "AccessKeyCredentials",
    "Dataset",
    "DatasetStats",
    "Label",
    "LabelStats",
    "LabelTask",
    "ModelArtsClient",
    "OffsetMode",
    "Page",
    "PasswordCredentials",
    "Sample",
    "SampleLabel",
    "SampleOutcome",
    "TaskEvent",
    "TaskState",
    "TokenCredentials",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
