"""One confirmation: reads the list of proposals, decides, writes, and accounts for every sample (B13 to B18).

The thread that runs it decides everything and keeps all counts; the threads of the pool only read and write.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from functools import partial
from hashlib import sha256
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.client.sample_rows import SampleRow
from airflow_provider_modelarts.labeling.apply.authorship import RunAuthor
from airflow_provider_modelarts.labeling.apply.batch_writer import FRESH_SECONDS, BatchWriter, CircuitBreaker
from airflow_provider_modelarts.labeling.label_equality import same_proposal, shows_part_of, with_other_labels
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.policy import ODD
from airflow_provider_modelarts.labeling.proposals import page_order
from airflow_provider_modelarts.labeling.proposals.filtered import FilteredProposals
from airflow_provider_modelarts.labeling.proposals.page_order import Pages, PassEnd
from airflow_provider_modelarts.labeling.proposals.page_scheduler import ListCountMonitor, PageScheduler, pages_ahead
from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
from airflow_provider_modelarts.labeling.results import PROGRESS_SECONDS, ConfirmationResult, Progress, listed_twice
from airflow_provider_modelarts.labeling.sample_table import CHANGED, NOT_PLANNED, ConfirmationStatus, SampleTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_modelarts.client import Page
    from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
    from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
    from airflow_provider_modelarts.labeling.ledger.entries import LedgerFate
    from airflow_provider_modelarts.labeling.ledger.recorder import Recorder
    from airflow_provider_modelarts.labeling.policy import ConfirmPolicy, Decide, Decision
    from airflow_provider_modelarts.labeling.proposals.page_order import Numbered
    from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals
    from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
    from airflow_provider_modelarts.labeling.sample_table import PlanIndex
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

    Jobs = list[WorkItem[Any]]
    SingleRead = tuple[SampleRow, ProposalRead | ModelArtsError | None]

log = logging.getLogger(__name__)

MAX_PASSES = 5
READS_PER_JOB = 25
DECISION_ROUNDS = 5
"""A proposal may change between decision and write; it is decided about so often, then it is left."""

_STAYS = frozenset(
    {ConfirmationStatus.REVIEW, ConfirmationStatus.LEFT, ConfirmationStatus.CHANGED, ConfirmationStatus.FAILED}
)
_LEFT_THE_LIST = frozenset({ConfirmationStatus.CONFIRMED, ConfirmationStatus.GONE})
_FATES: dict[ConfirmationStatus, LedgerFate] = {
    ConfirmationStatus.CONFIRMED: "confirmed",
    ConfirmationStatus.GONE: "gone",
    ConfirmationStatus.FAILED: "failed",
    ConfirmationStatus.UNKNOWN: "unknown",
}


class _Written(NamedTuple):
    """What a write job came to.

    :param outcomes: what is known, a sample each
    :param before: labels that people had given, by sample id
    :param error: what ended it early
    :param uncertain: samples without an outcome that may have been written
    """

    outcomes: list[WriteOutcome]
    before: dict[str, list[dict[str, Any]]]
    error: ModelArtsError | None
    uncertain: set[str]


class ConfirmationRun:
    """A confirmation: what is known of each sample, and how far the run is.

    :param service: where to read and write, with the filters of the list
    :param request: what is asked for; if a plan is applied, with the plan's first label
    :param decide: says what to do with proposals
    :param pool: carries the requests
    :param stop: once it is set no further write goes out; the first error sets it
    :param planned: the samples of the plan, if these alone count; None: all that the list shows
    :param on_progress: called every few seconds and at the end
    :param recorder: keeps the ledger
    """

    def __init__(
        self,
        service: DatasetProposals,
        request: ConfirmationRequest,
        decide: Decide,
        pool: WorkerPool,
        *,
        stop: StopSignal,
        planned: PlanIndex | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._decide = decide
        self._pool = pool
        self._stop = stop
        self._batch_size = request.batch_size
        self._is_preview = request.preview
        self._on_progress = on_progress
        self._recorder = recorder
        self._breaker, self._author = CircuitBreaker(), RunAuthor()
        self._filtered = FilteredProposals(service, request.first_label, planned)
        self._pages = Pages(self._filtered.page, 1, page_order.PAGE_SIZE)
        self._count = ListCountMonitor(0)
        self.table = SampleTable()
        self._in_flight: set[str] = set()
        """Samples taken from the list in this pass that have no status in the table yet."""
        self._written_before: dict[int, int] = {}
        """For each page that was asked for, how many samples of this pass were known to be written by then."""
        self._warned_of: set[str] = set()
        self._nameless: Counter[str] = Counter()
        self._begun = self._reported = service.clock.now()
        self._passes = self._total = self._unaccounted = 0
        self._only_plans = self._remembers = self._stopped = self._complete = False

    def preview(self) -> None:
        """Decide about everything and write nothing."""
        self._only_plans = True
        self._read_until_accounted()
        self._report(last=True)

    def check_guards_first(self, policy: ConfirmPolicy) -> None:
        """Decide about everything first: a guard judges the whole. From then on only what was judged is written.

        :raises GuardFailed: naming the guard that does not hold
        """
        self._only_plans = self._remembers = True
        self._read_until_accounted()
        self._only_plans = False
        self.check_guards(policy)
        self._decide = self.table.decide_as_planned

    def check_guards(self, policy: ConfirmPolicy) -> None:
        """Check guards against what was decided; a run that did not decide about everything ends otherwise.

        :raises GuardFailed: naming the guard that does not hold
        """
        if not self._is_cut_short:
            policy.check_guards(
                self.table.count(ConfirmationStatus.PLANNED), self.table.by_label[ConfirmationStatus.PLANNED]
            )

    def apply(self) -> None:
        """Write everything that is decided so."""
        if not self._is_cut_short:
            self._read_until_accounted()
        if not self._is_cut_short and self._recorder is not None:
            self._recorder.reconcile_unlisted(self.table, self._service, self._run_jobs)
        self._complete = not self._is_cut_short
        self._report(last=True)

    def result(self) -> ConfirmationResult:
        """Return the counts as they are now."""
        counts: dict[str, Any] = self.table.counts
        planned = counts.pop("planned")
        # A planned sample that a complete run did not list is gone; one that was not reached is as it was.
        counts["confirmed" if self._is_preview else "gone" if self._complete else "left"] += planned
        by_label = self.table.by_label[ConfirmationStatus.PLANNED if self._is_preview else ConfirmationStatus.CONFIRMED]
        return ConfirmationResult(
            seen=len(self.table),
            **counts,
            changed_since_plan=self.table.count(ConfirmationStatus.CHANGED),
            passes=self._passes,
            requests=self._service.requests,
            seconds=self._service.clock.now() - self._begun,
            by_label={name: number for name, number in sorted(by_label.items()) if number > 0},
            dataset_id=self._service.dataset_id,
            failures=self.table.failures,
            unaccounted=self._unaccounted,
            stopped=self._stopped,
            confirmed_before=0 if self._recorder is None else self._recorder.confirmed_before,
            preview=self._is_preview,
        )

    @property
    def _is_cut_short(self) -> bool:
        return self._stopped or self._unaccounted > 0

    # Reading

    def _read_until_accounted(self) -> None:
        """Read the list until all that the service counts has been dealt with (B14)."""
        previous: PassEnd | None = None
        for number in range(1, MAX_PASSES + 1):
            self._passes += 1
            end = self._read_once()
            if end is None:
                return
            unaccounted = page_order.count_unaccounted(end, previous, last=number == MAX_PASSES)
            if unaccounted is not None:
                self._unaccounted = unaccounted
                return
            previous = end

    def _read_once(self) -> PassEnd | None:
        """Read the list from its last page to its first; None if a stop was requested by the end of that."""
        self.table.begin_pass()
        self._nameless.clear()
        first = self._filtered.begin(partial(pages_ahead, self._pool, self._service.pace))
        bounds = page_order.locate_last_page(self._filtered.page, first)
        self._pages = bounds.pages
        self._count = ListCountMonitor(bounds.total)
        self._total = max(self._total, bounds.total)
        self._run_jobs(last=bounds.last)
        self._stopped = self._stopped or self._stop.is_requested()
        if self._stopped:
            return None
        now = self._filtered.page(0, 1)
        self._count.look(now, self._count.written)
        disturbed = self._count.disturbed
        if not disturbed and (twice := self.table.repeats.keys() - self._warned_of):
            self._warned_of |= twice
            log.warning("%s", listed_twice(self._service.dataset_id, twice))
        read = self._filtered.page
        if not self._filtered.walks_the_filtered_list:
            read, now = self._service.page, self._service.page(0, 1)
        total = page_order.length_of(read, now, is_counted=bounds.is_counted)
        return PassEnd(total, self.table.remaining, self.table.changes, disturbed, self.table.repeated)

    def _run_jobs(self, jobs: Iterable[WorkItem[Any]] = (), last: Numbered | None = None) -> None:
        """Carry out jobs, and deal with the pages from the last one down, until all that follows is done."""
        scheduler = PageScheduler(self._pool, self._service.pace, self._read_page, self._on_page, self._stop)
        for _ in scheduler.steps(last, jobs):
            self._report()

    def _read_page(self, number: int) -> Page[SampleRow]:
        self._written_before[number] = self._count.written
        return self._pages.page(number)

    def _on_page(self, numbered: Numbered) -> Jobs:
        number, page = numbered
        self._count.look(page, self._written_before.pop(number, self._count.written))
        wanted, again = self._sorted(page)
        if not self._filtered.lists_whole_samples:
            return self._recheck_jobs([*wanted, *again])
        chosen = self._to_confirm(wanted, repeat(page.read_at))
        return self._write_jobs(chosen, number) + self._recheck_jobs(again)

    def _sorted(self, page: Page[SampleRow]) -> tuple[Sequence[SampleRow], list[SampleRow]]:
        """Return the samples of a page that need a decision, and those to be read singly first; each once.

        Read singly is what had left the list, and what the page shows twice with different labels.
        """
        ids = {row.sample_id for row in page.items}
        is_new = len(ids) == len(page.items) and "" not in ids and self._filtered.walks_the_filtered_list
        if is_new and ids.isdisjoint(self._in_flight) and not self.table.knows_any(ids) and not self._know_others():
            self._in_flight |= ids
            return page.items, []
        wanted: list[SampleRow] = []
        again: list[SampleRow] = []
        contradicted = with_other_labels(page.items)
        repeats: list[str] = []
        fresh = 0
        for row in page.items:
            sample_id = row.sample_id
            if not self._filtered.matches_filter(row):
                continue
            if not sample_id:
                self._fail_nameless(row)
                continue
            if sample_id in self._in_flight or self.table.is_listed(sample_id):
                repeats.append(sample_id)
                continue
            fresh += 1
            status = self.table.status(sample_id)
            if status in _STAYS or (status is ConfirmationStatus.PLANNED and self._only_plans):
                self.table.mark_listed(sample_id)
                continue
            self._in_flight.add(sample_id)
            is_doubtful = sample_id in contradicted or self._had_left(sample_id, status)
            (again if is_doubtful else wanted).append(row)
        if fresh:  # else it is a page that was read before: the service takes no notice of the offset
            self.table.repeats.update(repeats)
        return wanted, again

    def _fail_nameless(self, row: SampleRow) -> None:
        """Account for a row of the list without an id: it is told apart by what it holds."""
        if not self._filtered.takes(row):
            self.table.count_stale()
            return
        content = sha256(json.dumps(row.sample.raw, sort_keys=True).encode()).hexdigest()[:8]
        self._nameless[content] += 1
        named = SampleRow(f"(no id, {content}, {self._nameless[content]})")
        if self.table.status(named.sample_id) is None:
            self.table.fail(named, ODD, row.oddity or "")
        else:
            self.table.mark_listed(named.sample_id)

    def _know_others(self) -> bool:
        """Whether other tries are known to have confirmed anything."""
        return self._recorder is not None and self._recorder.knows_confirmed

    def _had_left(self, sample_id: str, status: ConfirmationStatus | None) -> bool:
        """Whether a sample is known to have been no proposal any more: that it is listed proves nothing then."""
        if status is None:
            return self._recorder is not None and self._recorder.is_confirmed(sample_id)
        return status in _LEFT_THE_LIST

    def _recheck_jobs(self, rows: Sequence[SampleRow]) -> Jobs:
        """Return the jobs that read samples singly: their list does not show all, or they had left it."""
        parts = [rows[start : start + READS_PER_JOB] for start in range(0, len(rows), READS_PER_JOB)]
        return [WorkItem(partial(self._read_single, part), self._on_read) for part in parts]

    def _read_single(self, rows: Sequence[SampleRow]) -> tuple[list[SingleRead], Sequence[SampleRow]]:
        """Read samples one by one; return also those that were not reached. A job of the pool."""
        begun = self._service.clock.now()
        found: list[SingleRead] = []
        for number, row in enumerate(rows):
            # What was read first must not grow old while the rest is read.
            if self._service.clock.now() - begun > FRESH_SECONDS / 2:
                return found, rows[number:]
            try:
                found.append((row, self._service.proposal(row.sample_id)))
            except ModelArtsError as error:
                if not is_odd_read(error):
                    raise
                found.append((row, error))
        return found, ()

    def _on_read(self, answer: tuple[list[SingleRead], Sequence[SampleRow]]) -> Jobs:
        found, rest = answer
        reads = []
        for listed, whole in found:
            if isinstance(whole, ModelArtsError):  # an odd answer about one sample is the failure of that sample
                self._in_flight.discard(listed.sample_id)
                self.table.fail(listed, whole.code or UNKNOWN, whole.message)
                continue
            had_left = self._had_left(listed.sample_id, self.table.status(listed.sample_id))
            if whole is not None and (not had_left or self._is_listed_so(listed, whole.row)):
                reads.append(whole)
                continue
            self._in_flight.discard(listed.sample_id)
            if whole is None and had_left:
                self.table.count_stale()
        return self._write_jobs(self._decide_again(reads)) + self._recheck_jobs(rest)

    def _is_listed_so(self, listed: SampleRow, whole: SampleRow) -> bool:
        """Whether the list shows a proposal as it is, or the part of its labels that the filters leave."""
        return (same_proposal if self._filtered.lists_whole_samples else shows_part_of)(listed, whole)

    # Deciding and writing

    def _to_confirm(self, rows: Sequence[SampleRow], read_at: Iterable[float]) -> list[ProposalRead]:
        """Decide; return what is to be confirmed, and note the rest.

        :param read_at: when each of them was read
        """
        chosen, takes_all = [], self._filtered.takes_all
        for row, when, decision in zip(rows, read_at, self._decide(rows), strict=False):
            is_ours = takes_all or self._filtered.takes(row)
            # Only a row that is odd as a whole can be so where its labels are as they were decided upon.
            if decision.action == "confirm" and is_ours and not (row.is_odd and row.oddity):
                chosen.append(ProposalRead(row, when, decision.rule))
                continue
            self._in_flight.discard(row.sample_id)
            if not is_ours:
                self.table.count_stale()
                continue
            if (fault := row.oddity) is not None:
                self.table.fail(row, ODD, fault)
            else:
                self.table.set_status(row, _status_of(decision))
            if decision == CHANGED and self._recorder is not None:
                self._recorder.record_changed(ProposalRead(row, when))
        return chosen

    def _decide_again(self, reads: Sequence[ProposalRead]) -> list[ProposalRead]:
        return self._to_confirm([read.row for read in reads], [read.read_at for read in reads])

    def _write_jobs(self, chosen: list[ProposalRead], page: int | None = None, rounds: int = 1) -> Jobs:
        """Return the jobs that write what was decided; a run that only plans notes it.

        :param page: number of the page that listed them; None: read singly
        :param rounds: how often they have been decided about
        """
        if self._only_plans:
            rows = [read.row for read in chosen]
            self._in_flight.difference_update([row.sample_id for row in rows])
            self.table.set_all(rows, ConfirmationStatus.PLANNED)
            for row in rows if self._remembers else ():
                self.table.remember_labels(row)
            return []
        size = self._batch_size
        parts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        self._count.under_way += len(chosen)
        return [WorkItem(partial(self._write, part, page), partial(self._on_written, part, rounds)) for part in parts]

    def _write(self, chosen: list[ProposalRead], page: int | None) -> _Written:
        """Write a batch. A job of the pool."""
        writer = BatchWriter(
            self._service,
            batch_size=self._batch_size,
            stop=self._stop,
            breaker=self._breaker,
            author=self._author,
            list_again=None if page is None else partial(self._pages.page, page),
            recorder=self._recorder,
        )
        outcomes: list[WriteOutcome] = []
        error = None
        try:
            outcomes.extend(writer.write(chosen))
        except ModelArtsError as failed:
            self._stop.abort()  # at once: other threads would go on writing until this one's error is noticed
            error = failed
        return _Written(outcomes, writer.before, error, writer.uncertain)

    def _on_written(self, chosen: list[ProposalRead], rounds: int, written: _Written) -> Jobs:
        """Note what became of a batch, and decide again about proposals that have changed."""
        self._count.under_way -= len(chosen)
        changed: list[ProposalRead] = []
        accounted: set[str] = set()
        for outcome in written.outcomes:
            accounted.update([read.row.sample_id for read in outcome.reads])
            if outcome.now is not None:
                changed.append(outcome.now)
            else:
                self._note_outcome(outcome, written.before)
        for read in chosen if len(accounted) < len(chosen) else ():
            sample_id = read.sample_id
            if sample_id in accounted:
                continue
            self._in_flight.discard(sample_id)
            if written.error is None or sample_id not in written.uncertain:
                self.table.set_status(read.row, ConfirmationStatus.LEFT)
                continue
            self.table.fail(read.row, UNKNOWN, written.error.message)
            if self._recorder is not None:
                self._recorder.record([read], "failed", written.before, code=UNKNOWN, message=written.error.message)
        if written.error is not None:
            raise written.error
        again = self._decide_again(changed)
        if rounds >= DECISION_ROUNDS:
            for read in again:
                self._in_flight.discard(read.sample_id)
                self.table.set_status(read.row, ConfirmationStatus.LEFT)
            again = []
        stores = self._recorder.due() if self._recorder is not None else []
        return stores + self._write_jobs(again, rounds=rounds + 1)

    def _note_outcome(self, outcome: WriteOutcome, before: Mapping[str, list[dict[str, Any]]]) -> None:
        reads, status = outcome.reads, outcome.status
        rows = [read.row for read in reads]
        self._in_flight.difference_update(outcome.ids)
        if status in (ConfirmationStatus.FAILED, ConfirmationStatus.UNKNOWN):
            for row in rows:
                self.table.fail(row, outcome.code, outcome.message)
        else:
            self._count.written += len(rows) if status is ConfirmationStatus.CONFIRMED else 0
            self.table.set_all(rows, status)
        if status is ConfirmationStatus.LEFT:
            # What an error held back was not stopped by anybody.
            self._stopped = self._stopped or self._stop.is_requested()
        elif self._recorder is None:
            pass
        elif outcome.carries_labels:
            self._recorder.record_carrying(outcome.ids)
        else:
            self._recorder.record(reads, _FATES[status], before, code=outcome.code, message=outcome.message)

    def _report(self, *, last: bool = False) -> None:
        now = self._service.clock.now()
        if self._on_progress is None or (not last and now - self._reported < PROGRESS_SECONDS):
            return
        self._reported = now
        total = max(self._total, len(self.table))
        self._on_progress(Progress(total, len(self.table), self.table.counts, now - self._begun))


def _status_of(decision: Decision) -> ConfirmationStatus:
    """Return the status of a sample that is not to be confirmed."""
    if decision in (CHANGED, NOT_PLANNED):
        return ConfirmationStatus.CHANGED
    return ConfirmationStatus.REVIEW if decision.action == "review" else ConfirmationStatus.LEFT
