"""Judges exports by pycocotools and by Label Studio's own SDK; runs where those are, without this package.

Usage: ``python judge.py FOLDER``
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def judge_coco(folder: Path, truth: dict[str, Any]) -> None:
    """Load it, draw each mask, and have detections that are the truth score all that can be scored."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "annotations.json"))
        annotations = coco.loadAnns(coco.getAnnIds())
        detections = [
            {**{key: one[key] for key in ("image_id", "category_id", "bbox")}, "score": 1.0} for one in annotations
        ]
        judged = COCOeval(coco, coco.loadRes(detections), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert len(coco.getImgIds()) == truth["samples"]
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    found = Counter(names[one["category_id"]] for one in annotations)
    assert found == Counter(name for labels in truth["labels"] for name, _, _ in labels)
    assert judged.stats[0] > 0.999, judged.stats
    for one in annotations:
        if one["segmentation"]:
            drawn = int(coco.annToMask(one).sum())
            assert abs(drawn - one["area"]) < 0.05 * one["area"] + 60, (drawn, one["area"])


def judge_label_studio(folder: Path, truth: dict[str, Any]) -> None:
    """Parse the configuration, and hold each task against it."""
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((folder / "config.xml").read_text(encoding="utf-8"))
    interface.validate()
    tasks = json.loads((folder / "tasks.json").read_bytes())
    assert len(tasks) == truth["samples"] + truth["proposals"]
    assert sum(bool(task.get("predictions")) for task in tasks) == truth["proposals"]
    regions = [region for task in tasks for one in task["annotations"] for region in one["result"]]
    found = Counter(name for region in regions for name in region["value"][region["type"]])
    assert found == Counter(name for labels in truth["labels"] for name, _, _ in labels)
    for task in tasks:
        # With annotations in the task this release of the SDK calls itself wrongly.
        assert interface.validate_task({"data": task["data"]}), task
        for one in (*task["annotations"], *task.get("predictions", ())):
            problems = interface._validate_object(one, return_errors=True)
            assert problems == [], (problems, one)


JUDGES = {"coco": judge_coco, "label-studio": judge_label_studio}


def main(folder: Path) -> None:
    """Judge every export below a folder."""
    for name, judge in JUDGES.items():
        exports = sorted(path for path in (folder / name).iterdir() if path.is_dir())
        assert exports
        for path in exports:
            judge(path, json.loads((path / "truth.json").read_text(encoding="utf-8")))
            print(f"{name} {path.name}: as it should be")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
