"""The sensor that waits for a labeling task, whoever started it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.waiting import Outcome
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.sensors._waiting import WaitingSensor
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from airflow_provider_modelarts.utils.polling import poll_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.client.waiting import Wait
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook


class ModelArtsLabelTaskSensor(WaitingSensor):
    """Wait until a labeling task is over; never stop it.

    Polls at once, at least every 10 s in the first minute, then every ``poke_interval``, the same in all modes.
    Transient errors are retried until the deadline, permanent ones end the wait at once; ``exponential_backoff``,
    ``max_wait`` and ``silent_fail`` have no effect. Returns ``state, progress, elapsed_time, total_sample_count,
    annotated_sample_count, unconfirmed_sample_count, code, message`` of the finished labeling task.

    :param dataset_id: dataset of the labeling task (templated)
    :param label_task_id: the labeling task (templated)
    :param deferrable: wait in the triggerer, whatever ``mode`` says; default: Airflow's ``[operators]
        default_deferrable``
    :param poke_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds from the start of the try until the sensor gives up; an earlier ``execution_timeout`` counts
        instead
    :param soft_fail: skip instead of failing if the labeling task failed, was stopped, or was not over in time
    :param mode: ``poke`` or ``reschedule``; less than 5 s, as before the deadline, are waited out without rescheduling
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises LabelTaskFailed: if the labeling task failed
    :raises LabelTaskStopped: if somebody stopped it
    :raises AirflowSensorTimeout: if it was not over in time
    :raises AirflowFailException: for errors that no retry can mend
    """

    template_fields: Sequence[str] = tuple(parameters.LABEL_TASK)
    outcomes = Outcome

    def __init__(self, *, dataset_id: str, label_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(dataset_id=dataset_id, **kwargs)
        self.label_task_id = label_task_id
        self.check_parameters(parameters.LABEL_TASK)

    @property
    def awaited(self) -> str:
        """What is waited for, for messages."""
        return f"labeling task {self.label_task_id}"

    def make_trigger(self, deadline: float, started: float | None) -> ModelArtsLabelTaskTrigger:
        """Return the trigger, from the rendered parameters."""
        return ModelArtsLabelTaskTrigger(
            **self.read_parameters(parameters.LABEL_TASK),
            deadline=deadline,
            poll_interval=self.poke_interval,
            started=started,
        )

    def poll(self, hook: ModelArtsHook, wait: Wait) -> Outcome | float:
        """Poll once; return how the wait ended, or the seconds until the next poll."""
        return poll_once(hook, wait, self.log)
