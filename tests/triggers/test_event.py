"""Watching a dataset: which ends fire, how often, at what cost, and through which mishaps."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.refusals import REMEMBERED
from airflow_provider_modelarts.client.waiting import JITTER
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook, clear_clients
from airflow_provider_modelarts.triggers.event import STORED_AFTER, ModelArtsLabelTaskEventTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

CLASS_PATH = "airflow_provider_modelarts.triggers.event.ModelArtsLabelTaskEventTrigger"
LIST = "/tasks"
MINUTE = 60.0


class OverError(Exception):
    """The time that a test gave to a watch is over."""


class Story:
    """Runs watches on the moved clock: things happen at given seconds, and at a given second the process dies."""

    def __init__(self, clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.begin = clock.now()
        self._plan: list[tuple[float, Callable[[], object]]] = []
        self._until = 0.0
        monkeypatch.setattr(clock, "sleep_async", self._sleep)

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        self._plan.append((self.begin + seconds, action))
        self._plan.sort(key=lambda entry: entry[0])

    async def _sleep(self, seconds: float) -> None:
        target = self.clock.now() + seconds
        while self._plan and self._plan[0][0] <= target:
            moment, action = self._plan.pop(0)
            self.clock.advance(max(0.0, moment - self.clock.now()))
            await asyncio.to_thread(action)
        self.clock.advance(max(0.0, target - self.clock.now()))
        if self.clock.now() >= self._until:
            raise OverError
        await asyncio.sleep(0)

    def watch(self, trigger: ModelArtsLabelTaskEventTrigger, until: float) -> list[dict[str, Any]]:
        """Run a trigger until a second of the story, then kill it; return the payloads it fired."""
        self._until = self.begin + until
        payloads: list[dict[str, Any]] = []

        async def run() -> None:
            async for event in trigger.run():
                # one by one: what was fired before the end must be there
                payloads.append(json.loads(json.dumps(event.payload)))  # noqa: PERF401

        with pytest.raises(OverError):
            asyncio.run(run())
        return payloads

    def sleep_until(self, seconds: float) -> None:
        """Let time pass with no watch running."""
        self._until = float("inf")
        asyncio.run(self._sleep(self.begin + seconds - self.clock.now()))


class Store:
    """What Airflow 3.3 puts into a trigger of one asset: it outlives the triggerer."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.down = False

    async def aget(self, key: str, default: Any = None) -> Any:
        self._check()
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self._check()
        self.values[key] = json.dumps(value)

    def _check(self) -> None:
        if self.down:
            raise ConnectionError("the API server is gone")


@pytest.fixture
def story(moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(moved_clock, monkeypatch)


@pytest.fixture
def dataset(emulator: Emulator, moved_clock: MovedClock) -> str:
    emulator.task_seconds = MINUTE
    return emulator.load_digits(labeled=100)


def start(dataset_id: str, task_type: str = "auto-label") -> str:
    model = {"model_id": "m" * 32} if task_type == "pre-label" else {}
    return ModelArtsHook().client.tasks.start(dataset_id, task_type, **model)


def run_to_its_end(emulator: Emulator, dataset_id: str, times: int = 1, task_type: str = "auto-label") -> list[str]:
    """Let labeling tasks run one after another; all fail, which takes the emulator less time than labeling."""
    failing = emulator.faults.add("POST", LIST, "fail_task", times=times)
    started = []
    for _ in range(times):
        started.append(start(dataset_id, task_type))
        emulator.clock.advance(emulator.task_seconds)
    assert failing.fired == times
    return started


def trigger(dataset_id: str, store: Store | None = None, **parameters: Any) -> ModelArtsLabelTaskEventTrigger:
    """Build a trigger as a triggerer does: from what Airflow stored of it."""
    _, kwargs = ModelArtsLabelTaskEventTrigger(dataset_id, **parameters).serialize()
    built = ModelArtsLabelTaskEventTrigger(**json.loads(json.dumps(kwargs)))
    built.asset_state_store = store
    return built


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["label_task_id"] for payload in payloads]


# --- edges


def test_an_end_fires_once_with_a_small_payload(emulator: Emulator, story: Story, dataset: str) -> None:
    started: list[str] = []
    story.at(40, lambda: started.append(start(dataset)))
    (payload,) = story.watch(trigger(dataset), until=20 * MINUTE)
    assert payload == {
        "dataset_id": dataset,
        "label_task_id": started[0],
        "state": "succeeded",
        "total_sample_count": 1797,
        "annotated_sample_count": 100,
        "unconfirmed_sample_count": 1697,
    }


def test_what_was_over_before_does_not_fire_and_what_was_running_does(
    emulator: Emulator, story: Story, dataset: str
) -> None:
    run_to_its_end(emulator, dataset, 2)
    running = start(dataset)
    assert ids(story.watch(trigger(dataset), until=10 * MINUTE)) == [running]


def test_a_task_that_lived_between_two_looks_fires(emulator: Emulator, story: Story, dataset: str) -> None:
    emulator.task_seconds = 3
    started: list[str] = []
    for second in (35, 39, 43):
        story.at(second, lambda: started.append(start(dataset)))
    assert ids(story.watch(trigger(dataset), until=5 * MINUTE)) == started
    assert len(started) == 3


def test_each_kind_of_end_has_its_state(emulator: Emulator, story: Story, dataset: str) -> None:
    client = ModelArtsHook().client
    story.at(10, emulator.dataset(dataset).fail_next_task)
    story.at(11, lambda: start(dataset))
    story.at(200, lambda: start(dataset))
    story.at(230, lambda: client.tasks.stop(dataset, list(emulator.dataset(dataset).tasks)[-1]))
    story.at(400, lambda: start(dataset))
    payloads = story.watch(trigger(dataset), until=10 * MINUTE)
    assert [payload["state"] for payload in payloads] == ["failed", "stopped", "succeeded"]
    assert payloads[0]["error_code"] == "ModelArts.4917"


def test_only_the_wanted_states_fire(emulator: Emulator, story: Story, dataset: str) -> None:
    story.at(10, emulator.dataset(dataset).fail_next_task)
    story.at(11, lambda: start(dataset))
    story.at(200, lambda: start(dataset))
    payloads = story.watch(trigger(dataset, states=["succeeded"]), until=10 * MINUTE)
    assert [payload["state"] for payload in payloads] == ["succeeded"]


def test_two_kinds_at_once_and_a_watch_of_one_kind(emulator: Emulator, story: Story, dataset: str) -> None:
    story.at(10, lambda: start(dataset, "auto-label"))
    story.at(12, lambda: start(dataset, "pre-label"))
    story.at(14, lambda: start(dataset, "auto-grouping"))
    assert len(story.watch(trigger(dataset), until=5 * MINUTE)) == 2
    story.at(310, lambda: start(dataset, "auto-label"))
    story.at(312, lambda: start(dataset, "auto-grouping"))
    (payload,) = story.watch(trigger(dataset, label_task_type="auto-grouping"), until=10 * MINUTE)
    assert payload["label_task_id"] == list(emulator.dataset(dataset).tasks)[-1]


def test_deleted_tasks_make_nothing_old_fire(emulator: Emulator, story: Story, dataset: str) -> None:
    old = run_to_its_end(emulator, dataset, 130)
    story.begin = story.clock.now()
    view = emulator.dataset(dataset)
    story.at(40, lambda: [view.forget_task(task_id) for task_id in old[-15:]])
    story.at(100, lambda: start(dataset))
    story.at(130, lambda: view.forget_task(list(view.tasks)[-1]))  # one that was being watched
    story.at(300, lambda: start(dataset))
    fired = ids(story.watch(trigger(dataset), until=8 * MINUTE))
    assert fired == [list(view.tasks)[-1]]


# --- cost


def test_a_look_costs_one_request_however_many_tasks_there_were(emulator: Emulator, story: Story, dataset: str) -> None:
    run_to_its_end(emulator, dataset, 230)
    story.begin = story.clock.now()
    emulator.journal.clear()
    story.watch(trigger(dataset), until=15 * MINUTE)
    looks = emulator.journal.count("GET", LIST)
    assert 15 * 60 / 33 <= looks <= 15 * 60 / 30 + 1
    assert looks == len(emulator.journal), "nothing but looks"


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
    emulator: Emulator, story: Story, dataset: str, fault: Mapping[str, Any]
) -> None:
    begins, ends = 5 * MINUTE, 6 * 60 * MINUTE
    arguments = {name: value for name, value in fault.items() if name != "kind"}
    rules: list[Any] = []

    def strike() -> None:
        lasts = story.begin + ends
        rule = emulator.faults.add(
            "GET", LIST, fault["kind"], times=None, match=lambda _: story.clock.now() < lasts, **arguments
        )
        rules.append(rule)

    story.at(begins, strike)
    story.at(60 * MINUTE, lambda: run_to_its_end(emulator, dataset, 3))
    assert len(story.watch(trigger(dataset), until=ends + 10 * MINUTE)) == 3
    longest = 5 * MINUTE * (1 + JITTER)
    assert (ends - begins) / longest <= rules[0].fired <= 90, "a look every five minutes"


def test_retry_after_is_honoured(emulator: Emulator, story: Story, dataset: str) -> None:
    rule = emulator.faults.add("GET", LIST, "status", status=429, headers={"Retry-After": "900"}, times=1)
    story.watch(trigger(dataset), until=14 * MINUTE)
    assert rule.fired == 1
    assert emulator.journal.count("GET", LIST) == 1
    story.begin = story.clock.now()


def test_a_revoked_token_and_a_rotated_password(
    emulator: Emulator, story: Story, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate() -> None:
        emulator.set_password("an0ther-Passw0rd")
        monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(emulator.connection))

    story.at(45, emulator.revoke_tokens)
    story.at(100, lambda: start(dataset))
    story.at(240, rotate)
    story.at(400, lambda: start(dataset))
    assert len(story.watch(trigger(dataset), until=15 * MINUTE)) == 2


def test_a_wrong_password_is_not_sent_again_and_again(
    emulator: Emulator, story: Story, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = emulator.connection_json
    wrong = json.dumps({**emulator.connection, "password": "wr0ng"})
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", wrong)
    clear_clients()
    story.at(60 * MINUTE, lambda: monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", good))
    story.at(70 * MINUTE, lambda: start(dataset))
    assert len(story.watch(trigger(dataset), until=90 * MINUTE)) == 1
    refused = [record for record in emulator.journal if record.path.endswith("/auth/tokens") and record.status == 401]
    # Once, and again whenever the refusal is forgotten; the looks in between do not ask: IAM would lock the user.
    assert 1 <= len(refused) <= 1 + 60 * MINUTE / REMEMBERED


def test_an_unknown_connection_is_waited_for(
    emulator: Emulator, story: Story, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.at(20 * MINUTE, lambda: monkeypatch.setenv("AIRFLOW_CONN_LATER", emulator.connection_json))
    story.at(40 * MINUTE, lambda: start(dataset))
    payloads = story.watch(trigger(dataset, modelarts_conn_id="later"), until=60 * MINUTE)
    assert len(payloads) == 1


# --- outages of the triggerer


def test_with_a_store_an_end_while_no_triggerer_ran_fires(emulator: Emulator, story: Story, dataset: str) -> None:
    store = Store()
    story.at(50, lambda: start(dataset))
    assert story.watch(trigger(dataset, store), until=80) == []
    story.sleep_until(20 * MINUTE)
    story.at(20 * MINUTE + 1, lambda: run_to_its_end(emulator, dataset, 2))
    story.sleep_until(40 * MINUTE)
    tasks = list(emulator.dataset(dataset).tasks)
    assert len(tasks) == 3
    assert ids(story.watch(trigger(dataset, store), until=60 * MINUTE)) == tasks
    assert story.watch(trigger(dataset, store), until=80 * MINUTE) == [], "each end fires once"


def test_more_tasks_than_a_page_during_an_outage_of_the_triggerer(
    emulator: Emulator, story: Story, dataset: str
) -> None:
    store = Store()
    run_to_its_end(emulator, dataset, 30)
    story.begin = story.clock.now()
    assert story.watch(trigger(dataset, store), until=MINUTE) == []
    started = run_to_its_end(emulator, dataset, 215)
    story.begin = story.clock.now()
    emulator.journal.clear()
    assert ids(story.watch(trigger(dataset, store), until=10 * MINUTE)) == started
    assert emulator.journal.count("GET", LIST) <= 10 * MINUTE / 30 + 4, "the pages that were missed are read once"


def test_a_task_pushed_out_of_the_page_while_it_ran_still_fires(emulator: Emulator, story: Story, dataset: str) -> None:
    store = Store()
    emulator.task_seconds = 120 * MINUTE
    long = start(dataset)
    assert story.watch(trigger(dataset, store), until=MINUTE) == []
    emulator.task_seconds = MINUTE
    run_to_its_end(emulator, dataset, 110, "pre-label")
    story.begin = story.clock.now()
    fired = ids(story.watch(trigger(dataset, store), until=15 * MINUTE))
    assert len(fired) == 111
    assert fired[-1] == long


def test_without_a_store_each_start_is_a_new_beginning(emulator: Emulator, story: Story, dataset: str) -> None:
    assert story.watch(trigger(dataset), until=MINUTE) == []
    run_to_its_end(emulator, dataset)
    assert story.watch(trigger(dataset), until=10 * MINUTE) == []


def test_a_triggerer_that_dies_right_after_an_event_fires_it_again(
    emulator: Emulator, story: Story, dataset: str
) -> None:
    store = Store()
    task_id = start(dataset)
    story.watch(trigger(dataset, store), until=30)

    async def die_at_the_event() -> list[Any]:
        stream = trigger(dataset, store).run()
        event = await anext(stream)
        await stream.aclose()
        return [event.payload["label_task_id"]]

    story._until = float("inf")
    assert asyncio.run(die_at_the_event()) == [task_id]
    assert ids(story.watch(trigger(dataset, store), until=10 * MINUTE)) == [task_id]
    assert story.watch(trigger(dataset, store), until=20 * MINUTE) == []


def test_what_was_seen_is_stored_when_its_event_is_sure_to_lie_in_the_database(
    emulator: Emulator, story: Story, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stored_at, fired_at = Store(), [], []
    aset = store.aset

    async def noting(key: str, value: Any) -> None:
        stored_at.append(story.clock.now())
        await aset(key, value)

    monkeypatch.setattr(store, "aset", noting)
    started = start(dataset)

    async def until_stored() -> None:
        async for event in trigger(dataset, store).run():
            assert event.payload["label_task_id"] == started
            fired_at.append(story.clock.now())

    story._until = story.begin + 10 * MINUTE
    with pytest.raises(OverError):
        asyncio.run(until_stored())
    (fired,) = fired_at
    # The first storing is of the beginning; a triggerer may die before it has handed an event over.
    assert len(stored_at) >= 2
    assert min(moment for moment in stored_at if moment >= fired) - fired >= STORED_AFTER


def test_a_store_that_fails_is_tried_again(emulator: Emulator, story: Story, dataset: str) -> None:
    store = Store()
    story.watch(trigger(dataset, store), until=MINUTE)
    task_id = run_to_its_end(emulator, dataset)[0]
    story.begin = story.clock.now()
    store.down = True
    story.at(5 * MINUTE, lambda: setattr(store, "down", False))
    assert ids(story.watch(trigger(dataset, store), until=10 * MINUTE)) == [task_id]
    later = start(dataset)
    story.at(11 * MINUTE, lambda: setattr(store, "down", True))
    story.at(15 * MINUTE, lambda: setattr(store, "down", False))
    assert ids(story.watch(trigger(dataset, store), until=20 * MINUTE)) == [later]
    assert story.watch(trigger(dataset, store), until=30 * MINUTE) == []


def test_what_the_store_holds_is_small_and_nonsense_in_it_is_a_new_beginning(
    emulator: Emulator, story: Story, dataset: str
) -> None:
    store = Store()
    run_to_its_end(emulator, dataset, 40)
    story.begin = story.clock.now()
    story.watch(trigger(dataset, store), until=MINUTE)
    ((key, value),) = store.values.items()
    assert len(key) < 60
    assert len(value) < 1000
    for nonsense in ("7", '{"active": 1}', '{"active": [], "recent": [3]}'):
        store.values[key] = nonsense
        assert story.watch(trigger(dataset, store), until=(story.clock.now() - story.begin) + MINUTE) == []


def test_a_trigger_of_several_assets_says_that_it_cannot_remember(
    emulator: Emulator, story: Story, dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = pytest.importorskip("airflow.sdk.execution_time.context")
    if not hasattr(context, "AssetStateStoreAccessors"):
        pytest.skip("this Airflow has no asset_state_store")
    from airflow.sdk import Asset

    several = context.AssetStateStoreAccessors(inlets=[Asset(name="one"), Asset(name="two")])
    story.at(40, lambda: start(dataset))
    assert len(story.watch(trigger(dataset, several), until=10 * MINUTE)) == 1
    assert sum("several assets" in record.message for record in caplog.records) == 1


# --- Airflow's side


def test_watchers_of_one_dataset_share_one_poll(emulator: Emulator, story: Story, dataset: str) -> None:
    shared_stream = pytest.importorskip("airflow.triggers.shared_stream")
    store, payloads = Store(), {1: [], 2: [], 3: []}
    watchers = {
        1: trigger(dataset, states=["succeeded"]),
        2: trigger(dataset, states=["failed"]),
        3: trigger(dataset, store),
    }
    for second, action in ((50, emulator.dataset(dataset).fail_next_task), (51, lambda: start(dataset))):
        story.at(second, action)
    story.at(200, lambda: start(dataset))
    story._until = story.begin + 10 * MINUTE

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
    assert emulator.journal.count("GET", LIST) <= 10 * MINUTE / 30 + 1


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


def test_neither_parameters_nor_payload_hold_a_secret(emulator: Emulator, story: Story, dataset: str) -> None:
    watcher = trigger(dataset)
    story.at(40, lambda: start(dataset))
    said = json.dumps([watcher.serialize()[1], story.watch(watcher, until=5 * MINUTE)]) + repr(watcher)
    assert emulator.tokens, "a token was fetched"
    assert [secret for secret in emulator.secrets if secret in said] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset_id": ""},
        {"states": ["done"]},
        {"label_task_type": "auto-deploy"},
        {"poll_interval": 0},
    ],
)
def test_values_that_make_no_sense_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        ModelArtsLabelTaskEventTrigger(**{"dataset_id": "d" * 19, **wrong})


def test_the_event_loop_runs_on_while_the_service_thinks(emulator: Emulator, story: Story, dataset: str) -> None:
    asked, loop_ran = threading.Event(), threading.Event()
    waited: list[bool] = []

    def think(_: Any) -> bool:
        asked.set()
        waited.append(loop_ran.wait(20))
        return False

    emulator.faults.add("GET", LIST, "reset", match=think)
    story._until = story.begin + 10

    async def run() -> None:
        async def first_event(stream: AsyncIterator[Any]) -> None:
            await anext(stream)

        watching = asyncio.create_task(first_event(trigger(dataset).run()))
        assert await asyncio.to_thread(asked.wait, 20)
        loop_ran.set()
        with pytest.raises(OverError):
            await watching

    asyncio.run(run())
    assert waited == [True]
