"""Arbitrary text as Markdown that is shown and does nothing else, and blocks of bounded size (B19)."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 8192
"""Of a summary or report: it fits XCom and the body of an approval."""
NAME_BYTES = 120
PLACE_BYTES = 240

# The last three with a backslash keep addresses from becoming links.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{char: f"\\{char}" for char in "\\`*_{}[]()#!|~$:@."}}
_UNPRINTABLE = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufffe\uffff]+"
)


def escape(text: str, limit: int = NAME_BYTES) -> str:
    """Return arbitrary text as Markdown that shows it and does nothing else, also inside a table.

    :param text: the text; white space and what cannot be printed becomes a space
    :param limit: bytes of the result at most; what is cut off is marked
    """
    taken: list[str] = []
    used = 0
    for char in flat(text):
        piece = _ESCAPES.get(char, char)
        used += len(piece.encode())
        if used > limit - 3:
            return "".join(taken) + "..."
        taken.append(piece)
    return "".join(taken)


def code(text: str, limit: int = PLACE_BYTES) -> str:
    """Return arbitrary text as inline code, cut at its start if it is long: the end of a path says more.

    :param text: the text; backticks become ``%60``
    :param limit: bytes of the result at most
    """
    line = flat(text).replace("`", "%60")
    room = limit - 2 - len("...")
    data = line.encode()
    if len(data) > room:
        line = "..." + data[-room:].decode(errors="ignore")
    return f"`{line}`"


def flat(text: str) -> str:
    """Return arbitrary text as one line of characters that XML may hold; "(empty)" if none is left."""
    return _UNPRINTABLE.sub(" ", text).strip() or "(empty)"


def size(lines: Sequence[str]) -> int:
    """Return the bytes of lines."""
    return sum(len(line.encode()) + 1 for line in lines)


def block(lines: Sequence[str], budget: int, rest: str) -> list[str]:
    """Return lines and an empty one, in at most so many bytes; of no lines nothing.

    :param rest: takes the place of lines that are left out, with {} for their number
    """
    if lines and size(lines) >= budget:
        room = budget - size([rest, ""]) - len(str(len(lines)))
        count = sum(end <= room for end in accumulate(size([line]) for line in lines))
        lines = [*lines[:count], rest.format(len(lines) - count)]
    return [*lines, ""] if lines else []
