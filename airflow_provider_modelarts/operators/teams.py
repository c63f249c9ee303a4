"""The operator that writes labels into a team labeling task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.team_samples import parse_team_samples, update_team_samples
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._base import StoppableOperator
from airflow_provider_modelarts.utils.worker_thread import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.labeling.team_samples import TeamResult
    from airflow_provider_modelarts.operators._templates import Readers

_READ: Readers = {
    "dataset_id": parameters.identifier,
    "workforce_task_id": parameters.identifier,
    "samples": parameters.optional(lambda _, value: parse_team_samples(value)),
    "samples_uri": parameters.optional(places.uri),
    "worker_email": parameters.optional(parameters.email),
    **parameters.CONNECTION,
}


class ModelArtsUpdateTeamSamplesOperator(StoppableOperator):
    """Write labels into samples of a team labeling task. The labels must exist in the dataset.

    A write replaces all labels of a sample, whichever it has by then. A retry, or a clear, writes all samples again,
    also those that a member has labeled since. All samples are checked before the first write.
    Returns the counts ``samples, updated, failed, unknown, requests``, which are pushed before anything is raised.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team labeling task (templated)
    :param samples: list of dicts with ``sample_id``, ``labels`` and, to name whose copy is meant, ``worker_id``; or its
        JSON text, or the outputs of mapped tasks (templated)
    :param samples_uri: instead of ``samples`` a file of them, as a JSON list or one JSON object in each line
        (templated)
    :param worker_email: e-mail address of the team member on whose behalf the labels are written; None: the caller
        (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ConfirmationError: if the service refused samples, or does not say what became of them
    :raises AirflowFailException: for errors that no retry can mend
    """

    template_fields: Sequence[str] = tuple(_READ)
    template_fields_renderers: ClassVar[dict[str, str]] = {"samples": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str,
        samples: Sequence[dict[str, Any]] | str | XComArg | None = None,
        samples_uri: places.AnyPlace | None = None,
        worker_email: str | None = None,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if worker_email is None:
            # Airflow uses it as the address of its alerts: the write would be the caller's, not the member's.
            parameters.refuse_taken_names(kwargs, email="worker_email")
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.samples = samples
        self.samples_uri = samples_uri
        self.worker_email = worker_email
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        with self.errors_of_making():
            if (samples is None) == (samples_uri is None):
                raise ParameterError("Give either samples or samples_uri.")
        self.check_parameters(_READ)

    def execute(self, context: Context) -> dict[str, int]:
        """Write the labels; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            client = parameters.hook(self).look_afresh().client
            dataset_id = parameters.identifier("dataset_id", self.dataset_id)
            workforce_task_id = parameters.identifier("workforce_task_id", self.workforce_task_id)
            email = parameters.optional(parameters.email)("worker_email", self.worker_email)
            samples = self.samples if self.samples_uri is None else _read_samples(self.samples_uri)
            stop = self.open_gate(context)
            done: list[TeamResult] = []

            def write() -> None:
                done.append(
                    update_team_samples(
                        client, dataset_id, workforce_task_id, samples, worker_email=email, should_stop=stop.is_set
                    )
                )

            try:
                run_in_thread(write, stop)
            except BaseException as error:
                # The alarm of execution_timeout is no Exception.
                self.push_result_after_error(error, context, done[0].to_xcom() if done else None)
                raise
            (result,) = done
            self.log.info("Team labeling task %s: %s", self.workforce_task_id, result.to_xcom())
            if result.failures:
                self.push_result(context, result.to_xcom())
            result.check()
            return result.to_xcom()


def _read_samples(samples_uri: Any) -> list[Any]:
    """Return what a file holds: a JSON list, or one JSON value in each line."""
    uri = places.uri("samples_uri", samples_uri)
    path = places.storage_path("samples_uri", uri)
    with places.storage_errors("samples_uri", uri, "read"):
        data = path.read_bytes()
    try:
        text = data.decode("utf-8")
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise ParameterError(f"samples_uri {uri} holds neither a JSON list nor a JSON object in each line.") from error
