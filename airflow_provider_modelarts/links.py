"""The links from a task's page: to its dataset in the ModelArts console, and to the report that it has written."""

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
"""XCom from which the link is made: ``{"dataset_id", "console"}``, no secrets."""

REPORT_XCOM = "modelarts_quality_report"
"""XCom with the address of a quality report."""

# The value of the try that this process runs. Airflow asks for the link when the task is over. After the alarm of
# execution_timeout it answers an earlier question, and the XCom would not be found.
_linked: dict[tuple[Any, ...], dict[str, str]] = {}


class ModelArtsDatasetLink(BaseOperatorLink):
    """Links to the dataset in the console, where people see what was proposed and what is left to do.

    The address is the connection's field ``console``, in which ``{dataset_id}`` and ``{region}`` are filled in. If the
    field is empty, the link leads to the vendor's console in the region of the endpoint; for an endpoint outside the
    vendor's domain there is no link.
    """

    name: ClassVar[str] = "ModelArts console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as Airflow calls it
        """Return the address, or an empty text if there is none.

        :param operator: the task's operator
        :param ti_key: names the task instance
        """
        value: Any = _linked.get(_try_of(ti_key))
        if value is None:
            from airflow.sdk.execution_time.xcom import XCom

            value = XCom.get_value(ti_key=ti_key, key=DATASET_XCOM)
        if not isinstance(value, dict) or not value.get("console"):
            return ""
        return str(value["console"]).replace("{dataset_id}", quote(str(value["dataset_id"]), safe=""))


class ModelArtsQualityReportLink(BaseOperatorLink):
    """Links to the report that the task has written."""

    name: ClassVar[str] = "Quality report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as Airflow calls it
        """Return the address, or an empty text if there is none.

        :param operator: the task's operator
        :param ti_key: names the task instance
        """
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=REPORT_XCOM) or "")


def link_dataset(context: Context, hook: ModelArtsHook, dataset_id: str) -> None:
    """Make the task's page link to a dataset; an unreadable connection is an error of the call that needs it."""
    try:
        console = hook.settings.console
    except ModelArtsError:
        return
    ti: Any = context["ti"]
    value = {"dataset_id": dataset_id, "console": console or ""}
    _linked.clear()
    _linked[_try_of(ti)] = value
    if console:
        ti.xcom_push(key=DATASET_XCOM, value=value)


def _try_of(ti: Any) -> tuple[Any, ...]:
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number
