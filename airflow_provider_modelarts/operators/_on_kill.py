"""Stops a labeling task when a user ends the Airflow task that runs in this worker (B4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.utils.task_state import ENDED_OR_CLEARED_STATES, TaskKey, call_in_thread

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

# Airflow sends SIGKILL five seconds after SIGTERM; the thread goes on after this while the process lives.
_PATIENCE = 3.0


class LabelTaskStopper:
    """What a signal handler needs to stop a labeling task; filled while the operator runs.

    Airflow calls ``on_kill`` in a signal handler, also when a pod is evicted and the task goes on. So Airflow is asked
    first, in a thread; the stop is sent once, by a client that shares nothing with the code that was interrupted, and
    with the connection as it is now (B5).

    :param key: the Airflow task
    :param hook: whose client the stop is made of
    :param dataset_id: dataset of the labeling task
    :param log: logger of the Airflow task
    """

    def __init__(self, key: TaskKey, hook: ModelArtsHook, dataset_id: str, log: Any) -> None:
        self._key = key
        self._hook = hook
        self._dataset_id = dataset_id
        self._log = log
        self.label_task_id: str | None = None
        self.pulled = False
        """Whether a user ended the task: if so while the start was on its way, the operator stops what it started."""

    def pull(self) -> None:
        """Stop the labeling task if Airflow says that the Airflow task was ended or cleared."""
        call_in_thread(self._stop_if_ended, timeout=_PATIENCE)

    def _stop_if_ended(self) -> None:
        # What is logged is logged last: the main thread may hold the log's lock.
        try:
            state = self._key.read_state()
            if state not in ENDED_OR_CLEARED_STATES:
                self._log.info("The labeling task goes on: the Airflow task is %s, nobody ended it.", state)
                return
            self.pulled = True
            if self.label_task_id is not None:
                self._stop(self.label_task_id)
                self._log.info("Stopped labeling task %s: the Airflow task is %s.", self.label_task_id, state)
        except (ModelArtsError, AirflowRuntimeError, OSError) as error:
            self._log.warning("Labeling task %s could not be stopped: %s", self.label_task_id, error)

    def _stop(self, label_task_id: str) -> None:
        def stop(client: ModelArtsClient) -> None:
            with client.detached() as own:
                own.tasks.stop(self._dataset_id, label_task_id)

        # If the main thread was interrupted while it read the connection, this waits until it goes on.
        self._hook.look_afresh().call(stop)


class WriteStop:
    """Stops the writes of an operator when a user ends its Airflow task.

    While Airflow is asked, threads that want to write wait: no write leaves after the user's word has arrived.

    :param key: the Airflow task
    :param log: logger of the Airflow task
    """

    def __init__(self, key: TaskKey, log: Any) -> None:
        self._key = key
        self._log = log
        self.signal = StopSignal()
        """What is to be asked before every write."""

    def is_closed(self) -> bool:
        """Return whether no further write may go out; waits while Airflow is being asked."""
        return self.signal.is_requested()

    def close_if_ended(self) -> None:
        """Close the gate if Airflow says that the Airflow task was ended or cleared."""
        with self.signal.undecided():
            call_in_thread(self._ask, timeout=_PATIENCE)

    def _ask(self) -> None:
        try:
            state = self._key.read_state()
        except (AirflowRuntimeError, OSError) as error:
            self._log.warning("Airflow does not tell how the task stands, so it goes on: %s", error)
            return
        is_ended = state in ENDED_OR_CLEARED_STATES
        if is_ended:
            self.signal.request()
        self._log.info("%s: the Airflow task is %s.", "No further write" if is_ended else "Writing goes on", state)
