"""Writes decided proposals and finds out what became of each: batches in, one outcome per sample out (B13 to B15)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import DatasetBusy, ModelArtsError, ServiceUnavailable, Throttled
from airflow_provider_modelarts.client.sample_updates import AllWritten, SampleOutcome
from airflow_provider_modelarts.labeling.apply.authorship import PERHAPS_REFUSED, RunAuthor, refusals
from airflow_provider_modelarts.labeling.apply.batches import (
    BUSY_CODES,
    Batch,
    Replies,
    Step,
    WriteOutcome,
    is_fault_of_samples,
    is_inconclusive,
    number_of,
    retry_batches,
    split,
    split_suspects,
)
from airflow_provider_modelarts.labeling.apply.outcome_reader import PAUSES, OutcomeReader, uncertain_outcome
from airflow_provider_modelarts.labeling.label_equality import has_labels_of, raw_labels, same_proposal
from airflow_provider_modelarts.labeling.proposals.service_calls import HeldBack, is_odd_read
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import Page, Sample
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.ledger.recorder import Recorder
    from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, WriteTarget
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

log = logging.getLogger(__name__)

FRESH_SECONDS = 25.0
"""A read may be 30 s old when its labels are written (B14); the request itself takes some of them."""
LOOK_SECONDS = 15.0
"""People's labels are read until the proposals of the batch are so old; the rest is read again first."""
REREADS = 5
"""A read may take too long for its labels to be written so often in a row; then its samples fail."""
UNKNOWN_PATIENCE = 120.0
BUSY_PATIENCE = 600.0
LOST_IN_A_ROW = 3
GIVE_UP = 20
BUSY_PAUSES = (5.0, 10.0, 20.0, 30.0)


class CircuitBreaker:
    """Circuit breaker shared by all writers of a run.

    Shortens retries after 3 inconclusive batches in a row and ends the run after 20: the batches are not to blame.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._succeeded_at = 0.0

    def record_success(self, now: float) -> None:
        """Note that the service said what became of a batch."""
        with self._lock:
            self._failures_in_a_row = 0
            self._succeeded_at = now

    def record_failure(self, since: float) -> None:
        """Note an inconclusive batch; if the service was clear about another one since then, the batch is to blame."""
        with self._lock:
            if self._succeeded_at <= since:
                self._failures_in_a_row += 1

    @property
    def patience(self) -> float:
        """Seconds for which an inconclusive batch is retried; 0: it is sent once."""
        return UNKNOWN_PATIENCE if self._failures_in_a_row < LOST_IN_A_ROW else 0.0

    @property
    def is_open(self) -> bool:
        """Whether the run must end."""
        return self._failures_in_a_row >= GIVE_UP


class BatchWriter:
    """Writes labels; every sample comes back with exactly one outcome. For one thread.

    :param service: where to write and to read
    :param batch_size: samples per request at most
    :param stop: once it is set no further write goes out
    :param breaker: shared with the other writers of the run
    :param author: of the run's writes, shared as well
    :param list_again: lists the proposals of the batch once more; None: they are read one by one if they grow old
    :param recorder: stores the labels that people had given, before they are replaced
    """

    def __init__(
        self,
        service: WriteTarget,
        *,
        batch_size: int,
        stop: StopSignal,
        breaker: CircuitBreaker | None = None,
        author: RunAuthor | None = None,
        list_again: Callable[[], Page[SampleRow]] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._breaker = CircuitBreaker() if breaker is None else breaker
        self._author = RunAuthor() if author is None else author
        self._list_again = list_again
        self._recorder = recorder
        self._clock = service.clock
        self._batch_size = batch_size
        self._stop = stop
        self._held_up_since: float | None = None
        self._holdups = 0
        self._reader = OutcomeReader(service, self._author, stop)
        self._counted = 0
        """Number of the last batch that was counted as inconclusive: its parts are not counted again."""
        self.uncertain: set[str] = set()
        """Samples of which nobody knows now whether they were written; of use if an error ends the writing."""
        self.before: dict[str, list[dict[str, Any]]] = {}
        """Labels that people had given samples, as they were read just before these were last sent."""

    def write(self, candidates: Iterable[ProposalRead]) -> Iterator[WriteOutcome]:
        """Write proposals with the labels they were read with.

        :param candidates: proposals, their labels untrimmed; read again first if that was too long ago
        :return: outcomes as they become known, in no particular order
        :raises ModelArtsError: for what is not the fault of samples: a refused credential, a missing permission, a
            dataset busy for ten minutes, a service that is down. Samples without an outcome were not written, but
            for those in ``uncertain``
        """
        parts = split(candidates, self._batch_size)
        queue = deque(Batch(part, number=number) for number, part in enumerate(parts, start=1))
        while queue:
            outcomes, rest = self._attempt(queue.popleft())
            self._settle(outcomes)
            yield from outcomes
            queue.extendleft(reversed([part for part in rest if part.candidates]))
        outcomes = self._reader.judge_undecided()
        self._settle(outcomes)
        yield from outcomes

    def _settle(self, outcomes: Iterable[WriteOutcome]) -> None:
        if self.uncertain:
            self.uncertain.difference_update(*(outcome.ids for outcome in outcomes))

    def _attempt(self, batch: Batch) -> Step:
        self._service.pace.wait(self._stop)
        if self._stop.is_set():
            return _unsent(batch.candidates), []
        outcomes, read, later = ([], batch.candidates, []) if self._is_fresh(batch) else self._read_again(batch)
        if not self._stop.is_set():
            failed, read, unseen = self._record_previous_labels(read)
            outcomes, later = outcomes + failed, unseen + later
        # Reading takes time as well: by now a stop may be set, and what grew old is read again first.
        if self._stop.is_set():
            return outcomes + _unsent([*read, *later]), []
        oldest = self._clock.now() - FRESH_SECONDS
        fresh = [candidate for candidate in read if candidate.read_at >= oldest]
        later += [candidate for candidate in read if candidate.read_at < oldest]
        if later and not fresh and batch.rereads >= REREADS:
            reason = "Reading it takes longer than a read holds."
            return outcomes + [self._reader.given_up(one, reason) for one in later], []
        sent, rest = self._send(batch.of(fresh)) if fresh else ([], [])
        again = replace(batch, candidates=later, rereads=0 if fresh else batch.rereads + 1)
        return outcomes + sent, [*rest, again]

    # Before sending

    def _is_fresh(self, batch: Batch) -> bool:
        oldest: float = min(map(_read_at, batch.candidates))
        return self._clock.now() - oldest <= FRESH_SECONDS

    def _read_again(self, batch: Batch) -> tuple[list[WriteOutcome], list[ProposalRead], list[ProposalRead]]:
        """Read again what was read too long ago; return outcomes, what was read, and what was not reached."""
        begun = self._clock.now()
        outcomes: list[WriteOutcome] = []
        fresh: list[ProposalRead] = []
        listed = self._listed_again(batch)
        for number, candidate in enumerate(batch.candidates):
            if candidate.sample_id in listed:
                fresh.append(listed[candidate.sample_id])
                continue
            if self._clock.now() - begun > FRESH_SECONDS / 2:
                return outcomes, fresh, list(batch.candidates[number:])
            finding = self._reader.check(candidate, begun + UNKNOWN_PATIENCE)
            if isinstance(finding, ModelArtsError):
                if not is_odd_read(finding):
                    raise finding
                outcomes.append(self._reader.given_up(candidate, finding.message, finding.code))
            elif finding.status is ConfirmationStatus.PLANNED and finding.now:
                fresh.append(finding.now._replace(rule=candidate.rule))
            else:
                outcomes += self._reader.outcomes([(candidate, finding)], PERHAPS_REFUSED)
        return outcomes, fresh, []

    def _listed_again(self, batch: Batch) -> dict[str, ProposalRead]:
        """Return those of a batch that one more read of their page shows as they were decided upon.

        The page stands where it stood: only pages above it were written. Of a sample that was sent before, a list
        proves nothing.
        """
        if self._list_again is None or len(batch.candidates) == 1:
            return {}
        page = self._list_again()
        now = {row.sample_id: row for row in page.items}
        return {
            sample_id: candidate._replace(row=now[sample_id], read_at=page.read_at)
            for candidate in batch.candidates
            if (sample_id := candidate.sample_id) in now
            and sample_id not in self._reader.sent
            and same_proposal(now[sample_id], candidate.row)
        }

    def _record_previous_labels(
        self, read: Sequence[ProposalRead]
    ) -> tuple[list[WriteOutcome], Sequence[ProposalRead], list[ProposalRead]]:
        """Read the labels that people have given samples about to be sent, and store those that will be replaced.

        Done before every write: a person may have labeled a sample since it was last read, and a labeling task have
        proposed it once more. Returns outcomes, what may be sent, and what must be read again because this took long.
        """
        if self._recorder is None:
            return [], read, []
        ready = [one for one in read if not one.row.annotated_by and one.sample_id not in self.before]
        if len(ready) == len(read):
            return [], read, []
        outcomes: list[WriteOutcome] = []
        later: list[ProposalRead] = []
        found: list[tuple[ProposalRead, list[dict[str, Any]]]] = []
        is_ready = {one.sample_id for one in ready}
        for candidate in read:
            sample_id = candidate.sample_id
            if sample_id in is_ready:
                continue
            if ready and self._clock.now() - min(one.read_at for one in ready) > LOOK_SECONDS:
                later.append(candidate._replace(read_at=0.0))
                continue
            try:
                final = self._service.final(sample_id)
            except ModelArtsError as error:
                if not is_odd_read(error):
                    raise
                outcomes.append(self._reader.given_up(candidate, error.message, error.code))
                continue
            ready.append(candidate)
            labels = self._previous_labels(candidate, final)
            if labels is not None:
                found.append((candidate, labels))
                self.before[sample_id] = labels
        if found:
            self._recorder.record_previous_labels(found)
        return outcomes, ready, later

    def _previous_labels(self, candidate: ProposalRead, final: Sample | None) -> list[dict[str, Any]] | None:
        """Return the labels that a write would replace; None if they are known already."""
        labels, known = raw_labels(final) if final is not None else [], self.before.get(candidate.sample_id)
        was_sent = known is not None and final is not None and candidate.sample_id in self._reader.sent
        if was_sent and final is not None and has_labels_of(final, candidate.row, loosely=True):
            return None  # it was sent before, and its answer lost: what was there before that counts
        return labels if labels != (known or []) else None

    # Sending, and what the answer says

    def _send(self, batch: Batch) -> Step:
        reads = batch.candidates
        try:
            replies = self._service.write([read.row for read in reads], partial(self._check_again, batch))
        except HeldBack:
            return self._held_back(batch)
        except ModelArtsError as error:
            return self._refused(batch, error)
        if isinstance(replies, AllWritten) or (len(replies) == len(reads) and all(reply.ok for reply in replies)):
            self._breaker.record_success(self._clock.now())
            self._held_up_since = None
            self._author.record_witness(reads[0])
            return [WriteOutcome(reads, ConfirmationStatus.CONFIRMED)], []
        by_id = {read.sample_id: SampleOutcome(read.sample_id, None) for read in reads}
        by_id |= {reply.sample_id: reply for reply in replies if reply.sample_id in by_id}
        # What was refused was not written.
        sent = by_id.keys() - refusals(by_id).ids
        self._reader.sent.update(sent)
        self.uncertain.update(sent)
        return self._lost(batch, by_id) if is_inconclusive(by_id) else self._resolve_partial(batch, by_id)

    def _check_again(self, batch: Batch) -> None:
        """Check once more when a request is about to go out: getting a token for it may have taken long.

        :raises HeldBack: if it may not go out any more
        """
        if self._stop.is_set() or not self._is_fresh(batch):
            raise HeldBack

    def _held_back(self, batch: Batch) -> Step:
        """Have a batch that was not sent read again; too often in a row: its samples fail."""
        if not self._stop.is_set() and batch.rereads >= REREADS:
            reason = "Getting a token, or storing what was there before, takes longer than a read holds."
            return [self._reader.given_up(candidate, reason) for candidate in batch.candidates], []
        return [], [replace(batch, rereads=batch.rereads + 1)]

    def _refused(self, batch: Batch, error: ModelArtsError) -> Step:
        """Deal with a request that was not carried out at all."""
        if isinstance(error, (DatasetBusy, Throttled, ServiceUnavailable)):
            self._wait_until_writable(error)
            return [], [batch]
        self._held_up_since = None
        if not is_fault_of_samples(error):
            raise error
        if len(batch.candidates) > 1:
            return [], batch.halves()
        return [WriteOutcome(batch.candidates, ConfirmationStatus.FAILED, error.code or "invalid", error.message)], []

    def _lost(self, batch: Batch, replies: Replies) -> Step:
        """Deal with an answer that was lost or is inconclusive: only what is still proposed as decided is retried.

        :raises ServiceUnavailable: after too many such batches in a row
        """
        self._held_up_since = None
        now = self._clock.now()
        since = now if batch.lost_since is None else batch.lost_since
        batch = replace(batch, losses=batch.losses + 1, lost_since=since)
        patience = since + self._breaker.patience
        if batch.losses > 1 and now < patience:
            self._stop.pause(PAUSES[min(batch.losses - 2, len(PAUSES) - 1)], self._clock)
        undecided = len(self._reader.undecided)
        outcomes, proposed = self._reader.read(batch, replies, patience)
        reason = next(iter(replies.values())).error_msg or ""
        if self._clock.now() >= patience:
            outcomes += [uncertain_outcome(candidate, reason) for candidate in proposed]
            proposed = []
        is_known = any(one.status is not ConfirmationStatus.FAILED for one in outcomes)
        if is_known or len(self._reader.undecided) > undecided:
            self._breaker.record_success(self._clock.now())
        elif not proposed:
            if self._counted != batch.number:
                self._counted = batch.number
                self._breaker.record_failure(since)
            if self._breaker.is_open:
                raise ServiceUnavailable(
                    f"Gave up writing labels of dataset {self._service.dataset_id}: {GIVE_UP} batches in a row got no "
                    f"usable answer, the last one: {reason}"
                )
        return outcomes, retry_batches(batch, proposed)

    def _resolve_partial(self, batch: Batch, replies: Replies) -> Step:
        """Deal with an answer that is not "all written": read all of the batch, positions only name suspects (B15)."""
        outcomes, proposed = self._reader.read(batch, replies, self._clock.now() + UNKNOWN_PATIENCE)
        self._breaker.record_success(self._clock.now())
        # The service has answered, and they are still proposed: that request has not written them.
        left = {candidate.sample_id for candidate in proposed}
        self._reader.sent.difference_update(left)
        self.uncertain.difference_update(left)
        busy = next((reply for reply in replies.values() if number_of(reply.error_code) in BUSY_CODES), None)
        if proposed and busy:
            self._wait_until_writable(
                DatasetBusy(f"The dataset {self._service.dataset_id} is busy.", code=busy.error_code)
            )
            return outcomes, [batch.of(proposed)]
        self._held_up_since = None
        failed, rest = split_suspects(batch, proposed, replies)
        return outcomes + failed, rest

    # Waiting

    def _wait_until_writable(self, error: ModelArtsError) -> None:
        """Wait until a request that was turned away may be sent again.

        :raises ModelArtsError: the error, once the patience is over
        """
        if self._held_up_since is None:
            self._held_up_since, self._holdups = self._clock.now(), 0
        over = self._held_up_since + BUSY_PATIENCE
        while True:
            if self._clock.now() >= over:
                raise error
            if not isinstance(error, Throttled):
                pause = max(error.retry_after or 0, BUSY_PAUSES[min(self._holdups, len(BUSY_PAUSES) - 1)])
                self._holdups += 1
                self._stop.pause(min(pause, over - self._clock.now()), self._clock)
            if self._stop.is_set() or not isinstance(error, DatasetBusy) or not self._service.is_busy():
                return


_read_at = attrgetter("read_at")


def _unsent(candidates: Sequence[ProposalRead]) -> list[WriteOutcome]:
    return [WriteOutcome(candidates, ConfirmationStatus.LEFT)] if candidates else []
