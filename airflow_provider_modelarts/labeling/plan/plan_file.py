"""Plans: every decision of one policy over one reading of the proposals, stored before anything is written."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.label_equality import fingerprint
from airflow_provider_modelarts.labeling.plan.lines import (
    PlanHeader,
    PlannedSample,
    PlanNotes,
    PlanReader,
    PlanRefused,
    Tally,
    encode_planned,
)
from airflow_provider_modelarts.labeling.plan.summary import PlanSummary
from airflow_provider_modelarts.labeling.policy import ODD, Decision, GuardFailed, parse_policy
from airflow_provider_modelarts.labeling.results import ConfirmationResult
from airflow_provider_modelarts.labeling.sample_facts import facts_of_row
from airflow_provider_modelarts.labeling.sample_table import CHANGED, RESPELLED, PlanIndex
from airflow_provider_modelarts.labeling.storage.path import display_uri
from airflow_provider_modelarts.labeling.storage.sealed_file import SealedWriter, encode_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.drift import Drift, ProposalCounts
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

log = logging.getLogger(__name__)

DRIFTED = Decision("review", "label_drifted")
"""Of a sample that would be confirmed, but carries a label that moved since an earlier plan."""


class Plan:
    """A stored plan, complete and unaltered: :func:`read_plan` and :class:`PlanWriter` give it out.

    :param path: where it is
    :param header: what was asked
    :param tally: the counts of its lines
    :param index: its decisions by sample id
    :param digest: of all bytes but the last line, and of what that one notes
    :param notes: what was counted and compared while it was made
    """

    def __init__(
        self,
        path: StoragePath,
        header: PlanHeader,
        tally: Tally,
        index: PlanIndex,
        digest: str,
        notes: PlanNotes,
    ) -> None:
        self.path = path
        self.header = header
        self.index = index
        self.digest = digest
        self.notes = notes
        self.counts: Mapping[str, int] = tally.actions
        """How many proposals are to be confirmed, to be reviewed, and to be left."""
        self.by_label: Mapping[str, int] = tally.by_label
        """For each label name, how many samples to be confirmed carry it."""
        self._rules = tally.rules
        self.drift = notes.drift
        """What was found when it was compared with an earlier plan; None if the policy has no ``max_drift``."""
        self._moved = None if notes.drift is None or not notes.drift.holds_back else notes.drift
        """The drift for which proposals go to people; None: none do."""
        self.completed_at = header.created_at if notes.completed_at is None else notes.completed_at
        """When it was complete, epoch seconds; of a plan by an older version when it was begun."""
        self.policy = None if header.policy is None else parse_policy(dict(header.policy))

    @property
    def counts_of_new(self) -> ProposalCounts | None:
        """Counts of the samples that it proposes for the first time, as far as that is known; None in older plans."""
        return self.notes.counts if self.notes.fresh is None else self.notes.fresh

    @property
    def uri(self) -> str:
        """Where the plan is, for results, headers and people."""
        return display_uri(self.path)

    def __len__(self) -> int:
        """Return how many proposals the plan holds."""
        return len(self.index)

    def __bool__(self) -> bool:
        """Return true: a plan without lines says that nothing is to be confirmed, and is not "no plan"."""
        return True

    def confirms(self, sample_id: str) -> bool:
        """Whether a sample is to be confirmed."""
        found = self.index.find(sample_id)
        return found is not None and found[0].action == "confirm"

    def samples(self) -> Iterator[PlannedSample]:
        """Yield the proposals in the plan's order, read from storage once more; memory stays flat.

        Where labels have drifted and the policy says ``on_drift="review"``, the decisions are those that hold after
        that: the lines were written before it was known.

        :raises PlanRefused: at the end, if the plan is not the one that was checked before
        """
        reader = PlanReader(self.path)
        for planned in reader.samples():
            yield planned if self._moved is None else _after_drift(planned, self._moved)
        if reader.check() != self.digest:
            raise PlanRefused(f"The plan {self.uri} was exchanged while it was used. Make a new plan.")

    def after_drift(self) -> Plan:
        """Return the plan with counts and index of the decisions that hold after drift; read once more if any do."""
        if self._moved is None:
            return self
        tally, index = Tally(), PlanIndex()
        for row, decision in self.samples():
            tally.add(row, decision)
            index.add(row, decision)
        return Plan(self.path, self.header, tally, index, self.digest, self.notes)

    def decide(self, sample: Sample) -> Decision:
        """Return what the plan says about a proposal as it is now; used in place of ``ConfirmPolicy.decide``.

        :param sample: as it was read just now, with all its labels
        :return: the planned decision; :data:`CHANGED` if it was to be confirmed with other labels (all keys but
            ``id`` count); :data:`NOT_PLANNED` if the plan does not know it
        """
        return self.decide_rows([row_of(sample)])[0]

    def decide_rows(self, rows: Sequence[SampleRow]) -> list[Decision]:
        """Return what the plan says about proposals, see :meth:`decide`."""
        decided = self.index.decide(rows)
        for place, row in enumerate(rows) if RESPELLED in decided else ():
            found = self.index.find(row.sample_id)
            if decided[place] is RESPELLED and found is not None:
                decision, position = found
                decided[place] = decision if self._marks[position] == fingerprint(row) else CHANGED
        return decided

    @cached_property
    def _marks(self) -> array[int]:
        """The fingerprints of the labels, by position; read when a service spells labels otherwise than before."""
        return array("Q", (fingerprint(row) for row, _ in self.samples()))

    def differs_in(self, **asked: object) -> list[str]:
        """Return the names of those arguments that the plan was made for otherwise.

        :param asked: ``dataset_id``, ``policy`` (parsed), ``filters``, ``first_label``, ``label_task_id``; those given
            are compared
        """
        header = self.header
        made_for: dict[str, object] = {
            "dataset_id": header.dataset_id,
            "policy": self.policy,
            "filters": dict(header.filters),
            "first_label": header.first_label,
            "label_task_id": header.label_task_id,
        }
        return [name for name, wanted in asked.items() if made_for[name] != wanted]

    def check_made_for(self, **asked: object) -> None:
        """Refuse the plan if it was made for something else.

        :param asked: as in :meth:`differs_in`
        :raises PlanRefused: naming what differs
        """
        differing = self.differs_in(**asked)
        if differing:
            raise PlanRefused(
                f"The plan {self.uri} was made for another {' and '.join(differing)} than asked for now; nothing was "
                "written. Give the plan of this dataset and policy, or another place to store a new one; if an earlier "
                "try of an Airflow task has stored it, clear the task to make a new plan."
            )

    @property
    def proven_by(self) -> tuple[str, str] | None:
        """Where the evidence is by which it was narrowed, for people, and its digest; None: it was not."""
        by: Any = self.header.narrowed_by
        while isinstance(by, Mapping) and "evidence_digest" not in by:
            by = by.get("narrowed_by")
        return (str(by.get("evidence_uri")), str(by["evidence_digest"])) if isinstance(by, Mapping) else None

    @property
    def is_candidate(self) -> bool:
        """Whether its policy has a target that nothing has proven yet: then nothing may be confirmed by it."""
        return self.policy is not None and self.policy.target_precision is not None and self.proven_by is None

    @property
    def asked(self) -> Mapping[str, Any]:
        """The rules of the policy, by name, and the filters, for people; without a policy no rule."""
        policy, filters = self.policy, dict(self.header.filters)
        rules = {} if policy is None else policy.model_dump(mode="json", exclude_defaults=True)
        if policy is not None:
            rules["hard_examples"] = policy.hard_examples  # it holds also if nothing was said about it
        if self.header.first_label is not None:
            # The list is filtered by that label, which says less.
            filters["first_label"] = self.header.first_label
            filters.pop("label_name", None)
        return {**rules, **filters}

    def check_guards(self) -> None:
        """Check the policy's guards against the whole plan.

        :raises GuardFailed: naming the first that does not hold; the plan stays readable
        """
        if self.policy is None:
            return
        self.policy.check_guards(self.counts["confirm"], self.by_label)
        if self.policy.max_drift is not None:
            self._check_drift(self.policy.max_drift)

    def _check_drift(self, max_drift: float) -> None:
        drift = self.drift
        if drift is None:
            raise GuardFailed(
                f"The guard max_drift={max_drift:g} cannot be judged: the plan {self.uri} was compared with no other "
                "one while it was made. Nothing was written. Make a new plan."
            )
        text = " ".join(drift.notes())
        if drift.moved and drift.action == "fail":
            raise GuardFailed(
                f"The guard max_drift={max_drift:g} does not hold. {text} Nothing was written. Look at samples of what "
                "moved. If the change is right, confirm once with on_drift='warn': the next run compares with that."
            )
        log.log(logging.WARNING if drift.moved else logging.INFO, "%s", text)

    def result(self, requests: int = 0, seconds: float = 0.0) -> ConfirmationResult:
        """Return what the plan would do in the form of a confirmation's result."""
        odd = self._rules["no_sample_id"] + self._rules[ODD]
        return ConfirmationResult(
            seen=len(self),
            confirmed=self.counts["confirm"],
            review=self.counts["review"],
            left=self.counts["leave"] - odd,
            failed=odd,
            requests=requests,
            seconds=seconds,
            plan_uri=self.uri,
            by_label=dict(self.by_label),
            dataset_id=self.header.dataset_id,
            preview=True,
        )

    def summarize(self) -> PlanSummary:
        """Read the plan once more and return its summary for people."""
        summary = PlanSummary()
        for row, decision in self.samples():
            summary.add(row, facts_of_row(row), decision)
        return summary


def read_plan(path: StoragePath) -> Plan:
    """Read a stored plan and check it from its first byte to its last.

    :param path: where it is
    :raises PlanRefused: if it is not there, not complete, altered, or of another format
    """
    index, reader = PlanIndex(), PlanReader(path)
    for row, decision in reader.samples():
        index.add(row, decision)
    digest = reader.check()
    return Plan(path, reader.header, reader.tally, index, digest, reader.notes).after_drift()


def _after_drift(planned: PlannedSample, drift: Drift) -> PlannedSample:
    """Return a proposal with the decision that holds after labels have drifted."""
    row, decision = planned
    # Who was drawn for an audit speaks for those who would be confirmed, and goes with them.
    may_be_held = decision.action == "confirm" or decision.rule == "audit_sample"
    return PlannedSample(row, DRIFTED) if may_be_held and drift.concerns(row.label_names) else planned


def read_header(path: StoragePath) -> PlanHeader:
    """Return the first line of a plan; nothing says yet that it is what was written.

    :raises PlanRefused: if it is not there, or no plan
    """
    return PlanReader(path).read_header()


class PlanWriter:
    """Writes a plan as a stream; to be used as a context manager.

    :param path: where to; appears there when it is complete
    :param header: what was asked
    :param keep: None: what is there is replaced. Else called with a complete plan that is there when this one is to be
        stored; true: that one counts, and this one is thrown away
    """

    def __init__(self, path: StoragePath, header: PlanHeader, *, keep: Callable[[Plan], bool] | None = None) -> None:
        self._path = path
        self._keep = keep
        self._stored_first: Plan | None = None
        self._file = SealedWriter(path, keeps=None if keep is None else self._keeps)
        self._header = header
        self._tally = Tally()
        self._digest = ""
        self.notes = PlanNotes()
        """What the last line keeps beyond the counts of decisions; to be set before the end."""
        self.index = PlanIndex()

    def __enter__(self) -> Self:
        self._file.__enter__()
        self._file.write(encode_line(self._header.to_json()))
        return self

    def add(self, sample: Sample, decision: Decision) -> None:
        """Add a proposal and its decision."""
        self.add_rows([row_of(sample)], [decision])

    def add_rows(self, rows: Sequence[SampleRow], decisions: Sequence[Decision]) -> None:
        """Add proposals and the decisions about them."""
        for row, decision in zip(rows, decisions, strict=True):
            self._tally.add(row, decision)
            self.index.add(row, decision)
        self._file.write(b"".join(map(encode_planned, rows, decisions)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._digest = self._file.seal(self._tally.facts(), self.notes.to_json())
        self._file.__exit__(kind, error, trace)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many proposals are to be confirmed, to be reviewed, and to be left, so far."""
        return self._tally.actions

    def plan(self) -> Plan:
        """Return the plan that counts, once it is stored."""
        if self._stored_first is not None:
            return self._stored_first
        return Plan(self._path, self._header, self._tally, self.index, self._digest, self.notes).after_drift()

    @property
    def has_lost(self) -> bool:
        """Whether another plan was there first, and counts."""
        return self._stored_first is not None

    def _keeps(self) -> bool:
        """Whether the plan at the path counts, and not the one written here."""
        try:
            there = read_plan(self._path)
        except PlanRefused:
            return False
        self._stored_first = there if self._keep is not None and self._keep(there) else None
        return self._stored_first is not None
