"""Starts the labeling task of an Airflow task exactly once: a later try finds what an earlier one has started (B1).

The service has no idempotency key. A start therefore leaves two traces: a marker in the labeling task's
``config.name``, and a record in Airflow that is written before the request is sent. A new try compares both with what
the service lists; the table ``_STEPS`` says what it does then. Also here: what happens, and is said, when a start is
refused because another labeling task is active.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow_provider_modelarts.client.errors import (
    LabelTaskStopped,
    ModelArtsError,
    NotFound,
    StartUnknown,
    TaskAlreadyRunning,
)
from airflow_provider_modelarts.client.poll_schedule import ODD_PAUSES
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.utils.polling import SEARCH_PAUSES, paused, unreadable
from airflow_provider_modelarts.utils.task_record import LabelTaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.tasks import LabelTask
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.utils.task_record import Phase, RecordStore, TaskIntent

T = TypeVar("T")

IfRunning = Literal["fail", "adopt", "wait"]
Owner = Literal["this intent", "earlier intent", "somebody else"]
Condition = Literal["active", "stopping", "succeeded", "failed"]
Step = Literal["follow", "wait out", "stop", "if_running", "start"]

# What a try does about a labeling task, by who started it and by its state. "this intent" is an earlier try of the same
# Airflow task; "earlier intent" is the same, before a clear or with other inputs. "failed" includes "stopped".
# "follow": the Airflow task ends as the labeling task does. "wait out": when it is over, the next step is decided.
_STEPS: dict[Owner, dict[Condition, Step]] = {
    "this intent": {"active": "follow", "stopping": "wait out", "succeeded": "follow", "failed": "start"},
    "earlier intent": {"active": "stop", "stopping": "wait out", "succeeded": "start", "failed": "start"},
    "somebody else": {"active": "if_running", "stopping": "wait out", "succeeded": "start", "failed": "start"},
}
_CONDITIONS: dict[object, Condition] = {
    TaskState.STOPPING: "stopping",
    TaskState.SUCCEEDED: "succeeded",
    TaskState.FAILED: "failed",
    TaskState.STOPPED: "failed",
}
"""States that the service may add mean that the labeling task is active."""

_PHASES: dict[Step, Phase] = {"follow": "started", "wait out": "ending"}
_MESSAGES: dict[Step, str] = {
    "follow": "Following labeling task %s of an earlier try (%s).",
    "wait out": "Labeling task %s of an earlier try must end first (%s).",
    "start": "Labeling task %s of an earlier try is over (%s); a new one is started.",
}

# Any marker of this package: a list that contains one comes from a service that returns names.
_MARKER = re.compile(r"af-[0-9a-f]{16}--?\d+")

# How many listed labeling tasks are recorded before a start, to tell the new one apart: one page of the list.
_MOST_KNOWN = 100

# Code of a start that is refused because of labeling tasks of any kind (contract 7.3).
_TOO_MANY = "ModelArts.4409"


class CandidatesUnclear(StartUnknown):
    """Several labeling tasks may be the one that an earlier try started, and the service shows no names."""

    permanent = True


@dataclass(frozen=True)
class LabelTaskStarter:
    """Starts the labeling task of one try of a start operator, or finds the one that is there already.

    :param request: arguments of the client's start, without the marker
    :param deadline: epoch seconds at which the try gives up
    :param is_first_try: whether no earlier try can have started anything
    :param if_running: what to do about somebody else's labeling task
    :param cancel_on_kill: whether a labeling task from before a clear is stopped; if not, the try follows it
    :param is_ended: whether a user has ended the Airflow task
    """

    hook: ModelArtsHook
    store: RecordStore
    intent: TaskIntent
    request: dict[str, Any]
    deadline: float
    is_first_try: bool
    if_running: IfRunning
    cancel_on_kill: bool
    is_ended: Callable[[], bool]
    log: Any

    def find(self, *, after_alarm: bool = False) -> LabelTaskRecord | None:
        """Return the labeling task to wait for if it exists already; None if one has to be started.

        :param after_alarm: use what this process has written last, and ask Airflow only if it wrote nothing. The alarm
            of ``execution_timeout`` may interrupt the main thread between a question to Airflow's supervisor and its
            answer; each later question then gets the previous answer
        :raises CandidatesUnclear: if several may be the one
        """
        record = (self.store.last_written if after_alarm else None) or self.store.read()
        if record is None:
            if self.is_first_try:
                return None
            return self._find_marked(self._list_patiently(self.request["dataset_id"]), also_succeeded=True)
        if record.phase == "awaited":
            return None
        record = replace(record, deadline=self.deadline)
        if record.phase == "starting":
            return self._find_started(record, self._list_patiently(record.dataset_id))
        if not record.ours and not self._is_current(record):
            return None
        task = self._ask_patiently(
            f"Labeling task {record.label_task_id} of dataset {record.dataset_id}",
            lambda client: client.tasks.get(record.dataset_id, record.label_task_id),
            none_if_not_found=True,
        )
        if task is None:
            self.log.info("Labeling task %s does not exist any more.", record.label_task_id)
            return None
        return self._decide(task, record)

    def start(self) -> LabelTaskRecord:
        """Start a labeling task, unless one with the marker is listed.

        :return: the labeling task to wait for: the new one, or one that is in the way
        :raises LabelTaskStopped: if a user has ended the Airflow task; nothing is started
        :raises StartUnknown: if the reply was lost and no listed labeling task can be the one
        :raises TaskAlreadyRunning: if somebody else's is active, and ``if_running`` is ``fail``
        """
        tasks = self._list(_MOST_KNOWN)
        found = self._find_marked(tasks)
        if found is not None:
            return found
        record = replace(self.make_record("starting"), known=tuple(str(task.task_id) for task in tasks))
        for _ in paused(SEARCH_PAUSES):
            self.store.write(record)  # fails in a zombie, which then starts nothing
            if self.is_ended():
                raise LabelTaskStopped("A user ended the Airflow task: no labeling task was started.")
            try:
                return self._post(record)
            except TaskAlreadyRunning as error:
                refusal = error
            found = self._find_in_the_way(refusal)
            if found is not None:
                return found
            if self.if_running == "fail":
                break
        raise refusal

    def make_record(self, phase: Phase, task: LabelTask | None = None, *, ours: bool = True) -> LabelTaskRecord:
        """Return a record of this try."""
        return LabelTaskRecord(
            phase,
            self.request["dataset_id"],
            self.intent.marker,
            self._fingerprint,
            self.deadline,
            label_task_id=str(task.task_id) if task else "",
            ours=ours,
        )

    def _post(self, record: LabelTaskRecord) -> LabelTaskRecord:
        """Send the start, once; after a lost reply find what it has started."""
        given = self.request["config"] or {}
        config = {**given, "name": "-".join(part for part in (given.get("name"), record.marker) if part)}
        try:
            label_task_id = self.hook.client.tasks.start(**{**self.request, "config": config})
        except StartUnknown as lost:
            return self._find_after_lost_reply(lost, record)
        except ModelArtsError:
            # Nothing was started. Without this record a later try could take somebody else's next one for its own.
            self.store.write(replace(record, phase="awaited", known=()))
            raise
        self.log.info(
            "Started labeling task %s (%s) on dataset %s.", label_task_id, self.request["task_type"], record.dataset_id
        )
        return replace(record, phase="started", label_task_id=label_task_id, known=())

    def _find_after_lost_reply(self, lost: StartUnknown, record: LabelTaskRecord) -> LabelTaskRecord:
        for _ in paused(SEARCH_PAUSES):
            try:
                found = self._find_started(record, self._list())
            except CandidatesUnclear:
                raise
            except ModelArtsError as error:
                self.log.warning("It is not known yet whether a labeling task was started. %s", error)
                continue
            if found is not None:
                return found
        raise lost

    def _find_in_the_way(self, refusal: TaskAlreadyRunning) -> LabelTaskRecord | None:
        """Return what to wait for after a refused start; None if no active labeling task is listed."""
        tasks = self._list()
        found = self._find_marked(tasks)
        if found is not None:
            return found
        task = next(_active(tasks), None)
        can_be_adopted = task is not None
        if task is None and refusal.code == _TOO_MANY:
            task = next(_active(self._list(every_kind=True)), None)
        if task is None:
            return None
        record = self.make_record("awaited", task, ours=False)
        if _STEPS["somebody else"][_condition(task)] == "wait out":
            self.log.info("Labeling task %s is being stopped; starting after it.", task.task_id)
            return record
        if self.if_running == "fail":
            raise TaskAlreadyRunning(
                f"Labeling task {task.task_id} of somebody else ({_state(task)}) is already running on dataset "
                f"{record.dataset_id}: wait for it (if_running='wait'), adopt it ('adopt'), or stop it. "
                f"{refusal.message}",
                **refusal.details(),
            )
        adopts = self.if_running == "adopt" and can_be_adopted
        verb = "adopting it" if adopts else "waiting until it is over"
        self.log.info("Labeling task %s of somebody else is active: %s. It is never stopped.", task.task_id, verb)
        return replace(record, phase="started", adopted=True) if adopts else record

    def _find_started(self, record: LabelTaskRecord, tasks: Sequence[LabelTask]) -> LabelTaskRecord | None:
        """Return what a start in phase ``starting`` has started: by its marker, or else by elimination."""
        marked = [task for task in tasks if record.marker in _markers(task) and task.task_id not in record.known]
        if marked:
            self._warn_of_several(marked)
            return self._decide(_newest_useful(marked) or marked[0], record)
        if any(_markers(task) for task in tasks):
            return None
        new = _new_tasks(tasks, record.known)
        if not new or not self._is_current(record):
            return None
        if len(new) > 1:
            raise CandidatesUnclear(
                f"A start on dataset {record.dataset_id} was interrupted, and the service does not show by which name "
                f"a labeling task was started: one of {_names(new)} may be it. Stop what is not wanted, then clear the "
                "task."
            )
        self.log.warning(
            "Labeling task %s must be the one that an earlier try started: no other is new. As the service does not "
            "show its name, it is never stopped from here.",
            new[0].task_id,
        )
        return self._decide(new[0], replace(record, ours=False))

    def _find_marked(self, tasks: Sequence[LabelTask], *, also_succeeded: bool = False) -> LabelTaskRecord | None:
        """Return the listed labeling task that has a marker of this Airflow task and still matters."""
        marked = [task for task in tasks if self.intent.marker in _markers(task)]
        self._warn_of_several(list(_active(marked)))
        task = _newest_useful(marked)
        if task is not None and (also_succeeded or not task.is_terminal):
            return self._decide(task, self.make_record("started", task))
        for task in _active(tasks):
            for marker in filter(self.intent.is_before_a_clear, _markers(task)):
                return self._decide(task, replace(self.make_record("started", task), marker=marker))
        return None

    def _decide(self, task: LabelTask, record: LabelTaskRecord) -> LabelTaskRecord | None:
        """Return what to wait for, given a labeling task of this Airflow task; None if one has to be started."""
        record = replace(record, label_task_id=str(task.task_id), known=())
        step = _STEPS["this intent" if self._is_current(record) else "earlier intent"][_condition(task)]
        if step == "stop":
            return self._leave_behind(record)
        self.log.info(_MESSAGES[step], task.task_id, _state(task))
        return replace(record, phase=_PHASES[step]) if step in _PHASES else None

    def _leave_behind(self, record: LabelTaskRecord) -> LabelTaskRecord | None:
        """Stop an active labeling task from before a clear or for other inputs; without ``cancel_on_kill`` use it."""
        if self.cancel_on_kill:
            record = replace(record, phase="ending")
            self.store.write(record)
            self.hook.client.tasks.stop(record.dataset_id, record.label_task_id)
            self.log.info(
                "Stopped labeling task %s: the Airflow task was cleared, or its inputs have changed.",
                record.label_task_id,
            )
            return record
        if record.fingerprint == self._fingerprint:
            self.log.info("Following labeling task %s from before the clear.", record.label_task_id)
            return replace(record, phase="started", marker=self.intent.marker)
        # It has other inputs, and the service runs one labeling task on a dataset at a time.
        return replace(record, phase="ending") if record.dataset_id == self.request["dataset_id"] else None

    def _is_current(self, record: LabelTaskRecord) -> bool:
        """Return whether a record has this intent and these inputs: no clear in between, no reordered mapping."""
        return (record.marker, record.fingerprint) == (self.intent.marker, self._fingerprint)

    @property
    def _fingerprint(self) -> str:
        text = json.dumps(self.request, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _list(self, limit: int | None = None, *, every_kind: bool = False) -> list[LabelTask]:
        """Return the labeling tasks of the dataset, newest first; only those of the wanted kind, or all."""
        dataset_id = self.request["dataset_id"]
        kind = None if every_kind else self.request["task_type"]
        return list(islice(self.hook.client.tasks.list(dataset_id, task_type=kind), limit))

    def _list_patiently(self, dataset_id: str) -> list[LabelTask]:
        """Return the labeling tasks that may include an earlier try's; none if an earlier dataset does not exist."""
        kind = self.request["task_type"]
        found = self._ask_patiently(
            f"What an earlier try may have started on dataset {dataset_id}",
            lambda client: list(client.tasks.list(dataset_id, task_type=kind)),
            none_if_not_found=dataset_id != self.request["dataset_id"],
        )
        return found or []

    def _ask_patiently(self, what: str, ask: Callable[[ModelArtsClient], T], *, none_if_not_found: bool) -> T | None:
        """Return the answer of the service. One refusal proves nothing, so several in a row are needed to give up."""
        for _ in paused(ODD_PAUSES):
            try:
                return ask(self.hook.client)
            except ModelArtsError as error:
                if not error.permanent:
                    raise
                refusal = error
        if none_if_not_found and isinstance(refusal, NotFound):
            return None
        raise unreadable(what, refusal)

    def _warn_of_several(self, tasks: Sequence[LabelTask]) -> None:
        if len(tasks) > 1:
            names = _names(tasks)
            self.log.warning("Several labeling tasks have the name of this Airflow task: %s; the newest counts.", names)


def _condition(task: LabelTask) -> Condition:
    return _CONDITIONS.get(task.status, "active")


def _state(task: LabelTask) -> str:
    state = task.status
    return state.name.lower() if state is not None and state.is_known else f"state {state}"


def _names(tasks: Iterable[LabelTask]) -> str:
    return ", ".join(f"{task.task_id} ({_state(task)})" for task in tasks)


def _markers(task: LabelTask) -> list[str]:
    """Return the markers in a labeling task's names; a name may also contain what its author chose."""
    return [marker for name in (task.name, task.task_name) if name for marker in _MARKER.findall(name)]


def _active(tasks: Iterable[LabelTask]) -> Iterator[LabelTask]:
    return (task for task in tasks if not task.is_terminal)


def _newest_useful(tasks: Sequence[LabelTask]) -> LabelTask | None:
    """Return the newest active labeling task, else the newest that succeeded."""
    succeeded = (task for task in tasks if task.status == TaskState.SUCCEEDED)
    return next(_active(tasks), None) or next(succeeded, None)


def _new_tasks(tasks: Sequence[LabelTask], known: tuple[str, ...]) -> list[LabelTask]:
    """Return those that are not known; if the known ones are only the list's first page, those above them all."""
    if len(known) < _MOST_KNOWN:
        return [task for task in tasks if task.task_id not in known]
    return list(takewhile(lambda task: task.task_id not in known, tasks))
