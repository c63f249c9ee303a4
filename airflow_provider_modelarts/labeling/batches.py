"""What goes out in one request, what became of it, and how a batch is taken apart when it was refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import Sample, SampleOutcome
    from airflow_provider_modelarts.labeling.service import Candidate

BATCH_BYTES = 1_000_000

# Codes that a sample causes: the others of its batch may be well (B15). 413 is the status of a body too large.
SAMPLE_FAULTS = frozenset({"4105", "0104", "4420", "4423"})
TOO_LARGE = 413
BUSY_CODES = frozenset({"4381", "4343", "4349", "4355", "4356"})

Fate = Literal["written", "gone", "changed", "failed", "unsent"]


class Outcome(NamedTuple):
    """What became of one sample.

    :param sample: as it was decided upon
    :param fate: "written"; "gone": no longer proposed, not by us; "changed": proposed otherwise than decided;
        "failed": the service refused, or its answer could not be had; "unsent": the run was asked to stop
    :param code: the service's code, or "unknown"; of failed samples
    :param message: the service's text; of failed samples
    :param now: the proposal as it is now; of changed samples
    """

    sample: Sample
    fate: Fate
    code: str = ""
    message: str = ""
    now: Candidate | None = None


@dataclass(frozen=True)
class Batch:
    """Samples that go out in one request.

    :param candidates: the decided proposals
    :param lost_since: when the first answer about them was lost; None if none was
    :param losses: how many answers were lost
    :param rereads: how often in a row its samples grew old while they were read again
    :param number: tells it from others of the same writer; its parts have the same
    """

    candidates: Sequence[Candidate]
    lost_since: float | None = None
    losses: int = 0
    rereads: int = 0
    number: int = 0

    def of(self, candidates: Sequence[Candidate]) -> Batch:
        """Return a batch with the same past and other samples."""
        return replace(self, candidates=candidates)

    def halves(self) -> list[Batch]:
        """Return the two halves."""
        middle = len(self.candidates) // 2
        return [self.of(self.candidates[:middle]), self.of(self.candidates[middle:])]


Step = tuple[list[Outcome], list[Batch]]
"""What is settled, and what is to be sent (again), in this order."""
Replies = dict[str, "SampleOutcome"]


def split(
    candidates: Iterable[Candidate], batch_size: int, batch_bytes: int = BATCH_BYTES
) -> Iterator[list[Candidate]]:
    """Split proposals into batches, in order.

    :param candidates: to be split
    :param batch_size: samples per batch at most
    :param batch_bytes: JSON bytes per batch, about; a sample that is larger goes alone
    """
    batch: list[Candidate] = []
    size = 0
    for candidate in candidates:
        # Python's own notation is about as long as JSON, and quicker to have.
        length = len(ascii(candidate.sample.raw.get("labels")))
        if batch and (len(batch) >= batch_size or size + length > batch_bytes):
            yield batch
            batch, size = [], 0
        batch.append(candidate)
        size += length
    if batch:
        yield batch


def isolated(batch: Batch, proposed: Sequence[Candidate], replies: Replies) -> Step:
    """Take apart what a batch left unwritten: each sample fails by itself, or goes out again in smaller company.

    A sample that was refused alone has failed. One refused for a reason that is not its own to mend has failed as
    well. All others go out again, suspects apart from the rest; every part is smaller than the batch, so this ends.
    """
    if len(batch.candidates) == 1:
        return [_failed(candidate.sample, replies) for candidate in proposed], []
    suspects, others, failed = [], [], []
    for candidate in proposed:
        code = number_of(replies[candidate.sample.sample_id].error_code) if _is_suspect(candidate, replies) else ""
        if not code:
            others.append(candidate)
        elif code in SAMPLE_FAULTS:
            suspects.append(candidate)
        else:
            failed.append(_failed(candidate.sample, replies))
    parts = [batch.of(part) for part in (others, suspects) if part]
    whole = len(batch.candidates)
    return failed, [piece for part in parts for piece in (part.halves() if len(part.candidates) == whole else [part])]


def says_nothing(replies: Replies) -> bool:
    """Whether an answer was lost, or leaves open what became of every sample and why."""
    telling = SAMPLE_FAULTS | BUSY_CODES
    return all(reply.ok is None and number_of(reply.error_code) not in telling for reply in replies.values())


def regrouped(batch: Batch, proposed: Sequence[Candidate]) -> list[Batch]:
    """Return what goes out again after an answer that says nothing: the same batch once, then its halves.

    If one of the samples is to blame, only smaller company shows which.
    """
    again = batch.of(proposed)
    return again.halves() if batch.losses > 1 and len(proposed) > 1 else [again]


def _is_suspect(candidate: Candidate, replies: Replies) -> bool:
    reply = replies.get(candidate.sample.sample_id)
    return bool(reply and reply.error_code)


def number_of(code: str | None) -> str:
    """Return a code without its prefix, which differs between installations (contract 7.1)."""
    return (code or "").rpartition(".")[2]


def refused_locally(error: ModelArtsError) -> bool:
    """Whether the client itself refused to send it."""
    return isinstance(error, InvalidRequest) and error.status is None and error.method is None


def is_fault_of_samples(error: ModelArtsError) -> bool:
    """Whether a request that was not carried out may be, without one of its samples."""
    return refused_locally(error) or error.status == TOO_LARGE or number_of(error.code) in SAMPLE_FAULTS


def _failed(sample: Sample, replies: Replies) -> Outcome:
    """Return the failure of a sample: its own code, else the first one in the answer."""
    own = [reply for reply in replies.values() if reply.sample_id == sample.sample_id]
    reply = next((reply for reply in (*own, *replies.values()) if reply.error_code), None)
    if reply is None:
        return Outcome(sample, "failed", "unknown", "The service did not write it and gave no reason.")
    return Outcome(sample, "failed", reply.error_code or "", reply.error_msg or "")
