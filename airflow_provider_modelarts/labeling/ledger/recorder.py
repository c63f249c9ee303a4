"""The ledger's side of a confirmation: what is noted, when it is stored, and what earlier tries have written."""

from __future__ import annotations

import logging
import threading
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ConfirmationError, ModelArtsError
from airflow_provider_modelarts.labeling.label_equality import has_labels_of, raw_labels
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.ledger.reader import Entry, Ledger, LedgerWriter, read_ledger, replay
from airflow_provider_modelarts.labeling.ledger.reconcile import superseded_plans
from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused
from airflow_provider_modelarts.labeling.proposals.dataset import ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.storage.path import stored_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
    from airflow_provider_modelarts.labeling.ledger.entries import LedgerFate
    from airflow_provider_modelarts.labeling.ledger.reader import LedgerChain, LedgerState, RunIdentity
    from airflow_provider_modelarts.labeling.ledger.reconcile import SupersededPlan
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.proposals.dataset import DatasetProposals
    from airflow_provider_modelarts.labeling.sample_table import SampleTable
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

    Read = tuple[ProposalRead, "Found | ModelArtsError"]

log = logging.getLogger(__name__)

STORE_ENTRIES = 2000
STORE_SECONDS = 10.0
"""What a crash leaves to be settled by reading is about so much."""
READS = 25
READS_AT_ONCE = 1000
WITNESSES = 3
"""Of so many samples that earlier tries have certainly written the author is looked at."""

_BOOKED: dict[LedgerFate, ConfirmationStatus] = {
    "confirmed": ConfirmationStatus.CONFIRMED,
    "gone": ConfirmationStatus.GONE,
    "changed": ConfirmationStatus.CHANGED,
    "unknown": ConfirmationStatus.GONE,
}
_FATES: dict[ConfirmationStatus, LedgerFate] = {
    ConfirmationStatus.CONFIRMED: "confirmed",
    ConfirmationStatus.GONE: "gone",
    ConfirmationStatus.FAILED: "failed",
    ConfirmationStatus.UNKNOWN: "unknown",
}


class Found(NamedTuple):
    """What was read of a planned sample that the list did not show.

    :param status: its status
    :param author: who gave it its labels, says the service; empty if it does not say
    """

    status: ConfirmationStatus
    author: str = ""


class LedgerTarget(NamedTuple):
    """Where the record of a confirmation goes, and who confirms.

    :param root: the ledger's place, the same for all runs
    :param identity: the Airflow task that confirms
    :param approved_by: who approved the plan, if anybody was asked
    """

    root: StoragePath
    identity: RunIdentity
    approved_by: str | None = None


class Recorder:
    """Keeps the ledger of one try, and knows those of the tries before.

    :param place: where it goes
    :param plan: what is applied
    :param clock: the client's
    :raises LedgerBroken: if what earlier tries left cannot be trusted
    :raises PlanRefused: if another try of the same work has applied another plan
    """

    def __init__(self, place: LedgerTarget, plan: Plan, clock: Clock) -> None:
        # Others write in the same run's folder; what they did is not of this task, and not asked for.
        ledger = read_ledger(place.root, place.identity.run_id).of(place.identity)
        _check_same_plan(plan, ledger, place.identity)
        self._plan = plan
        self._clock = clock
        self._others = replay(plan, ledger)
        self._abandoned = superseded_plans(place.root, ledger, plan)
        self._place = place
        self._writer = LedgerWriter(
            place.root,
            place.identity,
            plan.header.dataset_id,
            plan_uri=stored_uri(plan.path),
            plan_digest=plan.digest,
            approved_by=place.approved_by,
            clock=clock,
        )
        self.uri = self._writer.uri
        self._entries: list[Entry] = []
        self._noting = threading.Lock()
        self._ordering = threading.Lock()
        """Held while noted entries go to the chain: what is said of one sample stands there in the order of events."""
        self._since = 0.0
        self._is_storing = False
        self._found: set[str] = set()
        """Samples that carry the planned labels, and this try did not write: judged when all have been read."""
        self._changed: set[str] = set()
        """Samples proposed otherwise than planned, which a try that did not end may have written before."""
        self._witness: Sample | None = None
        """A sample of which the service said that this try has written it."""
        self._authors: frozenset[str] | None = None
        """Whom the service names as the author of what this task has written; None: not asked for yet."""

    def begin(self) -> None:
        """Store that this try may write from now on; of a try that left no such word it is known that it did not.

        :raises ConfirmationError: if it cannot be stored
        """
        self._guarded(self._writer.begin)

    def close(self, *, is_complete: bool) -> None:
        """Store what was noted, and end the chain.

        :param is_complete: all that was written is noted; if not the chain stays open, as after a crash
        :raises ConfirmationError: if it cannot be stored
        """
        self._keep()
        self._guarded(self._writer.close if is_complete else self._writer.flush)

    def is_confirmed(self, sample_id: str) -> bool:
        """Whether an earlier try is known to have confirmed a sample."""
        return self._others.fate(sample_id) == "confirmed"

    def record_previous_labels(self, found: Sequence[tuple[ProposalRead, list[dict[str, Any]]]]) -> None:
        """Store the labels that people had given samples about to be written; of use in the crew's threads.

        They must be known even if this process dies right after the write: nothing else remembers them.

        :param found: the samples, and the labels; none if those found before are there no more
        :raises ConfirmationError: if they cannot be stored
        """
        intended = [_entry(candidate, "intended", before=before) for candidate, before in found]
        ids = {entry.sample_id for entry in intended}
        with self._ordering:
            with self._noting:
                # What became of the same sample in an earlier pass comes first.
                earlier = [entry for entry in self._entries if entry.sample_id in ids]
                self._entries = [entry for entry in self._entries if entry.sample_id not in ids]
            self._guarded(partial(self._writer.record, *earlier, *intended))
        self._guarded(self._writer.flush)

    def record_outcome(self, decided: ProposalRead, outcome: WriteOutcome, before: list[dict[str, Any]] | None) -> None:
        """Note what became of a sample that was to be written."""
        if outcome.carries_labels:
            # Another try may have written it and not have recorded that yet: it is judged at the end.
            self._found.add(decided.sample.sample_id)
            return
        if outcome.status is ConfirmationStatus.CONFIRMED:
            self._witness = decided.sample
        entry = _entry(decided, _FATES[outcome.status], before=before)
        self._add(entry._replace(code=outcome.code, message=outcome.message) if outcome.code else entry)

    def note_unknown(self, candidate: ProposalRead, message: str, before: list[dict[str, Any]] | None) -> None:
        """Note a sample that was sent, and of which no answer and no read has told what became."""
        self._add(_entry(candidate, "failed", before=before)._replace(code=UNKNOWN, message=message))

    def note(self, candidate: ProposalRead, fate: LedgerFate, *, read: bool = False) -> None:
        """Note what was found out about a planned sample."""
        if fate == "changed" and not read and self._others.may_be_written(candidate.sample.sample_id):
            self._changed.add(candidate.sample.sample_id)
            return
        self._add(_entry(candidate, fate, read=read))

    def due(self) -> list[WorkItem[Any]]:
        """Return the job that stores what was noted, if it is time for that."""
        is_due = len(self._entries) >= STORE_ENTRIES or self._clock.now() - self._since >= STORE_SECONDS
        return [self.store()] if self._entries and is_due and not self._is_storing else []

    def store(self) -> WorkItem[Any]:
        """Return the job that stores what was noted; one at a time."""
        self._is_storing = True
        return WorkItem(self._keep, self._stored)

    def reconcile_unlisted(
        self, books: SampleTable, service: DatasetProposals, run_jobs: Callable[[list[WorkItem[Any]]], None]
    ) -> None:
        """Account for what was planned and is not listed: by the ledger, else by reading; then store what was noted.

        :param books: of a complete walk
        :param service: where to read
        :param run_jobs: has the crew carry out jobs, and returns when all are done
        """
        for part in self.unlisted(books):
            reads: list[Read] = []
            run_jobs([WorkItem(partial(_read, service, piece), partial(_take_in, reads)) for piece in part])
            for candidate, found in reads:
                if isinstance(found, ModelArtsError):  # it stays open in the ledger: the next try reads it again
                    books.fail(candidate.sample, found.code or UNKNOWN, found.message)
            self._settle(books, _known(reads), service)
            run_jobs(self.due())
        run_jobs([self.store()])
        for one in self._abandoned:
            self._settle_abandoned(one, service, run_jobs)

    def _settle(self, books: SampleTable, reads: list[tuple[ProposalRead, Found]], service: DatasetProposals) -> None:
        fates = self._judged(reads, self._others, service)
        if any(
            found.status is ConfirmationStatus.CONFIRMED and fate in ("gone", "unknown")
            for (_, found), fate in zip(reads, fates, strict=True)
        ):
            # Another try may have begun since, and have written before these were read.
            self._others = self._read_others()
            fates = self._judged(reads, self._others, service)
        for (candidate, _), fate in zip(reads, fates, strict=True):
            if candidate.sample.sample_id in self._changed:  # it has its place: only the ledger is told
                self.note(candidate, "confirmed" if fate == "confirmed" else "changed", read=True)
                continue
            books.set_status(candidate.sample, _BOOKED[fate])
            self.note(candidate, fate, read=True)

    def _judged(
        self, reads: list[tuple[ProposalRead, Found]], others: LedgerState, service: DatasetProposals
    ) -> list[LedgerFate]:
        """Return what the ledger says of samples that were read.

        That a try may have written a sample does not make its labels that try's: a person may have accepted the same
        proposal since the try ended. Where the service names somebody else, nothing tells.
        """
        fates = [_fate(candidate, found.status, others) for candidate, found in reads]
        doubtful = {
            candidate.sample.sample_id: found.author
            for (candidate, found), fate in zip(reads, fates, strict=True)
            if fate == "confirmed" and others.fate(candidate.sample.sample_id) != "confirmed"
        }
        strangers = self._by_others(doubtful, service)
        return [
            "unknown" if candidate.sample.sample_id in strangers else fate
            for (candidate, _), fate in zip(reads, fates, strict=True)
        ]

    def _by_others(self, authors: dict[str, str], service: DatasetProposals) -> set[str]:
        """Return the samples that somebody has labeled who is not known to be an author of this task's."""
        named = {sample_id: author for sample_id, author in authors.items() if author}
        ours = self._own_authors(service) if named else frozenset()
        if not ours and len(set(named.values())) < 2:
            return set()
        strangers = {sample_id for sample_id, author in named.items() if author not in ours}
        if strangers:
            log.warning(
                "%d samples of dataset %s carry the planned labels, and the service names others than this task's user "
                "as who gave them, for example of sample %s %r. A try before this one may have written them or not: "
                "the ledger says unknown, and an undo will list and not touch them.",
                len(strangers),
                service.dataset_id,
                min(strangers),
                named[min(strangers)],
            )
        return strangers

    def _own_authors(self, service: DatasetProposals) -> frozenset[str]:
        """Return whom the service names as the author of what this task has certainly written; empty if unknown.

        Tries may have used different users, as a connection may be edited between them.
        """
        if self._authors is None:
            known = [(self._plan, self._others), *((old.plan, old.state) for old in self._abandoned)]
            witnesses = [sample for plan, state in known for sample in islice(_confirmed(plan, state), WITNESSES)]
            witnesses += [self._witness] if self._witness is not None else []
            found = [_found(service, witness) for witness in witnesses]
            self._authors = frozenset(one.author for one in found if one is not None and one.author)
        return self._authors

    def _read_others(self) -> LedgerState:
        """Return what all other tries of this task have recorded by now about the plan that is applied."""
        ledger = read_ledger(self._place.root, self._place.identity.run_id).of(self._place.identity)
        own = self._place.identity.chain_name(self._writer.writer)
        return replay(self._plan, Ledger(tuple(chain for chain in ledger.chains if chain.name != own), ledger.uri))

    def _settle_abandoned(
        self, old: SupersededPlan, service: DatasetProposals, run_jobs: Callable[[list[WorkItem[Any]]], None]
    ) -> None:
        """Record, for a plan that is not applied any more, what became of the samples that its try left open."""
        open_samples = [ProposalRead(one.sample, 0.0, one.decision.rule) for one in old.state.open_samples()]
        if not open_samples:
            return
        # What the plan of now confirms was still proposed, and is recorded for that one.
        anew = [one for one in open_samples if self._plan.confirms(one.sample.sample_id)]
        ledger = LedgerWriter(
            self._place.root,
            self._place.identity,
            old.applied.dataset_id,
            plan_uri=old.applied.plan_uri,
            plan_digest=old.plan.digest,
            approved_by=old.applied.approved_by,
            clock=self._clock,
        )

        def record(reads: list[Read]) -> list[WorkItem[Any]]:
            known = _known(reads)
            fates = self._judged(known, old.state, service)
            entries = [_entry(one, fate, read=True) for (one, _), fate in zip(known, fates, strict=True)]
            return [WorkItem(partial(self._guarded, partial(ledger.record, *entries)), lambda _: [])]

        self._guarded(partial(ledger.record, *(_entry(one, "changed") for one in anew)))
        unlisted = [one for one in open_samples if not self._plan.confirms(one.sample.sample_id)]
        run_jobs([WorkItem(partial(_read, service, piece), record) for piece in _pieces(unlisted)])
        self._guarded(ledger.close)
        log.info("%d samples that a try before the clear had left open were looked up.", len(unlisted))

    def unlisted(self, books: SampleTable) -> Iterator[list[list[ProposalRead]]]:
        """Yield the planned samples of which it is not known who confirmed them, to be read, in pieces for a job each.

        Those are the ones that the list did not show, those found to carry the planned labels already, and those
        proposed otherwise by now that a try which did not end may have written before.

        Those that an earlier try is known to have confirmed are noted in the books instead.

        :param books: of a complete walk
        """
        met = sum(map(books.count, (ConfirmationStatus.CONFIRMED, ConfirmationStatus.FAILED, ConfirmationStatus.GONE)))
        if met - len(self._found) >= self._plan.counts["confirm"]:
            return
        unknown: list[ProposalRead] = []
        unjudged = self._found | self._changed
        for planned in self._plan.samples():
            sample = planned.sample
            is_open = books.status(sample.sample_id) is None or sample.sample_id in unjudged
            if planned.decision.action != "confirm" or not is_open:
                continue
            if self.is_confirmed(sample.sample_id):
                books.set_status(sample, ConfirmationStatus.CONFIRMED)
                continue
            unknown.append(ProposalRead(sample, 0.0, planned.decision.rule))
            if len(unknown) >= READS_AT_ONCE:
                yield _pieces(unknown)
                unknown = []
        if unknown:
            yield _pieces(unknown)

    def _add(self, entry: Entry) -> None:
        with self._noting:
            if not self._entries:
                self._since = self._clock.now()
            self._entries.append(entry)

    def _keep(self) -> None:
        """Hand what was noted to the chain."""
        with self._ordering:
            with self._noting:
                entries, self._entries = self._entries, []
            self._guarded(partial(self._writer.record, *entries))

    def _stored(self, nothing: None) -> list[WorkItem[Any]]:
        del nothing
        self._is_storing = False
        return []

    def _guarded(self, store: Callable[[], None]) -> None:
        try:
            store()
        except Exception as error:  # what a storage's library raises need be no OSError
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfirmationError(
                f"The ledger {self.uri} cannot be written ({reason}), so nothing further is. Check ledger_uri and its "
                "connection, and run the task again: it goes on where this one ended."
            ) from error


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


def _entry(
    candidate: ProposalRead, fate: LedgerFate, *, before: list[dict[str, Any]] | None = None, read: bool = False
) -> Entry:
    sample = candidate.sample
    return Entry(
        sample.sample_id, fate, candidate.rule, raw_labels(sample), before=before, origin=sample.origin, read=read
    )


def _read(service: DatasetProposals, planned: Sequence[ProposalRead]) -> list[Read]:
    """Return how planned samples stand that the list did not show; an odd answer about one keeps no other back."""
    found: list[Read] = []
    for candidate in planned:
        try:
            found.append((candidate, _standing(service, candidate.sample)))
        except ModelArtsError as error:
            if not is_odd_read(error):
                raise
            found.append((candidate, error))
    return found


def _confirmed(plan: Plan, state: LedgerState) -> Iterator[Sample]:
    return (one.sample for one in plan.samples() if state.fate(one.sample.sample_id) == "confirmed")


def _found(service: DatasetProposals, witness: Sample) -> Found | None:
    """Return how a sample stands that this task has certainly written; None if it carries something else by now."""
    try:
        found = _standing(service, witness)
    except ModelArtsError:
        return None  # it would only have helped to tell
    return found if found.status is ConfirmationStatus.CONFIRMED else None


def _standing(service: DatasetProposals, planned: Sample) -> Found:
    """Return how a planned sample stands.

    A list without filters shows all that is proposed; one with filters not what is proposed otherwise by now.
    """
    final = service.final(planned.sample_id)
    if final is not None and has_labels_of(final, planned, loosely=True):
        return Found(ConfirmationStatus.CONFIRMED, final.annotated_by or "")
    if service.filters and service.proposal(planned.sample_id) is not None:
        return Found(ConfirmationStatus.CHANGED)
    return Found(ConfirmationStatus.GONE)


def _known(reads: list[Read]) -> list[tuple[ProposalRead, Found]]:
    return [(candidate, found) for candidate, found in reads if isinstance(found, Found)]


def _take_in(reads: list[Read], more: list[Read]) -> list[WorkItem[Any]]:
    reads += more
    return []


def _fate(candidate: ProposalRead, standing: ConfirmationStatus, others: LedgerState) -> LedgerFate:
    """Return what the ledger says of a sample that was read: ours only if another try may have written it."""
    sample_id = candidate.sample.sample_id
    is_known = others.fate(sample_id) == "confirmed"
    if standing is ConfirmationStatus.CONFIRMED and (is_known or others.may_be_written(sample_id)):
        return "confirmed"
    if standing is ConfirmationStatus.CONFIRMED and others.fate(sample_id) == "unknown":
        return "unknown"
    return "changed" if standing is ConfirmationStatus.CHANGED else "gone"


def _pieces(candidates: list[ProposalRead]) -> list[list[ProposalRead]]:
    return [candidates[place : place + READS] for place in range(0, len(candidates), READS)]
