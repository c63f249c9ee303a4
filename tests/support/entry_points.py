"""The file systems that the package registers, also in an environment where it was installed before it had them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import import_module

from demo.environment import REPOSITORY


@cache
def register_filesystems() -> None:
    """Register what ``pyproject.toml`` names, as an installation does."""
    import fsspec
    from upath.registry import available_implementations, register_implementation

    found = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    for name, target in found["fsspec.specs"].items():
        fsspec.register_implementation(name, target.replace(":", "."), clobber=True)
    for name, target in found["universal_pathlib.implementations"].items():
        module, _, attribute = target.partition(":")
        if name not in available_implementations():
            register_implementation(name, getattr(import_module(module), attribute))
