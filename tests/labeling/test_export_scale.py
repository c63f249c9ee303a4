"""Exports of many samples: read back equal, in memory that does not grow with them.

``make soak SOAK=exports`` does the same with a hundred thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.emulator import Emulator
from tests.labeling.export_datasets import expected, export_here, export_in_a_process, label_all
from tests.labeling.export_readers import READERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FEW, MANY = 500, 5_000
KEPT_BYTES = 300
"""Of each sample the client's list keeps the id, and some tables of the export grow a little until they go to disk."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def datasets(emulator: Emulator) -> dict[int, str]:
    """Labeled datasets by the number of their samples; exports change nothing of them."""
    return {count: label_all(emulator, count, "detection") for count in (FEW, 2_000, MANY)}


@pytest.mark.parametrize("name", READERS)
def test_two_thousand_samples_come_back(
    emulator: Emulator, datasets: dict[int, str], tmp_path: Path, name: str
) -> None:
    assert export_here(emulator, datasets[2_000], tmp_path, name).samples == 2_000
    assert READERS[name](tmp_path) == expected(emulator, datasets[2_000])


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_memory_does_not_grow_with_the_samples(
    emulator: Emulator, datasets: dict[int, str], tmp_path: Path, name: str
) -> None:
    few, many = (export_in_a_process(emulator, datasets[count], tmp_path / str(count), name) for count in (FEW, MANY))
    assert many.megabytes - few.megabytes < 10 + MANY * KEPT_BYTES / 1e6
