"""Finds out what became of samples that this task may have written without recording it.

They are looked up at the end of a complete confirmation:

- planned samples that the list did not show,
- samples that carried the planned labels before this try wrote them,
- samples that a crashed try left open under a plan that was replaced when the task was cleared.

That a sample carries the planned labels does not prove that this task wrote it: a person may have accepted the same
proposal. Where the service names the author of labels, it is compared with the author of samples that this task has
certainly written.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN, entry_line, run_folder
from airflow_provider_modelarts.labeling.ledger.reader import Ledger, read_ledger, replay
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter, ledger_errors
from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.labeling.proposals.sample_status import Finding
from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.ledger.entries import LedgerFate, PartHeader, RunIdentity
    from airflow_provider_modelarts.labeling.ledger.reader import LedgerChain, LedgerState
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals
    from airflow_provider_modelarts.labeling.sample_table import SampleTable
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

    RunJobs = Callable[[list[WorkItem[Any]]], None]
    Read = tuple[ProposalRead, Finding | ModelArtsError]
    Known = tuple[ProposalRead, Finding]

log = logging.getLogger(__name__)

READS = 25
"""Samples that one job reads."""
READS_AT_ONCE = 1000
WITNESSES = 3
"""The author is looked at of so many samples that each plan's earlier tries have certainly written."""

_STATUSES: dict[LedgerFate, ConfirmationStatus] = {
    "confirmed": ConfirmationStatus.CONFIRMED,
    "gone": ConfirmationStatus.GONE,
    "changed": ConfirmationStatus.CHANGED,
    "unknown": ConfirmationStatus.GONE,
}


class SupersededPlan(NamedTuple):
    """A plan that an earlier try of the same task has applied, and that a clear has replaced.

    :param plan: that plan
    :param applied: first line of the ledger of who applied it
    :param state: what became of its samples
    """

    plan: Plan
    applied: PartHeader
    state: LedgerState


class Reconciler:
    """Knows what the other tries of a task recorded, and looks up what they and this try left open.

    :raises LedgerBroken: if what earlier tries left cannot be trusted
    :raises PlanRefused: if another try of the same work has applied another plan
    """

    def __init__(
        self, root: StoragePath, identity: RunIdentity, plan: Plan, writer: LedgerWriter, clock: Clock
    ) -> None:
        self._root = root
        self._identity = identity
        self._plan = plan
        self._writer = writer
        self._clock = clock
        # Others write in the same run's folder; what they did is not of this task.
        ledger = read_ledger(root, identity.run_id).of(identity)
        _check_same_plan(plan, ledger, identity)
        self._others = replay(plan, ledger)
        self._superseded = superseded_plans(root, ledger, plan)
        self.confirmed_before = 0
        """Samples counted as confirmed because another try has recorded that."""
        self.carrying: set[str] = set()
        """Samples that carry the planned labels, and that this try did not write."""
        self.changed: set[str] = set()
        """Samples proposed otherwise than planned, which a crashed try may have written before."""
        self.witness: SampleRow | None = None
        """A sample of which the service said that this try has written it."""
        self._authors: frozenset[str] | None = None
        """Whom the service names as the author of this task's writes; None: not read yet."""

    @property
    def knows_confirmed(self) -> bool:
        """Whether another try is known to have confirmed any sample."""
        return self._others.has_confirmed

    def is_confirmed(self, sample_id: str) -> bool:
        """Whether another try is known to have confirmed a sample."""
        return self._others.fate(sample_id) == "confirmed"

    def may_be_written(self, sample_id: str) -> bool:
        """Whether another try may have written a sample without recording that."""
        return self._others.may_be_written(sample_id)

    def reconcile(self, table: SampleTable, proposals: DatasetProposals, run_jobs: RunJobs) -> None:
        """Account for the open samples in the table and in the ledger.

        :param table: of a complete walk
        :param proposals: where to read
        :param run_jobs: runs jobs on the worker pool, and returns when all are done
        :raises ConfirmationError: if the ledger cannot be stored
        """
        for samples in self.unlisted(table):
            reads = _read_all(proposals, samples, run_jobs)
            for candidate, found in reads:
                if isinstance(found, ModelArtsError):  # it stays open in the ledger: the next try reads it again
                    table.fail(candidate.row, found.code or UNKNOWN, found.message)
            self._settle(table, _known(reads), proposals)
        for superseded in self._superseded:
            self._reconcile_superseded(superseded, proposals, run_jobs)

    def unlisted(self, table: SampleTable) -> Iterator[list[ProposalRead]]:
        """Yield the planned samples that are to be read, at most :data:`READS_AT_ONCE` at once.

        Those that another try is known to have confirmed are counted in the table instead.
        """
        met = sum(map(table.count, (ConfirmationStatus.CONFIRMED, ConfirmationStatus.FAILED, ConfirmationStatus.GONE)))
        if met - len(self.carrying) >= self._plan.counts["confirm"]:
            return
        unknown: list[ProposalRead] = []
        unjudged = self.carrying | self.changed
        for row, decision in self._plan.samples():
            is_open = table.status(row.sample_id) is None or row.sample_id in unjudged
            if decision.action != "confirm" or not is_open:
                continue
            if self.is_confirmed(row.sample_id):
                table.set_status(row, ConfirmationStatus.CONFIRMED)
                self.confirmed_before += 1
                continue
            unknown.append(ProposalRead(row, 0.0, decision.rule))
            if len(unknown) >= READS_AT_ONCE:
                yield unknown
                unknown = []
        if unknown:
            yield unknown

    def _settle(self, table: SampleTable, reads: list[Known], proposals: DatasetProposals) -> None:
        judged = self._judge(reads, self._others, proposals)
        if any(
            found.status is ConfirmationStatus.CONFIRMED and fate in ("gone", "unknown") for _, found, fate in judged
        ):
            # Another try may have begun since, and have written before these were read.
            ledger = read_ledger(self._root, self._identity.run_id).of(self._identity)
            chains = tuple(chain for chain in ledger.chains if chain.name != self._writer.chain_name)
            self._others = replay(self._plan, Ledger(chains, ledger.uri))
            judged = self._judge(reads, self._others, proposals)
        lines = []
        for candidate, _, fate in judged:
            if candidate.sample_id in self.changed:  # the table has it as changed
                lines.append(_line(candidate, "confirmed" if fate == "confirmed" else "changed"))
            else:
                table.set_status(candidate.row, _STATUSES[fate])
                lines.append(_line(candidate, fate))
        with ledger_errors(self._writer.uri):
            self._writer.record_lines(lines)

    def _reconcile_superseded(self, old: SupersededPlan, proposals: DatasetProposals, run_jobs: RunJobs) -> None:
        """Record, for a superseded plan, what became of the samples that its try left open."""
        open_samples = [ProposalRead(row, 0.0, decision.rule) for row, decision in old.state.open_samples()]
        if not open_samples:
            return
        ledger = LedgerWriter(
            self._root,
            self._identity,
            old.applied.dataset_id,
            plan_uri=old.applied.plan_uri,
            plan_digest=old.plan.digest,
            approved_by=old.applied.approved_by,
            approved_at=old.applied.approved_at,
            clock=self._clock,
        )
        # What the new plan confirms was still proposed, and is recorded for that one.
        proposed = [one for one in open_samples if self._plan.confirms(one.sample_id)]
        unlisted = [one for one in open_samples if not self._plan.confirms(one.sample_id)]
        with ledger_errors(ledger.uri):
            ledger.record_lines([entry_line(one.row, "changed", one.rule) for one in proposed])
        for first in range(0, len(unlisted), READS_AT_ONCE):
            reads = _read_all(proposals, unlisted[first : first + READS_AT_ONCE], run_jobs)
            judged = self._judge(_known(reads), old.state, proposals)
            with ledger_errors(ledger.uri):
                ledger.record_lines([_line(one, fate) for one, _, fate in judged])
        with ledger_errors(ledger.uri):
            ledger.close()
        log.info("Looked up %d samples that an earlier try of this cleared task had left open.", len(unlisted))

    def _judge(
        self, reads: list[Known], others: LedgerState, proposals: DatasetProposals
    ) -> list[tuple[ProposalRead, Finding, LedgerFate]]:
        """Return what the ledger says of samples that were read.

        A sample counts as this task's if another try may have written it, and the service names nobody else.
        """
        fates = {candidate.sample_id: _fate(candidate, found, others) for candidate, found in reads}
        authors = {
            candidate.sample_id: author
            for candidate, found in reads
            if fates[candidate.sample_id] == "confirmed"
            and others.fate(candidate.sample_id) != "confirmed"
            and (author := _author(found))
        }
        fates.update(dict.fromkeys(self._of_strangers(authors, proposals), "unknown"))
        return [(candidate, found, fates[candidate.sample_id]) for candidate, found in reads]

    def _of_strangers(self, authors: dict[str, str], proposals: DatasetProposals) -> set[str]:
        """Return the samples whose author is not known to be one of this task's."""
        ours = self._own_authors(proposals) if authors else frozenset()
        if not ours and len(set(authors.values())) < 2:
            return set()
        strangers = {sample_id for sample_id, author in authors.items() if author not in ours}
        if strangers:
            log.warning(
                "%d samples of dataset %s carry the planned labels, and the service names others than this task's user "
                "as who gave them, for example of sample %s %r. A try before this one may have written them or not: "
                "the ledger says unknown, and an undo will list and not touch them.",
                len(strangers),
                proposals.dataset_id,
                min(strangers),
                authors[min(strangers)],
            )
        return strangers

    def _own_authors(self, proposals: DatasetProposals) -> frozenset[str]:
        """Return whom the service names as the author of this task's certain writes; empty if unknown.

        Tries may have used different users, as a connection may be edited between them.
        """
        if self._authors is None:
            witnesses = [] if self.witness is None else [self.witness]
            for plan, state in [(self._plan, self._others), *((old.plan, old.state) for old in self._superseded)]:
                confirmed = (row for row, _ in plan.samples() if state.fate(row.sample_id) == "confirmed")
                witnesses += islice(confirmed, WITNESSES)
            authors = set()
            for witness in witnesses:
                try:
                    authors.add(_author(_find(proposals, witness)))
                except ModelArtsError:
                    continue  # one witness less
            self._authors = frozenset(authors - {""})
        return self._authors


def superseded_plans(root: StoragePath, ledger: Ledger, plan: Plan) -> list[SupersededPlan]:
    """Return the other plans that a task has applied to the same dataset and that lie beside its ledger.

    :param root: the ledger's place
    :param ledger: chains of all tries of the task, also before a clear
    :param plan: what is applied now
    """
    found: dict[str, SupersededPlan] = {}
    for chain in ledger.chains:
        applied = chain.first()
        digest, uri = applied.plan_digest, applied.plan_uri
        is_other = applied.dataset_id == plan.header.dataset_id and digest != plan.digest
        if not is_other or digest is None or uri is None or digest in found:
            continue
        try:
            old = read_plan(run_folder(root, applied.run_id) / uri.rpartition("/")[2])
        except PlanRefused:
            continue  # it lay elsewhere, or was replaced: its samples are not known any more
        if old.digest == digest:
            found[digest] = SupersededPlan(old, applied, replay(old, ledger))
    return list(found.values())


def _line(candidate: ProposalRead, fate: LedgerFate) -> bytes:
    """Return the entry about a sample that was looked up."""
    return entry_line(candidate.row, fate, candidate.rule, read=True)


def _check_same_plan(plan: Plan, ledger: Ledger, identity: RunIdentity) -> None:
    """Refuse a plan if another try of the same task has, or may have, written by another one.

    What that try wrote and did not record could not be told from what others did any more, nor be undone.
    """
    for chain in ledger.chains:
        header = chain.first()
        is_same = header.intent != identity.intent or header.plan_digest == plan.digest
        if not is_same and _may_have_written(chain):
            raise PlanRefused(
                f"The plan {plan.uri} is not the one that try {header.try_number} of this task has applied, says the "
                f"ledger {ledger.uri}: it was replaced since. Nothing was written. Put back the plan with the digest "
                f"{header.plan_digest}, or clear the task to apply this one."
            )


def _may_have_written(chain: LedgerChain) -> bool:
    is_closed = False
    for header, entries in chain.read():
        is_closed = header.closing
        if any(entry.fate in ("confirmed", "intended", "unknown") or not entry.is_settled for entry in entries):
            return True
    return not is_closed


def _read_all(proposals: DatasetProposals, planned: list[ProposalRead], run_jobs: RunJobs) -> list[Read]:
    """Read planned samples on the worker pool."""
    reads: list[Read] = []

    def on_read(more: list[Read]) -> list[WorkItem[Any]]:
        reads.extend(more)
        return []

    pieces = [planned[first : first + READS] for first in range(0, len(planned), READS)]
    run_jobs([WorkItem(partial(_read, proposals, piece), on_read) for piece in pieces])
    return reads


def _read(proposals: DatasetProposals, planned: Sequence[ProposalRead]) -> list[Read]:
    """Read some planned samples; an odd answer about one of them does not end the reading of the others."""
    reads: list[Read] = []
    for candidate in planned:
        try:
            reads.append((candidate, _find(proposals, candidate.row)))
        except ModelArtsError as error:
            if not is_odd_read(error):
                raise
            reads.append((candidate, error))
    return reads


def _find(proposals: DatasetProposals, planned: SampleRow) -> Finding:
    """Return the status of a planned sample that the list did not show.

    A list without filters shows all that is proposed; one with filters not what is proposed otherwise by now.
    """
    final = proposals.final(planned.sample_id)
    if final is not None and has_labels_of(final, planned, loosely=True):
        return Finding(ConfirmationStatus.CONFIRMED, final=final)
    is_proposed = bool(proposals.filters) and proposals.proposal(planned.sample_id) is not None
    return Finding(ConfirmationStatus.CHANGED if is_proposed else ConfirmationStatus.GONE)


def _author(found: Finding) -> str:
    """Return who gave a sample its labels, says the service; empty if it does not say."""
    return (found.final.annotated_by or "") if found.final else ""


def _known(reads: list[Read]) -> list[Known]:
    return [(candidate, found) for candidate, found in reads if isinstance(found, Finding)]


def _fate(candidate: ProposalRead, found: Finding, others: LedgerState) -> LedgerFate:
    """Return what the ledger says of a sample that was read: ours only if another try may have written it."""
    sample_id = candidate.sample_id
    if found.status is not ConfirmationStatus.CONFIRMED:
        return "changed" if found.status is ConfirmationStatus.CHANGED else "gone"
    if others.fate(sample_id) == "confirmed" or others.may_be_written(sample_id):
        return "confirmed"
    return "unknown" if others.fate(sample_id) == "unknown" else "gone"
