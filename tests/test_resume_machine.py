"""Any order of tries, crashes, clears and other people's jobs, and wrong versions of resuming that must not pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
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

from airflow_provider_modelarts import resume
from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.hooks.task_memory import Intent, Memory, Record
from airflow_provider_modelarts.operators import _kill
from airflow_provider_modelarts.operators import label_task as label_task_operator
from airflow_provider_modelarts.resume import Resumption
from airflow_provider_modelarts.triggers import label_task as label_task_trigger
from tests import test_resume as tests
from tests.operators import test_label_task as kills
from tests.support.tries import ACTIVE, MOMENTS, Life, while_it_stops_what_was_cleared
from tests.triggers import test_label_task as triggers

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

begin = tests.begin
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
        self.life = Life(
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
            record = Memory(self.life.context()).read()
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


# --- wrong versions, each with the test that must fail under it


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


def no_state_check_in_on_kill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_kill, "ENDED_OR_CLEARED_STATES", _Everything())
    patch.setattr(label_task_trigger, "ENDED_STATES", _Everything())


def marker_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resume, "_markers", lambda _: [])


def store_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Memory, "read", lambda _: None)


def clear_treated_as_retry(patch: pytest.MonkeyPatch) -> None:
    of = Intent.of
    patch.setattr(Intent, "of", classmethod(lambda _, context: of(context)._replace(max_tries=0)))


def foreign_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Record, "may_be_stopped", property(lambda record: record.phase == "started"))


def found_by_elimination_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resume, "replace", lambda record, **changes: replace(record, **{**changes, "ours": True}))


def what_is_being_stopped_is_taken_for_the_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resume, "TaskState", SimpleNamespace(**{**TaskState.__members__, "STOPPING": None}))


def inputs_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Resumption, "_fingerprint", property(lambda _: ""))


def zombies_not_fenced_off(patch: pytest.MonkeyPatch) -> None:
    write = Memory.write

    def write_or_not(memory: Memory, record: Record) -> None:
        try:
            write(memory, record)
        except OSError:
            return

    patch.setattr(Memory, "write", write_or_not)


def names_of_others_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resume, "any", lambda _: False, raising=False)


def what_was_there_before_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resume, "_fresh", lambda tasks, _: list(tasks))


def a_lost_start_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Resumption, "_after_lost_start", lambda *_: None)


def deadline_counted_anew(patch: pytest.MonkeyPatch) -> None:
    start_operator = label_task_operator.ModelArtsStartLabelTaskOperator
    build = start_operator._resumption
    patch.setattr(
        start_operator,
        "_resumption",
        lambda self, context, _: build(self, context, system_clock.now() + self.timeout),
    )


Mutant = Callable[[pytest.MonkeyPatch], None]
after_a_crash = partial(tests.test_after_a_crash_the_next_try_ends_as_if_nothing_had_happened, deferrable=False)
clear = partial(
    tests.test_a_clear_stops_the_old_job_once_and_starts_one, moment="before_it_is_deferred", has_store=True
)
MUTANTS: list[tuple[Mutant, Callable[..., None]]] = [
    (marker_ignored, partial(after_a_crash, moment="before_the_reply", has_store=False)),
    (marker_ignored, partial(clear, has_store=False, deferrable=False)),
    (store_ignored, partial(tests.test_an_adopted_job_is_found_again_after_a_crash, crash="before_the_result")),
    (
        store_ignored,
        partial(
            tests.test_a_service_that_shows_no_names_is_no_hindrance, moment="before_it_is_deferred", shown="absent"
        ),
    ),
    (clear_treated_as_retry, partial(clear, deferrable=True)),
    (clear_treated_as_retry, partial(tests.test_a_clear_after_success_starts_anew, has_store=False)),
    (
        foreign_stopped,
        partial(
            tests.test_the_deadline_counts_from_the_start_and_stops_nobody_elses_job,
            has_store=True,
            deferrable=False,
            if_running="adopt",
        ),
    ),
    (foreign_stopped, tests.test_airflows_own_deadline_stops_nobody_elses_job),
    (found_by_elimination_stopped, tests.test_what_was_found_by_elimination_alone_is_never_stopped),
    (
        what_is_being_stopped_is_taken_for_the_own,
        partial(
            tests.test_a_retry_after_the_deadline_waits_out_what_is_being_stopped, has_store=True, deferrable=False
        ),
    ),
    (
        inputs_ignored,
        partial(tests.test_a_mapped_task_that_got_anothers_input_leaves_that_ones_result_alone, step="retry"),
    ),
    (inputs_ignored, partial(tests.test_a_retry_with_other_inputs_does_not_take_the_old_job, cancel_on_kill=True)),
    (zombies_not_fenced_off, tests.test_a_zombie_starts_nothing),
    (names_of_others_ignored, tests.test_what_somebody_else_starts_after_a_crash_is_not_taken_for_ours),
    (
        what_was_there_before_is_forgotten,
        partial(tests.test_a_service_that_shows_no_names_is_no_hindrance, moment="before_the_reply", shown="absent"),
    ),
    (
        a_lost_start_is_sent_again,
        partial(tests.test_a_service_that_shows_no_names_is_no_hindrance, moment="before_the_reply", shown="invented"),
    ),
    (deadline_counted_anew, partial(tests.test_the_deadline_covers_waiting_and_the_own_job, deferrable=True)),
]


def _fails(test: Callable[..., None], *arguments: Any, **fixtures: Any) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(*arguments, **fixtures)


@pytest.mark.parametrize(("mutant", "test"), MUTANTS, ids=lambda one: getattr(one, "__name__", "caught"))
def test_a_wrong_version_is_caught(begin: Any, mutant: Mutant, test: Callable[..., None]) -> None:
    wants = inspect.signature(test).parameters
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        _fails(test, begin, **({"monkeypatch": patch} if "monkeypatch" in wants else {}))


def test_on_kill_without_a_look_at_the_state_is_caught(
    emulator: Emulator, moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_state_check_in_on_kill(monkeypatch)
    evicted = kills.test_an_evicted_worker_stops_nothing_and_the_task_goes_on
    _fails(evicted, kills.Scene(emulator, moved_clock), monkeypatch, "running")
    dataset_id = emulator.load_digits(labeled=100)
    label_task_id = ModelArtsHook().client.tasks.start(dataset_id)
    killed = triggers.Killed(monkeypatch, (dataset_id, label_task_id))
    emulator.journal.clear()
    _fails(triggers.test_a_handover_or_a_late_call_after_a_clear_stops_nothing, emulator, killed, "deferred")
