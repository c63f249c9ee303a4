"""Reads a task's state from Airflow, to find out whether a user has ended the task (B4).

Airflow also calls ``on_kill`` when nobody ended the task: when a pod is evicted, when a triggerer restarts after its
triggers were handed over, and after a clear when the next try is already waiting. Stopping the labeling task then would
stop a healthy one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

ENDED_STATES = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})
"""States of a task that is over: nobody waits for its labeling task any more."""

ENDED_OR_CLEARED_STATES = ENDED_STATES | {"restarting"}
"""States that end a task in a worker; a cleared one is ``restarting`` until its process is gone."""


class TaskKey(NamedTuple):
    """Names one Airflow task of one run.

    :param map_index: number of the mapped task; -1 if it is not mapped
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, ti: Any) -> Self:
        """Return the key of a task instance, as an operator's context or a trigger has it."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)

    def read_state(self) -> str | None:
        """Return the state that Airflow has stored for the task, or None if it knows no such task."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        mapped = self.map_index >= 0
        states = RuntimeTaskInstance.get_task_states(
            dag_id=self.dag_id,
            task_ids=[self.task_id],
            run_ids=[self.run_id],
            map_index=self.map_index if mapped else None,
        )
        state = states.get(self.run_id, {}).get(f"{self.task_id}_{self.map_index}" if mapped else self.task_id)
        return None if state is None else str(getattr(state, "value", state))
