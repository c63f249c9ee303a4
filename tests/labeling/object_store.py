"""Object storage in memory, for plans and ledgers: no folders, no appending, an object appears when it is closed.

As on S3 a condition ("xb": create, never replace) is held when the object appears.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bucket:
    """A place in the store; `objects` holds what was published, by its full name."""

    def __init__(self, name: str = "memory://bucket", objects: dict[str, bytes] | None = None) -> None:
        self._name = name
        self.objects: dict[str, bytes] = {} if objects is None else objects

    def __str__(self) -> str:
        return self._name

    def __truediv__(self, name: str) -> Self:
        return type(self)(f"{self._name}/{name}", self.objects)

    @property
    def parent(self) -> Self:
        return type(self)(self._name.rpartition("/")[0], self.objects)

    @property
    def content(self) -> bytes:
        return self.objects[self._name]

    @content.setter
    def content(self, value: bytes) -> None:
        self.objects[self._name] = value

    def open(self, mode: str = "rb") -> Any:
        if mode == "rb":
            if self._name not in self.objects:
                raise FileNotFoundError(self._name)
            return io.BytesIO(self.content)
        assert mode in ("wb", "xb"), "objects are written whole"
        return _Upload(self, creates=mode == "xb")

    def iterdir(self) -> Iterator[Self]:
        prefix = f"{self._name}/"
        names = {name.removeprefix(prefix).partition("/")[0] for name in self.objects if name.startswith(prefix)}
        return iter([self / name for name in sorted(names, reverse=True)])

    def exists(self) -> bool:
        return self._name in self.objects

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        raise AssertionError("object storage has no folders to make")


class _Upload(io.BytesIO):
    def __init__(self, target: Bucket, *, creates: bool) -> None:
        super().__init__()
        self._target = target
        self._creates = creates

    def close(self) -> None:
        # As s3fs does: also when the block that wrote it was left by an error.
        is_open, content = not self.closed, b"" if self.closed else self.getvalue()
        super().close()
        if is_open:
            if self._creates and self._target.exists():
                raise FileExistsError(str(self._target))
            self._target.content = content
