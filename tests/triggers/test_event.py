"""Watching a dataset: which ends fire, how often and at what cost."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers.ended_tasks import TaskListSnapshot
from airflow_provider_modelarts.triggers.event import ModelArtsLabelTaskEventTrigger
from tests.triggers.watch_timeline import (
    LIST,
    MINUTE,
    StandInAssetStore,
    TimeIsUpError,
    WatchTimeline,
    ids,
    run_to_its_end,
    start,
    trigger,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_modelarts.emulator import Emulator

CLASS_PATH = "airflow_provider_modelarts.triggers.event.ModelArtsLabelTaskEventTrigger"


# --- edges


def test_an_end_fires_once_with_a_small_payload(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    started: list[str] = []
    timeline.at(40, lambda: started.append(start(dataset)))
    (payload,) = timeline.watch(trigger(dataset), until=20 * MINUTE)
    assert payload == {
        "dataset_id": dataset,
        "label_task_id": started[0],
        "state": "succeeded",
        "total_sample_count": 1797,
        "annotated_sample_count": 100,
        "unconfirmed_sample_count": 1697,
    }


def test_what_was_over_before_does_not_fire_and_what_was_running_does(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    run_to_its_end(emulator, dataset, 2)
    running = start(dataset)
    assert ids(timeline.watch(trigger(dataset), until=10 * MINUTE)) == [running]


def test_a_task_that_lived_between_two_looks_fires(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    emulator.task_seconds = 3
    started: list[str] = []
    for second in (35, 39, 43):
        timeline.at(second, lambda: started.append(start(dataset)))
    assert ids(timeline.watch(trigger(dataset), until=5 * MINUTE)) == started
    assert len(started) == 3


def test_each_kind_of_end_has_its_state(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    client = ModelArtsHook().client
    timeline.at(10, emulator.dataset(dataset).fail_next_task)
    timeline.at(11, lambda: start(dataset))
    timeline.at(200, lambda: start(dataset))
    timeline.at(230, lambda: client.tasks.stop(dataset, list(emulator.dataset(dataset).tasks)[-1]))
    timeline.at(400, lambda: start(dataset))
    payloads = timeline.watch(trigger(dataset), until=10 * MINUTE)
    assert [payload["state"] for payload in payloads] == ["failed", "stopped", "succeeded"]
    assert payloads[0]["error_code"] == "ModelArts.4917"


def test_only_the_wanted_states_fire(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    timeline.at(10, emulator.dataset(dataset).fail_next_task)
    timeline.at(11, lambda: start(dataset))
    timeline.at(200, lambda: start(dataset))
    payloads = timeline.watch(trigger(dataset, states=["succeeded"]), until=10 * MINUTE)
    assert [payload["state"] for payload in payloads] == ["succeeded"]


def test_two_kinds_at_once_and_a_watch_of_one_kind(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    timeline.at(10, lambda: start(dataset, "auto-label"))
    timeline.at(12, lambda: start(dataset, "pre-label"))
    timeline.at(14, lambda: start(dataset, "auto-grouping"))
    assert len(timeline.watch(trigger(dataset), until=5 * MINUTE)) == 2
    timeline.at(310, lambda: start(dataset, "auto-label"))
    timeline.at(312, lambda: start(dataset, "auto-grouping"))
    (payload,) = timeline.watch(trigger(dataset, label_task_type="auto-grouping"), until=10 * MINUTE)
    assert payload["label_task_id"] == list(emulator.dataset(dataset).tasks)[-1]


def test_deleted_tasks_make_nothing_old_fire(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    old = run_to_its_end(emulator, dataset, 130)
    timeline.begin = timeline.clock.now()
    view = emulator.dataset(dataset)
    timeline.at(40, lambda: [view.forget_task(task_id) for task_id in old[-15:]])
    timeline.at(100, lambda: start(dataset))
    timeline.at(130, lambda: view.forget_task(list(view.tasks)[-1]))  # one that was being watched
    timeline.at(300, lambda: start(dataset))
    fired = ids(timeline.watch(trigger(dataset), until=8 * MINUTE))
    assert fired == [list(view.tasks)[-1]]


# --- cost


def test_a_look_costs_one_request_however_many_tasks_there_were(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    run_to_its_end(emulator, dataset, 230)
    timeline.begin = timeline.clock.now()
    emulator.journal.clear()
    timeline.watch(trigger(dataset), until=15 * MINUTE)
    looks = emulator.journal.count("GET", LIST)
    assert 15 * 60 / 33 <= looks <= 15 * 60 / 30 + 1
    assert looks == len(emulator.journal), "nothing but looks"


# --- Airflow's side


def test_watchers_of_one_dataset_share_one_poll(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    shared_stream = pytest.importorskip("airflow.triggers.shared_stream")
    store, payloads = StandInAssetStore(), {1: [], 2: [], 3: []}
    watchers = {
        1: trigger(dataset, states=["succeeded"]),
        2: trigger(dataset, states=["failed"]),
        3: trigger(dataset, store),
    }
    for second, action in ((50, emulator.dataset(dataset).fail_next_task), (51, lambda: start(dataset))):
        timeline.at(second, action)
    timeline.at(200, lambda: start(dataset))
    timeline._until = timeline.begin + 10 * MINUTE

    async def consume(manager: Any, number: int) -> None:
        key = watchers[number].shared_stream_key()
        stream = manager.subscribe(trigger_id=number, trigger=watchers[number], key=key)
        async for event in watchers[number].filter_shared_stream(stream):
            payloads[number].append(event.payload["state"])

    async def run() -> None:
        import structlog

        manager = shared_stream.SharedStreamManager(log=structlog.get_logger())
        tasks = [asyncio.create_task(consume(manager, number)) for number in watchers]
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert payloads == {1: ["succeeded"], 2: ["failed"], 3: ["failed", "succeeded"]}
    # A look at a list that holds something is two requests: its page, and what may be behind it.
    assert emulator.journal.count("GET", LIST) <= 2 * (10 * MINUTE / 30 + 1)


def test_what_makes_watchers_share_a_poll() -> None:
    key = trigger("d" * 19).shared_stream_key()
    assert trigger("d" * 19, states=["failed"]).shared_stream_key() == key
    others: list[dict[str, Any]] = [
        {"label_task_type": "auto-grouping"},
        {"poll_interval": 60},
        {"modelarts_conn_id": "other"},
        {"project_id": "other"},
    ]
    assert (
        len({key, trigger("e" * 19).shared_stream_key(), *(trigger("d" * 19, **o).shared_stream_key() for o in others)})
        == 6
    )


def test_its_identity_is_what_it_watches() -> None:
    def identity(built: ModelArtsLabelTaskEventTrigger) -> int:
        return BaseEventTrigger.hash(*built.serialize())

    one = ModelArtsLabelTaskEventTrigger("d" * 19, states=["failed", "succeeded"])
    same = ModelArtsLabelTaskEventTrigger("d" * 19, states=["succeeded", "failed", "failed"])
    assert one.serialize()[0] == CLASS_PATH
    assert identity(one) == identity(same)
    assert identity(one) != identity(ModelArtsLabelTaskEventTrigger("d" * 19))


def test_its_parameters_and_its_place_in_the_store_are_those_of_running_airflows(
    emulator: Emulator, timeline: WatchTimeline
) -> None:
    watcher = ModelArtsLabelTaskEventTrigger("d" * 19, states=["succeeded", "failed"])
    assert json.dumps(watcher.serialize()[1]) == json.dumps(
        {
            "dataset_id": "d" * 19,
            "states": ["failed", "succeeded"],
            "label_task_type": None,
            "poll_interval": 30,
            "modelarts_conn_id": "modelarts_default",
            "project_id": None,
        }
    )
    watcher.asset_state_store = store = StandInAssetStore()

    async def one_snapshot() -> AsyncIterator[TaskListSnapshot]:
        yield TaskListSnapshot([], whole=True)

    async def run() -> None:
        assert [event async for event in watcher.filter_shared_stream(one_snapshot())] == []

    asyncio.run(run())
    assert store.values == {"modelarts_label_tasks_c26054e4bb7a2433": '{"active": [], "recent": []}'}


def test_neither_parameters_nor_payload_hold_a_secret(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    watcher = trigger(dataset)
    timeline.at(40, lambda: start(dataset))
    said = json.dumps([watcher.serialize()[1], timeline.watch(watcher, until=5 * MINUTE)]) + repr(watcher)
    assert emulator.tokens, "a token was fetched"
    assert [secret for secret in emulator.secrets if secret in said] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset_id": ""},
        {"dataset_id": "  "},
        {"dataset_id": "None"},
        {"dataset_id": None},
        {"dataset_id": 17},
        {"dataset_id": "{{ var.value.dataset }}"},
        {"dataset_id": "{% if a %}d{% endif %}"},
        {"dataset_id": ".."},
        {"project_id": ""},
        {"project_id": "{{ params.project }}"},
        {"modelarts_conn_id": ""},
        {"modelarts_conn_id": "{{ params.conn }}"},
        {"modelarts_conn_id": None},
        {"states": ["done"]},
        {"states": []},
        {"states": ()},
        {"states": "succeeded"},
        {"states": None},
        {"states": ["Succeeded"]},
        {"states": [None]},
        {"states": [["succeeded"]]},
        {"states": ["{{ params.state }}"]},
        {"label_task_type": ""},
        {"label_task_type": "{{ params.kind }}"},
        {"poll_interval": "{{ params.interval }}"},
        {"poll_interval": None},
        {"poll_interval": float("inf")},
        {"label_task_type": "auto-deploy"},
        {"poll_interval": 0},
    ],
)
def test_values_that_make_no_sense_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        ModelArtsLabelTaskEventTrigger(**{"dataset_id": "d" * 19, **wrong})


def test_the_event_loop_runs_on_while_the_service_thinks(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    asked, loop_ran = threading.Event(), threading.Event()
    waited: list[bool] = []

    def think(_: Any) -> bool:
        asked.set()
        waited.append(loop_ran.wait(20))
        return False

    emulator.faults.add("GET", LIST, "reset", match=think)
    timeline._until = timeline.begin + 10

    async def run() -> None:
        async def first_event(stream: AsyncIterator[Any]) -> None:
            await anext(stream)

        watching = asyncio.create_task(first_event(trigger(dataset).run()))
        assert await asyncio.to_thread(asked.wait, 20)
        loop_ran.set()
        with pytest.raises(TimeIsUpError):
            await watching

    asyncio.run(run())
    assert waited == [True]


def test_blanks_around_an_id_are_none_of_it() -> None:
    trigger = ModelArtsLabelTaskEventTrigger(" d1\n", modelarts_conn_id="flowers ", project_id="\tp1")
    kwargs = trigger.serialize()[1]
    assert (kwargs["dataset_id"], kwargs["modelarts_conn_id"], kwargs["project_id"]) == ("d1", "flowers", "p1")
