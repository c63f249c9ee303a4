"""Takes back planned confirmations before they are written: what a person rejected, or what no evidence supports.

The result is a plan of its own with the same proposals, in which some "confirm" became "review". It is stored and
applied as any plan, so guards judge what is left, and ledger, retries and undo need to know nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import shown
from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanWriter
from airflow_provider_modelarts.labeling.policy import Decision, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

LINES_AT_ONCE = 100

REJECTED_SAMPLE = Decision("review", "rejected_sample")
REJECTED_LABEL = Decision("review", "rejected_label")


class Narrowing(Protocol):
    """What leaves fewer proposals of a plan to be confirmed."""

    def terms(self) -> Mapping[str, Any]:
        """Return what stands of it in the narrowed plan's first line, as JSON; a retry must be asked for the same."""

    def check(self, plan: Plan) -> None:
        """Refuse a plan that this is not about, before anything is stored."""

    def decide(self, row: SampleRow) -> Decision | None:
        """Return why a proposal is not to be confirmed; None if it may be."""


@dataclass(frozen=True)
class Rejections:
    """What a person does not want to be confirmed of a plan.

    :param samples: ids of samples
    :param labels: label names; a sample that carries one of them is left to people whole
    """

    samples: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Return whether anything was rejected."""
        return bool(self.samples or self.labels)

    def terms(self) -> Mapping[str, Any]:
        """Return the rejected ids and names."""
        return {"rejected_samples": sorted(self.samples), "rejected_labels": sorted(self.labels)}

    def check(self, plan: Plan) -> None:
        """Refuse samples and labels that the plan does not have: the answer was given to another plan.

        :raises InvalidRequest: naming the first
        """
        strange = next((one for one in sorted(self.samples) if one not in plan.index), None)
        if strange is not None:
            raise InvalidRequest(
                f"The approval rejects sample {shown(strange)}, which the plan {plan.uri} does not have. Nothing was "
                "written. Was it given to another plan? Ask for a new approval of this one."
            )
        missing = set(self.labels)
        known: set[str] = set()
        for row, _ in plan.samples() if missing else ():
            known.update(row.label_names)
        missing -= known
        if missing:
            name = min(missing)
            raise InvalidRequest(
                f"The approval rejects the label {shown(name)}, which no proposal of the plan {plan.uri} has"
                f"{nearest(name, known)}. Nothing was written. Ask for a new approval."
            )

    def decide(self, row: SampleRow) -> Decision | None:
        """Return the decision about a rejected proposal."""
        if row.sample_id in self.samples:
            return REJECTED_SAMPLE
        return None if self.labels.isdisjoint(row.label_names) else REJECTED_LABEL


def narrowed_by(plan: Plan, narrowings: Sequence[Narrowing]) -> dict[str, Any]:
    """Return what the first line of the narrowed plan says: the plan it was made of, and by what."""
    terms: dict[str, Any] = {"plan_digest": plan.digest, "plan_uri": plan.uri}
    if plan.header.narrowed_by is not None:
        terms["narrowed_by"] = plan.header.narrowed_by
    for narrowing in narrowings:
        terms.update(narrowing.terms())
    return terms


def narrow_plan(plan: Plan, path: StoragePath, narrowings: Sequence[Narrowing]) -> Plan:
    """Store a plan in which fewer proposals are to be confirmed.

    :param plan: the plan as it was made
    :param path: where the narrowed plan is stored; a plan that is there already counts if it is the same plan narrowed
        by the same, as an earlier try leaves it
    :param narrowings: each takes its part of the proposals to be confirmed; the first that does names the rule
    :return: the narrowed plan
    :raises InvalidRequest: if a narrowing is not about this plan; nothing was stored
    :raises PlanRefused: if the plan was exchanged while it was read, or if a plan for something else is at the path
    """
    for narrowing in narrowings:
        narrowing.check(plan)
    header = replace(plan.header, narrowed_by=narrowed_by(plan, narrowings))

    def is_same(found: Plan) -> bool:
        if found.header != header:
            raise PlanRefused(
                f"The plan {found.uri} was narrowed otherwise than is asked for now, or from another plan; nothing was "
                "written. Clear the task to begin once more."
            )
        return True

    with PlanWriter(path, header, keep=is_same) as writer:
        rows: list[SampleRow] = []
        decisions: list[Decision] = []
        for row, planned in plan.samples():
            rows.append(row)
            decisions.append(_narrowed(row, planned, narrowings))
            if len(rows) == LINES_AT_ONCE:
                writer.add_rows(rows, decisions)
                rows, decisions = [], []
        writer.add_rows(rows, decisions)
        writer.notes = plan.notes
    return writer.plan()


def _narrowed(row: SampleRow, planned: Decision, narrowings: Sequence[Narrowing]) -> Decision:
    """Return the decision that counts; what was not to be confirmed stays as it is."""
    if planned.action != "confirm":
        return planned
    decisions = (narrowing.decide(row) for narrowing in narrowings)
    return next((decision for decision in decisions if decision is not None), planned)
