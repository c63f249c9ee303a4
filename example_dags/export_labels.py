"""Export the final labels of a dataset, in one format for training and in one for a second look by people.

What is trained on holds final labels only. What people look at holds the machine's undecided proposals too, as
predictions. Each run has folders of its own, complete where ``export.json`` is there. Give the operator ``ledger_uri``
as well where confirming tasks keep a ledger: then an export says who confirmed each sample, when, and by which rule.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from airflow_provider_modelarts.operators.export_labels import ModelArtsExportLabelsOperator

# Environment variables of the processes that read this file, no Airflow Variables.
DEFAULT_DATASET_ID = os.environ.get("MODELARTS_DATASET_ID", "")
DEFAULT_PLACE = os.environ.get("MODELARTS_PLACE", "file:///tmp/modelarts")

FOLDER = "{{ params.place }}/exports/{{ run_id }}"

with DAG(
    dag_id="export_labels",
    schedule=None,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        "dataset_id": Param(DEFAULT_DATASET_ID, type="string", description="A dataset with labeled samples"),
        "format": Param(
            "imagefolder",
            type="string",
            enum=["imagefolder", "jsonl", "modelarts-manifest", "coco", "yolo", "yolo-segment", "pascal-voc"],
            description="The format to train with; those from coco on need boxes or outlines",
        ),
        "place": Param(
            DEFAULT_PLACE,
            type="string",
            description="Folder for the exports, which every worker must reach; obs://bucket/folder works as well",
        ),
    },
):
    ModelArtsExportLabelsOperator(
        task_id="to_train",
        dataset_id="{{ params.dataset_id }}",
        uri=f"{FOLDER}/train",
        format="{{ params.format }}",
        # A circle has no place in YOLO: such a sample is left out as a whole, and named in the log.
        on_problem="leave_out_samples",
    )
    ModelArtsExportLabelsOperator(
        task_id="to_look_at",
        dataset_id="{{ params.dataset_id }}",
        uri=f"{FOLDER}/label-studio",
        format="label-studio",
        include_proposals=True,
        on_problem="leave_out_labels",
    )
