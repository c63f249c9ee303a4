"""One confirmation: walks the list of proposals, decides, and accounts for every sample (B13 to B18).

The thread that runs it knows and decides everything; the crew's threads read and write. What becomes of that which is
written is the matter of :mod:`.writing`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.apply.batch_writer import FRESH_SECONDS
from airflow_provider_modelarts.labeling.apply.writing import Writing
from airflow_provider_modelarts.labeling.intent import CHANGED, NOT_PLANNED, Intent
from airflow_provider_modelarts.labeling.label_equality import (
    ODD,
    oddity,
    same_proposal,
    shows_part_of,
    with_other_labels,
)
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.proposals import page_order as walk
from airflow_provider_modelarts.labeling.proposals.dataset import ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.proposals.filtered import FilteredProposals
from airflow_provider_modelarts.labeling.proposals.page_order import (
    Pages,
    PassEnd,
    length_of,
    locate_last_page,
    verdict,
)
from airflow_provider_modelarts.labeling.proposals.page_scheduler import ListCountMonitor, PageScheduler, pages_ahead
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool, WorkItem
from airflow_provider_modelarts.labeling.results import PROGRESS_SECONDS, ConfirmationResult, Progress, listed_twice
from airflow_provider_modelarts.labeling.sample_table import Category, SampleTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_modelarts.client import Page
    from airflow_provider_modelarts.labeling.ledger.recorder import Recorder
    from airflow_provider_modelarts.labeling.policy import ConfirmPolicy, Decision
    from airflow_provider_modelarts.labeling.proposals.dataset import DatasetProposals
    from airflow_provider_modelarts.labeling.proposals.page_order import Numbered

    Jobs = list[WorkItem[Any]]
    Looked = tuple[Sample, ProposalRead | ModelArtsError | None]

log = logging.getLogger(__name__)

MAX_PASSES = 5
LOOKS = 25
"""Samples that one job reads singly."""

_DECIDED = {"review": Category.REVIEW, "leave": Category.LEFT}
_KNOWN = frozenset({Category.REVIEW, Category.LEFT, Category.FAILED})
_LEFT_THE_LIST = frozenset({Category.CONFIRMED, Category.GONE})


class ConfirmationRun:
    """A confirmation: what it knows and where it is.

    :param service: where to read and write, with the filters of the list
    :param decide: says what to do with a proposal
    :param crew: carries the requests
    :param batch_size: samples per write
    :param first_label: only samples whose first label has this name
    :param on_progress: called every few seconds and at the end
    :param should_stop: asked before every write and while waiting; once true no further write goes out
    :param recorder: keeps the ledger
    """

    def __init__(
        self,
        service: DatasetProposals,
        decide: Callable[[Sample], Decision],
        crew: WorkerPool,
        *,
        batch_size: int = 100,
        first_label: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._decide = decide
        self._crew = crew
        self._on_progress = on_progress
        self._should_stop = should_stop or (lambda: False)
        self._recorder = recorder
        self._begun = self._reported = service.clock.now()
        self._untrimmed = FilteredProposals(service, first_label)
        self._in_hand: set[str] = set()
        self._said_twice: set[str] = set()
        self._nameless: Counter[str] = Counter()
        self._written_before: dict[int, int] = {}
        self._pages = Pages(self._untrimmed.page, 1, walk.PAGE_SIZE)
        self._passes = self._total = self._unaccounted = 0
        self._stopped = self._complete = self._only_plans = False
        self.books = SampleTable()
        self._writing = Writing(
            service,
            self.books,
            self._in_hand,
            batch_size=batch_size,
            should_stop=self._should_stop,
            recorder=recorder,
            list_again=self._read,
            decide_anew=self._to_confirm,
        )
        service.may_go_on = self._writing.may_write

    def preview(self) -> None:
        """Decide about everything and write nothing."""
        self._only_plans = True
        self._walk_until_accounted(self._note_planned)
        self._report(last=True)

    def check_guards_first(self, policy: ConfirmPolicy) -> None:
        """Decide about everything first: a guard judges the whole. From then on only what was judged is written.

        :raises GuardFailed: naming the guard that does not hold
        """
        intent = Intent()
        self._only_plans = True
        self._walk_until_accounted(partial(self._note_planned, intent=intent))
        self._only_plans = False
        self.check_guards(policy)
        if self._goes_on:
            self._decide = intent.decide

    def check_guards(self, policy: ConfirmPolicy) -> None:
        """Hold guards against what was decided; a run that did not decide about everything ends otherwise.

        :raises GuardFailed: naming the guard that does not hold
        """
        if self._goes_on:
            policy.check_guards(self.books.count(Category.PLANNED), self.books.by_label[Category.PLANNED])

    def apply(self) -> None:
        """Write everything that is decided so."""
        if self._goes_on:
            self._walk_until_accounted(self._writing.jobs)
        if self._goes_on and self._recorder is not None:
            self._recorder.reconcile_unlisted(self.books, self._service, self._run_jobs)
        self._complete = self._goes_on
        self._report(last=True)

    def stop_writes(self) -> None:
        """Let no further write out, whatever happens."""
        self._writing.stop_writes()

    def result(self, *, preview: bool = False, **more: Any) -> ConfirmationResult:
        """Return the counts as they are now."""
        counts = self.books.counts
        planned = counts.pop("planned")
        # A planned sample that a complete walk did not list is gone; one that was not reached is as it was.
        counts["confirmed" if preview else "gone" if self._complete else "left"] += planned
        by_label = self.books.by_label[Category.PLANNED if preview else Category.CONFIRMED]
        return ConfirmationResult(
            seen=len(self.books),
            confirmed=counts["confirmed"],
            review=counts["review"],
            left=counts["left"],
            failed=counts["failed"],
            gone=counts["gone"],
            changed_since_plan=self.books.changed,
            passes=self._passes,
            requests=self._service.requests,
            seconds=self._service.clock.now() - self._begun,
            by_label={name: number for name, number in sorted(by_label.items()) if number > 0},
            dataset_id=self._service.dataset_id,
            failures=self.books.failures,
            unaccounted=self._unaccounted,
            stopped=self._is_stopped,
            preview=preview,
            **more,
        )

    @property
    def _goes_on(self) -> bool:
        return not self._is_stopped and not self._unaccounted

    @property
    def _is_stopped(self) -> bool:
        return self._stopped or self._writing.is_stopped

    def _may_read(self) -> bool:
        self._stopped = self._is_stopped or self._should_stop()
        return not self._stopped

    # Walking

    def _walk_until_accounted(self, take: Callable[[list[ProposalRead], int | None], Jobs]) -> None:
        """Walk the list until all that the service counts has been dealt with (B14).

        :param take: takes over what is to be confirmed, with the number of its page; returns the jobs that follow
        """
        previous: PassEnd | None = None
        for number in range(1, MAX_PASSES + 1):
            self._passes += 1
            end = self._pass(take)
            if self._is_stopped:
                return
            over = verdict(end, previous, last=number == MAX_PASSES)
            if over is not None:
                self._unaccounted = over
                return
            previous = end

    def _pass(self, take: Callable[[list[ProposalRead], int | None], Jobs]) -> PassEnd:
        self.books.begin_pass()
        self._nameless.clear()
        read_pages = partial(pages_ahead, self._crew, self._service.pace)
        first = self._untrimmed.begin(read_pages)
        bearings = locate_last_page(self._untrimmed.page, first)
        self._pages = bearings.pages
        self._writing.count = ListCountMonitor(bearings.total)
        self._total = max(self._total, bearings.total)
        self._run_jobs(last=bearings.last, take=take)
        if not self._may_read():
            return PassEnd(0, self.books.remaining, self.books.news, disturbed=True)
        now = self._untrimmed.page(0, 1)
        self._writing.count.look(now, self._writing.count.written)
        disturbed = self._writing.count.disturbed
        if not disturbed:
            self._say_what_is_listed_twice()
        read = self._untrimmed.page
        if not self._untrimmed.walks_the_filtered_list:
            read, now = self._service.page, self._service.page(0, 1)
        total = length_of(read, now, is_counted=bearings.is_counted)
        return PassEnd(total, self.books.remaining, self.books.news, disturbed, self.books.repeated)

    def _say_what_is_listed_twice(self) -> None:
        twice = self.books.repeats.keys() - self._said_twice
        if twice:
            self._said_twice |= twice
            log.warning("%s", listed_twice(self._service.dataset_id, twice))

    def _run_jobs(
        self,
        jobs: Iterable[WorkItem[Any]] = (),
        last: Numbered | None = None,
        take: Callable[[list[ProposalRead], int | None], Jobs] = lambda *_: [],
    ) -> None:
        descent = PageScheduler(
            self._crew,
            self._service.pace,
            self._read,
            partial(self._deal_with, take),
            may_go_on=self._may_read,
            on_error=self.stop_writes,
        )
        for _ in descent.steps(last, jobs):
            self._report()

    def _read(self, number: int) -> Page[Sample]:
        self._written_before[number] = self._writing.count.written
        return self._pages.page(number)

    def _deal_with(self, take: Callable[[list[ProposalRead], int | None], Jobs], numbered: Numbered) -> Jobs:
        number, page = numbered
        self._writing.count.look(page, self._written_before.pop(number, self._writing.count.written))
        wanted, again = self._sorted(page)
        if not self._untrimmed.lists_whole_samples:
            return self._recheck_jobs(wanted + again, take)
        candidates = [ProposalRead(sample, page.read_at) for sample in wanted]
        return take(self._to_confirm(candidates), number) + self._recheck_jobs(again, take)

    def _sorted(self, page: Page[Sample]) -> tuple[list[Sample], list[Sample]]:
        """Return the samples of a page that need a decision, and those to be read singly first; each once.

        Read singly is what had left the list, and what the page shows twice with different labels.
        """
        wanted: list[Sample] = []
        again: list[Sample] = []
        chooses = None if self._untrimmed.walks_the_filtered_list else self._untrimmed.matches_filter
        contradicted = with_other_labels(page.items)
        repeats: list[str] = []
        fresh = 0
        for sample in page.items:
            sample_id = sample.sample_id
            if chooses is not None and not chooses(sample):
                continue
            if not sample_id:
                self._fail_nameless(sample)
                continue
            if sample_id in self._in_hand or self.books.is_listed(sample_id):
                repeats.append(sample_id)
                continue
            fresh += 1
            category = self.books.category(sample_id)
            if category in _KNOWN or (category is Category.PLANNED and self._only_plans):
                self.books.mark_listed(sample)
                continue
            self._in_hand.add(sample_id)
            looks = sample_id in contradicted or self._had_left(sample_id, category)
            (again if looks else wanted).append(sample)
        if fresh:  # else it is a page that was read before: the service takes no notice of the offset
            self.books.repeats.update(repeats)
        return wanted, again

    def _fail_nameless(self, sample: Sample) -> None:
        """Account for a row of the list without an id: it is told apart by what it holds."""
        if not self._untrimmed.has_first_label(sample):
            self.books.count_stale()
            return
        content = sha256(json.dumps(sample.raw, sort_keys=True).encode()).hexdigest()[:8]
        self._nameless[content] += 1
        named = Sample({"sample_id": f"(no id, {content}, {self._nameless[content]})"})
        if self.books.category(named.sample_id) is None:
            self.books.fail(named, ODD, oddity(sample) or "")
        else:
            self.books.mark_listed(named)

    def _had_left(self, sample_id: str, category: Category | None) -> bool:
        """Whether a sample is known to have been no proposal any more: that it is listed proves nothing then."""
        if category is None:
            return self._recorder is not None and self._recorder.is_confirmed(sample_id)
        return category in _LEFT_THE_LIST

    # Deciding

    def _recheck_jobs(self, samples: Sequence[Sample], take: Callable[[list[ProposalRead], int | None], Jobs]) -> Jobs:
        """Return the jobs that read samples singly: their list does not show all, or they had left it."""
        pieces = [samples[place : place + LOOKS] for place in range(0, len(samples), LOOKS)]
        return [WorkItem(partial(self._read_single, piece), partial(self._on_read, take)) for piece in pieces]

    def _read_single(self, samples: Sequence[Sample]) -> tuple[list[Looked], Sequence[Sample]]:
        begun = self._service.clock.now()
        found: list[Looked] = []
        for number, sample in enumerate(samples):
            # What was read first must not grow old while the rest is read.
            if self._service.clock.now() - begun > FRESH_SECONDS / 2:
                return found, samples[number:]
            try:
                found.append((sample, self._service.proposal(sample.sample_id)))
            except ModelArtsError as error:
                if not is_odd_read(error):
                    raise
                found.append((sample, error))
        return found, ()

    def _on_read(
        self,
        take: Callable[[list[ProposalRead], int | None], Jobs],
        looked: tuple[list[Looked], Sequence[Sample]],
    ) -> Jobs:
        found, rest = looked
        candidates = []
        for listed, whole in found:
            if isinstance(whole, ModelArtsError):  # an odd answer about one sample is the failure of that sample
                self._in_hand.discard(listed.sample_id)
                self.books.fail(listed, whole.code or UNKNOWN, whole.message)
                continue
            had_left = self._had_left(listed.sample_id, self.books.category(listed.sample_id))
            if whole is not None and (not had_left or self._is_listed_so(listed, whole.sample)):
                candidates.append(whole)
                continue
            self._in_hand.discard(listed.sample_id)
            if whole is None and had_left:
                self.books.count_stale()
        return take(self._to_confirm(candidates), None) + self._recheck_jobs(rest, take)

    def _is_listed_so(self, listed: Sample, whole: Sample) -> bool:
        """Whether the list shows a proposal as it is, or the part of its labels that the filters leave."""
        return (same_proposal if self._untrimmed.lists_whole_samples else shows_part_of)(listed, whole)

    def _to_confirm(self, candidates: Iterable[ProposalRead]) -> list[ProposalRead]:
        """Decide; return what is to be confirmed, and note the rest."""
        chosen = []
        for candidate in candidates:
            sample = candidate.sample
            if not self._untrimmed.has_first_label(sample):
                self._in_hand.discard(sample.sample_id)
                self.books.count_stale()
                continue
            if (fault := oddity(sample)) is not None:
                self._in_hand.discard(sample.sample_id)
                self.books.fail(sample, ODD, fault)
                if self._recorder is not None and self._decide(sample) == CHANGED:
                    self._recorder.record_changed(candidate)
                continue
            decision = self._decide(sample)
            if decision.action == "confirm":
                chosen.append(ProposalRead(sample, candidate.read_at, decision.rule))
                continue
            self._in_hand.discard(sample.sample_id)
            self.books.settle(sample, _DECIDED[decision.action], changed=decision in (CHANGED, NOT_PLANNED))
            if decision == CHANGED and self._recorder is not None:
                self._recorder.record_changed(candidate)
        return chosen

    def _note_planned(self, candidates: list[ProposalRead], number: int | None, intent: Intent | None = None) -> Jobs:
        del number
        for candidate in candidates:
            self._in_hand.discard(candidate.sample.sample_id)
            self.books.settle(candidate.sample, Category.PLANNED)
            if intent is not None:
                intent.add(candidate.sample)
        return []

    def _report(self, *, last: bool = False) -> None:
        now = self._service.clock.now()
        if self._on_progress is None or (not last and now - self._reported < PROGRESS_SECONDS):
            return
        self._reported = now
        total = max(self._total, len(self.books))
        self._on_progress(Progress(total, len(self.books), self.books.counts, now - self._begun))
