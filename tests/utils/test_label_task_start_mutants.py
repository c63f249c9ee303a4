"""Wrong versions of the start, each with the test that must fail under it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators import _on_kill
from airflow_provider_modelarts.operators import label_task as label_task_operator
from airflow_provider_modelarts.triggers import label_task as label_task_trigger
from airflow_provider_modelarts.utils import label_task_start as module
from airflow_provider_modelarts.utils.label_task_start import LabelTaskStarter
from airflow_provider_modelarts.utils.task_record import LabelTaskRecord, RecordStore, TaskIntent
from tests.operators import test_label_task_ends as kills
from tests.operators.runners import StartRunner
from tests.support.operator_driver import TaskStates
from tests.triggers import test_label_task as triggers
from tests.utils import test_label_task_start as tests
from tests.utils import test_label_task_start_foreign as others

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


def no_state_check_in_on_kill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_on_kill, "ENDED_OR_CLEARED_STATES", _Everything())
    patch.setattr(label_task_trigger, "ENDED_STATES", _Everything())


def marker_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_markers", lambda _: [])


def store_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RecordStore, "read", lambda _: None)


def clear_treated_as_retry(patch: pytest.MonkeyPatch) -> None:
    of = TaskIntent.of
    patch.setattr(TaskIntent, "of", classmethod(lambda _, context: of(context)._replace(max_tries=0)))


def foreign_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LabelTaskRecord, "may_be_stopped", property(lambda record: record.phase == "started"))


def found_by_elimination_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "replace", lambda record, **changes: replace(record, **{**changes, "ours": True}))


def what_is_being_stopped_is_taken_for_the_own(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(module._STEPS["this intent"], "stopping", "follow")


def inputs_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LabelTaskStarter, "_fingerprint", property(lambda _: ""))


def zombies_not_fenced_off(patch: pytest.MonkeyPatch) -> None:
    write = RecordStore.write

    def write_or_not(store: RecordStore, record: LabelTaskRecord) -> None:
        try:
            write(store, record)
        except OSError:
            return

    patch.setattr(RecordStore, "write", write_or_not)


def names_of_others_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "any", lambda _: False, raising=False)


def what_was_there_before_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_new_tasks", lambda tasks, _: list(tasks))


def a_lost_start_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LabelTaskStarter, "_find_started", lambda *_: None)


def deadline_counted_anew(patch: pytest.MonkeyPatch) -> None:
    start_operator = label_task_operator.ModelArtsStartLabelTaskOperator
    build = start_operator._make_starter
    patch.setattr(
        start_operator,
        "_make_starter",
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
    (store_ignored, partial(others.test_an_adopted_job_is_found_again_after_a_crash, crash="before_the_result")),
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
            others.test_the_deadline_counts_from_the_start_and_stops_nobody_elses_job,
            has_store=True,
            deferrable=False,
            if_running="adopt",
        ),
    ),
    (foreign_stopped, others.test_airflows_own_deadline_stops_nobody_elses_job),
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
    (deadline_counted_anew, partial(others.test_the_deadline_covers_waiting_and_the_own_job, deferrable=True)),
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
    _fails(evicted, StartRunner(emulator, moved_clock), monkeypatch, "running")
    dataset_id = emulator.load_digits(labeled=100)
    label_task_id = ModelArtsHook().client.tasks.start(dataset_id)
    killed = triggers.Killed(TaskStates(monkeypatch), (dataset_id, label_task_id))
    emulator.journal.clear()
    _fails(triggers.test_a_handover_or_a_late_call_after_a_clear_stops_nothing, emulator, killed, "deferred")
