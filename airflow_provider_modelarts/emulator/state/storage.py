"""The object storage behind the service: the files from which datasets take their samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.data.images import ImageSource


@dataclass(frozen=True)
class StoredFile:
    """One file.

    :param path: "/bucket/folder/name".
    :param size: width, height and channels of the image.
    :param content: the bytes of what is no image; None: there are none.
    :param encoding: of a text or table.
    :param labels: what is annotated beside it, in a folder, or in a manifest.
    :param hard: whether that annotation calls it a hard example.
    :param images: where its picture comes from, and `image` its index there; None: it has none.
    :param truth: what it really shows; None: unknown.
    :param metadata: what is noted of the sample beside its labels, and `usage` what it is used for; None: nothing.
    """

    path: str
    size: tuple[int, int, int] = (64, 64, 3)
    labels: tuple[dict[str, Any], ...] = ()
    hard: bool = False
    images: ImageSource | None = None
    image: int | None = None
    truth: Any = None
    content: bytes | None = None
    encoding: str = "utf-8"
    metadata: dict[str, Any] | None = None
    usage: str | None = None

    def bare(self) -> StoredFile:
        """Return the file without what is annotated beside it."""
        return replace(self, labels=(), hard=False, metadata=None, usage=None)

    @property
    def name(self) -> str:
        """Its name without folder."""
        return self.path.rpartition("/")[2]

    @property
    def label_names(self) -> set[str]:
        """The names of what is annotated beside it."""
        return {label["name"] for label in self.labels if label.get("name")}


def bucket_and_key(path: str) -> tuple[str, str]:
    """Return the two parts of "/bucket/folder/name"."""
    bucket, _, key = path.lstrip("/").partition("/")
    return bucket, key
