"""Retries and clears of a confirmation: a retry goes on with the plan of its task, a clear makes another one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from tests.operators.runners import WRITE, check_sums
from tests.support.dag_runner import run_operator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.operators.runners import ConfirmRunner
    from tests.support.clock import MovedClock

POLICY = {"min_score": 0.9}
EVERYTHING = {"hard_examples": "confirm", "max_samples": 250, "min_samples": 250}


def cut_off(runner: ConfirmRunner) -> Any:
    """Let the try die after its first write: from then on every answer is an error that passes by itself."""
    return runner.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")


def test_a_retry_goes_on_with_the_very_same_plan_and_guards_judge_the_whole(runner: ConfirmRunner) -> None:
    fault = cut_off(runner)
    first = runner.confirm(policy=EVERYTHING, ledger_uri=runner.ledger_uri, concurrency=1)
    assert type(first.error) is AirflowFailException
    assert fault.fired
    (plan,) = runner.plans()
    content = plan.read_bytes()
    confirmed = runner.dataset.annotated
    assert 0 < confirmed < 250

    runner.emulator.faults.clear()
    second = runner.confirm(policy=EVERYTHING, ledger_uri=runner.ledger_uri, try_number=2)
    assert second.error is None, "min_samples counts the whole plan, not the rest"
    check_sums(second.result)
    assert runner.plans() == [plan]
    assert plan.read_bytes() == content
    assert second.result["plan_uri"] == first.xcoms["return_value"]["plan_uri"] == f"file://{plan}"
    assert runner.dataset.annotated == 250
    assert len({header.plan_digest for header in runner.headers()}) == 1
    assert [header.try_number for header in runner.headers()] == [1, 2]
    runner.verify()


@pytest.mark.parametrize(
    ("place", "changed", "named"),
    [
        ("ledger", {"policy": {"min_score": 0.1, "min_samples": 1}}, "policy"),
        ("ledger", {"policy": None}, "policy"),
        ("ledger", {"low_score": 0.5}, "filters"),
        ("ledger", {"first_label": "daisy"}, "filters and first_label"),
        ("logs", {"policy": {"min_score": 0.1, "min_samples": 1}}, "policy"),
        ("logs", {"low_score": 0.5}, "filters"),
    ],
    ids=str,
)
def test_a_retry_refuses_its_plan_if_something_else_is_asked_for_now(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, place: str, changed: dict[str, Any], named: str
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(runner.folder / "logs"))
    policy = {"min_samples": 1, "hard_examples": "confirm"}
    given: dict[str, Any] = {"policy": policy, "ledger_uri": runner.ledger_uri if place == "ledger" else None}
    cut_off(runner)
    runner.confirm(**given)
    runner.emulator.faults.clear()
    writes = runner.writes
    ending = runner.confirm(try_number=2, **{**given, **changed})
    assert type(ending.error) is AirflowFailException
    assert f"made for another {named} than asked for now" in str(ending.error)
    assert "clear the task" in str(ending.error)
    assert runner.writes == writes
    assert runner.confirm(try_number=2, max_tries=4, **{**given, **changed}).error is None


def test_a_clear_makes_a_new_plan(runner: ConfirmRunner) -> None:
    cut_off(runner)
    runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    runner.emulator.faults.clear()
    ending = runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri, try_number=2, max_tries=4)
    assert ending.error is None
    old, new = (read_plan(path) for path in runner.plans())
    assert {old.uri, new.uri} == {str(path) for path in runner.plans()}
    assert len(new) != len(old), "what the first try confirmed is no proposal any more"
    runner.verify()


def test_the_tasks_of_a_run_do_not_share_plans(runner: ConfirmRunner) -> None:
    names = list(runner.plan().result["by_label"])[:2]
    for number, name in enumerate(names):
        operator = ModelArtsConfirmSamplesOperator(
            task_id=f"confirm_{number}", dataset_id=runner.dataset_id, label_name=name, ledger_uri=runner.ledger_uri
        )
        assert runner.run(operator, 1, 0).error is None
    assert len(runner.plans()) == 2
    runner.verify()


def test_a_guard_without_a_ledger_keeps_its_plan_beside_the_logs(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(runner.folder / "logs"))
    cut_off(runner)
    runner.confirm(policy=EVERYTHING)
    runner.emulator.faults.clear()
    ending = runner.confirm(policy=EVERYTHING, try_number=2)
    assert ending.error is None
    (plan,) = runner.plans()
    assert plan.is_relative_to(runner.folder / "logs" / "modelarts")
    assert ending.result["plan_uri"] == f"file://{plan}"
    assert ending.result["ledger_uri"] is None
    assert runner.dataset.annotated == 250


def test_a_part_of_a_plan_is_replaced_before_anything_was_written(runner: ConfirmRunner) -> None:
    runner.emulator.faults.add("PUT", WRITE, "status", times=None, status=403, code="ModelArts.0108")
    runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    runner.emulator.faults.clear()
    (plan,) = runner.plans()
    whole = plan.read_bytes()
    plan.write_bytes(whole[:-20])
    assert runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri, try_number=2).error is None
    assert len(read_plan(plan)) == 250


def test_a_guard_that_does_not_hold_leaves_plan_and_counts(runner: ConfirmRunner) -> None:
    ending = runner.confirm(policy={"max_samples": 10}, ledger_uri=runner.ledger_uri)
    assert type(ending.error) is AirflowFailException
    assert "max_samples=10" in str(ending.error)
    counts = ending.xcoms["return_value"]
    check_sums(counts)
    assert (counts["seen"], counts["confirmed"]) == (250, 0)
    assert counts["plan_uri"] == f"file://{runner.plans()[0]}"
    assert (runner.writes, runner.parts()) == (0, [])


@pytest.mark.usefixtures("airflow_db")
def test_a_retry_by_airflow_itself_is_the_same_intent(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id = emulator.load_proposals(120)
    fault = emulator.faults.add("PUT", WRITE, "fail_sample", position=0)
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator,
        dataset_id=dataset_id,
        policy={"hard_examples": "confirm", "min_samples": 120},
        ledger_uri=f"file://{tmp_path}",
        retries=1,
        retry_delay=timedelta(0),
    )
    assert fault.fired
    assert (run.state, run.try_number) == ("success", 2), log
    assert len(list(tmp_path.rglob("*.plan.jsonl"))) == 1
    assert emulator.dataset(dataset_id).annotated == 120
