"""Confirming proposals. What it exports is loaded when it is used: a DAG file needs the request alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.apply.confirmation import Confirmation, confirm
    from airflow_provider_modelarts.labeling.apply.request import MAX_CONCURRENCY, ConfirmationRequest

_HOMES = {
    "Confirmation": "confirmation",
    "ConfirmationRequest": "request",
    "MAX_CONCURRENCY": "request",
    "confirm": "confirmation",
}

__all__ = ["MAX_CONCURRENCY", "Confirmation", "ConfirmationRequest", "confirm"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
