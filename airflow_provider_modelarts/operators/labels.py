"""The operator that makes the labels which a dataset needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.labeling.label_set import ensure_labels, parse_labels
from airflow_provider_modelarts.operators._calls import OF_DATASET, DatasetCallOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.operators._templates import Readers

_READ: Readers = {"labels": lambda _, value: parse_labels(value), **OF_DATASET}


class ModelArtsEnsureLabelsOperator(DatasetCallOperator):
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

    readers = _READ
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"labels": "json"}

    def __init__(self, *, labels: Sequence[str | dict[str, Any]] | str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.labels = labels
        self.check_parameters(self.readers)

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], _: Context) -> dict[str, Any]:
        """Make the labels."""
        result = ensure_labels(client, given["dataset_id"], given["labels"])
        self.log.info(
            "Dataset %s has the %d labels that are asked for; made now: %s",
            given["dataset_id"],
            result.labels,
            ", ".join(result.created) or "none",
        )
        return result.to_xcom()
