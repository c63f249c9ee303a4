"""Base class of the operators that start one job of the service, wait for it and return its result."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralTimeout

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.hooks.errors import ServiceJobTimeout, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._observed import ObservedOperator
from airflow_provider_modelarts.operators._templates import constant, is_template
from airflow_provider_modelarts.triggers.service_job import ModelArtsServiceJobTrigger
from airflow_provider_modelarts.utils.dataset_jobs import DatasetReadiness
from airflow_provider_modelarts.utils.polling import deadline_after, wait_in_worker
from airflow_provider_modelarts.utils.service_job_start import ServiceJobStarter, ServiceJobStore
from airflow_provider_modelarts.utils.service_job_wait import JobOutcome
from airflow_provider_modelarts.utils.task_record import TaskIntent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_modelarts.operators._templates import Readers
    from airflow_provider_modelarts.utils.service_job import ServiceJob
    from airflow_provider_modelarts.utils.service_job_start import ServiceJobRecord


class ServiceJobOperator(ObservedOperator):
    """An operator that starts one job of the service exactly once, waits for it and returns its result.

    A retry goes on with the job of the try before it, and starts another only if that one failed or does not exist any
    more. A dataset that is busy is waited for. The result is pushed also if the job failed. Nothing is ever stopped: a
    job whose Airflow task is ended or gives up goes on.

    A subclass gives ``readers``, :meth:`job` and :meth:`job_request`. Its constructor sets its own parameters and ends
    with :meth:`check_job`.

    :param deferrable: wait in the triggerer, not in the worker
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead, and five years at most
    :param modelarts_conn_id: the Airflow connection
    :param project_id: used instead of the connection's own project
    """

    readers: Readers
    """By template field the function that reads it; those of the connection included."""

    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float | timedelta = timedelta(hours=24),
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable: bool = constant("deferrable", deferrable, parameters.flag)
        self.poll_interval: float = constant("poll_interval", poll_interval, parameters.seconds)
        self.timeout: float = constant("timeout", timeout, parameters.seconds)
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id

    @abstractmethod
    def job(self, given: Mapping[str, Any]) -> ServiceJob:
        """Return the kind of job, and where.

        :param given: the parameters, rendered and read
        """

    @abstractmethod
    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is asked for, checked, as JSON primitives.

        :param given: the parameters, rendered and read
        """

    def check_job(self) -> None:
        """Check the parameters when the DAG is parsed, and what they ask for, unless a template has to fill it in.

        :raises ParameterError: for the first wrong value
        """
        self.check_parameters(self.readers)
        if not any(is_template(getattr(self, name)) for name in self.readers):
            with self.errors_of_making():
                self.job_request(self.read_parameters(self.readers))

    def job_result(self, summary: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what goes into XCom: small, JSON primitives only.

        :param summary: what the service says of the job
        :param facts: what was noted before the start
        """
        return {**facts, **summary}

    def observe_job(self, context: Context, outcome: JobOutcome, result: Mapping[str, Any]) -> None:
        """Tell lineage, asset events and metrics of a job that is over; by default there is nothing to tell.

        :param outcome: how the wait ended
        :param result: what goes into XCom
        """

    def execute(self, context: Context) -> Any:
        """Start the job, or go on with that of an earlier try; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            starter = self._make_starter(context)
            deadline = self._deadline(context)
            self._make_trigger(starter.make_record("started"), deadline).prove_serializable()
            link_dataset(context, starter.hook, starter.job.dataset_id)
            return self._run(starter, deadline, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """End as the trigger's event says; or start, if the trigger has waited for a busy dataset.

        :param event: payload of :class:`ModelArtsServiceJobTrigger`
        """
        with permanent_errors_fail_at_once():
            outcome = JobOutcome.from_event(event)
            starter = self._make_starter(context)
            if outcome.kind != DatasetReadiness.name:
                return self._conclude(outcome, starter.store.read(), context)
            deadline = self._deadline(context)
            self._check_ready(outcome, deadline)
            return self._run(starter, deadline, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait in the triggerer."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            raise ServiceJobTimeout(parameters.no_triggerer(self, "a job")) from None

    def _make_starter(self, context: Context) -> ServiceJobStarter:
        given = self.read_parameters(self.readers)
        return ServiceJobStarter(
            parameters.hook(self).look_afresh(),
            ServiceJobStore(context),
            TaskIntent.of(context),
            self.job(given),
            self.job_request(given),
            is_first_try=context["ti"].try_number == 1,
            log=self.log,
        )

    def _deadline(self, context: Context) -> float:
        # Airflow keeps the start of a try over its deferrals.
        return deadline_after(context["ti"].start_date, self.timeout, self.execution_timeout)

    def _make_trigger(self, record: ServiceJobRecord, deadline: float) -> ModelArtsServiceJobTrigger:
        """Return the trigger for a job, or for a busy dataset."""
        is_awaited = record.phase == "awaited"
        dataset_id = record.ids["dataset_id"]
        return ModelArtsServiceJobTrigger(
            DatasetReadiness.name if is_awaited else record.kind,
            {"dataset_id": dataset_id} if is_awaited else record.ids,
            dataset_id if is_awaited else record.job_id,
            deadline=deadline,
            poll_interval=self.poll_interval,
            started=system_clock.now(),
            not_before=record.not_before,
            **self.read_parameters(parameters.CONNECTION),
        )

    def _run(self, starter: ServiceJobStarter, deadline: float, context: Context) -> Any:
        """Find or start the job and wait for it; the alarm of ``execution_timeout`` is one more deadline."""
        try:
            while True:
                found = starter.find()
                record = found or starter.start()
                starter.store.write(record)
                outcome = self._wait(record, deadline, is_new=found is None)
                if record.phase != "awaited":
                    return self._conclude(outcome, record, context)
                self._check_ready(outcome, deadline)
        except AirflowTaskTimeout:
            raise ServiceJobTimeout(
                f"The execution_timeout of the Airflow task has come ({starter.job.noun} of dataset "
                f"{starter.job.dataset_id}). What was started goes on, and a retry waits for it. Allow more time."
            ) from None

    def _wait(self, record: ServiceJobRecord, deadline: float, *, is_new: bool) -> JobOutcome:
        """Wait in the worker, or defer.

        A job that is not new may be over, so the worker polls once before it defers: if a trigger fires within a
        second, Airflow's scheduler can take the end of the deferral for that of the task and run another try.
        """
        hook = parameters.hook(self)
        trigger = self._make_trigger(record, deadline)
        wait = trigger.make_wait()
        if not self.deferrable:
            delay = wait.first_pause(system_clock.now(), record.not_before) if is_new else 0.0
            return wait_in_worker(wait, lambda: wait.poll(hook, self.log), delay=delay)
        if not is_new:
            step = wait.poll(hook, self.log)
            if isinstance(step, JobOutcome):
                return step
            trigger.not_before = system_clock.now() + step
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.deferral_timeout())

    def _conclude(self, outcome: JobOutcome, record: ServiceJobRecord | None, context: Context) -> Any:
        """Return the result, or push it and raise the error of the outcome (B15)."""
        result = self.job_result(outcome.summary, record.facts if record else {})
        error = outcome.exception()
        self.observe_job(context, outcome, result)
        if error is None:
            self.log.info("%s", outcome.message)
            return result
        if self.do_xcom_push and outcome.status == "failed":
            context["ti"].xcom_push(key="return_value", value=result)
        raise error

    def _check_ready(self, outcome: JobOutcome, deadline: float) -> None:
        """Raise unless the dataset is ready before the deadline."""
        error = outcome.exception()
        if error is not None:
            raise error
        if system_clock.now() >= deadline:
            raise ServiceJobTimeout(
                f"The deadline came while dataset {outcome.job_id} was busy; nothing was started. Allow more time."
            )
