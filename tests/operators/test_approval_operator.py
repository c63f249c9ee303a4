"""The operator that asks: about which plan, what may be answered, and that an answer about another plan does not count.

``tests/soak/soak_review.py`` lets people answer in a real Airflow.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Param, exceptions
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from jinja2.sandbox import SandboxedEnvironment

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
    """What the operator needs of a task instance. As in Airflow, a pull without an index gets all mapped tasks' XComs.

    :param xcoms: those of all mapped tasks, by key and index
    """

    id = "0"
    task_id = "approve"

    def __init__(self, map_index: int = -1, xcoms: dict[tuple[str, int], Any] | None = None) -> None:
        self.map_index = map_index
        self.xcoms = {} if xcoms is None else xcoms

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key, self.map_index] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        assert task_ids == self.task_id
        if map_indexes is not None:
            return self.xcoms.get((key, map_indexes))
        found = [value for (name, _), value in self.xcoms.items() if name == key]
        return found[0] if len(found) == 1 else found


def asked(
    approve: ModelArtsApprovalOperator,
    monkeypatch: pytest.MonkeyPatch,
    digest: Any = DIGEST,
    instance: Instance | None = None,
) -> dict[str, Any]:
    """Let it ask, and return its context."""
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None)
    approve.plan_digest = digest
    instance = instance or Instance()
    context: dict[str, Any] = {"ti": instance, "task_instance": instance, "task": approve}
    with pytest.raises(getattr(exceptions, "TaskAwaitingInput", TaskDeferred)):  # before Airflow 3.3 it defers
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
    env = SandboxedEnvironment()
    for place, has_plan in ((-1, -1), (3, 3), (3, -1)):  # itself not mapped, mapped as the plan is, or it alone
        plans = {("plan_digest", has_plan): DIGEST, ("plan_digest", 7): OTHER}
        instance = Instance(place, plans)
        instance.task_id = "plan"
        assert env.from_string(approve.plan_digest).render(ti=instance) == DIGEST
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


def test_each_mapped_task_is_answered_about_its_own_plan(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    xcoms: dict[tuple[str, int], Any] = {}
    waiting = []
    for index, digest in enumerate((DIGEST, OTHER)):
        with DAG(f"asks_{index}", schedule=None):
            approve = ModelArtsApprovalOperator(task_id="approve", plan="plan")
        waiting.append((approve, asked(approve, monkeypatch, digest, Instance(index, xcoms)), digest))
    for approve, context, digest in waiting:
        answer = approve.execute_complete(context, EVENT)
        assert answer == {**EVENT, "plan_digest": digest}


@pytest.mark.parametrize("value", [None, "", "yes", []])
def test_whether_the_audit_is_asked_for_is_said_with_true_or_false(dag: DAG, value: Any) -> None:
    with pytest.raises(ParameterError, match="ask_audit"):
        ModelArtsApprovalOperator(task_id="approve", plan="plan", ask_audit=value)


def test_false_as_text_does_not_ask_for_the_audit(dag: DAG) -> None:
    approve = ModelArtsApprovalOperator(task_id="approve", plan="plan", ask_audit="false")  # type: ignore[arg-type]
    assert "audit_answers" not in approve.params
