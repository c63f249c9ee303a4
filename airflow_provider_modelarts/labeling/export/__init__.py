"""Exports of labels: the final labels of a dataset, and who confirmed them, in the formats that others read.

What stands here is all that a DAG file needs; the work is done by ``exporter.LabelExport``.
"""

from __future__ import annotations

from typing import Literal

OnProblem = Literal["fail", "leave_out_samples", "leave_out_labels"]

ON_PROBLEM: tuple[OnProblem, ...] = ("fail", "leave_out_samples", "leave_out_labels")

LABEL_STUDIO = "label-studio"

FORMAT_NAMES = (
    "modelarts-manifest",
    "coco",
    "yolo",
    "yolo-segment",
    "pascal-voc",
    LABEL_STUDIO,
    "imagefolder",
    "jsonl",
)
"""The formats, as users write them."""

PROPOSAL_FORMATS = (LABEL_STUDIO, "jsonl")
"""Those of them that can tell a proposal from a decision."""
