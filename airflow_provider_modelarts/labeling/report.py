"""A summary for people of what a policy decided: Markdown of at most 8 KB, whatever the labels are called (B19).

Names of labels and places of samples are arbitrary text of others, so none of it may act as Markdown or HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client.texts import without_queries
from airflow_provider_modelarts.labeling.policy import label_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.labeling.policy import Action, Decision

MAX_BYTES = 8192

# Contract 7.5.
REASONS: dict[int, str] = {
    0: "nothing recognized",
    1: "low confidence",
    2: "clustering disagrees",
    3: "far from the training data of its class",
    4: "similar neighbors were predicted differently",
    5: "unusual resolution",
    6: "unusual aspect ratio",
    7: "unusual brightness",
    8: "unusual saturation",
    9: "unusual richness of color",
    10: "unusual sharpness",
    11: "unusual number of boxes",
    12: "unusual spread of box areas",
    13: "unusual aspect ratio of a box",
    14: "unusual share of the area in boxes",
    15: "boxes at the edge",
    16: "unusual brightness in boxes",
    17: "unusual sharpness in boxes",
    18: "boxes overlap",
    19: "changes after blurring",
    20: "changes after a left-right flip",
    21: "changes after cropping",
    22: "changes after an up-down flip",
    23: "changes after scaling",
    24: "changes after a shift",
    25: "changes after shearing",
    26: "changes with superpixels",
    27: "changes after sharpening",
    28: "changes after adding brightness",
    29: "changes after inverting",
    30: "predicted to be abnormal",
}

RULES: dict[str, str] = {
    "passed": "every rule passed",
    "no_policy": "no policy given",
    "no_labels": "no labels",
    "label_not_allowed": "a label that is not allowed",
    "score_unknown": "score unknown",
    "score_too_low": "score too low",
    "hard_example": "hard example",
    "audit_sample": "drawn for the audit",
    "no_sample_id": "came without an id",
    "odd_sample": "not as the API documents it",
}

_TITLES: dict[Action, str] = {
    "confirm": "would be confirmed",
    "review": "left to people (review)",
    "leave": "left alone",
}
_BINS = 10
_BAR = 30
_SHOWN_RULES = 8
_SHOWN_REASONS = 8
_EXAMPLES_PER_RULE = 2
_EXAMPLES = 4
_EXAMPLE_LABELS = 3
_LABELS_TRACKED = 10_000
_NAME_BYTES = 120
_PLACE_BYTES = 240
_ORDER = {action: number for number, action in enumerate(_TITLES)}

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# The last three keep addresses from becoming links.
_ESCAPED = frozenset("\\`*_{}[]()#!|~$:@.")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+")


class Example(NamedTuple):
    """A sample to show: where it lies or its id, its label names and its score."""

    place: str
    names: tuple[str, ...]
    score: float | None


class Summary:
    """Collects what the summary of a plan says; memory does not grow with the number of samples."""

    def __init__(self) -> None:
        self._actions: Counter[Action] = Counter()
        self._rules: Counter[tuple[Action, str]] = Counter()
        self._labels: dict[str, list[int]] = {}
        self._untracked = 0
        self._scores = [0] * _BINS
        self._unscored = 0
        self._hard = 0
        self._reasons: Counter[int] = Counter()
        self._examples: dict[tuple[Action, str], list[Example]] = {}

    def add(self, sample: Sample, decision: Decision) -> None:
        """Count a proposal and the decision about it."""
        action, rule = decision
        self._actions[action] += 1
        self._rules[action, rule] += 1
        names = label_names(sample)
        for name in names:
            self._count_label(name, action)
        score = sample_score(sample)
        if score is None:
            self._unscored += 1
        else:
            self._scores[max(0, min(int(score * _BINS), _BINS - 1))] += 1
        if sample.is_hard:
            self._hard += 1
            self._reasons.update(reason if reason in REASONS else -1 for reason in sample.hard_reasons)
        if self._rules[action, rule] <= _EXAMPLES_PER_RULE:
            place = without_queries(sample.origin or "") or sample.sample_id
            self._examples.setdefault((action, rule), []).append(Example(place, tuple(names[:_EXAMPLE_LABELS]), score))

    def markdown(self, title: str = "Proposals and decisions", notes: Iterable[str] = ()) -> str:
        """Return the summary as Markdown of at most :data:`MAX_BYTES` bytes; it fits an approval task's body.

        :param title: the heading, plain text
        :param notes: lines of plain text below the counts, for example why a guard does not hold
        """
        head = [f"### {escape(title)}", "", *self._counts(), *(_note(note) for note in list(notes)[:3])]
        tail = [*self._histogram(), *self._hard_examples(), *self._shown_examples()]
        used = _size(head) + _size(tail)
        return "\n".join([*head, *self._label_table(MAX_BYTES - used - 1), *tail]) + "\n"

    def _count_label(self, name: str, action: Action) -> None:
        counts = self._labels.get(name)
        if counts is None:
            if len(self._labels) >= _LABELS_TRACKED:
                self._untracked += 1
                return
            counts = self._labels[name] = [0, 0, 0]
        counts[_ORDER[action]] += 1

    def _counts(self) -> list[str]:
        lines = [f"**{sum(self._actions.values())} proposals**", ""]
        for action, title in _TITLES.items():
            rules = [(count, rule) for (of, rule), count in self._rules.items() if of == action]
            rules = sorted(rules, reverse=True)[:_SHOWN_RULES]
            why = ", ".join(f"{RULES.get(rule, escape(rule))} ({count})" for count, rule in rules)
            lines.append(f"- **{self._actions[action]}** {title}{f': {why}' if why else ''}")
        return [*lines, ""]

    def _label_table(self, budget: int) -> list[str]:
        rows = sorted(self._labels.items(), key=lambda item: (-sum(item[1]), item[0]))
        if not rows:
            return []
        lines = ["| Label | Confirm | Review | Leave |", "| --- | ---: | ---: | ---: |"]
        # Room for the line that says how many rows are missing.
        budget -= _size(lines) + 60
        shown = 0
        for name, counts in rows:
            row = f"| {escape(name)} | {' | '.join(map(str, counts))} |"
            budget -= _size([row])
            if budget < 0:
                break
            lines.append(row)
            shown += 1
        missing = len(rows) - shown
        if missing or self._untracked:
            more = "more than " if self._untracked else ""
            lines.append(f"| ... {more}{missing} other labels | | | |")
        return [*lines, ""]

    def _histogram(self) -> list[str]:
        if not any(self._scores):
            return []
        highest = max(self._scores)
        lines = ["Lowest score of a sample:", "", "```text"]
        for number in reversed(range(_BINS)):
            count = self._scores[number]
            # Something must be seen of a bar that stands for anything.
            bar = "#" * max(round(_BAR * count / highest), bool(count))
            lines.append(f"{number / _BINS:.1f} - {(number + 1) / _BINS:.1f} {bar:<{_BAR}} {count}")
        if self._unscored:
            lines.append(f"unknown   {'':<{_BAR}} {self._unscored}")
        return [*lines, "```", ""]

    def _hard_examples(self) -> list[str]:
        if not self._hard:
            return []
        lines = [f"{self._hard} hard examples; most frequent reasons:", ""]
        for reason, count in sorted(self._reasons.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_REASONS]:
            lines.append(f"- {count} x {REASONS.get(reason, 'a reason unknown to this version')}")
        return [*(lines if self._reasons else [f"{self._hard} hard examples, without reasons."]), ""]

    def _shown_examples(self) -> list[str]:
        lines: list[str] = []
        for action in _TITLES:
            of_action = [(rule, shown) for (of, rule), shown in self._examples.items() if of == action]
            found = _mixed(of_action)[:_EXAMPLES]
            if found:
                lines += [f"Examples that {'would be' if action == 'confirm' else 'are'} {_SHORT[action]}:", ""]
                lines += [_example(rule, example) for rule, example in found]
                lines.append("")
        return lines


_SHORT: dict[Action, str] = {"confirm": "confirmed", "review": "for review", "leave": "left"}


def sample_score(sample: Sample) -> float | None:
    """Return a sample's score: its lowest label score, its own standing in for those that are unknown; else None."""
    scores = sample.label_scores
    known = [score for score in scores if score is not None]
    if len(known) < len(scores) or not scores:
        own = sample.score
        known += [] if own is None else [own]
    return min(known, default=None)


def escape(text: str, limit: int = _NAME_BYTES) -> str:
    """Return arbitrary text as Markdown that shows it and does nothing else, also inside a table.

    :param text: the text; white space and what cannot be printed becomes a space
    :param limit: bytes of the result at most; what is cut off is marked
    """
    return _cut((_escaped(char) for char in _flat(text)), limit)


def code(text: str, limit: int = _PLACE_BYTES) -> str:
    """Return arbitrary text as inline code, cut at its start if it is long: the end of a path says more.

    :param text: the text; backticks become ``%60``
    :param limit: bytes of the result at most
    """
    flat = _flat(text).replace("`", "%60")
    room = limit - 2 - len("...")
    data = flat.encode()
    if len(data) > room:
        flat = "..." + data[-room:].decode(errors="ignore")
    return f"`{flat}`"


def _flat(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip() or "(empty)"


def _escaped(char: str) -> str:
    return _ENTITIES.get(char) or (f"\\{char}" if char in _ESCAPED else char)


def _cut(pieces: Iterable[str], limit: int) -> str:
    taken: list[str] = []
    used = 0
    for piece in pieces:
        used += len(piece.encode())
        if used > limit - 3:
            return "".join(taken) + "..."
        taken.append(piece)
    return "".join(taken)


def _note(note: str) -> str:
    return f"{escape(note, 600)}\n"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _mixed(groups: Sequence[tuple[str, Sequence[Example]]]) -> list[tuple[str, Example]]:
    """Return one example of each rule before the second of any."""
    return [
        (rule, shown[number]) for number in range(_EXAMPLES_PER_RULE) for rule, shown in groups if number < len(shown)
    ]


def _example(rule: str, example: Example) -> str:
    names = ", ".join(escape(name, 40) for name in example.names) or "no label"
    score = "" if example.score is None else f" {example.score:.3f}"
    return f"- {code(example.place)}: {names}{score}; {RULES.get(rule, escape(rule))}"
