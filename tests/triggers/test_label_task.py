"""The trigger: what is stored of it, where it works, that it ends, and whom it stops (B2, B4, B5)."""

from __future__ import annotations

import asyncio
import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import BaseHook

from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.client.resources.tasks import LabelTask, Tasks
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook, clear_clients
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from airflow_provider_modelarts.utils import thread_pool as pool
from tests.support.operator_driver import TaskStates

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

PATH = "airflow_provider_modelarts.triggers.label_task.ModelArtsLabelTaskTrigger"
KWARGS: dict[str, Any] = {
    "dataset_id": "d",
    "label_task_id": "t",
    "deadline": 1800000000.25,
    "poll_interval": 7.5,
    "started": 1799990000.5,
    "not_before": 1799990009.5,
    "cancel_on_kill": True,
    "modelarts_conn_id": "other",
    "project_id": "p",
}


def events(trigger: ModelArtsLabelTaskTrigger) -> list[Any]:
    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(run())


@pytest.fixture
def started(emulator: Emulator, moved_clock: MovedClock) -> tuple[str, str]:
    """A dataset and the labeling task that runs on it for 300 s."""
    emulator.task_seconds = 300
    dataset_id = emulator.load_digits(labeled=100)
    return dataset_id, ModelArtsHook().client.tasks.start(dataset_id)


def test_all_of_it_is_stored_and_comes_back() -> None:
    path, kwargs = ModelArtsLabelTaskTrigger(**KWARGS).serialize()
    assert path == PATH
    assert kwargs == KWARGS
    again = ModelArtsLabelTaskTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)
    again.prove_serializable()


def test_one_that_was_stored_without_its_schedule_still_loads() -> None:
    schedule = {"started": None, "not_before": None}
    kwargs = {name: value for name, value in KWARGS.items() if name not in schedule}
    assert ModelArtsLabelTaskTrigger(**kwargs).serialize()[1] == {**KWARGS, **schedule}


@pytest.mark.parametrize("bad", [b"bytes", object(), ("a", "tuple")])
def test_what_does_not_survive_the_database_is_found_before_the_start(bad: object) -> None:
    with pytest.raises(TypeError):
        ModelArtsLabelTaskTrigger(**{**KWARGS, "project_id": bad}).prove_serializable()


def test_one_event_with_four_keys_and_then_the_end(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str]
) -> None:
    dataset_id, label_task_id = started
    (event,) = events(ModelArtsLabelTaskTrigger(dataset_id, label_task_id, deadline=moved_clock.now() + 3600))
    assert list(event) == ["status", "label_task_id", "message", "summary"]
    assert (event["status"], event["label_task_id"]) == ("success", label_task_id)
    assert json.loads(json.dumps(event)) == event
    assert len(json.dumps(event)) < 1000


def test_the_deadline_is_reported_and_nothing_is_stopped(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str]
) -> None:
    begin = moved_clock.now()
    (event,) = events(ModelArtsLabelTaskTrigger(*started, deadline=begin + 90, cancel_on_kill=True))
    assert event["status"] == "timeout"
    assert moved_clock.now() - begin == pytest.approx(90)
    assert emulator.journal.count("POST", "/stop") == 0


@pytest.mark.parametrize("started_before", [None, 0, 600])
def test_after_a_restart_it_goes_on_with_its_schedule(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], started_before: float | None
) -> None:
    begin = moved_clock.now()
    began = None if started_before is None else begin - started_before
    events(ModelArtsLabelTaskTrigger(*started, deadline=begin + 3600, started=began))
    first, *gaps = moved_clock.slept
    if started_before:
        assert first <= 33
        assert all(30 <= gap <= 33 for gap in gaps)
    else:
        assert 5 <= first <= 5.5
        assert all(gap <= 10 for gap in gaps[:7])


def test_a_permanent_error_is_an_event_after_one_poll(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str]
) -> None:
    (event,) = events(ModelArtsLabelTaskTrigger(started[0], "no-such-task", deadline=moved_clock.now() + 3600))
    assert event["status"] == "error"
    assert event["summary"]["error"]["type"] == "NotFound"
    assert emulator.journal.count("GET", "/tasks/") == 1


def test_a_half_filled_connection_is_an_event_too(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_clients()
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps({**emulator.connection, "password": ""}))
    (event,) = events(ModelArtsLabelTaskTrigger(*started, deadline=moved_clock.now() + 3600))
    assert event["status"] == "error"
    assert "password (of the IAM user) is missing" in event["message"]


def test_a_connection_that_cannot_be_read_for_a_while_does_not_end_the_wait(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_clients()
    value, sleep = json.dumps(emulator.connection), moved_clock.sleep
    monkeypatch.delenv("AIRFLOW_CONN_MODELARTS_DEFAULT")

    def come_back(seconds: float) -> None:
        sleep(seconds)
        if len(moved_clock.slept) == 3:
            monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", value)

    monkeypatch.setattr(moved_clock, "sleep", come_back)
    (event,) = events(ModelArtsLabelTaskTrigger(*started, deadline=moved_clock.now() + 3600))
    assert event["status"] == "success"
    assert len(moved_clock.slept) > 3


def test_polls_run_in_threads_of_their_own_and_know_their_task(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: set[str] = set()
    get = Tasks.get

    def noted(self: Tasks, *args: Any, **options: Any) -> LabelTask:
        names.add(threading.current_thread().name)
        return get(self, *args, **options)

    monkeypatch.setattr(Tasks, "get", noted)
    events(ModelArtsLabelTaskTrigger(*started, deadline=moved_clock.now() + 3600))
    assert names
    assert all(name.startswith("modelarts-poll") for name in names)


def test_many_triggers_share_one_token_one_look_up_and_as_many_threads_as_the_connection_says(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear_clients()
    connection = emulator.connection
    connection["extra"]["poll_threads"] = 3
    monkeypatch.setenv("AIRFLOW_CONN_FEW_THREADS", json.dumps(connection))
    running, most, lock = 0, 0, threading.Lock()
    get = Tasks.get

    def counted(self: Tasks, *args: Any, **options: Any) -> LabelTask:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return get(self, *args, **options)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(Tasks, "get", counted)
    tokens = emulator.journal.count("POST", "/v3/auth/tokens")

    async def first(trigger: ModelArtsLabelTaskTrigger) -> Any:
        (payload,) = [event.payload async for event in trigger.run()]
        return payload

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(
            *(
                first(
                    ModelArtsLabelTaskTrigger(
                        *started, deadline=moved_clock.now() + 36000, modelarts_conn_id="few_threads"
                    )
                )
                for _ in range(40)
            )
        )

    assert {event["status"] for event in asyncio.run(all_of_them())} == {"success"}
    assert most <= 3
    assert emulator.journal.count("POST", "/v3/auth/tokens") == tokens + 1


def test_a_wait_that_begins_uses_the_connection_as_it_was_edited(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {**emulator.connection, "host": emulator.url.replace("127.0.0.1", "localhost")}
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(moved))
    emulator.journal.clear()
    (event,) = events(ModelArtsLabelTaskTrigger(*started, deadline=moved_clock.now() + 3600))
    assert event["status"] == "success"
    assert {record.headers["host"].partition(":")[0] for record in emulator.journal.select("GET")} == {"localhost"}


def test_waits_that_begin_together_share_one_look_at_the_connection(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    look_up = BaseHook.get_connection
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: seen.append(conn_id) or look_up(conn_id))

    async def all_of_them() -> None:
        waits = [ModelArtsLabelTaskTrigger(*started, deadline=moved_clock.now() + 36000) for _ in range(300)]
        await asyncio.gather(*(anext(aiter(wait.run())) for wait in waits))

    asyncio.run(all_of_them())
    assert len(seen) == 1


def test_an_edited_number_of_threads_counts_for_what_begins(
    emulator: Emulator, moved_clock: MovedClock, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events(ModelArtsLabelTaskTrigger(*started, deadline=moved_clock.now() + 3600))
    extra = {**emulator.connection["extra"], "poll_threads": 1}
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps({**emulator.connection, "extra": extra}))
    hook, threads = ModelArtsHook().look_afresh(), set()

    async def twenty() -> None:
        await asyncio.gather(*(pool.run(hook, lambda: threads.add(threading.current_thread().name)) for _ in range(20)))

    asyncio.run(twenty())
    assert len(threads) == 1


def test_the_callers_context_travels_into_the_thread() -> None:
    import contextvars

    of_task: contextvars.ContextVar[str] = contextvars.ContextVar("of_task")

    async def run() -> str:
        of_task.set("this one")
        return await pool.run_at_once(of_task.get)

    assert asyncio.run(run()) == "this one"


class Killed:
    """A trigger whose task Airflow reports in a state of our choice."""

    def __init__(self, airflow: TaskStates, started: tuple[str, str]) -> None:
        self.airflow, self.started = airflow, started

    def kill(self, *, cancel_on_kill: bool = True, map_index: int = -1) -> None:
        trigger = ModelArtsLabelTaskTrigger(*self.started, deadline=2e9, cancel_on_kill=cancel_on_kill)
        # As Airflow's triggerer sets it; its setter wants nothing more of the task.
        trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
            dag_id="dag", run_id="run", task_id="task", map_index=map_index
        )
        asyncio.run(trigger.on_kill())


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch, started: tuple[str, str]) -> Killed:
    return Killed(TaskStates(monkeypatch), started)


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "upstream_failed"])
def test_a_user_who_ends_the_task_stops_the_job(emulator: Emulator, killed: Killed, state: str) -> None:
    killed.airflow.states = {"task": state}
    killed.kill()
    assert emulator.journal.count("POST", f"/{killed.started[1]}/stop") == 1
    assert killed.airflow.asked == [{"dag_id": "dag", "task_ids": ["task"], "run_ids": ["run"], "map_index": None}]
    assert all(thread.name.startswith("modelarts-poll") for thread in killed.airflow.asked_in)


@pytest.mark.parametrize(
    "state", ["deferred", "running", "queued", "scheduled", "restarting", "up_for_retry", "up_for_reschedule", None]
)
def test_a_handover_or_a_late_call_after_a_clear_stops_nothing(
    emulator: Emulator, killed: Killed, state: str | None
) -> None:
    killed.airflow.states = {"task": state}
    killed.kill()
    assert emulator.journal.count("POST", "/stop") == 0
    assert killed.airflow.asked


def test_a_task_that_airflow_does_not_know_stops_nothing(emulator: Emulator, killed: Killed) -> None:
    killed.kill()
    assert emulator.journal.count("POST", "/stop") == 0


def test_a_mapped_task_is_asked_for_under_its_own_name(emulator: Emulator, killed: Killed) -> None:
    killed.airflow.states = {"task": "failed", "task_4": "deferred"}
    killed.kill(map_index=4)
    assert killed.airflow.asked[0]["map_index"] == 4
    assert emulator.journal.count("POST", "/stop") == 0
    killed.airflow.states = {"task_4": "failed"}
    killed.kill(map_index=4)
    assert emulator.journal.count("POST", "/stop") == 1


def test_a_kill_stops_the_job_where_the_edited_connection_says(
    emulator: Emulator, killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {**emulator.connection, "host": emulator.url.replace("127.0.0.1", "localhost")}
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(moved))
    killed.airflow.states = {"task": "failed"}
    killed.kill()
    (stop,) = emulator.journal.select("POST", "/stop")
    assert stop.headers["host"].startswith("localhost")


def test_a_stop_that_is_refused_names_the_labeling_task(
    emulator: Emulator, killed: Killed, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = emulator.faults.add("POST", "/stop", "status", status=403, code="ModelArts.0108", times=None)
    killed.airflow.states = {"task": "failed"}
    killed.kill()
    assert fault.fired
    assert f"{killed.started[1]} of dataset {killed.started[0]} could not be stopped" in capsys.readouterr().out


def test_with_cancel_on_kill_off_nothing_is_asked_or_stopped(emulator: Emulator, killed: Killed) -> None:
    killed.airflow.states = {"task": "failed"}
    killed.kill(cancel_on_kill=False)
    assert killed.airflow.asked == []
    assert emulator.journal.count("POST", "/stop") == 0


def test_cleanup_does_nothing_remote(emulator: Emulator, killed: Killed) -> None:
    trigger = ModelArtsLabelTaskTrigger(*killed.started, deadline=2e9, cancel_on_kill=True)
    sent = len(emulator.journal)
    asyncio.run(trigger.cleanup())
    assert len(emulator.journal) == sent


def test_the_event_loop_is_free_while_the_service_takes_its_time(
    emulator: Emulator, started: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "sleep_async", lambda _self, _seconds: asyncio.sleep(0))
    fault = emulator.faults.add("GET", "/tasks/", "delay", seconds=0.3)

    async def race() -> int:
        trigger = ModelArtsLabelTaskTrigger(*started, deadline=emulator.clock.now())
        waiting = asyncio.ensure_future(anext(aiter(trigger.run())))
        turns = 0
        while not waiting.done():
            turns += 1
            await asyncio.sleep(0.001)
        return turns

    assert asyncio.run(race()) > 1
    assert fault.fired
