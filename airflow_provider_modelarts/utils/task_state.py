"""Asks Airflow how an Airflow task stands, before anything is stopped on its behalf (B4).

Airflow calls ``on_kill`` also when nobody ended the task: at the eviction of a pod, when a triggerer wakes up after its
triggers were handed over, and after a clear when the next try is waiting already. Stopping a labeling task then would
stop a healthy one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ENDED_STATES = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})
"""States that a task only has if it is over: nobody waits for its labeling task any more."""

ENDED_OR_CLEARED_STATES = ENDED_STATES | {"restarting"}
"""What ends a task that runs in a worker: a cleared one is restarting until its process is gone."""


@dataclass(frozen=True)
class TaskKey:
    """Names one Airflow task of one run.

    :param map_index: number of the mapped task; -1 or None if it is not mapped
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None = -1

    @classmethod
    def of(cls, ti: Any) -> TaskKey:
        """Return the key of a task instance, as an operator's context or a trigger holds it."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    def read_state(self) -> str | None:
        """Return the state that Airflow has stored for the task, or None if it knows no such task."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        mapped = self.map_index is not None and self.map_index >= 0
        states = RuntimeTaskInstance.get_task_states(
            dag_id=self.dag_id,
            task_ids=[self.task_id],
            run_ids=[self.run_id],
            map_index=self.map_index if mapped else None,
        )
        name = f"{self.task_id}_{self.map_index}" if mapped else self.task_id
        state = states.get(self.run_id, {}).get(name)
        return None if state is None else str(getattr(state, "value", state))

    def is_in(self, states: Collection[str]) -> bool:
        """Return whether the task is in one of the states."""
        return self.read_state() in states


def call_in_thread(function: Callable[[], None], *, timeout: float) -> bool:
    """Run something in a thread of its own and wait for it, no longer than ``timeout`` seconds.

    For signal handlers: the main thread, interrupted there, may hold the lock of a connection pool, of Airflow's
    channel to its supervisor, or of a log; waiting for such a lock in the same thread would never end.

    :param function: what to run; it handles its own errors
    :param timeout: seconds
    :return: whether it was over in time; if not it goes on in its thread, which does not keep the process alive
    """
    thread = threading.Thread(target=function, name="modelarts-on-kill", daemon=True)
    thread.start()
    thread.join(timeout)
    return not thread.is_alive()
