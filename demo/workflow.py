"""The child process of the demo: an Airflow of its own that runs the example DAG once. What it prints is Airflow's log.

One line of JSON on standard input says what to run: the connection, and the run's configuration. It is read when
Airflow is loaded, which takes a while; the parent loads the emulator in that time. The outcome goes to the file that it
names.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

DAG_ID = "auto_label_images"


def main() -> None:
    """Run the example DAG and write what came of it."""
    warnings.simplefilter("ignore")
    gc.disable()  # Airflow builds thousands of models that stay: looking for garbage costs a second and finds none
    dag, problem = _load_dag()
    task = json.loads(sys.stdin.readline())
    os.environ["AIRFLOW_CONN_MODELARTS_DEFAULT"] = json.dumps(task["connection"])
    outcome = {"state": "failed", "error": problem, "tasks": []} if dag is None else _run(dag, task["conf"])
    # The parent waits for the file alone, not for Airflow to take itself apart: so it must appear whole.
    draft = Path(task["outcome"]).with_suffix(".draft")
    draft.write_text(json.dumps(outcome), encoding="utf-8")
    draft.rename(task["outcome"])


def _load_dag() -> tuple[Any, str | None]:
    """Return the DAG, or what Airflow says is wrong with its file."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    dag = bag.dags.get(DAG_ID)
    if dag is not None:
        return dag, None
    problems = [f"{Path(file).name}: {text.strip().splitlines()[-1]}" for file, text in bag.import_errors.items()]
    return None, "; ".join(problems) or f"there is no DAG {DAG_ID} in the example DAGs"


def _run(dag: Any, conf: dict[str, Any]) -> dict[str, Any]:
    errors: dict[str, str] = {}

    def remember(context: Any) -> None:
        errors[context["ti"].task_id] = " ".join(str(context.get("exception")).split())

    for task in dag.tasks:
        task.on_failure_callback = [remember]
    dag_run = dag.test(run_conf=conf)
    instances = [dag_run.get_task_instance(task.task_id) for task in dag.topological_sort()]
    tasks = [
        {"task_id": one.task_id, "state": str(one.state), "result": one.xcom_pull(task_ids=one.task_id)}
        for one in instances
    ]
    ended = max((one.end_date.timestamp() for one in instances if one.end_date is not None), default=0.0)
    error = next((f"task {task_id}: {text}" for task_id, text in errors.items()), None)
    return {"state": str(dag_run.state), "error": error, "ended": ended, "run_id": dag_run.run_id, "tasks": tasks}


if __name__ == "__main__":
    main()
