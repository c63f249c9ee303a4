"""The sensor that waits for a labeling task, whoever started it."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
)

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.client.waiting import Outcome, Wait
from airflow_provider_modelarts.hooks.errors import permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import TemplatedOperator, constant
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from airflow_provider_modelarts.utils.polling import DEFERRAL_MARGIN, deadline_after, poll_once, poll_until_done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

# Airflow fails a task that is queued again before its scheduler has heard that the last look's process ended well; and
# the start of a process costs more than so many seconds of waiting.
_SHORTEST_RESCHEDULE = 5.0

# Parameters of Airflow's sensors, how each is read. Of a wrong one Airflow says little, or takes any text for true.
_OF_AIRFLOW = {
    "timeout": parameters.optional(parameters.countable(parameters.seconds_or_zero)),
    "soft_fail": parameters.flag,
    "never_fail": parameters.flag,
    "mode": parameters.choice("poke", "reschedule"),
}

# Outcomes that soft_fail turns into a skip; a wrong password or an unknown dataset is none of them (B7).
_SOFT = frozenset({"timeout", "failed", "stopped"})


def _reschedule(seconds: float) -> AirflowRescheduleException:
    when = datetime.fromtimestamp(system_clock.now() + seconds, UTC)
    return AirflowRescheduleException(when)  # type: ignore[no-untyped-call]  # Airflow does not annotate it


class ModelArtsLabelTaskSensor(TemplatedOperator, BaseSensorOperator):
    """Wait until a labeling task is over; it never stops one.

    Looks at once, at least every 10 s in the first minute, then every ``poke_interval``, the same in all modes;
    transient errors are survived until the deadline, permanent ones end the wait at once. So ``exponential_backoff``,
    ``max_wait`` and ``silent_fail`` have no effect. Returns ``state, progress, elapsed_time, total_sample_count,
    annotated_sample_count, unconfirmed_sample_count, code, message`` of the finished labeling task.

    :param dataset_id: dataset of the labeling task (templated)
    :param label_task_id: the labeling task (templated)
    :param deferrable: wait in the triggerer, whatever ``mode`` says; default: Airflow's ``[operators]
        default_deferrable``
    :param poke_interval: seconds between looks; in the first minute at most 10
    :param timeout: seconds from the start of the try until the sensor gives up; an earlier ``execution_timeout`` counts
        instead
    :param soft_fail: skip instead of failing if the labeling task failed, was stopped, or was not over in time
    :param mode: ``poke`` or ``reschedule``; less than 5 s, as before the deadline, are waited out without rescheduling
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises LabelTaskFailed: if the labeling task failed
    :raises LabelTaskStopped: if somebody stopped it
    :raises AirflowSensorTimeout: if it was not over in time
    :raises AirflowFailException: for what no retry can mend
    """

    template_fields: Sequence[str] = ("dataset_id", "label_task_id", "modelarts_conn_id", "project_id")
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        label_task_id: str | XComArg,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float | timedelta = 30,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        for name, read in _OF_AIRFLOW.items():
            if name in kwargs:
                kwargs[name] = constant(name, kwargs[name], read)
        interval = constant("poke_interval", poke_interval, parameters.countable(parameters.seconds))
        super().__init__(poke_interval=interval, **kwargs)
        # They may also come from default_args, which reach Airflow's sensor alone; any text would be true.
        self.soft_fail: bool = constant("soft_fail", self.soft_fail, parameters.flag)
        self.never_fail: bool = constant("never_fail", self.never_fail, parameters.flag)
        self.dataset_id = dataset_id
        self.label_task_id = label_task_id
        self.deferrable: bool = constant("deferrable", deferrable, parameters.flag)
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(
            {
                "dataset_id": parameters.identifier,
                "label_task_id": parameters.identifier,
                **parameters.CONNECTION,
            }
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for the labeling task; see the class."""
        with self._never_failing(), permanent_errors_fail_at_once(), self._alarm_is_the_deadline():
            wait = self._wait(context)
            if self.deferrable:
                self._trigger(wait).prove_serializable()
            hook = parameters.hook(self).look_afresh()
            link_dataset(context, hook, wait.dataset_id)
            step = poll_once(hook, wait, self.log)
            if isinstance(step, Outcome):
                return self._conclude(step)
            if self.deferrable:
                self._defer(wait, not_before=system_clock.now() + step)
            if self.reschedule and step >= _SHORTEST_RESCHEDULE:
                raise _reschedule(step)
            return self._conclude(poll_until_done(hook, wait, self.log, first_look=step))

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :return: whether the labeling task is over, with the summary that :meth:`execute` returns
        """
        with permanent_errors_fail_at_once():
            step = poll_once(parameters.hook(self).look_afresh(), self._wait(context), self.log)
            if isinstance(step, Outcome):
                return PokeReturnValue(is_done=True, xcom_value=self._conclude(step))
            return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - see Airflow
        """End as the trigger's event says.

        :param event: payload of :class:`ModelArtsLabelTaskTrigger`
        """
        with permanent_errors_fail_at_once():
            return self._conclude(Outcome.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait in the triggerer.

        Airflow's own sensors skip on any AirflowException here, and so on a wrong password; this one skips as in the
        other modes.
        """
        with self._never_failing():
            try:
                return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
            except TaskDeferralTimeout:
                raise self._soft(AirflowSensorTimeout(parameters.no_triggerer(self))) from None

    def _wait(self, context: Context) -> Wait:
        self.check_rendered(context)
        ti = context["ti"]
        started = (ti.get_first_reschedule_date(context) if self.reschedule else None) or ti.start_date
        return Wait(
            parameters.identifier("dataset_id", self.dataset_id),
            parameters.identifier("label_task_id", self.label_task_id),
            deadline=deadline_after(started, self.timeout, self.execution_timeout),
            poll_interval=self.poke_interval,
            started=started.timestamp() if started else None,
        )

    def _trigger(self, wait: Wait, *, not_before: float | None = None) -> ModelArtsLabelTaskTrigger:
        hook = parameters.hook(self)
        return ModelArtsLabelTaskTrigger(
            dataset_id=wait.dataset_id,
            label_task_id=wait.label_task_id,
            deadline=wait.deadline,
            poll_interval=wait.poll_interval,
            started=wait.started,
            not_before=not_before,
            modelarts_conn_id=hook.modelarts_conn_id,
            project_id=hook.project_id,
        )

    def _defer(self, wait: Wait, *, not_before: float) -> None:
        self.defer(
            trigger=self._trigger(wait, not_before=not_before),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(wait.deadline - system_clock.now(), 0) + DEFERRAL_MARGIN),
        )

    def _conclude(self, outcome: Outcome) -> dict[str, Any]:
        """Return the summary, or raise what the outcome stands for."""
        error: Exception | None = outcome.exception()
        if error is None:
            self.log.info("%s", outcome.message)
            return outcome.summary
        if outcome.status == "timeout":
            error = AirflowSensorTimeout(str(error))
        raise self._soft(error) if outcome.status in _SOFT else error

    def _soft(self, error: Exception) -> Exception:
        """Return a skip for an error that ``soft_fail`` speaks of, if it is set."""
        return AirflowSkipException(f"Skipped by soft_fail: {error}") if self.soft_fail else error

    @contextmanager
    def _alarm_is_the_deadline(self) -> Iterator[None]:
        """Take Airflow's own alarm, wherever it strikes, for what it says: the time is over (B7)."""
        try:
            yield
        except AirflowTaskTimeout:
            words = f"The execution_timeout has come while labeling task {self.label_task_id} was waited for."
            raise self._soft(AirflowSensorTimeout(f"{words} Allow more time.")) from None

    @contextmanager
    def _never_failing(self) -> Iterator[None]:
        """Turn every failure into a skip if ``never_fail`` is set, as Airflow's own sensors do."""
        try:
            yield
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except (AirflowException, ModelArtsError) as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped by never_fail: {error}") from None
            raise
