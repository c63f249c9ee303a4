"""Texts of the service on their way to people and into files."""

from __future__ import annotations

import re

from airflow_provider_modelarts.client.wording import cut

# Of an address all that follows the question mark; elsewhere what looks like a query: a name with a mere question mark
# in it has no "=".
_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*|\?[^\s\"'<>]*=[^\s\"'<>]*", re.IGNORECASE)


def without_queries(text: str) -> str:
    """Return a text without the queries of the addresses in it: they may be signatures."""
    return _QUERY.sub(r"\1", text) if "?" in text else text


# Half a surrogate pair has no UTF-8; PostgreSQL's JSON takes no NUL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return a text that UTF-8 and any database take; what they do not take becomes an escape like ``\\ud83d``."""
    return _UNSTORABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def short_line(text: str | None, length: int = 300) -> str | None:
    """Return a text of the service as one short line without secrets; None for None."""
    return None if text is None else cut(storable(without_queries(" ".join(text.split()))), length)
