"""How often the drift guard alarms where nothing has moved, and how often it notices what has.

Plans of two nights are drawn from one and the same machine. All that the guard looks at is judged at once: the shares
of all labels, the share and the scores of each label, hard examples. Beside it the plain rule, PSI above 0.1, on the
shares of the labels and on all that is looked at.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import beta

from airflow_provider_modelarts.labeling.drift import ProposalCounts, compare

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = ((60, 60), (200, 200), (1000, 1000), (5000, 5000), (60, 5000), (1000, 200))
"""Proposals of the earlier plan, and of this one."""
RUNS = {60: 20_000, 200: 20_000, 1000: 20_000, 5000: 20_000}
AIM = 0.002


class Machine(NamedTuple):
    """What a machine proposes.

    :param labels: weight of each label
    :param scores: weight of each tenth of the scores
    :param hard: share of hard examples
    """

    labels: Sequence[float]
    scores: Sequence[float]
    hard: float = 0.1


SURE = (0.1, 0.1, 0.2, 0.4, 1, 2, 4, 8, 15, 69)
UNSURE = (1, 2, 4, 6, 9, 12, 16, 18, 18, 14)
CALM = {
    "2 labels, sure": Machine((1, 1), SURE),
    "10 labels, uneven": Machine([1 / rank for rank in range(1, 11)], UNSURE),
    "50 labels, few of each": Machine([1] * 50, SURE, 0.02),
}
_TEN = [1.0] * 10
SHIFTS = {
    "one label of ten from 10 % to 30 %": (Machine(_TEN, SURE), Machine([34.7 / 9, *_TEN[1:]], SURE)),
    "a new label of 10 %": (Machine([*_TEN, 0], SURE), Machine([*_TEN, 1.1], SURE)),
    "scores of all labels sink": (Machine(_TEN, SURE), Machine(_TEN, UNSURE)),
    "hard examples from 10 % to 25 %": (Machine(_TEN, SURE), Machine(_TEN, SURE, 0.25)),
}


def drawn(draw: np.random.Generator, machine: Machine, number: int) -> ProposalCounts:
    """Return the counts of a plan of so many proposals."""
    cells = np.outer(machine.labels, machine.scores)
    counts = draw.multinomial(number, cells.ravel() / cells.sum()).reshape(cells.shape)
    hard = draw.binomial(counts.sum(axis=1), machine.hard)
    return ProposalCounts(
        {
            str(label): [*scores, 0, of_them_hard]
            for label, (scores, of_them_hard) in enumerate(zip(counts.tolist(), hard.tolist(), strict=True))
            if any(scores)
        }
    )


def alarms(draw: np.random.Generator, before: Machine, now: Machine, earlier: int, later: int) -> bool:
    """Whether the guard alarms about two plans."""
    return any(shift.has_moved for shift in compare(drawn(draw, before, earlier), drawn(draw, now, later)))


def at_most(alarmed: int, runs: int) -> float:
    """Return the rate that is excluded to be exceeded with a confidence of 95 %, by Clopper and Pearson."""
    return float(beta.ppf(0.95, alarmed + 1, runs - alarmed))


class _Rates(NamedTuple):
    alarms: int
    plain_labels: int
    plain: int


def _rates(machine: Machine, earlier: int, later: int, runs: int) -> _Rates:
    draw = np.random.default_rng(list(f"{machine}{earlier}{later}".encode()))
    found = [0, 0, 0]
    for _ in range(runs):
        shifts = compare(drawn(draw, machine, earlier), drawn(draw, machine, later))
        found[0] += any(shift.has_moved for shift in shifts)
        found[1] += any(shift.psi > 0.1 for shift in shifts if shift.what == "labels")
        found[2] += any(shift.psi > 0.1 for shift in shifts)
    return _Rates(*found)


def main(runs: int | None = None) -> None:
    """Print both tables.

    :param runs: pairs of plans in each row; None: as many as the aim needs, which takes some minutes
    """
    print(f"False alarms, aim: at most {AIM:.1%} of the runs (bound: 95 %, binomial)")
    print(
        f"{'machine':<24} {'before':>6} {'now':>6} {'runs':>6} {'alarms':>7} {'bound':>7}   PSI > 0.1: labels, anything"
    )
    for name, machine in CALM.items():
        for earlier, later in SIZES:
            number = runs or RUNS[later]
            found = _rates(machine, earlier, later, number)
            bound = at_most(found.alarms, number)
            print(
                f"{name:<24} {earlier:>6} {later:>6} {number:>6} {found.alarms / number:>7.3%} {bound:>7.3%}   "
                f"{found.plain_labels / number:>17.1%} {found.plain / number:>9.1%}{'' if bound <= AIM else '   (!)'}"
            )
            sys.stdout.flush()
    print("\nPower: share of 200 runs that alarm, by proposals of either plan")
    print(f"{'what has moved':<36} " + " ".join(f"{size:>6}" for size in RUNS))
    for name, (before, now) in SHIFTS.items():
        draw = np.random.default_rng(list(name.encode()))
        shares = [sum(alarms(draw, before, now, size, size) for _ in range(200)) / 200 for size in RUNS]
        print(f"{name:<36} " + " ".join(f"{share:>6.0%}" for share in shares))
