"""Confirms proposals: by a stored plan, or deciding page by page; with or without a ledger (B13 to B18)."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.labeling.apply.request import MAX_CONCURRENCY, ConfirmationRequest
from airflow_provider_modelarts.labeling.apply.run import ConfirmationRun
from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget, Recorder
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, read_plan
from airflow_provider_modelarts.labeling.policy import InvalidPolicy, decide_rows_by
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
from airflow_provider_modelarts.labeling.stop_signal import StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.results import ConfirmationResult, Progress
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

log = logging.getLogger(__name__)

__all__ = ["MAX_CONCURRENCY", "Confirmation", "ConfirmationRequest", "LedgerTarget", "confirm"]


def confirm(
    client: ModelArtsClient,
    dataset_id: str,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = system_clock,
    **parameters: Any,
) -> ConfirmationResult:
    """Make the labels final that the machine proposed and the policy accepts.

    Safe to run again at any moment: what is confirmed has left the list, and a proposal is written only as a read of
    the last 30 seconds showed it.

    With ``plan`` or ``ledger`` all decisions are stored before the first write, and a later try applies the very same
    plan: its guards judge the whole again, not what is left of it. Without either place a policy with a guard is
    checked against everything that is proposed, in memory, each time.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param on_progress: called every few seconds and at the end
    :param should_stop: asked before every write and while waiting, in any thread; once true no further write goes out
    :param clock: the client's
    :param parameters: policy, filters and the other parameters of :class:`ConfirmationRequest`; a policy may be a dict
        or JSON, and a number may be a text
    :return: the counts. Samples that failed do not raise: see :func:`airflow_provider_modelarts.labeling.results.check`
    :raises InvalidPolicy: for a policy that cannot be understood, before anything is sent
    :raises InvalidRequest: for another parameter that is wrong, before anything is sent
    :raises PlanRefused: if the plan is damaged, or was made for something else than is asked for
    :raises LedgerBroken: if what earlier tries recorded cannot be trusted; nothing was written
    :raises GuardFailed: if a guard of the policy does not hold; nothing was written
    :raises ModelArtsError: for what ends the run early. :class:`Confirmation` has the counts nevertheless
    """
    request = ConfirmationRequest.checked(dataset_id, **parameters)
    return Confirmation(client, request, on_progress=on_progress, stop=StopSignal(should_stop), clock=clock).run()


class Confirmation:
    """What :func:`confirm` runs; its counts can be read whatever ended it.

    :param client: speaks to the service
    :param request: what is asked for
    :param on_progress: called every few seconds and at the end
    :param stop: once it is set no further write goes out; it is set at the end
    :param clock: the client's
    """

    def __init__(
        self,
        client: ModelArtsClient,
        request: ConfirmationRequest,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        stop: StopSignal | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._client = client
        self._request = request
        self._on_progress = on_progress
        self._stop = StopSignal() if stop is None else stop
        self._clock = clock
        self._run: ConfirmationRun | None = None
        self._uris: dict[str, str] = {}
        self._unapplied: Plan | None = None
        """The plan whose guards do not hold."""
        self._has_ended = False

    def run(self) -> ConfirmationResult:
        """Confirm, once; returns and raises what :func:`confirm` does."""
        try:
            with closing(WorkerPool(self._request.concurrency)) as pool:
                run = self._confirm(pool)
        finally:
            self._stop.abort()
            self._has_ended = True
        return self._result_of(run)

    def result(self) -> ConfirmationResult | None:
        """Return the counts, also those of a run that an error ended; None while it runs, or if it read no list."""
        if not self._has_ended:
            return None
        if self._unapplied is not None:
            planned = self._unapplied.result()
            left = planned.left + planned.confirmed
            return replace(planned, left=left, confirmed=0, by_label={}, preview=False)
        return None if self._run is None else self._result_of(self._run)

    def _result_of(self, run: ConfirmationRun) -> ConfirmationResult:
        return replace(run.result(), **self._uris)  # type: ignore[arg-type]

    def _confirm(self, pool: WorkerPool) -> ConfirmationRun:
        request, place = self._request, self._request.plan
        _check_decidable(request)
        is_own = place is None and request.ledger is not None
        if place is None and request.ledger is not None:
            place = request.ledger.identity.plan_path(request.ledger.root)
        plan = _found(place)
        if plan is None and place is not None and not isinstance(place, Plan) and not request.preview:
            plan = self._make_plan(place, pool)
        if plan is None:
            _check_no_drift_is_asked(request)
        else:
            _check_plan(request, plan, is_own=is_own)
            _check_proven(plan)
            self._uris["plan_uri"] = plan.uri
        if request.preview:
            return self._preview(plan, pool)
        return self._decide_and_write(pool) if plan is None else self._apply(plan, pool)

    def _make_plan(self, path: StoragePath, pool: WorkerPool) -> Plan:
        """Make the plan; where two tries make one at once, the first that is stored counts for both."""
        return make_plan(
            self._client,
            path=path,
            **self._request.plan_terms,
            keep=lambda _: True,  # what is wrong with the other one shows later
            baseline=self._request.baseline,
            crew=pool,
            on_progress=self._on_progress,
            should_stop=self._stop.is_requested,
            clock=self._clock,
        ).plan

    def _preview(self, plan: Plan | None, pool: WorkerPool) -> ConfirmationRun:
        run = self._begin(pool, plan)
        run.preview()
        if plan is not None:
            plan.check_guards()  # those of the whole plan, as when it is applied
        elif self._request.policy is not None:
            run.check_guards(self._request.policy)
        return run

    def _decide_and_write(self, pool: WorkerPool) -> ConfirmationRun:
        run, policy = self._begin(pool), self._request.policy
        try:
            if policy is not None and policy.has_guards:
                run.check_guards_first(policy)
            run.apply()
        finally:
            self._stop.abort()
        return run

    def _apply(self, plan: Plan, pool: WorkerPool) -> ConfirmationRun:
        try:
            plan.check_guards()
        except ModelArtsError:
            self._unapplied = plan
            raise
        recorder = None
        if self._request.ledger is not None:
            recorder = Recorder(self._request.ledger, plan, self._clock)
            self._uris["ledger_uri"] = recorder.uri
        run = self._begin(pool, plan, recorder)
        is_complete = False
        try:
            if recorder is not None:
                recorder.begin()
            run.apply()
            is_complete = True
        except ModelArtsError:
            # All that was in flight has been noted; after any other error that is not sure.
            is_complete = True
            raise
        finally:
            # No thread may write any more when the ledger's chain is closed.
            self._stop.abort()
            pool.close()
            if recorder is not None:
                recorder.close(is_complete=is_complete)
        return run

    def _begin(self, pool: WorkerPool, plan: Plan | None = None, recorder: Recorder | None = None) -> ConfirmationRun:
        """Return the run that decides by the plan, or else by the policy."""
        request, planned = self._request, None
        filters, decide = request.filters, decide_rows_by(request.policy, request.filters)
        if plan is not None:
            # It knows the labels decided upon whatever the filters; a plan for a part of the list reads that part.
            request = replace(request, first_label=plan.header.first_label)
            filters, decide = dict(plan.header.filters), plan.decide_rows
            # What meets a condition may change until then, "day" does at midnight: the plan knows whom it meant.
            if filters.pop("search_conditions", None) is not None:
                planned = plan.index
        proposals = DatasetProposals(
            self._client,
            request.dataset_id,
            self._clock,
            filters,
            concurrency=request.concurrency,
            stop=self._stop,
        )
        self._run = ConfirmationRun(
            proposals,
            request,
            decide,
            pool,
            stop=self._stop,
            planned=planned,
            on_progress=self._on_progress,
            recorder=recorder,
        )
        return self._run


def _found(plan: Plan | StoragePath | None) -> Plan | None:
    """Return the plan that is given or stored already; None if there is none."""
    if plan is None or isinstance(plan, Plan):
        return plan
    return read_plan(plan) if plan.exists() else None


def _check_decidable(request: ConfirmationRequest) -> None:
    """Refuse a policy that decides by the whole list, or after people have answered, where there will be no plan."""
    policy = request.policy
    if policy is None or not policy.needs_plan or request.plan is not None:
        return
    if policy.target_precision is None and request.ledger is not None and not request.preview:
        return  # the plan is made beside the ledger
    name = "audit_size" if policy.target_precision is None else "target_precision"
    raise InvalidPolicy(f"A policy with {name} needs a plan. Nothing was written. Make the plan first, and apply that.")


def _check_proven(plan: Plan) -> None:
    """Refuse a plan with a target that no evidence has narrowed: by it nothing is known to be right."""
    if plan.is_candidate:
        raise PlanRefused(
            f"The policy of the plan {plan.uri} has target_precision, and the plan alone proves nothing. Nothing was "
            "written. Evaluate its audit, and confirm by the plan with that evidence."
        )


def _check_no_drift_is_asked(request: ConfirmationRequest) -> None:
    """Refuse to write without a plan where drift is to be judged: only a plan keeps what the next run compares with."""
    policy = request.policy
    if policy is None or policy.max_drift is None:
        return
    if not request.preview:
        raise InvalidRequest(
            "The policy's max_drift is judged when a plan is made, and neither plan nor ledger says where to store "
            "one. Nothing was written. Give either of them."
        )
    log.warning("The preview does not judge max_drift: that needs a stored plan.")


def _check_plan(request: ConfirmationRequest, plan: Plan, *, is_own: bool) -> None:
    """Refuse a plan for something else than is asked for; one of the task's own must be for all that is asked."""
    terms = request.plan_terms
    if not is_own and request.policy is None:
        del terms["policy"]
    if not is_own and not request.filters:
        del terms["filters"], terms["first_label"]
    plan.check_made_for(**terms)
