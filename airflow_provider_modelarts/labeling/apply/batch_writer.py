"""Writes decided proposals and finds out what became of each: batches in, one outcome per sample out (B13 to B15)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import DatasetBusy, ModelArtsError, ServiceUnavailable, Throttled
from airflow_provider_modelarts.client.sample_updates import SampleOutcome
from airflow_provider_modelarts.labeling.apply.batches import (
    BUSY_CODES,
    Batch,
    Refusals,
    Replies,
    Step,
    WriteFate,
    WriteOutcome,
    is_fault_of_samples,
    is_inconclusive,
    number_of,
    owners,
    refusals,
    retry_batches,
    split,
    split_suspects,
)
from airflow_provider_modelarts.labeling.label_equality import has_labels_of, names, raw_labels, same_proposal
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.proposals.dataset import HeldBack, is_odd_read
from airflow_provider_modelarts.labeling.proposals.sample_status import Finding, Standing, check_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import Page, Sample
    from airflow_provider_modelarts.labeling.ledger.recorder import Recorder
    from airflow_provider_modelarts.labeling.proposals.dataset import ProposalRead, WriteTarget

log = logging.getLogger(__name__)

FRESH_SECONDS = 25.0
"""A read may be 30 s old when its labels are written (B14); the request itself takes some of them."""
LOOK_SECONDS = 15.0
"""What people had given is looked at until the proposals read with it are so old; the rest is read again first."""
ODD_TRIES = 3
"""So often a single read is asked for whose answer is odd; then its sample fails, and the others go on."""
UNREADABLE_IN_A_ROW = 2
"""After so many reads in a row that failed the service is to blame, and the rest of a batch is not read."""
REREADS = 5
"""So often in a row a read may take too long for its labels to be written; then its samples fail."""
UNKNOWN_PATIENCE = 120.0
BUSY_PATIENCE = 600.0
LOST_IN_A_ROW = 3
"""After so many batches in a row about which nothing could be learnt, the next ones get no patience ..."""
GIVE_UP = 20
"""... and after so many the run ends: they are not to blame."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
BUSY_PAUSES = (5.0, 10.0, 20.0, 30.0)
_FATES: dict[Standing, WriteFate] = {Standing.GONE: "gone", Standing.CHANGED: "changed"}
_UNCLEAR = (
    "The service refused some samples of its batch and did not say which. It carries the labels that were sent, and "
    "whether this run or a person gave them is not known: look at it in the console."
)


class CircuitBreaker:
    """How much patience writing deserves, and whether it is worth going on with: shared by all writers of a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost_in_a_row = 0
        self._learnt_at = 0.0
        self._author: str | None = None
        self._witness: Sample | None = None

    def saw_written(self, sample: Sample) -> None:
        """Remember a sample that the service said it has written: its author is the one of all of this run's writes."""
        self._witness = sample

    def author(self, service: WriteTarget) -> str | None:
        """Return who wrote, as the service names this run's user; None if that cannot be known."""
        witness = self._witness
        if self._author is None and witness is not None:
            self._witness = None
            try:
                final = service.final(witness.sample_id)
            except ModelArtsError:
                return None  # it would only have helped to tell
            if final is not None and has_labels_of(final, witness, loosely=True):
                self._author = final.annotated_by or None
        return self._author

    @property
    def patience(self) -> float:
        """Seconds for which a batch without a usable answer is sent and looked at again; 0: once and no more."""
        return UNKNOWN_PATIENCE if self._lost_in_a_row < LOST_IN_A_ROW else 0.0

    @property
    def is_gone(self) -> bool:
        """Whether so many batches in a row were lost that the service is to blame, and not they."""
        return self._lost_in_a_row >= GIVE_UP

    def learnt(self, now: float) -> None:
        """Note that the service told what became of a batch."""
        with self._lock:
            self._lost_in_a_row = 0
            self._learnt_at = now

    def lost(self, since: float) -> None:
        """Note a batch about which nothing could be learnt since a time.

        If the service was clear about others meanwhile, the batch itself is to blame.
        """
        with self._lock:
            if self._learnt_at <= since:
                self._lost_in_a_row += 1


class BatchWriter:
    """Writes labels; every sample handed in comes back with exactly one outcome. For one thread.

    :param service: where to write and to read
    :param batch_size: samples per request at most
    :param may_write: asked before every request that writes and in every pause; false lets no further write out
    :param hope: shared with the other writers of the run
    :param list_again: lists the proposals handed in once more; None: they are read one by one if they grow old
    :param recorder: stores the labels that people had given, before they are replaced
    """

    def __init__(
        self,
        service: WriteTarget,
        *,
        batch_size: int,
        may_write: Callable[[], bool],
        hope: CircuitBreaker | None = None,
        list_again: Callable[[], Page[Sample]] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._hope = hope or CircuitBreaker()
        self._list_again = list_again
        self._recorder = recorder
        self._clock = service.clock
        self._batch_size = batch_size
        self._may_write = may_write
        self._held_up_since: float | None = None
        self._holdups = 0
        self._sent: set[str] = set()
        """Samples that the service may have written for this writer."""
        self._undecided: list[tuple[Sequence[tuple[ProposalRead, Finding]], Refusals]] = []
        """Samples that carry the labels sent, while it is not known who this run's author is."""
        self._counted = 0
        """Number of the last batch that was counted as lost: its parts are not counted again."""
        self.uncertain: set[str] = set()
        """Samples of which nobody knows now whether they were written; of use if an error ends the writing."""
        self.before: dict[str, list[dict[str, Any]]] = {}
        """Labels that people had given samples, as they were found just before these were last sent."""

    def write(self, candidates: Iterable[ProposalRead]) -> Iterator[WriteOutcome]:
        """Write proposals with the labels they were read with.

        :param candidates: proposals, their labels untrimmed; read again first if that was too long ago
        :return: outcomes as they become known, in no particular order
        :raises ModelArtsError: for what is not the fault of samples: a refused credential, a missing permission, a
            dataset busy for ten minutes, a service that is down. Samples without an outcome were not written, but
            for those in ``uncertain``
        """
        self._sent.clear()
        self.uncertain.clear()
        self.before.clear()
        self._undecided.clear()
        self._counted = 0
        parts = split(candidates, self._batch_size)
        queue = deque(Batch(part, number=number) for number, part in enumerate(parts, start=1))
        while queue:
            batch = queue.popleft()
            outcomes, rest = self._attempt(batch)
            self.uncertain.difference_update(outcome.sample.sample_id for outcome in outcomes)
            yield from outcomes
            queue.extendleft(reversed([part for part in rest if part.candidates]))
        for carrying, refused in self._undecided:
            outcomes = self._judged(carrying, refused)
            self.uncertain.difference_update(outcome.sample.sample_id for outcome in outcomes)
            yield from outcomes

    def _attempt(self, batch: Batch) -> Step:
        self._service.pace.wait(self._may_write)
        if not self._may_write():
            return _unsent(batch.candidates), []
        outcomes, read, later = ([], batch.candidates, []) if self._is_fresh(batch) else self._read_again(batch)
        if self._may_write():
            failed, read, unseen = self._note_before(read)
            outcomes, later = outcomes + failed, unseen + later
        # Reading takes time as well: nothing may be sent any more, or what grew old by then waits for its turn.
        if not self._may_write():
            return outcomes + _unsent([*read, *later]), []
        now = self._clock.now()
        fresh = [candidate for candidate in read if now - candidate.read_at <= FRESH_SECONDS]
        later += [candidate for candidate in read if now - candidate.read_at > FRESH_SECONDS]
        if later and not fresh and batch.rereads >= REREADS:
            return outcomes + [
                self._given_up(one.sample, "Reading it takes longer than a read holds.") for one in later
            ], []
        settled, rest = self._send(batch.of(fresh)) if fresh else ([], [])
        again = replace(batch, candidates=later, rereads=0 if fresh else batch.rereads + 1)
        return outcomes + settled, [*rest, again]

    def _is_fresh(self, batch: Batch) -> bool:
        now = self._clock.now()
        return all(now - candidate.read_at <= FRESH_SECONDS for candidate in batch.candidates)

    def _read_again(self, batch: Batch) -> tuple[list[WriteOutcome], list[ProposalRead], list[ProposalRead]]:
        """Read again what was read too long ago; return what is settled, what was read, and what was not reached."""
        begun = self._clock.now()
        outcomes: list[WriteOutcome] = []
        fresh: list[ProposalRead] = []
        listed = self._listed_anew(batch)
        for number, candidate in enumerate(batch.candidates):
            if candidate.sample.sample_id in listed:
                fresh.append(listed[candidate.sample.sample_id])
                continue
            if self._clock.now() - begun > FRESH_SECONDS / 2:
                return outcomes, fresh, list(batch.candidates[number:])
            finding = self._find_out(candidate.sample, begun + UNKNOWN_PATIENCE)
            if isinstance(finding, ModelArtsError):
                if not is_odd_read(finding):
                    raise finding
                outcomes.append(self._given_up(candidate.sample, finding.message, finding.code))
            elif finding.standing is Standing.PROPOSED and finding.now:
                fresh.append(finding.now._replace(rule=candidate.rule))
            else:
                outcomes += self._outcomes([(candidate, finding)], Refusals(frozenset(), 0, 1))
        return outcomes, fresh, []

    def _note_before(
        self, read: Sequence[ProposalRead]
    ) -> tuple[list[WriteOutcome], Sequence[ProposalRead], list[ProposalRead]]:
        """Look at the labels that people have given samples about to be sent, and store those before they are replaced.

        It is done before every write, for a person may have labeled a sample since it was last read, and a labeling
        task have proposed it once more.

        :return: what is settled, what may be sent, and what must be read again first because the look took long
        """
        if self._recorder is None:
            return [], read, []
        outcomes: list[WriteOutcome] = []
        later: list[ProposalRead] = []
        found: list[tuple[ProposalRead, list[dict[str, Any]]]] = []
        ready = [one for one in read if not one.sample.annotated_by and one.sample.sample_id not in self.before]
        is_ready = {one.sample.sample_id for one in ready}
        for candidate in read:
            sample_id = candidate.sample.sample_id
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
                outcomes.append(self._given_up(candidate.sample, error.message, error.code))
                continue
            ready.append(candidate)
            labels, known = raw_labels(final) if final is not None else [], self.before.get(sample_id)
            is_sent = (
                final is not None and sample_id in self._sent and has_labels_of(final, candidate.sample, loosely=True)
            )
            if known is not None and is_sent:
                continue  # what was sent before, and its answer lost: what was there before that counts
            if labels != (known or []):
                found.append((candidate, labels))
                self.before[sample_id] = labels
        if found:
            self._recorder.record_previous_labels(found)
        return outcomes, ready, later

    def _listed_anew(self, batch: Batch) -> dict[str, ProposalRead]:
        """Return those of a batch that one more look at their page shows as they were decided upon.

        The page stands where it stood: only pages above it were written. Of a sample that was sent before, a list
        proves nothing.
        """
        if self._list_again is None or len(batch.candidates) == 1:
            return {}
        page = self._list_again()
        now = {sample.sample_id: sample for sample in page.items}
        return {
            sample_id: candidate._replace(sample=now[sample_id], read_at=page.read_at)
            for candidate in batch.candidates
            if (sample_id := candidate.sample.sample_id) in now
            and sample_id not in self._sent
            and same_proposal(now[sample_id], candidate.sample)
        }

    def _send(self, batch: Batch) -> Step:
        samples = [candidate.sample for candidate in batch.candidates]
        try:
            replies = self._service.write(samples, partial(self._check_again, batch))
        except HeldBack:
            return self._held_back(batch)
        except ModelArtsError as error:
            return self._refused(batch, error)
        ids = [sample.sample_id for sample in samples]
        if len(replies) == len(samples) and all(reply.ok for reply in replies):
            self._hope.learnt(self._clock.now())
            self._held_up_since = None
            self._hope.saw_written(samples[0])
            return [WriteOutcome(sample, "written") for sample in samples], []
        by_id = {sample_id: SampleOutcome(sample_id, None) for sample_id in ids}
        by_id |= {reply.sample_id: reply for reply in replies if reply.sample_id in by_id}
        # What was refused was not written.
        sent = by_id.keys() - refusals(by_id).ids
        self._sent |= sent
        self.uncertain |= sent
        return self._lost(batch, by_id) if is_inconclusive(by_id) else self._resolve_partial(batch, by_id)

    def _check_again(self, batch: Batch) -> None:
        """Look once more when a request is about to go out: getting a token for it may have taken long.

        :raises HeldBack: if it may not go out any more
        """
        if not self._may_write() or not self._is_fresh(batch):
            raise HeldBack

    def _held_back(self, batch: Batch) -> Step:
        """Have a batch that was not sent read again, or account for it if nothing may be written any more."""
        if self._may_write() and batch.rereads >= REREADS:
            reason = "Getting a token, or storing what was there before, takes longer than a read holds."
            return [self._given_up(candidate.sample, reason) for candidate in batch.candidates], []
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
        sample = batch.candidates[0].sample
        return [WriteOutcome(sample, "failed", error.code or "invalid", error.message)], []

    def _lost(self, batch: Batch, replies: Replies) -> Step:
        """Deal with an answer that was lost or says nothing: only what is still proposed as decided goes out again."""
        self._held_up_since = None
        now = self._clock.now()
        since = now if batch.lost_since is None else batch.lost_since
        batch = replace(batch, losses=batch.losses + 1, lost_since=since)
        patience = since + self._hope.patience
        if batch.losses > 1 and now < patience:
            self._pause(PAUSES[min(batch.losses - 2, len(PAUSES) - 1)])
        undecided = len(self._undecided)
        outcomes, proposed = self._read_all(batch, replies, patience)
        reason = next(iter(replies.values())).error_msg or ""
        if self._clock.now() >= patience:
            outcomes += [_unknown(candidate.sample, reason) for candidate in proposed]
            proposed = []
        if len(self._undecided) > undecided or any(outcome.fate != "failed" for outcome in outcomes):
            self._hope.learnt(self._clock.now())
        elif not proposed:
            self._count_lost(batch, since, reason)
        return outcomes, retry_batches(batch, proposed)

    def _count_lost(self, batch: Batch, since: float, reason: str) -> None:
        """Note that nothing could be learnt about (a part of) a batch.

        :raises ServiceUnavailable: if that was one too many
        """
        if self._counted != batch.number:
            self._counted = batch.number
            self._hope.lost(since)
        if self._hope.is_gone:
            raise ServiceUnavailable(
                f"Gave up writing labels of dataset {self._service.dataset_id}: {GIVE_UP} batches in a row got no "
                f"usable answer, the last one: {reason}"
            )

    def _resolve_partial(self, batch: Batch, replies: Replies) -> Step:
        """Deal with an answer that is not "all written": read all of the batch, positions only name suspects (B15)."""
        outcomes, proposed = self._read_all(batch, replies, self._clock.now() + UNKNOWN_PATIENCE)
        self._hope.learnt(self._clock.now())
        # The service has answered, and they are still proposed: that request has not written them.
        left = {candidate.sample.sample_id for candidate in proposed}
        self._sent -= left
        self.uncertain -= left
        busy = next((reply for reply in replies.values() if number_of(reply.error_code) in BUSY_CODES), None)
        if proposed and busy:
            self._wait_until_writable(
                DatasetBusy(f"The dataset {self._service.dataset_id} is busy.", code=busy.error_code)
            )
            return outcomes, [batch.of(proposed)]
        self._held_up_since = None
        failed, rest = split_suspects(batch, proposed, replies)
        return outcomes + failed, rest

    def _read_all(
        self, batch: Batch, replies: Replies, patience: float
    ) -> tuple[list[WriteOutcome], list[ProposalRead]]:
        """Read how each sample of a batch stands; return what is settled, and what is still proposed as decided."""
        outcomes: list[WriteOutcome] = []
        proposed: list[ProposalRead] = []
        found: list[tuple[ProposalRead, Finding]] = []
        unreadable: ModelArtsError | None = None
        in_a_row = 0
        for candidate in batch.candidates:
            # Once the patience is over, reads that cannot succeed would each wait for the transport's own retries.
            finding = unreadable or self._find_out(candidate.sample, patience)
            if isinstance(finding, ModelArtsError):
                in_a_row += not is_odd_read(finding)
                unreadable = finding if in_a_row >= UNREADABLE_IN_A_ROW else None
                reply = replies[candidate.sample.sample_id]
                outcomes.append(self._given_up(candidate.sample, finding.message, reply.error_code))
                continue
            in_a_row = 0
            if finding.standing is Standing.PROPOSED and finding.now:
                proposed.append(finding.now._replace(rule=candidate.rule))
            else:
                found.append((candidate, finding))
        self._warn_of_other_labels(batch, found)
        return outcomes + self._outcomes(found, _unexplained(replies, proposed, found)), proposed

    def _warn_of_other_labels(self, batch: Batch, found: Sequence[tuple[ProposalRead, Finding]]) -> None:
        """Say so if all of a batch are labeled otherwise than was sent: then it is hardly people who did that."""
        if len(found) < max(len(batch.candidates), 2):
            return
        decided, first = found[0]
        if all(one.standing is Standing.GONE and one.final and raw_labels(one.final) for _, one in found):
            log.warning(
                "All %d samples of a write to dataset %s whose answer was lost carry other labels than were sent: of "
                "sample %s %s were sent, and it carries %s. Perhaps the service changes labels when it keeps them. "
                "They count as gone, and an undo will not touch them: compare them in the console.",
                len(found),
                self._service.dataset_id,
                decided.sample.sample_id,
                names(decided.sample),
                names(first.final) if first.final else "",
            )

    def _find_out(self, sample: Sample, patience: float) -> Finding | ModelArtsError:
        tries = 0
        while True:
            try:
                return check_status(self._service, sample)
            except ModelArtsError as error:
                is_odd = is_odd_read(error)
                if error.permanent and not is_odd:
                    raise
                tries += 1
                if self._clock.now() >= patience or not self._may_write() or (is_odd and tries >= ODD_TRIES):
                    return error
                self._pause(max(error.retry_after or 0, PAUSES[min(tries, len(PAUSES)) - 1]))

    def _outcomes(self, found: Sequence[tuple[ProposalRead, Finding]], refused: Refusals) -> list[WriteOutcome]:
        """Return what became of samples that are no longer proposed as decided, as far as that can be told now.

        :param found: the samples as they were decided upon, and how they stand
        :param refused: how many of those that carry the labels may have been refused
        """
        carrying = [(candidate, finding) for candidate, finding in found if finding.standing is Standing.WRITTEN]
        outcomes = [
            WriteOutcome(candidate.sample, _FATES[finding.standing], now=finding.now)
            for candidate, finding in found
            if finding.standing is not Standing.WRITTEN
        ]
        is_in_doubt = refused.most > 0 and any(finding.final and finding.final.annotated_by for _, finding in carrying)
        if is_in_doubt and self._hope.author(self._service) is None:
            # What is written next may show who this run's author is.
            self._undecided.append((carrying, refused))
            return outcomes
        return outcomes + self._judged(carrying, refused)

    def _judged(self, carrying: Sequence[tuple[ProposalRead, Finding]], refused: Refusals) -> list[WriteOutcome]:
        """Return what became of samples that carry the labels: who gave them is known by now, or never."""
        outcomes: list[WriteOutcome] = []
        authors = {
            candidate.sample.sample_id: (finding.final.annotated_by if finding.final else None) or ""
            for candidate, finding in carrying
            if candidate.sample.sample_id in self._sent and candidate.sample.sample_id not in refused.ids
        }
        ours = self._hope.author(self._service) if refused.most > 0 and any(authors.values()) else None
        known = owners(authors, refused.least, refused.most, ours)
        for candidate, _ in carrying:
            sample = candidate.sample
            author = authors.get(sample.sample_id)
            # The service may keep the author of the first labels.
            is_kept = sample.sample_id in known.others and author == sample.annotated_by
            if sample.sample_id in known.unknown or is_kept:
                outcomes.append(WriteOutcome(sample, "unknown", UNKNOWN, _UNCLEAR))
            elif sample.sample_id in known.ours:
                outcomes.append(WriteOutcome(sample, "written"))
            else:  # somebody else confirmed it with the same labels
                outcomes.append(WriteOutcome(sample, "gone", carries_labels=True))
        return outcomes

    def _given_up(self, sample: Sample, reason: str, code: str | None = None) -> WriteOutcome:
        """Return the failure of a sample of which nothing more can be learnt; of one never sent it is known."""
        if sample.sample_id in self._sent:
            return _unknown(sample, reason)
        return WriteOutcome(sample, "failed", code or "not_sent", f"{reason} It was not written.")

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
                self._pause(min(pause, over - self._clock.now()))
            if not self._may_write() or not isinstance(error, DatasetBusy) or not self._service.is_busy():
                return

    def _pause(self, seconds: float) -> None:
        """Sleep in short pieces: who asks for a stop shall not wait for the end of a long one."""
        end = self._clock.now() + seconds
        while self._may_write() and (left := end - self._clock.now()) > 0:
            self._clock.sleep(min(left, 1.0))


def _unsent(candidates: Iterable[ProposalRead]) -> list[WriteOutcome]:
    return [WriteOutcome(candidate.sample, "unsent") for candidate in candidates]


def _unexplained(
    replies: Replies, proposed: Sequence[ProposalRead], found: Sequence[tuple[ProposalRead, Finding]]
) -> Refusals:
    """Return how many of the samples that carry the labels may be refused ones: others explain the rest of them."""
    refused = refusals(replies)
    unread = len(replies) - len(proposed) - len(found)
    left = {one.sample.sample_id for one in proposed} - refused.ids
    moved = {
        candidate.sample.sample_id for candidate, finding in found if finding.standing is not Standing.WRITTEN
    } - refused.ids
    named = len(refused.ids) + len(left)
    return Refusals(refused.ids, max(refused.least - named - len(moved) - unread, 0), max(refused.most - named, 0))


def _unknown(sample: Sample, reason: str) -> WriteOutcome:
    return WriteOutcome(sample, "failed", UNKNOWN, f"{reason} It may have been written or not.".strip())
