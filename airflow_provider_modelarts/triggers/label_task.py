"""Waits for a labeling task in the triggerer, without holding a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.waiting import Outcome, Wait
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers._base import WaitTrigger
from airflow_provider_modelarts.utils import thread_pool as pool
from airflow_provider_modelarts.utils.polling import poll_once, stop_or_warn
from airflow_provider_modelarts.utils.task_state import ENDED_STATES, TaskKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ModelArtsLabelTaskTrigger(WaitTrigger):
    """Fires one event when a labeling task is over, or when its deadline has come.

    The event is ``{"status", "label_task_id", "message", "summary"}``; ``status`` is ``success``, ``failed``,
    ``stopped``, ``timeout`` or ``error`` (the service refuses to answer). It contains all that the operator needs.

    Airflow stores the parameters as plain text: they are JSON primitives, and none is a secret.

    :param dataset_id: dataset of the labeling task
    :param label_task_id: the labeling task to wait for
    :param deadline: epoch seconds at which the wait gives up; wall-clock time, so that it survives a restart
    :param poll_interval: seconds between polls; the first ones come sooner, see ``client/poll_schedule.py``
    :param started: epoch seconds at which the wait began, so that it keeps its schedule after a restart; None: now
    :param not_before: epoch seconds of the first poll, which the worker knows if it polled right before the deferral;
        None: as the schedule says
    :param cancel_on_kill: stop the labeling task when a user ends the waiting Airflow task; False for a sensor
    :param is_patient: survive a few refusals, as the Airflow task has started the labeling task; False for a sensor
    :param modelarts_conn_id: the Airflow connection
    :param project_id: takes the place of the connection's own project
    """

    def __init__(
        self,
        dataset_id: str,
        label_task_id: str,
        *,
        deadline: float,
        poll_interval: float = 30,
        started: float | None = None,
        not_before: float | None = None,
        cancel_on_kill: bool = False,
        is_patient: bool = False,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
    ) -> None:
        super().__init__(deadline)
        self.dataset_id = dataset_id
        self.label_task_id = label_task_id
        self.poll_interval = poll_interval
        self.started = started
        self.not_before = not_before
        self.cancel_on_kill = cancel_on_kill
        self.is_patient = is_patient
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and what the constructor needs to build this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "dataset_id": self.dataset_id,
            "label_task_id": self.label_task_id,
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
            "started": self.started,
            "not_before": self.not_before,
            "cancel_on_kill": self.cancel_on_kill,
            "modelarts_conn_id": self.modelarts_conn_id,
            "project_id": self.project_id,
            **({"is_patient": True} if self.is_patient else {}),
        }

    def make_wait(self) -> Wait:
        """Return the polling schedule of this wait; a worker that does not defer uses the same one."""
        return Wait(
            self.dataset_id,
            self.label_task_id,
            deadline=self.deadline,
            poll_interval=self.poll_interval,
            started=self.started,
            is_patient=self.is_patient,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the labeling task is over or the deadline has come, then fire the one event."""
        hook = ModelArtsHook(self.modelarts_conn_id, self.project_id).look_afresh()
        wait = self.make_wait()
        step: Outcome | float = wait.first_pause(system_clock.now(), self.not_before)
        while not isinstance(step, Outcome):
            await system_clock.sleep_async(step)
            step = await pool.run(hook, lambda: poll_once(hook, wait, self.log))
        yield TriggerEvent(step.to_event())  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        # Nothing may follow: a trigger that lives on after its event gets an on_kill.

    async def on_kill(self) -> None:
        """Stop the labeling task if a user has ended the Airflow task; otherwise it goes on."""
        if not self.cancel_on_kill or self.task_instance is None:
            return
        key = TaskKey.of(self.task_instance)
        await pool.run_at_once(lambda: self._stop_if_ended(key))

    def _stop_if_ended(self, key: TaskKey) -> None:
        state = key.read_state()
        if state not in ENDED_STATES:
            self.log.info(
                "Labeling task %s goes on: the Airflow task is %s, nobody ended it.", self.label_task_id, state
            )
            return
        hook = ModelArtsHook(self.modelarts_conn_id, self.project_id)
        stop_or_warn(hook, self.dataset_id, self.label_task_id, self.log, reason=f"the Airflow task is {state}")
