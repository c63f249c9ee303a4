"""Lines that tests add to the end of a run's output, where a log of CI shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SUMMARY_LINE = "summary line"
"""Name under which a test hands over its line, by pytest's ``record_property``: processes of xdist pass it on."""


def write_lines(terminal: pytest.TerminalReporter) -> None:
    """Print the lines of all tests that ran."""
    for outcome in ("passed", "failed"):
        for report in terminal.getreports(outcome):
            for name, line in report.user_properties:
                if name == SUMMARY_LINE:
                    terminal.write_line(str(line))
