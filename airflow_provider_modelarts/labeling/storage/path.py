"""Files of a confirmation: whole JSON Lines objects on a disk or in object storage, sealed by their last line.

Object storage knows neither folders nor appending, so an object is written once, from its first byte to its last. What
was cut off, mixed up or edited is found out by reading: the last line holds the digest of all bytes before it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

from pydantic_core import to_json

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest
from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.labeling.storage.atomic import forget_listings, place_file, place_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 20
HELD = 8 << 20
"""Bytes of an object that are held in memory until it is uploaded; a larger one waits in a temporary file."""
LINE_LIMIT = 16 << 20
"""No line may be longer: a sample's labels went through a request of at most 12 MB (contract 0)."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class StorageDamaged(InvalidRequest):
    """A stored plan or ledger part is not what was written: cut off, altered, or of another kind."""


class NotStoredError(ConfirmationError):
    """What was written is not what lies at its place now, so nobody may go by it."""


class StoragePath(Protocol):
    """What is asked of a path; ``pathlib.Path`` and ``airflow.sdk.ObjectStoragePath`` both have it.

    ``str()`` gives the path or URI that people are shown.
    """

    @property
    def parent(self) -> Self: ...  # noqa: D102 - as pathlib says

    def __truediv__(self, name: str, /) -> Self: ...

    def open(self, mode: str, /) -> Any: ...  # noqa: D102

    def iterdir(self) -> Iterator[Self]: ...  # noqa: D102

    def exists(self) -> bool: ...  # noqa: D102

    def mkdir(self, mode: int = ..., parents: bool = ..., exist_ok: bool = ...) -> None: ...  # noqa: D102


def encode_line(value: object) -> bytes:
    """Return a value as one JSON line, every number as Python writes it.

    :param value: made of what JSON has
    """
    try:
        return to_json(value, inf_nan_mode="constants") + b"\n"
    except ValueError:  # half a surrogate pair can only be written as an escape
        return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def name_of(path: StoragePath) -> str:
    """Return the last part of a path."""
    return str(path).rstrip("/").rpartition("/")[2]


def file_name(text: str, length: int = 80) -> str:
    """Return a text as part of a file name that any storage takes; different texts may give the same name."""
    return _UNSAFE.sub("-", text).strip("-.")[:length] or "-"


def list_folder(folder: StoragePath) -> list[StoragePath]:
    """Return what is in a folder by name; nothing if there is no such folder, as object storage has none."""
    forget_listings(folder)
    try:
        return sorted(folder.iterdir(), key=name_of)
    except (FileNotFoundError, NotADirectoryError):
        return []


class SealedWriter:
    """Writes one object of JSON lines; the last one seals it. To be used as a context manager.

    The object appears under its name only when it is complete: on a local disk it has another name until then, and
    what goes to object storage waits in a temporary file. Only an upload that fails half-way may leave a part, which
    has no seal; readers refuse it.

    :param path: where to; missing folders are made
    :param keeps: None: what is there is replaced. Else asked when something is there once this is complete: true
        leaves it there, and what was written here is thrown away; false replaces it
    :raises NotStoredError: at the end, with ``keeps``: if neither what was written nor what counts instead is there
    """

    def __init__(self, path: StoragePath, *, keeps: Callable[[], bool] | None = None) -> None:
        self._path = path
        self._keeps = keeps
        self._local = local_path(path)
        self._temporary = self._local and self._local.with_name(f".{self._local.name[:200]}.{secrets.token_hex(4)}")
        self._file: IO[bytes] | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._hash = sha256()
        self._seal = b""

    def __enter__(self) -> Self:
        if self._temporary is None:
            self._file = tempfile.SpooledTemporaryFile(max_size=HELD)
            return self
        try:
            self._file = self._temporary.open("wb")
        except FileNotFoundError:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
        return self

    def write(self, line: bytes) -> None:
        """Add a line, as :func:`encode_line` gives it."""
        self._hash.update(line)
        self._append(line)

    def seal(self, facts: dict[str, Any]) -> str:
        """Write the last line and return the digest, as 64 hex digits.

        :param facts: what the last line says besides; a reader that counts must come to the same
        """
        digest = self._hash.hexdigest()
        self._seal = seal_line(facts, digest)
        self._append(self._seal)
        return digest

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is None:
            return
        try:
            with self._file as file:
                if kind is None and self._seal:
                    self._flush()
                    self._publish(file)
        finally:
            if self._temporary:
                self._temporary.unlink(missing_ok=True)

    def _publish(self, file: IO[bytes]) -> None:
        if self._temporary is None or self._local is None:
            is_stored = place_object(file, self._path, self._keeps)
        else:
            file.flush()
            os.fsync(file.fileno())
            is_stored = place_file(self._temporary, self._local, self._seal, self._keeps)
        if not is_stored:
            raise NotStoredError(
                f"{display_uri(self._path)} was written, but something else or nothing lies there now: another "
                "task may use "
                "the same place, or the storage did not keep it. Nothing was written to the dataset. Run the task "
                "again; if this comes back, choose another place."
            )

    def _append(self, line: bytes) -> None:
        self._waiting.append(line)
        self._size += len(line)
        if self._size >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._file is not None:
            self._file.write(b"".join(self._waiting))
        self._waiting, self._size = [], 0


class SealedReader:
    """Reads one object of JSON lines and finds out whether it is what was written.

    :param path: where from
    """

    def __init__(self, path: StoragePath) -> None:
        self._path = path
        self._hash = sha256()
        self._last = b""

    def lines(self) -> Iterator[bytes]:
        """Yield every line but the last; memory does not grow with the object.

        Until :meth:`check` has passed nothing says that these are the lines that were written.

        :raises StorageDamaged: if there is no such object
        """
        held: bytes | None = None
        for line in self._split():
            if held is not None:
                self._hash.update(held)
                yield held
            held = line
        self._last = held or b""

    def check(self, facts: dict[str, Any]) -> str:
        """Return the digest if the last line is, byte for byte, the one that belongs to the lines before it.

        :param facts: as the writer's ``seal`` had them
        :raises StorageDamaged: if it is not
        """
        digest = self._hash.hexdigest()
        if self._last != seal_line(facts, digest):
            raise self.damaged("it is not complete or was altered: its last line does not belong to those before it")
        return digest

    def damaged(self, reason: str) -> StorageDamaged:
        """Return the error to raise for this object."""
        return StorageDamaged(f"{display_uri(self._path)} cannot be used: {reason}.")

    def _split(self) -> Iterator[bytes]:
        rest = b""
        with self._opened() as file:
            while chunk := file.read(CHUNK):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
                if len(rest) > LINE_LIMIT:
                    raise self.damaged(f"a line is longer than {LINE_LIMIT >> 20} MB")
        if rest:
            yield rest

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            raise self.damaged("there is nothing") from None
        with file:
            yield file


def seal_line(facts: dict[str, Any], digest: str) -> bytes:
    """Return the last line of an object."""
    return encode_line({**facts, "sha256": digest})


def decode_object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line, or None if it is none."""
    try:
        value = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def display_uri(path: StoragePath) -> str:
    """Return a path for people: without user, password and query, should somebody have written them into it."""
    text = str(path)
    if "://" not in text:
        return text
    head, _, tail = text.partition("://")
    place = tail.partition("?")[0]
    host, slash, rest = place.partition("/")
    return f"{head}://{host.rpartition('@')[2]}{slash}{rest}"


def stored_uri(path: StoragePath) -> str:
    """Return a path for a record: as :func:`display_uri`, but with the id of the connection that leads there.

    What holds a colon may be a user and a password, and is left out.
    """
    text = str(path)
    scheme, separator, rest = text.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if not separator or not at or ":" in user:
        return display_uri(path)
    return f"{scheme}://{user}@{display_uri(path).partition('://')[2]}"


def local_path(path: StoragePath) -> Path | None:
    """Return where a path is on a disk of this machine; None if it is elsewhere."""
    if isinstance(path, Path):
        return path
    text = str(path)
    if text.startswith("file://") and not urlsplit(text).netloc:
        return Path(text.removeprefix("file://"))
    return None if "://" in text else Path(text)
