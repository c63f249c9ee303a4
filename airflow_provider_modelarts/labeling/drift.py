"""Compares what a machine proposes with what it proposed before, and says what has moved. Pure.

Prevents that labels of a machine that has changed, or of images that it was not made for, become final because they
pass thresholds that were chosen for other ones.

Compared are the shares of labels, the share of each label, the scores of each label, and the share of hard examples:
of samples that are proposed for the first time. Samples that were left to people are proposed every night once more and
are the doubtful ones, so of these only the share counts whose labels have changed (flips).

The measure is the population stability index, PSI = sum (p - q) ln(p / q) over the bins, half a sample added to each.
A fixed limit of 0.1 is noise in small plans, so the limit is the higher of the user's and the value that chance alone
exceeds once in a thousand plans, all that is compared taken together (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from airflow_provider_modelarts.client.wording import cut, first_of
from airflow_provider_modelarts.labeling.results import OTHER_LABELS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.labeling.policy import OnDrift
    from airflow_provider_modelarts.labeling.sample_facts import SampleFacts

BINS = 10
UNKNOWN = BINS
"""Place of samples without a score from 0 to 1 in a label's counts."""
HARD = BINS + 1
"""Place of hard examples in a label's counts; they stand in a bin as well."""
FALSE_ALARMS = 0.0005
"""Share of plans in which chance alone may alarm. Where bins hold few samples the approximation is exceeded up to two
times (tests/benchmarks/drift.py measures that), so this is half of what is promised: one plan in a thousand."""
LABELS_COUNTED = 2000
"""Label names with counts of their own, so that the last line of a plan stays readable."""
FLIPS_KEPT = 10
_NOTE_LENGTH = 110

Compared = Literal["labels", "share", "scores", "hard", "flips"]


class ProposalCounts:
    """Counts of proposals by the name of their first label, so that each sample counts once.

    What is not as the API documents it is not counted: it fails anyway.
    """

    def __init__(self, labels: Mapping[str, Sequence[int]] | None = None) -> None:
        self.labels: dict[str, list[int]] = {name: list(counts) for name, counts in (labels or {}).items()}
        """By name, empty for samples without one: samples in each tenth of the scores, without a score, and hard."""

    def add(self, facts: Iterable[SampleFacts]) -> None:
        """Count proposals; of several labels the score of the first."""
        labels = self.labels
        for one in facts:
            if one.oddity is not None:
                continue
            name = one.names[0] if one.names else ""
            counts = labels.get(name)
            if counts is None:
                counts = labels.setdefault(name if len(labels) < LABELS_COUNTED else OTHER_LABELS, [0] * (BINS + 2))
            score = one.scores[0]
            counts[BINS if score is None else int(score * BINS) if score < 1 else BINS - 1] += 1
            if one.is_hard:
                counts[HARD] += 1

    @property
    def total(self) -> int:
        """How many proposals were counted."""
        return sum(map(_total, self.labels.values()))

    @property
    def hard(self) -> int:
        """How many of them are hard examples."""
        return sum(counts[HARD] for counts in self.labels.values())

    def of(self, name: str) -> Sequence[int]:
        """Return the samples of a label by score: tenths, then those without one."""
        return self.labels.get(name, _NONE)[: BINS + 1]


_NONE = [0] * (BINS + 2)


class Shift(NamedTuple):
    """One thing that was compared.

    :param what: "labels": the shares of all labels; "share": of one label; "scores": of one label; "hard": the share
        of hard examples; "flips": the share of samples proposed before that have other labels now
    :param label: the label, of "share" and "scores"
    :param psi: how far it moved
    :param limit: above which it is no chance
    :param before: the share, or the mean score; None where there is none
    :param now: the same now
    """

    what: Compared
    label: str | None
    psi: float
    limit: float
    before: float | None
    now: float | None

    @property
    def has_moved(self) -> bool:
        """Whether this is an alarm."""
        return self.psi > self.limit

    def __str__(self) -> str:
        """Return what moved, from what to what; arbitrary text, as label names are."""
        name = "(no label)" if self.label == "" else f"'{self.label}'"
        title = {
            "labels": "the shares of all labels together",
            "share": f"the share of {name}",
            "scores": f"the scores of {name}, in the mean",
            "hard": "the share of hard examples",
            "flips": "the share of other labels for samples that were proposed before",
        }[self.what]
        show = _as_score if self.what == "scores" else _as_share
        moved = "" if self.what == "labels" else f" from {show(self.before)} to {show(self.now)}"
        return f"{title}{moved} (PSI {self.psi:.2f}, limit {self.limit:.2f})"


class Flips(NamedTuple):
    """Of samples that were proposed before: how many have other labels now. How many boxes one has does not count.

    :param samples: how many were proposed before
    :param changed: how many of them have other label names now
    :param most: the most frequent changes of the first label: before, now, how many
    """

    samples: int = 0
    changed: int = 0
    most: tuple[tuple[str, str, int], ...] = ()


NO_FLIPS = Flips()


@dataclass(frozen=True)
class Drift:
    """What was found when a plan was compared with an earlier one.

    :param action: what the policy says about an alarm
    :param baseline_uri: the earlier plan; None: there was none, so nothing can have moved
    :param baseline_digest: its digest
    :param before: samples that were proposed for the first time then
    :param now: samples that are proposed for the first time now
    :param compared: how many things were compared
    :param labels_psi: how far the shares of all labels moved together
    :param moved: what moved beyond chance, the farthest first
    :param flips: of samples that were proposed before
    """

    action: OnDrift
    baseline_uri: str | None = None
    baseline_digest: str | None = None
    before: int = 0
    now: int = 0
    compared: int = 0
    labels_psi: float = 0.0
    moved: tuple[Shift, ...] = ()
    flips: Flips = NO_FLIPS

    @cached_property
    def labels(self) -> frozenset[str] | None:
        """The labels that moved; None if something moved that is not of single labels: then all count as moved."""
        moved = {shift.what for shift in self.moved}
        named = frozenset(shift.label for shift in self.moved if shift.label is not None)
        # A label that was counted among others is not known by name.
        is_whole = OTHER_LABELS in named or not moved.isdisjoint(("hard", "flips"))
        is_unnamed = "labels" in moved and "share" not in moved
        return None if is_whole or is_unnamed else named

    @property
    def holds_back(self) -> bool:
        """Whether proposals that would be confirmed go to people."""
        return bool(self.moved) and self.action == "review"

    def concerns(self, names: Collection[str]) -> bool:
        """Whether a sample with labels of these names carries one that moved."""
        labels = self.labels
        return bool(self.moved) and (labels is None or not labels.isdisjoint(names))

    def notes(self) -> list[str]:
        """Return three lines for people at most; label names stand in them as they are."""
        if self.baseline_uri is None:
            return ["Drift: there is no earlier plan to compare with, so nothing was judged."]
        head = (
            f"Drift: {self.now} proposals of new samples were compared with {self.before} of the plan "
            f"{self.baseline_uri}, in {self.compared} respects. "
        )
        if not self.compared:
            return [f"{head}There are too few to compare.", *self._flip_notes()]
        if not self.moved:
            return [f"{head}Nothing has moved more than chance would.", *self._flip_notes()]
        found = first_of([cut(str(one), _NOTE_LENGTH) for one in self.moved], 5, separator="; ")
        return [f"{head}{_EFFECTS[self.action]}", f"Moved: {found}.", *self._flip_notes()]

    def _flip_notes(self) -> list[str]:
        samples, changed, most = self.flips
        if not samples:
            return []
        shown = ", ".join(cut(f"{before!r} to {now!r} ({count})", _NOTE_LENGTH) for before, now, count in most[:3])
        most_often = f": most often {shown}" if shown else ""
        return [f"Of {samples} samples that were proposed before, {changed} have other labels now{most_often}."]

    def to_json(self) -> dict[str, Any]:
        """Return what a plan keeps of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return what a plan has kept."""
        samples, changed, most = raw["flips"]
        return cls(
            **{
                **raw,
                "moved": tuple(Shift(*shift) for shift in raw["moved"]),
                "flips": Flips(samples, changed, tuple((before, now, count) for before, now, count in most)),
            }
        )


_EFFECTS: dict[OnDrift, str] = {
    "fail": "Something has moved, so nothing is confirmed.",
    "review": "Something has moved; samples with a label that moved go to people.",
    "warn": "Something has moved; the policy only warns.",
}


def compare(
    before: ProposalCounts,
    now: ProposalCounts,
    max_drift: float = 0.1,
    *,
    flips_before: Flips | None = None,
    flips: Flips | None = None,
) -> list[Shift]:
    """Compare the counts of two plans, of samples that each proposes for the first time.

    :param before: of the earlier plan
    :param now: of this one
    :param max_drift: the user's limit of the PSI; a higher one applies where there are few samples
    :param flips_before: of the earlier plan, against its own earlier one; None: it had none
    :param flips: of this plan; None: it has none
    :return: all that could be compared, what lies farthest above its limit first
    """
    tests = [test for test in _tests(before, now, flips_before, flips) if test.bins > 1]
    shifts = [
        Shift(
            test.what,
            test.label,
            round(psi(test.before, test.now), 4),
            round(max(max_drift, chance_limit(test.before, test.now, FALSE_ALARMS / len(tests))), 4),
            test.was,
            test.is_now,
        )
        for test in tests
    ]
    return sorted(shifts, key=lambda shift: (-shift.psi / shift.limit, shift.what, shift.label or ""))


class _Test(NamedTuple):
    what: Compared
    label: str | None
    before: Sequence[int]
    now: Sequence[int]
    was: float | None = None
    is_now: float | None = None

    @property
    def bins(self) -> int:
        """In how many bins there is anything; without samples on one side nothing can be compared."""
        return _used(self.before, self.now) if any(self.before) and any(self.now) else 0


def _tests(
    before: ProposalCounts, now: ProposalCounts, flips_before: Flips | None, flips: Flips | None
) -> Iterator[_Test]:
    names = sorted({*before.labels, *now.labels})
    first = {name: (sum(before.of(name)), sum(now.of(name))) for name in names}
    totals = (before.total, now.total)
    yield _Test("labels", None, [was for was, _ in first.values()], [is_now for _, is_now in first.values()])
    # With two labels the share of one says all about the other, but each is named.
    for name, (was, is_now) in first.items():
        yield _shares("share", name, was, totals[0], is_now, totals[1])
        yield _Test("scores", name, before.of(name), now.of(name), _mean(before.of(name)), _mean(now.of(name)))
    yield _shares("hard", None, before.hard, totals[0], now.hard, totals[1])
    if flips_before is not None and flips is not None:
        yield _shares("flips", None, flips_before.changed, flips_before.samples, flips.changed, flips.samples)


def _shares(what: Compared, label: str | None, was: int, of: int, is_now: int, of_now: int) -> _Test:
    """Return the test of a share: those that have something, and the rest."""
    return _Test(what, label, [was, of - was], [is_now, of_now - is_now], _share(was, of), _share(is_now, of_now))


def psi(before: Sequence[int], now: Sequence[int]) -> float:
    """Return the population stability index of two lists of counts; bins that are empty in both do not count."""
    bins = [pair for pair in zip(before, now, strict=True) if any(pair)]
    totals = [sum(counts) + len(bins) / 2 for counts in (before, now)]
    shares = [((was + 0.5) / totals[0], (is_now + 0.5) / totals[1]) for was, is_now in bins]
    return math.fsum((q - p) * math.log(q / p) for p, q in shares)


def chance_limit(before: Sequence[int], now: Sequence[int], false_alarms: float = FALSE_ALARMS) -> float:
    """Return the PSI that chance exceeds in a share of all comparisons, where nothing has moved.

    PSI / (1/n + 1/m) is then nearly a chi-square with one degree of freedom less than there are bins.

    :param before: counts by bin
    :param now: counts by bin
    :param false_alarms: the share, above 0 and below 1
    """
    return chi_square_quantile(1 - false_alarms, _used(before, now) - 1) * (1 / sum(before) + 1 / sum(now))


def chi_square_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of the chi-square distribution, by the approximation of Wilson and Hilferty."""
    step = 2 / (9 * freedom)
    # Of a single degree of freedom it is the square of a normal variable, of which both tails count.
    if freedom == 1:
        return NormalDist().inv_cdf((1 + probability) / 2) ** 2
    return float(freedom * (1 - step + NormalDist().inv_cdf(probability) * math.sqrt(step)) ** 3)


def most_frequent(changes: Counter[tuple[str, str]]) -> tuple[tuple[str, str, int], ...]:
    """Return the most frequent changes of a label, in a fixed order."""
    found = sorted(changes.items(), key=lambda item: (-item[1], item[0]))[:FLIPS_KEPT]
    return tuple((before, now, count) for (before, now), count in found)


def _used(before: Sequence[int], now: Sequence[int]) -> int:
    return sum(1 for pair in zip(before, now, strict=True) if any(pair))


def _total(counts: Sequence[int]) -> int:
    return sum(counts[: BINS + 1])


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _mean(counts: Sequence[int]) -> float | None:
    """Return the mean of the middles of the bins: that is all that is kept of the scores."""
    scored = sum(counts[:BINS])
    middles = sum((place + 0.5) * count for place, count in enumerate(counts[:BINS])) / BINS
    return round(middles / scored, 2) if scored else None


def _as_share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}".replace("%", " %")


def _as_score(value: float | None) -> str:
    return "unknown" if value is None else f"about {value:.2f}"
