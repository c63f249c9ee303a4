"""How the start operator's wait ends before its labeling task does: deadlines, alarms, kills (B3, B4)."""

from __future__ import annotations

import json
import signal
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout, TaskDeferralError, TaskDeferred

from airflow_provider_modelarts.client.errors import (
    LabelTaskStopped,
    LabelTaskTimeout,
)
from airflow_provider_modelarts.client.poll_schedule import ODD_ANSWERS
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError
from tests.support.operator_driver import (
    Ending,
    StandInStore,
    StandInTaskInstance,
    TaskStates,
    as_task_runner,
    context_of,
    drive,
    drive_try,
    moment,
)

if TYPE_CHECKING:
    from airflow_provider_modelarts.operators.label_task import (
        ModelArtsStartLabelTaskOperator,
    )
    from tests.operators.runners import StartRunner

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


# --- deadlines


@both_ways
@pytest.mark.parametrize("cancel_on_timeout", [True, False])
def test_at_the_deadline_the_labeling_task_is_stopped_if_wanted(
    starter: StartRunner, deferrable: bool, cancel_on_timeout: bool
) -> None:
    ending = starter.start(
        wait_for_completion=True, deferrable=deferrable, timeout=60, cancel_on_timeout=cancel_on_timeout
    )
    assert type(ending.error) is LabelTaskTimeout
    assert starter.stops == int(cancel_on_timeout)
    assert (starter.states[0] in (TaskState.STOPPING, TaskState.STOPPED)) == cancel_on_timeout


@both_ways
def test_an_earlier_execution_timeout_is_the_deadline(starter: StartRunner, deferrable: bool) -> None:
    begin = starter.clock.now()
    ending = starter.start(wait_for_completion=True, deferrable=deferrable, execution_timeout=timedelta(seconds=45))
    assert type(ending.error) is LabelTaskTimeout
    assert starter.clock.now() - begin == pytest.approx(45, abs=1)
    assert starter.stops == 1


def test_airflows_own_alarm_ends_the_wait_as_the_deadline_does(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = starter.clock.sleep

    def alarm(seconds: float) -> None:
        sleep(seconds)
        if len(starter.clock.slept) == 2:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    monkeypatch.setattr(starter.clock, "sleep", alarm)
    ending = starter.start(wait_for_completion=True)
    assert type(ending.error) is LabelTaskTimeout
    assert starter.stops == 1


class InterruptedStore(StandInStore):
    """A state store whose answer Airflow's alarm cuts off: later questions get the answers to earlier ones."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self._writes_left = writes

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default) if self._writes_left else default

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        if self._writes_left:
            self._writes_left -= 1
            if not self._writes_left:
                raise AirflowTaskTimeout("Timeout, PID: 1")


@pytest.mark.parametrize(("writes", "jobs"), [(1, 0), (2, 1), (3, 1)], ids=["before", "between", "at the deadline"])
def test_an_alarm_that_cuts_airflows_answer_off_leaves_no_labeling_task_behind(
    starter: StartRunner, writes: int, jobs: int
) -> None:
    store = InterruptedStore(writes)
    ending = drive(starter.operator(wait_for_completion=True, timeout=60), starter.clock, store=store)
    assert type(ending.error) is LabelTaskTimeout
    assert len(starter.states) == jobs
    assert starter.stops == jobs
    assert store.get("anything", "lost") == "lost"


def test_a_stop_that_fails_at_the_deadline_does_not_hide_the_timeout(starter: StartRunner) -> None:
    fault = starter.emulator.faults.add("POST", "/stop", "status", status=403, code="ModelArts.0108", times=None)
    ending = starter.start(wait_for_completion=True, timeout=60)
    assert fault.fired
    assert type(ending.error) is LabelTaskTimeout


@pytest.mark.parametrize(
    ("reason", "expected"), [("Trigger timeout", LabelTaskTimeout), ("Trigger failure", TaskDeferralError)]
)
@pytest.mark.parametrize("cancel_on_timeout", [True, False])
def test_a_wait_that_airflow_ended_stops_the_labeling_task(
    starter: StartRunner, reason: str, expected: type[Exception], cancel_on_timeout: bool
) -> None:
    ti = StandInTaskInstance(moment(starter.clock), task_id="start", xcoms=starter.start().xcoms)
    operator = starter.operator(wait_for_completion=True, deferrable=True, cancel_on_timeout=cancel_on_timeout)
    with pytest.raises(expected):
        operator.resume_execution("__fail__", {"error": reason}, context_of(ti, run_started=ti.start_date))
    assert starter.stops == int(cancel_on_timeout)


def test_a_deferred_wait_begins_with_its_deferral(starter: StartRunner) -> None:
    operator = starter.operator(wait_for_completion=True, deferrable=True)
    ti = StandInTaskInstance(moment(starter.clock), task_id="start")
    starter.clock.advance(20)
    with pytest.raises(TaskDeferred) as deferred:
        as_task_runner(operator, context_of(ti, run_started=ti.start_date))
    assert deferred.value.trigger.serialize()[1]["started"] == pytest.approx(starter.clock.now(), abs=1)


# --- odd answers about a labeling task of one's own

ODD = {
    "not found": {"status": 400, "code": "ModelArts.4612"},
    "no such dataset": {"status": 400, "code": "ModelArts.4352"},
    "no such API": {"status": 404, "code": "APIGW.0101"},
    "forbidden": {"status": 403, "code": "ModelArts.0108"},
    "bad request": {"status": 400, "code": "ModelArts.0104"},
}
odd_answers = pytest.mark.parametrize("odd", ODD)


def refuse_looks(starter: StartRunner, odd: str, times: int | None, after: int = 0) -> Any:
    return starter.emulator.faults.add("GET", "/tasks/", "status", times=times, after=after, **ODD[odd])


@both_ways
@odd_answers
@pytest.mark.parametrize("after", [0, 3], ids=["right after the start", "later"])
def test_a_few_odd_answers_in_a_row_do_not_end_the_wait(
    starter: StartRunner, deferrable: bool, odd: str, after: int
) -> None:
    fault = refuse_looks(starter, odd, ODD_ANSWERS - 1, after)
    ending = starter.start(wait_for_completion=True, deferrable=deferrable)
    assert fault.fired == ODD_ANSWERS - 1
    assert ending.error is None
    assert starter.stops == 0


@both_ways
@odd_answers
@pytest.mark.parametrize("cancel_on_timeout", [True, False])
def test_who_gives_up_names_the_labeling_task_stops_it_if_wanted_and_leaves_retries(
    starter: StartRunner, deferrable: bool, odd: str, cancel_on_timeout: bool
) -> None:
    fault = refuse_looks(starter, odd, None)
    ending = starter.start(wait_for_completion=True, deferrable=deferrable, cancel_on_timeout=cancel_on_timeout)
    assert fault.fired == ODD_ANSWERS
    assert type(ending.error) is LabelTaskUnreadableError
    (label_task_id,) = starter.emulator.dataset(starter.dataset_id).tasks
    assert label_task_id in str(ending.error)
    assert ODD[odd]["code"] in str(ending.error)
    assert starter.stops == int(cancel_on_timeout)


@both_ways
def test_a_stop_that_fails_when_the_wait_gives_up_does_not_hide_why(starter: StartRunner, deferrable: bool) -> None:
    refuse_looks(starter, "forbidden", None)
    fault = starter.emulator.faults.add("POST", "/stop", "status", status=403, code="ModelArts.0108", times=None)
    ending = starter.start(wait_for_completion=True, deferrable=deferrable)
    assert fault.fired
    assert type(ending.error) is LabelTaskUnreadableError


def test_a_refused_credential_is_no_odd_answer_to_retry_with(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = starter.clock.sleep

    def change_password(seconds: float) -> None:
        if len(starter.clock.slept) == 2:
            starter.emulator.set_password("changed-behind-our-back")
        sleep(seconds)

    monkeypatch.setattr(starter.clock, "sleep", change_password)
    ending = starter.start(wait_for_completion=True)
    assert type(ending.error) is AirflowFailException
    (label_task_id,) = starter.emulator.dataset(starter.dataset_id).tasks
    assert label_task_id in str(ending.error)
    refused = [one for one in starter.emulator.journal if one.path.endswith("/auth/tokens") and one.status == 401]
    assert len(refused) == 1


@both_ways
def test_a_password_that_airflow_gets_half_a_minute_late_ends_no_wait(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    sleep = starter.clock.sleep

    def rotate(seconds: float) -> None:
        if len(starter.clock.slept) == 2:
            starter.emulator.set_password("r0tated")
        if len(starter.clock.slept) == 5:
            monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", starter.emulator.connection_json)
        sleep(seconds)

    monkeypatch.setattr(starter.clock, "sleep", rotate)
    assert starter.start(wait_for_completion=True, deferrable=deferrable).error is None


@both_ways
@pytest.mark.parametrize("wait_for_completion", [True, False])
def test_the_id_is_an_xcom_before_the_wait_begins(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, deferrable: bool, wait_for_completion: bool
) -> None:
    seen: list[Any] = []
    ti = StandInTaskInstance(moment(starter.clock), task_id="start")
    sleep = starter.clock.sleep

    def note(seconds: float) -> None:
        seen.append(ti.xcoms.get("label_task_id"))
        sleep(seconds)

    monkeypatch.setattr(starter.clock, "sleep", note)
    operator = starter.operator(wait_for_completion=wait_for_completion, deferrable=deferrable)
    ending = drive_try(operator, starter.clock, ti, run_started=moment(starter.clock))
    assert ending.xcoms["label_task_id"] == ending.result
    assert set(seen) <= {ending.result}


# --- kills


class Killed:
    """Sends the worker's signal while the operator works, and lets Airflow report a state of our choice."""

    def __init__(self, starter: StartRunner, monkeypatch: pytest.MonkeyPatch, state: str | None) -> None:
        self.starter = starter
        self._monkeypatch = monkeypatch
        self.asked_in = TaskStates(monkeypatch, start=state).asked_in

    def at_the_second_sleep(self, operator: ModelArtsStartLabelTaskOperator) -> Ending:
        """As Airflow does: ``on_kill`` runs inside a signal handler of the main thread, then the task goes on."""
        sleep = self.starter.clock.sleep

        def interrupted(seconds: float) -> None:
            if len(self.starter.clock.slept) == 1:
                signal.raise_signal(signal.SIGUSR1)
            sleep(seconds)

        self._monkeypatch.setattr(self.starter.clock, "sleep", interrupted)
        before = signal.signal(signal.SIGUSR1, lambda *_: self._current.on_kill())
        try:
            self._current = operator
            return drive(operator, self.starter.clock, copies=False)
        finally:
            signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "upstream_failed", "restarting"])
def test_a_user_who_ends_or_clears_the_task_stops_the_job(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    killed = Killed(starter, monkeypatch, state)
    ending = killed.at_the_second_sleep(starter.operator(wait_for_completion=True))
    assert starter.stops == 1
    assert type(ending.error) is LabelTaskStopped
    assert killed.asked_in[0] is not threading.main_thread()


@pytest.mark.parametrize("state", ["running", "up_for_retry", "queued", "deferred", None])
def test_an_evicted_worker_stops_nothing_and_the_task_goes_on(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    killed = Killed(starter, monkeypatch, state)
    ending = killed.at_the_second_sleep(starter.operator(wait_for_completion=True))
    assert killed.asked_in
    assert starter.stops == 0
    assert ending.error is None
    assert starter.states == [TaskState.SUCCEEDED]


def test_with_cancel_on_kill_off_nothing_is_asked_or_stopped(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = Killed(starter, monkeypatch, "failed")
    ending = killed.at_the_second_sleep(starter.operator(wait_for_completion=True, cancel_on_kill=False))
    assert (killed.asked_in, starter.stops, ending.error) == ([], 0, None)


def test_the_stop_of_a_kill_is_sent_once(starter: StartRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = starter.emulator.faults.add("POST", "/stop", "status", status=503, times=None)
    killed = Killed(starter, monkeypatch, "failed")
    killed.at_the_second_sleep(starter.operator(wait_for_completion=True))
    assert fault.fired == 1


def test_a_kill_while_the_start_is_on_its_way_stops_what_was_started(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    Killed(starter, monkeypatch, "failed")
    operator = starter.operator()
    starter.emulator.observers.append(
        lambda record: operator.on_kill() if record.method == "POST" and record.path.endswith("/tasks") else None
    )
    ending = drive(operator, starter.clock, copies=False)
    assert type(ending.error) is LabelTaskStopped
    assert starter.stops == 1


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_signal_after_the_end_of_a_start_that_does_not_wait_stops_nothing(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Airflow's process lives on for callbacks and listeners, and gets a signal if they take too long."""
    TaskStates(monkeypatch, start=state)
    operator = starter.operator()
    assert drive(operator, starter.clock, copies=False).error is None
    operator.on_kill()
    assert starter.stops == 0


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed by a look", "not noticed yet"])
def test_a_kill_after_the_password_was_rotated_stops_the_job(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, noticed: bool
) -> None:
    TaskStates(monkeypatch, start="failed")
    operator = starter.operator(wait_for_completion=True)
    sleep = starter.clock.sleep

    def rotate_and_kill(seconds: float) -> None:
        turn = len(starter.clock.slept)
        if turn == 2:
            starter.emulator.set_password("r0tated")
            monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", starter.emulator.connection_json)
        if turn == (3 if noticed else 2):
            operator.on_kill()
        sleep(seconds)

    monkeypatch.setattr(starter.clock, "sleep", rotate_and_kill)
    ending = drive(operator, starter.clock, copies=False)
    assert type(ending.error) is LabelTaskStopped
    # Nothing is sent with a token of the old password: the connection is looked at before the stop.
    assert [record.status for record in starter.emulator.journal.select("POST", "/stop")] == [204]


@pytest.mark.parametrize("reads", [True, False], ids=["it can be read", "it cannot be read"])
def test_a_kill_stops_the_job_where_the_edited_connection_says(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    TaskStates(monkeypatch, start="failed")
    operator = starter.operator(wait_for_completion=True)
    sleep = starter.clock.sleep

    def edit_and_kill(seconds: float) -> None:
        if len(starter.clock.slept) == 2:
            if reads:
                moved = {**starter.emulator.connection, "host": starter.emulator.url.replace("127.0.0.1", "localhost")}
                monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(moved))
            else:
                monkeypatch.delenv("AIRFLOW_CONN_MODELARTS_DEFAULT")
            operator.on_kill()
        sleep(seconds)

    monkeypatch.setattr(starter.clock, "sleep", edit_and_kill)
    drive(operator, starter.clock, copies=False)
    (stop,) = starter.emulator.journal.select("POST", "/stop")
    assert stop.headers["host"].partition(":")[0] == ("localhost" if reads else "127.0.0.1")


def test_a_kill_before_the_start_does_nothing(starter: StartRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = Killed(starter, monkeypatch, "failed")
    starter.operator().on_kill()
    assert killed.asked_in == []


# --- what a deferral gets is proven before the start


@both_ways
@pytest.mark.parametrize(
    "given",
    [
        {"timeout": timedelta.max},
        {"timeout": 3e11},
        {"timeout": 1e308},
        {"timeout": "3e11"},
        {"poll_interval": 1e308, "timeout": 600},
        {"poll_interval": 1.7e308, "timeout": timedelta.max},
        {"timeout": timedelta.max, "execution_timeout": timedelta(days=900_000)},
        {"timeout": timedelta(microseconds=1)},
    ],
    ids=str,
)
def test_an_endless_time_leaves_no_labeling_task_behind(
    starter: StartRunner, deferrable: bool, given: dict[str, Any]
) -> None:
    ending = starter.start(wait_for_completion=True, deferrable=deferrable, **given)
    assert ending.error is None or type(ending.error) is LabelTaskTimeout
    assert set(starter.states) <= {TaskState.SUCCEEDED, TaskState.STOPPED, TaskState.STOPPING}


def test_a_deferral_ends_at_a_moment_that_every_database_can_store(starter: StartRunner) -> None:
    operator = starter.operator(wait_for_completion=True, deferrable=True, timeout=timedelta.max)
    ti = StandInTaskInstance(moment(starter.clock), task_id="start")
    with pytest.raises(TaskDeferred) as deferred:
        as_task_runner(operator, context_of(ti, run_started=ti.start_date))
    assert (moment(starter.clock) + deferred.value.timeout).year < 2038


@pytest.mark.parametrize("name", ["timeout", "poll_interval"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf"), "inf", "nan", 0, timedelta(0), -1])
def test_a_time_that_is_none_is_refused_when_the_dag_is_parsed(starter: StartRunner, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        starter.operator(**{name: value})
