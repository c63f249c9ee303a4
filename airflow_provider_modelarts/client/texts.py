"""Texts of the service on their way to people."""

from __future__ import annotations

import re

_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*", re.IGNORECASE)


def without_queries(text: str) -> str:
    """Return text with the queries of the addresses in it blotted out: they may be signatures (B20, quirk 51)."""
    return _QUERY.sub(r"\1?***", text)
