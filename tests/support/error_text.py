"""What an error says, as its reader sees it in a log."""

from __future__ import annotations


def one_line(error: BaseException | None) -> str:
    """Return the text of an error, which must be one line that says something."""
    text = str(error)
    assert error is not None
    assert text
    assert "\n" not in text
    return text
