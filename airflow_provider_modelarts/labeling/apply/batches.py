"""What goes out in one request, what its answer proves, and how a refused batch is split. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client.error_codes import SAMPLE_FAULTS
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import SampleOutcome
    from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead

BATCH_BYTES = 1_000_000

# The status of a body that is too large.
TOO_LARGE = 413
BUSY_CODES = frozenset({"4381", "4343", "4349", "4355", "4356"})
CONCLUSIVE = SAMPLE_FAULTS | BUSY_CODES


class WriteOutcome(NamedTuple):
    """What became of some samples.

    :param reads: the samples, as they were decided upon; one if there is something to say of it alone
    :param status: CONFIRMED: this run wrote it; LEFT: it was not sent, because of a stop or an error
    :param code: the service's code, or "unknown"; of failed and unknown samples
    :param message: the service's text; of failed and unknown samples
    :param now: the proposal as it is now; of changed samples
    :param carries_labels: it carries the labels decided upon nevertheless; of gone samples
    """

    reads: Sequence[ProposalRead]
    status: ConfirmationStatus
    code: str = ""
    message: str = ""
    now: ProposalRead | None = None
    carries_labels: bool = False

    @property
    def ids(self) -> list[str]:
        """The samples."""
        return [read.row.sample_id for read in self.reads]


@dataclass(frozen=True)
class Batch:
    """Samples that go out in one request.

    :param candidates: the decided proposals
    :param lost_since: when the first answer about them was lost; None if none was
    :param losses: how many answers were lost
    :param rereads: how often in a row its samples grew old while they were read again
    :param number: of the batch, for this writer; the parts of a split batch share it
    """

    candidates: Sequence[ProposalRead]
    lost_since: float | None = None
    losses: int = 0
    rereads: int = 0
    number: int = 0

    def of(self, candidates: Sequence[ProposalRead]) -> Batch:
        """Return a batch with the same past and other samples."""
        return replace(self, candidates=candidates)

    def halves(self) -> list[Batch]:
        """Return the two halves."""
        middle = len(self.candidates) // 2
        return [self.of(self.candidates[:middle]), self.of(self.candidates[middle:])]


Step = tuple[list[WriteOutcome], list[Batch]]
"""Outcomes, and the batches to send next, in this order."""
Replies = dict[str, "SampleOutcome"]


def split(
    candidates: Iterable[ProposalRead], batch_size: int, batch_bytes: int = BATCH_BYTES
) -> Iterator[list[ProposalRead]]:
    """Split proposals into batches, in order, of about ``batch_bytes`` of JSON; a sample that is larger goes alone."""
    candidates = list(candidates)
    lengths = [len(memoryview(candidate.row.labels)) for candidate in candidates]
    if 0 < len(candidates) <= batch_size and sum(lengths) <= batch_bytes:
        yield candidates
        return
    batch: list[ProposalRead] = []
    size = 0
    for candidate, length in zip(candidates, lengths, strict=True):
        if batch and (len(batch) >= batch_size or size + length > batch_bytes):
            yield batch
            batch, size = [], 0
        batch.append(candidate)
        size += length
    if batch:
        yield batch


def split_suspects(batch: Batch, proposed: Sequence[ProposalRead], replies: Replies) -> Step:
    """Split what a batch left unwritten: each sample fails, or goes out again in a smaller batch.

    A sample that was refused alone has failed, and so has one refused for a reason that no other sample can have
    caused. All others go out again, suspects apart from the rest; every part is smaller than the batch, so this ends.
    """
    if len(batch.candidates) == 1:
        return [_failed(candidate, replies) for candidate in proposed], []
    suspects, others, failed = [], [], []
    for candidate in proposed:
        reply = replies.get(candidate.sample_id)
        code = number_of(reply.error_code) if reply is not None else ""
        if not code:
            others.append(candidate)
        elif code in SAMPLE_FAULTS:
            suspects.append(candidate)
        else:
            failed.append(_failed(candidate, replies))
    parts = [batch.of(part) for part in (others, suspects) if part]
    whole = len(batch.candidates)
    return failed, [piece for part in parts for piece in (part.halves() if len(part.candidates) == whole else [part])]


def is_inconclusive(replies: Replies) -> bool:
    """Whether an answer was lost, or does not say what became of any sample, nor why."""
    return all(reply.ok is None and number_of(reply.error_code) not in CONCLUSIVE for reply in replies.values())


def retry_batches(batch: Batch, proposed: Sequence[ProposalRead]) -> list[Batch]:
    """Return what goes out again after an inconclusive answer: the same batch once, then its halves.

    If one of the samples is to blame, only smaller batches show which.
    """
    again = batch.of(proposed)
    return again.halves() if batch.losses > 1 and len(proposed) > 1 else [again]


def number_of(code: str | None) -> str:
    """Return a code without its prefix, which differs between installations (contract 7.1)."""
    return (code or "").rpartition(".")[2]


def refused_locally(error: ModelArtsError) -> bool:
    """Whether the client itself refused to send it."""
    return isinstance(error, InvalidRequest) and error.status is None and error.method is None


def is_fault_of_samples(error: ModelArtsError) -> bool:
    """Whether a request that was not carried out may be, without one of its samples."""
    return refused_locally(error) or error.status == TOO_LARGE or number_of(error.code) in SAMPLE_FAULTS


def _failed(candidate: ProposalRead, replies: Replies) -> WriteOutcome:
    """Return the failure of a sample: its own code, else the first one in the answer."""
    own = [reply for reply in replies.values() if reply.sample_id == candidate.sample_id]
    reply = next((reply for reply in (*own, *replies.values()) if reply.error_code), None)
    if reply is None:
        return WriteOutcome(
            [candidate], ConfirmationStatus.FAILED, "refused", "The service did not write it and gave no reason."
        )
    return WriteOutcome([candidate], ConfirmationStatus.FAILED, reply.error_code or "", reply.error_msg or "")
