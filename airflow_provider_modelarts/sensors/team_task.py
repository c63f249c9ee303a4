"""The sensor that waits for what people do in a team task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_modelarts.client.waiting import error_from
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import constant
from airflow_provider_modelarts.sensors._waiting import WaitingSensor
from airflow_provider_modelarts.triggers.service_job import ModelArtsServiceJobTrigger
from airflow_provider_modelarts.utils.service_job_wait import JobOutcome
from airflow_provider_modelarts.utils.team_jobs import TeamAcceptance, TeamLabeling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.operators._templates import Readers
    from airflow_provider_modelarts.utils.service_job_wait import JobWait

_READ: Readers = {
    "dataset_id": parameters.identifier,
    "workforce_task_id": parameters.identifier,
    **parameters.CONNECTION,
}
_KINDS = {"labeled": TeamLabeling.name, "accepted": TeamAcceptance.name}


class ModelArtsTeamTaskSensor(WaitingSensor):
    """Wait until people are through with a team task; never change it.

    Polls at once, at least every 10 s in the first minute, then every ``poke_interval``, the same in all modes.
    Transient errors are survived until the deadline, others end the wait at once; ``exponential_backoff``, ``max_wait``
    and ``silent_fail`` have no effect. Returns ``workforce_task_id, status`` and the numbers of copies of samples:
    ``samples, unlabeled, proposed, sent_back, unreviewed, awaiting_acceptance, accepted``.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task (templated)
    :param until: ``labeled``: each copy is labeled, and reviewed where the team has reviewers; an acceptance can begin.
        ``accepted``: the owner has accepted the results; what was sent back is waited for once more
    :param deferrable: wait in the triggerer, whatever ``mode`` says; default: Airflow's ``[operators]
        default_deferrable``
    :param poke_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds from the start of the try until the sensor gives up; an earlier ``execution_timeout`` counts
        instead. Airflow's default is seven days
    :param soft_fail: skip instead of failing if people were not through in time
    :param mode: ``poke`` or ``reschedule``; less than 5 s, as before the deadline, are waited out without rescheduling
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowSensorTimeout: if people were not through in time
    :raises AirflowFailException: for errors that no retry can mend
    """

    template_fields: Sequence[str] = tuple(_READ)
    outcomes = JobOutcome

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        until: Literal["labeled", "accepted"] = "labeled",
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset_id=dataset_id, **kwargs)
        self.workforce_task_id = workforce_task_id
        self.until: str = constant("until", until, parameters.choice(*_KINDS))
        self.check_parameters(_READ)

    @property
    def awaited(self) -> str:
        """What is waited for, for messages."""
        return f"team task {self.workforce_task_id}"

    def make_trigger(self, deadline: float, started: float | None) -> ModelArtsServiceJobTrigger:
        """Return the trigger, from the rendered parameters."""
        given = self.read_parameters(_READ)
        connection = self.read_parameters(parameters.CONNECTION)
        ids = {name: given[name] for name in ("dataset_id", "workforce_task_id")}
        return ModelArtsServiceJobTrigger(
            _KINDS[self.until],
            ids,
            given["workforce_task_id"],
            deadline=deadline,
            poll_interval=self.poke_interval,
            started=started,
            **connection,
        )

    def poll(self, hook: ModelArtsHook, wait: JobWait) -> JobOutcome | float:
        """Poll once; return how the wait ended, or the seconds until the next poll."""
        return wait.poll(hook, self.log)

    def error_of(self, outcome: Any) -> Exception | None:
        """Return the error of an outcome; after a refusal that error itself: nothing was started here."""
        if outcome.status == "error":
            return error_from(outcome.summary.get("error") or {}, outcome.message)
        return super().error_of(outcome)
