"""Labels of a dataset: contract 6.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.models import Field, Model, to_integer, to_name, to_object
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.states import LabelType
from airflow_provider_modelarts.client.validation import validate_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.client.transport.transport import Transport


class Label(Model):
    """A label that samples of a dataset may have."""

    name = Field(to_name)
    type = Field(LabelType.read)

    @property
    def properties(self) -> dict[str, Any]:
        """Colour, shortcut and shape, as they arrived."""
        return to_object(self.raw.get("property"))


class LabelStats(Label):
    """A label with its numbers: ``count`` and ``sample_count`` have nothing to do with each other."""

    count = Field(to_integer)
    sample_count = Field(to_integer)


class Labels:
    """Calls about labels."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, dataset_id: str, *, version_id: str | None = None) -> Iterator[Label]:
        """Yield the labels of a dataset.

        :param dataset_id: the dataset
        :param version_id: labels of this version instead of the current state
        """
        what = f"list labels of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "data-annotations", "labels")
        query = {"version_id": version_id}
        # no limit is sent: the old edition has no paging here, the new one serves 100,000 at once
        return ListEndpoint(what, path, Label, "labels", "total_number", (), query).walk(self._transport, limit=None)
