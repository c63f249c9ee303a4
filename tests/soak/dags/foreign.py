"""Tasks that meet a labeling task of somebody else, and adopt it or wait until it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG
from gates import GatedStartOperator, note_error

WHERE = {"dataset_id": "{{ dag_run.conf['dataset_id'] }}", "modelarts_conn_id": "{{ dag_run.conf['conn_id'] }}"}
SETTINGS: dict[str, dict[str, Any]] = {"": {"retries": 3}, "timeout_": {"retries": 0, "timeout": 12}}

for if_running in ("adopt", "wait"):
    for way, deferrable in {"start_deferred": True, "start_waiting": False}.items():
        for setting, parameters in SETTINGS.items():
            with DAG(f"{if_running}_{setting}{way}", schedule=None, catchup=False):
                GatedStartOperator(
                    task_id="job",
                    wait_for_completion=True,
                    if_running=if_running,
                    deferrable=deferrable,
                    poll_interval=2,
                    retry_delay=timedelta(seconds=1),
                    on_failure_callback=note_error,
                    **(WHERE | parameters),
                )
