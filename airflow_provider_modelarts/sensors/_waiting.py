"""What the sensors share: one wait in all modes, its deadline, and what soft_fail turns into a skip (B7)."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

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
from airflow_provider_modelarts.hooks.errors import permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import TemplatedOperator, constant
from airflow_provider_modelarts.utils.polling import deadline_after, wait_in_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from airflow.sdk import Context

    from airflow_provider_modelarts.client.waiting import Outcome
    from airflow_provider_modelarts.utils.service_job_wait import JobOutcome

# Airflow fails a task that is queued again before its scheduler has seen the last process end. Besides, starting a
# process costs more than waiting for so many seconds.
_SHORTEST_RESCHEDULE = 5.0

# Readers of the parameters that belong to Airflow's sensors: for Airflow any text is true.
_OF_AIRFLOW = {
    "timeout": parameters.optional(parameters.countable(parameters.seconds_or_zero)),
    "soft_fail": parameters.flag,
    "never_fail": parameters.flag,
    "mode": parameters.choice("poke", "reschedule"),
}

# Outcomes that soft_fail turns into a skip; errors such as a wrong password are not among them (B7).
_SOFT = frozenset({"timeout", "failed", "stopped"})


class WaitingSensor(TemplatedOperator, BaseSensorOperator):
    """A sensor that polls on one schedule in all modes, and never stops anything.

    A subclass has its parameters set and checked by its constructor, and gives the abstract methods.

    :param dataset_id: the dataset (templated)
    :param deferrable: wait in the triggerer, whatever ``mode`` says; default: Airflow's ``[operators]
        default_deferrable``
    :param poke_interval: seconds between polls; in the first minute at most 10
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    """

    operator_extra_links = (ModelArtsDatasetLink(),)

    outcomes: ClassVar[type[Outcome | JobOutcome]]
    """What the trigger's events are."""

    def __init__(
        self,
        *,
        dataset_id: str,
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
        self.deferrable: bool = constant("deferrable", deferrable, parameters.flag)
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id

    @property
    @abstractmethod
    def awaited(self) -> str:
        """What is waited for, for messages: "labeling task x"."""

    @abstractmethod
    def make_trigger(self, deadline: float, started: float | None) -> Any:
        """Return the trigger, from the rendered parameters.

        :param deadline: epoch seconds at which the wait gives up
        :param started: epoch seconds at which it began
        """

    @abstractmethod
    def poll(self, hook: ModelArtsHook, wait: Any) -> Any:
        """Poll once; return how the wait ended, or the seconds until the next poll."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait; see the class.

        :raises ConnectionUnknownError: if Airflow does not know the connection when the wait begins
        """
        with self._never_failing(), permanent_errors_fail_at_once(), self._alarm_is_the_deadline():
            trigger = self._make_trigger(context)
            if self.deferrable:
                trigger.prove_serializable()
            hook = parameters.hook(self).look_afresh()
            link_dataset(context, hook, parameters.identifier("dataset_id", self.dataset_id))
            if not self._is_resumed(context):
                hook.get_conn()  # one that cannot be had from the start is no outage: the wait is not to last for days
            wait = trigger.make_wait()
            step = self.poll(hook, wait)
            if not isinstance(step, (float, int)):
                return self._conclude(step)
            if self.deferrable:
                trigger.not_before = system_clock.now() + step
                self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.deferral_timeout())
            if self.reschedule and step >= _SHORTEST_RESCHEDULE:
                when = datetime.fromtimestamp(system_clock.now() + step, UTC)
                raise AirflowRescheduleException(when)  # type: ignore[no-untyped-call]  # Airflow does not annotate it
            return self._conclude(wait_in_worker(wait, lambda: self.poll(hook, wait), delay=step))

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once.

        :return: whether it is over, with the summary that :meth:`execute` returns
        """
        with permanent_errors_fail_at_once():
            wait = self._make_trigger(context).make_wait()
            step = self.poll(parameters.hook(self).look_afresh(), wait)
            if not isinstance(step, (float, int)):
                return PokeReturnValue(is_done=True, xcom_value=self._conclude(step))
            return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - see Airflow
        """End as the trigger's event says.

        :param event: payload of the trigger's event
        """
        with permanent_errors_fail_at_once():
            return self._conclude(self.outcomes.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait in the triggerer.

        Airflow's own sensors skip on any AirflowException here, and so on a wrong password; this one skips as in the
        other modes.
        """
        with self._never_failing():
            try:
                return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
            except TaskDeferralTimeout:
                raise self._soft(AirflowSensorTimeout(parameters.no_triggerer(self, self.awaited))) from None

    def error_of(self, outcome: Any) -> Exception | None:
        """Return the error of an outcome; None after a success."""
        error: Exception | None = outcome.exception()
        return error

    def _is_resumed(self, context: Context) -> bool:
        """Whether an earlier process of the same try has polled."""
        return self.reschedule and context["ti"].get_first_reschedule_date(context) is not None

    def _make_trigger(self, context: Context) -> Any:
        self.check_rendered(context)
        ti = context["ti"]
        started = (ti.get_first_reschedule_date(context) if self.reschedule else None) or ti.start_date
        return self.make_trigger(
            deadline_after(started, self.timeout, self.execution_timeout), started.timestamp() if started else None
        )

    def _conclude(self, outcome: Any) -> dict[str, Any]:
        """Return the summary, or raise the error of the outcome."""
        error = self.error_of(outcome)
        if error is None:
            self.log.info("%s", outcome.message)
            return dict(outcome.summary)
        if outcome.status == "timeout":
            error = AirflowSensorTimeout(str(error))
        raise self._soft(error) if outcome.status in _SOFT else error

    def _soft(self, error: Exception) -> Exception:
        """Return a skip in place of the error if ``soft_fail`` is set."""
        return AirflowSkipException(f"Skipped by soft_fail: {error}") if self.soft_fail else error

    @contextmanager
    def _alarm_is_the_deadline(self) -> Iterator[None]:
        """Treat the alarm of ``execution_timeout``, wherever it interrupts, as the deadline (B7)."""
        try:
            yield
        except AirflowTaskTimeout:
            text = f"The execution_timeout has come during the wait for {self.awaited}."
            raise self._soft(AirflowSensorTimeout(f"{text} Allow more time.")) from None

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
