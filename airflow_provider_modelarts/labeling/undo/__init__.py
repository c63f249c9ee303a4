"""Taking back what a confirmation wrote."""

from airflow_provider_modelarts.labeling.undo.reverter import revert

__all__ = ["revert"]
