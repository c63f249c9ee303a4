"""The books of a confirmation: what became of each sample, counted so that the sums can be checked (B16).

They hold one small number per sample (B18): its category and the pass in which it was last listed.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.policy import label_names
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import Sample

_BITS = 3


class Category(IntEnum):
    """Where a sample stands; all but PLANNED are final unless the sample is listed again."""

    CONFIRMED = 0
    REVIEW = 1
    LEFT = 2
    FAILED = 3
    GONE = 4
    PLANNED = 5


_CATEGORIES = tuple(Category)
_MASK = (1 << _BITS) - 1
# By category, for a set would have to hash it, which enumerations do slowly.
_STAYS_LISTED = tuple(one in (Category.REVIEW, Category.LEFT, Category.FAILED, Category.PLANNED) for one in _CATEGORIES)


def short_key(sample_id: str) -> str | bytes:
    """Return a shorter key for the usual id of 32 hex digits; at a million samples it saves 30 MB."""
    try:
        key = bytes.fromhex(sample_id)
    except ValueError:
        return sample_id
    # Spaces and capitals are read as well, and would be lost.
    return key if key.hex() == sample_id else sample_id


class SampleTable:
    """What became of each sample of a run."""

    def __init__(self) -> None:
        self._states: dict[str | bytes, int] = {}
        self._counts = [0] * len(Category)
        self._pass = 0
        self.by_label: dict[Category, Counter[str]] = {Category.CONFIRMED: Counter(), Category.PLANNED: Counter()}
        """For each label name, how many samples were ever planned, and are confirmed, with it."""
        self.changed = 0
        self.remaining = 0
        """Samples listed in this pass that the service must still count."""
        self.repeats: Counter[str] = Counter()
        """For each sample that was listed more than once in this pass, how often more."""
        self.news = 0
        """Samples whose category changed in this pass: whether the pass got anywhere."""
        self._failures: dict[str, tuple[str, int, list[str]]] = {}

    def begin_pass(self) -> None:
        """Begin to count anew what is listed; what became of the samples stays known."""
        self._pass += 1
        self.remaining = self.news = 0
        self.repeats.clear()

    def __len__(self) -> int:
        return len(self._states)

    def category(self, sample_id: str) -> Category | None:
        """Return where a sample stands; None if it was never seen."""
        return self._at(short_key(sample_id))

    def _at(self, key: str | bytes) -> Category | None:
        state = self._states.get(key)
        return None if state is None else _CATEGORIES[state & _MASK]

    def is_listed(self, sample_id: str) -> bool:
        """Whether a sample was listed in this pass."""
        state = self._states.get(short_key(sample_id))
        return state is not None and state >> _BITS == self._pass

    @property
    def repeated(self) -> int:
        """Rows of the list in this pass that showed a sample once more which the service must still count."""
        stays = (number for one, number in self.repeats.items() if _STAYS_LISTED[self.category(one) or 0])
        return sum(stays)

    def count(self, category: Category) -> int:
        """Return how many samples stand there."""
        return self._counts[category]

    @property
    def counts(self) -> dict[str, int]:
        """How many samples stand where, by name."""
        return {category.name.lower(): self._counts[category] for category in Category}

    def mark_listed(self, sample: Sample) -> None:
        """Note that a sample known before is listed again; where it stands does not change."""
        key = short_key(sample.sample_id)
        category = self._at(key)
        if category is not None:
            self._put(key, category)

    def count_stale(self) -> None:
        """Note that a sample is listed that a single read shows to be no proposal any more: the list is behind."""
        self.remaining += 1

    def settle(self, sample: Sample, category: Category, *, changed: bool = False) -> None:
        """Note where a sample stands now.

        :param sample: with the labels that were decided upon
        :param category: its new place
        :param changed: it is left because it is not as it was planned
        """
        before = self._put(short_key(sample.sample_id), category)
        if before is category:
            return
        self.news += 1
        self.changed += changed
        if category is Category.CONFIRMED or category is Category.PLANNED:
            counter = self.by_label[category]
            for name in label_names(sample):
                counter[name] += 1
        if before is Category.CONFIRMED:
            self.by_label[before].subtract(label_names(sample))

    def fail(self, sample: Sample, code: str, message: str) -> None:
        """Note that a sample could not be confirmed, and why."""
        self.settle(sample, Category.FAILED)
        text, number, shown = self._failures.get(code, (message, 0, []))
        # The first by id: which of several threads fails first is chance.
        insort(shown, sample.sample_id)
        del shown[SAMPLES_SHOWN:]
        self._failures[code] = (message if shown[0] == sample.sample_id else text, number + 1, shown)

    @property
    def failures(self) -> dict[str, Failure]:
        """The failed samples by code."""
        return {
            code: Failure(code, message, number, tuple(shown))
            for code, (message, number, shown) in sorted(self._failures.items())
        }

    def _put(self, key: str | bytes, category: Category) -> Category | None:
        """Put a sample where it stands now; return where it stood."""
        old, was = self._states.get(key), None
        if old is not None:
            was = _CATEGORIES[old & _MASK]
            self._counts[was] -= 1
            if old >> _BITS == self._pass and _STAYS_LISTED[was]:
                self.remaining -= 1
        self._counts[category] += 1
        self.remaining += _STAYS_LISTED[category]
        self._states[key] = category | self._pass << _BITS
        return was
