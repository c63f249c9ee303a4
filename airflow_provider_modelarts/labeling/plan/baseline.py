"""The earlier plan that a new one is compared with, and the comparison while the new one is made."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.drift import Drift, Flips, ProposalCounts, compare, most_frequent
from airflow_provider_modelarts.labeling.plan.lines import PlanNotes, PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, read_plan
from airflow_provider_modelarts.labeling.sample_facts import facts_of_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.labeling.policy import ConfirmPolicy, OnDrift
    from airflow_provider_modelarts.labeling.sample_facts import SampleFacts
    from airflow_provider_modelarts.labeling.sample_table import PlanIndex
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

_MASK_64 = 0xFFFF_FFFF_FFFF_FFFF


class BaselineRefused(PlanRefused):
    """The plan to compare with is not one that a new plan can be compared with."""


class Baseline:
    """An earlier plan: its counts, and by sample what it proposed, in about 35 bytes a proposal.

    :param plan: the plan
    :raises BaselineRefused: if it keeps no counts, as plans of older versions
    """

    def __init__(self, plan: Plan) -> None:
        counts = plan.counts_of_new
        if counts is None:
            raise BaselineRefused(
                f"The plan {plan.uri} was made by an older version, which kept no counts to compare with. Name a plan "
                "that this version has made as baseline_plan_uri, or leave max_drift out for one run."
            )
        self.plan = plan
        self.counts = counts
        self.since: PlanIndex | None = None
        """What a later plan proposed, which is not new either: what it left to people are doubtful samples."""
        self._names = array("Q")
        self._first = array("I")
        self._codes: dict[str, int] = {}
        for row, _ in plan.samples():
            names = facts_of_row(row).names
            self._names.append(_mark(names))
            self._first.append(self._codes.setdefault(names[0] if names else "", len(self._codes)))
        self._labels = list(self._codes)

    @property
    def flips(self) -> Flips | None:
        """What that plan had found of its own earlier one; None if it had none."""
        drift = self.plan.drift
        return None if drift is None or drift.baseline_uri is None else drift.flips

    def position(self, sample_id: str) -> int | None:
        """Return the place of a sample in the plan; None if it was not proposed then."""
        found = self.plan.index.find(sample_id)
        return None if found is None else found[1]

    def is_new(self, sample_id: str) -> bool:
        """Whether a sample is proposed for the first time."""
        return self.position(sample_id) is None and (self.since is None or sample_id not in self.since)

    def has_names(self, position: int, names: list[str]) -> bool:
        """Whether the sample at a place was proposed with just these label names."""
        return self._names[position] == _mark(names)

    def first_label(self, position: int) -> str:
        """Return the first label that the sample at a place was proposed with; empty: none."""
        return self._labels[self._first[position]]


def proposed_anything_new(plan: Plan) -> bool:
    """Whether a plan proposed samples for the first time, or may have: only those are compared."""
    counts = plan.counts_of_new
    return counts is None or counts.total > 0


def read_baseline(path: StoragePath, **asked: object) -> Baseline:
    """Read the plan to compare with.

    :param path: where it is
    :param asked: ``dataset_id``, ``filters``, ``first_label`` of the new plan: other proposals have other shares
    :raises BaselineRefused: if it is of other proposals, has no new ones, or keeps no counts
    :raises PlanRefused: if it is not there, not complete or altered
    """
    plan = read_plan(path)
    differing = plan.differs_in(**asked)
    if differing:
        raise BaselineRefused(
            f"The plan {plan.uri} cannot be compared with: it was made for another {' and '.join(differing)}. Nothing "
            "was written. Correct baseline_plan_uri, or leave it out to compare with the plan that was applied last."
        )
    if not proposed_anything_new(plan):
        raise BaselineRefused(
            f"The plan {plan.uri} cannot be compared with: no sample was proposed in it for the first time. Nothing "
            "was written. Correct baseline_plan_uri, or leave it out to compare with the plan that was applied last."
        )
    return Baseline(plan)


class Comparison:
    """Counts proposals while a plan is made of them, and compares them with an earlier plan.

    :param policy: says whether they are compared, and what an alarm does
    :param baseline: the earlier plan; None: there is none
    """

    def __init__(self, policy: ConfirmPolicy | None, baseline: Baseline | None) -> None:
        self._policy = policy
        self._baseline = baseline
        self._counts = ProposalCounts()
        self._fresh = ProposalCounts()
        """Of the samples that the earlier plan did not have."""
        self._samples = self._changed = 0
        self._changes: Counter[tuple[str, str]] = Counter()

    def add(self, facts: Sequence[SampleFacts]) -> None:
        """Take in proposals."""
        self._counts.add(facts)
        baseline = self._baseline
        if baseline is None:
            return
        fresh = []
        for one in facts:
            position = baseline.position(one.sample_id)
            if position is None:
                if baseline.is_new(one.sample_id):
                    fresh.append(one)
            elif one.oddity is None:
                self._samples += 1
                if not baseline.has_names(position, one.names):
                    self._changed += 1
                    self._changes[baseline.first_label(position), one.names[0] if one.names else ""] += 1
        self._fresh.add(fresh)

    def notes(self) -> PlanNotes:
        """Return what the plan is to keep, once all proposals were taken in."""
        policy, baseline = self._policy, self._baseline
        if policy is None or policy.max_drift is None:
            return PlanNotes(self._counts)
        if baseline is None:
            return PlanNotes(self._counts, drift=Drift(policy.on_drift))
        return PlanNotes(self._counts, self._fresh, self._drift(policy.on_drift, policy.max_drift, baseline))

    def _drift(self, action: OnDrift, max_drift: float, baseline: Baseline) -> Drift:
        flips = Flips(self._samples, self._changed, most_frequent(self._changes))
        shifts = compare(
            baseline.counts,
            self._fresh,
            max_drift,
            flips_before=baseline.flips,
            flips=flips,
        )
        return Drift(
            action,
            baseline_uri=baseline.plan.uri,
            baseline_digest=baseline.plan.digest,
            before=baseline.counts.total,
            now=self._fresh.total,
            compared=len(shifts),
            labels_psi=next((shift.psi for shift in shifts if shift.what == "labels"), 0.0),
            moved=tuple(shift for shift in shifts if shift.has_moved),
            flips=flips,
        )


def _mark(names: list[str]) -> int:
    """Return 64 bits for a set of label names; they are compared within this process only."""
    return hash(tuple(sorted(set(names)))) & _MASK_64
