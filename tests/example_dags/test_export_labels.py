"""The DAG that exports: what is trained on is final, what people look at shows the proposals too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_modelarts.labeling.export.folder import read_export
from example_dags import export_labels
from tests.labeling.export_datasets import expected, label_all
from tests.labeling.export_readers import READERS, of_label_studio
from tests.support.dag_runner import run_dag

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

pytestmark = pytest.mark.usefixtures("airflow_db", "moved_clock")


@pytest.mark.parametrize(("kind", "name"), [("classification", "imagefolder"), ("detection", "yolo")])
def test_both_exports(emulator: Emulator, tmp_path: Path, kind: str, name: str) -> None:
    dataset_id = label_all(emulator, 60, kind, left=20)
    bag = DagBag(Path(str(export_labels.__file__)))
    assert bag.import_errors == {}
    conf = {"dataset_id": dataset_id, "place": f"file://{tmp_path}", "format": name}
    done = run_dag(bag.dags["export_labels"], conf=conf)
    assert done.state == "success", done.log
    folders = {task_id: Path(task.xcom["uri"].removeprefix("file://")) for task_id, task in done.tasks.items()}
    assert READERS[name](folders["to_train"]) == READERS["label-studio"](folders["to_look_at"])
    assert READERS[name](folders["to_train"]) == expected(emulator, dataset_id)
    counts = Counter({task_id: task.xcom["proposals"] for task_id, task in done.tasks.items()})
    assert counts == {"to_train": 0, "to_look_at": 20}
    assert len(of_label_studio(folders["to_look_at"], "predictions")) == 20
    assert all(read_export(folder, check_files=True)["samples"] == 40 for folder in folders.values())


def test_what_the_format_cannot_express_is_left_out_and_named(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = label_all(emulator, 10, "classification")
    bag = DagBag(Path(str(export_labels.__file__)))
    conf = {"dataset_id": dataset_id, "place": f"file://{tmp_path}", "format": "coco"}
    done = run_dag(bag.dags["export_labels"], conf=conf)
    assert done.state == "success", done.log
    assert done.tasks["to_train"].xcom["problems"] == {"image_label": 10}
    assert "Not exported: image_label" in done.log
