"""What rules, reasons and parameters are called for people, in summaries and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Contract 7.5.
REASONS: dict[int, str] = {
    0: "nothing recognized",
    1: "low confidence",
    2: "clustering disagrees",
    3: "far from the training data of its class",
    4: "similar neighbors were predicted differently",
    5: "unusual resolution",
    6: "unusual aspect ratio",
    7: "unusual brightness",
    8: "unusual saturation",
    9: "unusual richness of color",
    10: "unusual sharpness",
    11: "unusual number of boxes",
    12: "unusual spread of box areas",
    13: "unusual aspect ratio of a box",
    14: "unusual share of the area in boxes",
    15: "boxes at the edge",
    16: "unusual brightness in boxes",
    17: "unusual sharpness in boxes",
    18: "boxes overlap",
    19: "changes after blurring",
    20: "changes after a left-right flip",
    21: "changes after cropping",
    22: "changes after an up-down flip",
    23: "changes after scaling",
    24: "changes after a shift",
    25: "changes after shearing",
    26: "changes with superpixels",
    27: "changes after sharpening",
    28: "changes after adding brightness",
    29: "changes after inverting",
    30: "predicted to be abnormal",
}

RULES_IN_WORDS: dict[str, str] = {
    "passed": "every rule passed",
    "no_policy": "no policy given",
    "no_labels": "no labels",
    "label_not_allowed": "a label that is not allowed",
    "score_unknown": "score unknown",
    "score_too_low": "score too low",
    "hard_example": "hard example",
    "audit_sample": "drawn for the audit",
    "not_proven": "not proven by the audit",
    "label_drifted": "a label that has drifted",
    "rejected_sample": "rejected by a person",
    "rejected_label": "a label that a person rejected",
    "no_sample_id": "came without an id",
    "odd_sample": "not as the API documents it",
}

# What an approver wants to know first; the others of a policy come after these.
ASKED: dict[str, str] = {
    "min_score": "lowest score",
    "min_score_by_label": "lowest score of single labels",
    "labels": "only these labels",
    "hard_examples": "hard examples",
    "target_precision": "share that must be proven right, for each label",
    "confidence": "how sure the proof must be",
    "audit_share": "share drawn for people instead",
    "audit_size": "samples of each first label drawn for people instead",
    "max_samples": "at most so many samples",
    "min_samples": "at least so many samples",
    "max_share_per_label": "highest share of one label",
    "max_drift": "at most so much drift",
    "baseline_plan_uri": "since the plan",
    "on_drift": "if something has drifted",
    "seed": "the draw depends on",
    "evidence_uri": "the evidence is at",
    "label_name": "only proposals with the label",
    "first_label": "only proposals whose first label is",
    "label_type": "only proposals with labels of the type",
    "low_score": "only proposals that score at least",
    "high_score": "only proposals that score at most",
    "search_conditions": "only proposals that meet the conditions",
}


def rule_in_words(rule: str) -> str:
    """Return the words for a rule; of one that another version knows its name."""
    return RULES_IN_WORDS.get(rule, rule)


def in_words(value: Any) -> str:
    """Return the value of a rule or a filter as people read it; arbitrary text, to be escaped."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
