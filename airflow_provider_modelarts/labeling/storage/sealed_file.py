"""JSON Lines files that are written once, as a whole, and sealed by their last line.

Object storage knows neither folders nor appending. The last line holds the digest of all bytes before it, so a reader
refuses a file that was cut off, mixed up or edited.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any, Self

import msgspec
from pydantic_core import to_json

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest
from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.labeling.storage.atomic import (
    CHUNK,
    MEMORY_BYTES,
    create_file,
    create_object,
    replace_object,
    temporary_name,
)
from airflow_provider_modelarts.labeling.storage.path import display_uri, forget_listings, local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.labeling.storage.path import StoragePath

LINE_BYTES = 16 << 20
"""No line may be longer: a sample's labels went through a request of at most 12 MB (contract 0)."""


NOTED = "noted"
"""Key in the last line of what no reader counts by itself; the digest covers it."""

_encode = msgspec.json.Encoder().encode
_SPACES = bytes.maketrans(b"\r\n", b"  ")


class StorageDamaged(InvalidRequest):
    """A stored plan or ledger part is not what was written: cut off, altered, or of another kind."""


class NotStoredError(ConfirmationError):
    """The file at a place is not the one that was just written there, so it may not be used."""


def encode_line(value: object) -> bytes:
    """Return a value made of what JSON has as one JSON line, every number as Python writes it."""
    try:
        return to_json(value, inf_nan_mode="constants") + b"\n"
    except ValueError:  # half a surrogate pair can only be written as an escape
        return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def encode_record(record: msgspec.Struct) -> bytes:
    """Return a record as one JSON line; JSON that it holds goes into it as it is."""
    try:
        line = _encode(record)
    except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
        line = _spliced(msgspec.to_builtins(record, builtin_types=(msgspec.Raw,)))
    if b"\n" in line or b"\r" in line:
        line = line.translate(_SPACES)  # between the parts of JSON that came so: within a text they are escapes
    return line + b"\n"


def _spliced(value: object) -> bytes:
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    if not isinstance(value, dict):
        return json.dumps(value).encode("ascii")
    return b"{%b}" % b",".join(b"%b:%b" % (json.dumps(name).encode(), _spliced(one)) for name, one in value.items())


def decode_object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line, or None if it is none."""
    try:
        value = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def seal_line(facts: dict[str, Any], digest: str, noted: object = None) -> bytes:
    """Return the last line of a file."""
    return encode_line({**facts, **({} if noted is None else {NOTED: noted}), "sha256": digest})


def _digest(lines: Any, noted: object) -> str:
    """Return the digest of all lines but the last, and of what that one notes."""
    if noted is None:
        return str(lines.hexdigest())
    whole = lines.copy()
    whole.update(encode_line(noted))
    return str(whole.hexdigest())


class SealedWriter:
    """Writes one file of JSON lines; the last line seals it. To be used as a context manager.

    The file appears under its name only when it is complete. Only an upload that fails half-way may leave a part, which
    has no seal; readers refuse it.

    :param path: where to; missing folders are made
    :param keeps: None: what is there is replaced. Else called when this file is complete: whether what lies at the path
        counts. If so, it stays and this file is thrown away; if not, or if nothing is there, this file is stored
    :raises NotStoredError: at the end, with ``keeps``: if neither this file nor one that counts is there
    """

    def __init__(self, path: StoragePath, *, keeps: Callable[[], bool] | None = None) -> None:
        self._path = path
        self._keeps = keeps
        self._local = local_path(path)
        self._temporary = self._local and temporary_name(self._local)
        self._file: IO[bytes] | None = None
        self._hash = sha256()
        self._facts: dict[str, Any] | None = None
        self._digest = ""

    def __enter__(self) -> Self:
        if self._temporary is None:
            self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)
            return self
        try:
            self._file = self._temporary.open("wb", CHUNK)
        except FileNotFoundError:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb", CHUNK)
        return self

    def write(self, line: bytes) -> None:
        """Add a line, as :func:`encode_line` gives it."""
        if self._file is not None:
            self._hash.update(line)
            self._file.write(line)

    def seal(self, facts: dict[str, Any], noted: object = None) -> str:
        """Write the last line and return the digest, as 64 hex digits.

        :param facts: what the last line says besides the digest; a reader must count the same
        :param noted: further JSON for the last line, which a reader takes as it is, as the digest covers it; None: none
        """
        self._facts = facts
        self._digest = _digest(self._hash, noted)
        if self._file is not None:
            self._file.write(seal_line(facts, self._digest, noted))
        return self._digest

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is None:
            return
        try:
            with self._file as file:
                if kind is None and self._facts is not None:
                    if self._temporary:
                        file.flush()
                        os.fsync(file.fileno())
                    if self._keeps is None:
                        self._replace(file)
                    else:
                        self._create(file)
        finally:
            if self._temporary:
                self._temporary.unlink(missing_ok=True)

    def _create(self, file: IO[bytes]) -> None:
        """Store the file unless one is there that counts."""
        if self._counts():  # before anything is sent: some storage accepts the condition and ignores it
            return
        try:
            if self._temporary and self._local:
                if create_file(self._temporary, self._local):
                    return
                is_created = False
            else:
                is_created = create_object(file, self._path)
        except Exception:
            if not self._is_stored():  # the answer may have been lost
                raise
            return
        if not is_created:
            if self._counts():
                return
            self._replace(file)
        if not self._is_stored() and not self._counts():
            raise NotStoredError(
                f"{display_uri(self._path)} was written, but something else or nothing lies there now: another task "
                "may use the same place, or the storage did not keep it. Nothing was written to the dataset. Run the "
                "task again; if this comes back, choose another place."
            )

    def _replace(self, file: IO[bytes]) -> None:
        if self._temporary and self._local:
            self._temporary.replace(self._local)
        else:
            replace_object(file, self._path)

    def _counts(self) -> bool:
        forget_listings(self._path)
        return self._keeps is not None and self._keeps()

    def _is_stored(self) -> bool:
        """Whether this file lies at the path, whole; false also if that cannot be found out."""
        forget_listings(self._path)
        reader = SealedReader(self._path)
        try:
            for _ in reader.lines():
                pass
            return reader.check(self._facts or {}) == self._digest
        except Exception:  # noqa: BLE001 - what a storage's library raises need be no OSError
            return False


class SealedReader:
    """Reads one file of JSON lines and checks that it is what was written."""

    def __init__(self, path: StoragePath) -> None:
        self._path = path
        self._hash = sha256()
        self._last = b""
        self.noted: Any = None
        """What the last line says beyond counts; to be trusted once :meth:`check` has passed."""

    def lines(self) -> Iterator[bytes]:
        """Yield every line but the last; memory does not grow with the file.

        They are the lines that were written only if :meth:`check` passes afterwards.

        :raises StorageDamaged: if there is no such file
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
        self.noted = (decode_object(self._last) or {}).get(NOTED)
        digest = _digest(self._hash, self.noted)
        if self._last != seal_line(facts, digest, self.noted):
            raise self._damaged("it is not complete or was altered: its last line does not belong to those before it")
        return digest

    def _damaged(self, reason: str) -> StorageDamaged:
        return StorageDamaged(f"{display_uri(self._path)} cannot be used: {reason}.")

    def _split(self) -> Iterator[bytes]:
        rest = b""
        with self._opened() as file:
            while chunk := file.read(CHUNK):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
                if len(rest) > LINE_BYTES:
                    raise self._damaged(f"a line is longer than {LINE_BYTES >> 20} MB")
        if rest:
            yield rest

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            raise self._damaged("there is nothing") from None
        with file:
            yield file
