"""The part of a plan that its policy left to people, as a team task takes it: by conditions on samples (contract 5.2).

A team task is given conditions, and no list of samples. Each sample of a plan is chosen by the place of its file, an
attribute that all samples have. Before a team task is made, the service is asked which samples these conditions find.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import InvalidRequest, NotFound, PreconditionFailed
from airflow_provider_modelarts.labeling.plan.lines import ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan

log = logging.getLogger(__name__)

Conditions = list[dict[str, Any]]

_QUERY_BYTES = 3000
"""Length of the places in one request: what stands in an address is limited, and grows when it is encoded."""
_LOST_READS = 20
"""Samples that are not found and read singly, at most, to tell whether they are still there."""


class ReviewPart(NamedTuple):
    """The samples of a plan that its policy left to people.

    :param dataset_id: the dataset
    :param places: for each sample id where its file lies
    """

    dataset_id: str
    places: dict[str, str]

    def conditions(self) -> Conditions:
        """Return the search conditions that choose these samples, always in the same order."""
        return conditions_of(self.places.values())


def review_part(plan: Plan) -> ReviewPart:
    """Return the samples that a plan leaves to people.

    :raises InvalidRequest: if a sample has no place by which it could be chosen
    """
    planned = [one.sample for one in plan.samples() if one.decision.action == "review"]
    places = {sample.sample_id: str(sample.metadata.get(ORIGIN) or "") for sample in planned}
    lost = [sample_id for sample_id, place in places.items() if not sample_id or not place]
    if lost:
        raise InvalidRequest(
            f"{len(lost)} of the {len(planned)} samples that plan {plan.uri} leaves to people cannot be chosen for a "
            f"team task: the service gives no {ORIGIN} of sample {lost[0] or '(no id)'}. Choose samples for the team "
            "task by search_conditions instead."
        )
    return ReviewPart(plan.header.dataset_id, places)


def conditions_of(places: Iterable[str]) -> Conditions:
    """Return the search conditions that choose samples by the places of their files."""
    return [{"metadata": {"op": "OR", "props": {ORIGIN: sorted(places)}}}]


def check_found(client: ModelArtsClient, part: ReviewPart) -> None:
    """Check that the conditions find the samples of a plan, and no others. Nothing is written.

    Samples that were deleted since the plan was made are left out with a warning.

    :raises PreconditionFailed: if others are found, or some are not found that are there
    """
    found: set[str] = set()
    for places in _split(sorted(part.places.values())):
        found |= {
            one.sample_id for one in client.samples.list(part.dataset_id, search_conditions=conditions_of(places))
        }
    others = found - part.places.keys()
    missing = [sample_id for sample_id in part.places if sample_id not in found]
    present = next((one for one in missing[:_LOST_READS] if _exists(client, part.dataset_id, one)), None)
    if others or present is not None or not found:
        wrong = f"finds {len(others)} others" if others else f"does not find {len(missing)} of them"
        raise PreconditionFailed(
            f"The {len(part.places)} samples that the plan leaves to people cannot be chosen exactly: the search of "
            f"dataset {part.dataset_id} by {ORIGIN} {wrong}. No team task was made. Choose samples by "
            "search_conditions instead, or make a new plan if samples were deleted."
        )
    if missing:
        log.warning(
            "%d of the %d samples that the plan leaves to people are not in dataset %s any more; the others go to the "
            "team.",
            len(missing),
            len(part.places),
            part.dataset_id,
        )


def _exists(client: ModelArtsClient, dataset_id: str, sample_id: str) -> bool:
    try:
        client.samples.get(dataset_id, sample_id)
    except NotFound as error:
        if not error.is_word_of_service:
            raise
        return False
    return True


def _split(places: Sequence[str]) -> Iterator[list[str]]:
    """Yield places in parts that fit into an address."""
    part: list[str] = []
    length = 0
    for place in places:
        size = len(place.encode()) + 4
        if part and length + size > _QUERY_BYTES:
            yield part
            part, length = [], 0
        part.append(place)
        length += size
    if part:
        yield part
