"""The operator that asks: about which plan, what may be answered, and that an answer about another plan does not count.

``tests/soak/soak_review.py`` lets people answer in a real Airflow.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators.approval import ModelArtsApprovalOperator
from airflow_provider_modelarts.operators.samples import ModelArtsPlanConfirmationOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST, OTHER = "a" * 64, "b" * 64
EVENT = {
    "chosen_options": ["Approve"],
    "params_input": {"reject_samples": ["1"], "reject_labels": []},
    "responded_at": datetime(2026, 11, 27, tzinfo=UTC),
    "responded_by_user": {"id": "1", "name": "ada"},
}


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("asks", schedule=None, params={"of_the_dag": Param(1)}) as dag:
        ModelArtsPlanConfirmationOperator(task_id="plan", dataset_id="d", plan_uri="file:///tmp/plan.jsonl")
        yield dag


class Instance:
    """What the operator needs of a task instance."""

    id = "0"

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        assert task_ids == "approve"
        return self.xcoms.get(key)


def asked(approve: ModelArtsApprovalOperator, monkeypatch: pytest.MonkeyPatch, digest: Any = DIGEST) -> dict[str, Any]:
    """Let it ask, and return its context."""
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None)
    approve.plan_digest = digest
    instance = Instance()
    context: dict[str, Any] = {"ti": instance, "task_instance": instance, "task": approve}
    with pytest.raises(TaskAwaitingInput):
        approve.execute(context)  # type: ignore[arg-type]
    return context


def test_one_line_is_enough(dag: DAG) -> None:
    approve = ModelArtsApprovalOperator(task_id="approve", plan=dag.get_task("plan").output)
    assert approve.upstream_task_ids == {"plan"}
    assert set(approve.params) == {"reject_samples", "reject_labels"}
    assert all(param["schema"]["type"] == "array" for param in approve.serialized_params.values())
    assert "key='summary'" in str(approve.body)
    assert "key='plan_digest'" in str(approve.plan_digest)


def test_a_task_id_does_as_well(dag: DAG) -> None:
    approve = ModelArtsApprovalOperator(task_id="approve", plan="plan", ask_audit=True, body="Look at it")
    assert approve.plan_task_id == "plan"
    assert approve.plan_digest == "{{ ti.xcom_pull(task_ids='plan', key='plan_digest') }}"
    assert approve.body == "Look at it"
    assert set(approve.params) == {"reject_samples", "reject_labels", "audit_answers"}


@pytest.mark.parametrize("plan", [None, "", " ", 7, {"plan_uri": "x"}])
def test_what_is_no_plan_is_refused(dag: DAG, plan: Any) -> None:
    with pytest.raises(ParameterError, match="plan must be the output of the task that plans"):
        ModelArtsApprovalOperator(task_id="approve", plan=plan)


def test_its_params_are_its_own(dag: DAG) -> None:
    with pytest.raises(ParameterError, match="params of a ModelArtsApprovalOperator are fixed"):
        ModelArtsApprovalOperator(task_id="approve", plan="plan", params={"reject_samples": Param(["1"])})


@pytest.mark.parametrize("digest", [None, "", "None"])
def test_without_a_plan_nobody_is_asked(dag: DAG, digest: Any) -> None:
    approve = ModelArtsApprovalOperator(task_id="approve", plan="plan")
    approve.plan_digest = digest
    with pytest.raises(AirflowFailException, match="Task plan has no XCom plan_digest"):
        approve.execute({"ti": Instance()})  # type: ignore[arg-type]


def test_the_answer_is_that_of_airflow_and_names_the_plan(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    approve = ModelArtsApprovalOperator(task_id="approve", plan="plan")
    context = asked(approve, monkeypatch)
    assert approve.execute_complete(context, EVENT) == {**EVENT, "plan_digest": DIGEST}  # type: ignore[arg-type]


@pytest.mark.parametrize("now", [OTHER, None])
def test_an_answer_about_another_plan_does_not_count(dag: DAG, monkeypatch: pytest.MonkeyPatch, now: Any) -> None:
    approve = ModelArtsApprovalOperator(task_id="approve", plan="plan")
    context = asked(approve, monkeypatch)
    approve.plan_digest = now
    with pytest.raises(AirflowFailException, match="was replaced while a person was asked"):
        approve.execute_complete(context, EVENT)  # type: ignore[arg-type]
