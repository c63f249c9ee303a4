"""Sections of plain text as Markdown, and as one HTML page that loads nothing and runs nothing. Pure.

Names of labels, runs and places are arbitrary text, so none of it may act as Markdown or HTML.
"""

from __future__ import annotations

from html import escape as escape_html
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.labeling.plan.summary import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TITLE_BYTES = 200
_TEXT_BYTES = 1000


class Table(NamedTuple):
    """A table of plain text; the first column names what the row is about. Without rows it is left out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Section(NamedTuple):
    """A part of the report.

    :param title: plain text
    :param lines: plain text
    :param tables: of plain text
    :param picture: SVG that may stand in a page as it is; Markdown leaves it out
    """

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    picture: str = ""

    @property
    def shown_tables(self) -> list[Table]:
        """The tables that have rows."""
        return [table for table in self.tables if table.rows]


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return sections as Markdown; what stands in them shows as it is, and does nothing else."""
    lines = [f"# {escape(title, _TITLE_BYTES)}", ""]
    for section in sections:
        lines += [f"## {escape(section.title)}", ""]
        for line in section.lines:
            lines += [escape(line, _TEXT_BYTES), ""]
        for table in section.shown_tables:
            lines += [_row(table.columns), f"|{' --- |' * len(table.columns)}", *map(_row, table.rows), ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape(cell, _TEXT_BYTES) for cell in cells)} |"


_STYLE = """
:root { color-scheme: light dark; background: #ffffff; color: #1f2328; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0 0 1.5rem; }
th, td { border-bottom: 1px solid #d1d9e0; padding: .3rem .8rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
:root { background: #0d1117; color: #e6edf3; }
th, td { border-color: #2f353d; }
}
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Return sections as one HTML page that loads nothing and runs nothing."""
    return _PAGE.format(title=_text(title), style=_STYLE, body="\n".join(_html(sections)))


def _html(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"<h2>{_text(section.title)}</h2>"
        yield from (f"<p>{_text(line)}</p>" for line in section.lines)
        for table in section.shown_tables:
            head = "".join(f"<th>{_text(one)}</th>" for one in table.columns)
            yield f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"
            yield from (f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
            yield "</tbody>\n</table>"
        if section.picture:
            yield section.picture


def _text(text: str) -> str:
    """Return arbitrary text for HTML; half a surrogate pair, which no file can hold, becomes a question mark."""
    return escape_html(text.encode("utf-8", "replace").decode())
