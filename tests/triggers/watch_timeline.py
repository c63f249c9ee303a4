"""Runs watches of a dataset on the moved clock, as a triggerer does that lives and dies."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers.event import ModelArtsLabelTaskEventTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

LIST = "/tasks"
MINUTE = 60.0


class TimeIsUpError(Exception):
    """The time that a test gave to a watch is over."""


class WatchTimeline:
    """Runs watches on the moved clock: things happen at given seconds, and at a given second the process dies."""

    def __init__(self, clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.begin = clock.now()
        self._plan: list[tuple[float, Callable[[], object]]] = []
        self._until = 0.0
        self.fired_at: list[float] = []
        """When the last watch fired."""
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
            raise TimeIsUpError
        await asyncio.sleep(0)

    def watch(self, trigger: ModelArtsLabelTaskEventTrigger, until: float) -> list[dict[str, Any]]:
        """Run a trigger until a second of the timeline, then kill it; return the payloads it fired."""
        self._until = self.begin + until
        self.fired_at = []
        payloads: list[dict[str, Any]] = []

        async def run() -> None:
            async for event in trigger.run():
                # one by one: what was fired before the end must be there
                payloads.append(json.loads(json.dumps(event.payload)))
                self.fired_at.append(self.clock.now())

        with pytest.raises(TimeIsUpError):
            asyncio.run(run())
        return payloads

    def sleep_until(self, seconds: float) -> None:
        """Let time pass with no watch running."""
        self._until = float("inf")
        asyncio.run(self._sleep(self.begin + seconds - self.clock.now()))


class StandInAssetStore:
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


def trigger(
    dataset_id: str, store: StandInAssetStore | None = None, **parameters: Any
) -> ModelArtsLabelTaskEventTrigger:
    """Build a trigger as a triggerer does: from what Airflow stored of it."""
    _, kwargs = ModelArtsLabelTaskEventTrigger(dataset_id, **parameters).serialize()
    built = ModelArtsLabelTaskEventTrigger(**json.loads(json.dumps(kwargs)))
    built.asset_state_store = store
    return built


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["label_task_id"] for payload in payloads]
