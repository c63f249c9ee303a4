"""What was decided goes to the crew, and what comes back is noted in the books and in the ledger (B13, B15).

Its methods belong to the thread that decides, but for the one that is a job of the crew.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.apply.batch_writer import BatchWriter, CircuitBreaker
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.proposals.page_scheduler import ListCountMonitor
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkItem
from airflow_provider_modelarts.labeling.sample_table import Category

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import Page, Sample
    from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
    from airflow_provider_modelarts.labeling.ledger.entries import LedgerFate
    from airflow_provider_modelarts.labeling.ledger.recorder import Recorder
    from airflow_provider_modelarts.labeling.proposals.dataset import DatasetProposals, ProposalRead
    from airflow_provider_modelarts.labeling.sample_table import SampleTable

    Jobs = list[WorkItem[Any]]

DECISION_ROUNDS = 5
"""A proposal may change between decision and write; so often it is decided anew, then it is left."""

_LEDGER_FATES: dict[str, LedgerFate] = {
    "written": "confirmed",
    "gone": "gone",
    "failed": "failed",
    "unknown": "unknown",
}
_BOOKED = {"written": Category.CONFIRMED, "gone": Category.GONE, "unsent": Category.LEFT}


class _Written(NamedTuple):
    """What a job that writes came to.

    :param outcomes: what is known, a sample each
    :param before: labels that people had given, by sample id
    :param error: what ended it early
    :param uncertain: samples without an outcome that may have been written
    """

    outcomes: list[WriteOutcome]
    before: dict[str, list[dict[str, Any]]]
    error: ModelArtsError | None = None
    uncertain: frozenset[str] = frozenset()


class Writing:
    """The writing of one confirmation.

    :param service: where to write
    :param books: what became of each sample
    :param in_hand: ids of the samples that were taken up and are not in the books yet; shared with who takes them up
    :param batch_size: samples per write
    :param should_stop: asked before every write and while waiting; once true no further write goes out
    :param recorder: keeps the ledger
    :param list_again: reads the page of a number once more
    :param decide_anew: decides about proposals that have changed; returns those to be confirmed, and notes the rest
    """

    def __init__(
        self,
        service: DatasetProposals,
        books: SampleTable,
        in_hand: set[str],
        *,
        batch_size: int,
        should_stop: Callable[[], bool],
        recorder: Recorder | None,
        list_again: Callable[[int], Page[Sample]],
        decide_anew: Callable[[list[ProposalRead]], list[ProposalRead]],
    ) -> None:
        self._service = service
        self._books = books
        self._in_hand = in_hand
        self._batch_size = batch_size
        self._should_stop = should_stop
        self._recorder = recorder
        self._list_again = list_again
        self._decide_anew = decide_anew
        self._hope = CircuitBreaker()
        self._brake = threading.Event()
        self.count = ListCountMonitor(0)
        """Of the walk under way."""
        self.is_stopped = False
        """Whether something was not sent because a stop was asked for."""

    def may_write(self) -> bool:
        """Whether a write may go out now."""
        return not self._brake.is_set() and not self._should_stop()

    def stop_writes(self) -> None:
        """Let no further write out, whatever happens."""
        self._brake.set()

    def jobs(self, candidates: list[ProposalRead], number: int | None, rounds: int = 1) -> Jobs:
        """Return the jobs that write what was decided.

        :param candidates: decided, and listed on one page or read singly
        :param number: of the page; None: read singly
        :param rounds: how often they have been decided about
        """
        size = self._batch_size
        parts = [candidates[place : place + size] for place in range(0, len(candidates), size)]
        self.count.under_way += len(candidates)
        return [WorkItem(partial(self._write, part, number), partial(self._note, part, rounds)) for part in parts]

    def _write(self, candidates: list[ProposalRead], number: int | None) -> _Written:
        """Write; the crew's job."""
        writer = BatchWriter(
            self._service,
            batch_size=self._batch_size,
            may_write=self.may_write,
            hope=self._hope,
            list_again=None if number is None else partial(self._list_again, number),
            recorder=self._recorder,
        )
        outcomes: list[WriteOutcome] = []
        try:
            outcomes.extend(writer.write(candidates))
        except ModelArtsError as error:
            self.stop_writes()
            return _Written(outcomes, writer.before, error, frozenset(writer.uncertain))
        return _Written(outcomes, writer.before)

    def _note(self, candidates: list[ProposalRead], rounds: int, written: _Written) -> Jobs:
        """Note what became of samples, and have decided anew about those that have changed."""
        self.count.under_way -= len(candidates)
        outstanding = {candidate.sample.sample_id: candidate for candidate in candidates}
        changed: list[ProposalRead] = []
        for outcome in written.outcomes:
            decided = outstanding.pop(outcome.sample.sample_id)
            if outcome.now is not None:
                changed.append(outcome.now)
            else:
                self._settle(decided, outcome, written)
        for sample_id, candidate in outstanding.items():
            self._give_up(candidate, written, is_uncertain=sample_id in written.uncertain)
        if written.error is not None:
            raise written.error
        again = self._decide_anew(changed)
        if again and rounds >= DECISION_ROUNDS:
            for candidate in again:
                self._in_hand.discard(candidate.sample.sample_id)
                self._books.settle(candidate.sample, Category.LEFT)
            again = []
        stores = self._recorder.due() if self._recorder is not None else []
        return stores + self.jobs(again, None, rounds + 1)

    def _settle(self, decided: ProposalRead, outcome: WriteOutcome, written: _Written) -> None:
        sample = outcome.sample
        self._in_hand.discard(sample.sample_id)
        if outcome.fate in ("failed", "unknown"):
            self._books.fail(sample, outcome.code, outcome.message)
        else:
            # What an error held back was not stopped by anybody.
            self.is_stopped = self.is_stopped or (outcome.fate == "unsent" and not self._brake.is_set())
            self.count.written += outcome.fate == "written"
            self._books.settle(sample, _BOOKED[outcome.fate])
        if self._recorder is None or outcome.fate == "unsent":
            return
        if outcome.carries_labels:
            self._recorder.record_carrying(decided)
        else:
            before, code = written.before.get(sample.sample_id), outcome.code
            fate = _LEDGER_FATES[outcome.fate]
            self._recorder.record(decided, fate, before=before, code=code, message=outcome.message)

    def _give_up(self, candidate: ProposalRead, written: _Written, *, is_uncertain: bool) -> None:
        """Note a sample whose writing an error ended."""
        sample, error = candidate.sample, written.error
        self._in_hand.discard(sample.sample_id)
        if is_uncertain and error is not None:
            self._books.fail(sample, UNKNOWN, error.message)
            if self._recorder is not None:
                before = written.before.get(sample.sample_id)
                self._recorder.record(candidate, "failed", before=before, code=UNKNOWN, message=error.message)
        else:
            self._books.settle(sample, Category.LEFT)
