"""The code of the README and of the pages in docs/, to be run."""

from __future__ import annotations

import re

from demo.environment import REPOSITORY


def code_block(heading: str, language: str = "python", *, page: str = "README.md", number: int = 0) -> str:
    """Return a code block of a language below a heading of a page, by default the first."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ [^\n]*\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None, f"{page} has no section {heading!r}"
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)
    assert len(blocks) > number, f"the section {heading!r} of {page} has {len(blocks)} blocks of {language}"
    return blocks[number]
