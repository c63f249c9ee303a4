"""Waits for a job of the service, such as an import or a publication, in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.triggers._base import WaitTrigger
from airflow_provider_modelarts.utils import thread_pool as pool
from airflow_provider_modelarts.utils.job_kinds import job_of
from airflow_provider_modelarts.utils.service_job_wait import JobOutcome, JobWait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ModelArtsServiceJobTrigger(WaitTrigger):
    """Fires one event when a job is over, or when its deadline has come. It stops nothing.

    The event is ``{"status", "kind", "job_id", "message", "summary"}``; ``status`` is ``success``, ``failed``,
    ``timeout`` or ``error`` (the service refuses to answer). It contains all that the operator needs.

    Airflow stores the parameters as plain text: they are JSON primitives, and none is a secret.

    :param kind: name of the kind of job, see ``utils/job_kinds.py``
    :param ids: fields of that kind, such as ``{"dataset_id": ...}``
    :param job_id: the job to wait for
    :param deadline: epoch seconds at which the wait gives up; wall-clock time, so that it survives a restart
    :param poll_interval: seconds between polls; the first ones come sooner, see ``client/poll_schedule.py``
    :param started: epoch seconds at which the wait began, so that it keeps its schedule after a restart; None: now
    :param not_before: epoch seconds of the first poll; None: as the schedule says
    :param modelarts_conn_id: the Airflow connection
    :param project_id: takes the place of the connection's own project
    """

    def __init__(
        self,
        kind: str,
        ids: dict[str, str],
        job_id: str,
        *,
        deadline: float,
        poll_interval: float = 30,
        started: float | None = None,
        not_before: float | None = None,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
    ) -> None:
        super().__init__(deadline)
        self.kind = kind
        self.ids = ids
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.started = started
        self.not_before = not_before
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and what the constructor needs to build this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "kind": self.kind,
            "ids": self.ids,
            "job_id": self.job_id,
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
            "started": self.started,
            "not_before": self.not_before,
            "modelarts_conn_id": self.modelarts_conn_id,
            "project_id": self.project_id,
        }

    def make_wait(self) -> JobWait:
        """Return the polling schedule of this wait; a worker that does not defer uses the same one."""
        return JobWait(
            job_of(self.kind, self.ids),
            self.job_id,
            deadline=self.deadline,
            poll_interval=self.poll_interval,
            started=self.started,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the job is over or the deadline has come, then fire the one event."""
        hook = ModelArtsHook(self.modelarts_conn_id, self.project_id).look_afresh()
        wait = self.make_wait()
        step: JobOutcome | float = wait.first_pause(system_clock.now(), self.not_before)
        while not isinstance(step, JobOutcome):
            await system_clock.sleep_async(step)
            step = await pool.run(hook, lambda: wait.poll(hook, self.log))
        yield TriggerEvent(step.to_event())  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        # Nothing may follow: a trigger that lives on after its event gets an on_kill.
