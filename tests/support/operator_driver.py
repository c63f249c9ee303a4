"""Drives one operator or sensor through its life without Airflow's machinery around it, but with what it would do:
trigger kwargs and events travel as JSON, a rescheduled sensor starts again in another process, time stands still unless
somebody sleeps.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from airflow.sdk import BaseOperator

    from tests.support.clock import MovedClock


@dataclass
class StandInTaskInstance:
    """What operators ask of Airflow's task instance."""

    start_date: datetime
    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)
    first_reschedule_date: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.xcoms.get(key) if (task_ids, map_indexes) == (self.task_id, self.map_index) else None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule_date


@dataclass
class Ending:
    """How it ended: what was returned or raised, what XComs are left, and how often it was not in the worker."""

    result: Any = None
    error: BaseException | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    deferrals: int = 0
    reschedules: int = 0


def moment(clock: MovedClock) -> datetime:
    return datetime.fromtimestamp(clock.now(), UTC)


class StandInStore:
    """Airflow's task state store: outlives tries and clears; what it keeps went through JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


def context_of(
    ti: StandInTaskInstance,
    *,
    run_started: datetime,
    store: StandInStore | None = None,
    reschedules: int = 0,
    clear_number: int = 0,
) -> Any:
    """Return what operators take from Airflow's context; without ``store`` as Airflow 3.2 has it."""
    dag_run = SimpleNamespace(start_date=run_started, clear_number=clear_number)
    context = {"ti": ti, "dag_run": dag_run, "task_reschedule_count": reschedules}
    return context if store is None else {**context, "task_state_store": store}


def drive(
    operator: BaseOperator, clock: MovedClock, *, store: StandInStore | None = None, copies: bool = True
) -> Ending:
    """Run the first try of ``operator`` to its end; see :func:`drive_try`."""
    ti = StandInTaskInstance(start_date=moment(clock), task_id=operator.task_id)
    return drive_try(operator, clock, ti, run_started=moment(clock), store=store, copies=copies)


def drive_try(
    operator: BaseOperator,
    clock: MovedClock,
    ti: StandInTaskInstance,
    *,
    run_started: datetime,
    store: StandInStore | None = None,
    copies: bool = True,
    clear_number: int = 0,
) -> Ending:
    """Run one try of ``operator`` to its end.

    :param copies: whether each process has an operator of its own, as in Airflow; without, the given one itself runs,
        so that the test can call its ``on_kill``
    """
    fresh = copy.copy if copies else _itself
    ending = Ending(xcoms=ti.xcoms)
    while True:
        context = context_of(
            ti, run_started=run_started, store=store, reschedules=ending.reschedules, clear_number=clear_number
        )
        try:
            ending.result = _one_process(operator, fresh, context, ending)
        except AirflowRescheduleException as reschedule:
            ti.first_reschedule_date = ti.first_reschedule_date or moment(clock)
            ending.reschedules += 1
            clock.sleep(reschedule.reschedule_date.timestamp() - clock.now())
            continue
        except Exception as error:  # noqa: BLE001 - whatever it raises is what the test asks about
            ending.error = error
        return ending


def _itself(operator: BaseOperator) -> BaseOperator:
    return operator


def _one_process(
    operator: BaseOperator, fresh: Callable[[BaseOperator], BaseOperator], context: Any, ending: Ending
) -> Any:
    step: Callable[[], Any] = partial(as_task_runner, fresh(operator), context)
    while True:
        try:
            return step()
        except TaskDeferred as deferred:
            ending.deferrals += 1
            given = {**(deferred.kwargs or {}), "event": fired_event(deferred)}
            step = partial(fresh(operator).resume_execution, deferred.method_name, given, context)


def as_task_runner(operator: BaseOperator, context: Any) -> Any:
    """Call ``execute`` as Airflow's task runner does, which alone is allowed to."""
    variables = contextvars.copy_context()
    variables.run(ExecutorSafeguard.tracker.set, operator)
    return variables.run(operator.execute, context)


def fired_event(deferred: TaskDeferred) -> Any:
    """Run the trigger of a deferral in a triggerer's way; return the payload of its one event."""
    class_path, kwargs = deferred.trigger.serialize()
    module, _, name = class_path.rpartition(".")
    trigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(run())
    return json.loads(json.dumps(payload))


class TaskStates:
    """Answers with ``states`` from now on, and notes who asked.

    :param states: by task id, of the run ``run_id``; none at all: Airflow knows no such task
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_id: str = "run", **states: str | None) -> None:
        self.run_id, self.states = run_id, dict(states)
        self.asked: list[dict[str, Any]] = []
        """The questions."""
        self.asked_in: list[threading.Thread] = []
        """The threads that asked them."""
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(self._answer))

    def _answer(self, **question: Any) -> dict[str, dict[str, Any]]:
        self.asked.append(question)
        self.asked_in.append(threading.current_thread())
        return {self.run_id: self.states} if self.states else {}
