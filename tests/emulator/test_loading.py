"""Datasets of digits, of a folder of images, and of synthetic proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_provider_modelarts.emulator import Emulator
from tests.emulator.conftest import AUTO, Caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_seed_draws_the_labeled_images() -> None:
    drawn = []
    for seed in (0, 0, 7):
        emulator = Emulator(seed)
        samples = emulator.dataset(emulator.load_digits(labeled=153)).samples.values()
        drawn.append([sample.key for sample in samples if sample.labels])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 153


def test_numbers_keep_their_form(proposals: Callable[..., Caller]) -> None:
    """Quirks 3 and 5: one and the same value as text, integer and float."""
    text = proposals(100, kind="detection", hard_share=0.5)("GET", AUTO, params={"limit": 100}).text
    for form in (
        '"score":1}',
        '"score":1.0}',
        '"0.0"',
        '"0"',
        ':1,"@modelarts:hard":true',
        ':1.0,"@modelarts:hard":true',
    ):
        assert form in text, form


def _paint(folder: Path, labels: dict[str, int], mode: str = "RGB") -> None:
    shade = 0
    for label, count in labels.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shade += 3
            color: Any = (200 if label == "a" else shade, shade, 20, 255)[: len(mode)]
            Image.new(mode, (24, 20), color).save(folder / label / f"{mode}{number}.png")


def test_a_folder_of_images(emulator: Emulator, tmp_path: Path) -> None:
    _paint(tmp_path, {"a": 6, "b": 6, "unlabeled": 4})
    caller = Caller(emulator, emulator.load_folder(tmp_path))
    assert caller.get()["annotated_sample_count"] == 12
    assert {label["name"] for label in caller.get("/data-annotations/labels")["labels"]} == {"a", "b"}
    caller.finish()
    samples = caller.walk()
    assert len(samples) == 4
    assert samples[0]["metadata"]["@modelarts:size"] == [24, 20, 3]
    assert set(emulator.truth(caller.dataset_id).values()) == {"a", "b"}


def test_an_rgba_image_fails_the_task_and_not_the_start(emulator: Emulator, tmp_path: Path) -> None:
    _paint(tmp_path, {"a": 6, "b": 6, "unlabeled": 4})
    _paint(tmp_path, {"unlabeled": 1}, mode="RGBA")
    caller = Caller(emulator, emulator.load_folder(tmp_path))
    task_id = caller.finish()
    task = caller.get(f"/tasks/{task_id}")
    assert (task["status"], task["error_code"]) == (2, "ModelArts.4917")
    assert "RGBA" in task["error_detail"]
    running = task["result"]["events"][2]["events"][2]
    assert (running["status"], running["error_code"]) == ("failed", "ModelArts.4917")
    assert caller.waiting() == 0


def test_an_empty_folder_is_refused(emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no image"):
        emulator.load_folder(tmp_path)
