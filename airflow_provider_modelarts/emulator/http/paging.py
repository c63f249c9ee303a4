"""Reading the query: limits, offsets, order and typed values (contract 0.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_modelarts.emulator.http.errors import refuse

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call
    from airflow_provider_modelarts.emulator.variants import Variants

T = TypeVar("T")

# Types of labels (contract 6.1), and what lists may be filtered by (contract 3.1).
LABEL_TYPES = frozenset({0, 1, 3, 100, 101, 102, 103, 200, 201, 202, 600})
LABEL_TYPE_FILTERS = LABEL_TYPES | {400, 900}
# Contract 3.3, `sample_type`; there are images only.
SAMPLE_TYPES = frozenset({0, 1, 2, 4, 6, 9})
IMAGE = 0
LOCALES = ("en-us", "zh-cn")
CAP = 100
"""The highest total of a list whose total is capped (a variant)."""


@dataclass(frozen=True, slots=True)
class Window:
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
        raise refuse("0104", f"offset={self.start}", status=int(behind))

    def total(self, name: str, count: int, shown: int) -> dict[str, int | None]:
        """Return the total of a list as its answer has it.

        :param name: its key.
        :param count: how many items the list has.
        :param shown: how many of them the answer holds.
        """
        count += min(count, self.variants.repeat_rows)
        said: dict[str, int | None] = {
            "true": count, "page": shown, "capped": min(count, CAP), "zero": 0, "negative": -1, "null": None
        }  # fmt: skip
        return {} if self.variants.total == "missing" else {name: said[self.variants.total]}


def integer(call: Call, name: str, default: int | None = None) -> int | None:
    """Return an integer of the query.

    :raises Refusal: 400 ModelArts.0104 when it is no integer.
    """
    text = call.query.get(name)
    if text is None or text == "":
        return default
    try:
        return int(text)
    except ValueError:
        raise refuse("0104", f"{name}={text}") from None


def boolean(call: Call, name: str) -> bool:
    """Return a boolean of the query, false by default (contract 0, row "Booleans in queries").

    :raises Refusal: 400 ModelArts.0104 for anything but true and false.
    """
    text = call.query.get(name, "false")
    if text not in ("true", "false"):
        raise refuse("0104", f"{name}={text}")
    return text == "true"


def choice(call: Call, name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return one of several words of the query.

    :raises Refusal: 400 ModelArts.0104 for any other word.
    """
    text = call.query.get(name) or default
    if text not in allowed:
        raise refuse("0104", f"{name}={text}")
    return text


def locale(call: Call) -> None:
    """Check `locale`; the emulator speaks one language.

    :raises Refusal: 400 ModelArts.0104 for an unknown one.
    """
    choice(call, "locale", LOCALES, LOCALES[0])


def version(call: Call) -> None:
    """Check `version_id`: no dataset has versions here.

    :raises Refusal: 400 ModelArts.4353 for any (contract 7.3, "unknown object").
    """
    wanted = call.query.get("version_id")
    if wanted:
        raise refuse("4353", wanted)


def window(call: Call, variants: Variants, *, maximum: int = 100, default: int = 10) -> Window:
    """Return the part of a list that a request asks for.

    `limit` outside its range and a negative `offset` are 400 ModelArts.0104 (contract 0.1, last line); `offset`
    counts pages, or records with the variant (quirk 17).
    """
    limit = integer(call, "limit", default)
    offset = integer(call, "offset", 0)
    assert limit is not None  # noqa: S101 - a default was given
    assert offset is not None  # noqa: S101 - a default was given
    if not 1 <= limit <= maximum:
        raise refuse("0104", f"limit={limit}")
    if offset < 0:
        raise refuse("0104", f"offset={offset}")
    order = choice(call, "order", ("asc", "desc"), "desc")
    limit = min(limit, variants.max_page or limit)
    start = offset if variants.offset_mode == "record" else offset * limit
    return Window(start, limit, order == "desc", variants)
