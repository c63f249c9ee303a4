"""The few questions that confirming asks the service, each counted; nothing else here talks to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, Page, Sample, SampleOutcome
    from airflow_provider_modelarts.client.clock import Clock

UNKNOWN_DATASET = ("4352", "4338")
# Contract 6.1, dataset status: synchronizing, publishing, switching version, importing.
BUSY_STATUSES = frozenset({5, 6, 7, 8})


class Candidate(NamedTuple):
    """A proposal, and the time before it was read: so old it is at least (B14)."""

    sample: Sample
    read_at: float


class Service:
    """One dataset's proposals and samples.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param clock: tells the age of what was read; the client's
    :param filters: ``label_name``, ``low_score``, ``high_score`` of the list, each only if it is to be sent
    """

    def __init__(
        self, client: ModelArtsClient, dataset_id: str, clock: Clock, filters: dict[str, Any] | None = None
    ) -> None:
        self._client = client
        self.dataset_id = dataset_id
        self.clock = clock
        self.filters = filters or {}
        self.requests = 0

    def page(self, offset: int, limit: int) -> Page[Sample]:
        """Return a piece of the list of proposals, oldest first.

        :param offset: goes out as it is, whatever the service counts by it: the client takes it for a page's number
        :param limit: proposals at most
        """
        self.requests += 1
        return self._client.proposals.page(self.dataset_id, offset, limit=limit, order="asc", **self.filters)

    def proposal(self, sample_id: str) -> Candidate | None:
        """Return one proposal, read without a filter, so that nothing is trimmed (B13); None if there is none."""
        self.requests += 1
        read_at = self.clock.now()
        try:
            sample = self._client.proposals.get(self.dataset_id, sample_id)
        except NotFound as error:
            _check_dataset(error)
            return None
        return Candidate(sample, read_at) if sample.labels else None

    def final(self, sample_id: str) -> Sample | None:
        """Return a sample with its final labels; None if there is no such sample (any more)."""
        self.requests += 1
        try:
            return self._client.samples.get(self.dataset_id, sample_id)
        except NotFound as error:
            _check_dataset(error)
            return None

    def write(self, samples: Sequence[Sample]) -> Sequence[SampleOutcome]:
        """Make the proposed labels of some samples final, in one request that is sent once: retries would age it."""
        self.requests += 1
        return self._client.samples.update(self.dataset_id, samples, retry=False)

    def is_busy(self) -> bool:
        """Whether the dataset is being published, imported or the like; false if it does not say."""
        self.requests += 1
        try:
            return self._client.datasets.get(self.dataset_id).status in BUSY_STATUSES
        except ModelArtsError:
            # Only a hint how long to wait: the next write shows what is the matter.
            return False


def _check_dataset(error: NotFound) -> None:
    """Accept that a sample is unknown; an unknown dataset is another matter (both may be 400 or 404, quirk 23)."""
    if (error.code or "").endswith(UNKNOWN_DATASET):
        raise error
