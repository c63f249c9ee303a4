"""Looks for secrets where none may be: in texts, in whatever a task left behind, and in all files of a folder."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.dag_runner import DagOutcome


def _forms(secret: str) -> set[bytes]:
    """Return a secret as it may be written: plain, in a URL, in JSON, in base64 at each of the three alignments."""
    plain = secret.encode()
    forms = {plain, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), repr(secret)[1:-1].encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + plain).decode()
        # The first and last characters also depend on what stands beside the secret.
        forms.add(encoded[4 if shift else 0 : -4].encode())
    return {form for form in forms if len(form) >= 8}


def leaks_in(content: Any, secrets: Mapping[str, str]) -> set[str]:
    """Return the names of those ``secrets`` that occur in ``content``.

    :param content: text, bytes, an exception, or anything whose ``repr`` tells all that it holds.
    :param secrets: by name; a failing test must not print them.
    """
    data = _bytes(content)
    return {name for name, secret in secrets.items() if any(form in data for form in _forms(secret))}


def _bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, BaseException):
        parts: list[str] = []
        error: BaseException | None = content
        while error is not None:  # a cause is logged along with its effect
            parts += [str(error), repr(error), repr(vars(error)), *getattr(error, "__notes__", ())]
            error = error.__cause__ or error.__context__
        return "\n".join(parts).encode()
    return f"{content!r}\n{json.dumps(content, default=repr)}".encode()


def leaks_in_folder(folder: Path, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each file below ``folder`` that holds secrets their names; a write-ahead log is a file like others."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # processes that live there may remove a file at any time
            if path.is_file() and (leaks := leaks_in(path.read_bytes(), secrets)):
                found[str(path.relative_to(folder))] = leaks
    return found


def leaks_in_outcome(outcome: DagOutcome, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """Return where in a run's outcome secrets are, and their names."""
    places: dict[str, Any] = {"log": outcome.log}
    for name, task in outcome.tasks.items():
        places[f"{name}: XCom"] = task.xcoms
        places[f"{name}: rendered fields"] = task.rendered
        places[f"{name}: exception"] = task.error or ""
    found = {place: leaks_in(content, secrets) for place, content in places.items()}
    return {place: leaks for place, leaks in found.items() if leaks}
