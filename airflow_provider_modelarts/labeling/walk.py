"""The order in which the list of proposals is read, so that writing does not make it skip samples (B14).

What is confirmed leaves the list, and what stands behind it moves up. So the list is walked from its last page to its
first: what leaves was read already, and only what was read already moves. Others may change the list meanwhile as
well; whoever walks compares the service's count afterwards and walks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client.errors import UnexpectedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.client import Page, Sample

PAGE_SIZE = 100
"""The most that the service gives at once (contract 0.1)."""

PROBES = 5


def last_page(total: int) -> int:
    """Return the number of the last page of a list, -1 for an empty one."""
    return -(-total // PAGE_SIZE) - 1


def count(page: Page[Sample]) -> int:
    """Return how long the list is that a page belongs to.

    :raises UnexpectedResponse: if the service left its count out: without it no walk can be checked
    """
    if page.total is None:
        raise UnexpectedResponse("The list of proposals came without its count (sample_count); nothing can be checked.")
    return page.total


def probe_offset(total: int) -> int:
    """Return the offset at which the two meanings of ``offset`` must give different answers.

    Half-way through the records there is something even if a third of the list goes away meanwhile; as a page number
    it lies far behind the end even if the list grows tenfold.
    """
    return total // 2


def offset_step(offset: int, page: Page[Sample]) -> int | None:
    """Tell what ``offset`` counts by one answer, whatever others do to the list.

    The count and the items of one answer belong together. Something at an offset behind the last page: records are
    counted. Nothing at an offset within the list: pages are counted.

    :param offset: as it was asked for
    :param page: the answer, asked for with a limit of :data:`PAGE_SIZE`
    :return: by how much the offset grows from page to page: 1 or :data:`PAGE_SIZE`; None if this answer proves
        neither
    """
    if len(page.items) and offset > last_page(count(page)):
        return PAGE_SIZE
    if not len(page.items) and offset < count(page):
        return 1
    return None


def find_step(total: int, read: Callable[[int], Page[Sample]]) -> int:
    """Find out what ``offset`` counts, before the first write (B14; contract 0.1, quirk 17).

    :param total: length of the list; up to a page it does not matter
    :param read: asks for the page at an offset
    :return: 1 for page numbers, :data:`PAGE_SIZE` for records
    :raises UnexpectedResponse: if the answers prove neither
    """
    for _ in range(PROBES):
        if total <= PAGE_SIZE:
            return 1
        offset = probe_offset(total)
        page = read(offset)
        step = offset_step(offset, page)
        if step is not None:
            return step
        total = count(page)
    raise UnexpectedResponse(
        "The list of proposals does not let itself be paged: its count and its pages contradict each other. "
        "Nothing was written."
    )


class Numbered(NamedTuple):
    """A page and its number, counted from 0."""

    number: int
    page: Page[Sample]


class Bearings(NamedTuple):
    """Where a walk begins.

    :param step: by how much ``offset`` grows from page to page
    :param last: the last page, as it was read before anything of this walk was written
    """

    step: int
    last: Numbered


def read_last(total: int, read: Callable[[int], Page[Sample]]) -> Numbered:
    """Read the last page; if the list grew at its end meanwhile, the one that is the last now.

    :param total: length of the list, as it was
    :param read: asks for the page of a number
    """
    number = max(last_page(total), 0)
    while True:
        page = read(number)
        if last_page(count(page)) <= number:
            return Numbered(number, page)
        number = last_page(count(page))


def take_bearings(read: Callable[[int, int], Page[Sample]], first: Page[Sample] | None = None) -> Bearings:
    """Find out what ``offset`` counts and where the list ends, before anything is written.

    What ``offset`` counts is found out anew for each walk: a wrong finding would cost samples of that walk only.

    :param read: asks for the page at an offset, with a limit
    :param first: the first page, if it was read just now
    """
    first = first or read(0, PAGE_SIZE)
    total = count(first)
    if total <= PAGE_SIZE:
        return Bearings(1, Numbered(0, first))
    step = find_step(total, lambda offset: read(offset, PAGE_SIZE))
    return Bearings(step, read_last(total, lambda number: read(number * step, PAGE_SIZE)))


def descend(total: int, read: Callable[[int], Page[Sample]]) -> Iterator[Page[Sample]]:
    """Walk from the last page to the first, reading a page only when it is asked for.

    An empty page does not end the walk: the list got shorter behind it.

    :param total: length of the list when the walk begins
    :param read: asks for the page of a number, counted from 0
    """
    number, page = read_last(total, read)
    yield page
    for lower in range(number - 1, -1, -1):
        yield read(lower)


def walk(read: Callable[[int, int], Page[Sample]]) -> Iterator[Page[Sample]]:
    """Read the list once, from its last page to its first; each page when it is asked for.

    :param read: asks for the page at an offset, with a limit
    """
    first = read(0, PAGE_SIZE)
    total = count(first)
    if total <= PAGE_SIZE:
        yield first
        return
    step = find_step(total, lambda offset: read(offset, PAGE_SIZE))
    yield from descend(total, lambda number: read(number * step, PAGE_SIZE))


class PassEnd(NamedTuple):
    """What a walk found.

    :param total: proposals that the service counts after the walk
    :param remaining: samples that the walk saw and that must still be among them: review, left, failed
    :param news: samples about which the walk learnt or did something
    :param disturbed: the count changed during the walk by more than the walk itself changed: others are at work, and
        the list may have moved past the reader
    """

    total: int
    remaining: int
    news: int
    disturbed: bool

    @property
    def unaccounted(self) -> int:
        """Proposals that the service counts and the walk did not see; negative if others took some away."""
        return self.total - self.remaining


def verdict(end: PassEnd, previous: PassEnd | None, *, last: bool) -> int | None:
    """Judge whether another walk is needed (B14).

    A count that fits means done, but not while others change the list: one proposal taken away and one missed add up
    as well. A walk that finds nothing new proves that there is nothing more to find.

    :param end: this walk
    :param previous: the one before
    :param last: no further walk is allowed
    :return: None for another walk, else how many proposals are unaccounted for: 0 means done
    """
    found_nothing = end.news == 0
    if end.unaccounted <= 0 and (found_nothing or not end.disturbed or last):
        return 0
    stuck = found_nothing and previous is not None and end.total == previous.total
    return end.unaccounted if last or stuck else None
