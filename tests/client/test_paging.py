"""Lists longer than a page, against lists of every kind: contract 0.1, B11."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client.errors import InvalidRequest, ServiceUnavailable, UnexpectedResponse
from airflow_provider_modelarts.client.paging import OffsetMode, Slice, detect_offset_mode, key_of, walk

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
    # behind a full last page there may be more than the service counts, and so behind a page that is the only one
    looks = (mode is OffsetMode.RECORDS) + (count % 10 == 0 or count < 10)
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
    assert detect_offset_mode(["a", "b", "c"], ["d", "e", "f"]) is OffsetMode.PAGES
    assert detect_offset_mode(["a", "b", "c"], ["b", "c", "d"]) is OffsetMode.RECORDS
    assert detect_offset_mode(["a"], ["b"]) is OffsetMode.PAGES
    # the list moved between the two
    assert detect_offset_mode(["a", "b", "c", "d"], ["a", "b", "c", "d"]) is OffsetMode.RECORDS
    assert detect_offset_mode(["a", "b", "c", "d"], ["c", "d", "e", "f"]) is OffsetMode.PAGES
    assert detect_offset_mode(["a", "b", "c", "d", "e"], ["c", "d", "e", "f", "g"]) is OffsetMode.RECORDS
    # behind the last page there is nothing, or the last page once more
    assert detect_offset_mode(["a", "b", "c"], [], is_last=True) is OffsetMode.PAGES
    assert detect_offset_mode(["a", "b", "c"], ["a", "b", "c"], is_last=True) is OffsetMode.PAGES
    assert detect_offset_mode(["a", "b", "c"], ["c"], is_last=True) is OffsetMode.RECORDS


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


@pytest.mark.parametrize("mode", OffsetMode)
@pytest.mark.parametrize("count", [6, 10, 11, 19, 20, 40])
@pytest.mark.parametrize("again", [1, 2])
def test_an_item_that_is_listed_twice_is_given_once_and_the_rest_is_there(
    mode: OffsetMode, count: int, again: int, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf([*names(3), *["r2"] * again, *names(count)[3:]], mode)
    assert read(shelf, 10) == names(count)
    assert "1 items are listed twice, among them r2" in caplog.text


ODD_LISTS: list[dict[str, object]] = [
    *({"behind_the_end": answer} for answer in (400, 404, 500, "last")),
    {"max_page": 50, "behind_the_end": 404},
    {"max_page": 30, "offset_mode": "record"},
    *({"total": total} for total in ("page", "capped", "zero", "negative", "null", "missing")),
    *({"total": total, "offset_mode": "record", "behind_the_end": 400} for total in ("page", "capped", "null")),
    *({"total": "page", "max_page": most} for most in (50, 33, 12)),
    {"total": "page", "max_page": 7, "offset_mode": "record", "behind_the_end": 404},
]


@pytest.mark.parametrize("variants", ODD_LISTS, ids=str)
@pytest.mark.parametrize("count", [1, 100, 250])
def test_every_list_is_complete_however_the_service_pages_and_counts(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, variants: dict[str, object], count: int
) -> None:
    labels = [f"label {number}" for number in range(count)]
    dataset_id = emulator.load_proposals(count, labels=labels)
    for name, value in variants.items():
        setattr(emulator.variants, name, value)
    assert len({sample.sample_id for sample in client.samples.list(dataset_id)}) == count
    assert len({sample.sample_id for sample in client.proposals.list(dataset_id)}) == count
    assert len({label.name for label in client.labels.list(dataset_id)}) == count
    assert dataset_id in [dataset.dataset_id for dataset in client.datasets.list()]
    assert list(client.tasks.list(dataset_id)) == []


@pytest.mark.parametrize("count", [6, 100, 250])
@pytest.mark.parametrize("offset_mode", ["page", "record"])
def test_an_item_that_is_listed_twice_is_given_once(
    client: ModelArtsClient, emulator: Emulator, caplog: pytest.LogCaptureFixture, count: int, offset_mode: str
) -> None:
    dataset_id = emulator.load_proposals(count)
    emulator.variants.repeat_rows = 1
    emulator.variants.offset_mode = offset_mode
    found = [sample.sample_id for sample in client.samples.list(dataset_id)]
    assert len(found) == len(set(found)) == count
    assert "listed twice" in caplog.text


@given(
    st.integers(0, 60),
    st.integers(2, 12),
    st.integers(1, 12),
    modes,
    st.sampled_from(["true", "page", "capped", "zero", "none"]),
    st.sampled_from(["empty", "refused"]),
)
def test_a_list_that_stands_still_is_complete_whatever_its_count_says(
    count: int, limit: int, cap: int, mode: OffsetMode, total: str, behind: str
) -> None:
    shelf = Shelf(names(count), mode, cap=cap)

    def served(offset: int, wanted: int) -> Slice[str]:
        part = shelf(offset, wanted)
        if behind == "refused" and offset and not part.items:
            raise InvalidRequest("offset", status=400)
        totals = {"true": count, "page": len(part.items), "capped": min(count, limit), "zero": 0, "none": None}
        return Slice(part.items, totals[total])

    assert list(walk(served, lambda item: item, "list things", limit)) == names(count)
