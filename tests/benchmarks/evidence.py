"""Whether what the evidence proves is so: simulated audits of machines of many kinds, good and bad.

``python -m tests.benchmarks evidence``; RUNS=100 makes it shorter. A run violates the target if for a label more
proposals down to its threshold are wrong than the target allows. Audited ones count too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import beta

from airflow_provider_modelarts.labeling.evidence.statistics import ScoreList, wrong_allowed

TARGET, CONFIDENCE = 0.95, 0.95
PROPOSALS = 10_000
SHARE = 0.1
RUNS = 400

Floats = np.ndarray
Rule = Callable[[list["Label"]], list[float | None]]
"""Gives for each label the threshold that it accepts; None: nothing."""


@dataclass
class Label:
    """The proposals of one label, the surest first.

    :param scores: all different, as a machine's scores mostly are
    :param right: whether each is right
    :param audited: whether people answered it
    """

    scores: Floats
    right: Floats
    audited: Floats

    def __len__(self) -> int:
        return len(self.scores)


def label(draw: np.random.Generator, scores: Floats, right: Floats, share: float = SHARE) -> Label:
    order = np.argsort(-scores)
    return Label(scores[order], right[order], draw.random(len(scores)) < share)


def _sure(draw: np.random.Generator, count: int) -> Floats:
    """Scores as classifiers give them: most of them high."""
    return draw.beta(6, 1, count)


def _by_chance(draw: np.random.Generator, chance: Floats) -> Floats:
    return draw.random(len(chance)) < np.clip(chance, 0, 1)


def calibrated(draw: np.random.Generator) -> list[Label]:
    scores = _sure(draw, PROPOSALS)
    return [label(draw, scores, _by_chance(draw, scores))]


def meaningless(draw: np.random.Generator) -> list[Label]:
    """One wrong sample too many, and the scores know nothing of it: the hardest case for any rule."""
    right = np.ones(PROPOSALS, bool)
    right[draw.permutation(PROPOSALS)[: wrong_allowed(PROPOSALS, TARGET) + 1]] = False
    return [label(draw, draw.random(PROPOSALS), right)]


def surest_worst(draw: np.random.Generator) -> list[Label]:
    scores = draw.random(PROPOSALS)
    return [label(draw, scores, _by_chance(draw, 0.985 - 0.12 * scores**2))]


def better_than_claimed(draw: np.random.Generator) -> list[Label]:
    scores = _sure(draw, PROPOSALS)
    return [label(draw, scores, _by_chance(draw, scores**0.5))]


def good_machine(draw: np.random.Generator) -> list[Label]:
    scores = _sure(draw, PROPOSALS)
    return [label(draw, scores, _by_chance(draw, 0.97 + 0.03 * scores))]


def one_bad_label(draw: np.random.Generator) -> list[Label]:
    each = PROPOSALS // 5
    found = []
    for number in range(5):
        scores = _sure(draw, each)
        found.append(label(draw, scores, _by_chance(draw, scores * 0.9 if number == 0 else 0.97 + 0.03 * scores)))
    return found


def many_labels(draw: np.random.Generator) -> list[Label]:
    each = PROPOSALS // 200
    return [label(draw, scores, _by_chance(draw, scores)) for scores in (_sure(draw, each) for _ in range(200))]


CELLS: dict[str, Callable[[np.random.Generator], list[Label]]] = {
    "calibrated scores": calibrated,
    "scores that say nothing": meaningless,
    "the surest are the worst": surest_worst,
    "scores better than claimed": better_than_claimed,
    "a good machine": good_machine,
    "five labels, one bad": one_bad_label,
    "200 labels of 50 each": many_labels,
}


def evidence(labels: list[Label]) -> list[float | None]:
    """What this package accepts."""
    risk = (1 - CONFIDENCE) / len(labels)
    found = []
    for one in labels:
        answers = list(zip(one.scores[one.audited].tolist(), one.right[one.audited].tolist(), strict=True))
        found.append(ScoreList(one.scores.tolist(), SHARE, answers).prove(TARGET, risk).threshold)
    return found


def _lowest(scores: Floats, right: Floats) -> float | None:
    """Return the lowest score down to which the share of right ones reaches the target; the surest come first."""
    reached = np.flatnonzero(np.cumsum(right) >= TARGET * np.arange(1, len(right) + 1))
    return None if not len(reached) else float(scores[reached[-1]])


def oracle(labels: list[Label]) -> list[float | None]:
    """The most that could be accepted, by who knows the truth."""
    return [_lowest(one.scores, one.right) for one in labels]


def naive(labels: list[Label]) -> list[float | None]:
    """For each label the lowest threshold whose audited precision reaches the target."""
    return [_lowest(one.scores[one.audited], one.right[one.audited]) for one in labels]


def average(labels: list[Label]) -> list[float | None]:
    """One threshold for all: the lowest whose audited precision reaches the target on average, as Ground Truth's."""
    scores = np.concatenate([one.scores[one.audited] for one in labels])
    right = np.concatenate([one.right[one.audited] for one in labels])
    order = np.argsort(-scores)
    return [_lowest(scores[order], right[order])] * len(labels)


RULES: dict[str, Rule] = {"evidence": evidence, "oracle": oracle, "naive": naive, "average": average}


@dataclass
class Outcome:
    """What a rule did in the runs of a cell.

    :param violations: runs in which more was wrong than the target allows, of any label
    :param accepted: share of the proposals accepted, for each run
    """

    violations: int = 0
    accepted: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        return float(np.mean(self.accepted))

    @property
    def bound(self) -> float:
        """With a confidence of 95 % the share of runs with violations is at most this."""
        runs = len(self.accepted)
        return 1.0 if self.violations == runs else float(beta.ppf(0.95, self.violations + 1, runs - self.violations))


def simulate(cell: str, runs: int, seed: int = 0, rules: dict[str, Rule] | None = None) -> dict[str, Outcome]:
    """Return what each rule did in so many runs of a cell."""
    outcomes = {name: Outcome() for name in rules or RULES}
    for labels in _populations(cell, runs, seed):
        total = sum(map(len, labels))
        for name, outcome in outcomes.items():
            taken, is_violated = 0, False
            for one, threshold in zip(labels, (rules or RULES)[name](labels), strict=True):
                length = 0 if threshold is None else int(np.count_nonzero(one.scores >= threshold))
                is_violated |= length - int(np.count_nonzero(one.right[:length])) > wrong_allowed(length, TARGET)
                taken += length
            outcome.violations += is_violated
            outcome.accepted.append(taken / total)
    return outcomes


def _populations(cell: str, runs: int, seed: int) -> Iterator[list[Label]]:
    for run in range(runs):
        yield CELLS[cell](np.random.default_rng([seed, list(CELLS).index(cell), run]))


def main() -> None:
    """Simulate and print."""
    runs = int(os.environ.get("RUNS", str(RUNS)))
    begun = time.perf_counter()
    print(
        f"{runs} runs, {PROPOSALS:,} proposals, {SHARE:.0%} audited; target {TARGET:.0%}, confidence {CONFIDENCE:.0%}"
    )
    print(f"{'':<28}{'violations of the target':<28}{'at most':>8}  {'accepted':>9}")
    for cell in CELLS:
        for name, outcome in simulate(cell, runs).items():
            counted = f"{name}: {outcome.violations} = {outcome.violations / runs:.1%}"
            print(f"{cell if name == 'evidence' else '':<28}{counted:<28}{outcome.bound:>8.1%}  {outcome.share:>9.1%}")
    print(f"aim: at most {1 - CONFIDENCE:.0%} of runs violate the target; {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
