"""Operators that start and stop labeling tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import LabelTaskStopped, LabelTaskTimeout, ModelArtsError, NotFound
from airflow_provider_modelarts.client.waiting import Outcome, Wait
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._on_kill import LabelTaskStopper
from airflow_provider_modelarts.operators._templates import TemplatedOperator, constant, is_template
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from airflow_provider_modelarts.utils.label_task_recovery import LabelTaskRecovery
from airflow_provider_modelarts.utils.polling import (
    DEFERRAL_MARGIN,
    deadline_after,
    poll_once,
    poll_until_done,
    unreadable,
)
from airflow_provider_modelarts.utils.task_record import RecordStore, TaskIntent
from airflow_provider_modelarts.utils.task_state import TaskKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.utils.label_task_recovery import IfRunning
    from airflow_provider_modelarts.utils.task_record import LabelTaskRecord


LABEL_TASK_XCOM = "label_task_id"
"""XCom with the id of the labeling task that a start operator has started, there as soon as it is known."""


class ModelArtsStartLabelTaskOperator(TemplatedOperator):
    """Start a labeling task and, if wanted, wait until it is over.

    Returns the labeling task's id; that of one which this task has started is also the XCom ``label_task_id``, right
    after the start, so that a task that cleans up finds it whatever becomes of the wait.

    A start is never sent twice: a retry goes on with the labeling task of the try before it, and starts another only if
    that one failed, was stopped or is gone; a cleared Airflow task has the old one stopped and starts another (B1).
    What is wrong with the parameters is found before anything is sent. Whether the dataset meets the conditions
    (contract 8.1) the service says: what a retry cannot mend fails without retries; what may pass, such as its being
    published, is left to them.

    :param dataset_id: the dataset (templated)
    :param label_task_type: ``auto-label``, ``pre-label`` or ``auto-grouping`` (templated)
    :param algorithm_type: ``fast`` (labeled samples only) or ``accurate`` (unlabeled ones too); None: the service's
        choice (templated)
    :param collect_key_sample: also look for hard examples; None: the service's default, no (templated)
    :param model_id: model to run, for ``pre-label`` (templated)
    :param config: further fields of the service's SmartTaskConfig, contract 2.1; a marker, by which a retry finds the
        labeling task, is added to its ``name`` (templated)
    :param wait_for_completion: wait until the labeling task is over, and fail if it did not succeed
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between looks at the labeling task; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead, and five years at most
    :param if_running: what to do if the service refuses the start because somebody else's labeling task is active:
        ``fail``, naming it; ``adopt``: wait for it as if it were ours, or until it is over if it is of another kind;
        ``wait`` until it is over, then start. It is never stopped
    :param cancel_on_kill: stop the labeling task when a user ends the waiting Airflow task, or clears it; if not a
        cleared Airflow task goes on with it
    :param cancel_on_timeout: stop the labeling task when the wait gives up: at its deadline, or because the service
        refuses several looks in a row
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises LabelTaskFailed: if the labeling task failed
    :raises LabelTaskStopped: if somebody stopped it
    :raises LabelTaskTimeout: if it was not over in time
    :raises TaskAlreadyRunning: if somebody else's is active and ``if_running`` is ``fail``
    :raises LabelTaskUnreadableError: if the service refuses several looks in a row at what this task has started
    :raises StartUnknown: if the reply to the start was lost, and the labeling task is not found
    :raises AirflowFailException: for what no retry can mend
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "label_task_type",
        "algorithm_type",
        "collect_key_sample",
        "model_id",
        "config",
        "modelarts_conn_id",
        "project_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        label_task_type: str = "auto-label",
        algorithm_type: str | None = None,
        collect_key_sample: bool | str | None = None,
        model_id: str | None = None,
        config: dict[str, Any] | str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float | timedelta = timedelta(hours=24),
        if_running: IfRunning = "fail",
        cancel_on_kill: bool = True,
        cancel_on_timeout: bool = True,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        parameters.refuse_taken_names(kwargs, task_type="label_task_type")
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.label_task_type = label_task_type
        self.algorithm_type = algorithm_type
        self.collect_key_sample = collect_key_sample
        self.model_id = model_id
        self.config = config
        self.wait_for_completion: bool = constant("wait_for_completion", wait_for_completion, parameters.flag)
        self.deferrable: bool = constant("deferrable", deferrable, parameters.flag)
        self.poll_interval: float = constant("poll_interval", poll_interval, parameters.seconds)
        self.timeout: float = constant("timeout", timeout, parameters.seconds)
        self.if_running: IfRunning = constant("if_running", if_running, parameters.if_running)
        self.cancel_on_kill: bool = constant("cancel_on_kill", cancel_on_kill, parameters.flag)
        self.cancel_on_timeout: bool = constant("cancel_on_timeout", cancel_on_timeout, parameters.flag)
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self._kill_switch: LabelTaskStopper | None = None
        self.check_parameters(
            {
                "dataset_id": parameters.identifier,
                "label_task_type": parameters.label_task_type,
                "algorithm_type": parameters.optional(parameters.algorithm_type),
                "collect_key_sample": parameters.optional(parameters.flag),
                "model_id": parameters.optional(parameters.identifier),
                "config": parameters.optional(parameters.config),
                **parameters.CONNECTION,
            }
        )
        parameters.check_model(label_task_type, model_id)
        if not (is_template(config) or is_template(algorithm_type)):
            parameters.labeling_config(config, algorithm_type)

    def execute(self, context: Context) -> str:
        """Start the labeling task, or go on with that of an earlier try; see the class."""
        with permanent_errors_fail_at_once():
            deadline = deadline_after(context["ti"].start_date, self.timeout, self.execution_timeout)
            resumption = self._resumption(context, deadline)
            proof = self._trigger(self._dataset_id, "unknown yet", deadline, cancel_on_kill=True, is_patient=True)
            proof.prove_serializable()
            link_dataset(context, resumption.hook, self._dataset_id)
            return self._proceed(resumption)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """End as the trigger's event says; or go on, if the trigger has waited for what was in the way.

        :param event: payload of :class:`ModelArtsLabelTaskTrigger`
        """
        with permanent_errors_fail_at_once():
            outcome = Outcome.from_event(event)
            memory = RecordStore(context)
            record = memory.read()
            if record is not None and record.label_task_id != outcome.label_task_id:
                record = None
            if record is None or record.phase == "started":
                return self._conclude(outcome, record, memory)
            _over(outcome, record)
            return self._proceed(self._resumption(context, record.deadline))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait in the triggerer; if that ended without an event, stop the labeling task (B3)."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as error:
            memory = RecordStore(context)
            record = memory.read()
            self._stop_given_up(record, memory)
            if not isinstance(error, TaskDeferralTimeout):
                raise
            label_task_id = record.label_task_id if record else "unknown"
            raise LabelTaskTimeout(f"{parameters.no_triggerer(self)} Labeling task: {label_task_id}.") from None

    def on_kill(self) -> None:
        """Stop the labeling task if a user ended or cleared the Airflow task, and ``cancel_on_kill`` is set."""
        if self.cancel_on_kill and self._kill_switch is not None:
            self._kill_switch.pull()

    @property
    def _dataset_id(self) -> str:
        return parameters.identifier("dataset_id", self.dataset_id)

    def _request(self) -> dict[str, Any]:
        """Return the rendered parameters as arguments of the client's call."""
        optional = parameters.optional
        parameters.check_model(self.label_task_type, self.model_id)
        return {
            "dataset_id": self._dataset_id,
            "task_type": parameters.label_task_type("label_task_type", self.label_task_type),
            "config": parameters.labeling_config(self.config, self.algorithm_type),
            "collect_key_sample": optional(parameters.flag)("collect_key_sample", self.collect_key_sample),
            "model_id": optional(parameters.identifier)("model_id", self.model_id),
        }

    def _resumption(self, context: Context, deadline: float) -> LabelTaskRecovery:
        self.check_rendered(context)
        request = self._request()
        hook = parameters.hook(self).look_afresh()
        switch = LabelTaskStopper(TaskKey.of(context["ti"]), hook, request["dataset_id"], self.log)
        self._kill_switch = switch
        return LabelTaskRecovery(
            hook,
            RecordStore(context),
            TaskIntent.of(context),
            request,
            deadline,
            is_first_try=context["ti"].try_number == 1,
            if_running=self.if_running,
            cancels=self.cancel_on_kill,
            is_ended=lambda: switch.pulled,
            log=self.log,
        )

    def _proceed(self, resumption: LabelTaskRecovery) -> str:
        """Go on until the labeling task is over, or waited for elsewhere; Airflow's own alarm is one more deadline."""
        try:
            return self._follow(resumption)
        except AirflowTaskTimeout:
            raise self._gave_up(resumption) from None

    def _gave_up(self, resumption: LabelTaskRecovery) -> LabelTaskTimeout:
        """Stop what this try has started, wherever the alarm has struck: also between a start and its reply."""
        record = None
        try:
            record = resumption.find_after_alarm()
        except ModelArtsError as error:
            self.log.warning("Whether a labeling task is left behind is not known; look in the console. %s", error)
            record = resumption.memory.last
        self._stop_given_up(record, resumption.memory)
        return LabelTaskTimeout(
            f"The execution_timeout of the Airflow task has come; dataset {self.dataset_id}, labeling task: "
            f"{record.label_task_id if record else 'none'}. Allow more time."
        )

    def _follow(self, resumption: LabelTaskRecovery) -> str:
        """Find or start the labeling task, waiting for what is in the way; then wait for it, if wanted."""
        while True:
            found = self._find(resumption)
            record = found or resumption.start()
            self._take(record)
            resumption.memory.write(record)
            is_the_one = record.phase == "started"
            if is_the_one and record.ours and self.do_xcom_push:
                resumption.memory.tell(LABEL_TASK_XCOM, record.label_task_id)
            if is_the_one and not self.wait_for_completion:
                # Airflow may signal a process whose task has succeeded, if its callbacks or listeners take too long.
                self._kill_switch = None
                return record.label_task_id
            outcome = self._wait(record, is_there=found is not None)
            if is_the_one:
                return self._conclude(outcome, record, resumption.memory)
            _over(outcome, record)

    def _find(self, resumption: LabelTaskRecovery) -> LabelTaskRecord | None:
        """Find the labeling task of an earlier try; if the service refuses to tell about it, this try gives it up."""
        try:
            return resumption.find()
        except LabelTaskUnreadableError:
            self._stop_given_up(resumption.memory.read(), resumption.memory)
            raise

    def _wait(self, record: LabelTaskRecord, *, is_there: bool) -> Outcome:
        """Wait for a labeling task, deferred if that is wanted.

        :param is_there: it was there already and may be over: then nothing is deferred. A trigger that fires within a
            second can have Airflow's scheduler take the end of the deferral for that of the task, and try once more
        """
        hook, now = parameters.hook(self), system_clock.now()
        wait = Wait(
            record.dataset_id,
            record.label_task_id,
            deadline=record.deadline,
            poll_interval=self.poll_interval,
            is_patient=record.is_known_to_exist,
        )
        if not self.deferrable:
            return poll_until_done(hook, wait, self.log, first_look=0.0 if is_there else wait.first_pause(now))
        not_before = None
        if is_there:
            step = poll_once(hook, wait, self.log)
            if isinstance(step, Outcome):
                return step
            not_before = system_clock.now() + step
        return self._defer(record, not_before)

    def _take(self, record: LabelTaskRecord) -> None:
        """Make a labeling task of ours known to ``on_kill``; if a user ended the Airflow task meanwhile, stop it."""
        switch = self._kill_switch
        if switch is None or not record.may_be_stopped:
            return
        switch.label_task_id = record.label_task_id
        if switch.pulled:
            self._stop(record)
            raise LabelTaskStopped(f"Labeling task {record.label_task_id} was stopped: a user ended the Airflow task.")

    def _trigger(
        self,
        dataset_id: str,
        label_task_id: str,
        deadline: float,
        *,
        cancel_on_kill: bool,
        is_patient: bool,
        not_before: float | None = None,
    ) -> ModelArtsLabelTaskTrigger:
        hook = parameters.hook(self)
        return ModelArtsLabelTaskTrigger(
            dataset_id=dataset_id,
            label_task_id=label_task_id,
            deadline=deadline,
            poll_interval=self.poll_interval,
            started=system_clock.now(),
            not_before=not_before,
            cancel_on_kill=self.cancel_on_kill and cancel_on_kill,
            is_patient=is_patient,
            modelarts_conn_id=hook.modelarts_conn_id,
            project_id=hook.project_id,
        )

    def _defer(self, record: LabelTaskRecord, not_before: float | None) -> NoReturn:
        self.defer(
            trigger=self._trigger(
                record.dataset_id,
                record.label_task_id,
                record.deadline,
                cancel_on_kill=record.may_be_stopped,
                is_patient=record.is_known_to_exist,
                not_before=not_before,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(record.deadline - system_clock.now(), 0) + DEFERRAL_MARGIN),
        )

    def _conclude(self, outcome: Outcome, record: LabelTaskRecord | None, memory: RecordStore) -> str:
        """Return the id, or raise what the outcome stands for."""
        error = outcome.exception()
        if outcome.status == "error" and error is not None and record is not None and record.is_known_to_exist:
            error = unreadable(f"Labeling task {record.label_task_id} of dataset {record.dataset_id}", error)
        if outcome.status == "timeout" or isinstance(error, LabelTaskUnreadableError):
            self._stop_given_up(record, memory)
        if error is not None:
            raise error
        self.log.info("%s", outcome.message)
        return outcome.label_task_id

    def _stop_given_up(self, record: LabelTaskRecord | None, memory: RecordStore) -> None:
        """Stop the labeling task that was waited for in vain, if it is ours and Airflow still listens to this try."""
        if record is None or not record.may_be_stopped or not self.cancel_on_timeout:
            return
        try:
            memory.write(replace(record, phase="ending"))
        except (AirflowRuntimeError, OSError, EOFError) as error:
            self.log.warning(
                "Labeling task %s is left alone: Airflow does not answer, another try may wait for it. %s",
                record.label_task_id,
                error,
            )
            return
        self._stop(record)

    def _stop(self, record: LabelTaskRecord) -> None:
        """Stop the labeling task; if that fails say so and go on: the reason for stopping matters more."""
        label_task_id = record.label_task_id
        try:
            parameters.hook(self).look_afresh().client.tasks.stop(record.dataset_id, label_task_id)
        except ModelArtsError as error:
            self.log.warning("Labeling task %s could not be stopped; stop it in the console. %s", label_task_id, error)
        else:
            self.log.info("Stopped labeling task %s.", label_task_id)


def _over(outcome: Outcome, record: LabelTaskRecord) -> None:
    """Raise unless what was in the way is over in time: however it ended, or because it is gone."""
    error = outcome.exception()
    if outcome.status == "timeout" or (outcome.status == "error" and not isinstance(error, NotFound)):
        raise error or LabelTaskTimeout(outcome.message)
    if system_clock.now() >= record.deadline:
        raise LabelTaskTimeout(
            f"The deadline came while labeling task {record.label_task_id} was in the way on dataset "
            f"{record.dataset_id}; it is over, and none was started after it. Allow more time."
        )


class ModelArtsStopLabelTaskOperator(TemplatedOperator):
    """Stop a labeling task. One that is over already, or that is being stopped, is left as it is.

    Returns nothing.

    :param dataset_id: dataset of the labeling task (templated)
    :param label_task_id: the labeling task (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises AirflowFailException: if the dataset or the labeling task is unknown, or for what else no retry can mend
    """

    template_fields: Sequence[str] = ("dataset_id", "label_task_id", "modelarts_conn_id", "project_id")

    def __init__(
        self,
        *,
        dataset_id: str,
        label_task_id: str | XComArg,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.label_task_id = label_task_id
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(
            {
                "dataset_id": parameters.identifier,
                "label_task_id": parameters.identifier,
                **parameters.CONNECTION,
            }
        )

    def execute(self, context: Context) -> None:
        """Stop the labeling task; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            dataset_id = parameters.identifier("dataset_id", self.dataset_id)
            label_task_id = parameters.identifier("label_task_id", self.label_task_id)
            parameters.hook(self).look_afresh().client.tasks.stop(dataset_id, label_task_id)
            self.log.info("Labeling task %s of dataset %s is stopped or over.", label_task_id, dataset_id)
