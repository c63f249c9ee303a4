"""The order of reading, and when it has been enough (B14; contract 0.1)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Page, Sample
from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.labeling import walk
from airflow_provider_modelarts.labeling.walk import PAGE_SIZE, PassEnd, descend, find_step, last_page, verdict


def page(first: int, stop: int, total: int) -> Page[Sample]:
    return Page([Sample.model_validate({"sample_id": str(n)}) for n in range(first, max(first, stop))], total, 0, 0.0)


class List:
    """A list of ``size`` records that is paged either way."""

    def __init__(self, size: int, step: int) -> None:
        self.size = size
        self.step = step
        self.offsets: list[int] = []

    def read(self, offset: int, limit: int = PAGE_SIZE) -> Page[Sample]:
        self.offsets.append(offset)
        first = min(self.size, offset * (limit if self.step == 1 else 1))
        return page(first, min(self.size, first + limit), self.size)


@given(st.integers(101, 1_000_000), st.sampled_from([1, PAGE_SIZE]), st.integers())
def test_one_read_tells_what_offset_counts_however_the_list_changes(size: int, step: int, seed: int) -> None:
    service = List(int(size * random.Random(seed).uniform(0.67, 10)), step)
    if service.size > PAGE_SIZE:
        assert find_step(size, service.read) == step
        assert len(service.offsets) == 1


def test_a_list_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(UnexpectedResponse, match="contradict"):
        find_step(1_000_000, lambda offset: page(0, 0, offset))


def test_a_list_without_a_count_is_refused() -> None:
    with pytest.raises(UnexpectedResponse, match="sample_count"):
        list(walk.walk(lambda *_: Page([], None, 0, 0.0)))


@pytest.mark.parametrize("step", [1, PAGE_SIZE])
@pytest.mark.parametrize("size", [0, 1, 100, 101, 199, 200, 1000, 1001])
def test_each_record_is_read_once_from_the_last_page_to_the_first(size: int, step: int) -> None:
    service = List(size, step)
    pages = list(walk.walk(service.read))
    ids = [[int(sample.sample_id) for sample in one.items] for one in pages]
    assert sorted(number for one in ids for number in one) == list(range(size))
    assert [one for one in ids if one] == sorted((one for one in ids if one), reverse=True)


def test_an_empty_page_does_not_end_the_walk() -> None:
    service = List(500, 1)
    walked = []
    for one in descend(500, service.read):
        walked.append(len(one.items))
        if len(walked) == 1:
            service.size = 250  # somebody takes the newer half away
    assert walked == [100, 0, 50, 100, 100]


def test_what_is_added_at_the_end_before_the_first_write_is_walked_too() -> None:
    service = List(730, 1)
    numbers = [int(one.items[0].sample_id) for one in descend(500, service.read)]
    assert numbers == [700, 600, 500, 400, 300, 200, 100, 0]


@pytest.mark.parametrize(
    ("end", "previous", "last", "expected"),
    [
        (PassEnd(total=3, remaining=3, news=9, disturbed=False), None, False, 0),
        (PassEnd(total=3, remaining=3, news=9, disturbed=True), None, False, None),
        (PassEnd(total=3, remaining=3, news=9, disturbed=True), None, True, 0),
        (PassEnd(total=3, remaining=3, news=0, disturbed=True), PassEnd(4, 4, 9, True), False, 0),
        (PassEnd(total=5, remaining=3, news=9, disturbed=False), None, False, None),
        (PassEnd(total=5, remaining=3, news=0, disturbed=False), PassEnd(5, 3, 9, False), False, 2),
        (PassEnd(total=5, remaining=3, news=0, disturbed=True), PassEnd(4, 3, 9, False), False, None),
        (PassEnd(total=5, remaining=3, news=1, disturbed=True), PassEnd(4, 3, 9, False), True, 2),
        (PassEnd(total=2, remaining=3, news=9, disturbed=True), None, False, None),
        (PassEnd(total=2, remaining=3, news=0, disturbed=True), PassEnd(2, 3, 9, True), False, 0),
    ],
)
def test_when_it_has_been_enough(end: PassEnd, previous: PassEnd | None, last: bool, expected: int | None) -> None:
    assert verdict(end, previous, last=last) == expected


def test_pages_are_numbered_from_zero() -> None:
    assert [last_page(total) for total in (0, 1, 100, 101)] == [-1, 0, 0, 1]
