"""A zombie and its retry, or two tasks, confirm one dataset at once: the end is the one that each alone would reach."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.apply import confirmation as apply
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from tests.operators.runners import RUN_ID, ConfirmRunner, check_sums

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

POLICY = {"min_score": 0.7, "hard_examples": "confirm"}
SAMPLES = 400


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_retry_beside_its_zombie_ends_in_the_same_state(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, concurrency: int
) -> None:
    runner = ConfirmRunner(emulator, moved_clock, tmp_path, SAMPLES)
    proposals = runner.dataset.proposals
    runner.plan(policy=POLICY)
    endings: dict[int, Any] = {}

    def confirm(try_number: int) -> None:
        endings[try_number] = runner.confirm(
            try_number=try_number, plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri, concurrency=concurrency
        )

    tries = [threading.Thread(target=confirm, args=(number,)) for number in (1, 2)]
    for thread in tries:
        thread.start()
    for thread in tries:
        thread.join()

    plan = read_plan(Path(runner.plan_uri.removeprefix("file://")))
    wanted = {one.sample.sample_id for one in plan.samples() if one.decision.action == "confirm"}
    assert 0 < len(wanted) < SAMPLES
    for sample_id, labels in runner.final.items():
        names = [label["name"] for label in proposals[sample_id]["labels"]] if sample_id in wanted else []
        assert [label["name"] for label in labels] == names
    assert set(runner.dataset.proposals) == proposals.keys() - wanted

    assert {number: ending.error for number, ending in endings.items()} == {1: None, 2: None}
    for ending in endings.values():
        check_sums(ending.result)
        assert ending.result["failed"] == 0
        assert ending.result["confirmed"] + ending.result["gone"] == len(wanted)
    ledger = read_ledger(Path(runner.ledger_uri.removeprefix("file://")), RUN_ID)
    assert len(ledger.chains) == 2
    assert ledger.verify() == []
    state = replay(plan, ledger)
    assert {state.fate(sample_id) for sample_id in wanted} == {"confirmed"}


@pytest.mark.parametrize("concurrency", [1, 8])
def test_two_tries_that_find_no_plan_apply_one(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    runner = ConfirmRunner(emulator, moved_clock, tmp_path, SAMPLES)
    looked, made, endings = threading.Barrier(2, timeout=60), [], {}
    found, make_plan, plan_of = apply._found, apply.make_plan, PlanWriter.plan

    def found_by_neither(place: Any) -> Any:
        there = found(place)
        looked.wait()
        return there

    def noted(writer: PlanWriter) -> Any:
        made.append(writer._digest)
        return plan_of(writer)

    def told_apart(*args: Any, **more: Any) -> Any:
        """The clock stands still: without this they would make the very same plan."""
        return make_plan(*args, made_by={"thread": threading.get_ident()}, **more)

    monkeypatch.setattr(apply, "_found", found_by_neither)
    monkeypatch.setattr(apply, "make_plan", told_apart)
    monkeypatch.setattr(PlanWriter, "plan", noted)

    def confirm(try_number: int) -> None:
        endings[try_number] = runner.confirm(
            try_number=try_number, policy=POLICY, ledger_uri=runner.ledger_uri, concurrency=concurrency
        )

    tries = [threading.Thread(target=confirm, args=(number,)) for number in (1, 2)]
    for thread in tries:
        thread.start()
    for thread in tries:
        thread.join()

    assert {number: ending.error for number, ending in endings.items()} == {1: None, 2: None}
    assert len(set(made)) == 2
    (path,) = runner.plans()
    plan = read_plan(path)
    assert plan.digest in made
    ledger = read_ledger(Path(runner.ledger_uri.removeprefix("file://")), RUN_ID)
    assert {chain.first().plan_digest for chain in ledger.chains} == {plan.digest}
    for ending in endings.values():
        check_sums(ending.result)
        assert ending.result["confirmed"] + ending.result["gone"] == plan.counts["confirm"] > 0
    assert not list(replay(plan, ledger).unsettled())
