"""The link from a task's page to its dataset in the ModelArts console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from airflow_provider_modelarts.client.errors import ModelArtsError

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

DATASET_XCOM = "modelarts_dataset"
"""XCom that holds what the link is made of: ``{"dataset_id", "console"}``, no secrets."""

# What the try that this process works on has told. Airflow wants the link when the task is over; after its alarm the
# answers to questions are those to earlier ones, and the XCom would not be found.
_told: dict[tuple[Any, ...], dict[str, str]] = {}


class ModelArtsDatasetLink(BaseOperatorLink):
    """Leads to the dataset in the console: what was proposed, and what is left for people.

    The address is the connection's field ``console``, in which ``{dataset_id}`` and ``{region}`` are filled in; without
    it the vendor's console, in the region that the vendor's endpoint names. An endpoint outside the vendor's domain
    and no such field: no link.
    """

    name: ClassVar[str] = "ModelArts console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as Airflow calls it
        """Return the address, or nothing if the task has not told its dataset.

        :param operator: the task's operator
        :param ti_key: names the task instance
        """
        kept: Any = _told.get(_try_of(ti_key))
        if kept is None:
            from airflow.sdk.execution_time.xcom import XCom

            kept = XCom.get_value(ti_key=ti_key, key=DATASET_XCOM)
        if not isinstance(kept, dict) or not kept.get("console"):
            return ""
        return str(kept["console"]).replace("{dataset_id}", quote(str(kept["dataset_id"]), safe=""))


def link_dataset(context: Context, hook: ModelArtsHook, dataset_id: str) -> None:
    """Let the task's page link to a dataset; a connection that cannot be read is left to the call that needs it.

    :param context: of the task
    :param hook: whose connection tells the console
    :param dataset_id: the dataset
    """
    try:
        console = hook.settings.console
    except ModelArtsError:
        return
    ti: Any = context["ti"]
    value = {"dataset_id": dataset_id, "console": console or ""}
    _told.clear()
    _told[_try_of(ti)] = value
    if console:
        ti.xcom_push(key=DATASET_XCOM, value=value)


def _try_of(ti: Any) -> tuple[Any, ...]:
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number
