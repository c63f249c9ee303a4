"""Samples of a team labeling task: contract 5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.resources.samples import Sample, filters, sample_listing
from airflow_provider_modelarts.client.sample_updates import OWN, labeled_elements, send_updates
from airflow_provider_modelarts.client.validation import validate_email, validate_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.sample_updates import SampleOutcome
    from airflow_provider_modelarts.client.states import SampleState
    from airflow_provider_modelarts.client.transport.transport import Transport


class TeamSamples:
    """Calls about the samples that a team works on; each member may have a copy of its own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        dataset_id: str,
        workforce_task_id: str,
        *,
        sample_state: SampleState | str | None = None,
        label_name: str | None = None,
        label_type: int | None = None,
        search_conditions: Any = None,
        process_parameter: str | None = None,
    ) -> Iterator[Sample]:
        """Yield the samples of a team task; ``worker_id`` tells whose copy it is.

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task
        :param sample_state: only in this state (contract 6.4)
        :param label_name: only with this label
        :param label_type: only with labels of this type
        :param search_conditions: conditions of contract 3.1, one or a list, all of which must hold
        :param process_parameter: image processing for the addresses in the answer
        """
        query = filters(label_name, label_type, None, None, None, search_conditions, process_parameter)
        query["sample_state"] = sample_state
        what = f"list samples of {_team_task(dataset_id, workforce_task_id)}"
        # each member has a copy of the same sample
        keys = ("sample_id", "worker_id")
        return sample_listing(what, _path(dataset_id, workforce_task_id), query, keys).walk(self._transport)

    def update(
        self,
        dataset_id: str,
        workforce_task_id: str,
        samples: Iterable[Sample | Mapping[str, Any]],
        *,
        email: str | None = None,
    ) -> Sequence[SampleOutcome]:
        """Replace the labels of samples in a team task; labels must exist in the dataset (contract 5.2).

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task
        :param samples: as for ``samples.update``; ``worker_id`` says whose copy
        :param email: the member on whose behalf
        :return: an outcome per sample, in the same order
        :raises InvalidRequest: for samples without labels, without id, or given twice, and for labels without the name
            that all but those of speech (types 201, 202) need; before anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        elements = labeled_elements(samples)
        body: dict[str, Any] = {"samples": elements}
        if email is not None:
            body["email"] = validate_email("email", email)
        what = f"write labels of {len(elements)} samples of {_team_task(dataset_id, workforce_task_id)}"
        path = _path(dataset_id, workforce_task_id)
        return send_updates(elements, lambda: self._transport.write("PUT", what, *path, body=body, own=OWN))


def _team_task(dataset_id: str, workforce_task_id: str) -> str:
    task_id = validate_id("workforce_task_id", workforce_task_id)
    return f"team task {task_id} of dataset {validate_id('dataset_id', dataset_id)}"


def _path(dataset_id: str, workforce_task_id: str) -> tuple[str, ...]:
    return ("datasets", dataset_id, "workforce-tasks", workforce_task_id, "data-annotations", "samples")
