"""The calls of the service that plans, confirmations and undos make: proposals and samples read, labels written."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    ForeignAnswer,
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.labeling.policy import ODD
from airflow_provider_modelarts.labeling.proposals.worker_pool import ConcurrencyLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, Page, Sample, SampleOutcome
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

UNKNOWN_DATASET = ("4352", "4338")
# Contract 6.1, dataset status: synchronizing, publishing, switching version, importing.
BUSY_STATUSES = frozenset({5, 6, 7, 8})


THROTTLE_PATIENCE = 600.0
"""Seconds for which a read is repeated while the service throttles."""


class HeldBack(Exception):  # noqa: N818 - nothing went wrong
    """The write was not sent: the proposals were read too long ago, or a stop was requested."""


class ProposalRead(NamedTuple):
    """A proposal that is to be confirmed.

    :param row: as it was read
    :param read_at: the time just before it was read, by the clock (B14)
    :param rule: the rule that decided
    :param fault: why it could not be read singly, so that the row is only what the list shows; empty if it could
    """

    row: SampleRow
    read_at: float
    rule: str = ""
    fault: str = ""

    @property
    def sample_id(self) -> str:
        """The sample."""
        return self.row.sample_id


class WriteTarget(Protocol):
    """What the writer of batches needs of a dataset; its methods are those of :class:`DatasetProposals`.

    A confirmation gives it the dataset, an undo a target that means the opposite.
    """

    dataset_id: str
    clock: Clock
    pace: ConcurrencyLimiter

    def proposal(self, sample_id: str) -> ProposalRead | None: ...  # noqa: D102

    def final(self, sample_id: str) -> Sample | None: ...  # noqa: D102

    def write(  # noqa: D102
        self, rows: Sequence[SampleRow], before_sending: Callable[[], None] | None = None
    ) -> Sequence[SampleOutcome]: ...

    def is_busy(self) -> bool: ...  # noqa: D102


class DatasetProposals:
    """One dataset's proposals and samples; threads may share it.

    :param client: speaks to the service
    :param dataset_id: whose proposals
    :param clock: the client's
    :param filters: ``label_name``, ``label_type``, ``low_score``, ``high_score``, ``search_conditions`` of the list,
        each only if it is to be sent
    :param concurrency: requests in flight at once, at most
    :param stop: ends the wait while the service throttles
    """

    def __init__(
        self,
        client: ModelArtsClient,
        dataset_id: str,
        clock: Clock,
        filters: dict[str, Any] | None = None,
        *,
        concurrency: int = 1,
        stop: StopSignal | None = None,
    ) -> None:
        self._client = client
        self.dataset_id = dataset_id
        self.clock = clock
        self.filters = filters or {}
        self.pace = ConcurrencyLimiter(concurrency, clock)
        self._stop = stop
        self.requests = 0
        self._counting = threading.Lock()

    def _count(self) -> None:
        with self._counting:
            self.requests += 1

    def page(self, offset: int, limit: int, *, filtered: bool = True, retry: bool = True) -> Page[SampleRow]:
        """Return a piece of the list of proposals, oldest first.

        :param offset: sent as it is: whether it counts pages or records differs between services
        :param limit: proposals at most
        :param filtered: False: of the whole list, whatever the filters
        :param retry: False: one attempt, but that throttling is waited for
        """
        filters = self.filters if filtered else {}
        patience = self.clock.now() + THROTTLE_PATIENCE
        while True:
            self.pace.wait(self._stop)
            self._count()
            asked_at = self.clock.now()
            try:
                page = self._client.proposals.page_of_rows(self.dataset_id, offset, limit, retry=False, **filters)
            except ModelArtsError as error:
                if isinstance(error, Throttled) and asked_at < patience:
                    self.pace.throttled(asked_at, error.retry_after)
                    continue
                if error.permanent or not retry:
                    raise
                break
            self.pace.went_well()
            return page
        # It failed, and not by throttling: the client knows how long to try.
        self._count()
        return self._client.proposals.page_of_rows(self.dataset_id, offset, limit, **filters)

    def proposal(self, sample_id: str) -> ProposalRead | None:
        """Return one proposal, read without a filter, so that nothing is trimmed (B13); None if there is none.

        :raises UnexpectedResponse: for an answer that is not about this sample
        """
        self._count()
        read_at = self.clock.now()
        try:
            sample, row = self._client.proposals.get_row(self.dataset_id, sample_id)
        except NotFound as error:
            _check_dataset(error)
            return None
        self._check_answer(sample, sample_id)
        return ProposalRead(row, read_at) if sample.labels else None

    def final(self, sample_id: str) -> Sample | None:
        """Return a sample with its final labels; None if there is no such sample (any more).

        :raises UnexpectedResponse: for an answer that is not about this sample
        """
        self._count()
        try:
            sample = self._client.samples.get(self.dataset_id, sample_id)
        except NotFound as error:
            _check_dataset(error)
            return None
        self._check_answer(sample, sample_id)
        return sample

    def _check_answer(self, sample: Sample, sample_id: str) -> None:
        """Refuse an answer to a single read that is not that sample: it would be taken for a sample without labels."""
        code, text = sample.raw.get("error_code"), sample.raw.get("error_msg")
        fault = sample.oddity
        if sample.sample_id == sample_id and not code and fault is None:
            return
        if code:
            said = f"the service said {text or code!r}"
        elif sample.sample_id != sample_id:
            said = f"it is about sample {sample.sample_id!r}"
        else:
            code, said = ODD, str(fault).removesuffix(".")
        raise UnexpectedResponse(
            f"The answer about sample {sample_id} of dataset {self.dataset_id} cannot be used: {said}. Try again.",
            status=200,
            code=code if isinstance(code, str) else None,
        )

    def write(
        self, rows: Sequence[SampleRow], before_sending: Callable[[], None] | None = None
    ) -> Sequence[SampleOutcome]:
        """Make the proposed labels of some samples final, in one request that is sent once: retries would age it.

        :param before_sending: called when it is about to go out, also after a stale token was replaced; raises
            :class:`HeldBack` if it may not any more
        """
        return self._paced(self._client.proposals.confirm, rows, before_sending)

    def clear(
        self, rows: Sequence[SampleRow], before_sending: Callable[[], None] | None = None
    ) -> Sequence[SampleOutcome]:
        """Take all labels of some samples away, in one request; parameters as of :meth:`write`."""
        ids = [row.sample_id for row in rows]
        return self._paced(partial(self._client.samples.clear_labels, retry=False), ids, before_sending)

    def _paced(
        self,
        send: Callable[..., Sequence[SampleOutcome]],
        samples: Sequence[Any],
        before_sending: Callable[[], None] | None,
    ) -> Sequence[SampleOutcome]:
        """Send a write; slow down if the service throttles."""
        self._count()
        asked_at = self.clock.now()
        try:
            replies = send(self.dataset_id, samples, before_sending=before_sending)
        except Throttled as error:
            self.pace.throttled(asked_at, error.retry_after)
            raise
        self.pace.went_well()
        return replies

    def is_busy(self) -> bool:
        """Whether the dataset is being published, imported or the like; false if it does not say."""
        self._count()
        try:
            return self._client.datasets.get(self.dataset_id).status in BUSY_STATUSES
        except ModelArtsError:
            return False  # this only helps to wait: the next write shows what is wrong


def is_odd_read(error: ModelArtsError) -> bool:
    """Whether a single read failed because of its sample: others may be read.

    What was not sent, as no token was to be had for it, says nothing about a sample.
    """
    if not error.sent or isinstance(error, (AuthenticationError, PermissionDenied, ForeignAnswer)):
        return False
    return isinstance(error, (UnexpectedResponse, InvalidRequest)) or error.status == 200


def _check_dataset(error: NotFound) -> None:
    """Accept that a sample is unknown, but not that the dataset is (both may be 400 or 404, quirk 23).

    By the 404 of a gateway or a proxy all samples would count as gone.
    """
    if not error.is_word_of_service:
        raise UnexpectedResponse(error.message, **error.details()) from None
    if (error.code or "").endswith(UNKNOWN_DATASET):
        raise error
