"""Confirming proposals."""

from airflow_provider_modelarts.labeling.apply.confirmation import MAX_CONCURRENCY, confirm

__all__ = ["MAX_CONCURRENCY", "confirm"]
