"""Base classes of the operators that plan, confirm, revert and write team labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_modelarts.client.errors import (
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    UnexpectedResponse,
)
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.filters import FILTERS
from airflow_provider_modelarts.labeling.policy import nearest, parse_policy
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._observed import ObservedOperator
from airflow_provider_modelarts.operators._on_kill import WriteStop
from airflow_provider_modelarts.utils.observation import EVIDENCE, values_of
from airflow_provider_modelarts.utils.task_record import TaskIntent
from airflow_provider_modelarts.utils.task_state import TaskKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
    from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
    from airflow_provider_modelarts.labeling.results import ConfirmationResult, Progress
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal
    from airflow_provider_modelarts.labeling.undo.results import RevertResult

SUMMARY_XCOM = "summary"
"""XCom with a summary for people: Markdown of at most 8 KB, which fits the body of an approval (B19)."""

DIGEST_XCOM = "plan_digest"
"""XCom with the digest of a plan, 64 hex digits, by which the task that applies it insists on that very plan."""

REVIEW_XCOM = "modelarts_review"
"""XCom by which the review page finds a plan: of a task that plans where its plan is, of one that asks whose plan."""


SearchConditions = list[dict[str, Any]] | dict[str, Any] | str
"""Conditions of contract 3.1: a list of dicts, one dict, or either as JSON text."""


class StoppableOperator(ObservedOperator):
    """An operator that sends no further write once a user has ended or cleared its Airflow task."""

    _gate: WriteStop | None = None

    def on_kill(self) -> None:
        """Send no further write if a user ended or cleared the Airflow task."""
        if self._gate is not None:
            self._gate.close_if_ended()

    def open_gate(self, context: Context) -> StopSignal:
        """Begin to listen to ``on_kill``; return the signal that it sets."""
        self._gate = WriteStop(TaskKey.of(context["ti"]), self.log)
        return self._gate.signal

    def push_result(self, context: Context, result: Mapping[str, Any] | None, summary: str | None = None) -> None:
        """Push the counts, and the summary for people, before anything is raised: a failed Airflow task keeps them."""
        if not self.do_xcom_push:
            return
        if result is not None:
            context["ti"].xcom_push(key="return_value", value=result)
        if summary is not None:
            context["ti"].xcom_push(key=SUMMARY_XCOM, value=summary)

    def push_result_after_error(
        self, error: BaseException, context: Context, result: Mapping[str, Any] | None, summary: str | None = None
    ) -> None:
        """Push the counts of a failed run. If that fails, log it: the original error matters more."""
        try:
            self.push_result(context, result, summary)
        except Exception as failure:  # noqa: BLE001 - Airflow raises many kinds when its supervisor is gone
            self.log.warning("The counts of the run could not be pushed (%s). The run failed: %s", failure, error)

    def log_result(self, result: ConfirmationResult | RevertResult, failed: str) -> None:
        """Log the counts of a run, and its failures after such a word as "Not confirmed"."""
        self.log.info("%s%s", "Preview, nothing was written: " if result.preview else "", result)
        for failure in result.failures.values():
            self.log.warning("%s: %s", failed, failure)


# Errors that mean that the list of labels cannot be read. Others may pass, or concern more than the list.
_UNREADABLE = (PermissionDenied, NotFound, InvalidRequest, PreconditionFailed, UnexpectedResponse)

# Readers of the parameters that choose proposals.
_READ: dict[str, Callable[[str, Any], Any]] = {
    "dataset_id": parameters.identifier,
    "policy": lambda _, value: parse_policy(value),
    "label_name": parameters.optional(parameters.label),
    "first_label": parameters.optional(parameters.label),
    "label_type": parameters.optional(parameters.label_type),
    "low_score": parameters.optional(parameters.score),
    "high_score": parameters.optional(parameters.score),
    "search_conditions": parameters.optional(parameters.search_conditions),
}


class ProposalsOperator(StoppableOperator):
    """An operator for the proposals of a dataset that a policy and filters choose."""

    template_fields: Sequence[str] = (*_READ, *parameters.CONNECTION)

    def __init__(
        self,
        *,
        dataset_id: str,
        policy: dict[str, Any] | str | None,
        label_name: str | None,
        first_label: str | None,
        label_type: int | str | None,
        low_score: float | str | None,
        high_score: float | str | None,
        search_conditions: SearchConditions | None,
        modelarts_conn_id: str,
        project_id: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.policy = policy
        self.label_name = label_name
        self.first_label = first_label
        self.label_type = label_type
        self.low_score = low_score
        self.high_score = high_score
        self.search_conditions = search_conditions
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters({**_READ, **parameters.CONNECTION})

    def warn_if_empty(
        self, client: ModelArtsClient, result: ConfirmationResult, planned: Mapping[str, Any] | None = None
    ) -> None:
        """Warn if there were no proposals, or none to confirm: a misspelled label would go unnoticed.

        :param client: reads the labels, if a filter names one
        :param planned: the filters of the plan that was applied; None: the operator's own
        """
        if result.stopped:
            return
        if not result.seen:
            self._warn_of_unknown_label(client, result.dataset_id)
            given = {name: getattr(self, name) for name in FILTERS} if planned is None else planned
            filters = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
            self.log.warning(
                "Dataset %s has no proposals%s. Has a labeling task succeeded, and are all of them confirmed already?",
                result.dataset_id,
                f" with {filters}" if filters else "",
            )
        elif not result.confirmed and not result.failed:
            self.log.warning("%s", nothing_to_confirm(result))

    def _warn_of_unknown_label(self, client: ModelArtsClient, dataset_id: str) -> None:
        """Warn, naming the nearest label, if a filter names a label that the dataset does not have."""
        chosen = [name for name in (self.label_name, self.first_label) if name is not None]
        if not chosen:
            return
        try:
            known = _labels_of(client, dataset_id)
        except ModelArtsError:  # the warning is only a hint
            return
        for name in map(str, chosen):
            if name not in known:
                self.log.warning("Dataset %s has no label %r%s.", dataset_id, name, nearest(name, known))

    def observe_result(
        self,
        context: Context,
        hook: ModelArtsHook,
        operation: Literal["plan", "confirm"],
        result: ConfirmationResult,
        *,
        is_complete: bool = True,
        bounds: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell lineage, asset events and metrics of a plan or a confirmation; see :meth:`observe`.

        :param bounds: what evidence says of each label, if the confirmation rests on it
        """
        given = getattr(self, "plan_uri", None) if operation == "confirm" else None
        applied = result.plan_uri and places.uri("plan_uri", result.plan_uri)
        plans = {"plan": [given and places.uri("plan_uri", given)], "own_plan": [applied]}
        if plans["plan"] == plans["own_plan"]:  # else the task made it, or it is what an approval has left
            del plans["own_plan"]
        self.observe(
            context,
            hook,
            operation,
            [result.dataset_id],
            {**values_of(result), **({EVIDENCE: bounds} if bounds else {})},
            places={**plans, "ledger": [result.ledger_uri]},
            preview=operation == "confirm" and result.preview,
            is_complete=is_complete,
        )

    def check_labels(self, client: ModelArtsClient, request: ConfirmationRequest) -> None:
        """Refuse a policy that names a label which the dataset does not have; where that cannot be known, warn.

        :param client: reads the labels, if the policy names any
        :param request: what is asked for
        :raises InvalidPolicy: naming the label, and the nearest that there is
        """
        dataset_id, policy = request.dataset_id, request.policy
        if policy is None or not policy.named_labels:
            return
        try:
            known = _labels_of(client, dataset_id)
        except _UNREADABLE as error:
            self.log.warning(
                "The labels of dataset %s cannot be read, so that a misspelled name in the policy (%s) would not be "
                "noticed. %s",
                dataset_id,
                ", ".join(policy.named_labels),
                error,
            )
            return
        if known:
            policy.check_labels(known, dataset_id)
        else:
            self.log.warning(
                "Dataset %s lists no labels; those that the policy names (%s) are not checked.",
                dataset_id,
                ", ".join(policy.named_labels),
            )

    def report(self, progress: Progress) -> None:
        """Log the progress."""
        self.log.info("%s", progress)

    def request(self) -> ConfirmationRequest:
        """Return what the rendered parameters ask for."""
        from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest

        request = ConfirmationRequest(**self.read_parameters(_READ))
        low, high = request.low_score, request.high_score
        if low is not None and high is not None and low > high:
            raise ParameterError(f"low_score {low:g} is above high_score {high:g}: no proposal can score so.")
        if None not in (request.label_name, request.first_label):
            raise ParameterError("Give label_name or first_label, not both: either chooses by one label.")
        return request


def nothing_to_confirm(result: ConfirmationResult) -> str:
    """Return in one line why no proposal is confirmed."""
    reasons = (
        (result.review, "for review"),
        (result.left - result.changed_since_plan, "left alone"),
        (result.changed_since_plan, "not as they were planned"),
        (result.gone, "confirmed already by an earlier run or no longer proposed"),
    )
    why = ", ".join(f"{count} {text}" for count, text in reasons if count)
    verb = "would be" if result.preview else "was"
    return (
        f"Nothing {verb} confirmed of the {result.seen} proposals of dataset {result.dataset_id}"
        f"{f': {why}' if why else ''}."
    )


def _labels_of(client: ModelArtsClient, dataset_id: str) -> set[str]:
    return {label.name for label in client.labels.list(dataset_id) if label.name}


def identity_of(context: Context) -> RunIdentity:
    """Return which Airflow task this is; retries share its intent, a clear changes it (B1)."""
    from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity

    ti = context["ti"]
    return RunIdentity(*TaskKey.of(ti), ti.try_number, TaskIntent.of(context).marker)
