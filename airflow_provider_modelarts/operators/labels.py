"""The operator that makes the labels which a dataset needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.hooks.errors import permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.label_set import ensure_labels, parse_labels
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import TemplatedOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.operators._templates import Readers

_READ: Readers = {
    "dataset_id": parameters.identifier,
    "labels": lambda _, value: parse_labels(value),
    **parameters.CONNECTION,
}


class ModelArtsEnsureLabelsOperator(TemplatedOperator):
    """Make the labels that a dataset lacks. It never changes or deletes one, and may run again at any time.

    Returns ``labels, created, existing`` and, in ``created_labels``, the names of the first 100 that were made.

    :param dataset_id: the dataset (templated)
    :param labels: list of names, or of dicts such as ``{"name": "cat", "type": 0, "property": {"@modelarts:color":
        "#3399ff"}, "attributes": [...]}``; or its JSON text. Of a label that is there already only what is given is
        compared (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowFailException: if a label is there with another type, property or attribute, in which case none is
        made; and for what else no retry can mend
    :raises DatasetBusy: while a version is being published
    """

    template_fields: Sequence[str] = tuple(_READ)
    template_fields_renderers: ClassVar[dict[str, str]] = {"labels": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        labels: Sequence[str | dict[str, Any]] | str | XComArg,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.labels = labels
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_READ)

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the labels; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_READ)
            hook = parameters.hook(self)
            link_dataset(context, hook, given["dataset_id"])
            result = ensure_labels(hook.look_afresh().client, given["dataset_id"], given["labels"])
            self.log.info(
                "Dataset %s has the %d labels that are asked for; made now: %s",
                given["dataset_id"],
                result.labels,
                ", ".join(result.created) or "none",
            )
            return result.to_xcom()
