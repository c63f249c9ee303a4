"""Datasets and their statistics: contract 6.1, 6.5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    given,
    read,
    to_flag,
    to_integer,
    to_name,
    to_object,
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.labels import LabelStats
from airflow_provider_modelarts.client.states import DatasetStatus, DatasetType
from airflow_provider_modelarts.client.validation import validate_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.client.states import SampleState
    from airflow_provider_modelarts.client.transport.transport import Transport

NORMAL = DatasetStatus.NORMAL
"""Status of a dataset that can be worked with."""

_STATISTICS = frozenset({"label_stats", "sample_stats", "key_sample_stats"})


class Dataset(Model):
    """A dataset; its id and name are empty, and other fields None, if the service left them out."""

    dataset_id = Field(to_name)
    dataset_name = Field(to_name)
    dataset_type = Field(DatasetType.read)
    status = Field(DatasetStatus.read)
    description = Field(to_text)
    create_time = Field(to_integer)
    update_time = Field(to_integer)
    unconfirmed_sample_count = Field(to_integer)
    deleted_sample_count = Field(to_integer)
    work_path = Field(to_text)
    workspace_id = Field(to_text)
    exist_running_task = Field(to_flag)
    exist_workforce_task = Field(to_flag)

    @property
    def total_sample_count(self) -> int:
        """Samples in it, whatever their state."""
        return given(self, "total_sample_count")

    @property
    def annotated_sample_count(self) -> int:
        """Samples with final labels."""
        return given(self, "annotated_sample_count")

    @property
    def running_task_ids(self) -> tuple[str, ...]:
        """Labeling tasks that run; filled only if asked for with ``running_task_type``."""
        ids = self.raw.get("running_tasks_id")
        return tuple(text for text in map(to_text, ids) if text) if isinstance(ids, list) else ()

    @property
    def is_normal(self) -> bool:
        """Whether nothing (publishing, import, synchronization ...) stands against working with it."""
        return self.status == DatasetStatus.NORMAL


class DatasetStats(Model):
    """Statistics of a dataset; the two counts of a label have nothing to do with each other."""

    @property
    def labels(self) -> tuple[LabelStats, ...]:
        """Counts for each label."""
        return tuple(LabelStats(one) for one in to_objects(self.raw.get("label_stats")))

    @property
    def samples(self) -> dict[str, int]:
        """Counts by state: ``un_annotation, manual_annotation, auto_annotation, all, total, deleted, lefted``."""
        return _counts(self.raw.get("sample_stats"))

    @property
    def key_samples(self) -> dict[str, int]:
        """Counts of hard examples: ``total, key_sample, non_key_sample``."""
        return _counts(self.raw.get("key_sample_stats"))


def _counts(value: object) -> dict[str, int]:
    numbers = {name: to_integer(one) for name, one in to_object(value).items()}
    return {name: number for name, number in numbers.items() if number is not None}


class Datasets:
    """Calls about datasets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, dataset_id: str, *, running_task_type: int | None = None) -> Dataset:
        """Return a dataset (contract 6.1).

        :param dataset_id: the dataset
        :param running_task_type: also ask which tasks of this kind run; 0 auto-label, 1 pre-label, 7 auto-grouping
        :raises NotFound: if the service does not know it
        """
        what = f"read dataset {validate_id('dataset_id', dataset_id)}"
        asked = running_task_type is not None
        query = {
            "check_running_task": "true" if asked else None,
            "running_task_type": str(running_task_type) if asked else None,
        }
        answer = self._transport.get(what, "datasets", dataset_id, query=query)
        return read(Dataset, checked_answer(answer, what, dataset_id=dataset_id), what)

    def list(self, *, search: str | None = None, dataset_type: int | None = None) -> Iterator[Dataset]:
        """Yield the datasets of the project, newest first (contract 6.1).

        :param search: only those with this text in their name
        :param dataset_type: only those of this type
        """
        query = {"search_content": search, "dataset_type": None if dataset_type is None else str(dataset_type)}
        listing = ListEndpoint(
            "list datasets", ("datasets",), Dataset, "datasets", "total_number", ("dataset_id",), query
        )
        return listing.walk(self._transport)

    def stats(self, dataset_id: str, *, sample_state: SampleState | str | None = None) -> DatasetStats:
        """Return the statistics of a dataset (contract 6.5).

        :param dataset_id: the dataset
        :param sample_state: count only samples in this state (contract 6.4)
        """
        what = f"read statistics of dataset {validate_id('dataset_id', dataset_id)}"
        query = {"sample_state": sample_state}
        answer: Any = self._transport.get(what, "datasets", dataset_id, "data-annotations", "stats", query=query)
        if not isinstance(answer, dict) or _STATISTICS.isdisjoint(answer):
            raise UnexpectedResponse(
                f"Cannot {what}: the answer has none of {', '.join(sorted(_STATISTICS))}. "
                "Check that endpoint is a ModelArts v2 API."
            )
        return read(DatasetStats, answer, what)
