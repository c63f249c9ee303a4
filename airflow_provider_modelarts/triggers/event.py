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
from airflow_provider_modelarts.client.poll_schedule import JITTER
from airflow_provider_modelarts.client.states import TERMINAL_STATES
from airflow_provider_modelarts.client.validation import is_blank, validate_choice, validate_id, validate_seconds
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers.ended_tasks import (
    EndedTaskTracker,
    read_existing,
    read_newest,
    read_until_known,
)
from airflow_provider_modelarts.utils import thread_pool as pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.tasks import LabelTask
    from airflow_provider_modelarts.triggers.ended_tasks import TaskListSnapshot

T = TypeVar("T")

log = logging.getLogger(__name__)

_TEMPLATE_MARKS = ("{{", "{%", "{#")

STATES = tuple(sorted(state.name.lower() for state in TERMINAL_STATES))
LABEL_TASK_TYPES = ("auto-label", "auto-grouping", "pre-label")

LONGEST_PAUSE = 300.0
"""Seconds up to which the pauses between failed polls grow."""

STORED_AFTER = 5.0
"""Seconds after which a fired event is surely in Airflow's database; a triggerer needs one or two."""

# Errors of the service, of reading the connection and of Airflow's own API; none of them ends the watch.
_PASSING = (ModelArtsError, AirflowException, AirflowRuntimeError, OSError)


class ModelArtsLabelTaskEventTrigger(BaseEventTrigger):
    """Fires one event for each labeling task of a dataset that ends, whoever started it; for an ``AssetWatcher``.

    A labeling task that was over before the watch began fires nothing; each later end fires once. The payload is
    ``{"dataset_id", "label_task_id", "state", "total_sample_count", "annotated_sample_count",
    "unconfirmed_sample_count"}``, with ``error_code`` where the service gives one; ``state`` is ``succeeded``,
    ``failed`` or ``stopped``. A DAG finds it in the ``extra["payload"]`` of its ``triggering_asset_events``.

    No error ends the watch, not even an outage of days or a wrong password: the pauses between polls grow to five
    minutes and shrink again with the first answer. All ends during an outage fire after it. A poll reads the newest
    hundred labeling tasks.

    With Airflow 3.3 or newer the watch stores what it has seen in the ``asset_state_store``. An end during an outage of
    the triggerer fires when the triggerer is back. Watchers with equal connection, dataset, ``label_task_type`` and
    ``poll_interval`` share one poll. If a triggerer dies within five seconds of an event, the event fires again: twice
    rather than never. Without that store (on Airflow 3.2, or when one trigger serves several assets) each start of the
    triggerer begins a new watch: what ended while no triggerer ran fires nothing.

    For Airflow, the class path and these parameters are the identity of the watch, stored as plain text. They are read
    when the DAG is parsed; templates and outputs of tasks are refused, as nothing renders them.

    :param dataset_id: the dataset to watch
    :param states: ends that fire: ``succeeded``, ``failed``, ``stopped``; default: all three
    :param label_task_type: ``auto-label``, ``pre-label`` or ``auto-grouping``; default: the first two, which is what
        the service lists when no type is named
    :param poll_interval: seconds between polls, with 10 % jitter
    :param modelarts_conn_id: the Airflow connection
    :param project_id: used instead of the connection's own project
    :raises InvalidRequest: for wrong values, when the DAG is parsed
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
        validate_seconds("poll_interval", poll_interval)
        self.poll_interval = poll_interval
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
        """Watch with a poll of its own; Airflow 3.3 calls the two shared-stream methods instead."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    def shared_stream_key(self) -> Hashable:
        """Return a key that is equal for watchers that can share one poll."""
        path, parameters = self.serialize()
        return path, *(value for name, value in parameters.items() if name != "states")

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[TaskListSnapshot]:
        """Poll the dataset's list for ever, and yield each snapshot.

        :param kwargs: parameters of one of the watchers that share this poll
        """
        watcher = cls(**kwargs)
        hook = ModelArtsHook(watcher.modelarts_conn_id, watcher.project_id).look_afresh()
        failures = 0
        while True:
            pause = watcher.poll_interval
            try:
                snapshot = await _ask(
                    hook, lambda client: read_newest(client, watcher.dataset_id, watcher.label_task_type)
                )
            except _PASSING as error:
                failures += 1
                pause = watcher._pause_after(failures, error)
                log.warning("Cannot watch dataset %s; polling again in %.0f s. %s", watcher.dataset_id, pause, error)
            else:
                failures = 0
                yield snapshot
            scattered = pause * random.uniform(1, 1 + JITTER)  # noqa: S311 - scatters polls, protects nothing
            await system_clock.sleep_async(scattered)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[TaskListSnapshot]) -> AsyncIterator[TriggerEvent]:
        """Compare each snapshot with the one before and fire for what has ended between them.

        :param shared_stream: what :meth:`open_shared_stream` yields
        """
        store = _TrackerStore(getattr(self, "asset_state_store", None), self._store_key())
        tracker: EndedTaskTracker | None = None
        async for snapshot in shared_stream:
            try:
                tracker = tracker or await store.read() or EndedTaskTracker.begin(snapshot)
                ended = await self._update(tracker, snapshot)
            except _PASSING as error:
                self.log.warning("Cannot tell yet what has ended in dataset %s: %s", self.dataset_id, error)
                continue
            events = [self._event(task) for task in ended if _state_name(task) in self.states]
            for event in events:
                yield event
            if events:
                await system_clock.sleep_async(STORED_AFTER)
            await store.write(tracker)

    async def _update(self, tracker: EndedTaskTracker, snapshot: TaskListSnapshot) -> list[LabelTask]:
        """Return what has ended; read more where the snapshot, one page long, does not show all that has changed."""
        hook = ModelArtsHook(self.modelarts_conn_id, self.project_id)
        older: list[LabelTask] = []
        if tracker.needs_more(snapshot):
            snapshot = await _ask(
                hook, lambda client: read_until_known(client, self.dataset_id, self.label_task_type, tracker.recent)
            )
        below = tracker.active_below(snapshot)
        if below:
            older = await _ask(hook, lambda client: read_existing(client, self.dataset_id, below))
        return tracker.update(snapshot, older)

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

    def _store_key(self) -> str:
        """Return the key of this watch in the asset's store; another poll_interval is still the same watch."""
        identity = [self.modelarts_conn_id, self.project_id, self.dataset_id, self.label_task_type, self.states]
        return f"modelarts_label_tasks_{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}"


async def _ask(hook: ModelArtsHook, function: Callable[[ModelArtsClient], T]) -> T:
    """Call a function with the client, in the connection's threads."""
    return await pool.run(hook, lambda: function(hook.client))


def _fixed(name: str, value: object) -> str:
    """Return an id as it stands in the DAG file: a watch has no run by which a template could be rendered."""
    if not isinstance(value, str):
        raise InvalidRequest(
            f"{name} of a watch must be text, not {value!r}: it is needed when the DAG is parsed, before any task runs."
        )
    if any(mark in value for mark in _TEMPLATE_MARKS):
        raise InvalidRequest(
            f"{name} of a watch must not be a template, but is {value!r}: nothing renders it. Write the id itself, or "
            "read it from the environment when the DAG is parsed."
        )
    if is_blank(value):
        raise InvalidRequest(f"{name} of a watch must be an id, not {value!r}: with it nothing can ever fire.")
    return validate_id(name, value.strip())


def _states(states: object) -> list[str]:
    """Return the states that fire, sorted: for Airflow another order would be another trigger."""
    if isinstance(states, str) or not isinstance(states, Iterable):
        raise InvalidRequest(f"states must be a list of {', '.join(STATES)}, not {states!r}.")
    found = sorted({validate_choice("states", state, STATES) for state in states})
    if not found:
        raise InvalidRequest(f"states is empty, so that nothing can ever fire: name some of {', '.join(STATES)}.")
    return found


def _state_name(task: LabelTask) -> str:
    return task.state.name.lower()


class _TrackerStore:
    """Keeps a watch's tracker in the ``asset_state_store`` of Airflow 3.3; without that store it keeps nothing."""

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
            log.warning("One trigger serves several assets, so there is no single store for what it has seen.")
            self._store = None
        return EndedTaskTracker.from_json(self._stored)

    async def write(self, tracker: EndedTaskTracker) -> None:
        value = tracker.to_json()
        if self._store is None or value == self._stored:
            return
        try:
            await self._store.aset(self._key, value)
        except _PASSING as error:
            log.warning("Airflow did not store what the watch has seen; trying again after the next poll: %s", error)
        else:
            self._stored = value
