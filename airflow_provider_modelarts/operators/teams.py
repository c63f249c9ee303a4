"""The operator that writes labels into a team labeling task."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_modelarts.client.errors import ConfirmationError, ModelArtsError
from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.hooks.task_state import TaskKey
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._kill import WriteGate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from airflow_provider_modelarts.client import SampleOutcome

# Samples in one request, and samples named in an error.
_BATCH = 100
_NAMED = 10


class ModelArtsUpdateTeamSamplesOperator(BaseOperator):
    """Write labels into samples of a team labeling task (contract 5.2). The labels must exist in the dataset.

    A write replaces all labels of a sample; it may be repeated. Returns the counts ``samples, updated, failed, unknown,
    requests``, which are stored before anything is raised.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team labeling task (templated)
    :param samples: list of dicts with ``sample_id``, ``labels`` and, to name whose copy is meant, ``worker_id``; or its
        JSON text (templated)
    :param samples_uri: instead of ``samples`` a file of them, as a JSON list or one JSON object in each line
        (templated)
    :param worker_email: e-mail address of the team member on whose behalf it is done; None: the caller (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises ConfirmationError: if the service refused samples, or does not say what became of them
    :raises AirflowFailException: for what no retry can mend
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "workforce_task_id",
        "samples",
        "samples_uri",
        "worker_email",
        "modelarts_conn_id",
        "project_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"samples": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str,
        samples: list[dict[str, Any]] | str | None = None,
        samples_uri: str | None = None,
        worker_email: str | None = None,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.samples = samples
        self.samples_uri = samples_uri
        self.worker_email = worker_email
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self._gate: WriteGate | None = None
        if (samples is None) == (samples_uri is None):
            raise ParameterError("Give either samples or samples_uri.")
        parameters.check_constants(
            {
                "dataset_id": (dataset_id, parameters.identifier),
                "workforce_task_id": (workforce_task_id, parameters.identifier),
                "samples": (samples, parameters.optional(parameters.samples)),
                "samples_uri": (samples_uri, parameters.optional(parameters.identifier)),
                "worker_email": (worker_email, parameters.optional(parameters.identifier)),
                "modelarts_conn_id": (modelarts_conn_id, parameters.identifier),
                "project_id": (project_id, parameters.optional(parameters.identifier)),
            }
        )

    def execute(self, context: Context) -> dict[str, int]:
        """Write the labels; see the class."""
        with permanent_errors_fail_at_once():
            dataset_id = parameters.identifier("dataset_id", self.dataset_id)
            workforce_task_id = parameters.identifier("workforce_task_id", self.workforce_task_id)
            samples = self._samples()
            outcomes: list[SampleOutcome] = []
            try:
                for answers in self._write(dataset_id, workforce_task_id, samples, context):
                    outcomes.extend(answers)
                self._check(samples, outcomes, dataset_id, workforce_task_id)
            except ModelArtsError:
                if self.do_xcom_push:
                    context["ti"].xcom_push(key="return_value", value=_counts(samples, outcomes))
                raise
            self.log.info("Updated %d samples of team labeling task %s.", len(outcomes), workforce_task_id)
            return _counts(samples, outcomes)

    def on_kill(self) -> None:
        """Let no further write out if a user ended or cleared the Airflow task."""
        if self._gate is not None:
            self._gate.close_if_ended()

    def _samples(self) -> list[dict[str, Any]]:
        if self.samples_uri is None:
            return parameters.samples("samples", self.samples)
        uri = parameters.identifier("samples_uri", self.samples_uri)
        return parameters.samples("samples_uri", _read(uri))

    def _write(
        self, dataset_id: str, workforce_task_id: str, samples: list[dict[str, Any]], context: Context
    ) -> Iterator[Sequence[SampleOutcome]]:
        """Write batch by batch, and yield what became of each."""
        email = parameters.optional(parameters.identifier)("worker_email", self.worker_email)
        client = parameters.hook(self).client
        self._gate = gate = WriteGate(TaskKey.of(context["ti"]), self.log)
        for start in range(0, len(samples), _BATCH):
            if gate.is_closed():
                raise ConfirmationError(
                    f"Stopped after {start} of {len(samples)} samples: a user ended the Airflow task."
                )
            yield client.team_samples.update(
                dataset_id, workforce_task_id, samples[start : start + _BATCH], email=email
            )

    def _check(
        self,
        samples: list[dict[str, Any]],
        outcomes: Sequence[SampleOutcome],
        dataset_id: str,
        workforce_task_id: str,
    ) -> None:
        """Raise unless every sample was written."""
        bad = [outcome for outcome in outcomes if not outcome.ok]
        if not bad:
            return
        reasons = Counter(
            f"{one.error_code or 'unknown'}: {one.error_msg or 'the service does not say'}" for one in bad
        )
        said = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(_NAMED))
        names = ", ".join(one.sample_id for one in bad[:_NAMED])
        raise ConfirmationError(
            f"{len(bad)} of {len(samples)} samples of team labeling task {workforce_task_id}, dataset {dataset_id}, "
            f"were not updated: {said}. First: {names}. Mend them and run the task again: repeating does no harm."
        )


def _counts(samples: Sequence[Any], outcomes: Sequence[SampleOutcome]) -> dict[str, int]:
    """Return what goes into XCom: counts, no samples (B19)."""
    by_fate = Counter(outcome.ok for outcome in outcomes)
    return {
        "samples": len(samples),
        "updated": by_fate[True],
        "failed": by_fate[False],
        "unknown": by_fate[None],
        "requests": -(-len(outcomes) // _BATCH),
    }


def _read(uri: str) -> list[Any]:
    """Return what a file holds: a JSON list, or one JSON value in each line."""
    from airflow.sdk import ObjectStoragePath

    try:
        text = ObjectStoragePath(uri).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ParameterError(f"samples_uri {uri} cannot be read: {type(error).__name__}.") from error
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise ParameterError(f"samples_uri {uri} holds neither a JSON list nor a JSON object in each line.") from error
