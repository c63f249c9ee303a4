"""The order of reading, and when it has been enough (B14; contract 0.1)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Page, Sample
from airflow_provider_modelarts.client.errors import InvalidRequest, ServiceUnavailable, UnexpectedResponse
from airflow_provider_modelarts.labeling.proposals.page_order import (
    PAGE_SIZE,
    PassEnd,
    count_unaccounted,
    detect_offset_step,
    last_page,
    locate_last_page,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.labeling.proposals.page_order import ListBounds


def descend(bounds: ListBounds) -> Iterator[Page[Sample]]:
    """Read from the last page to the first, each only when it is asked for."""
    yield bounds.last.page
    for lower in range(bounds.last.number - 1, -1, -1):
        yield bounds.pages.page(lower)


def the_size(size: int, shown: int) -> int:
    return size


def page(first: int, stop: int, total: int | None) -> Page[Sample]:
    return Page([Sample({"sample_id": str(n)}) for n in range(first, max(first, stop))], total, 0, 0.0)


class List:
    """A list of ``size`` records that is paged either way.

    :param most: it never serves more at once, whatever is asked for
    :param behind: what it says of a page behind its end
    :param total: its count, given its size and how many records the answer holds
    """

    def __init__(self, size: int, step: int, *, most: int = 100, behind: str = "empty", total: Any = the_size) -> None:
        self.size = size
        self.step = step
        self.most = most
        self.behind = behind
        self.total = total
        self.offsets: list[int] = []

    def read(self, offset: int, limit: int = PAGE_SIZE, *, retry: bool = True) -> Page[Sample]:
        self.offsets.append(offset)
        limit = min(limit, self.most)
        first = offset * (limit if self.step == 1 else 1)
        if first >= max(self.size, 1):
            if self.behind == "refused":
                raise InvalidRequest("offset", status=400, code="ModelArts.0104")
            if self.behind == "failed":
                raise ServiceUnavailable("offset", status=500)
            first = self.size if self.behind == "empty" else (self.size - 1) // limit * limit
        stop = min(self.size, first + limit)
        return page(first, stop, self.total(self.size, max(stop - first, 0)))


@given(st.integers(101, 1_000_000), st.sampled_from([1, PAGE_SIZE]), st.integers())
def test_what_offset_counts_is_found_out_however_the_list_changes(size: int, step: int, seed: int) -> None:
    service = List(int(size * random.Random(seed).uniform(0.67, 10)), step)
    if service.size > PAGE_SIZE:
        assert detect_offset_step(last_page(size), PAGE_SIZE, service.read) == step
        assert len(service.offsets) <= 3


def test_a_list_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(UnexpectedResponse, match="contradict"):
        detect_offset_step(10**14, PAGE_SIZE, lambda offset: page(0, 0, offset))


@pytest.mark.parametrize("step", [1, PAGE_SIZE])
@pytest.mark.parametrize("size", [0, 1, 100, 101, 199, 200, 1000, 1001])
def test_each_record_is_read_once_from_the_last_page_to_the_first(size: int, step: int) -> None:
    service = List(size, step)
    pages = list(descend(locate_last_page(service.read)))
    ids = [[int(sample.sample_id) for sample in one.items] for one in pages]
    assert sorted(number for one in ids for number in one) == list(range(size))
    assert [one for one in ids if one] == sorted((one for one in ids if one), reverse=True)


def test_an_empty_page_does_not_end_the_walk() -> None:
    service = List(500, 1)
    walked = []
    for one in descend(locate_last_page(service.read)):
        walked.append(len(one.items))
        if len(walked) == 1:
            service.size = 250  # somebody takes the newer half away
    assert walked == [100, 0, 50, 100, 100]


def test_what_is_added_at_the_end_before_the_first_write_is_walked_too() -> None:
    service = List(500, 1)
    first = service.read(0)
    service.size = 730
    numbers = [int(one.items[0].sample_id) for one in descend(locate_last_page(service.read, first))]
    assert numbers == [700, 600, 500, 400, 300, 200, 100, 0]


TOTALS: dict[str, Any] = {
    "true": the_size,
    "of the page": lambda size, shown: shown,
    "capped at a page": lambda size, shown: min(size, 100),
    "capped": lambda size, shown: min(size, 250),
    "zero": lambda size, shown: 0,
    "negative": lambda size, shown: -1,
    "left out": lambda size, shown: None,
}


@settings(max_examples=400)
@given(
    st.one_of(st.integers(0, 1200), st.sampled_from([50, 100, 101, 200, 250, 300, 500])),
    st.sampled_from([1, PAGE_SIZE]),
    st.sampled_from([100, 100, 50, 33, 30, 12, 7, 1]),
    st.sampled_from(sorted(TOTALS)),
    st.sampled_from(["empty", "refused", "failed", "last"]),
)
def test_every_record_is_walked_whatever_the_service_counts_and_says_behind_the_end(
    size: int, step: int, most: int, total: str, behind: str
) -> None:
    # Where the last page is given for all behind it, a count that is wrong as well leaves nothing to go by.
    hypothesis.assume(behind != "last" or total == "true")
    service = List(size, step, most=most, behind=behind, total=TOTALS[total])
    bearings = locate_last_page(service.read)
    found = [sample.sample_id for one in descend(bearings) for sample in one.items]
    assert sorted(found, key=int) == [str(number) for number in range(size)]
    assert bearings.total == size
    assert len(service.offsets) <= size / min(most, 100) + 40


def test_a_refused_page_that_the_list_reaches_is_an_error() -> None:
    service = List(450, 1)

    def read(offset: int, limit: int, *, retry: bool = True) -> Page[Sample]:
        if offset == 2:
            raise ServiceUnavailable("No.", status=503)
        return service.read(offset, limit, retry=retry)

    with pytest.raises(ServiceUnavailable):
        list(descend(locate_last_page(read)))


@pytest.mark.parametrize(
    ("end", "previous", "last", "expected"),
    [
        (PassEnd(total=3, remaining=3, changes=9, disturbed=False), None, False, 0),
        (PassEnd(total=3, remaining=3, changes=9, disturbed=True), None, False, None),
        (PassEnd(total=3, remaining=3, changes=9, disturbed=True), None, True, 0),
        (PassEnd(total=3, remaining=3, changes=0, disturbed=True), PassEnd(4, 4, 9, True), False, 0),
        (PassEnd(total=5, remaining=3, changes=9, disturbed=False), None, False, None),
        (PassEnd(total=5, remaining=3, changes=0, disturbed=False), PassEnd(5, 3, 9, False), False, 2),
        (PassEnd(total=5, remaining=3, changes=0, disturbed=True), PassEnd(4, 3, 9, False), False, None),
        (PassEnd(total=5, remaining=3, changes=1, disturbed=True), PassEnd(4, 3, 9, False), True, 2),
        (PassEnd(total=7, remaining=6, changes=9, disturbed=False, repeated=1), None, False, None),
        (PassEnd(total=7, remaining=6, changes=0, disturbed=False, repeated=1), PassEnd(7, 6, 9, False), False, 0),
        (PassEnd(total=7, remaining=5, changes=0, disturbed=False, repeated=1), PassEnd(7, 5, 9, False), False, 1),
        (PassEnd(total=2, remaining=3, changes=9, disturbed=True), None, False, None),
        (PassEnd(total=2, remaining=3, changes=0, disturbed=True), PassEnd(2, 3, 9, True), False, 0),
    ],
)
def test_when_it_has_been_enough(end: PassEnd, previous: PassEnd | None, last: bool, expected: int | None) -> None:
    assert count_unaccounted(end, previous, last=last) == expected


def test_pages_are_numbered_from_zero() -> None:
    assert [last_page(total) for total in (0, 1, 100, 101)] == [-1, 0, 0, 1]
