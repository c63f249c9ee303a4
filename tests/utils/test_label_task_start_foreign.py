"""Jobs that somebody else has started: named, awaited or adopted, and never stopped (B1, B4, 501)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_provider_modelarts.client.errors import (
    LabelTaskFailed,
    LabelTaskTimeout,
    TaskAlreadyRunning,
)
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from airflow_provider_modelarts.utils.task_state import TaskKey
from tests.utils.task_life import ACTIVE, MOMENTS, TaskLife, both_ways, with_and_without_store


@both_ways
@with_and_without_store
def test_fail_names_the_running_job_and_a_retry_may_succeed(begin: Any, has_store: bool, deferrable: bool) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    running = life.somebody_starts()
    ending = life.attempt()
    assert type(ending.error) is TaskAlreadyRunning
    for word in ("ModelArts.4386", running, life.dataset_id, "if_running"):
        assert word in str(ending.error)
    life.clock.advance(600)
    life.is_over_as_undisturbed(life.retry())


@both_ways
@with_and_without_store
def test_wait_starts_after_it(begin: Any, has_store: bool, deferrable: bool) -> None:
    life = begin(has_store=has_store, deferrable=deferrable, parameters={"if_running": "wait"})
    begun = life.clock.now()
    life.somebody_starts()
    ending = life.attempt()
    life.is_over_as_undisturbed(ending)
    assert ending.deferrals == (2 if deferrable else 0)
    assert 600 <= life.clock.now() - begun <= 720


@both_ways
@with_and_without_store
def test_adopt_returns_it(begin: Any, has_store: bool, deferrable: bool) -> None:
    life = begin(has_store=has_store, deferrable=deferrable, parameters={"if_running": "adopt"})
    running = life.somebody_starts()
    ending = life.attempt()
    assert (ending.error, ending.result) == (None, running)
    assert life.ours == []


@both_ways
@with_and_without_store
@pytest.mark.parametrize("if_running", ["adopt", "wait"])
def test_the_deadline_counts_from_the_start_and_stops_nobody_elses_job(
    begin: Any, has_store: bool, deferrable: bool, if_running: str
) -> None:
    life = begin(has_store=has_store, deferrable=deferrable, parameters={"if_running": if_running})
    begun = life.clock.now()
    life.somebody_starts()
    ending = life.attempt(timeout=100)
    assert type(ending.error) is LabelTaskTimeout
    assert life.clock.now() - begun == pytest.approx(100, abs=1)
    assert life.stopped == []


@with_and_without_store
@pytest.mark.parametrize("if_running", ["fail", "adopt", "wait"])
def test_the_same_run_of_another_airflow_is_somebody_else(begin: Any, has_store: bool, if_running: str) -> None:
    """Scheduled runs have the same names everywhere."""
    theirs = begin(has_store=has_store, parameters={"wait_for_completion": False})
    job = theirs.attempt().result
    theirs.clock.advance(20)
    ours = TaskLife(
        theirs.emulator,
        theirs.clock,
        theirs.dataset_id,
        has_store=has_store,
        parameters={"if_running": if_running},
        foreign={job},
    )
    ending = ours.attempt()
    assert ours.stopped == []
    if if_running == "fail":
        assert ours.states[job] in ACTIVE
        assert job in str(ending.error)
    else:
        assert ours.states[job] == TaskState.SUCCEEDED
        assert (ending.result == job) == (if_running == "adopt")


@pytest.mark.parametrize("waits", [True, False])
def test_nothing_is_started_after_the_deadline(begin: Any, monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    given = {"if_running": "wait", "timeout": 400, "cancel_on_timeout": False, "wait_for_completion": waits}
    life = begin(deferrable=True, parameters=given)
    theirs = life.somebody_starts()
    resume_execution = ModelArtsStartLabelTaskOperator.resume_execution

    def late(operator: ModelArtsStartLabelTaskOperator, *arguments: Any) -> Any:
        life.clock.advance(200)  # no free slot in the pool
        return resume_execution(operator, *arguments)

    monkeypatch.setattr(ModelArtsStartLabelTaskOperator, "resume_execution", late)
    ending = life.attempt()
    assert type(ending.error) is LabelTaskTimeout
    assert life.states[theirs] == TaskState.SUCCEEDED
    assert life.ours == []


@pytest.mark.parametrize("waits", [True, False])
def test_airflows_alarm_while_somebody_elses_job_is_awaited_starts_nothing(
    begin: Any, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    given = {"if_running": "wait", "execution_timeout": timedelta(seconds=310), "wait_for_completion": waits}
    life = begin(deferrable=False, parameters=given)
    theirs = life.somebody_starts()
    sleep = life.clock.sleep
    struck: list[float] = []

    def sleep_until_the_alarm(seconds: float) -> None:
        sleep(seconds)
        if not struck and life.states[theirs] == TaskState.SUCCEEDED:
            life.clock.advance(20)
            struck.append(life.clock.now())
            raise AirflowTaskTimeout("Timeout, PID: 1")

    monkeypatch.setattr(life.clock, "sleep", sleep_until_the_alarm)
    ending = life.attempt()
    assert struck
    assert type(ending.error) is LabelTaskTimeout
    assert life.ours == []


@both_ways
def test_the_deadline_covers_waiting_and_the_own_job(begin: Any, deferrable: bool) -> None:
    life = begin(deferrable=deferrable, parameters={"if_running": "wait"})
    begun = life.clock.now()
    life.somebody_starts()
    ending = life.attempt(timeout=450)
    assert type(ending.error) is LabelTaskTimeout
    assert life.clock.now() - begun == pytest.approx(450, abs=1)
    assert life.stopped == life.ours
    assert len(life.ours) == 1


@pytest.mark.parametrize("crash", ["before_it_is_deferred", "before_the_result"])
def test_an_adopted_job_is_found_again_after_a_crash(begin: Any, crash: str) -> None:
    life = begin(parameters={"if_running": "adopt"})
    running = life.somebody_starts()
    life.attempt(crash=MOMENTS[crash])
    assert life.retry().result == running
    assert life.ours == []


def test_after_an_adopted_job_has_failed_a_retry_starts_its_own(begin: Any) -> None:
    life = begin(parameters={"if_running": "adopt"})
    life.emulator.dataset(life.dataset_id).fail_next_task()
    life.somebody_starts()
    assert type(life.attempt().error) is LabelTaskFailed
    life.is_over_as_undisturbed(life.retry())


@both_ways
@pytest.mark.parametrize("if_running", ["adopt", "wait"])
def test_a_clear_does_not_stop_somebody_elses_job(begin: Any, deferrable: bool, if_running: str) -> None:
    life = begin(deferrable=deferrable, parameters={"if_running": if_running})
    life.somebody_starts()
    life.attempt(crash=MOMENTS["before_the_result"] if if_running == "adopt" else MOMENTS["before_the_reply"])
    life.clear()
    assert not set(life.stopped) & life.foreign


@both_ways
@pytest.mark.parametrize("if_running", ["adopt", "wait"])
def test_a_user_who_ends_the_task_does_not_stop_somebody_elses_job(
    begin: Any, monkeypatch: pytest.MonkeyPatch, deferrable: bool, if_running: str
) -> None:
    life = begin(deferrable=deferrable, parameters={"if_running": if_running})
    theirs = life.somebody_starts()
    monkeypatch.setattr(TaskKey, "read_state", lambda _: "failed")
    operators: list[ModelArtsStartLabelTaskOperator] = []
    triggers: list[ModelArtsLabelTaskTrigger] = []
    follow, run, sleep = ModelArtsStartLabelTaskOperator._follow, ModelArtsLabelTaskTrigger.run, life.clock.sleep

    def noted_follow(operator: ModelArtsStartLabelTaskOperator, *args: Any) -> str:
        operators.append(operator)
        return follow(operator, *args)

    def noted_run(trigger: ModelArtsLabelTaskTrigger) -> Any:
        triggers.append(trigger)
        return run(trigger)

    def sleep_and_kill(seconds: float) -> None:
        sleep(seconds)
        if life.states[theirs] in ACTIVE:
            operators[-1].on_kill()

    monkeypatch.setattr(ModelArtsStartLabelTaskOperator, "_follow", noted_follow)
    monkeypatch.setattr(ModelArtsLabelTaskTrigger, "run", noted_run)
    monkeypatch.setattr(life.clock, "sleep", sleep_and_kill)
    life.attempt()
    assert operators
    assert life.states[theirs] == TaskState.SUCCEEDED
    assert theirs not in life.stopped
    if deferrable:
        assert [trigger.cancel_on_kill for trigger in triggers if trigger.label_task_id == theirs] == [False]


def test_airflows_own_deadline_stops_nobody_elses_job(begin: Any) -> None:
    life = begin(parameters={"if_running": "adopt"})
    life.somebody_starts()
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    operator = ModelArtsStartLabelTaskOperator(task_id="start", dataset_id=life.dataset_id, if_running="adopt")
    with pytest.raises(LabelTaskTimeout):
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, life.context())
    assert life.stopped == []


@both_ways
def test_a_job_on_its_way_out_is_waited_for_whatever_if_running_says(begin: Any, deferrable: bool) -> None:
    life = begin(deferrable=deferrable)
    life.somebody_stops(life.somebody_starts())
    life.is_over_as_undisturbed(life.attempt())


@both_ways
@pytest.mark.parametrize("if_running", ["adopt", "wait"])
def test_a_job_that_vanishes_while_it_is_in_the_way(begin: Any, deferrable: bool, if_running: str) -> None:
    life = begin(deferrable=deferrable, parameters={"if_running": if_running})
    running = life.somebody_starts()
    sleep = life.clock.sleep
    with pytest.MonkeyPatch.context() as patch:

        def sleep_and_forget(seconds: float) -> None:
            sleep(seconds)
            life.emulator._store.datasets[life.dataset_id].tasks.pop(running, None)

        patch.setattr(life.clock, "sleep", sleep_and_forget)
        ending = life.attempt()
    if if_running == "wait":
        life.is_over_as_undisturbed(ending)
    else:
        assert type(ending.error) is AirflowFailException


def test_too_many_running_is_waited_for_too(begin: Any) -> None:
    life = begin(parameters={"if_running": "wait"})
    life.emulator.variants.max_running_tasks = 1
    life.somebody_starts(task_type="pre-label", model_id="model")
    life.is_over_as_undisturbed(life.attempt())
