"""Drift: what is counted, how far is too far, and how often chance alone alarms."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import chi2

from airflow_provider_modelarts.labeling.drift import (
    BINS,
    HARD,
    LABELS_COUNTED,
    Drift,
    Flips,
    ProposalCounts,
    Shift,
    chance_limit,
    chi_square_quantile,
    compare,
    psi,
)
from airflow_provider_modelarts.labeling.policy import SampleFacts
from airflow_provider_modelarts.labeling.results import OTHER_LABELS
from tests.benchmarks.drift import CALM, SHIFTS, alarms

NONE = [0] * (BINS + 2)


def facts(name: str, score: float | None = 0.95, *, is_hard: bool = False, oddity: str | None = None) -> SampleFacts:
    return SampleFacts("s", [name] if name else [], [score], is_hard=is_hard, oddity=oddity)


def counted(**labels: dict[int, int]) -> ProposalCounts:
    """Return counts from how many samples of a label have a score in which tenth."""
    return ProposalCounts({name: [bins.get(place, 0) for place in range(BINS + 2)] for name, bins in labels.items()})


def test_each_sample_counts_once_for_its_first_label() -> None:
    counts = ProposalCounts()
    counts.add([facts("rose", 0.0), facts("rose", 0.999), facts("rose", 1.0), facts("tulip", None, is_hard=True)])
    counts.add([SampleFacts("s", ["rose", "tulip"], [0.35, 0.9]), facts("", 0.1), facts("odd", oddity="no labels")])
    assert counts.labels["rose"] == [1, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0]
    assert counts.labels["tulip"] == [*NONE[:BINS], 1, 1]
    assert counts.labels[""] == [0, 1, *NONE[:10]]
    assert (counts.total, counts.hard, set(counts.labels)) == (6, 1, {"rose", "tulip", ""})


def test_labels_beyond_a_number_are_counted_together() -> None:
    counts = ProposalCounts()
    counts.add([facts(f"label {number}") for number in range(LABELS_COUNTED + 7)])
    counts.add([facts("label 3"), facts(f"label {LABELS_COUNTED + 1}")])
    assert len(counts.labels) == LABELS_COUNTED + 1
    assert (sum(counts.of(OTHER_LABELS)), sum(counts.of("label 3"))) == (8, 2)


def test_the_index_is_the_documented_sum_with_half_a_sample_in_each_bin() -> None:
    # (10.5 / 31 - 20.5 / 31) ln(10.5 / 20.5) + the mirror of it
    assert psi([10, 20], [20, 10]) == pytest.approx(0.43165, abs=1e-5)
    assert psi([10, 20, 0], [20, 10, 0]) == psi([10, 20], [20, 10])
    assert psi([5, 5], [50, 50]) == 0
    assert psi([10, 0], [0, 10]) == pytest.approx(psi([0, 10], [10, 0]))


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 10, 50, 200, 1999])
@pytest.mark.parametrize("probability", [0.999, 0.9999, 0.999999])
def test_the_quantile_is_near_that_of_scipy_and_never_much_below_it(probability: float, freedom: int) -> None:
    exact = chi2.ppf(probability, freedom)
    # Above it is the careful side: the approximation is worst for two or three bins.
    assert exact * 0.995 <= chi_square_quantile(probability, freedom) <= exact * (1.1 if freedom < 4 else 1.05)


def test_the_limit_is_that_of_the_issue() -> None:
    bins = [6] * 10
    assert chance_limit(bins, bins, 0.001) == pytest.approx(chi2.ppf(0.999, 9) * 2 / 60, rel=0.01)


def test_a_label_that_takes_over_is_named_with_its_shares() -> None:
    before = counted(rose={9: 500}, tulip={9: 500})
    now = counted(rose={9: 800}, tulip={9: 200})
    moved = [shift for shift in compare(before, now) if shift.has_moved]
    assert {(shift.what, shift.label) for shift in moved} == {("labels", None), ("share", "rose"), ("share", "tulip")}
    (rose,) = (shift for shift in moved if shift.label == "rose")
    assert (rose.before, rose.now) == (0.5, 0.8)
    assert str(rose).startswith("the share of 'rose' from 50.0 % to 80.0 % (PSI 0.41, limit 0.10)")
    assert Drift("fail", moved=tuple(moved)).labels == {"rose", "tulip"}


def test_scores_that_sink_or_vanish_are_named_with_their_mean() -> None:
    before = counted(rose={9: 400, 8: 100}, tulip={9: 300, BINS: 200})
    now = counted(rose={9: 100, 6: 400}, tulip={BINS: 500})
    moved = {shift.label: shift for shift in compare(before, now) if shift.has_moved}
    assert set(moved) == {"rose", "tulip"}
    assert (moved["rose"].before, moved["rose"].now) == (0.93, 0.71)
    assert "from about 0.95 to unknown" in str(moved["tulip"])


@pytest.mark.parametrize("is_new", [True, False])
def test_a_label_that_is_new_or_gone_moves(is_new: bool) -> None:
    without = counted(rose={9: 500}, tulip={9: 500})
    with_it = counted(rose={9: 400}, tulip={9: 400}, weed={9: 200})
    found = compare(*((without, with_it) if is_new else (with_it, without)))
    assert ("share", "weed") in {(shift.what, shift.label) for shift in found if shift.has_moved}
    assert ("scores", "weed") not in {(shift.what, shift.label) for shift in found}  # on one side there are none


@pytest.mark.parametrize(
    ("before", "now"),
    [({}, {}), ({"rose": {9: 5}}, {}), ({}, {"rose": {9: 5}}), ({"rose": {9: 5}}, {"rose": {9: 7}})],
)
def test_without_samples_or_with_one_bin_there_is_nothing_to_compare(
    before: dict[str, dict[int, int]], now: dict[str, dict[int, int]]
) -> None:
    assert compare(counted(**before), counted(**now)) == []


def test_hard_examples_and_flips_concern_every_label() -> None:
    before = counted(rose={9: 1000, HARD: 50})
    now = counted(rose={9: 1000, HARD: 500})
    moved = tuple(shift for shift in compare(before, now) if shift.has_moved)
    assert [(shift.what, shift.before, shift.now) for shift in moved] == [("hard", 0.05, 0.5)]
    assert Drift("review", moved=moved).concerns(["anything"])
    calm = counted(rose={9: 1000})
    flipped = compare(calm, calm, flips_before=Flips(500, 20), flips=Flips(500, 300))
    assert [(shift.what, shift.has_moved) for shift in flipped] == [("flips", True)]
    assert Drift("review", moved=tuple(flipped)).labels is None


def test_labels_that_are_counted_together_are_all_suspected_together() -> None:
    shift = Shift("share", OTHER_LABELS, 1.0, 0.1, 0.1, 0.5)
    assert Drift("review", moved=(shift,)).concerns(["any name"])


def test_only_labels_that_moved_are_concerned() -> None:
    drift = Drift("review", moved=(Shift("scores", "rose", 1.0, 0.1, 0.9, 0.5),))
    assert drift.concerns(["tulip", "rose"])
    assert not drift.concerns(["tulip"])
    assert not Drift("review").concerns(["rose"])


def test_the_users_limit_counts_where_chance_is_smaller() -> None:
    before, now = counted(rose={9: 5000}, tulip={9: 5000}), counted(rose={9: 5600}, tulip={9: 4400})
    assert any(shift.has_moved for shift in compare(before, now, 0.001))
    assert not any(shift.has_moved for shift in compare(before, now, 0.1))


def test_it_is_kept_as_json() -> None:
    drift = Drift(
        "review",
        baseline_uri="s3://bucket/plan",
        baseline_digest="ab",
        before=10,
        now=20,
        compared=3,
        labels_psi=0.2,
        moved=(Shift("scores", "ro\nse", 1.25, 0.1, None, 0.5),),
        flips=Flips(5, 2, (("rose", "tulip", 2),)),
    )
    assert Drift.from_json(json.loads(json.dumps(drift.to_json()))) == drift


def test_notes_are_short_whatever_the_labels_are_called() -> None:
    moved = tuple(Shift("scores", f"{number} {'x' * 5000}", 1.0, 0.1, 0.9, 0.5) for number in range(100))
    flips = Flips(5, 5, tuple((f"{'y' * 5000}", "z", 1) for _ in range(10)))
    drift = Drift("review", "s3://bucket/plan.jsonl", "ab", 10, 20, 100, moved=moved, flips=flips)
    notes = drift.notes()
    assert len(notes) == 3
    assert all(len(note) < 800 for note in notes)
    assert "and 95 more" in notes[1]


@pytest.mark.parametrize("shape", CALM)
def test_chance_rarely_alarms(shape: str) -> None:
    """A small part of ``make bench BENCH=drift``; at the promised rate more than 6 alarms would be a miracle."""
    draw = np.random.default_rng(13)
    assert sum(alarms(draw, CALM[shape], CALM[shape], 200, 200) for _ in range(600)) <= 6


@pytest.mark.parametrize("name", SHIFTS)
def test_what_has_moved_far_is_noticed(name: str) -> None:
    draw = np.random.default_rng(7)
    before, now = SHIFTS[name]
    assert sum(alarms(draw, before, now, 5000, 5000) for _ in range(10)) == 10
