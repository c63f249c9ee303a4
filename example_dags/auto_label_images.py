"""Label the images of a dataset by machine, and confirm what the machine is sure of.

Hard examples and proposals that score less than ``min_score`` are left for people. The token is the connection's
business: `modelarts_default`.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param, task

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from airflow_provider_modelarts.sensors.label_task import ModelArtsLabelTaskSensor

# Environment variables of the processes that read this file, no Airflow Variables. The dataset that runs ask for:
DATASET_ID = os.environ.get("MODELARTS_DATASET_ID", "")
# A folder that every worker reaches, such as s3://bucket/ledger; without one the confirmation is not recorded.
LEDGER_URI = os.environ.get("MODELARTS_LEDGER_URI")


@task
def list_proposals(dataset_id: str) -> int:
    """Return how many images await a decision."""
    return ModelArtsHook().client.proposals.page(dataset_id, 0, limit=1).total or 0


with DAG(
    dag_id="auto_label_images",
    schedule=None,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        "dataset_id": Param(DATASET_ID, type="string", description="A dataset of images"),
        "min_score": Param(0.9, type="number", minimum=0, maximum=1, description="Confirm from this score upwards"),
    },
):
    dataset_id = "{{ params.dataset_id }}"

    start = ModelArtsStartLabelTaskOperator(
        task_id="start",
        dataset_id=dataset_id,
        algorithm_type="fast",
        collect_key_sample=True,
    )
    wait = ModelArtsLabelTaskSensor(
        task_id="wait",
        dataset_id=dataset_id,
        label_task_id=start.output,
        deferrable=True,
        timeout=6 * 60 * 60,
    )
    confirm = ModelArtsConfirmSamplesOperator(
        task_id="confirm",
        dataset_id=dataset_id,
        policy={"min_score": "{{ params.min_score }}"},
        ledger_uri=LEDGER_URI,
    )

    start >> wait >> list_proposals(dataset_id) >> confirm
