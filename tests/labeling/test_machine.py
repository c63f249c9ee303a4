"""The machine on a few histories, and wrong versions that it must catch; ``make soak SOAK=confirm`` runs many."""

from __future__ import annotations

import pytest

from tests.labeling.history import Event, Setup, small_world
from tests.labeling.machine import COUNTS, MUST_HAPPEN, Confirmed, run_machine
from tests.labeling.model import Violation
from tests.labeling.mutants import MUTANTS

HISTORIES = 40
QUICKLY_FOUND = ("ascending_walk", "labels_dropped", "put_resent_blindly", "window_lost", "plan_ignored_at_retry")


def test_no_label_is_lost_in_any_history() -> None:
    COUNTS.clear()
    run_machine(HISTORIES)
    assert COUNTS["finished"] >= HISTORIES
    rules = {name for name in MUST_HAPPEN if name.startswith("rule: ")}
    assert {name for name in COUNTS if name.startswith("rule: ")} == rules


def test_no_label_is_lost_where_real_threads_carry_the_requests() -> None:
    COUNTS.clear()
    run_machine(HISTORIES, threads=True, seed=0)
    assert COUNTS["finished"] >= HISTORIES


def test_two_tries_that_plan_at_once_apply_one_plan() -> None:
    setup = Setup(samples=19, kind="multi_label", keeps="ledger", concurrency=8, batch_size=3, latency=8.0, seed=2)
    COUNTS.clear()
    with small_world():
        machine = Confirmed()
        machine.begin(setup=setup)
        machine.try_twice_at_once(script=[], killed=(None, None))
        machine.teardown()
    assert COUNTS["a plan that came second"] == 1


def test_a_write_in_a_race_is_the_last_one_although_there_was_one_before() -> None:
    """A person confirms what a labeling task proposes anew, in the moment in which a later try writes it."""
    setup = Setup(samples=8, keeps="nothing", batch_size=1, variants={"offset_mode": "page", "shrink_list": 1})
    COUNTS.clear()
    with small_world():
        machine = Confirmed()
        machine.begin(setup=setup)
        machine.freeze_a_try(frozen_at=1, script=[])
        machine.let_the_zombie_go_on(script=[Event(0, "propose first")])
        machine.let_people_act(what="propose otherwise")
        machine.freeze_a_try(frozen_at=1, script=[])
        machine.teardown()
    assert COUNTS["written in a race"]


@pytest.mark.parametrize("name", QUICKLY_FOUND)
def test_wrong_versions_do_not_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, _ = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises(Violation):
        run_machine(200, shrinks=False)
