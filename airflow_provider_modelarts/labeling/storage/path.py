"""Paths on a disk or in object storage: what is asked of them, how they are listed, and how they are shown."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = re.compile(r"(?!arn:)[^/@]*:(?!\d+(/|$)).*@")
"""How a URI with a password goes on after its scheme. A secret key may have a slash in it, so that the rest looks like
a path; digits after the colon are a port."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


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


def names_in(folder: StoragePath) -> Iterator[str]:
    """Yield the names of what is in a folder, in no order; of a disk no more than a few of them are held at once.

    The folder itself is left out, which object storage may list because a console has made a mark for it.
    """
    forget_listings(folder)
    local = local_path(folder)
    with suppress(FileNotFoundError, NotADirectoryError):
        if local is not None:
            with os.scandir(local) as entries:
                for entry in entries:
                    yield entry.name
            return
        own = name_of(folder)
        for path in folder.iterdir():
            name = name_of(path)
            if name != own or path.exists():
                yield name


def forget_listings(path: StoragePath) -> None:
    """Make the next look ask the storage: fsspec caches listings, and another process may have written."""
    # Airflow's path opens files by one file system; where it has no connection, it lists folders by another.
    for owner in (path, getattr(path, "__wrapped__", None)):
        forget = getattr(getattr(owner, "fs", None), "invalidate_cache", None)
        if callable(forget):
            forget()


def remove_file(path: StoragePath) -> None:
    """Remove a file, if it is there.

    Not by ``unlink``: s3fs sends that as a list of files to delete with a checksum that some storage refuses.
    """
    local, storage = local_path(path), getattr(path, "fs", None)
    with suppress(FileNotFoundError):
        if local is not None:
            local.unlink()
        elif storage is not None:
            storage.rm_file(getattr(path, "path"))  # noqa: B009 - the protocol does not have it
        else:
            raise NotImplementedError(f"{display_uri(path)}: this storage cannot remove files")


def display_uri(path: StoragePath | str) -> str:
    """Return a path for people: without user, password and query, should somebody have written them into it."""
    scheme, separator, rest = str(path).partition("://")
    if not separator:
        return scheme
    rest = rest.partition("?")[0]
    if PASSWORD.match(rest):
        rest = rest.rpartition("@")[2]
    host, slash, key = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{key}"


def stored_uri(path: StoragePath | str) -> str:
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
