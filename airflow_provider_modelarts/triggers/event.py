"""Watches a dataset and fires when a labeling task of it ends, for DAGs that are scheduled by assets."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.client.states import TERMINAL_STATES, TaskState
from airflow_provider_modelarts.client.validation import validate_choice, validate_id, validate_seconds
from airflow_provider_modelarts.client.waiting import JITTER
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers import ended_tasks as ends
from airflow_provider_modelarts.utils import thread_pool as pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.tasks import LabelTask
    from airflow_provider_modelarts.triggers.ended_tasks import EndedTaskTracker, TaskListSnapshot

T = TypeVar("T")

log = logging.getLogger(__name__)

# What a template is made of, and what is left of a value that is not there.
TEMPLATE_MARKS = ("{{", "{%", "{#")
BLANK = frozenset({"", "none", "null", "undefined"})

STATES = tuple(sorted(state.name.lower() for state in TERMINAL_STATES))
LABEL_TASK_TYPES = ("auto-label", "auto-grouping", "pre-label")

LONGEST_PAUSE = 300.0
"""Seconds to which the pauses between looks that fail grow; the service, or who runs it, needs time to recover."""

STORED_AFTER = 5.0
"""Seconds after which an event that was fired lies in Airflow's database: a triggerer hands it over in one or two."""

# What may come of the service, of the connection's look-up and of Airflow's own API; none of it ends the watch.
_PASSING = (ModelArtsError, AirflowException, AirflowRuntimeError, OSError)


class ModelArtsLabelTaskEventTrigger(BaseEventTrigger):
    """Fires one event for each labeling task of a dataset that ends, whoever started it; for an ``AssetWatcher``.

    Edges only: a labeling task that was over before the watch began fires nothing, each later end fires once. The
    payload is ``{"dataset_id", "label_task_id", "state", "total_sample_count", "annotated_sample_count",
    "unconfirmed_sample_count"}``, with ``error_code`` where the service gives one; ``state`` is ``succeeded``,
    ``failed`` or ``stopped``. A DAG finds it in the ``extra["payload"]`` of its ``triggering_asset_events``.

    No error ends the watch, be it an outage of days or a password that somebody has to correct: the pauses between
    looks grow to five minutes and shrink again with the first answer. One look costs one request, which reads the
    newest hundred labeling tasks. All ends of an outage are noticed after it.

    With Airflow 3.3 or newer the watch keeps what it saw in the ``asset_state_store``, so that an end during an outage
    of the triggerer fires when it is back, and watchers with equal connection, dataset, ``label_task_type`` and
    ``poll_interval`` share one poll. A triggerer that dies within five seconds of an event fires that event again:
    twice rather than never. Without that store, which is to say on Airflow 3.2 or when one trigger serves several
    assets, each start of the triggerer is a new beginning: what ended while no triggerer ran fires nothing.

    The class path and these parameters are the watch's identity for Airflow, which stores them as plain text. They are
    read when the DAG is parsed; templates and values that come from tasks are refused, for nothing renders them.

    :param dataset_id: the dataset to watch
    :param states: ends that fire: ``succeeded``, ``failed``, ``stopped``; default: all three
    :param label_task_type: ``auto-label``, ``pre-label`` or ``auto-grouping``; default: the first two, which is what
        the service lists when no type is named (contract 2.2)
    :param poll_interval: seconds between looks, with 10 % jitter (B6)
    :param modelarts_conn_id: the Airflow connection
    :param project_id: takes the place of the connection's own project
    :raises InvalidRequest: for values that make no sense, when the DAG is parsed
    """

    def __init__(
        self,
        dataset_id: str,
        *,
        states: Sequence[str] = STATES,
        label_task_type: str | None = None,
        poll_interval: float = 30,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        self.dataset_id = _fixed("dataset_id", dataset_id)
        self.states = _states(states)
        if label_task_type is not None:
            validate_choice("label_task_type", label_task_type, LABEL_TASK_TYPES)
        self.label_task_type = label_task_type
        self.poll_interval = validate_seconds("poll_interval", poll_interval)
        self.modelarts_conn_id = _fixed("modelarts_conn_id", modelarts_conn_id)
        self.project_id = None if project_id is None else _fixed("project_id", project_id)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and what the constructor needs to build this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "dataset_id": self.dataset_id,
            "states": self.states,
            "label_task_type": self.label_task_type,
            "poll_interval": self.poll_interval,
            "modelarts_conn_id": self.modelarts_conn_id,
            "project_id": self.project_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever with a poll of its own; Airflow 3.3 calls the two shared-stream methods instead."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    def shared_stream_key(self) -> Hashable:
        """Return what watchers that can share one poll have in common."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            self.modelarts_conn_id,
            self.project_id,
            self.dataset_id,
            self.label_task_type,
            self.poll_interval,
        )

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[TaskListSnapshot]:
        """Look at the dataset's list for ever, and yield what each look brought.

        :param kwargs: parameters of one of the watchers that share this poll
        """
        watcher = cls(**kwargs)
        hook = ModelArtsHook(watcher.modelarts_conn_id, watcher.project_id).look_afresh()
        failures = 0
        while True:
            pause = watcher.poll_interval
            try:
                glance = await pool.run(hook, lambda: watcher._newest(hook.client))
            except _PASSING as error:
                failures += 1
                pause = watcher._pause_after(failures, error)
                log.warning("Cannot watch dataset %s; looking again in %.0f s. %s", watcher.dataset_id, pause, error)
            else:
                failures = 0
                yield glance
            scattered = pause * random.uniform(1, 1 + JITTER)  # noqa: S311 - scatters looks, protects nothing
            await system_clock.sleep_async(scattered)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[TaskListSnapshot]) -> AsyncIterator[TriggerEvent]:
        """Compare each look with the one before and fire for what has ended between them.

        :param shared_stream: what :meth:`open_shared_stream` yields
        """
        memory = _Memory(getattr(self, "asset_state_store", None), self._memory_key())
        seen: EndedTaskTracker | None = None
        async for glance in shared_stream:
            try:
                seen = seen or await memory.read() or ends.EndedTaskTracker.begin(glance)
                over = seen.take(*await self._all_of(seen, glance))
            except _PASSING as error:
                self.log.warning("Cannot tell yet what has ended in dataset %s: %s", self.dataset_id, error)
                continue
            events = [self._event(task) for task in over if _state_name(task) in self.states]
            for event in events:
                yield event
            if events:
                await system_clock.sleep_async(STORED_AFTER)
            await memory.write(seen)

    async def _all_of(
        self, seen: EndedTaskTracker, glance: TaskListSnapshot
    ) -> tuple[TaskListSnapshot, list[LabelTask]]:
        """Read on where a glance, which is a page long, does not show all that has changed since the last look."""
        if seen.has_lost_its_place(glance):
            glance = await self._ask(
                lambda client: ends.since(client, self.dataset_id, self.label_task_type, seen.recent)
            )
        hidden = seen.not_in(glance)
        older = await self._ask(lambda client: ends.still_there(client, self.dataset_id, hidden)) if hidden else []
        return glance, older

    def _newest(self, client: ModelArtsClient) -> TaskListSnapshot:
        return ends.newest(client, self.dataset_id, self.label_task_type)

    async def _ask(self, function: Callable[[ModelArtsClient], T]) -> T:
        """Call a function with the client in the pool."""
        hook = ModelArtsHook(self.modelarts_conn_id, self.project_id)
        return await pool.run(hook, lambda: function(hook.client))

    def _pause_after(self, failures: int, error: Exception) -> float:
        grown = min(self.poll_interval * 2 ** min(failures - 1, 16), max(LONGEST_PAUSE, self.poll_interval))
        asked: float = getattr(error, "retry_after", None) or 0
        return max(float(grown), asked)

    def _event(self, task: LabelTask) -> TriggerEvent:
        payload = {
            "dataset_id": self.dataset_id,
            "label_task_id": task.task_id,
            "state": _state_name(task),
            "total_sample_count": task.total_sample_count,
            "annotated_sample_count": task.annotated_sample_count,
            "unconfirmed_sample_count": task.unconfirmed_sample_count,
        }
        if task.error_code:
            payload["error_code"] = task.error_code
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow does not annotate it

    def _memory_key(self) -> str:
        """Return a key of its own for each watch of an asset; another poll_interval is still the same watch."""
        identity = [self.modelarts_conn_id, self.project_id, self.dataset_id, self.label_task_type, self.states]
        return f"modelarts_label_tasks_{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}"


def _fixed(name: str, value: object) -> str:
    """Return an id as it stands in the DAG file: a watch has no run by which a template could be rendered.

    :raises InvalidRequest: for what is no id, or what is meant to become one when a task runs
    """
    if not isinstance(value, str):
        raise InvalidRequest(
            f"{name} of a watch must be text, not {value!r}: it is needed when the DAG is parsed, before any task runs."
        )
    if any(mark in value for mark in TEMPLATE_MARKS):
        raise InvalidRequest(
            f"{name} of a watch must not be a template, but is {value!r}: nothing renders it. Write the id itself, or "
            "read it from the environment when the DAG is parsed."
        )
    if value.strip().lower() in BLANK:
        raise InvalidRequest(f"{name} of a watch must be an id, not {value!r}: with it nothing can ever fire.")
    return validate_id(name, value.strip())


def _states(states: object) -> list[str]:
    """Return the ends that fire, in one order: the same watch written in another is the same trigger to Airflow."""
    if isinstance(states, str) or not isinstance(states, Iterable):
        raise InvalidRequest(f"states must be a list of {', '.join(STATES)}, not {states!r}.")
    found = sorted({validate_choice("states", state, STATES) for state in states})
    if not found:
        raise InvalidRequest(f"states is empty, so that nothing can ever fire: name some of {', '.join(STATES)}.")
    return found


def _state_name(task: LabelTask) -> str:
    return task.state.name.lower() if isinstance(task.state, TaskState) else str(task.state)


class _Memory:
    """What a watch saw, in the asset's store of Airflow 3.3; without that store it remembers nothing.

    :param store: what the triggerer has put into the trigger
    :param key: under which this watch keeps it
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key
        self._stored: Any = None

    async def read(self) -> EndedTaskTracker | None:
        if self._store is None:
            return None
        try:
            self._stored = await self._store.aget(self._key)
        except ValueError:
            log.warning("One trigger serves several assets: it has no single place to remember what it saw.")
            self._store = None
        return ends.EndedTaskTracker.from_json(self._stored)

    async def write(self, seen: EndedTaskTracker) -> None:
        value = seen.to_json()
        if self._store is None or value == self._stored:
            return
        try:
            await self._store.aset(self._key, value)
        except _PASSING as error:
            log.warning("Airflow does not take what the watch saw; trying again after the next look: %s", error)
        else:
            self._stored = value
