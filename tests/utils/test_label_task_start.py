"""One labeling task per intent: crashes at each moment, lost replies, retries, clears (B1, B3, B4)."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_provider_modelarts.client.errors import (
    LabelTaskFailed,
    LabelTaskStopped,
    LabelTaskTimeout,
    StartUnknown,
    TaskAlreadyRunning,
)
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS
from airflow_provider_modelarts.client.resources.tasks import Tasks
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators._on_kill import LabelTaskStopper
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.utils.task_record import RECORD_KEY, LabelTaskRecord, RecordStore
from tests.utils.task_life import (
    ACTIVE,
    MOMENTS,
    before_it_is_stored,
    before_the_reply,
    before_the_result,
    both_ways,
    while_it_stops_what_was_cleared,
    with_and_without_store,
)

# --- crashes


@both_ways
@with_and_without_store
@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_crash_the_next_try_ends_as_if_nothing_had_happened(
    begin: Any, moment: str, has_store: bool, deferrable: bool
) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    assert life.attempt(crash=MOMENTS[moment]) is None
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == len(life.names) == 1
    assert life.stopped == []


@pytest.mark.parametrize("shown", ["absent", "invented"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_service_that_shows_no_names_is_no_hindrance(begin: Any, moment: str, shown: str) -> None:
    life = begin()
    life.emulator.variants.config_name = shown
    life.somebody_starts()
    life.clock.advance(600)
    assert life.attempt(crash=MOMENTS[moment]) is None
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 1


def test_what_was_found_by_elimination_alone_is_never_stopped(begin: Any) -> None:
    life = begin()
    life.emulator.variants.config_name = "absent"
    life.attempt(crash=before_the_reply)
    ending = life.retry(timeout=60)
    assert type(ending.error) is LabelTaskTimeout
    assert life.stopped == []
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 1


def test_what_somebody_else_starts_after_a_crash_is_not_taken_for_ours(begin: Any) -> None:
    life = begin()
    life.attempt()
    life.clock.advance(600)
    life.clear(crash=MOMENTS["before_the_start"])
    life.somebody_starts()
    ending = life.retry()
    assert type(ending.error) is TaskAlreadyRunning
    life.clock.advance(600)
    life.is_over_as_undisturbed(life.retry())


def test_of_several_that_may_be_ours_none_is_taken_and_all_are_named(begin: Any) -> None:
    life = begin()
    life.emulator.variants.config_name = "absent"
    life.attempt(crash=before_the_reply)
    life.clock.advance(600)
    life.somebody_starts()
    ending = life.retry()
    assert type(ending.error) is AirflowFailException
    assert all(label_task_id in str(ending.error) for label_task_id in life.states)
    life.clock.advance(600)
    life.is_over_as_undisturbed(life.clear())
    assert len(life.names) == 3


def test_a_zombie_starts_nothing(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    life = begin()

    def broken(*_: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(life.store, "set", broken)
    assert type(life.attempt().error) is BrokenPipeError
    assert life.names == []


@both_ways
def test_a_zombie_stops_nothing_at_its_deadline(begin: Any, monkeypatch: pytest.MonkeyPatch, deferrable: bool) -> None:
    life = begin(deferrable=deferrable)
    write = RecordStore.write

    def broken(store: RecordStore, record: LabelTaskRecord) -> None:
        if record.phase == "ending":
            raise BrokenPipeError
        write(store, record)

    monkeypatch.setattr(RecordStore, "write", broken)
    assert type(life.attempt(timeout=60).error) is LabelTaskTimeout
    assert life.stopped == []


@with_and_without_store
@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
@pytest.mark.parametrize("shown", ["echo", "absent", "invented"])
def test_a_lost_reply_is_answered_by_finding_what_was_started(
    begin: Any, has_store: bool, kind: str, shown: str
) -> None:
    life = begin(has_store=has_store)
    life.emulator.variants.config_name = shown
    fault = life.emulator.faults.add("POST", "/tasks", kind)
    life.is_over_as_undisturbed(life.attempt())
    assert fault.fired == len(life.ours) == len(life.names) == 1


def test_a_lost_request_is_sent_again_by_the_next_try_only(begin: Any) -> None:
    life = begin()
    fault = life.emulator.faults.add("POST", "/tasks", "reset")
    assert type(life.attempt().error) is StartUnknown
    assert fault.fired == 1
    assert life.ours == []
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 1


def test_after_a_refused_start_the_next_try_takes_nobody_elses_job_for_its_own(begin: Any) -> None:
    life = begin()
    life.emulator.variants.config_name = "absent"
    refusing = life.emulator.faults.add("POST", "/tasks", "status", status=403, code="ModelArts.0108")
    assert type(life.attempt().error) is AirflowFailException
    assert refusing.fired == 1
    life.somebody_starts()  # no name tells that it is not ours, and it was not there before
    assert type(life.retry().error) is TaskAlreadyRunning
    life.clock.advance(600)
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 1


def test_after_a_lost_request_an_old_job_of_the_same_name_is_not_the_one(begin: Any) -> None:
    life = begin()
    life.attempt(crash=before_the_result, algorithm_type="fast")
    (old,) = life.ours
    assert life.states[old] == TaskState.SUCCEEDED
    life.emulator.faults.add("POST", "/tasks", "reset")
    ending = life.retry(algorithm_type="accurate")  # a mapping in another order, or another DAG: same name, other job
    assert type(ending.error) is StartUnknown
    assert life.ours == [old]
    assert life.retry(algorithm_type="accurate").result == life.ours[-1] != old


# --- Airflow's own alarm


@pytest.mark.parametrize("call", ["start", "stop"])
@pytest.mark.parametrize("arrived", [True, False])
def test_airflows_alarm_in_the_middle_of_a_call_leaves_no_job_behind(
    begin: Any, monkeypatch: pytest.MonkeyPatch, call: str, arrived: bool
) -> None:
    life = begin(deferrable=False)
    real = getattr(Tasks, call)
    alarms = iter([True])

    def interrupted(*arguments: Any, **parameters: Any) -> Any:
        struck = next(alarms, False)
        if arrived or not struck:
            found = real(*arguments, **parameters)
        if struck:
            raise AirflowTaskTimeout("Timeout, PID: 1")
        return found

    monkeypatch.setattr(Tasks, call, interrupted)
    assert type(life.attempt(timeout=60).error) is LabelTaskTimeout
    assert len(life.ours) == (0 if (call, arrived) == ("start", False) else 1)
    assert life.stopped == life.ours


# --- retries


@both_ways
@with_and_without_store
@pytest.mark.parametrize("end", ["fails", "is stopped", "is deleted"])
def test_a_job_that_died_is_followed_by_one_more(begin: Any, end: str, has_store: bool, deferrable: bool) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    if end == "fails":
        life.emulator.dataset(life.dataset_id).fail_next_task()
        assert type(life.attempt().error) is LabelTaskFailed
    else:
        life.attempt(crash=MOMENTS["before_it_is_deferred"])
        (job,) = life.ours
        if end == "is stopped":
            life.somebody_stops(job)
            life.clock.advance(600)
        else:
            life.emulator.dataset(life.dataset_id).forget_task(job)
    life.is_over_as_undisturbed(life.retry())
    assert len(life.names) == 2
    assert life.names[0] == life.names[1]


@both_ways
@pytest.mark.parametrize("shown", ["echo", "absent"])
@pytest.mark.parametrize("odd", [{"status": 400, "code": "ModelArts.4612"}, {"status": 403, "code": "ModelArts.0108"}])
def test_a_few_odd_answers_do_not_let_a_retry_take_its_job_for_gone(
    begin: Any, deferrable: bool, shown: str, odd: dict[str, Any]
) -> None:
    life = begin(deferrable=deferrable)
    life.emulator.variants.config_name = shown
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    fault = life.emulator.faults.add("GET", "/tasks/", "status", times=ODD_ANSWERS - 1, **odd)
    life.is_over_as_undisturbed(life.retry())
    assert fault.fired == ODD_ANSWERS - 1
    assert len(life.names) == 1


@both_ways
@pytest.mark.parametrize("cancel_on_timeout", [True, False])
def test_a_retry_that_is_refused_each_look_names_its_job_and_leaves_it_to_the_next(
    begin: Any, deferrable: bool, cancel_on_timeout: bool
) -> None:
    life = begin(deferrable=deferrable, parameters={"cancel_on_timeout": cancel_on_timeout})
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    (job,) = life.ours
    life.emulator.faults.add("GET", "/tasks/", "status", times=ODD_ANSWERS, status=403, code="ModelArts.0108")
    ending = life.retry()
    assert type(ending.error) is LabelTaskUnreadableError
    assert job in str(ending.error)
    assert life.stopped == ([job] if cancel_on_timeout else [])
    life.is_over_as_undisturbed(life.retry())
    assert len(life.names) == (2 if cancel_on_timeout else 1)


@both_ways
def test_odd_answers_about_what_was_found_by_elimination_are_survived_too(begin: Any, deferrable: bool) -> None:
    life = begin(deferrable=deferrable)
    life.emulator.variants.config_name = "absent"
    life.emulator.faults.add("POST", "/tasks", "reset_after")
    fault = life.emulator.faults.add(
        "GET", "/tasks/", "status", times=ODD_ANSWERS - 1, after=1, status=403, code="ModelArts.0108"
    )
    life.is_over_as_undisturbed(life.attempt())
    assert fault.fired == ODD_ANSWERS - 1


def test_an_odd_answer_after_a_lost_reply_leaves_no_job_behind(begin: Any) -> None:
    life = begin()
    life.emulator.faults.add("POST", "/tasks", "reset_after")
    fault = life.emulator.faults.add("GET", "/tasks", "status", after=1, times=2, status=403, code="ModelArts.0108")
    life.is_over_as_undisturbed(life.attempt())
    assert fault.fired == 2


LISTS: dict[str, Any] = {"method": "GET", "path_part": "/tasks", "match": lambda call: call.path.endswith("/tasks")}


@with_and_without_store
@pytest.mark.parametrize("moment", ["before_the_reply", "before_it_is_stored"])
@pytest.mark.parametrize("odd", [{"status": 404, "code": "APIGW.0101"}, {"status": 403, "code": "ModelArts.0108"}])
def test_a_few_odd_answers_about_the_list_end_no_retry_whose_job_may_be_running(
    begin: Any, has_store: bool, moment: str, odd: dict[str, Any]
) -> None:
    life = begin(has_store=has_store)
    life.attempt(crash=MOMENTS[moment])
    fault = life.emulator.faults.add(**LISTS, kind="status", times=ODD_ANSWERS - 1, **odd)
    life.is_over_as_undisturbed(life.retry())
    assert fault.fired == ODD_ANSWERS - 1
    assert len(life.names) == 1


@with_and_without_store
def test_a_retry_that_is_refused_each_list_says_that_a_job_may_be_running_and_leaves_it_to_the_next(
    begin: Any, has_store: bool
) -> None:
    life = begin(has_store=has_store)
    life.attempt(crash=before_the_reply)
    life.emulator.faults.add(**LISTS, kind="status", times=ODD_ANSWERS, status=403, code="ModelArts.0108")
    ending = life.retry()
    assert type(ending.error) is LabelTaskUnreadableError
    assert life.dataset_id in str(ending.error)
    assert "may still be running" in str(ending.error)
    life.is_over_as_undisturbed(life.retry())
    assert len(life.names) == 1


@both_ways
@with_and_without_store
def test_a_job_that_finished_while_nobody_looked_gives_its_result_at_once(
    begin: Any, has_store: bool, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    life.attempt(crash=before_it_is_stored)
    life.clock.advance(3600)
    # A trigger that fires at once can make Airflow try once more.
    monkeypatch.setattr(ModelArtsStartLabelTaskOperator, "defer", lambda *_, **__: pytest.fail("deferred"))
    began = life.clock.now()
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 1
    assert life.clock.now() - began < 5


@both_ways
@with_and_without_store
def test_a_retry_after_the_deadline_waits_out_what_is_being_stopped(
    begin: Any, has_store: bool, deferrable: bool
) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    assert type(life.attempt(timeout=60).error) is LabelTaskTimeout
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 2
    assert life.stopped == life.ours[:1]


def test_without_cancel_on_timeout_a_retry_goes_on_with_the_same_job(begin: Any) -> None:
    life = begin(parameters={"cancel_on_timeout": False})
    assert type(life.attempt(timeout=60).error) is LabelTaskTimeout
    life.is_over_as_undisturbed(life.retry())
    assert len(life.ours) == 1


@pytest.mark.parametrize("cancel_on_kill", [True, False])
def test_a_retry_with_other_inputs_does_not_take_the_old_job(begin: Any, cancel_on_kill: bool) -> None:
    life = begin(parameters={"cancel_on_kill": cancel_on_kill})
    life.attempt(crash=MOMENTS["before_it_is_deferred"], algorithm_type="fast")
    ending = life.retry(algorithm_type="accurate")
    assert ending.result == life.ours[-1]
    assert len(life.ours) == 2
    assert life.stopped == (life.ours[:1] if cancel_on_kill else [])


@pytest.mark.parametrize("step", ["retry", "clear"])
def test_a_mapped_task_that_got_anothers_input_leaves_that_ones_result_alone(begin: Any, step: str) -> None:
    life = begin(map_index=1)
    life.attempt(crash=before_the_result)
    other = life.emulator.load_digits(labeled=120)
    ending = getattr(life, step)(dataset_id=other)
    assert ending.error is None
    assert list(life.emulator.dataset(other).tasks) == [ending.result]


@both_ways
def test_a_service_that_asks_a_retry_for_patience_gets_it(begin: Any, deferrable: bool) -> None:
    life = begin(deferrable=deferrable)
    life.emulator.task_seconds = 1200
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    rule = life.emulator.faults.add("GET", "/tasks/", "status", after=1, status=429, headers={"Retry-After": "600"})
    life.emulator.journal.clear()
    life.is_over_as_undisturbed(life.retry())
    assert rule.fired
    asked = life.emulator.journal.select("GET", f"/tasks/{life.ours[0]}")
    refused = next(number for number, record in enumerate(asked) if record.status == 429)
    assert asked[refused + 1].time - asked[refused].time == pytest.approx(600, abs=1)


# --- clears


@both_ways
@with_and_without_store
@pytest.mark.parametrize("moment", ["before_the_reply", "before_it_is_stored", "before_it_is_deferred"])
def test_a_clear_stops_the_old_job_once_and_starts_one(
    begin: Any, moment: str, has_store: bool, deferrable: bool
) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    life.attempt(crash=MOMENTS[moment])
    (old,) = life.ours
    life.is_over_as_undisturbed(life.clear())
    assert life.stopped == [old]
    assert life.states[old] == TaskState.STOPPED
    assert len(life.ours) == 2
    assert life.names[0] != life.names[1]


@with_and_without_store
@pytest.mark.parametrize("if_running", ["fail", "adopt", "wait"])
def test_a_clear_of_a_run_that_was_over_stops_what_the_start_has_left_running(
    begin: Any, has_store: bool, if_running: str
) -> None:
    life = begin(has_store=has_store, parameters={"wait_for_completion": False, "if_running": if_running})
    old = life.attempt().result
    life.clock.advance(100)
    ending = life.clear(run_was_over=True)
    assert life.stopped == [old]
    assert [old, ending.result] == life.ours
    assert life.states[ending.result] in ACTIVE


@both_ways
@with_and_without_store
def test_a_clear_waits_for_a_job_that_is_being_stopped_already(begin: Any, has_store: bool, deferrable: bool) -> None:
    life = begin(has_store=has_store, deferrable=deferrable)
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    life.somebody_stops(life.ours[0])
    life.is_over_as_undisturbed(life.clear())
    assert life.stopped == []
    assert len(life.ours) == 2


@both_ways
def test_a_crash_while_stopping_what_was_cleared_stops_and_starts_once_all_the_same(
    begin: Any, deferrable: bool
) -> None:
    life = begin(deferrable=deferrable)
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    life.clear(crash=while_it_stops_what_was_cleared)
    life.is_over_as_undisturbed(life.retry())
    assert life.stopped == life.ours[:1]
    assert len(life.ours) == 2


@with_and_without_store
def test_a_clear_after_success_starts_anew(begin: Any, has_store: bool) -> None:
    life = begin(has_store=has_store)
    first = life.attempt()
    second = life.clear()
    life.is_over_as_undisturbed(second)
    assert first.result != second.result
    assert life.stopped == []


@both_ways
@with_and_without_store
def test_with_cancel_on_kill_off_a_clear_goes_on_with_the_job(begin: Any, has_store: bool, deferrable: bool) -> None:
    life = begin(has_store=has_store, deferrable=deferrable, parameters={"cancel_on_kill": False})
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    life.is_over_as_undisturbed(life.clear())
    assert len(life.ours) == 1


def test_a_cleared_job_that_never_stops_ends_in_a_timeout(begin: Any) -> None:
    life = begin(deferrable=False)
    life.attempt(crash=MOMENTS["before_it_is_deferred"])
    life.emulator.faults.add("GET", "/tasks/", "status", status=200, body={"status": 4}, times=None, after=1)
    ending = life.clear(timeout=600)
    assert type(ending.error) is LabelTaskTimeout
    assert len(life.ours) == 1


# --- two of one name


def test_of_two_jobs_with_our_name_the_active_one_counts_and_both_are_named(
    begin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    life = begin(has_store=False)
    life.attempt(crash=before_it_is_stored)
    (first,) = life.ours
    life.emulator._store.datasets[life.dataset_id].tasks[first].kind = "pre-label"
    second = ModelArtsHook().client.tasks.start(life.dataset_id, config={"name": life.names[0]})
    life.emulator._store.datasets[life.dataset_id].tasks[first].kind = "auto-label"
    capsys.readouterr()
    ending = life.retry()
    assert ending.result == second
    assert life.stopped == []
    line = next(line for line in capsys.readouterr().out.splitlines() if "Several" in line)
    assert first in line
    assert second in line


# --- the first try


@both_ways
@pytest.mark.parametrize("if_running", ["fail", "adopt", "wait"])
def test_without_waiting_it_returns_what_it_started_or_adopted(begin: Any, deferrable: bool, if_running: str) -> None:
    life = begin(deferrable=deferrable, parameters={"if_running": if_running, "wait_for_completion": False})
    ending = life.attempt()
    assert [ending.result] == life.ours
    assert life.retry().result == ending.result
    assert len(life.ours) == 1


def test_a_user_who_ends_the_task_before_the_start_gets_none(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    life = begin()
    init = LabelTaskStopper.__init__

    def ended(stopper: LabelTaskStopper, *arguments: Any) -> None:
        init(stopper, *arguments)
        stopper.is_ended = True

    monkeypatch.setattr(LabelTaskStopper, "__init__", ended)
    assert type(life.attempt().error) is LabelTaskStopped
    assert life.names == []


def test_the_first_try_with_nothing_stored_does_not_look_back(begin: Any) -> None:
    life = begin(deferrable=False)
    life.attempt()
    lists = life.emulator.journal.select("GET", match=lambda record: record.path.endswith("/tasks"))
    assert len(lists) == 1
    assert life.store.get(RECORD_KEY)["known"] == []
