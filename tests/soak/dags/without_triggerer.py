"""Waits in a triggerer that are given up soon, for stories in which no triggerer runs.

Airflow's own limit of a deferral comes five minutes after the trigger's; here it comes after seconds. Nothing else is
changed.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG
from gates import note_error

from airflow_provider_modelarts.operators import label_task as operators
from airflow_provider_modelarts.sensors import label_task as sensors
from airflow_provider_modelarts.triggers import _base as triggers

WHERE = {"dataset_id": "{{ dag_run.conf['dataset_id'] }}", "modelarts_conn_id": "{{ dag_run.conf['conn_id'] }}"}
SHORT = 8  # seconds
COMMON: dict[str, Any] = {"deferrable": True, "timeout": SHORT, "on_failure_callback": note_error, **WHERE}

assert triggers.DEFERRAL_MARGIN == 300  # else it is another name that must be set here
triggers.DEFERRAL_MARGIN = 3.0

with DAG("abandoned_start_deferred", schedule=None, catchup=False):
    operators.ModelArtsStartLabelTaskOperator(task_id="job", wait_for_completion=True, **COMMON)

for name, soft_fail in {"abandoned": False, "soft_abandoned": True}.items():
    with DAG(f"{name}_sensor_deferred", schedule=None, catchup=False):
        sensors.ModelArtsLabelTaskSensor(
            task_id="job", label_task_id="{{ dag_run.conf['label_task_id'] }}", soft_fail=soft_fail, **COMMON
        )
