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
    to_integer,
    to_name,
    to_number,
    to_object,
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.states import ALGORITHM_TYPES, EventStatus, TaskState, TaskType, is_terminal
from airflow_provider_modelarts.client.validation import validate_choice, validate_id, validate_seconds, wrong
from airflow_provider_modelarts.client.waiting import Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_modelarts.client.transport.transport import Transport

log = logging.getLogger(__name__)

TASK_TYPES = tuple(map(str, TaskType))
_LEAST_OF_HTTP = 100
_COUNTS = ("total_sample_count", "annotated_sample_count", "unconfirmed_sample_count")


def _event_status(value: object) -> EventStatus | str | None:
    return EventStatus.read(to_text(value))


class TaskEvent(Model):
    """A step of a labeling task; steps may have steps of their own."""

    name = Field(to_name)
    ordinal = Field(to_integer)
    level = Field(to_integer)
    status = Field(_event_status)
    create_time = Field(to_integer)
    elapsed_time = Field(to_number)
    error_code = Field(to_text)
    error_message = Field(to_text)

    @property
    def events(self) -> tuple[TaskEvent, ...]:
        """The steps inside."""
        return tuple(map(TaskEvent, to_objects(self.raw.get("events"))))


class LabelTask(Model):
    """A labeling task, from the list or on its own.

    The service leaves out different properties in the two. The ids are filled in from the request; everything else is
    None then.

    :param raw: as of every model
    :param dataset_id: the dataset that was asked about
    :param task_id: the labeling task that was asked about
    """

    task_id = Field(to_name)
    dataset_id = Field(to_name)
    task_name = Field(to_text)
    create_time = Field(to_text)
    status = Field(to_integer)
    progress = Field(to_number)
    code = Field(to_text)
    message = Field(to_text)
    error_code = Field(to_text)
    error_msg = Field(to_text)
    error_detail = Field(to_text)
    elapsed_time = Field(to_number)
    total_sample_count = Field(to_integer)
    annotated_sample_count = Field(to_integer)
    unconfirmed_sample_count = Field(to_integer)
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
    def state(self) -> TaskState | int | None:
        """The state; a number that the contract does not list stays a number."""
        return TaskState.read(self.status)

    @property
    def is_terminal(self) -> bool:
        """Whether it is over; False for states that are not known."""
        return is_terminal(self.state)

    @property
    def name(self) -> str | None:
        """The name given at its start: ``config.name``, where the service echoes it."""
        return to_text(self.config.get("name"))

    @property
    def events(self) -> tuple[TaskEvent, ...]:
        """Its steps; empty while the service reports none."""
        return tuple(map(TaskEvent, to_objects(to_object(self.raw.get("result")).get("events"))))


class Tasks:
    """Calls about labeling tasks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(
        self,
        dataset_id: str,
        task_type: TaskType | str = "auto-label",
        *,
        config: Mapping[str, Any] | None = None,
        collect_key_sample: bool | None = None,
        model_id: str | None = None,
    ) -> str:
        """Start a labeling task (contract 2.1). It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :param task_type: ``auto-label``, ``pre-label`` or ``auto-grouping``
        :param config: SmartTaskConfig of the contract, for example ``{"algorithm_type": "fast"}``
        :param collect_key_sample: also look for hard examples; None leaves it to the service (it does not)
        :param model_id: the model to run; ``pre-label`` needs it
        :return: id of the labeling task
        :raises StartUnknown: if the reply was lost; list the tasks before starting another
        :raises TaskAlreadyRunning: if one of this kind is active on the dataset
        :raises PreconditionFailed: if the dataset does not meet contract 8.1
        :raises InvalidRequest: for values outside the contract, before anything is sent
        """
        body = _start_body(task_type, config, collect_key_sample, model_id)
        what = f"start an {task_type} task" if task_type[0] == "a" else f"start a {task_type} task"
        what = f"{what} on dataset {validate_id('dataset_id', dataset_id)}"
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

    def _state_after(self, error: ModelArtsError, dataset_id: str, task_id: str) -> TaskState | int | None:
        try:
            return self.get(dataset_id, task_id).state
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


def _start_body(
    task_type: str, config: Mapping[str, Any] | None, collect_key_sample: bool | None, model_id: str | None
) -> dict[str, Any]:
    validate_choice("task_type", task_type, TASK_TYPES)
    body: dict[str, Any] = {"task_type": task_type}
    if collect_key_sample is not None:
        if not isinstance(collect_key_sample, bool):
            raise wrong("collect_key_sample", "true or false", collect_key_sample)
        body["collect_key_sample"] = collect_key_sample
    if model_id is not None:
        body["model_id"] = validate_id("model_id", model_id)
    elif task_type == "pre-label":
        raise InvalidRequest("pre-label runs a model: give its model_id.")
    if config is not None:
        if not hasattr(config, "items"):
            raise wrong("config", "an object of settings", config)
        algorithm = config.get("algorithm_type")
        if algorithm is not None:
            validate_choice("algorithm_type", algorithm, ALGORITHM_TYPES)
        body["config"] = dict(config)
    return body


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
