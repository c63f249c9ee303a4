"""Counts what the runs of a dataset came to, from plans and ledgers, and not from what tasks said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.ledger.reader import applied_plans, read_ledger, replay
from airflow_provider_modelarts.labeling.plan.summary import REASONS
from airflow_provider_modelarts.labeling.policy import different, facts_of_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_modelarts.labeling.drift import Drift, ProposalCounts
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

# What became of a sample that was to be confirmed, in the order of the report.
FATES: dict[str, str] = {
    "confirmed": "confirmed",
    "failed": "refused by the service",
    "gone": "no longer proposed",
    "changed": "changed since the plan",
    "unknown": "labeled, by whom is not known",
    "open": "not reached, or not recorded",
}


@dataclass
class RunQuality:
    """What one run came to.

    :param header: the first line of its ledger
    :param problem: why its plan or its ledger cannot be read, in one line; then there are no numbers. Empty: they can
    :param has_policy: whether its plan was made by a policy
    :param asked: the rules and filters of its plan
    :param counts: of the samples that its plan proposed for the first time; None: an older version made it
    :param drift: what was found when its plan was compared with an earlier one; None: that was not asked for
    :param proposals: how many its plan has
    :param evidence: what people's answers to its audit proved; None: its policy had no target
    :param evidence_problem: why the evidence cannot be read, in one line; empty if it can
    :param fates: of the samples that were to be confirmed, by :data:`FATES`
    :param confirmed: for each label name, how many confirmed samples carry it
    :param others: of the samples that were not to be confirmed: how many, by decision and rule
    :param hard: hard examples among the proposals
    :param reasons: for each reason of the service, how many of them have it
    """

    header: PartHeader
    problem: str = ""
    has_policy: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)
    counts: ProposalCounts | None = None
    drift: Drift | None = None
    proposals: int = 0
    evidence: Evidence | None = None
    evidence_problem: str = ""
    fates: Counter[str] = field(default_factory=Counter)
    confirmed: Counter[str] = field(default_factory=Counter)
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    hard: int = 0
    reasons: Counter[int] = field(default_factory=Counter)


def count_runs(
    ledger: StoragePath,
    dataset_id: str,
    read_applied: Callable[[PartHeader], Plan],
    *,
    read_evidence: Callable[[Plan], Evidence | None] = lambda _: None,
    runs: int = 10,
) -> tuple[RunQuality, ...]:
    """Count what the last runs of a dataset came to, the oldest first.

    :param ledger: the place of the ledger
    :param dataset_id: the dataset
    :param read_applied: returns the plan that a run applied; what it raises is noted as that run's problem if it is of
        this package
    :param read_evidence: returns the evidence that a plan was narrowed by, None if it was not; raises as that does
    :param runs: how many runs at most; a plan that was applied counts as one
    """
    latest = {(one.dag_id, one.run_id, one.plan_digest): one for one in reversed(applied_plans(ledger, dataset_id))}
    headers = sorted(latest.values(), key=lambda header: header.created_at)[-runs:]
    return tuple(_count(ledger, one, read_applied, read_evidence) for one in headers)


def _count(
    ledger: StoragePath,
    header: PartHeader,
    read_applied: Callable[[PartHeader], Plan],
    read_evidence: Callable[[Plan], Evidence | None],
) -> RunQuality:
    try:
        plan = read_applied(header)
        state = replay(plan, read_ledger(ledger, header.run_id))
    except ModelArtsError as error:
        return RunQuality(header, problem=error.message)
    run = RunQuality(
        header,
        has_policy=plan.policy is not None,
        asked=plan.asked,
        counts=plan.counts_of_new,
        drift=plan.drift,
        proposals=len(plan),
    )
    try:
        run.evidence = read_evidence(plan)
    except ModelArtsError as error:
        run.evidence_problem = error.message
    for row, decision in plan.samples():
        facts = facts_of_row(row)
        if decision.action == "confirm":
            fate = state.fate(row.sample_id) or "open"
            run.fates["open" if fate == "intended" else fate] += 1
            if fate == "confirmed":
                run.confirmed.update(different(facts.names))
        else:
            run.others[decision.action, decision.rule] += 1
        if facts.is_hard:
            run.hard += 1
            run.reasons.update(reason if reason in REASONS else -1 for reason in row.sample.hard_reasons)
    return run
