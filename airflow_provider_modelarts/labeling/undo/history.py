"""What a run did to each sample, read from its ledger: what it wrote, and what stood there before."""

from __future__ import annotations

import json
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.resources.samples import SIZE
from airflow_provider_modelarts.labeling.label_equality import has_labels_of, raw_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_modelarts.labeling.ledger.entries import Entry
    from airflow_provider_modelarts.labeling.ledger.reader import LedgerChain


class _Note(NamedTuple):
    """What one entry says of a sample.

    :param time: of its part; no earlier than that of the parts before it
    :param before: labels that were there; empty for none
    :param after: labels that were, or may have been, written
    :param is_read: found out by reading
    :param fate: the entry's
    :param chain: number of the chain it stands in
    :param is_open: it may have been written, and nobody knew then
    """

    time: float
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    is_read: bool
    fate: str
    chain: int
    is_open: bool

    @property
    def is_witness(self) -> bool:
        """Whether the run wrote the sample, or may have."""
        return self.is_open or self.fate in ("confirmed", "unknown")

    def disproves(self, earlier: _Note) -> bool:
        """Whether this later look at the sample says that an earlier try has not written it, or that nothing tells."""
        if self.fate == "unknown":
            return self.is_read and self.after == earlier.after
        # A refusal was of a sample that was still proposed; a try that has not recorded its end may write it yet.
        is_refusal = self.fate == "failed" and not self.is_open and earlier.fate == "failed"
        return self.fate in ("gone", "changed") or is_refusal


class SampleHistory:
    """What a run did to one sample; complete when the first question is asked."""

    def __init__(self, sample_id: str, place: str) -> None:
        self.sample_id = sample_id
        self.place = place
        """Where the sample lies, or its id."""
        self.notes: list[_Note] = []

    def add(self, chain: int, time: float, entry: Entry) -> None:
        """Take over an entry; those of one chain come in order."""
        # What was about to be written is settled by what the same writer says later.
        self.notes = [note for note in self.notes if (note.chain, note.fate) != (chain, "intended")]
        before, after = entry.before or [], entry.after
        for note in self.notes:  # equal labels are held once
            before = note.before if note.before == before else before
            after = note.after if note.after == after else after
        self.notes.append(_Note(time, before, after, entry.read, entry.fate, chain, not entry.is_settled))

    @property
    def is_of_the_run(self) -> bool:
        """Whether the run wrote the sample, or may have."""
        return any(note.is_witness for note in self.notes)

    @cached_property
    def afters(self) -> list[list[dict[str, Any]]]:
        """Every list of labels that the run wrote or may have written."""
        afters: list[list[dict[str, Any]]] = []
        notes = sorted(self.notes, key=lambda note: note.time)  # those of one part stay in order
        for place, note in enumerate(notes, start=1):
            is_written = note.fate == "confirmed" or (
                note.is_open and not any(later.disproves(note) for later in notes[place:])
            )
            if is_written and note.after not in afters:
                afters.append(note.after)
        return afters

    @cached_property
    def before(self) -> list[dict[str, Any]]:
        """The labels that the run replaced and had not written itself, the last of them; empty for none.

        A run may write a sample several times, and people may correct it in between. The question is asked of a sample
        that carries what the run wrote: so labels noted before a write that nobody confirmed were replaced as well.
        """
        # Who only reads that a write was done does not know what was there before it.
        witnesses = sorted(
            (note for note in self.notes if note.is_witness and not note.is_read), key=lambda note: note.time
        )
        befores = [note.before for note in witnesses]
        of_people = [labels for labels in befores if labels and not _is_one_of(with_labels(labels), self.afters)]
        if of_people:
            return of_people[-1]
        # Nothing but what the run wrote: a person had given the very same, unless nothing was found there once.
        return [] if [] in befores or not befores else befores[0]

    def is_undone(self, sample: Sample) -> bool:
        """Whether a sample stands as it did before the run."""
        return has_labels_of(sample, with_labels(self.before)) if self.before else not raw_labels(sample)

    def is_on(self, sample: Sample) -> bool:
        """Whether a sample carries what the run wrote, and that is not what was there before."""
        return not self.is_undone(sample) and _is_one_of(sample, self.afters)

    def is_unknown(self, sample: Sample) -> bool:
        """Whether a sample carries labels of which the ledger does not know whether the run or a person gave them."""
        return _is_one_of(sample, [note.after for note in self.notes if note.fate == "unknown"])

    def target(self, sample: Sample) -> Sample:
        """Return what goes to the writer: the labels to restore, or to recognise where all are taken away."""
        raw: dict[str, Any] = {"sample_id": self.sample_id, "labels": self.before or self.afters[0]}
        if SIZE in sample.metadata:
            raw["metadata"] = {SIZE: sample.metadata[SIZE]}
        return Sample(raw)


class DatasetHistory:
    """What a run did to the samples of one dataset; its ledger is read twice so that memory stays small.

    :param chains: of the run and the dataset
    :raises LedgerBroken: if a part of them cannot be trusted
    """

    def __init__(self, chains: Sequence[LedgerChain]) -> None:
        self._chains = chains
        self._repeated: set[bytes] = set()
        seen: set[bytes] = set()
        for _, _, entry in self._entries():
            key = _key(entry.sample_id)
            (self._repeated if key in seen else seen).add(key)

    def samples(self) -> Iterator[SampleHistory]:
        """Yield each sample that the run has or may have written once; first those with one entry."""
        merged: dict[str, SampleHistory] = {}
        for chain, time, entry in self._entries():
            history = merged.get(entry.sample_id)
            if history is None:
                # Parts hold origins without signatures.
                history = SampleHistory(entry.sample_id, entry.origin or entry.sample_id)
            history.add(chain, time, entry)
            if _key(entry.sample_id) in self._repeated:
                merged[entry.sample_id] = history
            elif history.is_of_the_run:
                yield history
        yield from (history for history in merged.values() if history.is_of_the_run)

    def _entries(self) -> Iterator[tuple[int, float, Entry]]:
        """Yield the entries with chain and time: chains come by name, which says nothing of time."""
        for number, chain in enumerate(self._chains):
            time = 0.0
            for header, entries in chain.read():
                time = max(time, header.created_at)  # clocks may be set back, a chain is in order
                yield from ((number, time, entry) for entry in entries if entry.after)


def with_labels(labels: list[dict[str, Any]]) -> Sample:
    """Return a sample of nothing but labels, to compare others with."""
    return Sample({"labels": labels})


def _is_one_of(sample: Sample, afters: list[list[dict[str, Any]]]) -> bool:
    return any(has_labels_of(sample, with_labels(after)) for after in afters)


def _key(sample_id: str) -> bytes:
    return blake2b(json.dumps(sample_id).encode(), digest_size=16).digest()
