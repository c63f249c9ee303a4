"""Typed client of the ModelArts labeling API. It never imports Airflow.

Names are resolved on first use: ``client.errors``, ``client.states``, ``client.clock`` and ``client.waiting`` can be
imported from a DAG file without paying for the HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.client.resources.samples import Page, Sample, SampleLabel, SampleOutcome
    from airflow_provider_modelarts.client.states import TaskState

_HOMES = {
    "Page": "resources.samples",
    "Sample": "resources.samples",
    "SampleLabel": "resources.samples",
    "SampleOutcome": "resources.samples",
    "TaskState": "states",
}

__all__ = ["Page", "Sample", "SampleLabel", "SampleOutcome", "TaskState"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
