"""What a random audit proves about one list of proposals. Pure, and of the standard library alone.

Nothing is assumed about the machine: the list is finite, it is fixed before anybody looks, and the audited samples are
drawn from it at random. So the number of wrong ones among those audited is hypergeometric, whatever the scores mean.

Many thresholds may be tried without cheating because the order of the tests is fixed by the scores alone: from strict
to loose, until the first that fails (fixed-sequence testing, as in "Learn then Test", arXiv 2110.01052).
"""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate
from math import exp, floor, fsum, inf, log, log1p, sqrt
from operator import neg, sub
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

STARTS = 3
"""Sequences of tests for each label: from the first rank that can be proven, from the middle, and the whole list.

They share the label's risk. The last ones help where the surest proposals are not the best.
"""
GROWTH = 1.06
"""How much longer the list of the next test is."""
_SPREAD = 3.0
"""Standard deviations by which fewer samples than expected may be audited at the first rank."""


def hypergeometric_cdf(wrong: int, total: int, all_wrong: int, audited: int) -> float:
    """Return the probability of at most so many wrong samples among those drawn from a list without replacement.

    Equal to ``scipy.stats.hypergeom.cdf(wrong, total, all_wrong, audited)``.

    :param wrong: wrong samples among those drawn
    :param total: samples of the list
    :param all_wrong: wrong samples of the list
    :param audited: samples drawn
    """
    least, most = max(0, audited + all_wrong - total), min(audited, all_wrong)
    if wrong < least:
        return 0.0
    if wrong >= most:
        return 1.0
    # The logarithm of the probability of the least count, and of each next one its ratio to the one before: they are
    # summed from the far end, where the terms are that matter. Differences of lgamma would lose digits there.
    few, many = sorted((all_wrong, audited) if least == 0 else (total - all_wrong, total - audited))
    first = fsum(log1p(-many / (total - place)) for place in range(few))
    steps = [
        log((all_wrong - count) * (audited - count) / ((count + 1) * (total - all_wrong - audited + count + 1)))
        for count in range(least, wrong)
    ]
    last = fsum([first, *steps])
    return min(1.0, fsum(map(exp, accumulate(reversed(steps), sub, initial=last))))


def wrong_allowed(total: int, target: float) -> int:
    """Return how many samples of a list may be wrong if a share of ``target`` is to be right; exact for decimals."""
    return floor((1 - Fraction(str(target))) * total)


def p_value(total: int, audited: int, wrong: int, target: float) -> float:
    """Return how likely so few wrong answers are if more samples of the list are wrong than the target allows.

    :param total: proposals of the list
    :param audited: those of them that people have answered
    :param wrong: those of the answers that say "wrong"
    :param target: the share that is to be right, 0 to 1
    """
    return hypergeometric_cdf(wrong, total, wrong_allowed(total, target) + 1, audited)


def lower_bound(total: int, audited: int, wrong: int, level: float) -> float:
    """Return the share of a list that is right for certain but for an error of probability ``level``.

    :param level: 0 to 1; the other parameters as of :func:`p_value`
    """
    low, high = wrong, total - audited + wrong  # so many are wrong at least, and at most
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeometric_cdf(wrong, total, middle, audited) > level:
            low = middle
        else:
            high = middle - 1
    return 1 - low / total if total else 0.0


class Audited(NamedTuple):
    """How much of a list was audited.

    :param total: proposals
    :param audited: those of them that people have answered
    :param wrong: those of the answers that say "wrong"
    """

    total: int
    audited: int
    wrong: int


class Proof(NamedTuple):
    """What was proven of one label.

    :param threshold: the lowest score up to which the target is proven; None: nothing is
    :param counts: of the proposals that score so, or of all if nothing is proven
    :param p: of the test that proved it, or of all
    :param level: what ``p`` had to stay within: the risk of this label, shared among its sequences of tests
    :param bound: share of those proposals that is right, but for an error of probability ``level``
    :param more: how many more right answers would have proven something; 0 if something is proven, None if no number
        of them could
    """

    threshold: float | None
    counts: Audited
    p: float
    level: float
    bound: float
    more: int | None


class ScoreList:
    """The proposals of one label by score, and which of them people found wrong.

    :param scores: of all proposals, audited or not; none of them is NaN
    :param share: share of them that was drawn for the audit, as it was asked for before the draw
    :param answers: for each answered sample its score, and whether the person found it right
    """

    def __init__(self, scores: Sequence[float], share: float, answers: Sequence[tuple[float, bool]]) -> None:
        self._scores = sorted(scores, reverse=True)
        self._share = share
        self._answers = sorted(answers, key=lambda answer: -answer[0])

    def prove(self, target: float, risk: float) -> Proof:
        """Return the lowest threshold at which the target is proven.

        :param target: the share that is to be right, inside 0 to 1
        :param risk: probability, inside 0 to 1, with which this may be wrong
        """
        ranks = self.ranks(target, risk / STARTS)
        starts = sorted({0, len(ranks) // 2, len(ranks) - 1}) if ranks else []
        level = risk / max(1, len(starts))
        counts = self._counts(ranks)
        best: tuple[int, float] | None = None
        for start in starts:
            for place in range(start, len(ranks)):
                p = p_value(*counts[place], target)
                if p > level:
                    break
                if best is None or place > best[0]:
                    best = place, p
        if best is None:
            whole = counts[-1] if counts else Audited(0, 0, 0)
            p = p_value(*whole, target) if whole.audited else 1.0
            more = _more([counts[start] for start in starts], target, level)
            return Proof(None, whole, p, level, lower_bound(*whole, level), more)
        place, p = best
        return Proof(self._scores[ranks[place] - 1], counts[place], p, level, lower_bound(*counts[place], level), 0)

    def ranks(self, target: float, level: float) -> list[int]:
        """Return the lengths of the lists that are tested, from strict to loose; equal scores are never parted.

        They depend on the scores and on what was asked for, and on no answer: else the tests would not be valid.
        """
        total = len(self._scores)
        found: list[int] = []
        length = 1.0
        while length < total:
            rank = self._end_of_tie(floor(length))
            expected = rank * self._share
            surely = floor(expected - _SPREAD * sqrt(expected * (1 - self._share)))
            if (not found or rank > found[-1]) and (
                found or (surely > 0 and p_value(rank, surely, 0, target) <= level)
            ):
                found.append(rank)
            length = max(length * GROWTH, length + 1)
        if total and (not found or found[-1] < total):
            found.append(total)
        return found

    def _end_of_tie(self, rank: int) -> int:
        return bisect_right(self._scores, -self._scores[rank - 1], key=neg)

    def _counts(self, ranks: Sequence[int]) -> list[Audited]:
        found = []
        audited = wrong = 0
        for rank in ranks:
            while audited < len(self._answers) and self._answers[audited][0] >= self._scores[rank - 1]:
                wrong += not self._answers[audited][1]
                audited += 1
            found.append(Audited(rank, audited, wrong))
        return found


def _more(lists: Sequence[Audited], target: float, level: float) -> int | None:
    """Return how many more answers, all of them right, would have proven the first test of a sequence."""
    fewest = inf
    for total, audited, wrong in lists:
        low, high = 0, total - audited
        if p_value(total, audited + high, wrong, target) > level:
            continue
        while low < high:
            middle = (low + high) // 2
            if p_value(total, audited + middle, wrong, target) <= level:
                high = middle
            else:
                low = middle + 1
        fewest = min(fewest, high)
    return None if fewest == inf else int(fewest)
