"""Reads the ledger of a run: its chains, what is wrong with them, and what became of the samples of a plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.clock import is_certainly_before
from airflow_provider_modelarts.labeling.ledger.entries import (
    FATES,
    LedgerBroken,
    broken,
    peek_header,
    read_part,
    run_folder,
)
from airflow_provider_modelarts.labeling.storage.path import display_uri, list_folder, name_of
from airflow_provider_modelarts.labeling.storage.sealed_file import SealedReader, decode_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.ledger.entries import Entry, LedgerFate, PartHeader, RunIdentity
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlannedSample
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

_CONFIRMED = 1 + FATES.index("confirmed")
_OPEN = 1 + len(FATES)
_RUN = re.compile(r".+-[0-9a-f]{12}")
_PART = re.compile(r"(?P<chain>.+\.try\d{3}\.[0-9a-f]+)\.(?P<sequence>\d{6})\.jsonl")


@dataclass(frozen=True)
class LedgerChain:
    """The parts of one writer, in order.

    :param name: what the names of its parts begin with
    :param parts: number and path of each
    """

    name: str
    parts: tuple[tuple[int, StoragePath], ...]

    def read(self) -> Iterator[tuple[PartHeader, list[Entry]]]:
        """Yield header and entries of each part, each part checked first; one part is held at a time.

        :raises LedgerBroken: naming the first part that is missing, altered, or not of this chain
        """
        previous: str | None = None
        total = 0
        closing = ""
        for expected, (sequence, path) in enumerate(self.parts):
            if sequence != expected:
                raise LedgerBroken(
                    f"The ledger's part {self.name}.{expected:06d}.jsonl is missing: {name_of(path)} comes after it."
                )
            header, entries, digest = read_part(path, total)
            written_as = header.chain_name(header.writer)
            if (written_as, header.sequence) != (self.name, sequence):
                raise broken(path, f"it was written as {written_as}.{header.sequence:06d}.jsonl")
            if header.previous != previous or closing:
                raise broken(path, f"it does not follow {closing or 'the part before it'}")
            previous, total, closing = digest, total + len(entries), name_of(path) if header.closing else ""
            yield header, entries

    def first(self) -> PartHeader:
        """Return the header of the first part: who wrote, to which dataset, by which plan.

        :raises LedgerBroken: if that part cannot be trusted
        """
        return next(self.read())[0]

    def ended_before(self, time: float) -> bool:
        """Whether the chain was certainly closed before a time, in epoch seconds, that another machine may have noted.

        Only the last part's first line is read.
        """
        raw = decode_object(next(SealedReader(self.parts[-1][1]).lines(), b"")) or {}
        created_at = raw.get("created_at")
        if raw.get("closing") is not True or not isinstance(created_at, (int, float)):
            return False
        return is_certainly_before(created_at, time)

    def verify(self) -> list[str]:
        """Return what is wrong with the chain, a line for each problem, naming the part; empty if it is whole.

        A writer that crashed looks like a chain whose last parts were removed: the text says so.
        """
        is_closed = False
        try:
            for header, _ in self.read():
                is_closed = header.closing
        except LedgerBroken as error:
            return [error.message]
        if not is_closed:
            last = name_of(self.parts[-1][1]) if self.parts else self.name
            return [f"{last} is not the last part: its writer crashed or still runs, or later parts were removed."]
        return []


@dataclass(frozen=True)
class Ledger:
    """All chains of one run, by task, try and writer.

    :param chains: the chains
    :param uri: where they are
    """

    chains: tuple[LedgerChain, ...]
    uri: str

    def entries(self) -> Iterator[tuple[PartHeader, Entry]]:
        """Yield every entry of every chain with its part's header; tries in order, a try's writers one by one.

        :raises LedgerBroken: naming the part that cannot be trusted
        """
        for chain in self.chains:
            for header, entries in chain.read():
                for entry in entries:
                    yield header, entry

    def verify(self) -> list[str]:
        """Return what is wrong, a line for each problem, naming the part."""
        return [problem for chain in self.chains for problem in chain.verify()]

    def of(self, identity: RunIdentity) -> Ledger:
        """Return the chains of one Airflow task: of all its tries, and of nobody else who writes in this run.

        :param identity: DAG, task and map index count
        """
        ours = (chain for chain in self.chains if chain.name.rpartition(".try")[0] == identity.task_name)
        return Ledger(tuple(ours), self.uri)


def read_ledger(root: StoragePath, run_id: str) -> Ledger:
    """Find the ledger of a run; nothing but names is read yet.

    :param root: the ledger's place
    :param run_id: the DAG run
    """
    return _ledger_in(run_folder(root, run_id))


def read_ledgers(root: StoragePath) -> Iterator[Ledger]:
    """Find the ledgers of all runs; nothing but names is read yet.

    :param root: the ledgers' place
    """
    for folder in list_folder(root):
        if _RUN.fullmatch(name_of(folder)):
            yield _ledger_in(folder)


def _ledger_in(folder: StoragePath) -> Ledger:
    chains: dict[str, list[tuple[int, StoragePath]]] = {}
    for path in list_folder(folder):
        match = _PART.fullmatch(name_of(path))
        if match:
            chains.setdefault(match["chain"], []).append((int(match["sequence"]), path))
    return Ledger(tuple(LedgerChain(name, tuple(parts)) for name, parts in sorted(chains.items())), display_uri(folder))


def applied_plans(root: StoragePath, dataset_id: str) -> list[PartHeader]:
    """Return who applied which plan to a dataset, of all runs in a ledger, the latest first.

    Only the first line of each chain is read, and nothing is checked: who uses such a plan compares its digest. Runs
    that were taken back are among them.

    :param root: the ledger's place
    :param dataset_id: the dataset
    """
    firsts = [
        path
        for folder in list_folder(root)
        for path in list_folder(folder)
        if (match := _PART.fullmatch(name_of(path))) and int(match["sequence"]) == 0
    ]
    headers = (header for header in map(peek_header, firsts) if header is not None)
    found = [header for header in headers if header.dataset_id == dataset_id and header.plan_uri is not None]
    return sorted(found, key=lambda header: -header.created_at)


class LedgerState:
    """What became of the samples of a plan, as far as the ledger knows; a byte for each."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._fates = bytearray(len(plan))
        self.has_confirmed = self.has_gaps = False
        """Whether a writer has not closed its chain: what it wrote last may not be recorded."""

    def note(self, entry: Entry) -> None:
        """Take over what an entry says of a planned sample; what was confirmed stays so, else the last entry counts."""
        found = self._plan.index.find(entry.sample_id)
        if found is None or self._fates[found[1]] == _CONFIRMED:
            return
        self.has_confirmed = self.has_confirmed or entry.fate == "confirmed"
        self._fates[found[1]] = 1 + FATES.index(entry.fate) if entry.is_settled else _OPEN

    def fate(self, sample_id: str) -> LedgerFate | None:
        """Return what became of a sample; None if that is not known."""
        state = self._state(sample_id)
        return FATES[state - 1] if 0 < state < _OPEN else None

    def may_be_written(self, sample_id: str) -> bool:
        """Whether a writer may have written a sample without recording that."""
        if self._state(sample_id) == _OPEN:
            return True
        # What was found to be gone or changed was read.
        return self.has_gaps and self.fate(sample_id) in (None, "failed")

    def unsettled(self) -> Iterator[PlannedSample]:
        """Yield the samples to be confirmed of which no part knows what became of them."""
        for position, planned in enumerate(self._plan.samples()):
            if planned.decision.action == "confirm" and self._fates[position] in (0, _OPEN):
                yield planned

    def open_samples(self) -> Iterator[PlannedSample]:
        """Yield those of them that may be written: they are to be read."""
        return (planned for planned in self.unsettled() if self.may_be_written(planned.row.sample_id))

    def _state(self, sample_id: str) -> int:
        found = self._plan.index.find(sample_id)
        return 0 if found is None else self._fates[found[1]]


def replay(plan: Plan, ledger: Ledger) -> LedgerState:
    """Return what a run's ledger says of the samples of a plan; parts about other plans are passed over.

    :raises LedgerBroken: if a part cannot be trusted
    """
    state = LedgerState(plan)
    for chain in ledger.chains:
        is_closed = True
        for header, entries in chain.read():
            if header.plan_digest != plan.digest:
                break
            is_closed = header.closing
            for entry in entries:
                state.note(entry)
        state.has_gaps = state.has_gaps or not is_closed
    return state
