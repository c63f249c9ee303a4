"""Plans as a page shows them: by label and score, fifty at a time, without reading the plan more than once.

A plan of 100,000 proposals takes a second to read. It is read once for each digest, into a few arrays and a copy on
this machine's disk, from which the lines of one page are taken. So what is shown is what was checked against the
digest, also if the plan is replaced while somebody looks at it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.labeling.plan.plan_file import ACTIONS, PlanRefused, read_plan
from airflow_provider_modelarts.labeling.policy import different, facts_of_row
from airflow_provider_modelarts.labeling.storage.path import StoragePath, display_uri, forget_listings
from airflow_provider_modelarts.labeling.storage.sealed_file import LINE_BYTES, decode_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TAIL = 1 << 16
_KEPT = 4
"""Indexes that a process keeps: one of 100,000 proposals takes some 5 MB of memory, and the plan's size on disk."""
UNKNOWN_SCORE = -1.0
"""Sorts before all scores: a proposal whose score nobody knows is the least sure."""


@dataclass(frozen=True)
class Choice:
    """Which proposals a page shows.

    :param label: only those with this label; None: all
    :param action: only those to be confirmed, reviewed or left; None: all
    :param low: only those whose lowest score is at least this; None: also those without a score
    :param high: only those whose lowest score is at most this; None: no bound
    """

    label: str | None = None
    action: str | None = None
    low: float | None = None
    high: float | None = None


class LabelCounts(NamedTuple):
    """How many proposals carry a label: to be confirmed, to be reviewed, to be left."""

    name: str
    confirm: int
    review: int
    leave: int


class ShownSample(NamedTuple):
    """A proposal as the page shows it.

    :param position: its number in the plan, from 0
    :param sample: as it was planned
    :param action: what would happen to it
    :param rule: the rule that decided
    """

    position: int
    sample: Sample
    action: str
    rule: str


class ReviewIndex:
    """One plan, ready to be shown.

    :param path: where the plan is
    :raises PlanRefused: if it is not there, not complete or altered
    """

    def __init__(self, path: StoragePath) -> None:
        self.uri = display_uri(path)
        with tempfile.TemporaryDirectory(prefix="modelarts-review-") as folder:
            copy = Path(folder) / "plan.jsonl"
            try:
                with path.open("rb") as source, copy.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            except FileNotFoundError:
                raise PlanRefused(f"There is no plan at {self.uri}. Run the task that makes it again.") from None
            plan = read_plan(copy)
            self._file = copy.open("rb", buffering=0)  # stays readable when the folder is gone
            self.digest, self.header, self.counts = plan.digest, plan.header, plan.counts
            self._offsets = array("Q", _offsets(copy))
            self._actions = bytearray()
            self._scores = array("d")
            labels: dict[str, array[int]] = {}
            without = array("I")
            for position, (row, decision) in enumerate(plan.samples()):
                facts = facts_of_row(row)
                score = facts.lowest_score
                self._actions.append(ACTIONS.index(decision.action))
                self._scores.append(UNKNOWN_SCORE if score is None else score)
                for name in different(facts.names):
                    labels.setdefault(name, array("I")).append(position)
                if not facts.names:
                    without.append(position)
        by_score = self._scores.__getitem__
        self._by_label = {name: sorted(labels[name], key=by_score) for name in sorted(labels)}
        self._without = sorted(without, key=by_score)
        self.labels = [LabelCounts(name, *self._count(found)) for name, found in self._by_label.items()]

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()

    def __len__(self) -> int:
        """Return how many proposals the plan holds."""
        return len(self._actions)

    def find(self, choice: Choice) -> Sequence[int]:
        """Return the positions of the chosen proposals, by label, and the least sure first; each once."""
        if choice.label is None:
            # A proposal with several labels stands at the first of them.
            found: Iterable[int] = dict.fromkeys(
                position for positions in (*self._by_label.values(), self._without) for position in positions
            )
        else:
            found = self._by_label.get(choice.label, ())
        if choice.action is not None:
            wanted = ACTIONS.index(choice.action)
            found = [position for position in found if self._actions[position] == wanted]
        if choice.low is not None or choice.high is not None:
            low = UNKNOWN_SCORE if choice.low is None else choice.low
            high = 1.0 if choice.high is None else choice.high
            found = [position for position in found if low <= self._scores[position] <= high]
        return list(found)

    def read(self, position: int) -> ShownSample:
        """Return a proposal by its number in the plan.

        :raises IndexError: if there is no such number
        """
        if not 0 <= position < len(self):
            raise IndexError(position)
        begin, end = self._offsets[position], self._offsets[position + 1]
        raw = parse_json(os.pread(self._file.fileno(), end - begin, begin))
        return ShownSample(position, Sample(raw), raw["decision"], raw["rule"])

    def _count(self, positions: Iterable[int]) -> list[int]:
        counts = [0] * len(ACTIONS)
        for position in positions:
            counts[self._actions[position]] += 1
        return counts


def _offsets(path: Path) -> Iterable[int]:
    """Yield where the line of each proposal begins, and where the last of them ends."""
    with path.open("rb") as file:
        offset = len(next(file))  # the header
        for line in file:
            yield offset
            offset += len(line)


def digest_of(path: StoragePath) -> str | None:
    """Return the digest that the plan at a path bears now, from its last line alone; None if it has none.

    It tells whether a plan was replaced, and is no proof that the plan is whole.
    """
    forget_listings(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            length = _TAIL
            while True:
                file.seek(max(0, size - length))
                _, newline, last = file.read(length).rstrip(b"\n").rpartition(b"\n")
                if newline or length >= min(size, LINE_BYTES):
                    break
                length *= 8
    except FileNotFoundError:
        return None
    digest = (decode_object(last) or {}).get("sha256")
    return digest if isinstance(digest, str) else None


class ReviewIndexes:
    """The indexes of a process: each plan is read once, and only the last few are kept. Safe across threads."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()  # also held while a plan is read: others would read the same
        self._indexes: OrderedDict[tuple[str, str], ReviewIndex] = OrderedDict()

    def get(self, path: StoragePath, digest: str) -> ReviewIndex:
        """Return the index of the plan at a path that has a digest.

        :raises PlanRefused: if another plan lies there by now, or if it is damaged
        """
        key = str(path), digest
        with self._lock:
            index = self._indexes.get(key)
            if index is None:
                index = ReviewIndex(path)
                if index.digest != digest:
                    raise PlanRefused(
                        f"The plan {index.uri} was replaced: it has the digest {index.digest[:12]}, and the task made "
                        f"the one with {digest[:12]}. Clear the task that plans."
                    )
                self._indexes[key] = index
                while len(self._indexes) > self._kept:
                    self._indexes.popitem(last=False)
            self._indexes.move_to_end(key)
            return index
