"""Plain JSON Lines: each sample with all that is known of it, its labels exactly as the service has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.export.formats.base import ExportFile, ExportFormat
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.export.formats.base import ExportContents

SAMPLES = "samples.jsonl"


def samples_file(contents: ExportContents) -> ExportFile:
    """Return the file that every export has: a line for each sample."""

    def lines() -> Iterator[bytes]:
        for sample in contents.samples():
            yield encode_line(sample.record)

    return ExportFile(SAMPLES, lines)


def _files(_: ExportContents) -> Iterator[ExportFile]:
    yield from ()  # every export has the one file that this one needs


JSON_LINES = ExportFormat(
    name="jsonl",
    files=_files,
    keeps_all=True,
    needs_source=False,
    takes_proposals=True,
)
