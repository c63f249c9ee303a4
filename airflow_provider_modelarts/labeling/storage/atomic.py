"""Gives finished content its name in one step: in place of what is there, or only if nothing is there.

Disks and most object storage can create without replacing. Where they cannot, ``create_*`` returns False.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.storage.path import forget_listings, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.labeling.storage.path import StoragePath

CHUNK = 1 << 20
MEMORY_BYTES = 8 << 20
"""Bytes of an object that are kept in memory until it is uploaded; a larger one waits in a temporary file."""
CONFLICT_TRIES = 3
"""S3 answers 409 while another write of the same object is in flight, and asks to repeat the request."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK})
# Some storage behind S3's interface does not know the condition, and says so in one of these ways. Older s3fs reports a
# condition that did not hold as "invalid".
_NO_CONDITIONS = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM})
_NO_CONDITION_STATUS = frozenset({405, 409, 501})
_CONFLICT = 409


def create_file(temporary: Path, path: Path) -> bool:
    """Give a complete local file its name unless a file has it.

    :param temporary: the file, in the same folder; it stays
    :param path: its name
    :return: False if a file has the name, or if the disk cannot create without replacing
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def create_object(content: IO[bytes], path: StoragePath) -> bool:
    """Upload an object unless one is there.

    :param content: what it holds
    :param path: its place
    :return: False if an object is there, or if the storage refuses the condition. Some storage accepts the condition
        and ignores it: then the upload replaces what is there, and the result is True
    :raises Exception: as the storage's library says; the upload may have been carried out all the same
    """
    for tries_left in reversed(range(CONFLICT_TRIES)):
        try:
            _upload(content, path, "xb")
        except (FileExistsError, NotImplementedError, ValueError):  # the last two: fsspec knows no such mode
            return False
        except Exception as error:  # what a storage's library raises need be no OSError
            status = error_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
            forget_listings(path)
            if status == _CONFLICT and tries_left and not path.exists():
                continue
            if status in _NO_CONDITION_STATUS or getattr(error, "errno", None) in _NO_CONDITIONS:
                return False
            raise
        return True
    return False


def replace_object(content: IO[bytes], path: StoragePath) -> None:
    """Upload an object in place of what is there."""
    _upload(content, path, "wb")


def temporary_name(path: Path) -> Path:
    """Return the name under which a file is written until it is complete, in the same folder."""
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")


@contextmanager
def replaced_file(path: StoragePath) -> Iterator[IO[bytes]]:
    """Give a file to write to. When the block ends without an error, it takes the place of what is at the path.

    :param path: where to; missing folders are made
    """
    local = local_path(path)
    if local is None:
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as content:
            yield content
            replace_object(content, path)
        return
    temporary = temporary_name(local)
    try:
        with _opened(temporary) as file:
            yield file
        temporary.replace(local)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: StoragePath, text: str) -> None:
    """Write a text file in place of what is there; missing folders are made."""
    with replaced_file(path) as file:
        file.write(text.encode())


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("wb", CHUNK)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb", CHUNK)


def error_response(error: BaseException) -> dict[str, Any]:
    """Return what S3 answered, as botocore keeps it; s3fs has that error as the cause of its own."""
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return response
    return {}


def _upload(content: IO[bytes], path: StoragePath, mode: str) -> None:
    content.seek(0)
    try:
        file = path.open(mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open(mode)
    with file:
        shutil.copyfileobj(content, file, CHUNK)
