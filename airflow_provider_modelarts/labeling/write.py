"""Writes decided proposals and finds out what became of each: batches in, one outcome per sample out (B13 to B15)."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.errors import DatasetBusy, ModelArtsError, ServiceUnavailable, Throttled
from airflow_provider_modelarts.labeling.batches import (
    BUSY_CODES,
    Batch,
    Fate,
    Outcome,
    Replies,
    Step,
    is_fault_of_samples,
    isolated,
    number_of,
    regrouped,
    says_nothing,
    split,
)
from airflow_provider_modelarts.labeling.labels import same_proposal
from airflow_provider_modelarts.labeling.service import HeldBack
from airflow_provider_modelarts.labeling.settle import Finding, Standing, find_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_modelarts.client import Page, Sample
    from airflow_provider_modelarts.labeling.service import Candidate, Service

FRESH_SECONDS = 25.0
"""A read may be 30 s old when its labels are written (B14); the request itself takes some of them."""
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
_FATES: dict[Standing, Fate] = {Standing.WRITTEN: "written", Standing.GONE: "gone", Standing.CHANGED: "changed"}


class Hope:
    """How much patience writing deserves, and whether it is worth going on with: shared by all writers of a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost_in_a_row = 0
        self._learnt_at = 0.0

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


class Writer:
    """Writes labels; every sample handed in comes back with exactly one outcome. For one thread.

    :param service: where to write and to read
    :param batch_size: samples per request at most
    :param may_write: asked before every request that writes and in every pause; false lets no further write out
    :param hope: shared with the other writers of the run
    :param list_again: lists the proposals handed in once more; None: they are read one by one if they grow old
    """

    def __init__(
        self,
        service: Service,
        *,
        batch_size: int,
        may_write: Callable[[], bool],
        hope: Hope | None = None,
        list_again: Callable[[], Page[Sample]] | None = None,
    ) -> None:
        self._service = service
        self._hope = hope or Hope()
        self._list_again = list_again
        self._clock = service.clock
        self._batch_size = batch_size
        self._may_write = may_write
        self._held_up_since: float | None = None
        self._holdups = 0
        self._sent: set[str] = set()
        self._counted = 0
        """Number of the last batch that was counted as lost: its parts are not counted again."""
        self.uncertain: set[str] = set()
        """Samples of which nobody knows now whether they were written; of use if an error ends the writing."""

    def write(self, candidates: Iterable[Candidate]) -> Iterator[Outcome]:
        """Write proposals with the labels they were read with.

        :param candidates: proposals, their labels untrimmed; read again first if that was too long ago
        :return: outcomes as they become known, in no particular order
        :raises ModelArtsError: for what is not the fault of samples: a refused credential, a missing permission, a
            dataset busy for ten minutes, a service that is down. Samples without an outcome were not written, but
            for those in ``uncertain``
        """
        self._sent.clear()
        self.uncertain.clear()
        self._counted = 0
        parts = split(candidates, self._batch_size)
        queue = deque(Batch(part, number=number) for number, part in enumerate(parts, start=1))
        while queue:
            batch = queue.popleft()
            outcomes, rest = self._attempt(batch)
            self.uncertain.difference_update(outcome.sample.sample_id for outcome in outcomes)
            yield from outcomes
            queue.extendleft(reversed([part for part in rest if part.candidates]))

    def _attempt(self, batch: Batch) -> Step:
        self._service.pace.wait(self._may_write)
        if not self._may_write():
            return _unsent(batch.candidates), []
        outcomes, read, later = ([], batch.candidates, []) if self._is_fresh(batch) else self._read_again(batch)
        # Reading takes time as well: nothing may be sent any more, or what grew old meanwhile waits for its turn.
        if not self._may_write():
            return outcomes + _unsent([*read, *later]), []
        now = self._clock.now()
        fresh = [candidate for candidate in read if now - candidate.read_at <= FRESH_SECONDS]
        later += [candidate for candidate in read if now - candidate.read_at > FRESH_SECONDS]
        if later and not fresh and batch.rereads >= REREADS:
            return outcomes + [_unknown(one.sample, "Reading it takes longer than a read holds.") for one in later], []
        settled, rest = self._send(batch.of(fresh)) if fresh else ([], [])
        again = replace(batch, candidates=later, rereads=0 if fresh else batch.rereads + 1)
        return outcomes + settled, [*rest, again]

    def _is_fresh(self, batch: Batch) -> bool:
        now = self._clock.now()
        return all(now - candidate.read_at <= FRESH_SECONDS for candidate in batch.candidates)

    def _read_again(self, batch: Batch) -> tuple[list[Outcome], list[Candidate], list[Candidate]]:
        """Read again what was read too long ago; return what is settled, what was read, and what was not reached."""
        begun = self._clock.now()
        outcomes: list[Outcome] = []
        fresh: list[Candidate] = []
        listed = self._listed_anew(batch)
        for number, candidate in enumerate(batch.candidates):
            if candidate.sample.sample_id in listed:
                fresh.append(listed[candidate.sample.sample_id])
                continue
            if self._clock.now() - begun > FRESH_SECONDS / 2:
                return outcomes, fresh, list(batch.candidates[number:])
            finding = self._find_out(candidate.sample, begun + UNKNOWN_PATIENCE)
            if isinstance(finding, ModelArtsError):
                raise finding
            if finding.standing is Standing.PROPOSED and finding.now:
                fresh.append(finding.now)
            else:
                outcomes.append(self._outcome(candidate.sample, finding))
        return outcomes, fresh, []

    def _listed_anew(self, batch: Batch) -> dict[str, Candidate]:
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
        self._sent.update(ids)
        if len(replies) == len(samples) and all(reply.ok for reply in replies):
            self._hope.learnt(self._clock.now())
            self._held_up_since = None
            return [Outcome(sample, "written") for sample in samples], []
        self.uncertain.update(ids)
        by_id = {reply.sample_id: reply for reply in replies}
        return self._lost(batch, by_id) if says_nothing(by_id) else self._doubtful(batch, by_id)

    def _check_again(self, batch: Batch) -> None:
        """Look once more when a request is about to go out: getting a token for it may have taken long.

        :raises HeldBack: if it may not go out any more
        """
        if not self._may_write() or not self._is_fresh(batch):
            raise HeldBack

    def _held_back(self, batch: Batch) -> Step:
        """Have a batch that was not sent read again, or account for it if nothing may be written any more."""
        if self._may_write() and batch.rereads >= REREADS:
            reason = "Getting a token takes longer than a read holds; it was not written."
            return [Outcome(candidate.sample, "failed", "not_sent", reason) for candidate in batch.candidates], []
        return [], [replace(batch, rereads=batch.rereads + 1)]

    def _refused(self, batch: Batch, error: ModelArtsError) -> Step:
        """Deal with a request that was not carried out at all."""
        if isinstance(error, (DatasetBusy, Throttled, ServiceUnavailable)):
            self._hold_up(error)
            return [], [batch]
        self._held_up_since = None
        if not is_fault_of_samples(error):
            raise error
        if len(batch.candidates) > 1:
            return [], batch.halves()
        sample = batch.candidates[0].sample
        return [Outcome(sample, "failed", error.code or "invalid", error.message)], []

    def _lost(self, batch: Batch, replies: Replies) -> Step:
        """Deal with an answer that was lost or says nothing: only what is still proposed as decided goes out again."""
        self._held_up_since = None
        now = self._clock.now()
        since = now if batch.lost_since is None else batch.lost_since
        batch = replace(batch, losses=batch.losses + 1, lost_since=since)
        patience = since + self._hope.patience
        if batch.losses > 1 and now < patience:
            self._pause(PAUSES[min(batch.losses - 2, len(PAUSES) - 1)])
        outcomes, proposed = self._read_all(batch, patience)
        reason = next(iter(replies.values())).error_msg or ""
        if self._clock.now() >= patience:
            outcomes += [_unknown(candidate.sample, reason) for candidate in proposed]
            proposed = []
        if any(outcome.fate != "failed" for outcome in outcomes):
            self._hope.learnt(self._clock.now())
        elif not proposed:
            self._count_lost(batch, since, reason)
        return outcomes, regrouped(batch, proposed)

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

    def _doubtful(self, batch: Batch, replies: Replies) -> Step:
        """Deal with an answer that is not "all written": read all of the batch, positions only name suspects (B15)."""
        outcomes, proposed = self._read_all(batch, self._clock.now() + UNKNOWN_PATIENCE)
        self._hope.learnt(self._clock.now())
        busy = next((reply for reply in replies.values() if number_of(reply.error_code) in BUSY_CODES), None)
        if proposed and busy:
            self._hold_up(DatasetBusy(f"The dataset {self._service.dataset_id} is busy.", code=busy.error_code))
            return outcomes, [batch.of(proposed)]
        self._held_up_since = None
        failed, rest = isolated(batch, proposed, replies)
        return outcomes + failed, rest

    def _read_all(self, batch: Batch, patience: float) -> tuple[list[Outcome], list[Candidate]]:
        """Read how each sample of a batch stands; return what is settled, and what is still proposed as decided."""
        outcomes: list[Outcome] = []
        proposed: list[Candidate] = []
        unreadable: ModelArtsError | None = None
        for candidate in batch.candidates:
            # Once the patience is over, reads that cannot succeed would each wait for the transport's own retries.
            finding = unreadable or self._find_out(candidate.sample, patience)
            if isinstance(finding, ModelArtsError):
                unreadable = finding
                outcomes.append(_unknown(candidate.sample, finding.message))
            elif finding.standing is Standing.PROPOSED and finding.now:
                proposed.append(finding.now)
            else:
                outcomes.append(self._outcome(candidate.sample, finding))
        return outcomes, proposed

    def _find_out(self, sample: Sample, patience: float) -> Finding | ModelArtsError:
        tries = 0
        while True:
            try:
                return find_out(self._service, sample)
            except ModelArtsError as error:
                if error.permanent:
                    raise
                if self._clock.now() >= patience or not self._may_write():
                    return error
                self._pause(max(error.retry_after or 0, PAUSES[min(tries, len(PAUSES) - 1)]))
                tries += 1

    def _outcome(self, sample: Sample, finding: Finding) -> Outcome:
        fate = _FATES[finding.standing]
        if fate == "written" and sample.sample_id not in self._sent:
            fate = "gone"  # somebody else confirmed it with the same labels
        return Outcome(sample, fate, now=finding.now)

    def _hold_up(self, error: ModelArtsError) -> None:
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


def _unsent(candidates: Iterable[Candidate]) -> list[Outcome]:
    return [Outcome(candidate.sample, "unsent") for candidate in candidates]


def _unknown(sample: Sample, reason: str) -> Outcome:
    return Outcome(sample, "failed", "unknown", f"{reason} It may have been written or not.".strip())
