"""The operator that asks a person whether a plan may be confirmed; needs the provider of standard operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.definitions.xcom_arg import XComArg

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._approval import AUDIT_ANSWERS, REJECT_LABELS, REJECT_SAMPLES
from airflow_provider_modelarts.operators._base import DIGEST_XCOM, REVIEW_XCOM, SUMMARY_XCOM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


_TEXTS = {"type": "array", "items": {"type": "string"}}
_INPUTS: dict[str, dict[str, Any]] = {
    REJECT_SAMPLES: {"default": [], "description": "Ids of samples that go to people", **_TEXTS},
    REJECT_LABELS: {"default": [], "description": "Labels whose samples go to people", **_TEXTS},
    AUDIT_ANSWERS: {"default": {}, "description": "What the audited samples are, by sample id", "type": "object"},
}


class ModelArtsApprovalOperator(ApprovalOperator):
    """Ask a person whether the labels of a plan become final, and which of them do not.

    The person sees the plan's summary on Airflow's page of required actions, and each sample with its picture on the
    tab "Review labels" of this task. Either page takes samples and labels that are rejected: they go to people, and the
    rest is confirmed. Hand the output to ``ModelArtsConfirmSamplesOperator`` as ``approval``.

    If the plan is made again while the person is asked, the answer does not count and the task fails: it was about
    another plan. Clear the task to ask about the new one.

    Returns what ``ApprovalOperator`` returns (``chosen_options, params_input, responded_at, responded_by_user``) and
    ``plan_digest``: whoever uses the answer refuses any other plan.

    :param plan: the task that makes the plan: its output (``plan.output``), or its id
    :param subject: the headline (templated)
    :param body: text of the page of required actions, Markdown. None: the plan's summary (templated)
    :param ask_audit: also ask whether the samples that were drawn for the audit (``audit_share`` of the policy) are
        right; the answers are ``params_input["audit_answers"]``. Default: not asked
    :param kwargs: further arguments of ``ApprovalOperator``, such as ``assigned_users``, ``response_timeout``,
        ``notifiers``, ``fail_on_reject``; what may be entered (``params``) is fixed
    :raises AirflowFailException: if the plan was replaced while the person was asked
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "plan_digest")

    def __init__(
        self,
        *,
        plan: XComArg | str,
        subject: str = "Make these labels final?",
        body: str | XComArg | None = None,
        ask_audit: bool = False,
        **kwargs: Any,
    ) -> None:
        ask_audit = parameters.flag("ask_audit", ask_audit)
        # Airflow adds those of the DAG, and marks where each is from.
        given = kwargs.pop("params", None)
        if given and ParamsDict.filter_params_by_source(given, source="task"):
            raise ParameterError("params of a ModelArtsApprovalOperator are fixed: leave them out.")
        inputs = {
            name: Param(**fields, source="task")
            for name, fields in _INPUTS.items()
            if ask_audit or name != AUDIT_ANSWERS
        }
        super().__init__(
            subject=subject,
            body=_xcom_of(plan, SUMMARY_XCOM) if body is None else body,
            params=inputs,
            **kwargs,
        )
        self.plan_task_id = _task_id_of(plan)
        self.plan_digest = _xcom_of(plan, DIGEST_XCOM)

    def execute(self, context: Context) -> Any:
        """Remember which plan is asked about, and ask."""
        with permanent_errors_fail_at_once():
            if not self.plan_digest or self.plan_digest == "None":
                raise ParameterError(
                    f"Task {self.plan_task_id} has no XCom {DIGEST_XCOM}, so there is no plan to approve. Give plan "
                    "the output of the task that plans; that task needs do_xcom_push=True."
                )
        context["ti"].xcom_push(
            key=REVIEW_XCOM, value={"plan_task_id": self.plan_task_id, "plan_digest": self.plan_digest}
        )
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the answer, if it is about the plan that there is now."""
        # Without an index Airflow gives those of all mapped tasks.
        ti = context["ti"]
        asked = ti.xcom_pull(task_ids=self.task_id, key=REVIEW_XCOM, map_indexes=ti.map_index)
        with permanent_errors_fail_at_once():
            if not isinstance(asked, dict) or asked.get("plan_digest") != self.plan_digest:
                raise ParameterError(
                    f"The plan of task {self.plan_task_id} was replaced while a person was asked about it, so the "
                    "answer does not count. Nothing was sent. Clear this task to ask about the new plan."
                )
        return {**super().execute_complete(context, event), "plan_digest": self.plan_digest}


def _task_id_of(plan: object) -> str:
    """Return the id of the task that plans."""
    if isinstance(plan, str) and plan.strip():
        return plan
    operator = getattr(plan, "operator", None) if isinstance(plan, XComArg) else None
    if operator is None:
        raise ParameterError("plan must be the output of the task that plans (plan.output), or that task's id.")
    task_id: str = operator.task_id
    return task_id


def _xcom_of(plan: XComArg | str, key: str) -> Any:
    """Return where a template field finds an XCom of the task that plans."""
    task_id = _task_id_of(plan)
    if isinstance(plan, str):
        # As the review page does: the plan of the same mapped task, or one that is not mapped.
        own, single = (
            f"ti.xcom_pull(task_ids={task_id!r}, key={key!r}, map_indexes={index})" for index in ("ti.map_index", "-1")
        )
        return f"{{{{ {own} or {single} }}}}"
    return XComArg(plan.operator, key=key)  # type: ignore[attr-defined]
