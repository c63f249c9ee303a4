"""Confirming in the model: people, faults, time (B13 to B18), and the wrong versions that must not pass."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client.errors import PermissionDenied
from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused
from tests.labeling.model import ModelService, Violation, raw_label, raw_sample
from tests.labeling.mutants import MUTANTS
from tests.labeling.retries import with_another_try_that_plans, with_kills, with_kills_among_people
from tests.labeling.simulation import (
    confirm_in,
    confirmation_in,
    in_calm,
    in_storms,
    judge,
    simulate,
    small_crew,
    small_pages,
    with_a_trimming_filter,
    with_newcomers_after_the_guard,
)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    small_pages(monkeypatch)


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rng=st.randoms(use_true_random=False))
def test_no_label_is_lost_whatever_happens(rng: random.Random) -> None:
    judge(simulate(rng))


def test_every_event_happens_in_the_storms() -> None:
    events = sum((simulate(random.Random(seed)).events for seed in range(150)), start=simulate(random.Random(0)).events)
    wanted = {
        *("correct", "clear", "propose first", "propose last", "repropose", "read fault", "busy"),
        *("lost before", "lost after", "throttled", "no connection", "bad json", "too large", "slow token"),
        *("positional", "missing", "short", "shuffled"),
    }
    assert {event for event in wanted if events[event] >= 5} == wanted


@pytest.mark.parametrize(
    "scenario",
    [
        *(in_storms, in_calm, with_newcomers_after_the_guard, with_a_trimming_filter, with_kills_among_people),
        with_another_try_that_plans,
    ],
    ids=lambda s: s.__name__,
)
def test_scenarios_hold(scenario: object) -> None:
    assert callable(scenario)
    scenario()


def test_a_killed_run_is_finished_by_a_later_try() -> None:
    events = with_kills(150)
    assert {event for event, number in events.items() if number >= 3} >= {
        *("killed at page", "killed at update", "killed at final", "killed at store")
    }


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_versions_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, scenario = MUTANTS[name]
    mutate(monkeypatch)
    # Some of them the code itself finds out.
    with pytest.raises((Violation, PlanRefused)):
        scenario()


@pytest.mark.parametrize("ending", ["stop", "error"])
@pytest.mark.parametrize("seed", range(10))
def test_once_stopped_or_failed_no_thread_begins_another_write(ending: str, seed: int) -> None:
    service = ModelService([raw_sample(number, [raw_label()]) for number in range(200)], random.Random(seed))
    begun: list[bool] = []
    is_over = False
    update = service.update

    def noted(*args: object, **kwargs: object) -> object:
        begun.append(is_over)
        return update(*args, **kwargs)  # type: ignore[arg-type]

    def meanwhile(kind: str) -> None:
        nonlocal is_over
        if kind == "update" and len(service.final) >= 20 and not is_over:
            is_over = True
            if ending == "error":
                raise PermissionDenied("No.", status=403, code="ModelArts.0108", sent=False)

    service.update = noted  # type: ignore[assignment,method-assign]
    service.before_request = meanwhile
    run = confirmation_in(service, concurrency=8, should_stop=lambda: ending == "stop" and is_over)
    with small_crew(service), suppress(PermissionDenied):
        run.run()
    result = run.result()
    assert result is not None
    assert is_over
    assert not any(begun)
    assert result.confirmed == len(service.final) < 200
    assert result.stopped is (ending == "stop")


def test_a_single_walk_costs_one_read_per_page_two_for_bearings_and_one_for_the_count() -> None:
    service = ModelService([raw_sample(number, [raw_label()]) for number in range(40)])
    result = confirm_in(service)
    assert (result.confirmed, result.passes) == (40, 1)
    assert service.journal.count("page") == 40 / 4 + 3
    assert service.journal.count("update") == 40 / 4
    assert result.requests == len(service.journal)


def test_a_count_that_the_list_never_shows_is_named() -> None:
    service = ModelService([raw_sample(number, [raw_label()]) for number in range(6)])
    page = service.page

    def overcounted(*args: object, **kwargs: object) -> object:
        from dataclasses import replace

        found = page(*args, **kwargs)  # type: ignore[arg-type]
        return replace(found, total=found.total + 2)

    service.page = overcounted  # type: ignore[assignment,method-assign]
    result = confirm_in(service)
    assert (result.confirmed, result.unaccounted, result.passes) == (6, 2, 2)
