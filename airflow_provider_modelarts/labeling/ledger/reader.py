"""The ledger: what was written to which sample, why, and what the service answered.

A run's folder under the ledger's place holds parts, each written once as a whole. A part covers a window of samples.
Its first line says who wrote it, and holds the digest of the part before it, so that the parts of one writer form a
chain; each writer (run, try, random id) has its own, so that a zombie's chain stands beside the retry's. The last
part of a chain says that it is the last one.

The plan is the intent, the ledger the outcome: what a plan wants confirmed and no part knows is unsettled, and is
settled by reading (:func:`unsettled`).
"""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow_provider_modelarts.client.clock import Clock, system_clock
from airflow_provider_modelarts.labeling.ledger.entries import (
    FATES,
    FORMAT,
    VERSION,
    Entry,
    LedgerBroken,
    LedgerFate,
    PartHeader,
    RunIdentity,
    broken,
    entry_line,
    identity_of,
    part_facts,
    read_part,
    run_folder,
)
from airflow_provider_modelarts.labeling.storage.path import StoragePath, display_uri, list_folder, name_of
from airflow_provider_modelarts.labeling.storage.sealed_file import SealedWriter, encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlannedSample

__all__ = [
    "Entry",
    "Ledger",
    "LedgerBroken",
    "LedgerChain",
    "LedgerState",
    "LedgerWriter",
    "PartHeader",
    "RunIdentity",
    "read_ledger",
    "replay",
    "run_folder",
]

WINDOW = 2000
"""A part is written after so many entries ..."""
WINDOW_SECONDS = 10.0
"""... or when its first entry is so old: what a crash leaves to be settled by reading is no more than that."""

_CONFIRMED = 1 + FATES.index("confirmed")
_OPEN = 1 + len(FATES)
_PART = re.compile(r"(?P<chain>.+\.try\d{3}\.[0-9a-f]+)\.(?P<sequence>\d{6})\.jsonl")


class LedgerWriter:
    """Writes one chain; threads may share it. To be used as a context manager, or with :meth:`close`.

    A part that could not be stored is kept and stored first at the next occasion, so a chain has no holes.

    :param root: the ledger's place, the same for all runs
    :param identity: who writes
    :param dataset_id: the dataset written to
    :param plan_uri: the plan being applied
    :param plan_digest: its digest
    :param approved_by: who approved it
    :param clock: tells the age of a window
    :param window: entries per part at most
    """

    def __init__(
        self,
        root: StoragePath,
        identity: RunIdentity,
        dataset_id: str,
        *,
        plan_uri: str | None = None,
        plan_digest: str | None = None,
        approved_by: str | None = None,
        clock: Clock = system_clock,
        window: int = WINDOW,
    ) -> None:
        self._folder = run_folder(root, identity.run_id)
        self._identity = identity
        self._facts: dict[str, Any] = {
            **asdict(identity),
            "dataset_id": dataset_id,
            "plan_uri": plan_uri,
            "plan_digest": plan_digest,
            "approved_by": approved_by,
        }
        # Begins with the time, so that the writers of one try sort by age.
        self.writer = f"{int(clock.now() * 1000):011x}{secrets.token_hex(4)}"
        self._clock = clock
        self._window = window
        self._lines: list[bytes] = []
        self._since = 0.0
        self._ready: list[_Part] = []
        self._sequence = 0
        self._total = 0
        self._previous: str | None = None
        self._closed = False
        self._filling = threading.Lock()
        self._storing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    @property
    def uri(self) -> str:
        """Where the parts of this run are."""
        return display_uri(self._folder)

    def record(self, *entries: Entry) -> None:
        """Add entries; stores a part when the window is full or old.

        :raises OSError: as the storage says, if a part cannot be stored; the entries are kept
        """
        lines = [encode_line(entry_line(entry)) for entry in entries]
        with self._filling:
            if self._closed:
                raise ValueError("the ledger is closed")
            now = self._clock.now()
            self._since = self._since if self._lines else now
            self._lines += lines
            is_due = len(self._lines) >= self._window or now - self._since >= WINDOW_SECONDS
        if is_due:
            self.flush()

    def begin(self) -> None:
        """Store a first part without entries: whoever reads later knows that from here on something may be written."""
        self._store(closing=False, even_empty=True)

    def flush(self) -> None:
        """Store what was recorded, so that it survives this process; needed before a person's labels are replaced."""
        self._store(closing=False)

    def close(self) -> None:
        """Store the rest and say that the chain is complete; calling it again does nothing."""
        if not self._closed or self._ready:
            self._store(closing=True)

    def _store(self, *, closing: bool, even_empty: bool = False) -> None:
        with self._storing:
            with self._filling:
                lines, self._lines = self._lines, []
                self._closed = self._closed or closing
            if lines or even_empty or (closing and not any(part.closing for part in self._ready)):
                self._total += len(lines)
                self._ready.append(_Part(lines, self._sequence, self._total, closing))
                self._sequence += 1
            while self._ready:
                self._write(self._ready[0])
                del self._ready[0]

    def _write(self, part: _Part) -> None:
        name = f"{self._identity.chain_name(self.writer)}.{part.sequence:06d}.jsonl"
        header = PartHeader(
            **self._facts,
            writer=self.writer,
            sequence=part.sequence,
            previous=self._previous,
            closing=part.closing,
            created_at=self._clock.now(),
        )
        with SealedWriter(self._folder / name) as file:
            file.write(encode_line({"format": FORMAT, "version": VERSION, **asdict(header)}))
            for line in part.lines:
                file.write(line)
            digest = file.seal(part_facts(len(part.lines), part.total))
        self._previous = digest


class _Part(NamedTuple):
    lines: list[bytes]
    sequence: int
    total: int
    closing: bool


@dataclass(frozen=True)
class LedgerChain:
    """The parts of one writer, in order.

    :param name: what the names of its parts begin with
    :param parts: number and path of each
    """

    name: str
    parts: tuple[tuple[int, StoragePath], ...]

    def read(self) -> Iterator[tuple[PartHeader, list[Entry]]]:
        """Yield header and entries of each part, checked before it is given out; one part is held at a time.

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
            writer = identity_of(header).chain_name(header.writer)
            if (writer, header.sequence) != (self.name, sequence):
                raise broken(path, f"it was written as {writer}.{header.sequence:06d}.jsonl")
            if header.previous != previous or closing:
                raise broken(path, f"it does not follow {closing or 'the part before it'}")
            previous, total, closing = digest, total + len(entries), name_of(path) if header.closing else ""
            yield header, entries

    def first(self) -> PartHeader:
        """Return the header of the first part: who wrote, to which dataset, by which plan.

        :raises LedgerBroken: if that part cannot be trusted
        """
        return next(self.read())[0]

    def verify(self) -> list[str]:
        """Return what is wrong with the chain, a line for each problem, naming the part; empty if it is whole.

        Nobody can tell a writer that crashed from a chain whose last parts were removed: the text says so.
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
        work = _work(identity.chain_name(""))
        return Ledger(tuple(chain for chain in self.chains if _work(chain.name) == work), self.uri)


def _work(chain: str) -> str:
    return chain.rpartition(".try")[0]


def read_ledger(root: StoragePath, run_id: str) -> Ledger:
    """Find the ledger of a run; nothing but names is read yet.

    :param root: the ledger's place
    :param run_id: the DAG run
    """
    folder = run_folder(root, run_id)
    chains: dict[str, list[tuple[int, StoragePath]]] = {}
    for path in list_folder(folder):
        match = _PART.fullmatch(name_of(path))
        if match:
            chains.setdefault(match["chain"], []).append((int(match["sequence"]), path))
    return Ledger(tuple(LedgerChain(name, tuple(parts)) for name, parts in sorted(chains.items())), display_uri(folder))


class LedgerState:
    """Which samples of a plan have a settled outcome; a byte for each."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._fates = bytearray(len(plan))
        self.has_gaps = False
        """Whether a writer has not closed its chain: what it wrote last may not be recorded."""

    def note(self, entry: Entry) -> None:
        """Take over what an entry says of a planned sample; what was confirmed stays so, else the last entry counts."""
        found = self._plan.index.find(entry.sample_id)
        if found is None or self._fates[found[2]] == _CONFIRMED:
            return
        self._fates[found[2]] = 1 + FATES.index(entry.fate) if entry.is_settled else _OPEN

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
        return (planned for planned in self.unsettled() if self.may_be_written(planned.sample.sample_id))

    def _state(self, sample_id: str) -> int:
        found = self._plan.index.find(sample_id)
        return 0 if found is None else self._fates[found[2]]


def replay(plan: Plan, ledger: Ledger) -> LedgerState:
    """Hold a ledger against the plan it is about.

    :param plan: the plan
    :param ledger: the run's ledger; parts about other plans are passed over
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
