"""Simulated histories of one dataset, and wrong versions that they must catch; ``make soak SOAK=confirm`` runs many."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import PermissionDenied
from tests.labeling.invariants import Violation
from tests.labeling.mutants import MUTANTS
from tests.labeling.scenarios import at_once, play
from tests.labeling.simulation import PAGE, Event, Setup, Simulation, small_world
from tests.labeling.state_machine import COUNTS, MUST_HAPPEN, run_machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.labeling.results import ConfirmationResult
    from tests.labeling.simulated_process import SimulatedProcess

HISTORIES = 60
MOST = 100
"""Histories at most that show a wrong version; eleven were enough."""


def test_no_label_is_lost_in_any_history() -> None:
    COUNTS.clear()
    run_machine(HISTORIES, seed=0)
    assert COUNTS["finished"] >= HISTORIES
    rules = {name for name in MUST_HAPPEN if name.startswith("rule: ")}
    assert {name for name in COUNTS if name.startswith("rule: ")} == rules


def test_no_label_is_lost_where_real_threads_carry_the_requests() -> None:
    COUNTS.clear()
    run_machine(HISTORIES, threads=True, seed=1)
    assert COUNTS["finished"] >= HISTORIES


@pytest.mark.parametrize("scenario", dict.fromkeys(scenario for _, scenario in MUTANTS.values()))
def test_what_is_right_passes(scenario: Callable[..., None]) -> None:
    scenario(histories=MOST // 10)


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_versions_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, scenario = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises(Violation):
        scenario(histories=MOST)


def test_two_tries_that_plan_at_once_apply_one_plan() -> None:
    COUNTS.clear()
    play(
        Setup(samples=19, kind="multi_label", keeps="ledger", concurrency=8, batch_size=3, latency=8.0, seed=2),
        at_once(),
    )
    assert COUNTS["a plan that came second"] == 1


def test_a_write_in_a_race_is_the_last_one_although_there_was_one_before() -> None:
    """A person confirms what a labeling task proposes once more, at the moment when a later try writes it."""
    COUNTS.clear()
    play(
        Setup(samples=8, keeps="nothing", batch_size=1, variants={"offset_mode": "page", "shrink_list": 1}),
        lambda machine: machine.freeze_a_try(frozen_at=1, script=[]),
        lambda machine: machine.let_the_zombie_go_on(script=[Event(0, "propose first")]),
        lambda machine: machine.let_people_act(what="propose otherwise"),
        lambda machine: machine.freeze_a_try(frozen_at=1, script=[]),
    )
    assert COUNTS["written in a race"]


def confirm_once(
    setup: Setup, prepare: Callable[[SimulatedProcess], None] = lambda process: None
) -> tuple[Simulation, SimulatedProcess]:
    """Let one try confirm without a plan; nothing happens beside it but what ``prepare`` arranges."""
    with small_world():
        process = (simulation := Simulation(replace(setup, keeps="nothing"), COUNTS)).applying()
        prepare(process)
        process.run()
    return simulation, process


def result_so_far(process: SimulatedProcess) -> ConfirmationResult:
    """Return the counts of a try, also of one that an error has ended."""
    found: ConfirmationResult = process.result if process.error is None else process.counts()
    return found


@pytest.mark.parametrize("ending", ["stop", "error"])
@pytest.mark.parametrize("seed", range(10))
def test_once_stopped_or_failed_no_thread_begins_another_write(ending: str, seed: int) -> None:
    begun: list[bool] = []
    is_over = False

    def prepare(process: SimulatedProcess) -> None:
        emulator, update = process.simulation.emulator, process.client.proposals.confirm

        def noted(*args: Any, **more: Any) -> Any:
            nonlocal is_over
            begun.append(is_over)
            try:
                return update(*args, **more)
            except PermissionDenied:
                is_over = True
                raise

        def end(record: Any) -> None:
            nonlocal is_over
            if (
                record.method != "PUT"
                or process.simulation.dataset.annotated < 20
                or process.is_stopped
                or emulator.faults.rules
            ):
                return
            if ending == "stop":
                is_over = process.is_stopped = True
            else:
                emulator.faults.add("PUT", "data-annotations", "status", status=403, code="ModelArts.0108")

        process.client.proposals.confirm = noted  # type: ignore[method-assign]
        emulator.observers.append(end)

    simulation, process = confirm_once(Setup(samples=200, concurrency=8, latency=3.0, seed=seed), prepare)
    assert is_over
    assert not any(begun)
    result = result_so_far(process)
    assert result.confirmed == simulation.dataset.annotated < 200
    assert result.stopped is (ending == "stop")
    assert isinstance(process.error, PermissionDenied) is (ending == "error")


def test_a_single_pass_costs_one_read_per_page_two_to_find_the_end_and_one_for_the_count() -> None:
    simulation, process = confirm_once(Setup(samples=40))
    journal = simulation.emulator.journal
    assert (process.result.confirmed, process.result.passes) == (40, 1)
    assert journal.count("GET", "auto-annotations") == 40 / PAGE + 3
    assert journal.count("PUT") == 40 / PAGE
    assert process.result.requests == len(journal) - journal.count("POST", "auth/tokens")


def test_a_count_that_the_list_never_shows_is_named() -> None:
    def prepare(process: SimulatedProcess) -> None:
        page = process.client.proposals.page_of_rows

        def overcounted(*args: Any, **more: Any) -> Any:
            found = page(*args, **more)
            return replace(found, total=found.total + 2)

        process.client.proposals.page_of_rows = overcounted  # type: ignore[method-assign]

    result = confirm_once(Setup(samples=6), prepare)[1].result
    assert (result.confirmed, result.unaccounted, result.passes) == (6, 2, 2)
