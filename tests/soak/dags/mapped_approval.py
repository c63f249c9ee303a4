"""Mapped task groups that each plan, ask a person and confirm, over the datasets of the run's conf."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, get_current_context, task, task_group

from airflow_provider_modelarts.operators.approval import ModelArtsApprovalOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
)
from airflow_provider_modelarts.task_groups import label_and_confirm

PLACE = "{{ dag_run.conf['place'] }}"
POLICY = {"min_score": 0.7}


@task
def datasets(way: str) -> list[str]:
    """Return the datasets over which a group is mapped."""
    found: list[str] = get_current_context()["dag_run"].conf["datasets"][way]
    return found


def plan_ask_confirm(way: str, dataset_id: Any, plan_of: Any) -> None:
    plan_uri = f"{PLACE}/plans/{{{{ run_id }}}}.{way}.{{{{ ti.map_index }}}}.jsonl"
    plan = ModelArtsPlanConfirmationOperator(task_id="plan", dataset_id=dataset_id, policy=POLICY, plan_uri=plan_uri)
    approve = ModelArtsApprovalOperator(task_id="approve", plan=plan_of(plan))
    confirm = ModelArtsConfirmSamplesOperator(
        task_id="confirm",
        dataset_id=dataset_id,
        plan_uri=plan_uri,
        ledger_uri=f"{PLACE}/ledger",
        approval=approve.output,
    )
    plan >> approve >> confirm


with DAG("mapped_approval", schedule=None, catchup=False):

    @task_group
    def by_output(dataset_id: Any) -> None:
        """Say which plan by the output of the task that makes it."""
        plan_ask_confirm("by_output", dataset_id, lambda plan: plan.output)

    @task_group
    def by_id(dataset_id: Any) -> None:
        """Say which plan by the id of the task that makes it."""
        plan_ask_confirm("by_id", dataset_id, lambda plan: plan.task_id)

    @task_group
    def ready_made(dataset_id: Any) -> None:
        """Take the task group that the provider has for it."""
        label_and_confirm(dataset_id, policy=POLICY, place=PLACE, approve=True)

    for group in (by_output, by_id, ready_made):
        name = group.function.__name__
        group.expand(dataset_id=datasets.override(task_id=f"datasets_{name}")(name))
