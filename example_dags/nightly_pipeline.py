"""The whole night, from new images to a published version, for several datasets side by side.

New images come in, the machine labels them, and what it is sure of becomes final. What it is not sure of goes to a
team. Once the team has labeled it and its work is accepted, a version is published for training. A night without new
images is skipped, and what fails for one dataset stays with that dataset.
"""

from __future__ import annotations

import os
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, Param, task, task_group

from airflow_provider_modelarts.operators.datasets import (
    ModelArtsCheckDatasetOperator,
    ModelArtsPublishVersionOperator,
    ModelArtsSyncDatasetOperator,
)
from airflow_provider_modelarts.operators.team_tasks import (
    ModelArtsCreateTeamTaskOperator,
    ModelArtsFinishAcceptanceOperator,
    ModelArtsStartAcceptanceOperator,
)
from airflow_provider_modelarts.sensors.team_task import ModelArtsTeamTaskSensor
from airflow_provider_modelarts.task_groups import label_and_confirm

# Environment variables of the processes that read this file, no Airflow Variables.
DEFAULT_PLACE = os.environ.get("MODELARTS_PLACE", "file:///tmp/modelarts")

PLACE = "{{ params.place }}"
TEAM_TASK_NAME = "night-{{ dag_run.run_after | ts_nodash }}"

with DAG(
    dag_id="nightly_pipeline",
    schedule="0 22 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # It has a schedule, and no dataset yet: somebody is to switch it on.
    is_paused_upon_creation=True,
    # Two nights at once would confirm the same proposals side by side.
    max_active_runs=1,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        "dataset_ids": Param([], type="array", description="The datasets"),
        "min_score": Param(0.9, type="number", minimum=0, maximum=1, description="Confirm from this score upwards"),
        "workforce_id": Param("", type="string", description="The team that labels what the machine is not sure of"),
        "place": Param(DEFAULT_PLACE, type="string", description="Folder for plans and ledger"),
    },
):

    @task
    def name_datasets(params: Any = None) -> list[str]:
        """Return the datasets of tonight."""
        return list(params["dataset_ids"])

    @task_group
    def night(dataset_id: str) -> None:
        """One dataset's night."""
        sync = ModelArtsSyncDatasetOperator(task_id="sync", dataset_id=dataset_id, deferrable=True)
        check = ModelArtsCheckDatasetOperator(task_id="check", dataset_id=dataset_id, if_nothing_to_label="skip")
        sure = label_and_confirm(
            dataset_id,
            # A few of the sure ones go to people as well, who so measure the machine. A night that leaves nothing to
            # them would publish nothing: what follows a skipped task is skipped, and Airflow's rules that look past
            # that do not keep the datasets apart.
            policy={"min_score": "{{ params.min_score }}", "audit_share": 0.05},
            place=PLACE,
            # What is left to people goes to the team also where nothing is sure.
            plan={"if_nothing_to_confirm": "continue"},
        )
        plan: Any = sure.get_child_by_label("plan")
        team = ModelArtsCreateTeamTaskOperator(
            task_id="team",
            dataset_id=dataset_id,
            workforce_task_name=TEAM_TASK_NAME,
            workforces_config={"workforces": [{"workforce_id": "{{ params.workforce_id }}"}]},
            plan_uri=plan.output["plan_uri"],
            plan_digest=plan.output["plan_digest"],
        )
        people = ModelArtsTeamTaskSensor(
            task_id="people", dataset_id=dataset_id, workforce_task_id=team.output, deferrable=True
        )
        begin = ModelArtsStartAcceptanceOperator(
            task_id="begin", dataset_id=dataset_id, workforce_task_id=team.output, sampling_rate=1, deferrable=True
        )
        accept = ModelArtsFinishAcceptanceOperator(
            task_id="accept",
            dataset_id=dataset_id,
            workforce_task_id=team.output,
            action="pass_all",
            deferrable=True,
        )
        publish = ModelArtsPublishVersionOperator(
            task_id="publish",
            dataset_id=dataset_id,
            # Starts what is scheduled on it, such as the example train_on_new_version.
            outlets=[Asset(name="published_versions")],
            deferrable=True,
        )

        sync >> check >> sure >> team >> people >> begin >> accept >> publish

    night.expand(dataset_id=name_datasets())
