"""The folder of an export: written completely, or visibly not; never mixed with other files.

``export.json`` is written last: the export is complete where it is there. It holds the counts, and the digest of
``export.files.jsonl``, which lists every file with its own digest. That list is written first as well, with the names
of all files that are about to be written, so that a retry after a crash knows which files are its own to replace.
"""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.export.spool import scratch_database, to_bytes, to_str
from airflow_provider_modelarts.labeling.storage.atomic import replaced_file
from airflow_provider_modelarts.labeling.storage.path import (
    display_uri,
    forget_listings,
    local_path,
    names_in,
    remove_file,
)
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    decode_object,
    encode_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_modelarts.labeling.export.formats.base import ExportFile
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

DONE = "export.json"
LIST = "export.files.jsonl"
FORMAT = "modelarts-label-export"
VERSION = 1
WRITERS = 8
"""Small files that are written at once: object storage takes some ten milliseconds for each."""
_AT_ONCE = 256
_CHUNK = 1 << 20
# What a killed writer leaves on a disk, and what a look at the place leaves where nothing may be deleted.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}")
_PROBE = ".modelarts-write-test"


class ExportPlaceError(InvalidRequest):
    """The folder holds other files than those of an export of this dataset in this format."""


class ExportDamaged(StorageDamaged):
    """The export in a folder is not complete, or was altered."""


class WrittenFile(NamedTuple):
    """A file of an export, as the list has it."""

    name: str
    bytes: int
    sha256: str


class ExportFolder:
    """Writes one export into a folder; to be closed.

    :param root: the folder
    :param dataset_id: the dataset
    :param format_name: the format
    :param folders: names of the folders in it that the format has
    """

    def __init__(self, root: StoragePath, dataset_id: str, format_name: str, folders: Sequence[str]) -> None:
        self._root = root
        self._folders = folders
        self._identity = {"dataset_id": dataset_id, "export_format": format_name}
        self._writer = secrets.token_hex(8)
        self._names = scratch_database()
        self._names.executescript("CREATE TABLE names (name BLOB PRIMARY KEY, is_new INTEGER DEFAULT 0) WITHOUT ROWID")
        self._names.execute("BEGIN")

    def close(self) -> None:
        """Throw away what is not stored in the folder."""
        self._names.close()

    def check(self) -> None:
        """Look into the folder before anything is written.

        :raises ExportPlaceError: if it holds other files, or an export of another dataset or format
        """
        self._learn_own_names()
        own = {DONE, LIST, *self._folders}
        strangers = sorted(name for name in names_in(self._root) if not self._is_own(name, own))
        for folder in self._folders:
            inside = (f"{folder}/{name}" for name in names_in(self._root / folder))
            strangers += islice((name for name in inside if not self._is_own(name, ())), 1)
        if strangers:
            raise ExportPlaceError(
                f"{display_uri(self._root)} holds files that are not of this export, such as {strangers[0]!r}. "
                "Nothing was written. Give each export an empty folder of its own, or remove what is there."
            )

    def write(self, files: Iterable[ExportFile], names: Iterable[str], facts: dict[str, Any]) -> tuple[str, int]:
        """Write an export in place of an earlier one.

        :param files: its files
        :param names: the names of those files
        :param facts: what ``export.json`` says beside the digest
        :return: the digest of the list of files, and how many there are
        :raises ExportPlaceError: if another task exports into the same folder, or if other files have come there since
            the first look: reading the samples may have taken hours
        """
        self.check()
        self._announce(names)
        with SealedWriter(self._root / LIST) as list_file:
            list_file.write(self._header())
            count = 0
            for written in self._written(files):
                list_file.write(encode_line(written._asdict()))
                count += 1
            self._check_alone()
            self._remove_old()
            digest = list_file.seal({"files": count})
        document = {
            "format": FORMAT,
            "version": VERSION,
            **self._identity,
            **facts,
            "files": count,
            "files_sha256": digest,
        }
        with replaced_file(self._root / DONE) as file:
            file.write(encode_line(document))
        return digest, count

    def _learn_own_names(self) -> None:
        """Read the names of the files of an earlier export, or of one that was not finished."""
        self._names.execute("DELETE FROM names")
        path = self._root / LIST
        forget_listings(path)
        if not path.exists():
            return
        reader = SealedReader(path)
        lines = reader.lines()
        try:
            header = decode_object(next(lines, b"")) or {}
            names = ((to_bytes(str((decode_object(line) or {}).get("name"))),) for line in lines)
            self._names.executemany("INSERT OR IGNORE INTO names (name) VALUES (?)", names)
            (count,) = self._names.execute("SELECT count(*) FROM names").fetchone()
            reader.check({"files": count})
        except StorageDamaged as error:
            raise ExportPlaceError(f"{error.message} Remove the folder's files, or choose another folder.") from None
        differing = [name for name, value in self._identity.items() if header.get(name) != value]
        if differing:
            raise ExportPlaceError(
                f"{display_uri(self._root)} holds an export of dataset {header.get('dataset_id')} as "
                f"{header.get('export_format')}. Nothing was written. Give each export a folder of its own."
            )

    def _announce(self, names: Iterable[str]) -> None:
        """Store which files are about to be written, and that the export is not complete."""
        rows = ((to_bytes(name),) for name in names)
        self._names.executemany("INSERT INTO names VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET is_new = 1", rows)
        with SealedWriter(self._root / LIST) as file:
            file.write(self._header())
            count = 0
            for (name,) in self._names.execute("SELECT name FROM names ORDER BY name"):
                file.write(encode_line({"name": to_str(name)}))
                count += 1
            file.seal({"files": count})
        remove_file(self._root / DONE)

    def _written(self, files: Iterable[ExportFile]) -> Iterator[WrittenFile]:
        """Write files; many small ones at once."""
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="modelarts-export") as pool:
            waiting: list[ExportFile] = []
            for file in files:
                if not file.is_small:
                    yield self._write(file)
                    continue
                waiting.append(file)
                if len(waiting) == _AT_ONCE:
                    yield from pool.map(self._write, waiting)
                    waiting.clear()
            yield from pool.map(self._write, waiting)

    def _write(self, file: ExportFile) -> WrittenFile:
        digest, size = sha256(), 0
        with replaced_file(_below(self._root, file.name)) as target:
            for piece in file.content():
                digest.update(piece)
                size += len(piece)
                target.write(piece)
        return WrittenFile(file.name, size, digest.hexdigest())

    def _remove_old(self) -> None:
        """Remove the files of an earlier export that this one does not have, and what killed writers have left."""
        for (name,) in self._names.execute("SELECT name FROM names WHERE is_new = 0"):
            remove_file(_below(self._root, to_str(name)))
        for folder in (self._root, *(self._root / name for name in self._folders)):
            if local_path(folder) is not None:
                for name in [name for name in names_in(folder) if _is_temporary(name)]:
                    remove_file(folder / name)

    def _check_alone(self) -> None:
        """Raise if the list in the folder is not the one that was announced."""
        path = self._root / LIST
        forget_listings(path)
        lines = SealedReader(path).lines()
        header = decode_object(next(lines, b"")) or {}
        if header.get("writer") != self._writer:
            raise ExportPlaceError(
                f"Another task exports into {display_uri(self._root)} at the same time, so the export there is not "
                "complete. Give each export a folder of its own, and run this task again."
            )

    def _header(self) -> bytes:
        return encode_line({"format": f"{FORMAT}-files", "version": VERSION, **self._identity, "writer": self._writer})

    def _is_own(self, name: str, own: Iterable[str]) -> bool:
        if name in own or name.startswith(_PROBE):
            return True
        folder, _, last = name.rpartition("/")
        temporary = _TEMPORARY.fullmatch(last)
        plain = "/".join(filter(None, (folder, temporary["name"]))) if temporary else name
        if plain in own:
            return True
        return self._names.execute("SELECT 1 FROM names WHERE name = ?", (to_bytes(plain),)).fetchone() is not None


def _is_temporary(name: str) -> bool:
    """Whether a killed writer has left a file; the list of files is being written just now."""
    found = _TEMPORARY.fullmatch(name)
    return found is not None and found["name"] != LIST


def _below(root: StoragePath, name: str) -> StoragePath:
    """Return the path of a file, part by part: none of them may lead elsewhere."""
    path = root
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"{name!r} is no name of a file of an export")
        path = path / part
    return path


def read_export(root: StoragePath, *, check_files: bool = False) -> dict[str, Any]:
    """Return what ``export.json`` of a complete export says: dataset, format, counts, digest.

    :param root: the export's folder
    :param check_files: read every file, and compare it with its digest
    :raises ExportDamaged: if the export is not complete, or was altered
    """
    document = _done_document(root)
    reader, count, broken = SealedReader(root / LIST), 0, ""
    try:
        for number, line in enumerate(reader.lines()):
            listed = decode_object(line) or {}
            if number:
                count += 1
                if check_files and not broken and not _is_as_written(root, listed):
                    broken = str(listed.get("name"))
        digest = reader.check({"files": count})
    except StorageDamaged as error:
        raise ExportDamaged(error.message) from None
    if digest != document.get("files_sha256"):
        raise ExportDamaged(f"The export in {display_uri(root)} is not complete: its list of files is another one.")
    if broken:
        raise ExportDamaged(f"The file {broken} of the export in {display_uri(root)} is not what was written.")
    return document


def _done_document(root: StoragePath) -> dict[str, Any]:
    path = root / DONE
    forget_listings(path)
    try:
        with path.open("rb") as file:
            document = decode_object(file.read(_CHUNK))
    except FileNotFoundError:
        document = None
    if document is None or document.get("format") != FORMAT:
        raise ExportDamaged(
            f"There is no complete export in {display_uri(root)}: it has no {DONE}. Run the task that exports again."
        )
    return document


def _is_as_written(root: StoragePath, listed: dict[str, Any]) -> bool:
    digest = sha256()
    try:
        with _below(root, str(listed.get("name"))).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == listed.get("sha256")
