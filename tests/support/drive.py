"""Drives one operator or sensor through its life without Airflow's machinery around it, but with what it would do:
trigger kwargs and events travel as JSON, a rescheduled sensor begins anew in another process, time stands still unless
somebody sleeps.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

if TYPE_CHECKING:
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


def drive(operator: BaseOperator, clock: MovedClock) -> Ending:
    """Run ``operator`` to its end."""
    ti = StandInTaskInstance(start_date=moment(clock), task_id=operator.task_id)
    ending = Ending(xcoms=ti.xcoms)
    while True:
        context = {"ti": ti, "task_reschedule_count": ending.reschedules}
        try:
            ending.result = _one_process(copy.copy(operator), context, ending)
        except AirflowRescheduleException as reschedule:
            ti.first_reschedule_date = ti.first_reschedule_date or moment(clock)
            ending.reschedules += 1
            clock.sleep(reschedule.reschedule_date.timestamp() - clock.now())
            continue
        except Exception as error:  # noqa: BLE001 - whatever it raises is what the test asks about
            ending.error = error
        return ending


def _one_process(operator: BaseOperator, context: Any, ending: Ending) -> Any:
    try:
        return _as_task_runner(operator, context)
    except TaskDeferred as deferred:
        ending.deferrals += 1
        event = fired_event(deferred)
        return operator.resume_execution(deferred.method_name, {**(deferred.kwargs or {}), "event": event}, context)


def _as_task_runner(operator: BaseOperator, context: Any) -> Any:
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
