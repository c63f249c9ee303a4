"""The order in which the list of proposals is read, so that writing does not make it skip samples (B14).

What is confirmed leaves the list, and what stands behind it moves up. So the list is read from its last page to its
first: what leaves was read already, and only what was read already moves. Others may change the list as well, so the
service's count is compared after each pass, and the list is read once more if it does not fit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

from airflow_provider_modelarts.client.errors import ModelArtsError, UnexpectedResponse
from airflow_provider_modelarts.client.paging import REFUSALS, OffsetMode, detect_offset_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import Page
    from airflow_provider_modelarts.client.sample_rows import SampleRow

log = logging.getLogger(__name__)

PAGE_SIZE = 100
"""The most that the service gives at once (contract 0.1)."""

PROBES = 5


class ReadPage(Protocol):
    """Reads a piece of the list."""

    def __call__(self, offset: int, limit: int, *, retry: bool = True) -> Page[SampleRow]:
        """Read ``limit`` items at an offset; ``retry=False``: in one attempt."""


def last_page(total: int, size: int | None = None) -> int:
    """Return the number of the last page of a list, -1 for an empty one.

    :param total: length of the list
    :param size: items per page; None: :data:`PAGE_SIZE`
    """
    return -(-total // (size or PAGE_SIZE)) - 1


def count(page: Page[SampleRow]) -> int:
    """Return how long the service says the list is that a page belongs to; 0 if it does not say."""
    return max(page.total or 0, 0)


class Numbered(NamedTuple):
    """A page and its number, counted from 0."""

    number: int
    page: Page[SampleRow]


@dataclass(frozen=True)
class Pages:
    """The list as pages of one size.

    :param read: reads a piece of it
    :param step: by how much ``offset`` grows from page to page
    :param size: items per page; less than :data:`PAGE_SIZE` where the service gives less at once
    """

    read: ReadPage
    step: int
    size: int

    def page(self, number: int) -> Page[SampleRow]:
        """Read a page; one behind the end is empty, whatever the service says of it.

        :raises ModelArtsError: if the page cannot be read although the list reaches so far
        """
        if not number:
            return self.read(0, self.size)
        try:
            return self.read(number * self.step, self.size, retry=False)
        except REFUSALS:
            now = self.read(0, 1)
        except ModelArtsError as error:
            if error.permanent:
                raise
            return self.read(number * self.step, self.size)
        is_inside = number * self.size < count(now)
        try:
            return self.read(number * self.step, self.size, retry=is_inside)
        except REFUSALS as error:
            if is_inside and not error.permanent:
                raise
            return type(now)([], now.total, number, now.read_at)


def detect_offset_step(number: int, size: int, read: Callable[[int], Page[SampleRow]]) -> int:
    """Find out what ``offset`` counts, before the first write (B14; contract 0.1, quirk 17).

    The page that ought to be the last one is read. As a page number its offset gives the rest of the list, as a record
    number a full page. A full page leaves it open; then the next offset tells: one record further on nearly everything
    is the same, one page further on nothing is.

    :param number: of the last page, as the service's count has it; 0 if the count says nothing
    :param size: items per page
    :param read: asks for the page at an offset
    :return: 1 for page numbers, ``size`` for records
    :raises UnexpectedResponse: if the answers prove neither
    """
    for _ in range(PROBES):
        page = read(number)
        items, total = len(page.items), count(page)
        if items >= size:
            is_last = (number + 1) * size >= total > 0
            mode = detect_offset_mode(_keys(page), _keys(read(number + 1)), is_last=is_last)
            return size if mode is OffsetMode.RECORDS else 1
        if items:
            return 1 if abs(number * size + items - total) <= abs(number + items - total) else size
        if number < total or total <= size:
            return 1  # where records are counted there would be something
        number = last_page(total, size)
    raise UnexpectedResponse(
        "The list of proposals does not let itself be paged: its count and its pages contradict each other. "
        "Nothing was written."
    )


def _keys(page: Page[SampleRow]) -> list[str]:
    return [row.sample_id or str(row.sample.raw) for row in page.items]


def find_last(number: int, size: int, read: Callable[[int], Page[SampleRow]]) -> Numbered:
    """Return the last page that holds anything, whatever the service counts: the one behind it has been seen.

    A page that is not full ends the list. Behind a full one there may be more: the count may be capped, or may be that
    of the page alone, or the list may have grown.

    :param number: of the last page, as the service's count has it
    :param size: items per page
    :param read: asks for the page of a number
    """
    last = Numbered(number, read(number))
    behind = number
    stride = 1
    if not last.page.items:
        last = Numbered(0, read(0))
    else:
        while len(last.page.items) >= size:
            behind = max(last.number + stride, last_page(count(last.page), size))
            page = read(behind)
            if not _goes_on(last.page, page):
                break
            last = Numbered(behind, page)
            stride *= 2
    while behind - last.number > 1 and len(last.page.items) >= size:
        middle = (last.number + behind) // 2
        page = read(middle)
        if _goes_on(last.page, page):
            last = Numbered(middle, page)
        else:
            behind = middle
    return last


def _goes_on(page: Page[SampleRow], following: Page[SampleRow]) -> bool:
    return bool(following.items) and _keys(page) != _keys(following)


@dataclass(frozen=True)
class ListBounds:
    """The pages of a list, and its last one as it was read before anything was written."""

    pages: Pages
    last: Numbered

    @cached_property
    def length(self) -> int:
        """How many items the list holds, as its pages show."""
        return self.last.number * self.pages.size + len(self.last.page.items)

    @property
    def total(self) -> int:
        """How many items the list must show: as the service counts, or more if there are more."""
        return max(self.length, count(self.last.page))

    @property
    def is_counted(self) -> bool:
        """Whether the service's count may be right; false: it is missing, or below what the pages show."""
        return self.last.page.total is not None and self.last.page.total >= self.length


def locate_last_page(read: ReadPage, first: Page[SampleRow] | None = None) -> ListBounds:
    """Find out what ``offset`` counts and where the list ends, before anything is written; done for each pass.

    :param read: asks for the page at an offset, with a limit
    :param first: the first page, if it was read just now
    """
    if first is None:
        first = read(0, PAGE_SIZE)
    shown, total = len(first.items), count(first)
    # What comes is what the service gives at once, if it is less than was asked for.
    size = min(shown, PAGE_SIZE) or PAGE_SIZE
    # If anything is shown, read behind it, also if the service counts no more: its count may be the page's.
    if not shown and total <= PAGE_SIZE:
        return ListBounds(Pages(read, 1, size), Numbered(0, first))
    number = last_page(total, size) if total > shown else 0
    known = {0: first}

    def read_once(number: int) -> Page[SampleRow]:
        if number not in known:
            known[number] = Pages(read, 1, size).page(number)
        return known[number]

    step = detect_offset_step(number, size, read_once)
    pages = Pages(read, step, size)
    # Where records are counted the probes have shown samples of the first page, maybe with other labels by now.
    last = find_last(number, size, read_once if step == 1 else pages.page)
    bounds = ListBounds(pages, last)
    if not bounds.is_counted:
        log.warning(
            "The service counts %s proposals, but its list shows %d. The list counts.", last.page.total, bounds.length
        )
    return bounds


def length_of(read: ReadPage, now: Page[SampleRow], *, is_counted: bool) -> int:
    """Return how long the list is now.

    :param read: asks for the page at an offset, with a limit
    :param now: the first proposal, read just now with the list's count
    :param is_counted: whether the count has been seen to be right; else it is found out where the list ends
    """
    if is_counted and now.total is not None and now.total > len(now.items):
        return now.total
    return locate_last_page(read).total if now.items else count(now)


class PassEnd(NamedTuple):
    """What a pass over the list found.

    :param total: proposals that the service counts after the pass
    :param remaining: samples that the pass saw and that must still be among them: review, left, failed
    :param changes: samples whose status changed in the pass
    :param disturbed: the count changed by more than this run's writes: others change the list, and it may have moved
        past the reader
    :param repeated: rows of the list in which a sample of those remaining stood once more
    """

    total: int
    remaining: int
    changes: int
    disturbed: bool
    repeated: int = 0

    @property
    def unaccounted(self) -> int:
        """Proposals that the service counts and the pass did not see; negative if others took some away."""
        return self.total - self.remaining


def count_unaccounted(end: PassEnd, previous: PassEnd | None, *, last: bool) -> int | None:
    """Return how many proposals are unaccounted for, 0 means done; None if another pass is needed to know (B14).

    A count that fits means done, but not while others change the list: one proposal taken away and one missed add up
    as well. A pass that finds nothing new proves that there is nothing more to find. A sample that is listed twice
    counts twice; but a list that moves shows a sample twice as well, so that explains a count only after such a pass.

    :param end: this pass
    :param previous: the one before
    :param last: no further pass is allowed
    """
    found_nothing = end.changes == 0
    if end.unaccounted <= 0 and (found_nothing or not end.disturbed or last):
        return 0
    stuck = found_nothing and previous is not None and end.total == previous.total
    return max(end.unaccounted - end.repeated, 0) if last or stuck else None
