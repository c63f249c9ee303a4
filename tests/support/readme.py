"""The code of the README, to be run."""

from __future__ import annotations

import re

from demo.environment import REPOSITORY


def code_block(heading: str, language: str = "python") -> str:
    """Return the first code block of a language below a heading of the README."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None, f"the README has no section {heading!r}"
    block = re.search(rf"^```{language}\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)
    assert block is not None, f"the section {heading!r} has no {language} code"
    return block[1]
