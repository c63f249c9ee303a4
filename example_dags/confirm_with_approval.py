"""Plan what becomes final, have a person approve the plan, and write exactly what was approved.

The person sees the policy, counts, scores and examples of each label on Airflow's page of required actions, and every
picture on the tab "Review labels" of the task that asks. Samples and labels that the person rejects are left to people.
If nothing would be confirmed, nobody is asked. What somebody changes before it is written is left alone. The ledger
records every label that was made final, and who approved it.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from airflow_provider_modelarts.operators.approval import ModelArtsApprovalOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
)

# Environment variables of the processes that read this file, no Airflow Variables.
DEFAULT_DATASET_ID = os.environ.get("MODELARTS_DATASET_ID", "")
DEFAULT_PLACE = os.environ.get("MODELARTS_PLACE", "file:///tmp/modelarts")

DATASET_ID = "{{ params.dataset_id }}"
PLAN_URI = "{{ params.place }}/plans/{{ run_id }}.jsonl"

with DAG(
    dag_id="confirm_with_approval",
    schedule=None,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        "dataset_id": Param(DEFAULT_DATASET_ID, type="string", description="A dataset with proposals of the machine"),
        "min_score": Param(0.9, type="number", minimum=0, maximum=1, description="Confirm from this score upwards"),
        "place": Param(
            DEFAULT_PLACE,
            type="string",
            description="Folder for plans and ledger, which every worker must reach; s3://bucket/folder works as well",
        ),
    },
):
    plan = ModelArtsPlanConfirmationOperator(
        task_id="plan",
        dataset_id=DATASET_ID,
        policy={
            "min_score": "{{ params.min_score }}",
            # A few of those that would pass go to people instead, who so measure the machine.
            "audit_share": 0.02,
            # A machine that sees one label nearly everywhere is a broken machine.
            "max_share_per_label": 0.9,
        },
        plan_uri=PLAN_URI,
        # Nobody is asked to approve nothing: then the other tasks are skipped, too.
        if_nothing_to_confirm="skip",
    )
    # On the tab "Review labels" of this task each sample can be seen, and rejected.
    approve = ModelArtsApprovalOperator(task_id="approve", plan=plan.output)
    confirm = ModelArtsConfirmSamplesOperator(
        task_id="confirm",
        dataset_id=DATASET_ID,
        plan_uri=PLAN_URI,
        plan_digest="{{ ti.xcom_pull(task_ids='plan', key='plan_digest') }}",
        ledger_uri="{{ params.place }}/ledger",
        approval=approve.output,
    )

    plan >> approve >> confirm
