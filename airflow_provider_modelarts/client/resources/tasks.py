"""Labeling tasks of a dataset: contract 2."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.error_codes import rule_for
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    InvalidRequest,
    ModelArtsError,
    StartUnknown,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    read,
    to_flag,
    to_integer,
    to_name,
    to_number,
    to_object,
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.states import EventStatus, TaskState, TaskType, is_terminal
from airflow_provider_modelarts.client.validation import validate_choice, validate_id, validate_seconds
from airflow_provider_modelarts.client.waiting import Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_modelarts.client.requests.tasks import SmartTaskConfig
    from airflow_provider_modelarts.client.resources.samples import Sample
    from airflow_provider_modelarts.client.transport.transport import Transport

log = logging.getLogger(__name__)

TASK_TYPES = tuple(map(str, TaskType))
_LEAST_OF_HTTP = 100
_COUNTS = ("total_sample_count", "annotated_sample_count", "unconfirmed_sample_count")


def _event_status(value: object) -> EventStatus | str | None:
    return EventStatus.read(to_text(value))


class TaskEvent(Model):
    """A step of a labeling task; steps may have steps of their own."""

    name = Field(to_name, "Text, such as labeling or jobstat_running; what the step is.")
    ordinal = Field(to_integer, "Whole number from 1; its place among the steps beside it.")
    level = Field(to_integer, "Whole number from 1; how deep it is nested.")
    status = Field(_event_status, "EventStatus; a word that is not known stays text.")
    create_time = Field(to_integer, "Milliseconds since 1970; when it began. None while it waits.")
    elapsed_time = Field(to_number, "Seconds that it took or has taken; None while it waits or has steps that run.")
    description = Field(to_text, "Text for people.")
    error_code = Field(to_text, "The service's code, if it failed.")
    error_message = Field(to_text, "Text for people, if it failed.")
    parent_name = Field(to_text, "Name of the step that it is a part of.")

    @property
    def events(self) -> tuple[TaskEvent, ...]:
        """The steps inside."""
        return tuple(map(TaskEvent, to_objects(self.raw.get("events"))))


class HardSelectTask(Model):
    """A search for hard examples that belongs to a labeling task."""

    id = Field(to_text, "Text; not documented.")
    hard_select_task_id = Field(to_text, "Text; its id.")
    dataset_id = Field(to_text, "Text; the dataset.")
    dataset_name = Field(to_text, "Text; name of the dataset.")
    task_status = Field(to_text, "Text, such as import_dataset_completed; how far it is.")
    time = Field(to_number, "Seconds that it took, as far as is known.")
    create_at = Field(to_integer, "Milliseconds since 1970, or 0; when it began.")
    update_at = Field(to_integer, "Milliseconds since 1970, or 0; when it changed.")


class TaskResult(Model):
    """What a labeling task has brought so far; the service leaves out most of it."""

    total_sample_count = Field(to_integer, "Whole number; samples of the dataset.")
    annotated_sample_count = Field(to_integer, "Whole number; samples with final labels.")
    unconfirmed_sample_count = Field(to_integer, "Whole number; samples with a proposal that nobody has confirmed.")
    confidence_scope = Field(to_text, "Text, lowest-highest from 0 to 1; confidences of hard examples.")
    dataset_name = Field(to_text, "Text; name of the dataset.")
    dataset_type = Field(to_text, "Text; type of the dataset, as the service writes it here.")
    description = Field(to_text, "Text for people.")
    dlf_model_job_name = Field(to_text, "Text; the service's own job.")
    dlf_service_job_name = Field(to_text, "Text; the service's own job.")
    dlf_train_job_name = Field(to_text, "Text; the service's own job.")
    hard_example_path = Field(to_text, "Path of OBS; list of hard examples.")
    manifest_path = Field(to_text, "Path of OBS; list of the samples.")
    model_id = Field(to_text, "Text; the model that was trained or run.")
    model_name = Field(to_text, "Text; its name.")
    model_version = Field(to_text, "Text, such as 0.0.1; its version.")
    service_id = Field(to_text, "Text; the service in which the model ran.")
    service_name = Field(to_text, "Text; its name.")
    service_resource = Field(to_text, "Text; what it ran on.")
    train_data_path = Field(to_text, "Path of OBS; data of the training.")
    train_job_id = Field(to_text, "Text; the training.")
    train_job_name = Field(to_text, "Text; name of the training.")
    version_id = Field(to_text, "Text; version of the training, although the documents say: of the dataset.")
    version_name = Field(to_text, "Text; name of the version.")
    workspace_id = Field(to_text, "Text; the workspace, 0 for the default one.")
    continuity = Field(to_flag, "True or false; not documented.")

    @property
    def events(self) -> tuple[TaskEvent, ...]:
        """The steps; empty while the service reports none."""
        return tuple(map(TaskEvent, to_objects(self.raw.get("events"))))

    @property
    def hard_select_tasks(self) -> tuple[HardSelectTask, ...]:
        """The searches for hard examples."""
        return tuple(map(HardSelectTask, to_objects(self.raw.get("hard_select_tasks"))))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Labeled samples; only of live video."""
        from airflow_provider_modelarts.client.resources.samples import Sample

        return tuple(map(Sample, to_objects(self.raw.get("samples"))))


class LabelTask(Model):
    """A labeling task, from the list or on its own.

    The service leaves out different properties in the two. The ids are filled in from the request; everything else is
    None then.

    :param raw: as of every model
    :param dataset_id: the dataset that was asked about
    :param task_id: the labeling task that was asked about
    """

    task_id = Field(to_name, "Text; its id.")
    dataset_id = Field(to_name, "Text; the dataset; resource_id where the service calls it so.")
    task_name = Field(to_text, "Text; its name.")
    type = Field(to_integer, "Whole number: 0 auto-label, 1 pre-label, 2 auto-grouping; only in lists.")
    create_time = Field(to_text, "Text yyyy-MM-dd HH:mm:ss, local time of the service without a zone.")
    status = Field(TaskState.read, "TaskState; None if the service left it out.")
    progress = Field(to_number, "Percent, 0 to 100; it may stand still or jump.")
    code = Field(to_text, "Text; the service's code of how far it is, no error while it runs.")
    message = Field(to_text, "Text for people to code.")
    error_code = Field(to_text, "Text; the service's code of a failure.")
    error_msg = Field(to_text, "Text for people to error_code.")
    error_detail = Field(to_text, "Text for people; more about the failure.")
    elapsed_time = Field(to_number, "Seconds since it began.")
    total_sample_count = Field(to_integer, "Whole number; samples of the dataset.")
    annotated_sample_count = Field(to_integer, "Whole number; samples with final labels.")
    unconfirmed_sample_count = Field(to_integer, "Whole number; samples with a proposal that nobody has confirmed.")
    model_id = Field(to_text, "Text; the model that was trained or run; only in lists.")
    model_name = Field(to_text, "Text; its name; only in lists.")
    model_version = Field(to_text, "Text, such as 0.0.1; its version; only in lists.")
    export_type = Field(to_integer, "Whole number: 0 writes to OBS, 1 into the samples.")
    config = Field(to_object, "Its configuration as the service reports it, defaults filled in.")

    def __init__(self, raw: dict[str, Any], *, dataset_id: str = "", task_id: str = "") -> None:
        super().__init__(raw)
        # Read on its own, a labeling task has its counts in "result", and calls its dataset "resource_id".
        result = to_object(raw.get("result"))
        self.__dict__["_elsewhere"] = {
            **{name: result.get(name) for name in _COUNTS},
            "dataset_id": raw.get("resource_id") or dataset_id,
            "task_id": task_id,
        }

    @property
    def state(self) -> TaskState:
        """The state; one that the contract does not list can be asked the same and is never terminal.

        :raises UnexpectedResponse: if the service left it out; ``status`` is None then
        """
        if self.status is None:
            raise UnexpectedResponse(f"The service gave no status in {self!r}. Read it again with its own call.")
        return self.status

    @property
    def is_terminal(self) -> bool:
        """Whether it is over; False for states that are not known."""
        return is_terminal(self.status)

    @property
    def name(self) -> str | None:
        """The name given at its start: ``config.name``, where the service echoes it."""
        return to_text(self.config.get("name"))

    @property
    def result(self) -> TaskResult:
        """What it has brought so far; empty in the beginning."""
        return TaskResult(to_object(self.raw.get("result")))

    @property
    def events(self) -> tuple[TaskEvent, ...]:
        """Its steps; empty while the service reports none."""
        return self.result.events


class Tasks:
    """Calls about labeling tasks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(
        self,
        dataset_id: str,
        task_type: TaskType | str = "auto-label",
        *,
        config: SmartTaskConfig | Mapping[str, Any] | None = None,
        collect_key_sample: bool | None = None,
        model_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a labeling task (contract 2.1). It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :param task_type: ``auto-label``, ``pre-label`` or ``auto-grouping``
        :param config: the settings, as ``requests.tasks.SmartTaskConfig`` or as a dict with its fields, for example
            ``{"algorithm_type": "fast"}``; numbers and flags may be given as text
        :param collect_key_sample: also look for hard examples; None leaves it to the service (it does not)
        :param model_id: the model to run; ``pre-label`` needs it
        :param extra: fields that the contract does not know, sent as they are; ``{"config": {...}}`` for settings
        :return: id of the labeling task
        :raises StartUnknown: if the reply was lost; list the tasks before starting another
        :raises TaskAlreadyRunning: if one of this kind is active on the dataset
        :raises PreconditionFailed: if the dataset does not meet contract 8.1
        :raises InvalidRequest: for unknown fields and values outside the contract, with the path of the field, such as
            ``config.inf_config_list[0].instance_count``; before anything is sent
        """
        validate_choice("task_type", task_type, TASK_TYPES)
        what = f"start an {task_type} task" if task_type[0] == "a" else f"start a {task_type} task"
        what = f"{what} on dataset {validate_id('dataset_id', dataset_id)}"
        given = {
            "task_type": task_type,
            "config": config,
            "collect_key_sample": collect_key_sample,
            "model_id": model_id,
        }
        body = _start_body(given, what, extra)
        try:
            answer = self._transport.write("POST", what, "datasets", dataset_id, "tasks", body=body, own=("task_id",))
        except ModelArtsError as error:
            if error.certainly_not_executed:
                raise
            raise _start_unknown(what, str(error), error.details()) from error
        task_id = to_text(answer.get("task_id")) if isinstance(answer, dict) else None
        if not task_id:
            raise _not_started(what, answer)
        return task_id

    def get(self, dataset_id: str, task_id: str, *, retry: bool = True) -> LabelTask:
        """Return a labeling task (contract 2.3).

        :param dataset_id: the dataset
        :param task_id: the labeling task
        :param retry: False: one attempt, for polls
        :raises NotFound: if the service does not know one of them
        """
        what = (
            f"read labeling task {validate_id('task_id', task_id)} of dataset {validate_id('dataset_id', dataset_id)}"
        )
        path = ("datasets", dataset_id, "tasks", task_id)
        answer = self._transport.get(what, *path, retry=retry, own=("status",))
        # what an answer may leave out need not be named, but nothing else may be named in its place
        ids = {"resource_id": dataset_id, "dataset_id": dataset_id, "task_id": task_id}
        given = answer if isinstance(answer, dict) else {}
        checked_answer(answer, what, **{name: one for name, one in ids.items() if given.get(name)})
        state = TaskState.read(given.get("status"))
        if (state is None or state >= _LEAST_OF_HTTP) and to_text(given.get("error_code")):
            # a word, or the status of HTTP: a labeling task has neither
            raise _refusal(what, given)[0]
        if state is None:
            raise UnexpectedResponse(
                f"Cannot {what}: the answer names no status, so it is not about a task. "
                "Try again; if it stays so, check endpoint and proxies."
            )
        return read(LabelTask, answer, what, dataset_id=dataset_id, task_id=task_id)

    def list(
        self,
        dataset_id: str,
        *,
        task_type: TaskType | str | None = None,
        task_name: str | None = None,
        retry: bool = True,
    ) -> Iterator[LabelTask]:
        """Yield the labeling tasks of a dataset, newest first (contract 2.2).

        :param dataset_id: the dataset
        :param task_type: only this kind; without it the service lists auto-label and pre-label
        :param task_name: only this name
        :param retry: False: one attempt for each page
        """
        if task_type is not None:
            validate_choice("task_type", task_type, TASK_TYPES)
        what = f"list labeling tasks of dataset {validate_id('dataset_id', dataset_id)}"
        query = {"type": task_type, "task_name": task_name}
        path, known = ("datasets", dataset_id, "tasks"), {"dataset_id": dataset_id}
        listing = ListEndpoint(what, path, LabelTask, "tasks", "total_count", ("task_id",), query, known)
        return listing.walk(self._transport, retry=retry)

    def stop(self, dataset_id: str, task_id: str) -> None:
        """Stop a labeling task; one that is over or being stopped already counts as stopped (contract 2.4).

        :param dataset_id: the dataset
        :param task_id: the labeling task
        :raises NotFound: if the service does not know it
        """
        what = (
            f"stop labeling task {validate_id('task_id', task_id)} of dataset {validate_id('dataset_id', dataset_id)}"
        )
        try:
            self._transport.harmless("POST", what, "datasets", dataset_id, "tasks", task_id, "stop")
        except ModelArtsError as error:
            if error.status is None or isinstance(error, (AuthenticationError, Throttled)):
                raise
            # what a finished task answers to a stop is undocumented: its state decides
            state = self._state_after(error, dataset_id, task_id)
            if not (is_terminal(state) or state == TaskState.STOPPING):
                raise

    def _state_after(self, error: ModelArtsError, dataset_id: str, task_id: str) -> TaskState | None:
        try:
            return self.get(dataset_id, task_id).status
        except ModelArtsError:
            raise error from None

    def wait(
        self,
        dataset_id: str,
        task_id: str,
        *,
        timeout: float,
        poll_interval: float = 30,
        on_progress: Callable[[str], None] | None = None,
    ) -> LabelTask:
        """Wait until a labeling task has succeeded, and return it.

        It looks often in the first minute, then every ``poll_interval``, and survives what a later look may mend.

        :param dataset_id: the dataset
        :param task_id: the labeling task
        :param timeout: seconds to wait at most, from now
        :param poll_interval: seconds between looks
        :param on_progress: called with a line whenever percent, step or counts have changed; default: the log
        :raises LabelTaskFailed: if it failed
        :raises LabelTaskStopped: if somebody stopped it
        :raises LabelTaskTimeout: if it is not over in time; it goes on
        :raises ModelArtsError: if the service refuses to tell
        """
        clock = self._transport.clock
        deadline = clock.now() + validate_seconds("timeout", timeout)
        wait = Wait(
            validate_id("dataset_id", dataset_id),
            validate_id("task_id", task_id),
            deadline=deadline,
            poll_interval=validate_seconds("poll_interval", poll_interval),
        )
        report = on_progress or log.info
        pause = wait.first_pause(clock.now())
        while True:
            clock.sleep(pause)
            found = self._look(wait, dataset_id, task_id, report)
            if isinstance(found, LabelTask):
                return found
            pause = found

    def _look(self, wait: Wait, dataset_id: str, task_id: str, report: Callable[[str], None]) -> LabelTask | float:
        """Return the task once it has succeeded, else the seconds until the next look; raise what ends the wait."""
        clock = self._transport.clock
        try:
            task = self.get(dataset_id, task_id, retry=False)
        except ModelArtsError as error:
            step = wait.on_error(error, clock.now())
            if isinstance(step, Outcome):
                raise step.exception() or error from error
            report(f"Will look again in {step:.0f} s: {error}")
            return step
        line = wait.progress(task)
        if line:
            report(line)
        step = wait.on_answer(task, clock.now())
        if not isinstance(step, Outcome):
            return step
        ended = step.exception()
        if ended:
            raise ended
        return task


def _start_body(given: dict[str, Any], what: str, extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the body of a start; what was not given is not in it."""
    from airflow_provider_modelarts.client.requests.base import to_body
    from airflow_provider_modelarts.client.requests.tasks import CreateTaskRequest

    if given["model_id"] is not None:
        validate_id("model_id", given["model_id"])
    elif given["task_type"] == "pre-label":
        raise InvalidRequest("pre-label runs a model: give its model_id.")
    return to_body(CreateTaskRequest, given, what, extra)


def _refusal(what: str, content: Mapping[str, Any], silent: str = "it gives no reason") -> tuple[ModelArtsError, str]:
    """Return the error that the code in an answer stands for, and what the service says to it."""
    code, text = to_text(content.get("error_code")), to_text(content.get("error_msg"))
    rule = rule_for(200, code)
    said = without_queries(text or silent).rstrip(". ")
    return rule.error(f"Cannot {what}: {said}. {rule.advice}", status=200, code=code), said


def _not_started(what: str, answer: object) -> ModelArtsError:
    """Return what an answer without an id means: some refusals come with HTTP 200 (contract 7.3, ``4964``)."""
    refused, said = _refusal(what, answer if isinstance(answer, dict) else {}, "the answer names no task_id")
    code = refused.code
    return refused if refused.certainly_not_executed else _start_unknown(what, said, {"status": 200, "code": code})


def _start_unknown(what: str, why: str, details: dict[str, Any]) -> StartUnknown:
    return StartUnknown(
        f"The reply to a request was lost, which was to {what}: it may have been started. "
        f"List the dataset's labeling tasks before starting another. ({why})",
        **details,
    )
