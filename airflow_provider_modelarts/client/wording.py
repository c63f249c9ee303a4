"""How messages spell what is long or many: cut texts, the first of many names, counts with their noun."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def cut(text: str, length: int) -> str:
    """Return a text of at most so many characters; three dots mark what was cut off."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def first_of(items: Sequence[str], limit: int, *, total: int | None = None, separator: str = ", ") -> str:
    """Return the first of several texts, and how many more there are: "a, b and 3 more".

    :param items: the texts; only the first may be at hand
    :param limit: so many are shown at most
    :param total: how many there are; None: as many as were given
    :param separator: what stands between two
    """
    shown = items[:limit]
    missing = (len(items) if total is None else total) - len(shown)
    more = f"{separator.rstrip(', ')} and {missing} more" if missing > 0 else ""
    return separator.join(shown) + more


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 sample", "2 samples"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
