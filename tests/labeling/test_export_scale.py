"""Exports of many samples: read back equal, in memory that does not grow with them.

``make soak SOAK=exports`` does the same with a hundred thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.labeling.export_datasets import expected, export_in_a_process, label_all
from tests.labeling.export_readers import READERS

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

FEW, MANY = 500, 5_000
KEPT_BYTES = 300
"""Of each sample the client's list keeps the id, and some tables of the export grow a little until they go to disk."""


@pytest.mark.parametrize("name", READERS)
def test_two_thousand_samples_come_back(emulator: Emulator, tmp_path: Path, name: str) -> None:
    dataset_id = label_all(emulator, 2_000, "detection")
    assert export_in_a_process(emulator, dataset_id, tmp_path, name).samples == 2_000
    assert READERS[name](tmp_path) == expected(emulator, dataset_id)


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_memory_does_not_grow_with_the_samples(emulator: Emulator, tmp_path: Path, name: str) -> None:
    few, many = (
        export_in_a_process(emulator, label_all(emulator, count, "detection"), tmp_path / str(count), name)
        for count in (FEW, MANY)
    )
    assert many.megabytes - few.megabytes < 10 + MANY * KEPT_BYTES / 1e6
