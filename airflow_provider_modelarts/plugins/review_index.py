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
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.labeling.plan.plan_file import ACTIONS, PlanRefused, read_header, read_plan
from airflow_provider_modelarts.labeling.policy import Action, Decision, different, facts_of
from airflow_provider_modelarts.labeling.storage.path import display_uri, forget_listings
from airflow_provider_modelarts.labeling.storage.sealed_file import LINE_BYTES, decode_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

_TAIL_BYTES = 1 << 16
"""Most last lines of plans are shorter."""
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


class _PlainLabel(msgspec.Struct, gc=False):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class _PlainLine(msgspec.Struct, gc=False):
    """What the index needs of a line in which labels and scores are as documented; twice as fast as a row."""

    sample_id: str
    decision: Action
    rule: str
    labels: list[_PlainLabel]
    score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


_decode_plain = msgspec.json.Decoder(_PlainLine).decode


class ReviewIndex:
    """One plan, ready to be shown.

    :param path: where the plan is
    :param digest: the digest that it must have
    :raises PlanRefused: if it is not there, not whole, or another one
    """

    def __init__(self, path: StoragePath, digest: str) -> None:
        self._actions = bytearray()
        self._rules: list[str] = []
        self._rule_of = array("H")
        self._scores = array("d")
        self._unlabeled = array("I")
        with tempfile.TemporaryDirectory(prefix="modelarts-review-") as folder:
            copy = Path(folder) / "plan.jsonl"
            plan = _copy_plan(path, digest, copy)
            self.digest, self.header, self.counts = digest, plan.header, plan.counts
            self.is_candidate = plan.is_candidate
            self._file = copy.open("rb", buffering=0)  # stays readable when the folder is gone
            self._offsets = array("Q", _offsets(copy))
            by_label = self._read_lines(plan, copy)
        self._by_label = {name: self._by_score(by_label[name]) for name in sorted(by_label)}
        self._unlabeled = self._by_score(self._unlabeled)
        self.labels = [LabelCounts(name, *self._count(found)) for name, found in self._by_label.items()]

    def _read_lines(self, plan: Plan, copy: Path) -> dict[str, array[int]]:
        """Keep decision, rule and score of each proposal; return the positions of each label."""
        by_label: dict[str, array[int]] = {}
        rule_numbers: dict[str, int] = {}
        for position, line in enumerate(_lines(copy)):
            sample_id, decision, names, score = _read_line(line)
            planned = plan.index.find(sample_id)
            # A line was written before it was known whether its label has drifted.
            action, rule = decision if planned is None else planned[0]
            self._actions.append(ACTIONS.index(action))
            self._rule_of.append(rule_numbers.setdefault(rule, len(rule_numbers)))
            self._scores.append(UNKNOWN_SCORE if score is None else score)
            for name in names:
                positions = by_label.get(name)
                if positions is None:
                    positions = by_label[name] = array("I")
                positions.append(position)
            if not names:
                self._unlabeled.append(position)
        self._rules.extend(rule_numbers)
        return by_label

    def _by_score(self, positions: array[int]) -> array[int]:
        """Sort, into few bytes: a proposal with many boxes stands under many labels."""
        return array("I", sorted(positions, key=self._scores.__getitem__))

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
                position for positions in (*self._by_label.values(), self._unlabeled) for position in positions
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
        rule = self._rules[self._rule_of[position]]
        return ShownSample(position, Sample(raw), ACTIONS[self._actions[position]], rule)

    def _count(self, positions: Iterable[int]) -> list[int]:
        counts = [0] * len(ACTIONS)
        for position in positions:
            counts[self._actions[position]] += 1
        return counts


def _copy_plan(path: StoragePath, digest: str, copy: Path) -> Plan:
    """Copy a plan to this machine and return it, checked."""
    read_header(path)  # what is no plan is not copied
    with path.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    plan = read_plan(copy)
    if plan.digest != digest:
        raise PlanRefused(
            f"The plan {display_uri(path)} is refused: it is not the one with the digest {digest[:12]} that "
            "its task made. Clear the task that plans."
        )
    return plan


def _offsets(path: Path) -> Iterator[int]:
    """Yield where the line of each proposal begins, and where the last of them ends."""
    with path.open("rb") as file:
        offset = len(next(file))  # the header
        for line in file:
            yield offset
            offset += len(line)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of the proposals."""
    with path.open("rb") as file:
        next(file)  # the header
        previous = next(file)
        for line in file:  # the last line is the summary
            yield previous
            previous = line


def _read_line(line: bytes) -> tuple[str, Decision, list[str], float | None]:
    """Return the sample of a line, its decision, the names of its labels, each once, and its lowest score.

    What is not spelled as documented is read as the policy reads it.
    """
    try:
        plain = _decode_plain(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raw = parse_json(line)
        facts = facts_of(Sample(raw))
        decision = Decision(raw["decision"], raw["rule"])
        return facts.sample_id, decision, different(facts.names), facts.lowest_score
    own = plain.score
    scores = [own if label.score is None else label.score for label in plain.labels] or [own]
    lowest = min((score for score in scores if score is not None), default=None)
    names = different([label.name for label in plain.labels])
    return plain.sample_id, Decision(plain.decision, plain.rule), names, lowest


def digest_of(path: StoragePath) -> str | None:
    """Return the digest that the plan at a path has now, from its last line alone; None if it has none.

    It tells whether a plan was replaced, and is no proof that the plan is whole.
    """
    forget_listings(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            length = _TAIL_BYTES
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
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[str, str], ReviewIndex] = OrderedDict()
        self._readings: dict[tuple[str, str], threading.Lock] = {}
        """One for each plan that is being read: who wants the same one waits, who wants another one does not."""

    def get(self, path: StoragePath, digest: str) -> ReviewIndex:
        """Return the index of the plan at a path that has a digest.

        :raises PlanRefused: if another plan lies there by now, or if it is damaged
        """
        key = str(path), digest
        with self._lock:
            reading = self._readings.setdefault(key, threading.Lock())
        with reading:
            try:
                index = self._find(key)
                if index is None:  # an empty one is false
                    index = ReviewIndex(path, digest)
                self._keep(key, index)
            finally:
                with self._lock:
                    self._readings.pop(key, None)
        return index

    def _find(self, key: tuple[str, str]) -> ReviewIndex | None:
        with self._lock:
            return self._indexes.get(key)

    def _keep(self, key: tuple[str, str], index: ReviewIndex) -> None:
        with self._lock:
            self._indexes[key] = index
            self._indexes.move_to_end(key)
            while len(self._indexes) > self._kept:
                self._indexes.popitem(last=False)
