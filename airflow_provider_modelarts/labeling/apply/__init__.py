"""Confirming proposals."""

from airflow_provider_modelarts.labeling.apply.confirmation import Confirmation, confirm
from airflow_provider_modelarts.labeling.apply.request import MAX_CONCURRENCY, ConfirmationRequest

__all__ = ["MAX_CONCURRENCY", "Confirmation", "ConfirmationRequest", "confirm"]
