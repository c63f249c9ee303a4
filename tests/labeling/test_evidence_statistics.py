"""The statistics of the evidence: against scipy, against exact fractions, and where the edges are."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from airflow_provider_modelarts.labeling.evidence import statistics
from airflow_provider_modelarts.labeling.evidence.statistics import (
    Audited,
    ScoreList,
    hypergeometric_cdf,
    lower_bound,
    p_value,
    wrong_allowed,
)
from tests.benchmarks.evidence import CELLS, evidence, simulate


def _arguments(draw: random.Random) -> tuple[int, int, int, int]:
    """Lists of up to a million, counts near what is to be expected and beyond what can be."""
    total = int(10 ** draw.uniform(0, 6))
    all_wrong, audited = draw.randint(0, total), draw.randint(0, min(total, 5000))
    expected = audited * all_wrong / total
    spread = max(1.0, (expected * (1 - all_wrong / total)) ** 0.5)
    return int(draw.gauss(expected, 2 * spread)), total, all_wrong, audited


def test_it_equals_scipy_over_ten_thousand_arguments() -> None:
    draw = random.Random(13)
    arguments = [_arguments(draw) for _ in range(10_000)]
    theirs = hypergeom.cdf(*np.array(arguments).T)
    ours = [hypergeometric_cdf(*one) for one in arguments]
    assert np.abs(theirs - ours).max() < 1e-9
    assert np.ptp(ours) == 1.0
    assert sum(0.01 < one < 0.99 for one in ours) > 2_000


@given(st.integers(1, 60).flatmap(lambda total: st.tuples(*[st.integers(0, total)] * 3, st.just(total))))
def test_it_equals_exact_fractions(numbers: tuple[int, int, int, int]) -> None:
    wrong, all_wrong, audited, total = numbers
    ways = (comb(all_wrong, one) * comb(total - all_wrong, audited - one) for one in range(min(wrong, audited) + 1))
    assert hypergeometric_cdf(wrong, total, all_wrong, audited) == pytest.approx(
        float(Fraction(sum(ways), comb(total, audited))), abs=1e-12
    )


@pytest.mark.parametrize(
    ("total", "target", "allowed"),
    [
        (100, 0.95, 5),
        (10, 0.9, 1),
        (1000, 0.999, 1),
        (7, 0.95, 0),
        (0, 0.5, 0),
        (3, 1 / 3, 2),
        (1_000_000, 0.7, 300_000),
    ],
)
def test_what_the_target_allows_is_exact(total: int, target: float, allowed: int) -> None:
    assert wrong_allowed(total, target) == allowed


def test_the_bound_is_the_largest_number_of_wrong_ones_that_is_not_refuted() -> None:
    for total, audited, wrong, level in ((200, 80, 2, 0.01), (50, 50, 3, 0.05), (50, 0, 0, 0.05), (9, 4, 4, 0.2)):
        left = [
            count
            for count in range(wrong, total - audited + wrong + 1)
            if hypergeom.cdf(wrong, total, count, audited) > level
        ]
        assert lower_bound(total, audited, wrong, level) == 1 - max(left) / total
    assert lower_bound(0, 0, 0, 0.05) == 0.0


def test_two_thousand_proposals_and_a_tenth_audited_prove_nothing_at_99_percent() -> None:
    scores = [place / 2000 for place in range(2000)]
    answers = [(score, True) for score in scores[::10]]
    proof = ScoreList(scores, 0.1, answers).prove(0.99, 0.05)
    assert proof.threshold is None
    assert p_value(2000, 200, 0, 0.99) > 0.05 / 3
    assert proof.more is not None
    assert proof.more > 0
    assert p_value(2000, 200 + proof.more, 0, 0.99) <= proof.level


def test_a_perfect_machine_is_proven_whole_and_a_bad_one_not_at_all() -> None:
    scores = [place / 2000 for place in range(2000)]
    for is_right, threshold in ((True, 0.0), (False, None)):
        proof = ScoreList(scores, 0.2, [(score, is_right) for score in scores[::5]]).prove(0.95, 0.05)
        assert proof.threshold == threshold
        assert proof.counts == Audited(2000, 400, 0 if is_right else 400)
        assert (proof.bound >= 0.95) is is_right
        # 400 wrong ones are more than 2,000 may have: no number of answers could prove it.
        assert proof.more == (0 if is_right else None)


def test_only_the_sure_part_of_a_list_is_proven() -> None:
    scores = [place / 4000 for place in range(4000)]
    proof = ScoreList(scores, 0.25, [(score, score >= 0.5) for score in scores[::4]]).prove(0.95, 0.05)
    assert proof.threshold is not None
    assert 0.4 < proof.threshold < 0.55
    assert proof.counts.total == sum(score >= proof.threshold for score in scores)
    assert proof.bound >= 0.95
    assert proof.p <= proof.level


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), max_size=400),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_equal_scores_are_accepted_together_or_not(scores: list[float], share: float, target: float) -> None:
    ranks = ScoreList(scores, share, []).ranks(target, 0.01)
    ordered = sorted(scores, reverse=True)
    assert ranks == sorted(set(ranks))
    assert all(rank == len(scores) or ordered[rank - 1] > ordered[rank] for rank in ranks)
    assert ranks[-1:] == ([len(scores)] if scores else [])


@given(st.lists(st.booleans(), min_size=300, max_size=300))
def test_the_order_of_the_tests_does_not_depend_on_answers(answers: list[bool]) -> None:
    scores = [place / 300 for place in range(300)]
    with_answers = ScoreList(scores, 0.5, list(zip(scores, answers, strict=True)))
    assert with_answers.ranks(0.9, 0.01) == ScoreList(scores, 0.5, []).ranks(0.9, 0.01)


@pytest.mark.parametrize("scores", [[], [0.5], [0.5] * 10])
def test_without_answers_nothing_is_proven(scores: list[float]) -> None:
    proof = ScoreList(scores, 1.0, []).prove(0.95, 0.05)
    assert (proof.threshold, proof.counts, proof.p) == (None, Audited(len(scores), 0, 0), 1.0)
    # With everything answered it is known.
    assert proof.more == (len(scores) or None)


def test_a_list_that_is_answered_whole_is_known() -> None:
    answers = [(place / 40, place != 3) for place in range(40)]
    proof = ScoreList([score for score, _ in answers], 1.0, answers).prove(0.95, 0.001)
    assert (proof.threshold, proof.p, proof.bound) == (0.0, 0.0, 1 - 1 / 40)


@pytest.mark.parametrize("cell", CELLS)
def test_simulated_runs_keep_the_target(cell: str) -> None:
    """`make bench BENCH=evidence` has 400 runs of each."""
    outcome = simulate(cell, 25, rules={"evidence": evidence})["evidence"]
    assert outcome.violations <= 3  # more than that has a probability below 4 % if each has 5 %
    if cell in ("a good machine", "five labels, one bad", "scores better than claimed"):
        assert outcome.share > 0.4


def test_the_simulation_notices_a_test_that_accepts_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "p_value", lambda total, audited, wrong, target: float(wrong > audited * 0.05))
    outcome = simulate("scores that say nothing", 25, rules={"evidence": evidence})["evidence"]
    assert outcome.violations > 5


@pytest.mark.filterwarnings("ignore::UserWarning")  # its advice about other parameters
def test_whatever_mapie_accepts_is_accepted_too() -> None:
    """It knows no finite list, so it must be the stricter one wherever both look at the same answers."""
    risk_control = pytest.importorskip("mapie.risk_control")
    draw = np.random.default_rng(5)
    scores = np.sort(draw.random(4000))
    right = draw.random(4000) < 0.8 + 0.2 * scores
    audited = draw.random(4000) < 0.5
    thresholds = np.linspace(0.99, 0.0, 34)
    controller = risk_control.BinaryClassificationController(
        lambda x: np.column_stack([1 - x[:, 0], x[:, 0]]),
        risk="precision",
        target_level=0.9,
        confidence_level=0.95,
        list_predict_params=thresholds,
        fwer_method="fixed_sequence",
    ).calibrate(scores[audited, None], right[audited].astype(int))
    ours = []
    for threshold in thresholds:
        taken = scores >= threshold
        answered = taken & audited
        ours.append(p_value(int(taken.sum()), int(answered.sum()), int((answered & ~right).sum()), 0.9))
    theirs = np.asarray(controller.p_values).ravel()
    assert len(theirs) == len(ours)
    assert all(one <= other for one, other in zip(ours, theirs, strict=True) if other <= 0.5)
    assert 3 < sum(other <= 0.05 for other in theirs) <= sum(one <= 0.05 for one in ours) < len(ours)
