"""Task groups that wire the operators as a labeling pipeline needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators import _parameters
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE_OF_SEVERAL = "{{ '' if ti.map_index < 0 else '.' ~ ti.map_index }}"


def label_and_confirm(
    dataset_id: Any,
    *,
    policy: Any,
    place: str,
    approve: bool = False,
    ledger_uri: str | None = None,
    label: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    confirm: Mapping[str, Any] | None = None,
    group_id: str = "label_and_confirm",
    modelarts_conn_id: str | None = None,
    project_id: str | None = None,
) -> TaskGroup:
    """Label a dataset by machine, wait, plan, have a person approve if wanted, and confirm what was planned.

    The group has the tasks ``label``, ``plan``, ``approve`` (only with ``approve=True``) and ``confirm``. If nothing
    would be confirmed, nobody is asked, and the tasks after the plan are skipped. Results of a task are to be had as of
    any operator: ``group.get_child_by_label("plan").output["plan_uri"]`` is where the plan lies, for example. A mapped
    task group may call this, too: each of its runs has a plan of its own.

    :param dataset_id: the dataset; a template or the output of another task
    :param policy: rules that decide for each proposal, see ``ModelArtsPlanConfirmationOperator``
    :param place: folder of plans and ledger, ``file://`` or ``s3://``, which every worker must reach (a template)
    :param approve: ask a person, by a ``ModelArtsApprovalOperator``: what it rejects is left to people. Default: nobody
    :param ledger_uri: folder of the ledger (a template); default: ``ledger`` in ``place``
    :param label: further arguments of ``ModelArtsStartLabelTaskOperator``; default: it waits in the triggerer
    :param plan: further arguments of ``ModelArtsPlanConfirmationOperator``
    :param confirm: further arguments of ``ModelArtsConfirmSamplesOperator``
    :param group_id: id of the group, before the ids of its tasks
    :param modelarts_conn_id: the Airflow connection of all of them; default: that of the DAG's ``default_args``, else
        that of the operators
    :param project_id: takes the place of the connection's own project; default: as for the connection
    :return: the group
    :raises ParameterError: if ``approve`` is neither True nor False, or if ``label`` says not to wait
    """
    asks = _parameters.flag("approve", approve)
    if not _parameters.flag("wait_for_completion", (label or {}).get("wait_for_completion", True)):
        raise ParameterError(
            "label_and_confirm cannot go without wait_for_completion: its plan would be made of the proposals that "
            "were there before. Leave it out of label."
        )
    given = {"modelarts_conn_id": modelarts_conn_id, "project_id": project_id}
    shared = {"dataset_id": dataset_id, **{name: value for name, value in given.items() if value is not None}}
    with TaskGroup(group_id=group_id) as group:
        # Runs of several DAGs may have one id, and groups in several groups one name of their own.
        plan_uri = f"{place}/plans/{{{{ ti.dag_id }}}}/{{{{ run_id }}}}{_ONE_OF_SEVERAL}.{group.group_id}.jsonl"
        labeled = ModelArtsStartLabelTaskOperator(
            task_id="label", **shared, **{"wait_for_completion": True, "deferrable": True, **(label or {})}
        )
        planned = ModelArtsPlanConfirmationOperator(
            task_id="plan",
            **shared,
            **{
                "policy": policy,
                "plan_uri": plan_uri,
                "label_task_id": labeled.output,
                "if_nothing_to_confirm": "skip",
                "multiple_outputs": True,
                **(plan or {}),
            },
        )
        results: Any = planned.output
        ask = None
        if asks:
            # Not at the top: who asks nobody needs no provider of standard operators.
            from airflow_provider_modelarts.operators.approval import ModelArtsApprovalOperator

            ask = ModelArtsApprovalOperator(task_id="approve", plan=planned.output)
        confirmed = ModelArtsConfirmSamplesOperator(
            task_id="confirm",
            **shared,
            **{
                "plan_uri": results["plan_uri"],
                "plan_digest": results["plan_digest"],
                "ledger_uri": f"{place}/ledger" if ledger_uri is None else ledger_uri,
                **({} if ask is None else {"approval": ask.output}),
                **(confirm or {}),
            },
        )
        (planned if ask is None else ask) >> confirmed
    return group
