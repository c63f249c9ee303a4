"""Labeled datasets in the emulator to be exported, and what is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.labeling import export_process
from tests.labeling.export_readers import Labels, truth

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

ODD_NAMES = (
    "rose",
    "red rose",
    "a, b; c",
    "two\nlines",
    " blank around ",
    "tab\there",
    '<b>&amp;"quoted"\'s</b>',
    "]]>",
    "玫瑰",
    "🌹",
    "e\u0301 is not \u00e9",
    "- # : {yaml}",
    "what?a=b&c=d",
    "../../etc/passwd",
    "null",
    "12",
    "%s {{ x }}",
    "carriage\rreturn",
    "\\n",
)
FEATURES: dict[str, list[list[float]]] = {
    "bndbox": [[10, 20], [110, 220.5]],
    "polygon": [[1, 2], [30, 4], [50, 60.25]],
    "circle": [[50, 60], [7]],
    "line": [[1, 2], [3, 4]],
    "dashed": [[5, 6], [7, 8]],
    "point": [[9, 11]],
    "polyline": [[1, 1], [2, 3], [5, 8], [13, 21]],
}


def place(name: str, shape: str, feature: list[list[float]] | None = None, **attributes: Any) -> dict[str, Any]:
    """Return a label that marks a place."""
    where = {"@modelarts:shape": shape, "@modelarts:feature": feature or FEATURES[shape]}
    return {"name": name, "type": 1, "property": {**where, **attributes}}


def label_all(emulator: Emulator, count: int, kind: str, left: int = 0) -> str:
    """Make a dataset and let a person confirm what is proposed, but for some; return its id."""
    dataset_id = emulator.load_proposals(count, kind=kind)
    dataset = emulator.dataset(dataset_id)
    for sample_id, proposal in list(dataset.proposals.items())[left:]:
        kept = [{key: one[key] for key in ("name", "type", "property") if key in one} for one in proposal["labels"]]
        dataset.edit(sample_id, kept)
    return dataset_id


def labeled_by_hand(emulator: Emulator, labels: list[list[dict[str, Any]]]) -> tuple[str, list[str]]:
    """Make a dataset of which each sample has the labels given; return its id, and those of the samples."""
    dataset_id = emulator.load_proposals(len(labels), kind="detection")
    dataset = emulator.dataset(dataset_id)
    ids = list(dataset.samples)
    for sample_id, given in zip(ids, labels, strict=True):
        dataset.edit(sample_id, given)
    return dataset_id, ids


def source_of(emulator: Emulator, dataset_id: str, sample_id: str) -> str:
    dataset = emulator.dataset(dataset_id)
    return f"s3://emulator-data/{dataset.samples[sample_id].key}"


def expected(emulator: Emulator, dataset_id: str) -> Labels:
    """Return what is labeled, as the emulator itself knows it."""
    dataset = emulator.dataset(dataset_id)
    return {
        source_of(emulator, dataset_id, sample_id): Counter(
            truth(one["name"], one.get("property")) for one in dataset.labels_of(sample_id)
        )
        for sample_id in dataset.samples
        if dataset.labels_of(sample_id)
    }


class ExportMeasure(NamedTuple):
    """What an export in a process of its own took."""

    megabytes: float
    seconds: float
    samples: int


def _asked(emulator: Emulator, dataset_id: str, path: Path, name: str, ledger: Path | None = None) -> dict[str, Any]:
    """Return what :mod:`.export_process` is asked."""
    credentials = {
        "iam_endpoint": emulator.url,
        "user": emulator.user,
        "password": emulator.password,
        "domain": emulator.domain,
        "project_name": emulator.project_name,
    }
    return {
        "credentials": credentials,
        "url": emulator.url,
        "dataset_id": dataset_id,
        "path": str(path),
        "format": name,
        "ledger": None if ledger is None else str(ledger),
    }


def export_here(emulator: Emulator, dataset_id: str, path: Path, name: str) -> ExportMeasure:
    """Export in this process, whose memory says nothing."""
    return ExportMeasure(**export_process.main(_asked(emulator, dataset_id, path, name)))


def export_in_a_process(
    emulator: Emulator, dataset_id: str, path: Path, name: str, ledger: Path | None = None
) -> ExportMeasure:
    """Export, and return by how many megabytes the memory grew that the process has needed at most."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.labeling.export_process"],
        input=json.dumps(_asked(emulator, dataset_id, path, name, ledger)) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return ExportMeasure(**json.loads(done.stdout))
