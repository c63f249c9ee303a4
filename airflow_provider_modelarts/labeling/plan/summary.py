"""A summary of a plan for people: Markdown of at most 8 KB, whatever the labels are called (B19).

Names of labels and places of samples are arbitrary text, so none of it may act as Markdown or HTML.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.labeling.policy import different

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.policy import Action, Decision, SampleFacts

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
    "not_proven": "not proven by the audit",
    "label_drifted": "a label that has drifted",
    "rejected_sample": "rejected by a person",
    "rejected_label": "a label that a person rejected",
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
_EXAMPLES_PER_LABEL = 3
_LABELS_WITH_EXAMPLES = 200
_EXAMPLE_LABELS = 3
_NOTES = 4
_ASKED_BYTES = 1400
_LABELS_TRACKED = 10_000
_NAME_BYTES = 120
_PLACE_BYTES = 240
_ORDER = {action: number for number, action in enumerate(_TITLES)}
_NONE = [0, 0, 0]
_EXAMPLE_TITLES: dict[Action, str] = {
    "review": "Examples that are for review:",
    "leave": "Examples that are left:",
}

# What an approver wants to know first; the others of a policy come after these.
ASKED: dict[str, str] = {
    "min_score": "lowest score",
    "min_score_by_label": "lowest score of single labels",
    "labels": "only these labels",
    "hard_examples": "hard examples",
    "target_precision": "share that must be proven right, for each label",
    "confidence": "how sure the proof must be",
    "audit_share": "share drawn for people instead",
    "audit_size": "samples of each first label drawn for people instead",
    "max_samples": "at most so many samples",
    "min_samples": "at least so many samples",
    "max_share_per_label": "highest share of one label",
    "max_drift": "at most so much drift",
    "baseline_plan_uri": "since the plan",
    "on_drift": "if something has drifted",
    "seed": "the draw depends on",
    "evidence_uri": "the evidence is at",
    "label_name": "only proposals with the label",
    "first_label": "only proposals whose first label is",
    "label_type": "only proposals with labels of the type",
    "low_score": "only proposals that score at least",
    "high_score": "only proposals that score at most",
    "search_conditions": "only proposals that meet the conditions",
}

# The last three with a backslash keep addresses from becoming links.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{char: f"\\{char}" for char in "\\`*_{}[]()#!|~$:@."}}
_UNPRINTABLE = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufffe\uffff]+"
)


class PlanSummary:
    """Counts and examples of a plan, as Markdown; memory does not grow with the number of samples."""

    def __init__(self) -> None:
        self._actions: Counter[Action] = Counter()
        self._rules: Counter[Decision] = Counter()
        self._labels: dict[str, list[int]] = {}
        self._untracked = 0
        self._scores = [0] * _BINS
        self._unscored = 0
        self._odd_scores = 0
        self._hard = 0
        self._reasons: Counter[int] = Counter()
        self._examples: dict[tuple[Action, str], list[str]] = {}
        self._lowest: dict[str, list[tuple[float, int, str]]] = {}
        """For a label, the samples to be confirmed that have the lowest scores: score, number, line to show."""

    def add(self, row: SampleRow, facts: SampleFacts, decision: Decision) -> None:
        """Count a proposal and the decision about it."""
        action, rule = decision
        self._actions[action] += 1
        self._rules[decision] += 1
        names = different(facts.names)
        for name in names:
            self._count_label(name, action)
        score = facts.lowest_score
        if score is None:
            self._unscored += 1
            self._odd_scores += facts.has_odd_score
        else:
            self._scores[min(int(score * _BINS), _BINS - 1)] += 1
        if facts.is_hard:
            self._hard += 1
            self._reasons.update(reason if reason in REASONS else -1 for reason in row.sample.hard_reasons)
        if action == "confirm":
            self._keep_lowest(row, names, score, rule)
        elif self._rules[decision] <= _EXAMPLES_PER_RULE:
            self._examples.setdefault((action, rule), []).append(_example(row, names, score, rule))

    def markdown(
        self,
        title: str = "Proposals and decisions",
        notes: Iterable[str] = (),
        asked: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the summary as Markdown of at most :data:`MAX_BYTES` bytes; it fits an approval task's body.

        :param title: the heading, plain text
        :param notes: lines of plain text below the counts, for example why a guard does not hold
        :param asked: what was decided by, as ``Plan.asked`` gives it; None: it is not shown. Without a rule
            in it the summary says that there is no policy
        """
        head = [
            f"### {escape(title)}",
            "",
            *self._counts(),
            *_asked_lines(asked),
            *(f"{escape(note, 600)}\n" for note in list(notes)[:_NOTES]),
        ]
        facts = [*self._histogram(), *self._hard_examples()]
        left = MAX_BYTES - _size(head) - _size(facts) - 1
        # Examples get what the table leaves, and at least half.
        table = self._label_table(left)
        examples = self._shown_examples(max(left // 2, left - _size(table)))
        if _size(table) + _size(examples) > left:
            table = self._label_table(left - _size(examples))
        return "\n".join([*head, *table, *facts, *examples]) + "\n"

    def _keep_lowest(self, row: SampleRow, names: Sequence[str], score: float | None, rule: str) -> None:
        # A score that is not known is the least sure of all.
        order, number = -1.0 if score is None else score, self._actions["confirm"]
        for name in names:
            kept = self._lowest.get(name)
            if kept is None:
                if len(self._lowest) >= _LABELS_WITH_EXAMPLES:
                    continue
                kept = self._lowest[name] = []
            if len(kept) < _EXAMPLES_PER_LABEL or order < kept[-1][0]:
                insort(kept, (order, number, _example(row, names, score, rule)))
                del kept[_EXAMPLES_PER_LABEL:]

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
        if self._odd_scores:
            lines.append(f"- **{self._odd_scores}** with a score that is no number from 0 to 1; it counts as unknown")
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

    def _shown_examples(self, budget: int) -> list[str]:
        """Return examples: of review and leave some for each rule; of confirm the lowest scores of each label."""
        others: list[str] = []
        for action, title in _EXAMPLE_TITLES.items():
            by_rule = [lines for (of, _), lines in self._examples.items() if of == action]
            # One example of each rule before the second of any.
            mixed = [lines[number] for number in range(_EXAMPLES_PER_RULE) for lines in by_rule if number < len(lines)]
            others += [title, "", *mixed[:_EXAMPLES], ""] if mixed else []
        confirmed = self._lowest_scores(budget - _size(others))
        return [*confirmed, *(others if _size(others) + _size(confirmed) <= budget else [])]

    def _lowest_scores(self, budget: int) -> list[str]:
        head = ["Examples that would be confirmed, of each label those of the lowest scores:", ""]
        budget -= _size([*head, ""])
        shown: dict[int, str] = {}
        for name in sorted(self._lowest, key=lambda name: (-self._labels.get(name, _NONE)[_ORDER["confirm"]], name)):
            for _, number, line in self._lowest[name]:
                if number not in shown:
                    budget -= _size([line])
                    if budget < 0:
                        break
                    shown[number] = line
        return [*head, *shown.values(), ""] if shown else []


def _asked_lines(asked: Mapping[str, Any] | None) -> list[str]:
    """Return a line for each rule and filter, in at most :data:`_ASKED_BYTES` bytes."""
    if asked is None:
        return []
    filters = {"label_name", "first_label", "label_type", "low_score", "high_score", "search_conditions"}
    lines = ["Decided by this policy:" if asked.keys() - filters else "Decided without a policy:", ""]
    if not asked.keys() - filters:
        lines.append("- every proposal that has labels is confirmed, hard examples too")
    for name in [*(name for name in ASKED if name in asked), *(name for name in asked if name not in ASKED)]:
        line = f"- {ASKED.get(name, 'also')} ({escape(name)}): {escape(in_words(asked[name]))}"
        if _size([*lines, line]) > _ASKED_BYTES:
            lines.append("- ... and more, see the plan")
            break
        lines.append(line)
    return [*lines, ""]


def in_words(value: Any) -> str:
    """Return the value of a rule or a filter as people read it; arbitrary text, to be escaped."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def escape(text: str, limit: int = _NAME_BYTES) -> str:
    """Return arbitrary text as Markdown that shows it and does nothing else, also inside a table.

    :param text: the text; white space and what cannot be printed becomes a space
    :param limit: bytes of the result at most; what is cut off is marked
    """
    taken: list[str] = []
    used = 0
    for char in flat(text):
        piece = _ESCAPES.get(char, char)
        used += len(piece.encode())
        if used > limit - 3:
            return "".join(taken) + "..."
        taken.append(piece)
    return "".join(taken)


def code(text: str, limit: int = _PLACE_BYTES) -> str:
    """Return arbitrary text as inline code, cut at its start if it is long: the end of a path says more.

    :param text: the text; backticks become ``%60``
    :param limit: bytes of the result at most
    """
    line = flat(text).replace("`", "%60")
    room = limit - 2 - len("...")
    data = line.encode()
    if len(data) > room:
        line = "..." + data[-room:].decode(errors="ignore")
    return f"`{line}`"


def flat(text: str) -> str:
    """Return arbitrary text as one line of characters that XML may hold; "(empty)" if none is left."""
    return _UNPRINTABLE.sub(" ", text).strip() or "(empty)"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _example(row: SampleRow, names: Sequence[str], score: float | None, rule: str) -> str:
    """Return a line that shows a sample."""
    place = without_queries(row.origin or "") or row.sample_id
    labels = ", ".join(escape(name, 40) for name in names[:_EXAMPLE_LABELS]) or "no label"
    return f"- {code(place)}: {labels}{'' if score is None else f' {score:.3f}'}; {RULES.get(rule, escape(rule))}"
