"""Puts a finished file at its place: in the place of what is there, or only if nothing is there that counts.

The second is for what two processes may make at once and all must agree on. Disks and most object storage can create
without replacing; elsewhere there is a look before and a look after, and a short time between in which one may replace
the other's unseen.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_modelarts.labeling.storage import StoragePath

    Keeps = Callable[[], bool]

CHUNK = 1 << 20

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK})
# Some storage behind S3's interface does not know the condition; older s3fs says of one that did not hold "invalid".
_NO_CONDITIONS = frozenset({errno.ENOSYS, errno.EINVAL})


def publish_file(temporary: Path, path: Path, seal: bytes, keeps: Keeps | None) -> None:
    """Give a complete file its name, on a local disk.

    :param temporary: the file, in the same folder; may be gone afterwards
    :param path: its name
    :param seal: the bytes that it ends with, and no other does
    :param keeps: None: what is there is replaced; else asked when something is there: true leaves it there
    """
    if keeps is None:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        if not keeps():
            temporary.replace(path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists() and keeps():
            return
        temporary.replace(path)
        if not _ends_with(path, seal):
            keeps()


def publish_object(content: IO[bytes], path: StoragePath, seal: bytes, keeps: Keeps | None) -> None:
    """Upload a complete object; parameters as of :func:`publish_file`.

    :param content: what it holds
    """
    if keeps is None:
        _upload(content, path, "wb")
        return
    # A store that knows no conditions may well accept them: hence a look before and a look after in any case.
    is_there = _is_there(path)
    if is_there and keeps():
        return
    if is_there or not _is_created(content, path, seal):
        if not is_there and _is_there(path) and keeps():
            return
        _upload(content, path, "wb")
    if not _ends_with(path, seal):
        keeps()


def _is_created(content: IO[bytes], path: StoragePath, seal: bytes) -> bool:
    """Upload on the condition that nothing is there; false if something is, or if the storage knows no conditions."""
    try:
        _upload(content, path, "xb")
    except (FileExistsError, NotImplementedError, ValueError):  # the last two: fsspec knows no such mode
        return False
    except OSError as error:
        if error.errno in _NO_CONDITIONS:
            return False
        # It may have been carried out all the same.
        if not _ends_with(path, seal):
            raise
    return True


def forget_listings(path: StoragePath) -> None:
    """Have the next look ask the storage: fsspec remembers what it listed, and another process may have written."""
    forget = getattr(getattr(path, "fs", None), "invalidate_cache", None)
    if callable(forget):
        forget()


def _is_there(path: StoragePath) -> bool:
    forget_listings(path)
    return path.exists()


def _ends_with(path: StoragePath, seal: bytes) -> bool:
    forget_listings(path)
    try:
        with path.open("rb") as file:
            file.seek(-len(seal), os.SEEK_END)
            return bool(file.read() == seal)
    except (OSError, ValueError):  # not there, or shorter than that
        return False


def _upload(content: IO[bytes], path: StoragePath, mode: str) -> None:
    content.seek(0)
    try:
        file = path.open(mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open(mode)
    with file:
        shutil.copyfileobj(content, file, CHUNK)
