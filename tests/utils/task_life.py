"""One Airflow task through its tries: crashes at chosen moments, retries, clears, and other people's jobs beside it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.resources.tasks import Tasks
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.utils.task_record import RecordStore
from tests.support.operator_driver import Ending, StandInStore, StandInTaskInstance, context_of, drive_try, moment

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

RETRIES = 3
ACTIVE = frozenset({-1, 0, 1, 4})

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
with_and_without_store = pytest.mark.parametrize("has_store", [True, False], ids=["store", "no store"])


Moment = Callable[[pytest.MonkeyPatch], None]
"""Lets a try die at some moment, by a patch that lasts for that try."""


class Crash(BaseException):
    """The process is gone from here on; nothing of it may handle that."""


# --- moments at which a try may die


def _dies(owner: type, name: str, *, done: bool, if_: Callable[..., bool] = lambda *_: True) -> Moment:
    """Return a moment: just before a call of ``owner`` that ``if_`` chooses, or just after it if that is ``done``."""

    def patch_in(patch: pytest.MonkeyPatch) -> None:
        call = getattr(owner, name)

        def call_or_die(*arguments: Any, **parameters: Any) -> Any:
            dies = if_(*arguments)
            if dies and not done:
                raise Crash
            result = call(*arguments, **parameters)
            if dies:
                raise Crash
            return result

        patch.setattr(owner, name, call_or_die)

    return patch_in


def _dies_at_record(phase: str, *, done: bool) -> Moment:
    return _dies(RecordStore, "write", done=done, if_=lambda _, record: record.phase == phase)


before_the_reply = _dies(Tasks, "start", done=True)
before_it_is_stored = _dies_at_record("started", done=False)
while_it_stops_what_was_cleared = _dies_at_record("ending", done=True)
before_the_result = _dies(ModelArtsStartLabelTaskOperator, "_conclude", done=False)

MOMENTS = {
    "before_the_record": _dies_at_record("starting", done=False),
    "before_the_start": _dies_at_record("starting", done=True),
    "before_the_reply": before_the_reply,
    "before_it_is_stored": before_it_is_stored,
    "before_it_is_deferred": _dies_at_record("started", done=True),
    "before_the_result": before_the_result,
}


@dataclass
class TaskLife:
    """A start operator's life in one run of a DAG.

    :param has_store: whether Airflow keeps a state store for the task, as it does from 3.3 on
    :param parameters: of the operator
    """

    emulator: Emulator
    clock: MovedClock
    dataset_id: str
    has_store: bool = True
    deferrable: bool = True
    run_id: str = "run"
    map_index: int = -1
    parameters: dict[str, Any] = field(default_factory=dict)

    foreign: set[str] = field(default_factory=set)
    """Ids of labeling tasks that others have started."""
    by_people: set[int] = field(default_factory=set)
    """Numbers of the stops in the journal that people have sent."""

    def __post_init__(self) -> None:
        self.run_started = moment(self.clock)
        self.store = StandInStore() if self.has_store else None
        self.clear_number = 0
        self.ti = StandInTaskInstance(
            moment(self.clock), run_id=self.run_id, task_id="start", map_index=self.map_index, max_tries=RETRIES
        )

    # --- what Airflow and its user do

    def attempt(self, *, crash: Moment | None = None, **parameters: Any) -> Ending | None:
        """Run one try; return how it ended, None if it crashed."""
        given = {"dataset_id": self.dataset_id, "wait_for_completion": True, "deferrable": self.deferrable}
        operator = ModelArtsStartLabelTaskOperator(task_id="start", **{**given, **self.parameters, **parameters})
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Crash):
            if crash is not None:
                crash(patch)
            return drive_try(operator, self.clock, self.ti, **self._run)
        return None

    def retry(self, **parameters: Any) -> Ending | None:
        """Run the next try, as after a failure or a lost worker."""
        self._next_try()
        return self.attempt(**parameters)

    def clear(self, *, run_was_over: bool = False, **parameters: Any) -> Ending | None:
        """Run the next try, as after a user has cleared the task.

        :param run_was_over: Airflow restarts a finished run
        """
        self._next_try()
        self.ti.max_tries = self.ti.try_number - 1 + RETRIES
        self.clear_number += 1
        if run_was_over:
            self.run_started = moment(self.clock)
        return self.attempt(**parameters)

    def context(self) -> Any:
        """Return the context of the current try."""
        return context_of(self.ti, **self._run)

    @property
    def _run(self) -> dict[str, Any]:
        """What Airflow's context says of the run."""
        return {"run_started": self.run_started, "store": self.store, "clear_number": self.clear_number}

    def _next_try(self) -> None:
        # Airflow deletes a task's XComs when a new try begins.
        self.ti = replace(self.ti, start_date=moment(self.clock), try_number=self.ti.try_number + 1, xcoms={})

    # --- what others do

    def somebody_starts(self, **parameters: Any) -> str:
        """Start a labeling task as a person at the console would."""
        label_task_id = ModelArtsHook().client.tasks.start(self.dataset_id, **parameters)
        self.foreign.add(label_task_id)
        return label_task_id

    def somebody_stops(self, label_task_id: str) -> None:
        """Stop one as a person would; unlike other stops it is not counted."""
        before = len(self.emulator.journal)
        ModelArtsHook().client.tasks.stop(self.dataset_id, label_task_id)
        self.by_people.update(range(before, len(self.emulator.journal)))

    # --- what became of it

    @property
    def states(self) -> dict[str, int]:
        """Status by id of all labeling tasks of the dataset."""
        return self.emulator.dataset(self.dataset_id).tasks

    @property
    def ours(self) -> list[str]:
        """Ids of what this life has started, oldest first."""
        return [label_task_id for label_task_id in self.states if label_task_id not in self.foreign]

    @property
    def active(self) -> list[str]:
        """Those of ours that are active."""
        return [label_task_id for label_task_id in self.ours if self.states[label_task_id] in ACTIVE]

    @property
    def stopped(self) -> list[str]:
        """Ids that a stop was sent for, once for each request."""
        return [
            record.path.split("/")[-2]
            for number, record in enumerate(self.emulator.journal)
            if record.path.endswith("/stop") and number not in self.by_people
        ]

    @property
    def names(self) -> list[str]:
        """The names that were sent, in the order of the starts."""
        starts = self.emulator.journal.select("POST", match=lambda record: record.path.endswith("/tasks"))
        return [(json.loads(record.body).get("config") or {}).get("name", "") for record in starts]

    def is_over_as_undisturbed(self, ending: Ending | None) -> None:
        """Assert that the task returned the only labeling task of its own that succeeded."""
        assert ending is not None
        assert ending.error is None
        succeeded = [one for one in self.ours if self.states[one] == TaskState.SUCCEEDED]
        assert [ending.result] == succeeded[-1:]
        assert self.active == []
        assert not set(self.stopped) & self.foreign
