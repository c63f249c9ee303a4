"""Puts a finished file at its place: in the place of what is there, or only if nothing is there that counts.

The second is for what two processes may make at once and all must agree on. Disks and most object storage can create
without replacing; elsewhere there is a look before and a look after, and a short time between in which one may replace
the other's unseen.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_modelarts.labeling.storage.path import StoragePath

    Keeps = Callable[[], bool]

CHUNK = 1 << 20
CONFLICT_TRIES = 3
"""Times that a creation is tried which collides with another one; S3 asks to repeat it."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK})
# Some storage behind S3's interface does not know the condition, and says so in one of these ways; older s3fs says of
# a condition that did not hold "invalid".
_NO_CONDITIONS = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM})
_NO_CONDITION_STATUS = frozenset({405, 409, 501})
_CONFLICT = 409


def place_file(temporary: Path, path: Path, seal: bytes, keeps: Keeps | None) -> bool:
    """Give a complete file its name, on a local disk.

    :param temporary: the file, in the same folder; may be gone afterwards
    :param path: its name
    :param seal: the bytes that it ends with, and no other does
    :param keeps: None: what is there is replaced; else asked when something is there: true leaves it there
    :return: whether this file, or one that ``keeps`` is content with, is known to be there
    """
    if keeps is None:
        temporary.replace(path)
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        if keeps():
            return True
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists() and keeps():
            return True
        temporary.replace(path)
    else:
        return True
    return _ends_with(path, seal) or keeps()


def place_object(content: IO[bytes], path: StoragePath, keeps: Keeps | None) -> bool:
    """Upload a complete object; parameters and result as of :func:`place_file`.

    :param content: what it holds
    """
    if keeps is None:
        _upload(content, path, "wb")
        return True
    # A store that knows no conditions may well accept them: hence a look before and a look after in any case.
    is_there = _is_there(path)
    if is_there and keeps():
        return True
    if is_there or not _is_created(content, path):
        if not is_there and _is_there(path) and keeps():
            return True
        _upload(content, path, "wb")
    return _holds(path, content) or keeps()


def error_response(error: BaseException) -> dict[str, Any]:
    """Return what S3 answered, as botocore keeps it; s3fs has that error as the cause of its own."""
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return response
    return {}


def _is_created(content: IO[bytes], path: StoragePath) -> bool:
    """Upload on the condition that nothing is there; false if something is, or if the storage knows no conditions."""
    for tries_left in reversed(range(CONFLICT_TRIES)):
        try:
            _upload(content, path, "xb")
        except (FileExistsError, NotImplementedError, ValueError):  # the last two: fsspec knows no such mode
            return False
        except Exception as error:  # what a storage's library raises need be no OSError
            status = error_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == _CONFLICT and tries_left and not _is_there(path):
                continue  # another one is being created at this moment: who comes first is known soon
            if status in _NO_CONDITION_STATUS or getattr(error, "errno", None) in _NO_CONDITIONS:
                return False
            # It may have been carried out all the same.
            if not _holds(path, content):
                raise
        return True
    return False


def forget_listings(path: StoragePath) -> None:
    """Have the next look ask the storage: fsspec remembers what it listed, and another process may have written."""
    # Airflow's path opens files by one file system; where it has no connection, it lists folders by another.
    for owner in (path, getattr(path, "__wrapped__", None)):
        forget = getattr(getattr(owner, "fs", None), "invalidate_cache", None)
        if callable(forget):
            forget()


def _is_there(path: StoragePath) -> bool:
    forget_listings(path)
    return path.exists()


def _ends_with(path: Path, seal: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(seal), os.SEEK_END)
            return file.read() == seal
    except OSError:  # not there, or shorter than that
        return False


def _holds(path: StoragePath, content: IO[bytes]) -> bool:
    """Whether an object is there and is, byte for byte, what was uploaded; false also if that cannot be found out."""
    forget_listings(path)
    content.seek(0)
    try:
        with path.open("rb") as file:
            while True:
                ours = content.read(CHUNK)
                if _read_exactly(file, len(ours) or 1) != ours:
                    return False
                if not ours:
                    return True
    except Exception:  # noqa: BLE001 - what a storage's library raises need be no OSError
        return False


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    """Return so many bytes; fewer only at the end of the file."""
    found = b""
    while len(found) < size and (more := file.read(size - len(found))):
        found += more
    return found


def _upload(content: IO[bytes], path: StoragePath, mode: str) -> None:
    content.seek(0)
    try:
        file = path.open(mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open(mode)
    with file:
        shutil.copyfileobj(content, file, CHUNK)
