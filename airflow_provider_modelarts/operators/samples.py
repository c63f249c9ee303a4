"""The operator that makes a machine's proposals final."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.hooks.task_state import TaskKey
from airflow_provider_modelarts.labeling.policy import parse_policy
from airflow_provider_modelarts.labeling.result import check, result_of
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._kill import WriteGate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_modelarts.labeling.result import ConfirmationResult, Progress

OnPartialFailure = Literal["fail", "warn"]


class ModelArtsConfirmSamplesOperator(BaseOperator):
    """Confirm the machine's proposals of a dataset: write their labels back, which makes them final.

    Returns counts: ``seen, confirmed, review, left, failed, gone, changed_since_plan, passes, requests, seconds,
    plan_uri, ledger_uri, by_label``; they are stored before anything is raised. It may run again at any time: what is
    confirmed stays so, and what a person has labeled meanwhile is not touched.

    :param dataset_id: the dataset (templated)
    :param policy: rules that decide for each proposal, as a plain dict or its JSON text; see ``ConfirmPolicy``.
        None: confirm every proposal that has labels, hard examples too (templated)
    :param label_name: only proposals with this label (templated)
    :param low_score: only proposals that score at least this, 0 to 1 (templated)
    :param high_score: only proposals that score at most this, 0 to 1 (templated)
    :param batch_size: samples in one request; a page of 100 is the most that is written at once
    :param preview: decide and count, but write nothing
    :param on_partial_failure: ``fail``: raise if the service refused samples. ``warn``: log them and succeed
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises ConfirmationError: if samples failed, if the run was stopped, or if proposals are unaccounted for
    :raises AirflowFailException: for what no retry can mend
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "policy",
        "label_name",
        "low_score",
        "high_score",
        "modelarts_conn_id",
        "project_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"policy": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        policy: dict[str, Any] | str | None = None,
        label_name: str | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        batch_size: int = 100,
        preview: bool = False,
        on_partial_failure: OnPartialFailure = "fail",
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.policy = policy
        self.label_name = label_name
        self.low_score = low_score
        self.high_score = high_score
        self.batch_size = parameters.whole(1, 1000)("batch_size", batch_size)
        self.preview = parameters.flag("preview", preview)
        self.on_partial_failure = on_partial_failure
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self._gate: WriteGate | None = None
        parameters.check_constants(
            {
                "dataset_id": (dataset_id, parameters.identifier),
                "on_partial_failure": (on_partial_failure, parameters.choice("fail", "warn")),
                "policy": (policy, lambda _, value: parse_policy(value)),
                "label_name": (label_name, parameters.optional(parameters.label)),
                "low_score": (low_score, parameters.optional(parameters.score)),
                "high_score": (high_score, parameters.optional(parameters.score)),
                "modelarts_conn_id": (modelarts_conn_id, parameters.identifier),
                "project_id": (project_id, parameters.optional(parameters.identifier)),
            }
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Confirm the proposals; see the class."""
        from airflow_provider_modelarts.labeling.apply import confirm

        with permanent_errors_fail_at_once():
            request = self._request()
            self._gate = gate = WriteGate(TaskKey.of(context["ti"]), self.log)
            client = parameters.hook(self).client
            try:
                result: ConfirmationResult = confirm(
                    client, **request, on_progress=self._report, should_stop=gate.is_closed
                )
                self._tell(result)
                check(result, self.on_partial_failure)
            except ModelArtsError as error:
                self._keep(result_of(error), context)
                raise
            return result.to_xcom()

    def on_kill(self) -> None:
        """Let no further write out if a user ended or cleared the Airflow task."""
        if self._gate is not None:
            self._gate.close_if_ended()

    def _request(self) -> dict[str, Any]:
        """Return the rendered parameters as arguments of the call that confirms."""
        optional = parameters.optional
        low = optional(parameters.score)("low_score", self.low_score)
        high = optional(parameters.score)("high_score", self.high_score)
        if low is not None and high is not None and low > high:
            raise ParameterError(f"low_score {low:g} is above high_score {high:g}: no proposal can score so.")
        return {
            "dataset_id": parameters.identifier("dataset_id", self.dataset_id),
            "policy": parse_policy(self.policy),
            "label_name": optional(parameters.label)("label_name", self.label_name),
            "low_score": low,
            "high_score": high,
            "batch_size": self.batch_size,
            "preview": self.preview,
        }

    def _report(self, progress: Progress) -> None:
        self.log.info("%s", progress)

    def _tell(self, result: ConfirmationResult) -> None:
        self.log.info("%s%s", "Preview, nothing was written: " if self.preview else "", result)
        for failure in result.failures.values():
            self.log.warning("Not confirmed: %s", failure)

    def _keep(self, result: ConfirmationResult | None, context: Context) -> None:
        """Store what was done before an error is raised: a failed Airflow task keeps its counts."""
        if result is not None and self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=result.to_xcom())
