"""Confirm what the machine is sure of whenever a labeling task of one dataset has succeeded, whoever started it.

Nothing runs while nothing happens: a watcher in the triggerer looks at the dataset's labeling tasks, and its event
starts this DAG. Watchers are set up when the file is parsed, so the dataset's id comes from the environment variable
``MODELARTS_WATCHED_DATASET`` of the DAG processor and the workers: it is no Airflow Variable. Without it nothing is
watched.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from airflow_provider_modelarts.triggers.event import ModelArtsLabelTaskEventTrigger

DATASET_ID = os.environ.get("MODELARTS_WATCHED_DATASET", "")

labeled = Asset(
    name="machine_labeled_dataset",
    watchers=[
        AssetWatcher(
            name="label_task_succeeded",
            trigger=ModelArtsLabelTaskEventTrigger(DATASET_ID, states=["succeeded"], poll_interval=30),
        )
    ]
    if DATASET_ID
    else [],
)


@task
def name_ended_tasks(triggering_asset_events: Any = None) -> list[str]:
    """Return the labeling tasks that this run is about: several, if they ended before it could begin."""
    return [event.extra["payload"]["label_task_id"] for event in triggering_asset_events[labeled]]


with DAG(
    dag_id="confirm_when_labeled",
    schedule=[labeled],
    # Two runs at once would confirm the same proposals side by side.
    max_active_runs=1,
    doc_md=__doc__,
    tags=["modelarts"],
):
    confirm = ModelArtsConfirmSamplesOperator(
        task_id="confirm",
        # Without the variable there is no watcher, and nothing starts this DAG.
        dataset_id=DATASET_ID or "not chosen yet",
        policy={"min_score": 0.9},
    )

    name_ended_tasks() >> confirm
