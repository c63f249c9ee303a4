"""Writes the chain of parts of one try."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow_provider_modelarts.client.clock import Clock, system_clock
from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.labeling.ledger.entries import Entry, PartHeader, RunIdentity, run_folder, write_part
from airflow_provider_modelarts.labeling.storage.path import display_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_modelarts.labeling.storage.path import StoragePath

WINDOW = 2000
"""A part is written after so many entries ..."""
WINDOW_SECONDS = 10.0
"""... or when its first entry is so old: a crash leaves no more than that to be read from the service."""


class LedgerWriter:
    """Writes one chain; threads may share it. To be used as a context manager, or with :meth:`close`.

    A part that could not be stored is kept and stored first at the next occasion, so a chain has no holes.

    :param root: the ledger's place, the same for all runs
    :param identity: who writes
    :param dataset_id: the dataset written to
    :param plan_uri: the plan being applied
    :param plan_digest: its digest
    :param approved_by: who approved it
    :param approved_at: when, ISO 8601
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
        approved_at: str | None = None,
        clock: Clock = system_clock,
        window: int = WINDOW,
    ) -> None:
        # Begins with the time, so that the writers of one try sort by age.
        self.writer = f"{int(clock.now() * 1000):011x}{secrets.token_hex(4)}"
        self.chain_name = identity.chain_name(self.writer)
        self._folder = run_folder(root, identity.run_id)
        self._facts: dict[str, Any] = {
            **asdict(identity),
            "dataset_id": dataset_id,
            "writer": self.writer,
            "plan_uri": plan_uri,
            "plan_digest": plan_digest,
            "approved_by": approved_by,
            "approved_at": approved_at,
        }
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

    @property
    def is_due(self) -> bool:
        """Whether the window is full or old."""
        is_old = self._clock.now() - self._since >= WINDOW_SECONDS
        return len(self._lines) >= self._window or (is_old and bool(self._lines))

    def add(self, *entries: Entry) -> None:
        """Add entries, and store nothing yet."""
        self.add_lines([entry.line() for entry in entries])

    def add_lines(self, lines: Sequence[bytes]) -> None:
        """Add entries as lines, see :func:`.entries.entry_line`, and store nothing yet."""
        with self._filling:
            if self._closed:
                raise ValueError("the ledger is closed")
            if not self._lines:
                self._since = self._clock.now()
            self._lines += lines

    def record(self, *entries: Entry) -> None:
        """Add entries; stores a part when the window is full or old.

        :raises OSError: as the storage says, if a part cannot be stored; the entries are kept
        """
        self.record_lines([entry.line() for entry in entries])

    def record_lines(self, lines: Sequence[bytes]) -> None:
        """Add entries as lines, else as :meth:`record`."""
        self.add_lines(lines)
        if self.is_due:
            self.flush()

    def begin(self) -> None:
        """Store a first part without entries: it says that something may be written from here on."""
        self._store(closing=False, even_empty=True)

    def flush(self) -> None:
        """Store what was recorded, so that it survives this process."""
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
        header = PartHeader(
            **self._facts,
            sequence=part.sequence,
            previous=self._previous,
            closing=part.closing,
            created_at=self._clock.now(),
        )
        path = self._folder / f"{self.chain_name}.{part.sequence:06d}.jsonl"
        self._previous = write_part(path, header, part.lines, part.total)


class _Part(NamedTuple):
    lines: list[bytes]
    sequence: int
    total: int
    closing: bool


@contextmanager
def ledger_errors(uri: str) -> Iterator[None]:
    """Turn what a storage says into an error that ends the run.

    :raises ConfirmationError: for every error
    """
    try:
        yield
    except Exception as error:  # what a storage's library raises need be no OSError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfirmationError(
            f"The ledger {uri} cannot be written ({reason}), so nothing further is. Check ledger_uri and its "
            "connection, and run the task again: it goes on where this one ended."
        ) from error
