"""Finds the labeling task that an earlier try of an Airflow task started, so that none is started twice (B1).

The service knows no idempotency key. So a start leaves two traces: a marker in the labeling task's ``config.name``, and
a record of what was about to happen in Airflow's memory of the task. What a new try does follows from the two:

| labeling task of | active | stopping | succeeded | failed, stopped or gone |
| --- | --- | --- | --- | --- |
| an earlier try (a retry) | wait for it | wait it out | its result | start one |
| before a clear, or for other inputs | stop it, wait it out | wait it out | start one | start one |
| somebody else | what ``if_running`` says | wait it out | start one | start one |
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import (
    LabelTaskStopped,
    ModelArtsError,
    NotFound,
    StartUnknown,
    TaskAlreadyRunning,
)
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.client.waiting import ODD_PAUSES
from airflow_provider_modelarts.utils.polling import unreadable
from airflow_provider_modelarts.utils.task_record import LabelTaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.tasks import LabelTask
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.utils.task_record import Phase, RecordStore, TaskIntent

T = TypeVar("T")

IfRunning = Literal["fail", "adopt", "wait"]

# Any marker of this package: a list that shows one comes from a service that echoes names.
_MARKER = re.compile(r"af-[0-9a-f]{16}--?\d+")

# Newest labeling tasks that are remembered as not ours before one is started: a page of the list.
_KNOWN = 100

# Code of a refusal because of labeling tasks of any kind (contract 7.3).
_TOO_MANY = "ModelArts.4409"

# Seconds before each look for a labeling task that is not listed yet: started by a lost request, or barring the way.
_PAUSES = (0.0, 5.0, 10.0, 20.0)


class CandidatesUnclear(StartUnknown):
    """Several labeling tasks may be the one that an earlier try started, and nothing tells which."""

    permanent = True


@dataclass(frozen=True)
class LabelTaskRecovery:
    """One try of a start operator: finds its labeling task, or starts it.

    :param request: arguments of the client's start, without the marker
    :param deadline: epoch seconds at which the try gives up
    :param is_first_try: whether no earlier try can have started anything
    :param if_running: what to do about somebody else's labeling task
    :param cancels: whether a labeling task that a clear left behind is stopped; if not it is adopted
    :param is_ended: whether a user has ended the Airflow task meanwhile
    """

    hook: ModelArtsHook
    memory: RecordStore
    intent: TaskIntent
    request: dict[str, Any]
    deadline: float
    is_first_try: bool
    if_running: IfRunning
    cancels: bool
    is_ended: Callable[[], bool]
    log: Any

    def find(self) -> LabelTaskRecord | None:
        """Return the labeling task to wait for that is there already, or None if one has to be started.

        :raises CandidatesUnclear: if it is there, but cannot be told from others
        """
        return self._found(self.memory.read())

    def find_after_alarm(self) -> LabelTaskRecord | None:
        """Return what this try may leave behind; as :meth:`find`, but without asking Airflow if that can be avoided.

        Airflow's alarm may strike between a question to the supervisor and its answer. Each later question then gets
        the answer to the one before, and what is stored reads as nothing.

        :raises CandidatesUnclear: if it is there, but cannot be told from others
        """
        return self._found(self.memory.last or self.memory.read())

    def _found(self, record: LabelTaskRecord | None) -> LabelTaskRecord | None:
        if record is None:
            return None if self.is_first_try else self._marked(self._list_for_sure(), also_succeeded=True)
        if record.phase == "awaited":
            return None
        record = replace(record, deadline=self.deadline)
        if record.phase == "starting":
            return self._after_lost_start(record, self._list_for_sure(record.dataset_id))
        if not record.ours and not self._is_current(record):
            return None
        return self._judge(self._look(record), record)

    def start(self) -> LabelTaskRecord:
        """Start a labeling task; nothing is started if one with the marker turns up, or if this process is a zombie.

        :return: the labeling task to wait for: the new one, or what bars the way
        :raises StartUnknown: if the reply was lost, and no labeling task is found that can be the one
        :raises TaskAlreadyRunning: if somebody else's is active, and ``if_running`` says to fail
        """
        tasks = self._list(_KNOWN)
        found = self._marked(tasks)
        if found is not None:
            return found
        record = replace(self._record("starting"), known=tuple(str(task.task_id) for task in tasks))
        for pause in _PAUSES:
            _pause(pause)
            self.memory.write(record)
            if self.is_ended():
                raise LabelTaskStopped("A user ended the Airflow task: no labeling task was started.")
            try:
                return self._post(record)
            except TaskAlreadyRunning as error:
                refused = error
            found = self._in_the_way(refused)
            if found is not None:
                return found
            if self.if_running == "fail":
                break
        raise refused

    def _post(self, record: LabelTaskRecord) -> LabelTaskRecord:
        given = self.request["config"] or {}
        config = {**given, "name": "-".join(part for part in (given.get("name"), record.marker) if part)}
        try:
            label_task_id = self.hook.client.tasks.start(**{**self.request, "config": config})
        except StartUnknown as lost:
            return self._found_after(lost, record)
        except ModelArtsError:
            # Certainly refused: without this a later try would take what somebody else starts now for its own.
            self.memory.write(replace(record, phase="awaited", known=()))
            raise
        self.log.info(
            "Started labeling task %s (%s) on dataset %s.", label_task_id, self.request["task_type"], record.dataset_id
        )
        return replace(record, phase="started", label_task_id=label_task_id, known=())

    def _found_after(self, lost: StartUnknown, record: LabelTaskRecord) -> LabelTaskRecord:
        """Return the labeling task that a start has begun whose reply was lost."""
        for pause in _PAUSES:
            _pause(pause)
            try:
                found = self._after_lost_start(record, self._list())
            except CandidatesUnclear:
                raise
            except ModelArtsError as error:
                self.log.warning("Whether a labeling task was started is not known yet. %s", error)
                continue
            if found is not None:
                return found
        raise lost

    def _in_the_way(self, refused: TaskAlreadyRunning) -> LabelTaskRecord | None:
        """Return what is to be waited for, given that the service refused a start; None if nothing active is listed."""
        tasks = self._list()
        found = self._marked(tasks)
        if found is not None:
            return found
        task = next(_active(tasks), None)
        is_of_the_kind = task is not None
        if task is None and refused.code == _TOO_MANY:
            task = next(_active(self._list(kind=None)), None)
        if task is None:
            return None
        other = self._record("awaited", task, ours=False)
        if task.state == TaskState.STOPPING:
            self.log.info("Labeling task %s is being stopped; starting after it.", task.task_id)
            return other
        if self.if_running == "fail":
            raise _named(refused, task, other.dataset_id)
        adopts = self.if_running == "adopt" and is_of_the_kind
        verb = "adopting it" if adopts else "waiting until it is over"
        self.log.info("Labeling task %s of somebody else is active: %s. It is never stopped.", task.task_id, verb)
        return replace(other, phase="started", adopted=True) if adopts else other

    def _after_lost_start(self, record: LabelTaskRecord, tasks: Sequence[LabelTask]) -> LabelTaskRecord | None:
        """Return what a start has begun of which only the intention is recorded."""
        marked = [task for task in tasks if record.marker in _markers(task) and task.task_id not in record.known]
        if marked:
            self._tell_of_several(marked)
            return self._judge(_choose(marked) or marked[0], record)
        if any(_markers(task) for task in tasks):
            return None
        fresh = _fresh(tasks, record.known)
        if not fresh or not self._is_current(record):
            return None
        if len(fresh) > 1:
            names = ", ".join(f"{task.task_id} ({_state(task)})" for task in fresh)
            raise CandidatesUnclear(
                f"A start on dataset {record.dataset_id} was interrupted, and the service does not show by which name "
                f"a labeling task was started: one of {names} may be it. Stop what is not wanted, then clear the task."
            )
        self.log.warning(
            "Labeling task %s must be the one that an earlier attempt started: no other is new. As the service does "
            "not show its name, it is never stopped from here.",
            fresh[0].task_id,
        )
        return self._judge(fresh[0], replace(record, ours=False))

    def _marked(self, tasks: Sequence[LabelTask], *, also_succeeded: bool = False) -> LabelTaskRecord | None:
        """Return the listed labeling task that bears this task's marker and is still of use."""
        current = [task for task in tasks if self.intent.marker in _markers(task)]
        self._tell_of_several([task for task in current if not task.is_terminal])
        task = _choose(current)
        if task is not None and (also_succeeded or not task.is_terminal):
            return self._judge(task, self._record("started", task))
        for task in _active(tasks):
            for marker in filter(self.intent.is_before_a_clear, _markers(task)):
                return self._judge(task, replace(self._record("started", task), marker=marker))
        return None

    def _judge(self, task: LabelTask | None, record: LabelTaskRecord) -> LabelTaskRecord | None:
        """Say what becomes of a labeling task of ours: see the table at the top of this module."""
        if task is None:
            self.log.info("Labeling task %s is gone.", record.label_task_id)
            return None
        record = replace(record, label_task_id=str(task.task_id), known=())
        if task.state == TaskState.STOPPING:
            self.log.info("Labeling task %s is being stopped; deciding when it is over.", task.task_id)
            return replace(record, phase="ending")
        if self._is_current(record):
            if task.is_terminal and task.state != TaskState.SUCCEEDED:
                self.log.info("Labeling task %s of an earlier try has ended (%s).", task.task_id, _state(task))
                return None
            self.log.info("Going on with labeling task %s of an earlier try (%s).", task.task_id, _state(task))
            return replace(record, phase="started")
        if task.is_terminal:
            return None
        return self._leave_behind(record)

    def _leave_behind(self, record: LabelTaskRecord) -> LabelTaskRecord | None:
        """Stop an active labeling task of ours that a clear or other inputs have made useless; or adopt it."""
        if self.cancels:
            record = replace(record, phase="ending")
            self.memory.write(record)
            self.hook.client.tasks.stop(record.dataset_id, record.label_task_id)
            self.log.info(
                "Stopped labeling task %s: the Airflow task was cleared, or its inputs have changed.",
                record.label_task_id,
            )
            return record
        if record.fingerprint == self._fingerprint:
            self.log.info("Going on with labeling task %s from before the clear.", record.label_task_id)
            return replace(record, phase="started", marker=self.intent.marker)
        # Its inputs are not those wanted now, and none can be started beside it.
        return replace(record, phase="ending") if record.dataset_id == self.request["dataset_id"] else None

    def _record(self, phase: Phase, task: LabelTask | None = None, *, ours: bool = True) -> LabelTaskRecord:
        return LabelTaskRecord(
            phase,
            self.request["dataset_id"],
            self.intent.marker,
            self._fingerprint,
            self.deadline,
            label_task_id=str(task.task_id) if task else "",
            ours=ours,
        )

    def _is_current(self, record: LabelTaskRecord) -> bool:
        """Return whether a record is of this intent and these inputs: no clear in between, no reordered mapping."""
        return (record.marker, record.fingerprint) == (self.intent.marker, self._fingerprint)

    @property
    def _fingerprint(self) -> str:
        text = json.dumps(self.request, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _look(self, record: LabelTaskRecord) -> LabelTask | None:
        """Return the labeling task; None if it is gone, which a single answer does not prove."""
        what = f"Labeling task {record.label_task_id} of dataset {record.dataset_id}"
        return self._patiently(
            what, lambda client: client.tasks.get(record.dataset_id, record.label_task_id), may_be_gone=True
        )

    def _patiently(self, what: str, ask: Callable[[ModelArtsClient], T], *, may_be_gone: bool) -> T | None:
        """Return the answer about what an earlier try has started, or may have: a few odd ones in a row are survived.

        :param what: names it, for the error
        :param ask: asks for it
        :param may_be_gone: return None if it is "not found" until the end
        """
        for pause in ODD_PAUSES:
            _pause(pause)
            try:
                return ask(self.hook.client)
            except ModelArtsError as error:
                if not error.permanent:
                    raise
                refused = error
        if may_be_gone and isinstance(refused, NotFound):
            return None
        raise unreadable(what, refused)

    def _list(self, limit: int | None = None, **other: Any) -> list[LabelTask]:
        """Return the labeling tasks of the dataset and kind wanted, or of others, newest first."""
        dataset_id = self.request["dataset_id"]
        kind = other.get("kind", self.request["task_type"])
        return list(islice(self.hook.client.tasks.list(dataset_id, task_type=kind), limit))

    def _list_for_sure(self, dataset_id: str | None = None) -> list[LabelTask]:
        """Return the labeling tasks among which that of an earlier try must be; none if another dataset is gone."""
        wanted = self.request["dataset_id"]
        dataset_id = dataset_id or wanted
        what = f"What an earlier try may have started on dataset {dataset_id}"
        kind = self.request["task_type"]
        found = self._patiently(
            what,
            lambda client: list(client.tasks.list(dataset_id, task_type=kind)),
            may_be_gone=dataset_id != wanted,
        )
        return found or []

    def _tell_of_several(self, tasks: Sequence[LabelTask]) -> None:
        if len(tasks) > 1:
            names = ", ".join(f"{task.task_id} ({_state(task)})" for task in tasks)
            self.log.warning("Several labeling tasks bear the name of this Airflow task: %s; the newest counts.", names)


def _pause(seconds: float) -> None:
    if seconds:
        system_clock.sleep(seconds)


def _markers(task: LabelTask) -> list[str]:
    """Return the markers in a labeling task's names; beside it a name may hold what its author wanted."""
    return [marker for name in (task.name, task.task_name) if name for marker in _MARKER.findall(name)]


def _named(refused: TaskAlreadyRunning, task: LabelTask, dataset_id: str) -> TaskAlreadyRunning:
    return TaskAlreadyRunning(
        f"Labeling task {task.task_id} of somebody else ({_state(task)}) is active on dataset {dataset_id}: wait for "
        f"it (if_running='wait'), adopt it ('adopt'), or stop it. {refused.message}",
        **refused.details(),
    )


def _state(task: LabelTask) -> str:
    return task.state.name.lower() if isinstance(task.state, TaskState) else f"state {task.state}"


def _active(tasks: Iterable[LabelTask]) -> Iterator[LabelTask]:
    return (task for task in tasks if not task.is_terminal)


def _choose(tasks: Sequence[LabelTask]) -> LabelTask | None:
    """Return the newest active labeling task, else the newest that succeeded."""
    succeeded = (task for task in tasks if task.state == TaskState.SUCCEEDED)
    return next(_active(tasks), None) or next(succeeded, None)


def _fresh(tasks: Sequence[LabelTask], known: tuple[str, ...]) -> list[LabelTask]:
    """Return those that were not there before; of a longer list only what stands above all that were known."""
    if len(known) < _KNOWN:
        return [task for task in tasks if task.task_id not in known]
    return list(takewhile(lambda task: task.task_id not in known, tasks))
