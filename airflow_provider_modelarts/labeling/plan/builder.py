"""Makes a plan: one reading of all proposals, a decision about each, nothing written to the dataset."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import ConfirmationError, UnexpectedResponse
from airflow_provider_modelarts.labeling.audit import SizedDraw
from airflow_provider_modelarts.labeling.filters import checked_filters, checked_label
from airflow_provider_modelarts.labeling.plan.baseline import Comparison
from airflow_provider_modelarts.labeling.plan.lines import PlanHeader
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanWriter
from airflow_provider_modelarts.labeling.plan.summary import PlanSummary
from airflow_provider_modelarts.labeling.policy import AUDITED, ODD, decide_by, parse_policy
from airflow_provider_modelarts.labeling.proposals import page_order
from airflow_provider_modelarts.labeling.proposals.filtered import FilteredProposals
from airflow_provider_modelarts.labeling.proposals.page_scheduler import pages_ahead
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
from airflow_provider_modelarts.labeling.results import PROGRESS_SECONDS, SAMPLES_SHOWN, Failure, Progress, listed_twice
from airflow_provider_modelarts.labeling.sample_facts import facts_of_row
from airflow_provider_modelarts.labeling.sample_table import short_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, Page
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.plan.baseline import Baseline
    from airflow_provider_modelarts.labeling.policy import Decision
    from airflow_provider_modelarts.labeling.proposals.filtered import ReadPages
    from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead
    from airflow_provider_modelarts.labeling.results import ConfirmationResult
    from airflow_provider_modelarts.labeling.sample_facts import SampleFacts
    from airflow_provider_modelarts.labeling.sample_table import PlanIndex
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

log = logging.getLogger(__name__)

_PAGE = 100
READERS = 8
"""Pages that are read at once: as many requests as a confirmation has in flight by default."""


class PlanResult(NamedTuple):
    """What :func:`make_plan` returns.

    :param plan: the stored plan
    :param summary: for people
    :param result: the counts in the form of a confirmation's result, ready for XCom
    """

    plan: Plan
    summary: PlanSummary
    result: ConfirmationResult

    def markdown(self) -> str:
        """Return the summary of the plan, with what people must know of it besides its counts."""
        plan = self.plan
        notes = [] if plan.drift is None else plan.drift.notes()
        if plan.is_candidate:
            proven = "of what would be confirmed only that is which people's answers prove."
            notes = [f"This plan alone confirms nothing: {proven}", *notes]
        title = f"Plan {plan.digest[:12]} to confirm labels of dataset {plan.header.dataset_id}"
        return self.summary.markdown(title, notes, asked=plan.asked)


def make_plan(
    client: ModelArtsClient,
    dataset_id: str,
    path: StoragePath,
    *,
    policy: object = None,
    filters: Mapping[str, Any] | None = None,
    label_task_id: str | None = None,
    made_by: Mapping[str, Any] | None = None,
    first_label: str | None = None,
    keep: Callable[[Plan], bool] | None = None,
    baseline: Baseline | None = None,
    crew: WorkerPool | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = system_clock,
) -> PlanResult:
    """Read all proposals once, decide about each, and store the decisions; writes nothing to the dataset.

    Guards are not checked here, so that a plan whose guard fails can still be read: call ``plan.check_guards()``.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param path: where the plan is stored
    :param policy: as ``parse_policy`` takes it; None: confirm every proposal that has labels
    :param filters: ``label_name``, ``label_type``, ``low_score``, ``high_score``, ``search_conditions`` of the list,
        each only if it is to be sent; scores checked
    :param label_task_id: the labeling task that made the proposals; noted in the plan
    :param made_by: noted in the plan: dag, run, task ...
    :param first_label: only proposals whose first label has this name; ``filters`` then hold it as ``label_name``
    :param keep: None: what is at the path is replaced. Else called with a complete plan that is there when this one is
        to be stored; true: that one counts and is returned, this one is thrown away
    :param baseline: the earlier plan that the policy's ``max_drift`` is judged by; None: there is none yet
    :param crew: the worker pool that reads pages; None: one of :data:`READERS` threads
    :param on_progress: called every few seconds
    :param should_stop: asked before each page; true ends the reading without a plan
    :param clock: the client's
    :raises InvalidPolicy: before anything is read
    :raises InvalidRequest: for a label without a name, before anything is read
    :raises UnexpectedResponse: if the service lists fewer proposals than it counts
    :raises ConfirmationError: if it was asked to stop; no plan was stored
    """
    rules = parse_policy(policy)
    filters = checked_filters(filters or {})
    checked_label("label_name", filters.get("label_name"))
    checked_label("first_label", first_label)
    begun = told = clock.now()
    header = PlanHeader(
        dataset_id=dataset_id,
        policy=None if rules is None else rules.model_dump(mode="json", exclude_defaults=True),
        label_task_id=label_task_id,
        filters=filters,
        first_label=first_label,
        made_by={} if made_by is None else made_by,
        created_at=begun,
    )
    summary, oddities = PlanSummary(), _Oddities()
    comparison = Comparison(rules, baseline)
    with ExitStack() as stack:
        pool = crew if crew is not None else stack.enter_context(closing(WorkerPool(READERS)))
        proposals = DatasetProposals(client, dataset_id, clock, filters, concurrency=pool.size)
        writer = stack.enter_context(PlanWriter(path, header, keep=keep))
        draft = None
        if rules is not None and rules.audit_size is not None:
            folder = stack.enter_context(TemporaryDirectory(prefix="modelarts-plan-"))
            draft = _Draft(PlanWriter(Path(folder) / "draft.jsonl", header), SizedDraw(rules.audit_size, rules.seed))
        first = writer if draft is None else draft.writer
        listing = _Listing(proposals, first_label, first.index, should_stop or (lambda: False))

        def read() -> Iterator[Decided]:
            nonlocal told
            decide = decide_by(rules, filters)
            for reads in listing.pages(partial(pages_ahead, pool, proposals.pace)):
                rows = [read.row for read in reads]
                facts = [_facts_of(read) for read in reads]
                oddities.note(facts)
                yield Decided(rows, facts, [decide(one) for one in facts])
                now = clock.now()
                if on_progress is not None and now - told >= PROGRESS_SECONDS:
                    told = now
                    counts = dict(first.counts)
                    on_progress(Progress(listing.total, sum(counts.values()), counts, now - begun))

        for rows, facts, decisions in read() if draft is None else draft.drawn(read()):
            writer.add_rows(rows, decisions)
            comparison.add(facts)
            for row, one, decision in zip(rows, facts, decisions, strict=True):
                summary.add(row, one, decision)
        writer.notes = replace(comparison.notes(), completed_at=clock.now())
    plan = writer.plan()
    failures = oddities.failures()
    for failure in failures.values():
        log.warning("Samples of dataset %s that are left out of the plan's writes: %s", dataset_id, failure)
    if writer.has_lost:
        log.info("Another try has stored a plan at %s first. That plan counts, this one is dropped.", plan.uri)
        failures = {}
    if plan.index is not writer.index:
        summary = plan.summarize()
    result = replace(plan.result(proposals.requests, clock.now() - begun), failures=failures)
    return PlanResult(plan, summary, result)


class Decided(NamedTuple):
    """A page of proposals, what rules look at, and what they say."""

    rows: Sequence[SampleRow]
    facts: Sequence[SampleFacts]
    decisions: Sequence[Decision]


class _Draft:
    """A plan in a local file until the whole list is read: who is drawn of so many depends on all others."""

    def __init__(self, writer: PlanWriter, draw: SizedDraw) -> None:
        self.writer = writer
        self._draw = draw

    def drawn(self, pages: Iterable[Decided]) -> Iterator[Decided]:
        """Read all pages, draw the audit, and yield them again with what was drawn."""
        with self.writer as draft:
            for rows, facts, decisions in pages:
                draft.add_rows(rows, decisions)
                for one, decision in zip(facts, decisions, strict=True):
                    if decision.action == "confirm":
                        self._draw.add(one.names[0], one.sample_id)
        drawn, planned = self._draw.drawn(), self.writer.plan().samples()
        while page := list(islice(planned, _PAGE)):
            facts = [facts_of_row(one.row) for one in page]
            yield Decided(
                [one.row for one in page],
                facts,
                [AUDITED if one.row.sample_id in drawn else one.decision for one in page],
            )


class _Oddities:
    """Proposals that are not as the API documents them: they fail, as when they are confirmed."""

    def __init__(self) -> None:
        self._count = 0
        self._ids: list[str] = []
        self._fault = ""

    def note(self, facts: Iterable[SampleFacts]) -> None:
        for one in facts:
            if one.oddity is not None:
                self._fault = self._fault or one.oddity
                self._count += 1
                if self._count <= SAMPLES_SHOWN:
                    self._ids.append(one.sample_id or "(no id)")

    def failures(self) -> dict[str, Failure]:
        return {ODD: Failure(ODD, self._fault, self._count, tuple(self._ids))} if self._count else {}


def _facts_of(read: ProposalRead) -> SampleFacts:
    facts = facts_of_row(read.row)
    return facts._replace(oddity=read.fault) if read.fault else facts


class _Listing:
    """One reading of all proposals: each once, its labels whole, none missing that the service counts (B11)."""

    def __init__(
        self, proposals: DatasetProposals, first_label: str | None, planned: PlanIndex, should_stop: Callable[[], bool]
    ) -> None:
        self._proposals = proposals
        self._filtered = FilteredProposals(proposals, first_label)
        self._planned = planned
        self._should_stop = should_stop
        self._totals: set[int] = set()
        self._passed_over: set[str | bytes] = set()
        """Listed, but not to be planned: not matched by a filter, or gone between two reads."""
        self._count = self._repeats = 0
        self._twice: set[str] = set()

    @property
    def total(self) -> int:
        """How many proposals the service counts."""
        return max(self._totals, default=0)

    def pages(self, read_pages: ReadPages) -> Iterator[list[ProposalRead]]:
        self._filtered.begin(read_pages)
        bounds = page_order.locate_last_page(self._page)
        for page in read_pages(bounds):
            fresh = self._fresh(page)
            self._count += len(fresh)
            matching = [row for row in fresh if self._filtered.matches_filter(row)]
            reads = [read for read in self._filtered.candidates(page, matching) if self._filtered.takes(read.row)]
            if len(reads) < len(fresh):
                over = {row.sample_id for row in fresh}.difference(read.sample_id for read in reads)
                self._passed_over.update(map(short_key, over))
            yield reads
        self._check(bounds)

    def _fresh(self, page: Page[SampleRow]) -> list[SampleRow]:
        """Return the samples of a page that no earlier page had; the list may move while it is read."""
        known, over = self._planned, self._passed_over
        here: dict[str, SampleRow] = {}
        for row in page.items:
            here.setdefault(row.sample_id, row)
        if len(here) == len(page.items) and "" not in here and not over and not known.knows_any(here):
            return list(page.items)
        nameless = [row for row in page.items if not row.sample_id] if here.pop("", None) else []
        fresh = [
            row
            for sample_id, row in here.items()
            if sample_id not in known and (not over or short_key(sample_id) not in over)
        ] + nameless
        # Rows that show a sample once more; a page without anything new was read before.
        if fresh and len(fresh) < len(page.items):
            self._repeats += len(page.items) - len(fresh)
            if len(self._twice) < SAMPLES_SHOWN:
                rows = Counter(row.sample_id for row in page.items)
                rows.subtract(row.sample_id for row in fresh)
                self._twice.update(sample_id for sample_id, number in rows.items() if number)
        return fresh

    def _page(self, offset: int, limit: int, *, retry: bool = True) -> Page[SampleRow]:
        if self._should_stop():
            raise ConfirmationError(
                f"Asked to stop while the proposals of dataset {self._proposals.dataset_id} were read; no plan was "
                "stored. Run the task again."
            )
        page = self._filtered.page(offset, limit, retry=retry)
        self._totals.add(page_order.count(page))
        return page

    def _check(self, bounds: page_order.ListBounds) -> None:
        count = self._count
        # Not more than there are samples: a service that serves the same all the time lists nothing twice.
        rows = count + self._repeats if self._repeats <= count else count
        is_moving = len(self._totals) > 1 if bounds.is_counted else rows < bounds.total
        if self._twice and not is_moving:
            log.warning("%s", listed_twice(self._proposals.dataset_id, self._twice))
        if is_moving:
            log.warning(
                "The proposals of dataset %s changed while they were read; the plan may not hold all of them. What it "
                "does not hold is not touched.",
                self._proposals.dataset_id,
            )
        elif rows < bounds.total:
            raise UnexpectedResponse(
                f"Cannot plan for dataset {self._proposals.dataset_id}: the service counts {bounds.total} "
                f"proposals, but lists only {count}. Somebody may be changing the dataset: try again."
            )
