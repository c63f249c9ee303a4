"""How many of the answers said "right", by score: counted, and as a picture. Pure, and of the standard library alone.

The picture is one SVG of a bounded number of charts. It loads nothing and runs nothing, follows light and dark, and may
stand in a file of its own or inside an HTML page. Names of labels are arbitrary text: they are cut and escaped.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape as escape_html
from itertools import groupby
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import east_asian_width

from airflow_provider_modelarts.labeling.plan.summary import flat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_modelarts.labeling.evidence.evidence_file import AnsweredSample, Evidence, LabelEvidence

BINS = 10
"""Ranges of scores, all of the same width."""
CHARTS = 12
"""Labels with a chart of their own at most."""
LEVEL = 0.95
"""Confidence of the interval of one range; the proof of a label does not rest on it."""


class ScoreRange(NamedTuple):
    """The answers about samples that score within a range.

    :param place: 0 is the range from score 0 upwards
    :param answered: answers
    :param right: those of them that say "right"
    """

    place: int
    answered: int
    right: int

    @property
    def low(self) -> float:
        """The lowest score of the range."""
        return self.place / BINS

    @property
    def high(self) -> float:
        """The score at which the next range begins."""
        return (self.place + 1) / BINS

    @property
    def share(self) -> float:
        """The share of the answers that say "right"."""
        return self.right / self.answered

    def interval(self) -> tuple[float, float]:
        """Return between what the share of all samples of the range is likely to lie (Wilson's interval)."""
        z = NormalDist().inv_cdf((1 + LEVEL) / 2)
        spread = z * z / self.answered
        middle = (self.share + spread / 2) / (1 + spread)
        half = z * sqrt((self.share * (1 - self.share) + spread / 4) / self.answered) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


def score_ranges(answers: Iterable[AnsweredSample]) -> list[ScoreRange]:
    """Return the ranges of scores in which there are answers, the lowest first."""
    placed = sorted((min(int(one.score * BINS), BINS - 1), one.right) for one in answers)
    found = []
    for place, group in groupby(placed, key=lambda one: one[0]):
        said = [right for _, right in group]
        found.append(ScoreRange(place, len(said), sum(said)))
    return found


# --- the picture

_COLUMNS = 3
_WIDTH, _HEIGHT = 292, 328
"""Of the cell of a chart, in pixels."""
_LEFT, _TOP, _SIDE = 58, 56, 220
"""Where the square of a chart lies in its cell."""
_HEAD = 96
_LEAST_WIDTH = 500
_LEGEND = (
    f"Dot: share of the answers that said right. Line through it: its interval at {LEVEL * 100:g} %.",
    "Dashes: right as often as the score says. Row of dots: the target.",
    "Shaded: the scores for which the target is proven.",
)
_NAME_COLUMNS = 30
_TITLE_CHARACTERS = 300

_STYLE = """
.reliability { font: 12px system-ui, sans-serif; max-width: 100%; height: auto; }
.reliability .paper { fill: #ffffff; }
.reliability text { fill: #1f2328; }
.reliability .small { font-size: 10px; fill: #59636e; }
.reliability .count { font-size: 9px; }
.reliability .name { font-weight: 600; }
.reliability .frame { fill: none; stroke: #8c959f; }
.reliability .grid { stroke: #d1d9e0; }
.reliability .diagonal { stroke: #59636e; stroke-dasharray: 5 4; }
.reliability .target { stroke: #59636e; stroke-dasharray: 1.5 3; }
.reliability .proven { fill: #1a7f37; fill-opacity: .13; }
.reliability .threshold { stroke: #1a7f37; stroke-width: 1.5; }
.reliability .interval { stroke: #0969da; stroke-width: 1.5; }
.reliability .share { fill: #0969da; }
@media (prefers-color-scheme: dark) {
.reliability .paper { fill: #0d1117; }
.reliability text { fill: #e6edf3; }
.reliability .small { fill: #9198a1; }
.reliability .frame { stroke: #656c76; }
.reliability .grid { stroke: #2f353d; }
.reliability .diagonal, .reliability .target { stroke: #9198a1; }
.reliability .proven { fill: #3fb950; fill-opacity: .2; }
.reliability .threshold { stroke: #3fb950; }
.reliability .interval { stroke: #58a6ff; }
.reliability .share { fill: #58a6ff; }
}
"""


def reliability_svg(evidence: Evidence) -> str:
    """Return a picture: a chart for each label, of at most :data:`CHARTS` labels, those with the most proposals.

    A chart shows for each range of scores the share of the answers that say "right", with its interval and the number
    of answers; the diagonal; the target; and from which score upwards the target is proven. A range without an answer
    is empty.
    """
    labels = evidence.most_proposals_first
    shown = labels[:CHARTS]
    columns = min(_COLUMNS, max(1, len(shown)))
    width = max(columns * _WIDTH, _LEAST_WIDTH)
    height = _HEAD + -(-len(shown) // columns) * _HEIGHT
    answers: defaultdict[str, list[AnsweredSample]] = defaultdict(list)
    for answer in evidence.answers:
        answers[answer.label].append(answer)
    size = f'width="{width}" height="{height}"'
    about = f'class="reliability" role="img" {size} viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {about}>',
        "<title>Right among the answers, by score</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" {size}/>',
        *_head(len(labels), len(evidence.answers)),
    ]
    for number, one in enumerate(shown):
        row, column = divmod(number, columns)
        place = column * _WIDTH, _HEAD + row * _HEIGHT
        lines += _chart(one, answers[one.label], evidence.header.target_precision, *place)
    return "\n".join([*lines, "</svg>"])


def _head(labels: int, answers: int) -> Iterator[str]:
    lines = [*_LEGEND]
    if not labels:
        lines.append("The plan has no proposals of which an audit could be drawn.")
    elif not answers:
        lines.append("Nobody has answered.")
    elif labels > CHARTS:
        lines.append(f"The {CHARTS} of {labels} labels that have the most proposals.")
    yield _text(10, 20, "name", "Right among the answers, by score")
    yield from (_text(10, 38 + 14 * number, "small", line) for number, line in enumerate(lines))


def _chart(one: LabelEvidence, answers: Sequence[AnsweredSample], target: float, left: int, top: int) -> Iterator[str]:
    """Yield the chart of a label."""
    threshold = one.proof.threshold
    proven = "not proven" if threshold is None else f"proven from {threshold:.4g}"
    wrong = sum(not answer.right for answer in answers)
    name = flat(one.label) if one.label else "(no label)"
    # An inner picture shows nothing beyond its edges, however wide a name is.
    yield f'<svg x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}">'
    yield f"<title>{escape_html(name[:_TITLE_CHARACTERS])}</title>"
    yield _text(_LEFT, 16, "name", _shortened(name))
    yield _text(_LEFT, 32, "small", f"{len(answers)} of {one.proposals} answered, {wrong} wrong")
    yield _text(_LEFT, 46, "small", proven)
    yield f'<g transform="translate({_LEFT} {_TOP})">'
    if threshold is not None:
        start = _x(threshold)
        yield f'<rect class="proven" x="{start:.1f}" width="{_SIDE - start:.1f}" height="{_SIDE}"/>'
        yield _line("threshold", start, 0, start, _SIDE)
    for share in (0, 0.25, 0.5, 0.75, 1):
        yield _line("grid", 0, _y(share), _SIDE, _y(share))
        yield _text(-6, _y(share) + 3, "small", f"{share:.0%}", "end")
        yield _text(_x(share), _SIDE + 29, "small", f"{share:g}", "middle")
    yield _text(-10, _SIDE + 14, "small", "answers", "end")
    yield _text(-10, _SIDE + 29, "small", "score", "end")
    yield f'<rect class="frame" width="{_SIDE}" height="{_SIDE}"/>'
    yield _line("diagonal", 0, _SIDE, _SIDE, 0)
    yield _line("target", 0, _y(target), _SIDE, _y(target))
    yield from _ranges(score_ranges(answers))
    yield "</g>"
    yield "</svg>"


def _ranges(ranges: Sequence[ScoreRange]) -> Iterator[str]:
    for one in ranges:
        middle = _x((one.low + one.high) / 2)
        low, high = one.interval()
        yield "<g>"
        yield f"<title>{one.low:g} to {one.high:g}: {one.right} of {one.answered} right</title>"
        yield _line("interval", middle, _y(low), middle, _y(high))
        yield f'<circle class="share" cx="{middle:.1f}" cy="{_y(one.share):.1f}" r="3.5"/>'
        yield _text(middle, _SIDE + 14, "count", _short_count(one.answered), "middle")
        yield "</g>"


def _x(score: float) -> float:
    return score * _SIDE


def _y(share: float) -> float:
    return (1 - share) * _SIDE


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, kind: str, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape_html(text)}</text>'


def _short_count(count: int) -> str:
    """Return a number in four characters or so: a range is 22 pixels wide."""
    return str(count) if count < 1000 else f"{count // 1000}k"


def _shortened(name: str) -> str:
    """Return a name that fits over its chart; letters of East Asia are twice as wide."""
    used = 0
    for place, char in enumerate(name):
        used += 2 if east_asian_width(char) in "WF" else 1
        if used > _NAME_COLUMNS:
            return f"{name[: place - 1]}\N{HORIZONTAL ELLIPSIS}"
    return name
