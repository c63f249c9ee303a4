"""Lists of the service, page by page (contract 0.1).

No document says beyond doubt whether ``offset`` counts pages or records, so the first two pages tell.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_modelarts.client.errors import (
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.models import AnyModel, failure_of, parse_json, to_integer, to_objects
from airflow_provider_modelarts.client.validation import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.transport.transport import Transport

log = logging.getLogger(__name__)

REFUSALS = (InvalidRequest, NotFound, ServiceUnavailable)
"""What a service may answer for a page behind the end, instead of an empty page."""
_SHOWN = 10

Item = TypeVar("Item")
OnMove = Callable[[str], object]


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

    :param items: its items
    :param total: length of the whole list as the service counts; None if it does not
    :param odd: rows that are no objects, and so are not among the items
    """

    items: Sequence[Item]
    total: int | None
    odd: int = 0

    @property
    def rows(self) -> int:
        """How many rows of the list the answer holds."""
        return len(self.items) + self.odd


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


def detect_offset_mode(page: Sequence[str], following: Sequence[str], *, is_last: bool = False) -> OffsetMode:
    """Return what ``offset`` counts: one page further on all items differ, one record further on hardly any do.

    :param page: keys of a full page
    :param following: keys of the answer at the next offset
    :param is_last: whether the page should be the last one if ``offset`` counts pages. Then the following answer is
        empty or, where the service repeats its last page, the same
    """
    if is_last and list(page) == list(following):
        return OffsetMode.PAGES
    overlap = len(set(page).intersection(following))
    if is_last:
        return OffsetMode.RECORDS if overlap else OffsetMode.PAGES
    if (len(following) > 1 and overlap == len(following) - 1) or (following and list(following) == list(page[1:])):
        return OffsetMode.RECORDS
    # The list may have moved between the two reads: pages hardly overlap then, records still nearly all.
    return OffsetMode.RECORDS if 2 * overlap > len(following) > 1 else OffsetMode.PAGES


def walk(
    fetch: Callable[[int, int], Slice[Item]],
    key: Callable[[Item], str],
    what: str,
    limit: int = MAX_PAGE,
    on_move: OnMove | None = None,
) -> Iterator[Item]:
    """Yield every item of a list once, page by page.

    The result is complete if the list does not change while it is read. If it changes, an item that moves to an earlier
    page is missed, and a warning is logged. The service's count is compared with the items; if there are more items
    than it counts, the items are right.

    :param fetch: reads ``limit`` items at an offset
    :param key: tells items apart
    :param what: the list, as in "list samples of dataset d", for errors
    :param limit: items per page
    :param on_move: called with a line for people, after the last item, if the list changed while it was read; None: a
        warning is logged
    :raises UnexpectedResponse: if fewer items came than the service counts, although its count stood still
    """
    reading = _ListProgress(key, on_move)
    first = fetch(0, limit)
    yield from reading.take(first)
    reading.is_miscounted = _is_beyond(first, 0)
    if not first.rows:
        reading.check(what)
        return
    # The count alone does not end the list: some services count the page only. Some serve smaller pages than asked for,
    # and are then asked for those.
    step, limit = first.rows, min(first.rows, limit)
    second = _page_or_end(fetch, 1, limit, reading, start=step)
    mode = detect_offset_mode([key(item) for item in first.items], [key(item) for item in second.items])
    # If offset counts records, the second answer repeats the first but for one record: page number 1 is still to read.
    part, number = (second, 1) if mode is OffsetMode.PAGES else (None, 1)
    while number < reading.page_limit(step):
        if part is None:
            part = _page_or_end(fetch, mode.offset(number, step), limit, reading, start=number * step)
        fresh = reading.take(part)
        yield from fresh
        is_new = 2 * len(fresh) > len(part.items)
        if is_new and not reading.is_miscounted and _is_beyond(part, number * step):
            # The count may be wrong, or the list has moved: the same page once more tells.
            again = fetch(mode.offset(number, step), limit) if part.total else part
            reading.is_miscounted = list(map(key, again.items)) == list(map(key, part.items))
        is_over = not fresh and (reading.is_read_before or not part.rows or reading.page_limit(step) == math.inf)
        if is_over or (reading.is_complete and part.rows < step):
            break
        part = None
        number += 1
    reading.check(what)


def _is_beyond(part: Slice[Item], start: int) -> bool:
    """Whether an answer shows more items than its own count allows."""
    return part.total is not None and part.total < start + part.rows


def _page_or_end(
    fetch: Callable[[int, int], Slice[Item]], offset: int, limit: int, reading: _ListProgress[Item], start: int
) -> Slice[Item]:
    """Read a page; one behind the end is empty, whatever the service answers to it.

    :param start: number of the first item of the page
    :raises ModelArtsError: if the page cannot be read although the list reaches so far
    """
    try:
        return fetch(offset, limit)
    except REFUSALS:
        now = fetch(0, 1)
        if reading.counts(start) and (now.total is None or now.total > start):
            raise
        # The list may have become shorter.
        return Slice((), now.total if reading.counts(start) else None)


class _ListProgress(Generic[Item]):
    """The rows of a list that have been read so far."""

    def __init__(self, key: Callable[[Item], str], on_move: OnMove | None) -> None:
        self._key = key
        self._on_move = on_move or log.warning
        self._seen: set[str] = set()
        self._totals: set[int] = set()
        self._total: int | None = None
        self._most: int | None = None
        """Where to stop reading a list that keeps growing: at twice the first count."""
        self._odd = 0
        self._pages: list[list[str]] = []
        self.is_read_before = False
        """Whether the last answer repeats an earlier page."""
        self._repeats: list[str] = []
        self.is_miscounted = False
        """Whether the list holds more than the service counts."""

    def take(self, part: Slice[Item]) -> list[Item]:
        """Return the new items of an answer."""
        if part.total is not None:
            self._total = part.total
            self._totals.add(part.total)
            self._most = 2 * part.total if self._most is None else self._most
        fresh, repeats = [], []
        keys = [self._key(item) for item in part.items]
        self.is_read_before = keys in self._pages
        # A service that ignores the offset repeats the first page or the last one.
        self._pages = [*self._pages[:1], keys]
        for key, item in zip(keys, part.items, strict=True):
            if key in self._seen:
                repeats.append(key)
            else:
                self._seen.add(key)
                fresh.append(item)
        if not self.is_read_before:
            self._repeats += repeats
        self._odd += part.odd
        return fresh

    @property
    def rows(self) -> int:
        """Rows read so far; repeated ones count while there are not more of them than of others."""
        repeats = len(self._repeats)
        return len(self._seen) + self._odd + (repeats if repeats <= len(self._seen) else 0)

    @property
    def is_complete(self) -> bool:
        """Whether all rows that the service counts were read, and the count is right."""
        return self._total is not None and not self.is_miscounted and self.rows >= self._total

    def counts(self, start: int) -> bool:
        """Whether the list has an item of this number, as the service counts."""
        return self._total is not None and not self.is_miscounted and self._total > start

    def page_limit(self, step: int) -> float:
        """Return the number of pages after which a list of this size must have ended."""
        if self._total is None or self._most is None or self.is_miscounted:
            return math.inf
        return max(math.ceil(min(self._total, self._most) / step), 1) + 2

    def check(self, what: str) -> None:
        """Raise if items are missing, warn if the list moved while it was read."""
        if self.is_miscounted:
            log.warning("%s: the service counts %s, but lists %d; the list counts", what, self._total, self.rows)
        elif len(self._totals) > 1:
            self._on_move(f"{what}: the list changed while it was read, it may not be complete")
        elif self._total is not None and self.rows < self._total:
            raise UnexpectedResponse(
                f"Cannot {what}: the service counts {self._total}, but lists only {self.rows}. "
                "Somebody may be changing the dataset: try again."
            )
        elif self._repeats:
            twice = sorted(set(self._repeats))
            shown = ", ".join(key[:50] for key in twice[:_SHOWN])
            log.warning("%s: %d items are listed twice, among them %s; each is given once", what, len(twice), shown)
        if self._odd:
            log.warning("%s: %d items are no objects and were left out", what, self._odd)


@dataclass(frozen=True)
class ListEndpoint(Generic[AnyModel]):
    """One list of the service.

    :param what: what reading it is called in errors
    :param segments: its path below the project
    :param model: what it holds
    :param items: key of the items in an answer
    :param total: key of the total (contract 0.1)
    :param keys: keys of an item's id, the main one first; none if items have no id
    :param query: filters
    :param known: what the request knows and items may leave out; keyword arguments of the model
    :param keeps_odd_rows: True: a row that is no object is an item without properties; False: it is left out
    """

    what: str
    segments: tuple[str, ...]
    model: type[AnyModel]
    items: str
    total: str
    keys: tuple[str, ...]
    query: Mapping[str, str | None] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    keeps_odd_rows: bool = False

    def slice(
        self, transport: Transport, offset: int, limit: int | None = MAX_PAGE, *, retry: bool = True
    ) -> Slice[AnyModel]:
        """Read one answer.

        :param transport: reads
        :param offset: as the service counts it
        :param limit: items wanted; None leaves it to the service
        :param retry: False: one attempt
        :raises UnexpectedResponse: if the answer is no list
        """
        rows, total = self.read(transport, offset, limit, retry=retry)
        objects = [row if isinstance(row, dict) else {} for row in rows] if self.keeps_odd_rows else to_objects(rows)
        models = [self.model(row, **self.known) for row in objects]
        return Slice(models, total, len(rows) - len(models))

    def read(
        self,
        transport: Transport,
        offset: int,
        limit: int | None,
        *,
        retry: bool = True,
        parse: Callable[[bytes], Any] = parse_json,
    ) -> tuple[list[Any], int | None]:
        """Return the rows of one answer as they were parsed, and the length of the list; parameters as :meth:`slice`.

        :param parse: reads the body
        """
        query = {**self.query, "offset": str(offset), "limit": None if limit is None else str(limit)}
        answer = transport.get(self.what, *self.segments, query=query, retry=retry, parse=parse)
        if not isinstance(answer, dict) or (answer.get(self.items) is None and answer.get(self.total) is None):
            raise UnexpectedResponse(
                f"Cannot {self.what}: the answer has neither {self.items} nor {self.total}. "
                "Check that endpoint is a ModelArts v2 API."
            )
        given = answer.get(self.items)
        if given is not None and not isinstance(given, list):
            raise UnexpectedResponse(f"Cannot {self.what}: {self.items} is no list in the answer. Try again.")
        rows = given or []
        # An empty list would pass for "there is nothing to do".
        if not rows and (said := failure_of(answer)):
            raise UnexpectedResponse(f"Cannot {self.what}: the answer lists nothing and says: {said}. Try again.")
        return rows, to_integer(answer.get(self.total))

    def walk(
        self,
        transport: Transport,
        limit: int | None = MAX_PAGE,
        *,
        retry: bool = True,
        on_move: OnMove | None = None,
    ) -> Iterator[AnyModel]:
        """Yield everything once; see :func:`walk`.

        :param transport: reads
        :param limit: items per answer; None leaves it to the service
        :param retry: False: one attempt for each answer
        :param on_move: called if the list changed while it was read; None: a warning is logged
        """
        return walk(
            lambda offset, wanted: self.slice(transport, offset, limit and wanted, retry=retry),
            lambda item: key_of(item.raw, self.keys),
            self.what,
            limit or MAX_PAGE,
            on_move,
        )
