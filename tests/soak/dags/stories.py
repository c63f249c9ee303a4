"""One DAG of one task, ``job``, for each way of waiting and each setting that a story needs.

A run's conf says which dataset, which connection, and which folder the story shares with its task.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG
from gates import GatedStartOperator, linger, note_error

from airflow_provider_modelarts.sensors.label_task import ModelArtsLabelTaskSensor

WHERE = {"dataset_id": "{{ dag_run.conf['dataset_id'] }}", "modelarts_conn_id": "{{ dag_run.conf['conn_id'] }}"}
SHORT = 12  # seconds

START: dict[str, dict[str, Any]] = {
    "start_deferred": {"deferrable": True},
    "start_waiting": {"deferrable": False},
}
SENSOR: dict[str, dict[str, Any]] = {
    "sensor_deferred": {"deferrable": True},
    "sensor_poke": {"deferrable": False, "mode": "poke"},
    "sensor_reschedule": {"deferrable": False, "mode": "reschedule"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"retries": 3},
    "timeout": {"timeout": SHORT},
    "execution_timeout": {"execution_timeout": timedelta(seconds=SHORT)},
}
OF_START: dict[str, dict[str, Any]] = {
    **SETTINGS,
    "kept": {"cancel_on_kill": False},
    "unwaited": {"wait_for_completion": False},
    "lingering": {"wait_for_completion": False, "on_success_callback": linger},
}
OF_SENSOR: dict[str, dict[str, Any]] = {
    **SETTINGS,
    "soft_timeout": {"timeout": SHORT, "soft_fail": True},
    "soft_execution_timeout": {"execution_timeout": timedelta(seconds=SHORT), "soft_fail": True},
}
COMMON: dict[str, Any] = {
    "retries": 0,
    "retry_delay": timedelta(seconds=1),
    "on_failure_callback": note_error,
    **WHERE,
}

for setting, parameters in OF_START.items():
    for way, mode in START.items():
        with DAG(f"{setting}_{way}", schedule=None, catchup=False):
            given = {"wait_for_completion": True, "poll_interval": 2, **COMMON, **mode, **parameters}
            GatedStartOperator(task_id="job", **given)

for setting, parameters in OF_SENSOR.items():
    for way, mode in SENSOR.items():
        with DAG(f"{setting}_{way}", schedule=None, catchup=False):
            ModelArtsLabelTaskSensor(
                task_id="job",
                label_task_id="{{ dag_run.conf['label_task_id'] }}",
                # Airflow fails a task that is queued again before its scheduler has heard of the reschedule.
                poke_interval=5,
                **(COMMON | mode | parameters),
            )
