"""The tries of one task: retries, clears, and processes that die at a chosen moment."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.operator_driver import Ending, StandInStore, StandInTaskInstance, drive_try, moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow.sdk import BaseOperator

    from tests.support.clock import MovedClock

    Moment = Callable[[pytest.MonkeyPatch], None]
    """A moment to die: it patches where the process ends."""


class Crash(BaseException):
    """The process is gone from here on; nothing of it may handle that."""


def after(owner: type, name: str) -> Moment:
    """Return the moment when a call was carried out, and its answer is not known."""

    def patch_in(patch: pytest.MonkeyPatch) -> None:
        call = getattr(owner, name)

        def call_and_die(*arguments: Any, **parameters: Any) -> Any:
            call(*arguments, **parameters)
            raise Crash

        patch.setattr(owner, name, call_and_die)

    return patch_in


def before(owner: type, name: str) -> Moment:
    """Return the moment before a call."""

    def die(*_: Any, **__: Any) -> Any:
        raise Crash

    return lambda patch: patch.setattr(owner, name, die)


def run_try(
    operator: BaseOperator, clock: MovedClock, ti: StandInTaskInstance, *, crash: Moment | None = None, **given: Any
) -> Ending | None:
    """Run one try; return how it ended, None if its process died.

    :param given: what ``drive_try`` takes besides
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Crash):
        if crash is not None:
            crash(patch)
        return drive_try(operator, clock, ti, **given)
    return None


@dataclass
class TaskTries:
    """The tries of one task.

    :param clock: stands at the start of the DAG run
    :param store: outlives the tries; None: Airflow keeps nothing
    :param pause: seconds before each try
    """

    clock: MovedClock
    store: StandInStore | None = field(default_factory=StandInStore)
    pause: float = 0.0
    ti: StandInTaskInstance | None = None
    clear_number: int = 0
    run_started: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.run_started = moment(self.clock)

    def attempt(self, operator: BaseOperator, *, crash: Moment | None = None) -> Ending | None:
        """Run the next try; return how it ended, None if its process died."""
        self.clock.sleep(self.pause)
        start = moment(self.clock)
        if self.ti is None:
            self.ti = StandInTaskInstance(start, task_id=operator.task_id)
        else:
            self.ti = replace(self.ti, start_date=start, try_number=self.ti.try_number + 1, xcoms={})
        return run_try(
            operator,
            self.clock,
            self.ti,
            crash=crash,
            run_started=self.run_started,
            store=self.store,
            clear_number=self.clear_number,
        )

    def run(self, operator: BaseOperator) -> Ending:
        """Run the next try, whose process lives."""
        ending = self.attempt(operator)
        assert ending is not None
        return ending

    def clear(self, operator: BaseOperator) -> Ending:
        """Run the next try, as after a user has cleared the task."""
        assert self.ti is not None
        self.ti = replace(self.ti, max_tries=self.ti.try_number + 1)
        self.clear_number += 1
        return self.run(operator)
