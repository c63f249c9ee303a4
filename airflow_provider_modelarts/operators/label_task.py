"""Operators that start and stop labeling tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import conf
from airflow.sdk.exceptions import (
    AirflowRuntimeError,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import (
    LabelTaskStopped,
    LabelTaskTimeout,
    ModelArtsError,
    NotFound,
    PreconditionFailed,
)
from airflow_provider_modelarts.client.waiting import Outcome
from airflow_provider_modelarts.hooks.errors import LabelTaskUnreadableError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._observed import ObservedOperator
from airflow_provider_modelarts.operators._on_kill import LabelTaskStopper
from airflow_provider_modelarts.operators._templates import TemplatedOperator, constant, is_template
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from airflow_provider_modelarts.utils.label_task_start import LabelTaskStarter
from airflow_provider_modelarts.utils.polling import (
    deadline_after,
    poll_once,
    poll_until_done,
    stop_or_warn,
    unreadable,
)
from airflow_provider_modelarts.utils.task_record import RecordStore, TaskIntent
from airflow_provider_modelarts.utils.task_state import TaskKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.operators._templates import Readers
    from airflow_provider_modelarts.utils.label_task_start import IfRunning
    from airflow_provider_modelarts.utils.task_record import LabelTaskRecord


NOTHING_TO_LABEL = "ModelArts.4407"
"""Code of a start that is refused because no image is without label (contract 8.1)."""

LABEL_TASK_XCOM = "label_task_id"
"""XCom with the id of the labeling task that a start operator has started, pushed as soon as it is known."""

_READ: Readers = {
    "dataset_id": parameters.identifier,
    "label_task_type": parameters.label_task_type,
    "algorithm_type": parameters.optional(parameters.algorithm_type),
    "collect_key_sample": parameters.optional(parameters.flag),
    "model_id": parameters.optional(parameters.identifier),
    "config": parameters.optional(parameters.config),
    "extra": parameters.optional(parameters.plain),
    **parameters.CONNECTION,
}


class ModelArtsStartLabelTaskOperator(ObservedOperator):
    """Start a labeling task and, if wanted, wait until it is over.

    Returns the id of the labeling task. If this task has started it, the id is also pushed as XCom ``label_task_id``
    right after the start, so that a cleanup task finds it however the wait ends.

    A start is never sent twice. A retry follows the labeling task of the try before it, and starts another only if that
    one failed, was stopped or does not exist any more. After a clear, the old labeling task is stopped and another one
    started. Wrong parameters are found before anything is sent. The service checks whether the dataset meets its
    conditions: what no retry can mend fails without retries; other refusals, as while the dataset is being published,
    are retried. If the service returns no names, the operator identifies its labeling task by elimination. It waits for
    that task but never stops it.

    :param dataset_id: the dataset (templated)
    :param label_task_type: ``auto-label``, ``pre-label`` or ``auto-grouping`` (templated)
    :param algorithm_type: ``fast`` (labeled samples only) or ``accurate`` (unlabeled ones too); None: the service's
        choice (templated)
    :param collect_key_sample: also look for hard examples; None: the service's default, no (templated)
    :param model_id: model to run, for ``pre-label`` (templated)
    :param config: further fields of the service's SmartTaskConfig; a marker, by which a retry finds the labeling task,
        is added to its ``name`` (templated)
    :param extra: fields that the contract does not know, sent as they are; ``{"config": {...}}`` for settings
        (templated)
    :param wait_for_completion: wait until the labeling task is over, and fail if it did not succeed
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead, and five years at most
    :param if_running: what to do if the service refuses the start because somebody else's labeling task is active.
        ``fail``: raise an error that names it. ``adopt``: wait for it as if it were ours, or until it is over if it is
        of another type. ``wait``: wait until it is over, then start. It is never stopped
    :param if_nothing_to_label: what to do if the service refuses the start because no image is without label, as after
        a night without new images. ``fail``: fail without retries. ``skip``: skip the Airflow task
    :param cancel_on_kill: stop the labeling task when a user ends or clears the waiting Airflow task; if not, a cleared
        Airflow task follows it
    :param cancel_on_timeout: stop the labeling task when the wait gives up: at its deadline, or because the service
        refuses several polls in a row
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises LabelTaskFailed: if the labeling task failed
    :raises LabelTaskStopped: if somebody stopped it
    :raises LabelTaskTimeout: if it was not over in time
    :raises TaskAlreadyRunning: if somebody else's is active and ``if_running`` is ``fail``
    :raises LabelTaskUnreadableError: if the service refuses several polls in a row of what this task has started
    :raises StartUnknown: if the reply to the start was lost, and the labeling task is not found
    :raises AirflowSkipException: if there is nothing to label and ``if_nothing_to_label`` is ``skip``
    :raises AirflowFailException: for errors that no retry can mend
    """

    template_fields: Sequence[str] = tuple(_READ)
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json", "extra": "json"}
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
        extra: dict[str, Any] | str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float | timedelta = timedelta(hours=24),
        if_running: IfRunning = "fail",
        if_nothing_to_label: Literal["fail", "skip"] = "fail",
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
        self.extra = extra
        self.wait_for_completion: bool = constant("wait_for_completion", wait_for_completion, parameters.flag)
        self.deferrable: bool = constant("deferrable", deferrable, parameters.flag)
        self.poll_interval: float = constant("poll_interval", poll_interval, parameters.seconds)
        self.timeout: float = constant("timeout", timeout, parameters.seconds)
        self.if_running: IfRunning = constant("if_running", if_running, parameters.if_running)
        self.if_nothing_to_label: str = constant("if_nothing_to_label", if_nothing_to_label, parameters.fail_or_skip)
        self.cancel_on_kill: bool = constant("cancel_on_kill", cancel_on_kill, parameters.flag)
        self.cancel_on_timeout: bool = constant("cancel_on_timeout", cancel_on_timeout, parameters.flag)
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self._stopper: LabelTaskStopper | None = None
        self.check_parameters(_READ)
        parameters.check_model(label_task_type, model_id)
        if not any(map(is_template, (config, algorithm_type, extra))):
            _check_request(parameters.labeling_config(config, algorithm_type), _READ["extra"]("extra", extra))

    def execute(self, context: Context) -> str:
        """Start the labeling task, or follow that of an earlier try; see the class."""
        with permanent_errors_fail_at_once():
            deadline = deadline_after(context["ti"].start_date, self.timeout, self.execution_timeout)
            starter = self._make_starter(context, deadline)
            self._make_trigger(starter.make_record("started")).prove_serializable()
            link_dataset(context, starter.hook, starter.request["dataset_id"])
            return self._run(starter, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """End as the trigger's event says; or go on, if the trigger has waited for a labeling task that was in the way.

        :param event: payload of :class:`ModelArtsLabelTaskTrigger`
        """
        with permanent_errors_fail_at_once():
            outcome = Outcome.from_event(event)
            store = RecordStore(context)
            record = store.read()
            if record is not None and record.label_task_id != outcome.label_task_id:
                record = None
            if record is None or record.phase == "started":
                return self._conclude(outcome, record, store, context)
            _check_out_of_the_way(outcome, record)
            return self._run(self._make_starter(context, record.deadline), context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait in the triggerer; if that ended without an event, stop the labeling task."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as error:
            store = RecordStore(context)
            record = store.read()
            self._stop_given_up(record, store)
            if not isinstance(error, TaskDeferralTimeout):
                raise
            label_task_id = record.label_task_id if record else "unknown"
            raise LabelTaskTimeout(f"{parameters.no_triggerer(self)} Labeling task: {label_task_id}.") from None

    def on_kill(self) -> None:
        """Stop the labeling task if a user ended or cleared the Airflow task, and ``cancel_on_kill`` is set."""
        if self.cancel_on_kill and self._stopper is not None:
            self._stopper.stop_if_ended()

    def _make_starter(self, context: Context, deadline: float) -> LabelTaskStarter:
        self.check_rendered(context)
        given = self.read_parameters(_READ)
        parameters.check_model(given["label_task_type"], given["model_id"])
        request = {
            "dataset_id": given["dataset_id"],
            "task_type": given["label_task_type"],
            "config": parameters.labeling_config(self.config, self.algorithm_type),
            "collect_key_sample": given["collect_key_sample"],
            "model_id": given["model_id"],
            # Only if given: records of tries that run during an upgrade know it not.
            **({} if given["extra"] is None else {"extra": given["extra"]}),
        }
        hook = parameters.hook(self).look_afresh()
        stopper = LabelTaskStopper(TaskKey.of(context["ti"]), hook, request["dataset_id"], self.log)
        self._stopper = stopper
        return LabelTaskStarter(
            hook,
            RecordStore(context),
            TaskIntent.of(context),
            request,
            deadline,
            is_first_try=context["ti"].try_number == 1,
            if_running=self.if_running,
            cancel_on_kill=self.cancel_on_kill,
            is_ended=lambda: stopper.is_ended,
            log=self.log,
        )

    def _make_trigger(self, record: LabelTaskRecord) -> ModelArtsLabelTaskTrigger:
        return ModelArtsLabelTaskTrigger(
            dataset_id=record.dataset_id,
            label_task_id=record.label_task_id,
            deadline=record.deadline,
            poll_interval=self.poll_interval,
            started=system_clock.now(),
            cancel_on_kill=self.cancel_on_kill and record.may_be_stopped,
            is_patient=record.is_known_to_exist,
            **self.read_parameters(parameters.CONNECTION),
        )

    def _run(self, starter: LabelTaskStarter, context: Context) -> str:
        """Find or start the labeling task and wait for it; the alarm of ``execution_timeout`` is one more deadline."""
        try:
            return self._follow(starter, context)
        except PreconditionFailed as error:
            if error.code != NOTHING_TO_LABEL or self.if_nothing_to_label != "skip":
                raise
            raise AirflowSkipException(f"Nothing to label in dataset {self.dataset_id}: {error}") from None
        except AirflowTaskTimeout:
            # The alarm may have interrupted anything, also a start before its reply: stop what this try has started.
            try:
                record = starter.find(after_alarm=True)
            except ModelArtsError as error:
                self.log.warning("It is not known whether a labeling task still runs; check the console. %s", error)
                record = starter.store.last_written
            self._stop_given_up(record, starter.store)
            raise LabelTaskTimeout(
                f"The execution_timeout of the Airflow task has come; dataset {self.dataset_id}, labeling task: "
                f"{record.label_task_id if record else 'none'}. Allow more time."
            ) from None

    def _follow(self, starter: LabelTaskStarter, context: Context) -> str:
        """Find or start the labeling task, after those that are in the way; then wait for it, if wanted."""
        store = starter.store
        while True:
            try:
                found = starter.find()
            except LabelTaskUnreadableError:
                self._stop_given_up(store.read(), store)
                raise
            record = found or starter.start()
            self._tell_stopper(record)
            store.write(record)
            is_in_the_way = record.phase != "started"
            if not is_in_the_way:
                if record.ours and self.do_xcom_push:
                    store.push_xcom(LABEL_TASK_XCOM, record.label_task_id)
                if not self.wait_for_completion:
                    # Airflow may signal the process of a succeeded task, if callbacks or listeners take too long.
                    self._stopper = None
                    self._observe(context, record.label_task_id)
                    return record.label_task_id
            outcome = self._wait(record, is_new=found is None)
            if not is_in_the_way:
                return self._conclude(outcome, record, store, context)
            _check_out_of_the_way(outcome, record)

    def _wait(self, record: LabelTaskRecord, *, is_new: bool) -> Outcome:
        """Wait in the worker, or defer.

        A labeling task that is not new may be over, so the worker polls once before it defers: if a trigger fires
        within a second, Airflow's scheduler can take the end of the deferral for that of the task and run another try.
        """
        hook = parameters.hook(self)
        trigger = self._make_trigger(record)
        wait = trigger.make_wait()
        if not self.deferrable:
            delay = wait.first_pause(system_clock.now()) if is_new else 0.0
            return poll_until_done(hook, wait, self.log, delay=delay)
        if not is_new:
            step = poll_once(hook, wait, self.log)
            if isinstance(step, Outcome):
                return step
            trigger.not_before = system_clock.now() + step
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.deferral_timeout())

    def _tell_stopper(self, record: LabelTaskRecord) -> None:
        """Give ``on_kill`` the id; if a user ended the Airflow task while the start was in flight, stop it here."""
        stopper = self._stopper
        if stopper is None or not record.may_be_stopped:
            return
        stopper.label_task_id = record.label_task_id
        if stopper.is_ended:
            self._stop(record, "a user ended the Airflow task")
            raise LabelTaskStopped(f"Labeling task {record.label_task_id} was stopped: a user ended the Airflow task.")

    def _conclude(self, outcome: Outcome, record: LabelTaskRecord | None, store: RecordStore, context: Context) -> str:
        """Return the id, or raise the error of the outcome."""
        error = outcome.exception()
        if outcome.status == "error" and error is not None and record is not None and record.is_known_to_exist:
            error = unreadable(f"Labeling task {record.label_task_id} of dataset {record.dataset_id}", error)
        if outcome.status == "timeout" or isinstance(error, LabelTaskUnreadableError):
            self._stop_given_up(record, store)
        self._observe(context, outcome.label_task_id, outcome)
        if error is not None:
            raise error
        self.log.info("%s", outcome.message)
        return outcome.label_task_id

    def _observe(self, context: Context, label_task_id: str, outcome: Outcome | None = None) -> None:
        self.observe(
            context,
            parameters.hook(self),
            "start",
            [str(self.dataset_id)],
            {**(outcome.summary if outcome else {}), "label_task_id": label_task_id},
            is_complete=outcome is None or outcome.status == "success",
            waited=outcome is not None,
        )

    def _stop_given_up(self, record: LabelTaskRecord | None, store: RecordStore) -> None:
        """Stop a labeling task that is no longer waited for, if it is ours and this process is no zombie."""
        if record is None or not record.may_be_stopped or not self.cancel_on_timeout:
            return
        try:
            store.write(replace(record, phase="ending"))
        except (AirflowRuntimeError, OSError, EOFError) as error:
            self.log.warning(
                "Labeling task %s is left alone: Airflow does not answer, another try may wait for it. %s",
                record.label_task_id,
                error,
            )
            return
        self._stop(record, "it is no longer waited for")

    def _stop(self, record: LabelTaskRecord, reason: str) -> None:
        stop_or_warn(parameters.hook(self), record.dataset_id, record.label_task_id, self.log, reason=reason)


def _check_request(config: Mapping[str, Any] | None, extra: Mapping[str, Any] | None) -> None:
    """Refuse what the request of a start does not take, when the DAG is parsed rather than at night."""
    from airflow_provider_modelarts.client.requests.tasks import CreateTaskRequest

    if config is not None or extra is not None:
        parameters.request_body(CreateTaskRequest, "start a labeling task", {"config": config}, None, extra)


def _check_out_of_the_way(outcome: Outcome, record: LabelTaskRecord) -> None:
    """Raise unless the labeling task in the way is over, or does not exist any more, before the deadline."""
    error = outcome.exception()
    if outcome.status == "timeout" or (outcome.status == "error" and not isinstance(error, NotFound)):
        raise error or LabelTaskTimeout(outcome.message)
    if system_clock.now() >= record.deadline:
        raise LabelTaskTimeout(
            f"The deadline came while labeling task {record.label_task_id} was in the way on dataset "
            f"{record.dataset_id}; it is over, and none was started after it. Allow more time."
        )


class ModelArtsStopLabelTaskOperator(TemplatedOperator):
    """Stop a labeling task. If it is over already, or is being stopped, nothing changes.

    Returns nothing.

    :param dataset_id: dataset of the labeling task (templated)
    :param label_task_id: the labeling task (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowFailException: if the dataset or the labeling task is unknown, or for other errors that no retry can
        mend
    """

    template_fields: Sequence[str] = tuple(parameters.LABEL_TASK)

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
        self.check_parameters(parameters.LABEL_TASK)

    def execute(self, context: Context) -> None:
        """Stop the labeling task; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(parameters.LABEL_TASK)
            parameters.hook(self).look_afresh().client.tasks.stop(given["dataset_id"], given["label_task_id"])
            self.log.info(
                "Labeling task %s of dataset %s is stopped or over.", given["label_task_id"], given["dataset_id"]
            )
