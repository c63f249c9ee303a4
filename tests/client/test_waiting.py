"""The pure wait: what answers and errors mean, outcomes, and what survives a trip through an event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_modelarts.client.errors import (
    ERRORS,
    LabelTaskFailed,
    LabelTaskStopped,
    LabelTaskTimeout,
    ModelArtsError,
    NotFound,
    ServiceUnavailable,
    Throttled,
)
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS
from airflow_provider_modelarts.client.resources.tasks import LabelTask
from airflow_provider_modelarts.client.waiting import Outcome, Wait

START = 1_000_000.0


def task(status: int | None, **fields: Any) -> LabelTask:
    return LabelTask({"status": status, **fields})


def wait(seconds: float = 86_400, **settings: Any) -> Wait:
    return Wait("d1", "t1", deadline=START + seconds, **settings)


@given(
    st.lists(st.sampled_from([-1, 0, 1, 4, 9, None, "down", "throttled"]), max_size=30),
    st.floats(min_value=0.5, max_value=500),
    st.floats(min_value=0.1, max_value=90),
)
def test_a_wait_never_sleeps_past_its_deadline_and_ends_there(
    stories: list[int | str | None], seconds: float, interval: float
) -> None:
    waiting = wait(seconds, poll_interval=interval)
    now = START
    step: Outcome | float = waiting.first_pause(now)
    for story in stories + [1] * 10_000:
        assert isinstance(step, float)
        assert 0 <= step <= START + seconds - now
        now += step
        if story == "down":
            step = waiting.on_error(ServiceUnavailable("down", status=503), now)
        elif story == "throttled":
            step = waiting.on_error(Throttled("slow", status=429, retry_after=1000), now)
        else:
            step = waiting.on_answer(task(story), now)  # type: ignore[arg-type]
        if isinstance(step, Outcome):
            break
    assert isinstance(step, Outcome)
    assert step.status == "timeout"
    assert now == pytest.approx(START + seconds)


def test_a_job_that_ends_at_the_deadline_is_seen_there() -> None:
    assert wait(10).on_answer(task(3), START + 10).status == "success"  # type: ignore[union-attr]


def test_retry_after_is_honoured() -> None:
    assert wait().on_error(Throttled("slow", status=429, retry_after=77), START) == 77


def test_a_wait_for_ones_own_survives_odd_answers_but_not_many_in_a_row() -> None:
    error = NotFound("gone", status=400, code="ModelArts.4612")
    waiting, now = wait(is_patient=True), START
    for _ in range(ODD_ANSWERS - 1):
        assert isinstance(waiting.on_error(error, now), float)
    assert isinstance(waiting.on_answer(task(1), now), float)
    for _ in range(ODD_ANSWERS - 1):
        assert isinstance(waiting.on_error(error, now), float)
        assert isinstance(waiting.on_error(ServiceUnavailable("down", status=503), now), float)
    outcome = waiting.on_error(error, now)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "error"


def test_the_deadline_comes_also_between_odd_answers() -> None:
    outcome = wait(10, is_patient=True).on_error(NotFound("gone", status=404), START + 10)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "timeout"


def test_a_permanent_error_ends_the_wait_at_once() -> None:
    error = NotFound("Cannot read labeling task t1 of dataset d1: gone.", status=400, code="ModelArts.4612")
    outcome = wait().on_error(error, START)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "error"
    assert str(outcome.exception()) == str(error)
    assert type(outcome.exception()) is NotFound


def test_an_unknown_state_keeps_waiting_and_is_told_once() -> None:
    waiting = wait()
    lines = [waiting.progress(task(17)) for _ in range(3)]
    assert isinstance(waiting.on_answer(task(17), START), float)
    assert [line is None for line in lines] == [False, True, True]
    assert "unknown state 17" in (lines[0] or "")


def test_progress_is_told_only_when_something_changes() -> None:
    waiting = wait()
    early = {"events": [{"name": "labeling", "status": "running", "events": [{"name": "fit", "status": "running"}]}]}
    story = [task(1, progress=30), task(1, progress=30.0), task(1, progress=30, result=early), task(3, progress=100.0)]
    lines = [waiting.progress(seen) for seen in story]
    assert lines == [
        "Labeling task t1 of dataset d1: running, 30 %",
        None,
        "Labeling task t1 of dataset d1: running, 30 %, step labeling/fit",
        "Labeling task t1 of dataset d1: succeeded, 100 %",
    ]


FAILED = task(
    2,
    error_code="ModelArts.4917",
    error_msg="Auto-label job failed.",
    error_detail="image 7 has four channels",
    result={"events": [{"name": "labeling", "status": "failed", "error_code": "E1", "error_message": "bad image"}]},
)


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (FAILED, LabelTaskFailed, ["ModelArts.4917", "four channels", "labeling (E1 bad image)", "t1", "d1"]),
        (task(2), LabelTaskFailed, ["no reason"]),
        (task(5), LabelTaskStopped, ["t1", "d1", "stopped"]),
        (task(1, progress=30), LabelTaskTimeout, ["running, 30 %", "deadline"]),
    ],
)
def test_outcomes_raise_the_same_after_a_trip_through_an_event(
    seen: LabelTask, expected: type[ModelArtsError], words: list[str]
) -> None:
    outcome = wait(0).on_answer(seen, START)
    assert isinstance(outcome, Outcome)
    event = json.loads(json.dumps(outcome.to_event(), allow_nan=False))
    assert set(event) == {"status", "label_task_id", "message", "summary"}
    back = Outcome.from_event(event)
    assert back == outcome
    error, again = outcome.exception(), back.exception()
    assert type(error) is type(again) is expected
    assert str(error) == str(again)
    assert all(word in str(error) for word in words)
    assert "\n" not in str(error)


def test_success_raises_nothing_and_says_how_it_went() -> None:
    outcome = wait().on_answer(task(3, progress=100.0, elapsed_time=397, unconfirmed_sample_count=198), START)
    assert isinstance(outcome, Outcome)
    assert outcome.exception() is None
    assert outcome.summary["unconfirmed_sample_count"] == 198
    assert outcome.summary["state"] == 3


def test_a_timeout_tells_the_last_error() -> None:
    outcome = wait(0).on_error(ServiceUnavailable("Cannot read: down.", status=503), START)
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.exception(), LabelTaskTimeout)
    assert "down" in outcome.message


@pytest.mark.parametrize("name", [name for name, error in ERRORS.items() if error.permanent])
def test_every_permanent_error_comes_back_as_itself(name: str) -> None:
    error = ERRORS[name]("what", status=403, code="c", request_id="r", method="GET", path="/p")
    outcome = wait().on_error(error, START)
    assert isinstance(outcome, Outcome)
    back = Outcome.from_event(json.loads(json.dumps(outcome.to_event()))).exception()
    assert type(back) is ERRORS[name]
    assert str(back) == str(error)


def test_what_the_service_says_about_a_task_is_shown_without_signatures() -> None:
    url = "https://b.obs.example.com/a.jpg?AccessKeyId=AK&Signature=SIGNED"
    event = {"name": "labeling", "status": "failed", "error_code": "E1", "error_message": url}
    texts = dict.fromkeys(("message", "error_msg", "error_detail"), f"cannot read {url} today")
    outcome = wait().on_answer(task(2, **texts, result={"events": [event]}), START)
    assert isinstance(outcome, Outcome)
    shown = json.dumps(outcome.to_event()) + str(outcome.exception())
    assert "a.jpg" in shown
    assert "SIGNED" not in shown
    assert "SIGNED" not in repr(task(2, **texts))


def test_what_the_service_says_about_a_task_can_be_stored_and_is_short() -> None:
    event = {"name": "step \ud83d" * 1000, "status": "failed", "error_code": "E1", "error_message": "\udc00" * 1000}
    texts = dict.fromkeys(
        ("code", "message", "error_code", "error_msg", "error_detail"), "no label rose \ud83d \x00" * 1000
    )
    outcome = wait().on_answer(task(2, **texts, result={"events": [event]}), START)
    assert isinstance(outcome, Outcome)
    stored = json.dumps(outcome.to_event(), ensure_ascii=False).encode()
    assert b"\\u0000" not in stored
    assert len(stored) < 8000
    refused = ERRORS["InvalidRequest"]("no label rose \ud83d" * 10_000, status=400, code="c")
    outcome = wait().on_error(refused, START)
    assert isinstance(outcome, Outcome)
    assert len(json.dumps(outcome.summary, ensure_ascii=False).encode()) < 4000
    assert str(refused).isprintable()
