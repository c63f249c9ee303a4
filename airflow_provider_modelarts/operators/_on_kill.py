"""What ``on_kill`` does in the worker: stop the labeling task, or stop further writes (B4).

Airflow calls ``on_kill`` in a signal handler, also when a pod is evicted and nobody ended the task. So both classes ask
Airflow for the state of the task first.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.utils.task_state import ENDED_OR_CLEARED_STATES, TaskKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

# Airflow sends SIGKILL five seconds after SIGTERM; the thread goes on after this while the process lives.
_PATIENCE = 3.0


def _call_in_thread(function: Callable[[], None]) -> None:
    """Run a function that handles its own errors in another thread, and wait for it for a moment.

    The interrupted main thread may hold the lock of a connection pool, of Airflow's channel to its supervisor, or of a
    log. A signal handler that waits for such a lock in the same thread would wait for ever.
    """
    thread = threading.Thread(target=function, name="modelarts-on-kill", daemon=True)
    thread.start()
    thread.join(_PATIENCE)


class LabelTaskStopper:
    """Stops the labeling task of an operator whose Airflow task a user has ended or cleared.

    The stop is sent once, with the connection as it is now, by a client that shares nothing with the interrupted code
    (B5).
    """

    label_task_id: str | None = None
    """The labeling task to stop; the operator sets it once it knows the id."""

    is_ended = False
    """Whether a user ended the Airflow task. If the start was in flight, the operator stops what it has started."""

    def __init__(self, key: TaskKey, hook: ModelArtsHook, dataset_id: str, log: Any) -> None:
        self._key = key
        self._hook = hook
        self._dataset_id = dataset_id
        self._log = log

    def stop_if_ended(self) -> None:
        """Stop the labeling task if Airflow says that the Airflow task was ended or cleared."""
        _call_in_thread(self._stop_if_ended)

    def _stop_if_ended(self) -> None:
        # Log after everything else: the main thread may hold the log's lock.
        try:
            state = self._key.read_state()
            if state not in ENDED_OR_CLEARED_STATES:
                self._log.info("The labeling task goes on: the Airflow task is %s, nobody ended it.", state)
                return
            self.is_ended = True
            if self.label_task_id is not None:
                # If the main thread was interrupted while it read the connection, this waits until it goes on.
                with self._hook.look_afresh().client.detached() as client:
                    client.tasks.stop(self._dataset_id, self.label_task_id)
                self._log.info("Stopped labeling task %s: the Airflow task is %s.", self.label_task_id, state)
        except (ModelArtsError, AirflowRuntimeError, OSError) as error:
            self._log.warning("Labeling task %s could not be stopped: %s", self.label_task_id, error)


class WriteStop:
    """Stops the writes of an operator when a user ends its Airflow task.

    While Airflow is asked, threads that want to write wait: no write leaves after the user's word has arrived.
    """

    def __init__(self, key: TaskKey, log: Any) -> None:
        self._key = key
        self._log = log
        self.signal = StopSignal()
        """Is asked before every write; waits while Airflow is being asked."""

    def close_if_ended(self) -> None:
        """Close the gate if Airflow says that the Airflow task was ended or cleared."""
        with self.signal.undecided():
            _call_in_thread(self._close_if_ended)

    def _close_if_ended(self) -> None:
        try:
            state = self._key.read_state()
        except (AirflowRuntimeError, OSError) as error:
            self._log.warning("Airflow does not report the state of the task, so writing goes on: %s", error)
            return
        is_ended = state in ENDED_OR_CLEARED_STATES
        if is_ended:
            self.signal.request()
        self._log.info("%s: the Airflow task is %s.", "No further write" if is_ended else "Writing goes on", state)
