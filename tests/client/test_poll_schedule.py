"""The schedule of polls: often at first, in step with nobody, and the same in whichever process."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_modelarts.client.poll_schedule import PollSchedule

START = 1_000_000.0


def schedule(seed: str = "t1", **settings: Any) -> PollSchedule:
    return PollSchedule(seed, deadline=START + 86_400, **settings)


def looks_of(polls: PollSchedule, job_seconds: float, *, resumed_after: float = 0) -> list[float]:
    """The moments, from the start of the wait, at which this process looks at a job that takes so long."""
    now, looks = START + resumed_after, []
    pause = polls.first_pause(now)
    while not looks or looks[-1] < job_seconds:
        now += pause
        looks.append(now - START)
        pause = polls.next_pause(now)
    return looks


def test_it_looks_often_for_a_minute_then_every_interval() -> None:
    looks = [0.0, *looks_of(schedule(poll_interval=30), 600)]
    gaps = [late - early for early, late in itertools.pairwise(looks)]
    assert all(plain <= gap <= plain * 1.1 for plain, gap in zip([5, 5, 9, 9, 9, 9, 9, 9], gaps, strict=False))
    assert all(30 <= gap <= 33 for gap in gaps[8:])


@given(st.integers(), st.floats(min_value=0, max_value=60), st.floats(min_value=0.1, max_value=600))
def test_a_job_under_a_minute_is_noticed_within_10_seconds(seed: int, seconds: float, interval: float) -> None:
    assert looks_of(schedule(str(seed), poll_interval=interval), seconds)[-1] <= seconds + 10


@given(st.integers())
def test_an_hour_costs_at_most_130_requests(seed: int) -> None:
    assert len(looks_of(schedule(str(seed)), 3600)) <= 130


def test_an_impatient_caller_is_served_from_the_start() -> None:
    assert looks_of(schedule(poll_interval=1), 3)[-1] <= 4.4


@given(st.integers(), st.floats(min_value=0, max_value=7200), st.floats(min_value=0.1, max_value=600))
def test_a_new_process_goes_on_with_the_schedule(seed: int, elapsed: float, interval: float) -> None:
    looks = looks_of(schedule(str(seed), poll_interval=interval, started=START), elapsed + 70, resumed_after=elapsed)
    usual = min(5 if elapsed < 10 else 9 if elapsed < 60 else interval, interval)
    assert elapsed <= looks[0] <= elapsed + min(usual * 1.1, 30)
    gaps = [late - early for early, late in itertools.pairwise(looks)]
    assert all(gap >= interval for early, gap in zip(looks, gaps, strict=False) if early >= 60)
    assert all(gap <= 10 for early, gap in zip(looks, gaps, strict=False) if early < 60)


def test_another_process_knows_when_a_look_is_due() -> None:
    assert schedule(started=START).first_pause(START + 3, START + 600) == 597
    assert schedule(started=START).first_pause(START + 700, START + 600) < 60
    # written on a machine that is ahead by 1,000 s
    assert schedule(started=START + 1000).first_pause(START, START + 1009) == pytest.approx(9)


def test_the_first_look_of_all_comes_when_it_is_due_whichever_process_looks() -> None:
    late = schedule(started=START).first_pause(START + 3)
    assert START + 3 + late == pytest.approx(START + schedule().first_pause(START))


def test_a_beginning_in_the_future_delays_nothing() -> None:
    assert schedule(started=START + 600).first_pause(START) == schedule().first_pause(START)


def test_waits_that_are_resumed_together_spread_over_the_gap_in_which_they_were_due() -> None:
    waits = [schedule(f"t{number}", started=START) for number in range(1000)]
    firsts = [one.first_pause(START + 600) for one in waits]
    by_tenths = [sum(3 * tenth <= first < 3 * (tenth + 1) for first in firsts) for tenth in range(10)]
    assert max(by_tenths) < 150
    assert max(firsts) <= 30


def test_waits_for_different_tasks_do_not_march_in_step() -> None:
    firsts = {schedule(f"t{number}").first_pause(START) for number in range(20)}
    assert len(firsts) == 20


def test_the_same_wait_keeps_the_same_schedule() -> None:
    assert looks_of(schedule(), 300) == looks_of(schedule(), 300)


def test_the_service_is_left_alone_for_as_long_as_it_asks_but_not_beyond_the_deadline() -> None:
    assert schedule().next_pause(START, at_least=77) == 77
    assert schedule().next_pause(START + 86_399, at_least=77) == 1
