"""Watching a dataset through outages of the service and of the triggerer: no end is lost."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.auth.password import REFUSED_FOR
from airflow_provider_modelarts.client.poll_schedule import JITTER
from airflow_provider_modelarts.hooks.modelarts import clear_clients
from airflow_provider_modelarts.triggers.event import STORED_AFTER
from tests.triggers.watch_timeline import (
    LIST,
    MINUTE,
    StandInAssetStore,
    WatchTimeline,
    ids,
    run_to_its_end,
    start,
    trigger,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.emulator import Emulator


# --- outages


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "reset"},
        {"kind": "truncated"},
        {"kind": "html", "status": 502},
        {"kind": "status", "status": 400, "code": "ModelArts.4352"},  # unknown dataset: somebody may correct that
        {"kind": "status", "status": 403, "code": "ModelArts.0108"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
def test_an_outage_of_hours_loses_no_end(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, fault: Mapping[str, Any]
) -> None:
    begins, ends = 5 * MINUTE, 6 * 60 * MINUTE
    arguments = {name: value for name, value in fault.items() if name != "kind"}
    rules: list[Any] = []

    def strike() -> None:
        lasts = timeline.begin + ends
        rule = emulator.faults.add(
            "GET", LIST, fault["kind"], times=None, match=lambda _: timeline.clock.now() < lasts, **arguments
        )
        rules.append(rule)

    timeline.at(begins, strike)
    timeline.at(60 * MINUTE, lambda: run_to_its_end(emulator, dataset, 3))
    assert len(timeline.watch(trigger(dataset), until=ends + 10 * MINUTE)) == 3
    longest = 5 * MINUTE * (1 + JITTER)
    assert (ends - begins) / longest <= rules[0].fired <= 90, "a look every five minutes"


def test_retry_after_is_honoured(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    rule = emulator.faults.add("GET", LIST, "status", status=429, headers={"Retry-After": "900"}, times=1)
    timeline.watch(trigger(dataset), until=14 * MINUTE)
    assert rule.fired == 1
    assert emulator.journal.count("GET", LIST) == 1
    timeline.begin = timeline.clock.now()


def test_a_revoked_token_and_a_rotated_password(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate() -> None:
        emulator.set_password("an0ther-Passw0rd")
        monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(emulator.connection))

    timeline.at(45, emulator.revoke_tokens)
    timeline.at(100, lambda: start(dataset))
    timeline.at(240, rotate)
    timeline.at(400, lambda: start(dataset))
    assert len(timeline.watch(trigger(dataset), until=15 * MINUTE)) == 2


@pytest.mark.parametrize(
    "fault", [{"kind": "reset"}, {"kind": "status", "status": 400, "code": "ModelArts.4352"}], ids=["dead", "strange"]
)
def test_a_watch_goes_on_where_the_edited_connection_says(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, monkeypatch: pytest.MonkeyPatch, fault: Mapping[str, Any]
) -> None:
    was = emulator.url.removeprefix("http://")
    arguments = {name: value for name, value in fault.items() if name != "kind"}

    def move() -> None:
        emulator.faults.add(
            "GET", LIST, fault["kind"], times=None, match=lambda call: call.headers["host"] == was, **arguments
        )

    def edit() -> None:
        connection = {**emulator.connection, "host": emulator.url.replace("127.0.0.1", "localhost")}
        monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(connection))
        start(dataset)

    timeline.at(5 * MINUTE, move)
    timeline.at(60 * MINUTE, edit)
    assert len(timeline.watch(trigger(dataset), until=90 * MINUTE)) == 1


def test_a_wrong_password_is_not_sent_again_and_again(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = emulator.connection_json
    wrong = json.dumps({**emulator.connection, "password": "wr0ng"})
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", wrong)
    clear_clients()
    timeline.at(60 * MINUTE, lambda: monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", good))
    timeline.at(70 * MINUTE, lambda: start(dataset))
    assert len(timeline.watch(trigger(dataset), until=90 * MINUTE)) == 1
    refused = [record for record in emulator.journal if record.path.endswith("/auth/tokens") and record.status == 401]
    # Once, and again whenever the refusal is forgotten; the looks in between do not ask: IAM would lock the user.
    assert 1 <= len(refused) <= 1 + 60 * MINUTE / REFUSED_FOR


def test_an_unknown_connection_is_waited_for(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline.at(20 * MINUTE, lambda: monkeypatch.setenv("AIRFLOW_CONN_LATER", emulator.connection_json))
    timeline.at(40 * MINUTE, lambda: start(dataset))
    payloads = timeline.watch(trigger(dataset, modelarts_conn_id="later"), until=60 * MINUTE)
    assert len(payloads) == 1


# --- outages of the triggerer


def test_with_a_store_an_end_while_no_triggerer_ran_fires(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    store = StandInAssetStore()
    timeline.at(50, lambda: start(dataset))
    assert timeline.watch(trigger(dataset, store), until=80) == []
    timeline.sleep_until(20 * MINUTE)
    timeline.at(20 * MINUTE + 1, lambda: run_to_its_end(emulator, dataset, 2))
    timeline.sleep_until(40 * MINUTE)
    tasks = list(emulator.dataset(dataset).tasks)
    assert len(tasks) == 3
    assert ids(timeline.watch(trigger(dataset, store), until=60 * MINUTE)) == tasks
    assert timeline.watch(trigger(dataset, store), until=80 * MINUTE) == [], "each end fires once"


def test_more_tasks_than_a_page_during_an_outage_of_the_triggerer(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    store = StandInAssetStore()
    run_to_its_end(emulator, dataset, 30)
    timeline.begin = timeline.clock.now()
    assert timeline.watch(trigger(dataset, store), until=MINUTE) == []
    started = run_to_its_end(emulator, dataset, 215)
    timeline.begin = timeline.clock.now()
    emulator.journal.clear()
    assert ids(timeline.watch(trigger(dataset, store), until=10 * MINUTE)) == started
    assert emulator.journal.count("GET", LIST) <= 10 * MINUTE / 30 + 4, "the pages that were missed are read once"


def test_a_task_pushed_out_of_the_page_while_it_ran_still_fires(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    store = StandInAssetStore()
    emulator.task_seconds = 120 * MINUTE
    long = start(dataset)
    assert timeline.watch(trigger(dataset, store), until=MINUTE) == []
    emulator.task_seconds = MINUTE
    run_to_its_end(emulator, dataset, 110, "pre-label")
    timeline.begin = timeline.clock.now()
    fired = ids(timeline.watch(trigger(dataset, store), until=15 * MINUTE))
    assert len(fired) == 111
    assert fired[-1] == long


def test_without_a_store_each_start_is_a_new_beginning(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    assert timeline.watch(trigger(dataset), until=MINUTE) == []
    run_to_its_end(emulator, dataset)
    assert timeline.watch(trigger(dataset), until=10 * MINUTE) == []


def test_a_triggerer_that_dies_right_after_an_event_fires_it_again(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    store = StandInAssetStore()
    task_id = start(dataset)
    timeline.watch(trigger(dataset, store), until=30)

    async def die_at_the_event() -> list[Any]:
        stream = trigger(dataset, store).run()
        event = await anext(stream)
        await stream.aclose()
        return [event.payload["label_task_id"]]

    timeline._until = float("inf")
    assert asyncio.run(die_at_the_event()) == [task_id]
    assert ids(timeline.watch(trigger(dataset, store), until=10 * MINUTE)) == [task_id]
    assert timeline.watch(trigger(dataset, store), until=20 * MINUTE) == []


def test_what_was_seen_is_stored_when_its_event_is_sure_to_lie_in_the_database(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stored_at = StandInAssetStore(), []
    aset = store.aset

    async def noting(key: str, value: Any) -> None:
        stored_at.append(timeline.clock.now())
        await aset(key, value)

    monkeypatch.setattr(store, "aset", noting)
    started = start(dataset)
    assert ids(timeline.watch(trigger(dataset, store), until=10 * MINUTE)) == [started]
    (fired,) = timeline.fired_at
    # The first storing is of the beginning; a triggerer may die before it has handed an event over.
    assert len(stored_at) >= 2
    assert min(moment for moment in stored_at if moment >= fired) - fired >= STORED_AFTER


def test_a_store_that_fails_is_tried_again(emulator: Emulator, timeline: WatchTimeline, dataset: str) -> None:
    store = StandInAssetStore()
    timeline.watch(trigger(dataset, store), until=MINUTE)
    task_id = run_to_its_end(emulator, dataset)[0]
    timeline.begin = timeline.clock.now()
    store.down = True
    timeline.at(5 * MINUTE, lambda: setattr(store, "down", False))
    assert ids(timeline.watch(trigger(dataset, store), until=10 * MINUTE)) == [task_id]
    later = start(dataset)
    timeline.at(11 * MINUTE, lambda: setattr(store, "down", True))
    timeline.at(15 * MINUTE, lambda: setattr(store, "down", False))
    assert ids(timeline.watch(trigger(dataset, store), until=20 * MINUTE)) == [later]
    assert timeline.watch(trigger(dataset, store), until=30 * MINUTE) == []


def test_what_the_store_holds_is_small_and_nonsense_in_it_is_a_new_beginning(
    emulator: Emulator, timeline: WatchTimeline, dataset: str
) -> None:
    store = StandInAssetStore()
    run_to_its_end(emulator, dataset, 40)
    timeline.begin = timeline.clock.now()
    timeline.watch(trigger(dataset, store), until=MINUTE)
    ((key, value),) = store.values.items()
    assert len(key) < 60
    assert len(value) < 1000
    for nonsense in ("7", '{"active": 1}', '{"active": [], "recent": [3]}'):
        store.values[key] = nonsense
        assert timeline.watch(trigger(dataset, store), until=(timeline.clock.now() - timeline.begin) + MINUTE) == []


def test_a_trigger_of_several_assets_says_that_it_cannot_remember(
    emulator: Emulator, timeline: WatchTimeline, dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = pytest.importorskip("airflow.sdk.execution_time.context")
    if not hasattr(context, "AssetStateStoreAccessors"):
        pytest.skip("this Airflow has no asset_state_store")
    from airflow.sdk import Asset

    several = context.AssetStateStoreAccessors(inlets=[Asset(name="one"), Asset(name="two")])
    timeline.at(40, lambda: start(dataset))
    assert len(timeline.watch(trigger(dataset, several), until=10 * MINUTE)) == 1
    assert sum("several assets" in record.message for record in caplog.records) == 1
