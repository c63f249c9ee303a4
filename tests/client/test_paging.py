"""Lists longer than a page, against lists of every kind: contract 0.1, B11."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client.errors import ServiceUnavailable, UnexpectedResponse
from airflow_provider_modelarts.client.paging import OffsetMode, Slice, key_of, mode_of, walk

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@dataclass
class Shelf:
    """A list as a service may serve it.

    :param mode: what offset counts
    :param cap: it never serves more at once, whatever is asked for
    :param shrink: so many of the first records vanish after each answer
    :param grow: so many new records appear at the front after each answer
    :param miscount: what the total is wrong by
    """

    records: list[str]
    mode: OffsetMode = OffsetMode.PAGES
    cap: int = 100
    shrink: int = 0
    grow: int = 0
    miscount: int = 0
    reads: int = 0
    ever: set[str] = field(default_factory=set)

    def __call__(self, offset: int, limit: int) -> Slice[str]:
        self.ever.update(self.records)
        self.reads += 1
        limit = min(limit, self.cap)
        start = offset * limit if self.mode is OffsetMode.PAGES else offset
        answer = Slice(self.records[start : start + limit], len(self.records) + self.miscount)
        self.records = self.records[self.shrink :]
        self.records = [f"new-{self.reads}-{number}" for number in range(self.grow)] + self.records
        return answer


def read(shelf: Shelf, limit: int = 100) -> list[str]:
    return list(walk(shelf, lambda item: item, "list things", limit))


def names(count: int) -> list[str]:
    return [f"r{number}" for number in range(count)]


modes = st.sampled_from(OffsetMode)


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 12), modes)
def test_a_list_that_stands_still_is_complete_in_order_without_doubles(
    count: int, limit: int, cap: int, mode: OffsetMode
) -> None:
    shelf = Shelf(names(count), mode, cap=cap)
    assert read(shelf, limit) == names(count)


@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 12), st.integers(0, 12), modes)
def test_a_moving_list_always_ends_and_never_gives_an_item_twice(
    count: int, limit: int, shrink: int, grow: int, mode: OffsetMode
) -> None:
    shelf = Shelf(names(count), mode, shrink=shrink, grow=min(grow, limit - 1))
    try:
        found = read(shelf, limit)
    except UnexpectedResponse:
        assert shrink == grow == 0 or shrink == min(grow, limit - 1)
        return
    assert len(found) == len(set(found))
    assert set(found) <= shelf.ever


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 5), modes)
def test_a_total_that_cannot_be_accounted_for_is_an_error(
    count: int, limit: int, missing: int, mode: OffsetMode
) -> None:
    with pytest.raises(UnexpectedResponse, match=f"counts {count + missing}, but lists only {count}"):
        read(Shelf(names(count), mode, miscount=missing), limit)


@settings(max_examples=30)
@given(st.integers(1, 200), modes)
def test_no_more_pages_are_read_than_needed(count: int, mode: OffsetMode) -> None:
    shelf = Shelf(names(count), mode)
    read(shelf, 10)
    # behind a full last page there may be more than the service counts
    looks = (mode is OffsetMode.RECORDS) + (count % 10 == 0 or count in (5, 8))
    assert shelf.reads <= -(-count // 10) + looks


def test_a_service_that_ignores_offset_ends() -> None:
    answer = Slice(["a", "b"], 5)
    reads = []

    def always_the_same(offset: int, limit: int) -> Slice[str]:
        reads.append((offset, limit))
        return answer

    with pytest.raises(UnexpectedResponse):
        list(walk(always_the_same, lambda item: item, "list things", 2))
    assert len(reads) == 3


def test_a_service_that_hardly_gets_on_ends() -> None:
    reads = []

    def one_new_each_time(offset: int, limit: int) -> Slice[str]:
        reads.append(offset)
        return Slice([*names(limit - 1), f"new-{offset}"], 100)

    with pytest.raises(UnexpectedResponse, match="counts 100"):
        list(walk(one_new_each_time, lambda item: item, "list things", 10))
    assert len(reads) <= 100 // 10 + 3


def test_without_a_total_the_list_ends_with_its_items() -> None:
    shelf = Shelf(names(25))

    def untold(offset: int, limit: int) -> Slice[str]:
        return Slice(shelf(offset, limit).items, None)

    assert list(walk(untold, lambda item: item, "list things", 10)) == names(25)


def test_a_changing_list_is_said_to_be_one(caplog: pytest.LogCaptureFixture) -> None:
    read(Shelf(names(50), shrink=1), 10)
    assert "changed while it was read" in caplog.text


def test_the_first_two_pages_tell_what_offset_counts() -> None:
    assert mode_of(["a", "b", "c"], ["d", "e", "f"]) is OffsetMode.PAGES
    assert mode_of(["a", "b", "c"], ["b", "c", "d"]) is OffsetMode.RECORDS
    assert mode_of(["a"], ["b"]) is OffsetMode.PAGES
    # the list moved between the two
    assert mode_of(["a", "b", "c", "d"], ["a", "b", "c", "d"]) is OffsetMode.RECORDS
    assert mode_of(["a", "b", "c", "d"], ["c", "d", "e", "f"]) is OffsetMode.PAGES
    assert mode_of(["a", "b", "c", "d", "e"], ["c", "d", "e", "f", "g"]) is OffsetMode.RECORDS


@pytest.mark.parametrize("mode", OffsetMode)
@pytest.mark.parametrize("after", range(1, 12))
def test_one_change_does_not_cost_the_rest_of_the_list(mode: OffsetMode, after: int) -> None:
    for change in (1, -1):
        shelf = Shelf(names(100), mode)

        def changing(offset: int, limit: int, shelf: Shelf = shelf, change: int = change) -> Slice[str]:
            answer = shelf(offset, limit)
            if shelf.reads == after:
                shelf.records = ["new", *shelf.records] if change > 0 else shelf.records[1:]
            return answer

        found = list(walk(changing, lambda item: item, "list things", 10))
        # what moved to a page that was read already cannot be seen
        assert len(set(found) & set(names(100))) >= 99


def test_items_without_an_id_are_told_apart_by_what_they_hold() -> None:
    assert key_of({"task_id": "t"}, ("task_id",)) == "t"
    assert key_of({"task_id": None, "n": 1}, ("task_id",)) != key_of({"task_id": None, "n": 2}, ("task_id",))
    assert key_of({"s": "1", "w": "a"}, ("s", "w")) != key_of({"s": "1", "w": "b"}, ("s", "w"))


def test_each_page_of_a_list_that_must_not_repeat_is_sent_once(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_digits(labeled=100)
    rule = emulator.faults.add("GET", f"{dataset_id}/tasks", "status", status=503, times=None)
    with pytest.raises(ServiceUnavailable):
        list(client.tasks.list(dataset_id, retry=False))
    assert rule.fired == 1
    with pytest.raises(ServiceUnavailable):
        list(client.tasks.list(dataset_id))
    assert rule.fired == 7
