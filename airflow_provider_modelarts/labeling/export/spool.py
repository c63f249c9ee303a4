"""Where samples wait between reading and writing: a temporary file, and tables on disk. Memory stays flat."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import fields
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.labeling.export.file_names import (
    collision_key,
    distinguished,
    own_name,
    safe_name,
    stem_of,
)
from airflow_provider_modelarts.labeling.export.samples import ExportedSample
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names have an index of their own: they are counted, and none may stand twice.
_TABLES = """
CREATE TABLE seen (sample_id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE wanted (number INTEGER PRIMARY KEY, key BLOB, name BLOB, own BLOB, sample_id BLOB);
CREATE TABLE named (number INTEGER PRIMARY KEY, key BLOB UNIQUE, name BLOB);
"""


def scratch_database() -> sqlite3.Connection:
    """Return an empty database in a temporary file, which is gone when it is closed."""
    return sqlite3.connect("", isolation_level=None, check_same_thread=False)


def to_bytes(text: str) -> bytes:
    """Return a text as a database takes it, half a surrogate pair too."""
    return text.encode("utf-8", "surrogatepass")


def to_str(value: bytes) -> str:
    """Return the text of :func:`to_bytes`."""
    return value.decode("utf-8", "surrogatepass")


class SampleSpool:
    """The samples of an export, in the order in which they were read; to be closed.

    :param names_by_stem: how names of images are told apart, see ``ExportFormat``; None: there are none
    """

    def __init__(self, names_by_stem: bool | None) -> None:
        self._by_stem = names_by_stem
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._tables = scratch_database()
        self._tables.executescript(_TABLES)
        self._tables.execute("BEGIN")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Throw everything away."""
        self._tables.close()
        self._file.close()

    def is_new(self, sample_id: str) -> bool:
        """Note that a sample was read; false if it was read before."""
        cursor = self._tables.execute("INSERT OR IGNORE INTO seen VALUES (?)", (to_bytes(sample_id),))
        return cursor.rowcount > 0

    def add(self, sample: ExportedSample) -> None:
        """Append a sample."""
        self._count += 1
        self._file.write(encode_line({one.name: getattr(sample, one.name) for one in fields(sample)}))
        if self._by_stem is not None:
            own = own_name(sample.source or "")
            name = safe_name(own)
            row = (self._count, self._key(name), *map(to_bytes, (name, own, sample.sample_id)))
            self._tables.execute("INSERT INTO wanted VALUES (?, ?, ?, ?, ?)", row)

    def _key(self, name: str) -> bytes:
        return to_bytes(collision_key(stem_of(name) if self._by_stem else name))

    def name_images(self) -> None:
        """Give each image its name, once all are added: its own, with a mark of the sample if others have the same."""
        own = "SELECT number, key, name FROM wanted WHERE key IN (SELECT key FROM wanted GROUP BY key HAVING count(*) "
        self._tables.execute("CREATE INDEX keys ON wanted (key)")
        self._tables.execute(f"INSERT INTO named {own} = 1)")
        shared = self._tables.execute(f"{own.replace('key, name', 'name, sample_id')} > 1)")
        for number, name, sample_id in shared:
            for turn in count():  # whoever names images may have given the mark of this sample to another one
                unique = distinguished(to_str(name), to_str(sample_id) + f"#{turn}" * bool(turn))
                row = (number, self._key(unique), to_bytes(unique))
                if self._tables.execute("INSERT OR IGNORE INTO named VALUES (?, ?, ?)", row).rowcount:
                    break

    def count_renamed(self) -> int:
        """Return how many images have another name than their own, once all are named."""
        query = "SELECT count(*) FROM named JOIN wanted USING (number) WHERE named.name <> wanted.own"
        (count,) = self._tables.execute(query).fetchone()
        return int(count)

    def samples(self) -> Iterator[ExportedSample]:
        """Yield the samples, each with the name of its image; several may read at once, one after the other."""
        names = self._tables.cursor().execute("SELECT name FROM named ORDER BY number")
        for line in self._lines():
            found: dict[str, Any] = parse_json(line)
            if self._by_stem is not None:
                found["file_name"] = to_str(next(names)[0])
            yield ExportedSample(**found)

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines of the file; each reader has a place of its own in it."""
        place = 0
        self._file.flush()
        while True:
            self._file.seek(place)
            lines = self._file.readlines(1 << 16)
            place = self._file.tell()
            if not lines:
                return
            yield from lines
