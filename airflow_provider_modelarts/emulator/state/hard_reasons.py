"""Why samples are hard: every reason of contract 7.5, and how answers explain it (contract 3.3, `hard_details`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HARD, COEFFICIENT, REASONS = "@modelarts:hard", "@modelarts:hard_coefficient", "@modelarts:hard_reasons"
HARD_KEYS = (HARD, COEFFICIENT, REASONS)


def _shifted(what: str) -> tuple[str, str]:
    return (f"Its {what} is far from that of the training data.", f"Label more samples with such a {what}.")


def _unstable(change: str) -> tuple[str, str]:
    return (f"The prediction changes after the image was {change}.", f"Add images that were {change} to the training.")


# By id: alias, reason and suggestion. The ids and their meaning are of contract 7.5, the words are the emulator's.
MEANINGS: dict[int, tuple[str, str, str]] = {
    0: ("nothing_recognized", "Nothing was recognized.", "See whether the image shows anything, and label it."),
    1: ("low_confidence", "The prediction has a low confidence.", "Check the label by eye."),
    2: ("clustering_differs", "Clustering puts it with samples of another label.", "Compare it with its cluster."),
    3: ("far_from_class", "It is far from the training data of its class.", "Label more samples like it."),
    4: ("neighbors_differ", "Similar samples are predicted differently.", "Compare it with its neighbors."),
    5: ("resolution", *_shifted("resolution")),
    6: ("aspect_ratio", *_shifted("aspect ratio")),
    7: ("brightness", *_shifted("brightness")),
    8: ("saturation", *_shifted("saturation")),
    9: ("color_richness", *_shifted("richness of colors")),
    10: ("sharpness", *_shifted("sharpness")),
    11: ("box_count", *_shifted("number of boxes")),
    12: ("box_area_spread", *_shifted("spread of box areas")),
    13: ("box_aspect_ratio", *_shifted("aspect ratio of boxes")),
    14: ("box_area_share", *_shifted("share of the image in boxes")),
    15: ("box_at_edge", *_shifted("number of boxes at the edge")),
    16: ("box_brightness", *_shifted("brightness of boxes")),
    17: ("box_sharpness", *_shifted("sharpness of boxes")),
    18: ("box_overlap", *_shifted("overlap of boxes")),
    19: ("blur", *_unstable("blurred")),
    20: ("flip_left_right", *_unstable("flipped left to right")),
    21: ("crop", *_unstable("cropped")),
    22: ("flip_up_down", *_unstable("flipped upside down")),
    23: ("scale", *_unstable("scaled")),
    24: ("translate", *_unstable("moved")),
    25: ("shear", *_unstable("sheared")),
    26: ("superpixels", *_unstable("divided into superpixels")),
    27: ("sharpen", *_unstable("sharpened")),
    28: ("add", *_unstable("brightened by a constant")),
    29: ("invert", *_unstable("inverted")),
    30: ("abnormal", "It is predicted to be abnormal.", "See whether it belongs to the dataset."),
}


def detail(reason: int) -> dict[str, Any]:
    """Return HardDetail (contract 3.3) of a reason."""
    alias, text, advice = MEANINGS[reason]
    return {"id": reason, "alo_name": alias, "reason": text, "suggestion": advice}


def reasons_of(document: Mapping[str, Any]) -> list[int]:
    """Return the reasons of a sample as it is served, its own before those of its labels (quirk 4: two spellings)."""
    own = document["metadata"].get(REASONS)
    found = own if isinstance(own, list) else []
    for label in document.get("labels") or ():
        text = (label.get("property") or {}).get(REASONS) if isinstance(label, dict) else None
        found = [*found, *(int(one) for one in text.split("-") if one.isdigit())] if isinstance(text, str) else found
    return list(dict.fromkeys(reason for reason in found if isinstance(reason, int) and reason in MEANINGS))


def explained(document: dict[str, Any]) -> dict[str, Any]:
    """Return a sample with `hard_details`, as the calls about one sample show it; an easy one has none."""
    details = {str(reason): detail(reason) for reason in reasons_of(document)}
    return document | ({"hard_details": details} if details else {})


def without_hardness(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return metadata that do not say how hard a sample is (contract 6.3, 6.6, `clear_hard_property`)."""
    return {name: value for name, value in (metadata or {}).items() if name not in HARD_KEYS} or None


def count_reasons(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `hard_detail_stats` (contract 6.5): for each reason how many samples have it, and what it means."""
    counts: dict[int, int] = {}
    for document in documents:
        for reason in reasons_of(document):
            counts[reason] = counts.get(reason, 0) + 1
    return {str(reason): {"key": counts[reason], "value": detail(reason)} for reason in sorted(counts)}
