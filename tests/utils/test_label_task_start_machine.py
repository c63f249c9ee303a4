"""Any order of tries, crashes, clears and other people's jobs ends as an undisturbed run does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.utils.task_record import RecordStore
from tests.utils.task_life import ACTIVE, MOMENTS, TaskLife, while_it_stops_what_was_cleared

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

crashes = st.sampled_from([None, None, *MOMENTS.values(), while_it_stops_what_was_cleared])
EXAMPLES = 30


class Disturbed(RuleBasedStateMachine):
    """A start operator's life under everything that may happen to it."""

    emulator: Emulator
    clock: MovedClock

    @initialize(
        has_store=st.booleans(),
        deferrable=st.booleans(),
        if_running=st.sampled_from(["fail", "adopt", "wait"]),
        cancel_on_kill=st.booleans(),
        shown=st.sampled_from(["echo", "echo", "absent", "invented"]),
    )
    def begin(self, has_store: bool, deferrable: bool, if_running: str, cancel_on_kill: bool, shown: str) -> None:
        self.emulator.journal.clear()
        self.emulator.variants.config_name = shown
        self.life = TaskLife(
            self.emulator,
            self.clock,
            self.emulator.load_digits(labeled=100),
            has_store=has_store,
            deferrable=deferrable,
            parameters={"if_running": if_running, "cancel_on_kill": cancel_on_kill},
        )
        self.shows_names = shown == "echo"
        self.begun = self.is_over = False
        self.refused_by_own: list[str] = []
        self.most_starts = 0
        self.emulator.observers.append(self._observe)

    def _observe(self, record: Any) -> None:
        is_start = record.method == "POST" and record.path.endswith("/tasks")
        if is_start and record.status == 501 and self.life.active:
            self.refused_by_own.extend(self.life.active)

    def _run(self, step: Callable[..., Any], crash: Any, event: str | None, after: float) -> None:
        before = len(self.life.ours)
        with pytest.MonkeyPatch.context() as patch:
            if event:
                self._while_it_sleeps(patch, after, getattr(self, event))
            ending = step(crash=crash)
        self.most_starts = max(self.most_starts, len(self.life.ours) - before)
        self.is_over = ending is not None and ending.error is None
        if self.is_over:
            record = RecordStore(self.life.context()).read()
            assert record is not None
            assert record.label_task_id == ending.result
            assert ending.result in (self.life.ours if record.ours else self.life.states)
            assert self.life.states[ending.result] == TaskState.SUCCEEDED

    def _while_it_sleeps(self, patch: pytest.MonkeyPatch, after: float, act: Callable[[], None]) -> None:
        begun, sleep = self.clock.now(), self.clock.sleep
        done: list[bool] = []

        def sleep_and_act(seconds: float) -> None:
            sleep(seconds)
            if not done and self.clock.now() >= begun + after:
                done.append(True)
                act()

        patch.setattr(self.clock, "sleep", sleep_and_act)

    events = st.sampled_from([None, None, "somebody_stops_ours", "somebody_starts_one", "somebody_deletes_ours"])

    @precondition(lambda self: not self.is_over)
    @rule(crash=crashes, event=events, after=st.sampled_from([3.0, 40.0, 400.0]))
    def next_try(self, crash: Any, event: str | None, after: float) -> None:
        step = self.life.retry if self.begun else self.life.attempt
        self.begun = True
        self._run(step, crash, event, after)

    @precondition(lambda self: self.begun)
    @rule(crash=crashes, event=events, after=st.sampled_from([3.0, 40.0, 400.0]))
    def a_user_clears_it(self, crash: Any, event: str | None, after: float) -> None:
        self._run(self.life.clear, crash, event, after)

    @rule(seconds=st.sampled_from([10.0, 100.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def somebody_starts_one(self) -> None:
        if not any(state in ACTIVE for state in self.life.states.values()):
            self.life.somebody_starts()

    @rule()
    def somebody_stops_ours(self) -> None:
        for label_task_id in self.life.active:
            self.life.somebody_stops(label_task_id)

    def somebody_deletes_ours(self) -> None:
        for label_task_id in self.life.ours[-1:]:
            self.emulator.dataset(self.life.dataset_id).forget_task(label_task_id)

    @rule()
    def the_next_one_will_fail(self) -> None:
        self.emulator.dataset(self.life.dataset_id).fail_next_task()

    @invariant()
    def nothing_is_doubled_and_nobody_is_harmed(self) -> None:
        if not hasattr(self, "life"):
            return
        assert not set(self.life.stopped) & self.life.foreign
        assert len(set(self.life.stopped)) == len(self.life.stopped)
        assert len(self.life.active) <= 1
        assert self.most_starts <= 1
        if self.shows_names:
            assert not self.refused_by_own

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        try:
            self._ends_as_undisturbed()
        finally:
            self.emulator.observers.remove(self._observe)

    def _ends_as_undisturbed(self) -> None:
        self.emulator.dataset(self.life.dataset_id)._dataset.failures.clear()
        for step in ("attempt", "retry", "retry", "clear"):
            if self.is_over:
                break
            self.clock.advance(1000)
            self._run(getattr(self.life, step if step != "attempt" or not self.begun else "retry"), None, None, 0)
            self.begun = True
            self.nothing_is_doubled_and_nobody_is_harmed()
        assert self.is_over


def run_machine(emulator: Emulator, clock: MovedClock, examples: int) -> None:
    """Run the machine; the same examples every time. A failing one is shown as it was found: shrinking takes minutes.

    :param examples: how many lives
    """
    emulator.task_seconds = 300
    machine = type("Machine", (Disturbed,), {"emulator": emulator, "clock": clock})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_disturbances_ends_as_none_would(emulator: Emulator, moved_clock: MovedClock) -> None:
    run_machine(emulator, moved_clock, EXAMPLES)
