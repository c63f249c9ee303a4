"""Confirming from Airflow: counts in XCom whatever happens, progress in the log, and no write after a kill."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.task_state import TaskKey
from airflow_provider_modelarts.labeling.policy import InvalidPolicy
from airflow_provider_modelarts.operators._kill import WriteGate
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from tests.operators.bureau import WRITE, Bureau, check_sums
from tests.support.alarm import Alarm
from tests.support.drive import Ending, drive
from tests.support.harness import messages, run_operator
from tests.support.task_states import TaskStates

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

COUNTS = {
    "seen",
    "confirmed",
    "review",
    "left",
    "failed",
    "gone",
    "changed_since_plan",
    "passes",
    "requests",
    "seconds",
    "plan_uri",
    "ledger_uri",
    "by_label",
}


def check_counts(counts: dict[str, Any]) -> None:
    assert set(counts) == COUNTS
    check_sums(counts)


def test_without_a_policy_everything_is_confirmed_and_only_counts_come_back(bureau: Bureau) -> None:
    ending = bureau.confirm()
    assert ending.error is None
    check_counts(ending.result)
    assert (ending.result["seen"], ending.result["confirmed"]) == (250, 250)
    assert bureau.dataset.unconfirmed == 0
    assert len(json.dumps(ending.result)) < 2000


def test_a_policy_leaves_doubtful_proposals_to_people(bureau: Bureau) -> None:
    ending = bureau.confirm(policy={"min_score": "0.9"})
    check_counts(ending.result)
    assert 0 < ending.result["confirmed"] < 250
    assert bureau.dataset.unconfirmed == 250 - ending.result["confirmed"] == ending.result["review"]


def test_a_preview_counts_and_writes_nothing(bureau: Bureau) -> None:
    ending = bureau.confirm(policy={"min_score": 0.9}, preview=True)
    check_counts(ending.result)
    assert ending.result["confirmed"] > 0
    assert (bureau.writes, bureau.dataset.unconfirmed) == (0, 250)


@pytest.mark.parametrize("mode", ["fail", "warn"])
def test_a_refused_sample_fails_or_warns_and_the_counts_are_there_either_way(bureau: Bureau, mode: Any) -> None:
    sample_id = next(iter(bureau.dataset.proposals))
    fault = bureau.emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    ending = bureau.confirm(on_partial_failure=mode)
    assert fault.fired
    counts = ending.result if mode == "warn" else ending.xcoms["return_value"]
    check_counts(counts)
    assert (counts["confirmed"], counts["failed"]) == (249, 1)
    if mode == "fail":
        assert type(ending.error) is ConfirmationError
        assert sample_id in str(ending.error)
        assert "\n" not in str(ending.error)
    else:
        assert ending.error is None


def test_a_guard_that_does_not_hold_fails_without_a_write_or_a_retry(bureau: Bureau) -> None:
    ending = bureau.confirm(policy={"max_samples": 10})
    assert type(ending.error) is AirflowFailException
    assert "max_samples=10" in str(ending.error)
    assert bureau.writes == 0


def test_an_error_half_way_leaves_the_counts_so_far(bureau: Bureau) -> None:
    fault = bureau.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")
    ending = bureau.confirm()
    assert fault.fired
    assert type(ending.error) is AirflowFailException
    check_counts(ending.xcoms["return_value"])
    assert ending.xcoms["return_value"]["confirmed"] == 250 - bureau.dataset.unconfirmed > 0


def test_with_do_xcom_push_off_nothing_is_stored(bureau: Bureau) -> None:
    bureau.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")
    assert bureau.confirm(do_xcom_push=False).xcoms == {}


@pytest.mark.parametrize(
    ("parameters", "error", "complaint"),
    [
        ({"dataset_id": ""}, ParameterError, "dataset_id is empty"),
        ({"policy": {"min_score": 2}}, InvalidPolicy, "min_score"),
        ({"policy": {"minimum": 0.9}}, InvalidPolicy, "minimum is unknown"),
        ({"policy": "None"}, InvalidPolicy, "None"),
        ({"low_score": 1.5}, ParameterError, "low_score must be a number from 0 to 1"),
        ({"high_score": "much"}, ParameterError, "high_score must be a number from 0 to 1"),
        ({"label_name": ""}, ParameterError, "label_name must be the name of a label"),
        ({"batch_size": 0}, ParameterError, "batch_size must be a number from 1"),
        ({"on_partial_failure": "ignore"}, ParameterError, "on_partial_failure must be one of fail, warn"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(
    parameters: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        ModelArtsConfirmSamplesOperator(task_id="c", **{"dataset_id": "d", **parameters})


@pytest.mark.parametrize(
    ("rendered", "complaint"),
    [
        ({"policy": "None"}, "policy rendered to 'None'"),
        ({"policy": ""}, "policy rendered to ''"),
        ({"policy": {"min_score": ""}}, "no value for min_score"),
        ({"low_score": "None"}, "low_score is empty ('None')"),
        ({"label_name": ""}, "label_name must be the name of a label"),
        ({"label_name": "None"}, "label_name must be the name of a label"),
        ({"first_label": "None"}, "first_label must be the name of a label"),
        ({"low_score": "0.9", "high_score": "0.5"}, "low_score 0.9 is above high_score 0.5"),
    ],
)
def test_what_renders_to_nothing_never_confirms_more(bureau: Bureau, rendered: dict[str, Any], complaint: str) -> None:
    operator = ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id=bureau.dataset_id)
    for name, value in rendered.items():
        setattr(operator, name, value)
    ending = drive(operator, bureau.clock)
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert len(bureau.emulator.journal) == 0


@pytest.mark.usefixtures("airflow_db")
def test_numbers_that_templates_made_text_of_reach_the_service_as_numbers(emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(60)
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator,
        dataset_id=dataset_id,
        policy={"min_score": "{{ 0.5 + 0.4 }}", "hard_examples": "{{ 'confirm' }}"},
        low_score="{{ 0.25 }}",
    )
    assert run.state == "success", log
    assert run.rendered["policy"] == {"min_score": "0.9", "hard_examples": "confirm"}
    check_counts(run.xcom)
    assert emulator.journal.select("GET", "/auto-annotations/")[0].query["low_score"] == "0.25"


@pytest.mark.usefixtures("airflow_db")
def test_the_log_tells_how_far_it_is_and_how_it_ended(emulator: Emulator) -> None:
    _, log = run_operator(ModelArtsConfirmSamplesOperator, dataset_id=emulator.load_proposals(60))
    lines = messages(log, "ModelArtsConfirmSamplesOperator")
    assert any("100 %: 60 of 60 proposals" in line for line in lines)
    assert any(line.startswith("60 proposals seen: 60 confirmed") for line in lines)
    assert not any(secret in log for secret in emulator.secrets)


@pytest.mark.usefixtures("airflow_db")
def test_a_run_that_finds_no_proposal_says_so(emulator: Emulator) -> None:
    run, log = run_operator(ModelArtsConfirmSamplesOperator, dataset_id=emulator.load_proposals(60), label_name="rsoe")
    assert run.state == "success"
    (line,) = (line for line in messages(log, "ModelArtsConfirmSamplesOperator") if "no proposals" in line)
    assert "with label_name='rsoe'" in line


# --- alarms


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("ledger", [False, True])
def test_an_execution_timeout_leaves_counts_and_a_ledger_of_all_that_was_written(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, concurrency: int, ledger: bool
) -> None:
    dataset_id = emulator.load_proposals(2000)
    alarm = Alarm(emulator, monkeypatch, "PUT", WRITE, after=3)
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator,
        dataset_id=dataset_id,
        concurrency=concurrency,
        execution_timeout=timedelta(hours=1),
        **({"ledger_uri": f"file://{tmp_path}"} if ledger else {}),
    )
    assert alarm.has_sounded
    assert run.state == "failed", log
    assert "AirflowTaskTimeout" in log
    check_counts(run.xcom)
    written = 2000 - emulator.dataset(dataset_id).unconfirmed
    assert run.xcom["confirmed"] == written
    assert 300 <= written < 2000
    parts = [path for path in tmp_path.rglob("*.jsonl") if ".plan." not in path.name]
    entries = [json.loads(line) for path in parts for line in path.read_text().splitlines()[1:-1]]
    assert sum(entry["fate"] == "confirmed" for entry in entries) == (written if ledger else 0)


def test_counts_that_cannot_be_stored_do_not_hide_why_the_run_ended(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError("the supervisor is gone")

    monkeypatch.setattr("tests.support.drive.StandInTaskInstance.xcom_push", broken)
    monkeypatch.setattr("airflow_provider_modelarts.operators.samples.link_dataset", lambda *_: None)
    fault = bureau.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")
    ending = bureau.confirm()
    assert fault.fired
    assert type(ending.error) is AirflowFailException
    assert "ModelArts.0108" in str(ending.error)


# --- kills


def confirm_and_kill_after_the_first_write(bureau: Bureau) -> Ending:
    # One write at a time: what is under way when the kill arrives cannot be called back.
    operator = ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id=bureau.dataset_id, concurrency=1)

    def kill(record: Any) -> None:
        if record.method == "PUT" and bureau.writes == 1:
            operator.on_kill()

    bureau.emulator.observers.append(kill)
    return drive(operator, bureau.clock, copies=False)


@pytest.mark.parametrize("state", ["failed", "success", "restarting"])
def test_after_a_kill_no_further_write_goes_out(bureau: Bureau, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    airflow = TaskStates(monkeypatch, confirm=state)
    ending = confirm_and_kill_after_the_first_write(bureau)
    assert airflow.asked
    assert bureau.writes == 1
    assert type(ending.error) is ConfirmationError
    check_counts(ending.xcoms["return_value"])
    assert ending.xcoms["return_value"]["confirmed"] == 250 - bureau.dataset.unconfirmed


@pytest.mark.parametrize("state", ["running", None])
def test_an_evicted_worker_goes_on(bureau: Bureau, monkeypatch: pytest.MonkeyPatch, state: str | None) -> None:
    airflow = TaskStates(monkeypatch, confirm=state)
    ending = confirm_and_kill_after_the_first_write(bureau)
    assert airflow.asked
    assert ending.error is None
    assert bureau.dataset.unconfirmed == 0


def test_writers_wait_while_airflow_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def answer(**_: Any) -> dict[str, dict[str, Any]]:
        asked.set()
        assert may_answer.wait(2)
        return {"run": {"confirm": "failed"}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answer))
    gate = WriteGate(TaskKey("dag", "run", "confirm"), logging.getLogger(__name__))
    assert not gate.is_closed()
    found: list[bool] = []
    killer = threading.Thread(target=gate.close_if_ended)
    killer.start()
    assert asked.wait(2)
    writer = threading.Thread(target=lambda: found.append(gate.is_closed()))
    writer.start()
    assert found == []
    may_answer.set()
    writer.join(5)
    killer.join(5)
    assert found == [True]
