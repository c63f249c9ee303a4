"""Confirm a large dataset in parts, one mapped task for each label, on as many workers as the executor has.

A sample with several labels belongs to the part of its first one, so no two tasks write the same sample.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator

# Environment variables of the processes that read this file, no Airflow Variables.
DEFAULT_DATASET_ID = os.environ.get("MODELARTS_DATASET_ID", "")
DEFAULT_PLACE = os.environ.get("MODELARTS_PLACE", "file:///tmp/modelarts")


@task
def list_labels(dataset_id: str) -> list[str]:
    """Return the names of the dataset's labels."""
    return [label.name for label in ModelArtsHook().client.labels.list(dataset_id) if label.name]


@task
def add_up(parts: Any) -> dict[str, int]:
    """Return the counts of all parts together."""
    counts = list(parts)
    return {name: sum(part[name] for part in counts) for name in ("seen", "confirmed", "review", "left", "failed")}


with DAG(
    dag_id="confirm_by_label",
    schedule=None,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        "dataset_id": Param(DEFAULT_DATASET_ID, type="string", description="A dataset with proposals of the machine"),
        "min_score": Param(0.9, type="number", minimum=0, maximum=1, description="Confirm from this score upwards"),
        "place": Param(
            DEFAULT_PLACE,
            type="string",
            description="Folder for the ledger, which every worker must reach; s3://bucket/folder works as well",
        ),
    },
):
    dataset_id = "{{ params.dataset_id }}"

    confirm = ModelArtsConfirmSamplesOperator.partial(
        task_id="confirm",
        dataset_id=dataset_id,
        policy={"min_score": "{{ params.min_score }}"},
        ledger_uri="{{ params.place }}/ledger",
        map_index_template="{{ task.first_label }}",
        retries=2,
    ).expand(first_label=list_labels(dataset_id))

    add_up(confirm.output)
