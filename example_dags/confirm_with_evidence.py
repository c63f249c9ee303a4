"""Confirm what is proven right: people answer a few samples of each label, and the rest follows as far as that goes.

The machine labels, and a plan draws some of its proposals by chance. A team labels these, and whatever else the policy
leaves to people. Their answers say for each label from which score upwards the proposals reach the target; only so much
of the plan is confirmed. What is not proven stays proposed. The next night draws other samples and proves its own plan.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from airflow_provider_modelarts.operators.audit import ModelArtsEvaluateAuditOperator
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
)
from airflow_provider_modelarts.operators.team_tasks import (
    ModelArtsCreateTeamTaskOperator,
    ModelArtsFinishAcceptanceOperator,
    ModelArtsStartAcceptanceOperator,
)
from airflow_provider_modelarts.sensors.team_task import ModelArtsTeamTaskSensor

# Environment variables of the processes that read this file, no Airflow Variables.
DEFAULT_DATASET_ID = os.environ.get("MODELARTS_DATASET_ID", "")
DEFAULT_PLACE = os.environ.get("MODELARTS_PLACE", "file:///tmp/modelarts")

DATASET_ID = "{{ params.dataset_id }}"
PLAN_URI = "{{ params.place }}/plans/{{ run_id }}.jsonl"
PLAN_DIGEST = "{{ ti.xcom_pull(task_ids='plan', key='plan_digest') }}"
LEDGER_URI = "{{ params.place }}/ledger"

with DAG(
    dag_id="confirm_with_evidence",
    schedule=None,
    doc_md=__doc__,
    tags=["modelarts"],
    params={
        "dataset_id": Param(DEFAULT_DATASET_ID, type="string", description="A dataset, some of its images labeled"),
        "target": Param(
            0.95, type="number", exclusiveMinimum=0, exclusiveMaximum=1, description="Share of each label to be right"
        ),
        "confidence": Param(
            0.95, type="number", exclusiveMinimum=0, exclusiveMaximum=1, description="How sure that must be"
        ),
        "audit_size": Param(100, type="integer", minimum=1, description="Samples of each label that people answer"),
        "workforce_id": Param("", type="string", description="The team that labels the audit"),
        "place": Param(DEFAULT_PLACE, type="string", description="Folder for plans, evidence and ledger"),
    },
):
    label = ModelArtsStartLabelTaskOperator(
        task_id="label",
        dataset_id=DATASET_ID,
        algorithm_type="fast",
        collect_key_sample=True,
        wait_for_completion=True,
        deferrable=True,
    )
    plan = ModelArtsPlanConfirmationOperator(
        task_id="plan",
        dataset_id=DATASET_ID,
        plan_uri=PLAN_URI,
        label_task_id=label.output,
        policy={
            "target_precision": "{{ params.target }}",
            "confidence": "{{ params.confidence }}",
            "audit_size": "{{ params.audit_size }}",
            # A seed of its own for each run: what one audit has passed over must have its chance in the next.
            "seed": "{{ run_id }}",
            "evidence_uri": "{{ params.place }}/evidence/{{ run_id }}.jsonl",
        },
    )
    team = ModelArtsCreateTeamTaskOperator(
        task_id="team",
        dataset_id=DATASET_ID,
        workforce_task_name="audit-{{ dag_run.run_after | ts_nodash }}",
        workforces_config={"workforces": [{"workforce_id": "{{ params.workforce_id }}"}]},
        plan_uri=PLAN_URI,
        plan_digest=PLAN_DIGEST,
    )
    people = ModelArtsTeamTaskSensor(
        task_id="people", dataset_id=DATASET_ID, workforce_task_id=team.output, deferrable=True
    )
    evaluate = ModelArtsEvaluateAuditOperator(
        task_id="evaluate",
        dataset_id=DATASET_ID,
        plan_uri=PLAN_URI,
        plan_digest=PLAN_DIGEST,
        answers_from="team_task",
        workforce_task_id=team.output,
        ledger_uri=LEDGER_URI,
    )
    confirm = ModelArtsConfirmSamplesOperator(
        task_id="confirm", dataset_id=DATASET_ID, plan_uri=PLAN_URI, plan_digest=PLAN_DIGEST, ledger_uri=LEDGER_URI
    )
    begin = ModelArtsStartAcceptanceOperator(
        task_id="begin", dataset_id=DATASET_ID, workforce_task_id=team.output, sampling_rate=1, deferrable=True
    )
    accept = ModelArtsFinishAcceptanceOperator(
        task_id="accept", dataset_id=DATASET_ID, workforce_task_id=team.output, action="pass_all", deferrable=True
    )

    label >> plan >> team >> people >> evaluate >> confirm >> begin >> accept
