"""Reads complete labels when a filter is set.

A filtered list may omit a sample's other labels; writing it back would delete them (B13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.label_equality import same_proposal, with_other_labels
from airflow_provider_modelarts.labeling.proposals import page_order
from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, is_odd_read
from airflow_provider_modelarts.labeling.sample_table import short_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import Page, SampleLabel
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals
    from airflow_provider_modelarts.labeling.sample_table import PlanIndex

    ReadPages = Callable[[page_order.ListBounds], Iterable[Page[SampleRow]]]


class FilteredProposals:
    """The proposals that the filters choose, and how they are read with all their labels.

    Without a filter the list shows all labels. With one, a sample listed with a label that does not match the filter,
    and with no others when it is read singly, proves that this service omits none; each kind of filter (name, type,
    score) needs its own proof. Nothing proves it of search conditions. Without proof the cheaper of two ways is taken:
    a few samples are read singly; of many the filtered list only names the samples, and the whole list shows their
    labels.

    :param service: where to read
    :param first_label: only samples whose first label has this name: a sample of several labels belongs to one of them
    :param planned: only these samples, whatever the list shows; None: all
    """

    def __init__(
        self, service: DatasetProposals, first_label: str | None = None, planned: PlanIndex | None = None
    ) -> None:
        self._service = service
        self._first_label = first_label
        self._planned = planned
        self._unproven = _outsiders(service)
        self._trims = False
        self._chosen: Collection[str | bytes] | None = None

    def begin(self, read_pages: ReadPages) -> Page[SampleRow] | None:
        """Decide how to read, before a pass; return the first page of the list to read, if it has been read.

        :param read_pages: reads every page of a list, given its bounds
        """
        self._chosen = None
        if not self._unproven:
            return None
        first = self._service.page(0, page_order.PAGE_SIZE)
        self._look_for_proof(first)
        if not self._unproven or not (page_order.count(first) or first.items):
            return first
        chosen, everything = page_order.count(first), page_order.count(self._service.page(0, 1, filtered=False))
        # Reading both lists whole costs fewer requests than reading each chosen sample.
        if chosen > page_order.last_page(everything) + page_order.last_page(chosen) + 2:
            pages = read_pages(page_order.locate_last_page(self._service.page, first))
            self._chosen = {short_key(row.sample_id) for page in pages for row in page.items}
            return None
        return first

    def page(self, offset: int, limit: int, *, retry: bool = True) -> Page[SampleRow]:
        """Return a piece of the list to read."""
        return self._service.page(offset, limit, filtered=self._chosen is None, retry=retry)

    @property
    def walks_the_filtered_list(self) -> bool:
        """Whether the list to read is the filtered one; else it holds samples that the filters do not choose."""
        return self._chosen is None

    @property
    def lists_whole_samples(self) -> bool:
        """Whether the list to read shows every label of its samples; else each is to be read singly."""
        return not self._unproven or self._chosen is not None

    def matches_filter(self, row: SampleRow) -> bool:
        """Whether the filters choose a sample of the list to read."""
        return self._chosen is None or short_key(row.sample_id) in self._chosen

    @property
    def takes_all(self) -> bool:
        """Whether all samples that the filters choose are meant."""
        return self._first_label is None and self._planned is None

    def takes(self, row: SampleRow) -> bool:
        """Whether a sample, whole, has the first label asked for and is among those that are planned."""
        has_label = self._first_label is None or row.label_names[:1] == [self._first_label]
        return has_label and (self._planned is None or row.sample_id in self._planned)

    def candidates(self, page: Page[SampleRow], wanted: Sequence[SampleRow]) -> Iterator[ProposalRead]:
        """Return the proposals of some samples, whole; a sample that is no longer proposed is left out.

        Those without an id are returned as they are listed: they cannot be read, nor written. So are those whose answer
        is odd, with what was wrong: one sample must not keep all others back.

        :param page: the page that lists them
        :param wanted: the samples
        """
        contradicted = with_other_labels(page.items)
        for row in wanted:
            if not row.sample_id or (self.lists_whole_samples and row.sample_id not in contradicted):
                yield ProposalRead(row, page.read_at)
                continue
            whole = self._read_whole(row, page)
            if whole is not None:
                yield whole

    def _read_whole(self, row: SampleRow, page: Page[SampleRow]) -> ProposalRead | None:
        try:
            return self._service.proposal(row.sample_id)
        except ModelArtsError as error:
            if not is_odd_read(error):
                raise
            return ProposalRead(row, page.read_at, fault=error.message)

    def _look_for_proof(self, page: Page[SampleRow]) -> None:
        for name in [] if self._trims else list(self._unproven):
            is_outside = self._unproven[name]
            witness = next(
                (row for row in page.items if row.sample_id and any(map(is_outside, row.sample.labels))), None
            )
            whole = witness and self._read_whole(witness, page)
            if not witness or not whole or whole.fault:
                continue
            if same_proposal(whole.row, witness):
                del self._unproven[name]
            else:
                self._trims = True
                return


def _outsiders(service: DatasetProposals) -> dict[str, Callable[[SampleLabel], bool]]:
    """Return for each filter in use what shows that a label does not match it."""
    filters = service.filters
    low, high = filters.get("low_score"), filters.get("high_score")

    def has_other_name(label: SampleLabel) -> bool:
        return bool(label.name != filters["label_name"])

    def has_outer_score(label: SampleLabel) -> bool:
        score = label.score
        return score is not None and ((low is not None and score < low) or (high is not None and score > high))

    def has_other_type(label: SampleLabel) -> bool:
        return label.type is not None and label.type != filters["label_type"]

    found: dict[str, Callable[[SampleLabel], bool]] = {}
    if "label_name" in filters:
        found["label_name"] = has_other_name
    if "label_type" in filters:
        found["label_type"] = has_other_type
    if "search_conditions" in filters:
        # They may be about labels, or not: which of its labels a sample was chosen by cannot be told.
        found["search_conditions"] = lambda _: False
    if low is not None or high is not None:
        found["score"] = has_outer_score
    return found
