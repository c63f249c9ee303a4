"""Labels to write must be whole: a list filtered by label or score may show only the labels that match (B13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.labels import same_proposal
from airflow_provider_modelarts.labeling.service import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client import Page, Sample, SampleLabel
    from airflow_provider_modelarts.labeling.service import Service


class Untrimmed:
    """Turns listed samples into proposals with all their labels.

    Without a filter the list is whole. With one, every sample is read singly, until a listed sample shows labels
    that do not match the filter and a single read of it shows no others: then the service does not trim. Each kind
    of filter (name, score) needs its own such witness.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unproven = _outsiders(service)
        self._trims = False

    def candidates(self, page: Page[Sample], wanted: Sequence[Sample]) -> Iterator[Candidate]:
        """Return the proposals of some samples, whole; a sample that is no longer proposed is left out.

        :param page: as it was listed
        :param wanted: those samples of it that matter
        """
        self._look_for_proof(page)
        for sample in wanted:
            if not self._unproven:
                yield Candidate(sample, page.read_at)
            elif (whole := self._service.proposal(sample.sample_id)) is not None:
                yield whole

    def _look_for_proof(self, page: Page[Sample]) -> None:
        for name in [] if self._trims else list(self._unproven):
            is_outside = self._unproven[name]
            witness = next((sample for sample in page.items if any(map(is_outside, sample.labels))), None)
            whole = witness and self._service.proposal(witness.sample_id)
            if not witness or not whole:
                continue
            if same_proposal(whole.sample, witness):
                del self._unproven[name]
            else:
                self._trims = True
                return


def _outsiders(service: Service) -> dict[str, Callable[[SampleLabel], bool]]:
    """Return for each filter in use what shows that a label does not match it."""
    filters = service.filters
    low, high = filters.get("low_score"), filters.get("high_score")

    def has_other_name(label: SampleLabel) -> bool:
        return bool(label.name != filters["label_name"])

    def has_outer_score(label: SampleLabel) -> bool:
        score = label.score
        return score is not None and ((low is not None and score < low) or (high is not None and score > high))

    found: dict[str, Callable[[SampleLabel], bool]] = {}
    if "label_name" in filters:
        found["label_name"] = has_other_name
    if low is not None or high is not None:
        found["score"] = has_outer_score
    return found
