"""Exports datasets of the emulator, and hands them to the judges: ``python -m tests.judges PYTHON [SIZE]``.

:PYTHON: the interpreter of the environment that the judges are installed in
:SIZE: samples of the large datasets, 500 if not given; of a third of those in Label Studio's only proposals are known
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.emulator import Emulator
from airflow_provider_modelarts.labeling.export.exporter import ExportRequest, LabelExport
from tests.labeling.export_datasets import FEATURES, ODD_NAMES, expected, label_all, labeled_by_hand, place


def export_all(folder: Path, size: int) -> None:
    """Export what the judges are to read, each with what is in it."""
    with Emulator() as emulator:
        credentials = PasswordCredentials(
            emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.project_name
        )
        odd = [[place(name, shape) for shape in ("bndbox", "polygon")] for name in ODD_NAMES]
        shapes = [[place(name, shape) for shape in ("bndbox", "polygon", "circle", "point")] for name in ODD_NAMES]
        whole = [[{"name": name, "type": 0} for name in ODD_NAMES]]
        datasets = {
            ("coco", "many"): label_all(emulator, size, "detection"),
            ("coco", "odd"): labeled_by_hand(emulator, odd)[0],
            ("label-studio", "proposals"): label_all(emulator, size, "detection", left=size // 3),
            ("label-studio", "several"): label_all(emulator, 100, "multi_label", left=50),
            ("label-studio", "odd"): labeled_by_hand(emulator, [*shapes, *whole])[0],
        }
        assert set(FEATURES) > {"bndbox", "polygon", "circle", "point"}
        with ModelArtsClient(emulator.url, credentials) as client:
            for (name, kind), dataset_id in datasets.items():
                path = folder / name / kind
                request = ExportRequest(dataset_id, path, name, include_proposals=name == "label-studio")
                result = LabelExport(client, request).run()
                labels = [list(labels.elements()) for labels in expected(emulator, dataset_id).values()]
                truth = {"samples": result.samples, "proposals": result.proposals, "labels": labels}
                (path / "truth.json").write_text(json.dumps(truth), encoding="utf-8")


def main() -> int:
    """Return the judges' exit code."""
    with TemporaryDirectory() as folder:
        export_all(Path(folder), int(sys.argv[2]) if len(sys.argv) > 2 else 500)
        judge = Path(__file__).with_name("judge.py")
        return subprocess.run([sys.argv[1], str(judge), folder], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
