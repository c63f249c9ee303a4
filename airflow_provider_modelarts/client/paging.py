"""Lists longer than a page: contract 0.1.

No document says beyond doubt whether ``offset`` counts pages or records, so the first two pages tell.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_modelarts.client.checking import MAX_PAGE
from airflow_provider_modelarts.client.errors import UnexpectedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

log = logging.getLogger(__name__)


Item = TypeVar("Item")


class OffsetMode(Enum):
    """What ``offset`` counts on the service at hand."""

    PAGES = "pages"
    RECORDS = "records"

    def offset(self, number: int, limit: int) -> int:
        """Return the offset of a page, counted from 0, of ``limit`` items."""
        return number if self is OffsetMode.PAGES else number * limit


@dataclass(frozen=True)
class Slice(Generic[Item]):
    """One answer of a list.

    :param items: what it holds
    :param total: how many the service counts in the whole list; None if it does not say
    """

    items: Sequence[Item]
    total: int | None


def key_of(item: dict[str, Any], names: Sequence[str]) -> str:
    """Return what tells items apart.

    :param item: the item as it arrived
    :param names: keys of its id, the main one first
    :return: the id, or all that the item holds where the service leaves the id out
    """
    values = [item.get(name) for name in names]
    if not values or not isinstance(values[0], str) or not values[0]:
        return json.dumps(item, sort_keys=True)
    return values[0] if len(values) == 1 else "/".join(map(str, values))


def mode_of(first: Sequence[str], second: Sequence[str]) -> OffsetMode:
    """Return what ``offset`` counts, from the keys at offset 0 and at offset 1 of a list with more than one page.

    :param first: keys at offset 0
    :param second: keys at offset 1
    """
    known = set(first)
    overlap = sum(key in known for key in second)
    if len(second) > 1 and overlap == len(second) - 1:
        return OffsetMode.RECORDS
    # a list that moved between the two reads: pages hardly overlap then, records still nearly all
    return OffsetMode.RECORDS if 2 * overlap > len(second) > 1 else OffsetMode.PAGES


def walk(
    fetch: Callable[[int, int], Slice[Item]],
    key: Callable[[Item], str],
    what: str,
    limit: int = MAX_PAGE,
) -> Iterator[Item]:
    """Yield every item of a list once, page by page.

    The list is complete if nobody writes to it meanwhile. On a changing one it is the best effort, which a warning
    says: what moves to an earlier page while it is read cannot be seen.

    :param fetch: reads ``limit`` items at an offset
    :param key: tells items apart
    :param what: the list, as in "list samples of dataset d", for errors
    :param limit: items per page
    :raises UnexpectedResponse: if fewer items came than the service counts, although its count stood still
    """
    reading = _Reading(key)
    first = fetch(0, limit)
    yield from reading.take(first)
    if reading.complete or not first.items:
        reading.check(what)
        return
    second = fetch(1, limit)
    mode = mode_of([key(item) for item in first.items], [key(item) for item in second.items])
    fresh = reading.take(second)
    yield from fresh
    # the second answer overlaps the first by design where records are counted: nothing new in it is no end
    goes_on = bool(fresh) or mode is OffsetMode.RECORDS
    # a service may serve smaller pages than asked for: its records advance by what it served
    step = len(first.items)
    # in record mode the second answer ended one record behind the first: the next whole page is number 1 again
    number = 2 if mode is OffsetMode.PAGES else 1
    while goes_on and not reading.complete and number < reading.page_limit(step):
        part = fetch(mode.offset(number, step), limit)
        fresh = reading.take(part)
        yield from fresh
        goes_on = bool(fresh)
        number += 1
    reading.check(what)


class _Reading(Generic[Item]):
    """What has come of a list so far."""

    def __init__(self, key: Callable[[Item], str]) -> None:
        self._key = key
        self._seen: set[str] = set()
        self._twins: dict[str, int] = {}
        """How many rows more than one an answer has of an item: the service counts them all."""
        self._totals: set[int] = set()
        self._total: int | None = None

    def take(self, part: Slice[Item]) -> list[Item]:
        """Return the items that have not come before."""
        if part.total is not None:
            self._total = part.total
            self._totals.add(part.total)
        fresh = []
        keys = [self._key(item) for item in part.items]
        for key, item in zip(keys, part.items, strict=True):
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(item)
        if len(set(keys)) < len(keys):
            for key, rows in Counter(keys).items():
                if rows > 1:
                    self._twins[key] = max(rows - 1, self._twins.get(key, 0))
        return fresh

    @property
    def _accounted(self) -> int:
        return len(self._seen) + sum(self._twins.values())

    @property
    def complete(self) -> bool:
        return self._total is not None and self._accounted >= self._total

    def page_limit(self, step: int) -> float:
        """Return the number of pages after which a list of this size must have ended."""
        return math.inf if self._total is None else math.ceil(self._total / step) + 2

    def check(self, what: str) -> None:
        """Raise if items are missing, warn if the list moved while it was read or has items twice."""
        if self._twins:
            some = ", ".join(key[:50] for key in list(self._twins)[:3])
            log.warning("%s: %d items are listed twice, among them %s", what, len(self._twins), some)
        if len(self._totals) > 1:
            log.warning("%s: the list changed while it was read, it may not be complete", what)
        elif self._total is not None and self._accounted < self._total:
            raise UnexpectedResponse(
                f"Cannot {what}: the service counts {self._total}, but lists only {len(self._seen)}. "
                "Somebody may be changing the dataset: try again."
            )
