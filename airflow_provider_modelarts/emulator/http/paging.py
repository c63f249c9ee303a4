"""Paging: `limit`, `offset` and `order` of a list request, and the total of its answer (contract 0.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.query import choice, integer

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call
    from airflow_provider_modelarts.emulator.variants import Variants

T = TypeVar("T")

CAP = 100
"""The highest total of a list whose total is capped (a variant)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list was asked for.

    :param start: index of the first item.
    :param limit: how many at most.
    :param variants: say what a page behind the end is, and what the total of a list is.
    """

    start: int
    limit: int
    newest_first: bool
    variants: Variants

    def cut(self, items: list[T]) -> list[T]:
        """Return that part of a list which is ordered oldest first."""
        rows = items + items[: self.variants.repeat_rows]
        start = self.first(len(rows))
        return (rows[::-1] if self.newest_first else rows)[start : start + self.limit]

    def first(self, count: int) -> int:
        """Return the index of the first item of a list of `count` items.

        :raises Refusal: behind the end of the list, with the variant.
        """
        behind = self.variants.behind_the_end
        if self.start < max(count, 1) or behind == "empty":
            return self.start
        if behind == "last":
            return max(count - 1, 0) // self.limit * self.limit
        raise refuse("ModelArts.0104", f"offset={self.start}", status=int(behind))

    def total(self, name: str, count: int, shown: int) -> dict[str, int | None]:
        """Return the total of a list of `count` items under its key, in an answer that holds `shown` of them."""
        count += min(count, self.variants.repeat_rows)
        said: dict[str, int | None] = {
            "true": count, "page": shown, "capped": min(count, CAP), "zero": 0, "negative": -1, "null": None
        }  # fmt: skip
        return {} if self.variants.total == "missing" else {name: said[self.variants.total]}


def read_page(call: Call, variants: Variants, *, maximum: int = 100, default: int = 10) -> Page:
    """Return the part of a list that a request asks for.

    `offset` counts pages, or records with the variant (quirk 17).

    :param maximum: the highest `limit` that is served.
    :param default: `limit` of a request without one.
    :raises Refusal: 400 ModelArts.0104 for a `limit` outside 1..maximum, a negative `offset` or an unknown `order`
        (contract 0.1, last line).
    """
    given = integer(call, "limit")
    limit = default if given is None else given
    offset = integer(call, "offset") or 0
    if not 1 <= limit <= maximum:
        raise refuse("ModelArts.0104", f"limit={limit}")
    if offset < 0:
        raise refuse("ModelArts.0104", f"offset={offset}")
    order = choice(call, "order", ("asc", "desc"), "desc")
    limit = min(limit, variants.max_page or limit)
    start = offset if variants.offset_mode == "record" else offset * limit
    return Page(start, limit, order == "desc", variants)
