"""Confirms proposals: by a stored plan, or deciding page by page; with or without a ledger (B13 to B18)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.client.validation import validate_scores
from airflow_provider_modelarts.labeling.apply.run import ConfirmationRun
from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget, Recorder
from airflow_provider_modelarts.labeling.plan.builder import checked_label, make_plan
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, read_plan
from airflow_provider_modelarts.labeling.policy import ConfirmPolicy, decide_by, parse_policy
from airflow_provider_modelarts.labeling.proposals.dataset import DatasetProposals
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
from airflow_provider_modelarts.labeling.results import ConfirmationResult, with_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.results import Progress
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

__all__ = ["LedgerTarget", "confirm"]

MAX_CONCURRENCY = 64


def confirm(
    client: ModelArtsClient,
    dataset_id: str,
    *,
    policy: ConfirmPolicy | dict[str, Any] | str | None = None,
    label_name: str | None = None,
    low_score: float | str | None = None,
    high_score: float | str | None = None,
    first_label: str | None = None,
    batch_size: int | str = 100,
    concurrency: int | str = 8,
    preview: bool = False,
    plan: Plan | StoragePath | None = None,
    ledger: LedgerTarget | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = system_clock,
) -> ConfirmationResult:
    """Make the labels final that the machine proposed and the policy accepts.

    Safe to run again at any moment (B17): what is confirmed has left the list, and a proposal is written only as a
    read of the last 30 seconds showed it.

    With ``plan`` or ``ledger`` all decisions are stored before the first write, and a later try applies the very same
    plan: its guards judge the whole again, not what is left of it. Without either place a policy with a guard is held
    against everything that is proposed, in memory, each time.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param policy: what may be confirmed, see :class:`ConfirmPolicy`; None: everything that has labels, or what the
        plan says
    :param label_name: only proposals with this label; a sample is confirmed with all its labels nevertheless
    :param low_score: only proposals with at least this score, 0 to 1, as the service's list filters them
    :param high_score: only proposals with at most this score
    :param first_label: only proposals whose first label has this name: tasks that each take one label of a dataset
        share it without overlap
    :param batch_size: samples per write; a page of 100 is the most that is written at once
    :param concurrency: requests under way at once, 1 to 64; fewer while the service throttles
    :param preview: decide about everything and hold the guards, but write and store nothing; ``confirmed`` is what
        would be confirmed, were it not for a guard that does not hold
    :param plan: the plan to apply, or the place where it is; if nothing is there, it is made and stored there first
    :param ledger: where to record what is written; the plan is stored there too unless it has a place of its own
    :param on_progress: called every few seconds and at the end
    :param should_stop: asked before every write and while waiting, in any thread; once true no further write goes out
    :param clock: the client's
    :return: the counts. Samples that failed do not raise: see :func:`airflow_provider_modelarts.labeling.results.check`
    :raises InvalidPolicy: for a policy that cannot be understood, before anything is sent
    :raises InvalidRequest: for another parameter that is wrong, before anything is sent
    :raises PlanRefused: if the plan is damaged, or was made for something else than is asked for
    :raises LedgerBroken: if what earlier tries recorded cannot be trusted; nothing was written
    :raises GuardFailed: if a guard of the policy does not hold; nothing was written
    :raises ModelArtsError: for what ends the run early. What had been done by then is attached (``result_of``)
    """
    label_name = checked_label("label_name", label_name)
    first_label = checked_label("first_label", first_label)
    asked = _Asked(
        client=client,
        dataset_id=dataset_id,
        policy=parse_policy(policy),
        filters=_filters(first_label if label_name is None else label_name, low_score, high_score),
        first_label=first_label,
        batch_size=_whole_number("batch_size", batch_size),
        concurrency=_whole_number("concurrency", concurrency, MAX_CONCURRENCY),
        on_progress=on_progress,
        should_stop=should_stop,
        clock=clock,
    )
    if None not in (label_name, first_label) and label_name != first_label:
        raise InvalidRequest("Give label_name or first_label, not both: they name different labels.")
    with closing(WorkerPool(asked.concurrency)) as crew:
        is_own = plan is None and ledger is not None
        place = ledger.identity.plan_path(ledger.root) if plan is None and ledger is not None else plan
        if preview:
            found = _found(place)
            if found is not None:
                _check_plan(asked, found, is_own=is_own)
            return _preview(asked, found, crew)
        stored = _plan(asked, place, crew, is_own=is_own)
        if stored is None:
            return _decide_and_write(asked, crew)
        return _apply(asked, stored, ledger, crew)


@dataclass(frozen=True)
class _Asked:
    """What the caller asked for, checked."""

    client: ModelArtsClient
    dataset_id: str
    policy: ConfirmPolicy | None
    filters: dict[str, Any]
    first_label: str | None
    batch_size: int
    concurrency: int
    on_progress: Callable[[Progress], None] | None
    should_stop: Callable[[], bool] | None
    clock: Clock

    def confirming(
        self, crew: WorkerPool, plan: Plan | None = None, recorder: Recorder | None = None
    ) -> ConfirmationRun:
        """Return a confirmation that decides by the plan, or else by the policy."""
        decide = decide_by(self.policy, self.filters)
        filters, first_label = self.filters, self.first_label
        if plan is not None:
            # It holds the labels that were decided upon whatever the filters; where it is for a part, so is the walk.
            decide, filters, first_label = plan.decide, dict(plan.header.filters), plan.header.first_label
        return ConfirmationRun(
            DatasetProposals(self.client, self.dataset_id, self.clock, filters, concurrency=self.concurrency),
            decide,
            crew,
            batch_size=self.batch_size,
            first_label=first_label,
            on_progress=self.on_progress,
            should_stop=self.should_stop,
            recorder=recorder,
        )


def _preview(asked: _Asked, plan: Plan | None, crew: WorkerPool) -> ConfirmationResult:
    run = asked.confirming(crew, plan)
    try:
        run.preview()
        if plan is not None:
            plan.check_guards()  # those of the whole plan, as when it is applied
        elif asked.policy is not None:
            run.check_guards(asked.policy)
    except ModelArtsError as error:
        with_result(error, run.result(preview=True))
        raise
    return run.result(preview=True, plan_uri=None if plan is None else plan.uri)


def _decide_and_write(asked: _Asked, crew: WorkerPool) -> ConfirmationResult:
    run = asked.confirming(crew)
    try:
        if asked.policy is not None and asked.policy.has_guards:
            run.check_guards_first(asked.policy)
        run.apply()
    except ModelArtsError as error:
        with_result(error, run.result())
        raise
    finally:
        run.stop_writes()
    return run.result()


def _apply(asked: _Asked, plan: Plan, ledger: LedgerTarget | None, crew: WorkerPool) -> ConfirmationResult:
    try:
        plan.check_guards()
    except ModelArtsError as error:
        with_result(error, _unwritten(plan))
        raise
    recorder = None if ledger is None else Recorder(ledger, plan, asked.clock)
    run = asked.confirming(crew, plan, recorder)
    uris: dict[str, Any] = {"plan_uri": plan.uri, "ledger_uri": None if recorder is None else recorder.uri}
    is_complete = False
    try:
        try:
            if recorder is not None:
                recorder.begin()
            run.apply()
            is_complete = True
        except ModelArtsError:
            # All that was under way has been noted; after any other error that is not sure.
            is_complete = True
            raise
        finally:
            # Whatever ended it: no thread may write any more when its chain is closed.
            run.stop_writes()
            crew.close()
            if recorder is not None:
                recorder.close(is_complete=is_complete)
    except Exception as error:
        with_result(error, run.result(**uris))
        raise
    return run.result(**uris)


def _plan(asked: _Asked, plan: Plan | StoragePath | None, crew: WorkerPool, *, is_own: bool) -> Plan | None:
    """Return the plan to apply: the one that is there, else a new one.

    Where two tries make one at once, the first that is stored counts for both.
    """
    if plan is None:
        return None
    stored = _found(plan)
    if stored is None and not isinstance(plan, Plan):
        stored = make_plan(
            asked.client,
            asked.dataset_id,
            plan,
            policy=asked.policy,
            filters=asked.filters,
            first_label=asked.first_label,
            keep=_counts_when_first,
            crew=crew,
            on_progress=asked.on_progress,
            should_stop=asked.should_stop,
            clock=asked.clock,
        ).plan
    if stored is not None:
        _check_plan(asked, stored, is_own=is_own)
    return stored


def _counts_when_first(plan: Plan) -> bool:
    """Whether a plan that another try has stored meanwhile is to be applied; what is wrong with it shows later."""
    del plan
    return True


def _found(plan: Plan | StoragePath | None) -> Plan | None:
    """Return the plan that is given or stored already; None if there is none."""
    if plan is None or isinstance(plan, Plan):
        return plan
    return read_plan(plan) if plan.exists() else None


def _check_plan(asked: _Asked, plan: Plan, *, is_own: bool) -> None:
    """Refuse a plan for something else than is asked for.

    :param is_own: it is the caller's own, for all tries: then it must be for all that is asked, and not only for what
        is given with it
    """
    said: dict[str, object] = {"dataset_id": asked.dataset_id}
    if is_own or asked.policy is not None:
        said["policy"] = asked.policy
    if is_own or asked.filters:
        said |= {"filters": asked.filters, "first_label": asked.first_label}
    plan.check_made_for(**said)


def _unwritten(plan: Plan) -> ConfirmationResult:
    """Return the counts of a plan that is not applied."""
    planned = plan.result()
    return replace(planned, left=planned.left + planned.confirmed, confirmed=0, by_label={}, preview=False)


def _filters(label_name: str | None, low_score: float | str | None, high_score: float | str | None) -> dict[str, Any]:
    """Return the filters to send."""
    low, high = validate_scores(low_score, high_score)
    filters = {
        "label_name": label_name,
        "low_score": None if low is None else float(low),
        "high_score": None if high is None else float(high),
    }
    return {name: value for name, value in filters.items() if value is not None}


def _whole_number(name: str, value: int | str, most: int | None = None) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or number < 1 or (most is not None and number > most):
        upto = f" to {most}" if most is not None else ""
        raise InvalidRequest(f"{name} must be a whole number from 1{upto}, not {value!r}.")
    return number
