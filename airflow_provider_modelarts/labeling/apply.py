"""Confirms proposals: walks their list, decides, writes, and accounts for every one of them (B13 to B18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.checking import checked_scores
from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.labeling.books import Books, Category
from airflow_provider_modelarts.labeling.intent import CHANGED, Intent
from airflow_provider_modelarts.labeling.labels import same_proposal
from airflow_provider_modelarts.labeling.policy import ConfirmPolicy, confirm_all, parse_policy
from airflow_provider_modelarts.labeling.result import ConfirmationResult, Progress, with_result
from airflow_provider_modelarts.labeling.service import Service
from airflow_provider_modelarts.labeling.untrimmed import Untrimmed
from airflow_provider_modelarts.labeling.walk import PassEnd, count, verdict, walk
from airflow_provider_modelarts.labeling.write import FRESH_SECONDS, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from airflow_provider_modelarts.client import ModelArtsClient, Page, Sample
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.labeling.batches import Outcome
    from airflow_provider_modelarts.labeling.policy import Decision
    from airflow_provider_modelarts.labeling.service import Candidate

MAX_PASSES = 5
DECISION_ROUNDS = 5
"""A proposal may change between decision and write; so often it is decided anew, then it is left."""
PROGRESS_SECONDS = 3.0

_DECIDED = {"review": Category.REVIEW, "leave": Category.LEFT}
_KNOWN = frozenset({Category.REVIEW, Category.LEFT, Category.FAILED})
_LEFT_THE_LIST = frozenset({Category.CONFIRMED, Category.GONE})


def confirm(
    client: ModelArtsClient,
    dataset_id: str,
    *,
    policy: ConfirmPolicy | dict[str, Any] | str | None = None,
    label_name: str | None = None,
    low_score: float | str | None = None,
    high_score: float | str | None = None,
    batch_size: int | str = 100,
    preview: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Clock = system_clock,
) -> ConfirmationResult:
    """Make the labels final that the machine proposed and the policy accepts.

    Safe to run again at any moment (B17): what is confirmed has left the list, and a proposal is written only as a
    read of the last 30 seconds showed it. A policy with a guard is first held against everything that is proposed.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param policy: what may be confirmed, see :class:`ConfirmPolicy`; None: everything that has labels
    :param label_name: only proposals with this label; a sample is confirmed with all its labels nevertheless
    :param low_score: only proposals with at least this score, 0 to 1, as the service's list filters them
    :param high_score: only proposals with at most this score
    :param batch_size: samples per write; a page of 100 is the most that is written at once
    :param preview: decide about everything, write nothing; ``confirmed`` is what would be confirmed
    :param on_progress: called every few seconds and at the end
    :param should_stop: asked before every write and while waiting; once true no further write goes out
    :param clock: the client's
    :return: the counts. Samples that failed do not raise: see :func:`airflow_provider_modelarts.labeling.result.check`
    :raises InvalidPolicy: for a policy that cannot be understood, before anything is sent
    :raises InvalidRequest: for another parameter that is wrong, before anything is sent
    :raises GuardFailed: if a guard of the policy does not hold; nothing was written
    :raises ModelArtsError: for what ends the run early. What had been done by then is attached (``result_of``)
    """
    checked = parse_policy(policy)
    service = Service(client, dataset_id, clock, _filters(label_name, low_score, high_score))
    run = _Run(service, checked, _whole_number("batch_size", batch_size), on_progress, should_stop or _never)
    try:
        return run.preview() if preview else run.apply()
    except ModelArtsError as error:
        with_result(error, run.result())
        raise


class _Run:
    """One confirmation: what it knows and where it is."""

    def __init__(
        self,
        service: Service,
        policy: ConfirmPolicy | None,
        batch_size: int,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self._service = service
        self._policy = policy
        self._decide: Callable[[Sample], Decision] = policy.decide if policy else confirm_all
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._begun = self._reported = service.clock.now()
        self._books = Books()
        self._untrimmed = Untrimmed(service)
        self._writer = Writer(service, batch_size=batch_size, may_write=lambda: not should_stop())
        self._passes = self._total = self._unaccounted = 0
        self._stopped = self._complete = False

    def preview(self) -> ConfirmationResult:
        """Decide about everything and write nothing."""
        self._walk_until_accounted(self._plan_page)
        self._report(last=True)
        return self.result(preview=True)

    def apply(self) -> ConfirmationResult:
        """Confirm."""
        if self._policy and self._policy.has_guards:
            self._hold_guards(self._policy)
        if not self._stopped and not self._unaccounted:
            self._walk_until_accounted(self._confirm_page)
            self._complete = not self._stopped and not self._unaccounted
        self._report(last=True)
        return self.result()

    def result(self, *, preview: bool = False) -> ConfirmationResult:
        """Return the counts as they are now."""
        counts = self._books.counts
        planned = counts.pop("planned")
        # A planned sample that a complete walk did not list is gone; one that was not reached is as it was.
        counts["confirmed" if preview else "gone" if self._complete else "left"] += planned
        by_label = self._books.by_label[Category.PLANNED if preview else Category.CONFIRMED]
        return ConfirmationResult(
            seen=len(self._books),
            confirmed=counts["confirmed"],
            review=counts["review"],
            left=counts["left"],
            failed=counts["failed"],
            gone=counts["gone"],
            changed_since_plan=self._books.changed,
            passes=self._passes,
            requests=self._service.requests,
            seconds=self._service.clock.now() - self._begun,
            by_label={name: number for name, number in sorted(by_label.items()) if number > 0},
            dataset_id=self._service.dataset_id,
            failures=self._books.failures,
            unaccounted=self._unaccounted,
            stopped=self._stopped,
        )

    def _hold_guards(self, policy: ConfirmPolicy) -> None:
        """Decide about everything first: a guard judges the whole. From then on only what was judged is written."""
        plan = Intent()
        self._walk_until_accounted(lambda page: self._plan_page(page, plan))
        if self._stopped or self._unaccounted:
            return
        policy.check_guards(self._books.count(Category.PLANNED), self._books.by_label[Category.PLANNED])
        self._decide = plan.decide

    def _walk_until_accounted(self, deal_with: Callable[[Page[Sample]], int]) -> None:
        """Walk the list until all that the service counts has been dealt with (B14).

        :param deal_with: what to do with a page; returns how many of its samples have left the list by that
        """
        previous: PassEnd | None = None
        for number in range(1, MAX_PASSES + 1):
            self._passes += 1
            end = self._pass(deal_with)
            if self._stopped:
                return
            over = verdict(end, previous, last=number == MAX_PASSES)
            if over is not None:
                self._unaccounted = over
                return
            previous = end

    def _pass(self, deal_with: Callable[[Page[Sample]], int]) -> PassEnd:
        self._books.begin_pass()
        expected: int | None = None
        disturbed = False
        for page in walk(self._service.page):
            disturbed = disturbed or expected not in (None, count(page))
            self._total = max(self._total, count(page))
            expected = count(page) - deal_with(page)
            self._report()
            self._stopped = self._stopped or self._should_stop()
            if self._stopped:
                break
        total = 0 if self._stopped else count(self._service.page(0, 1))
        return PassEnd(total, self._books.remaining, self._books.news, disturbed=disturbed or expected != total)

    def _plan_page(self, page: Page[Sample], plan: Intent | None = None) -> int:
        for candidate in self._untrimmed.candidates(page, list(self._undecided(page, Category.PLANNED))):
            if self._is_to_confirm(candidate.sample):
                self._books.settle(candidate.sample, Category.PLANNED)
                if plan is not None:
                    plan.add(candidate.sample)
        return 0

    def _confirm_page(self, page: Page[Sample]) -> int:
        return sum(self._write(candidates) for candidates in self._decided(page))

    def _decided(self, page: Page[Sample]) -> Iterator[list[Candidate]]:
        """Return what is to be confirmed; in portions if reading the samples singly takes long."""
        portion: list[Candidate] = []
        for candidate in self._untrimmed.candidates(page, list(self._undecided(page))):
            if self._is_to_confirm(candidate.sample):
                portion.append(candidate)
            if portion and self._service.clock.now() - portion[0].read_at > FRESH_SECONDS / 2:
                yield portion
                portion = []
        portion += [candidate for candidate in self._listed_again(page) if self._is_to_confirm(candidate.sample)]
        yield portion

    def _undecided(self, page: Page[Sample], *known: Category) -> Iterator[Sample]:
        """Return the samples of a page that a decision is needed for, each once."""
        here = set()
        for sample in page.items:
            category = self._books.category(sample.sample_id)
            if category in _KNOWN or category in known:
                self._books.see(sample)
            elif sample.sample_id and category not in _LEFT_THE_LIST and sample.sample_id not in here:
                here.add(sample.sample_id)
                yield sample

    def _listed_again(self, page: Page[Sample]) -> Iterator[Candidate]:
        """Return samples that had left the list and still or again are proposals, as a single read of each shows."""
        for sample in {sample.sample_id: sample for sample in page.items}.values():
            if self._books.category(sample.sample_id) in _LEFT_THE_LIST:
                whole = self._service.proposal(sample.sample_id)
                if whole is None:
                    self._books.excuse()
                elif same_proposal(whole.sample, sample):
                    yield whole

    def _is_to_confirm(self, sample: Sample) -> bool:
        decision = self._decide(sample)
        if decision.action == "confirm":
            return True
        self._books.settle(sample, _DECIDED[decision.action], changed=decision == CHANGED)
        return False

    def _write(self, candidates: list[Candidate]) -> int:
        """Write what was decided, and decide anew about what turns out to have changed; return how many left."""
        written = 0
        for _ in range(DECISION_ROUNDS):
            changed: list[Candidate] = []
            written += self._write_once(candidates, changed)
            candidates = [candidate for candidate in changed if self._is_to_confirm(candidate.sample)]
            if not candidates:
                return written
        for candidate in candidates:
            self._books.settle(candidate.sample, Category.LEFT)
        return written

    def _write_once(self, candidates: list[Candidate], changed: list[Candidate]) -> int:
        outstanding = {candidate.sample.sample_id: candidate.sample for candidate in candidates}
        written = 0
        try:
            for outcome in self._writer.write(candidates):
                del outstanding[outcome.sample.sample_id]
                written += outcome.fate == "written"
                self._record(outcome, changed)
        except ModelArtsError as error:
            for sample_id, sample in outstanding.items():
                if sample_id in self._writer.uncertain:
                    self._books.fail(sample, "unknown", error.message)
                else:
                    self._books.settle(sample, Category.LEFT)
            raise
        return written

    def _record(self, outcome: Outcome, changed: list[Candidate]) -> None:
        if outcome.now is not None:
            changed.append(outcome.now)
        elif outcome.fate == "failed":
            self._books.fail(outcome.sample, outcome.code, outcome.message)
        else:
            self._stopped = self._stopped or outcome.fate == "unsent"
            self._books.settle(outcome.sample, _RECORDED[outcome.fate])

    def _report(self, *, last: bool = False) -> None:
        now = self._service.clock.now()
        if self._on_progress is None or (not last and now - self._reported < PROGRESS_SECONDS):
            return
        self._reported = now
        total = max(self._total, len(self._books))
        self._on_progress(Progress(total, len(self._books), self._books.counts, now - self._begun))


_RECORDED = {"written": Category.CONFIRMED, "gone": Category.GONE, "unsent": Category.LEFT}


def _never() -> bool:
    return False


def _filters(label_name: str | None, low_score: float | str | None, high_score: float | str | None) -> dict[str, Any]:
    """Return the filters to send; one that rendered to nothing must not turn into "everything"."""
    if label_name is not None and label_name.strip() in ("", "None"):
        raise InvalidRequest(f"label_name must be a label's name, not {label_name!r}. Leave it out to take all labels.")
    low, high = checked_scores(low_score, high_score)
    filters = {
        "label_name": label_name,
        "low_score": None if low is None else float(low),
        "high_score": None if high is None else float(high),
    }
    return {name: value for name, value in filters.items() if value is not None}


def _whole_number(name: str, value: int | str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or number < 1:
        raise InvalidRequest(f"{name} must be a whole number from 1, not {value!r}.")
    return number
