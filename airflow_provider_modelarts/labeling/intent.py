"""What was decided about a whole listing before the first write, in memory; a stored plan holds the same and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.label_equality import fingerprint
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.sample_table import short_key

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import Sample

PLANNED = Decision("confirm", "planned")
CHANGED = Decision("leave", "changed_since_plan")
NOT_PLANNED = Decision("leave", "not_planned")


class Intent:
    """The proposals to be confirmed, each with a fingerprint of the labels decided upon (B18)."""

    def __init__(self) -> None:
        self._fingerprints: dict[str | bytes, int] = {}

    def add(self, sample: Sample) -> None:
        """Plan to confirm a proposal with the labels that it has now."""
        self._fingerprints[short_key(sample.sample_id)] = fingerprint(sample)

    def decide(self, sample: Sample) -> Decision:
        """Confirm what was planned and still is as it was; leave what is new or has changed."""
        planned = self._fingerprints.get(short_key(sample.sample_id))
        return PLANNED if planned is not None and planned == fingerprint(sample) else CHANGED
