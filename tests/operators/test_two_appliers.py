"""A zombie and its retry, or two tasks, confirm one dataset at once: the end is the one that each alone would reach."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.ledger import read_ledger, settled
from airflow_provider_modelarts.labeling.plan import read_plan
from tests.operators.bureau import RUN_ID, Bureau, check_sums

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

POLICY = {"min_score": 0.7, "hard_examples": "confirm"}
SAMPLES = 400


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_retry_beside_its_zombie_ends_in_the_same_state(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, concurrency: int
) -> None:
    bureau = Bureau(emulator, moved_clock, tmp_path, SAMPLES)
    proposals = bureau.dataset.proposals
    bureau.plan(policy=POLICY)
    endings: dict[int, Any] = {}

    def confirm(try_number: int) -> None:
        endings[try_number] = bureau.confirm(
            try_number=try_number, plan_uri=bureau.plan_uri, ledger_uri=bureau.ledger_uri, concurrency=concurrency
        )

    tries = [threading.Thread(target=confirm, args=(number,)) for number in (1, 2)]
    for thread in tries:
        thread.start()
    for thread in tries:
        thread.join()

    plan = read_plan(Path(bureau.plan_uri.removeprefix("file://")))
    wanted = {one.sample.sample_id for one in plan.samples() if one.decision.action == "confirm"}
    assert 0 < len(wanted) < SAMPLES
    for sample_id, labels in bureau.final.items():
        names = [label["name"] for label in proposals[sample_id]["labels"]] if sample_id in wanted else []
        assert [label["name"] for label in labels] == names
    assert set(bureau.dataset.proposals) == proposals.keys() - wanted

    assert {number: ending.error for number, ending in endings.items()} == {1: None, 2: None}
    for ending in endings.values():
        check_sums(ending.result)
        assert ending.result["failed"] == 0
        assert ending.result["confirmed"] + ending.result["gone"] == len(wanted)
    ledger = read_ledger(Path(bureau.ledger_uri.removeprefix("file://")), RUN_ID)
    assert len(ledger.chains) == 2
    assert ledger.verify() == []
    state = settled(plan, ledger)
    assert {state.fate(sample_id) for sample_id in wanted} == {"confirmed"}
