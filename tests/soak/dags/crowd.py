"""A hundred mapped tasks with three retries each, all with one connection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.sensors.label_task import ModelArtsLabelTaskSensor

SIZE = 100
AT_ONCE = 4
WHERE = {"dataset_id": "{{ dag_run.conf['dataset_id'] }}", "modelarts_conn_id": "{{ dag_run.conf['conn_id'] }}"}
COMMON: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=1), **WHERE}

with DAG("crowd_start", schedule=None, catchup=False, max_active_tasks=AT_ONCE):
    ModelArtsStartLabelTaskOperator.partial(task_id="job", **COMMON).expand(
        config=[{"description": f"one of a hundred: {number}"} for number in range(SIZE)]
    )

with DAG("crowd_sensor", schedule=None, catchup=False, max_active_tasks=AT_ONCE):
    ModelArtsLabelTaskSensor.partial(task_id="job", deferrable=True, **COMMON).expand(
        label_task_id=[f"labeling-task-{number}" for number in range(SIZE)]
    )
