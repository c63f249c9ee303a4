"""Confirming from Airflow: counts in XCom whatever happens, progress in the log, and no write after a kill."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_modelarts.client.errors import ConfirmationError, ServiceUnavailable
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.policy import InvalidPolicy
from airflow_provider_modelarts.operators._on_kill import WriteStop
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from airflow_provider_modelarts.utils.task_state import TaskKey
from tests.operators.runners import WRITE, ConfirmRunner, check_sums
from tests.support.dag_runner import messages, run_operator
from tests.support.on_request import AlarmOnRequest
from tests.support.operator_driver import Ending, TaskStates, drive

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

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


def test_without_a_policy_everything_is_confirmed_and_only_counts_come_back(runner: ConfirmRunner) -> None:
    ending = runner.confirm()
    assert ending.error is None
    check_counts(ending.result)
    assert (ending.result["seen"], ending.result["confirmed"]) == (250, 250)
    assert runner.dataset.unconfirmed == 0
    assert len(json.dumps(ending.result)) < 2000


def test_a_policy_leaves_doubtful_proposals_to_people(runner: ConfirmRunner) -> None:
    ending = runner.confirm(policy={"min_score": "0.9"})
    check_counts(ending.result)
    assert 0 < ending.result["confirmed"] < 250
    assert runner.dataset.unconfirmed == 250 - ending.result["confirmed"] == ending.result["review"]


def test_a_preview_counts_and_writes_nothing(runner: ConfirmRunner) -> None:
    ending = runner.confirm(policy={"min_score": 0.9}, preview=True)
    check_counts(ending.result)
    assert ending.result["confirmed"] > 0
    assert (runner.writes, runner.dataset.unconfirmed) == (0, 250)


@pytest.mark.parametrize("mode", ["fail", "warn"])
def test_a_refused_sample_fails_or_warns_and_the_counts_are_there_either_way(runner: ConfirmRunner, mode: Any) -> None:
    sample_id = next(iter(runner.dataset.proposals))
    fault = runner.emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    ending = runner.confirm(on_partial_failure=mode)
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


def test_a_guard_that_does_not_hold_fails_without_a_write_or_a_retry(runner: ConfirmRunner) -> None:
    ending = runner.confirm(policy={"max_samples": 10})
    assert type(ending.error) is AirflowFailException
    assert "max_samples=10" in str(ending.error)
    assert runner.writes == 0


def test_an_error_half_way_leaves_the_counts_so_far(runner: ConfirmRunner) -> None:
    fault = runner.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")
    ending = runner.confirm()
    assert fault.fired
    assert type(ending.error) is AirflowFailException
    check_counts(ending.xcoms["return_value"])
    assert ending.xcoms["return_value"]["confirmed"] == 250 - runner.dataset.unconfirmed > 0


def test_with_do_xcom_push_off_nothing_is_stored(runner: ConfirmRunner) -> None:
    runner.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")
    assert runner.confirm(do_xcom_push=False).xcoms == {}


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
        ({"on_partial_failure": "{{ params.mode }}"}, ParameterError, "on_partial_failure is not templated"),
        ({"batch_size": "{{ params.size }}"}, ParameterError, "batch_size is not templated"),
        ({"batch_size": None}, ParameterError, "batch_size is empty"),
        ({"concurrency": "{{ params.many }}"}, ParameterError, "concurrency is not templated"),
        ({"preview": None}, ParameterError, "preview is empty"),
        ({"preview": "no"}, ParameterError, "preview must be true or false"),
        ({"label_name": 1.5}, ParameterError, "label_name must be the name of a label, not 1.5"),
        ({"first_label": ["rose"]}, ParameterError, "first_label must be the name of a label"),
        ({"low_score": "0_1"}, ParameterError, "low_score must be a number from 0 to 1"),
        ({"policy": 5}, InvalidPolicy, "must be a dict or JSON text of one, not 5"),
        ({"plan_uri": 5}, ParameterError, "plan_uri must be a URI"),
        ({"ledger_uri": Path("labels/ledger")}, ParameterError, "ledger_uri must be a URI such as file:///"),
        ({"ledger_uri": "file:///tmp/what?/ledger"}, ParameterError, "ledger_uri .* has a question mark"),
        ({"ledger_uri": Path("/tmp/what?/ledger")}, ParameterError, "ledger_uri .* has a question mark"),
        ({"dry_run": True}, ParameterError, "dry_run is a name that Airflow keeps for itself: give preview"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(
    parameters: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        ModelArtsConfirmSamplesOperator(task_id="c", **{"dataset_id": "d", **parameters})


LABELS = "/data-annotations/labels"


@pytest.mark.parametrize(
    ("policy", "nearest"),
    [
        ({"min_score_by_label": {"roze": 0.99}}, "'roze', which dataset {} does not have (did you mean 'rose'?)"),
        ({"labels": ["daisy", "Tulip"]}, "'Tulip', which dataset {} does not have (did you mean 'tulip'?)"),
    ],
)
@pytest.mark.parametrize("way", ["confirm", "preview", "ledger", "plan"])
def test_a_policy_that_names_a_label_that_the_dataset_does_not_have_is_refused(
    runner: ConfirmRunner, policy: dict[str, Any], nearest: str, way: str
) -> None:
    ending = {
        "confirm": lambda: runner.confirm(policy=policy),
        "preview": lambda: runner.confirm(policy=policy, preview=True),
        "ledger": lambda: runner.confirm(policy=policy, ledger_uri=runner.ledger_uri),
        "plan": lambda: runner.plan(policy=policy),
    }[way]()
    assert type(ending.error) is AirflowFailException
    assert nearest.format(runner.dataset_id) in str(ending.error)
    assert (runner.writes, runner.files()) == (0, [])


def test_labels_are_read_once_and_only_if_the_policy_names_some(runner: ConfirmRunner) -> None:
    assert runner.confirm(policy={"min_score": 0.99}).error is None
    assert runner.emulator.journal.count("GET", LABELS) == 0
    policy = {"labels": ["rose", "tulip"], "min_score_by_label": {"rose": 0.9, "tulip": 0.8}}
    assert runner.confirm(policy=policy).error is None
    read = runner.emulator.journal.select("GET", match=lambda record: record.path.endswith(LABELS))
    assert [record.query["offset"] for record in read] == ["0", "1"], "the list, and a look behind its only page"


@pytest.mark.parametrize(
    "fault", [{"status": 403, "code": "ModelArts.0112"}, {"status": 404}, {"status": 405}, {"status": 501}]
)
def test_where_labels_cannot_be_read_a_name_is_only_warned_of(
    runner: ConfirmRunner, capsys: pytest.CaptureFixture[str], fault: dict[str, Any]
) -> None:
    armed = runner.emulator.faults.add("GET", LABELS, "status", times=None, **fault)
    ending = runner.confirm(policy={"min_score_by_label": {"roze": 0.99}})
    assert ending.error is None
    assert armed.fired > 0
    assert (
        "cannot be read, so that a misspelled name in the policy (roze) would not be noticed" in capsys.readouterr().out
    )


def test_an_outage_is_no_reason_to_skip_the_look_at_the_labels(runner: ConfirmRunner) -> None:
    armed = runner.emulator.faults.add("GET", LABELS, "status", times=None, status=503)
    ending = runner.confirm(policy={"min_score_by_label": {"rose": 0.99}})
    assert type(ending.error) is ServiceUnavailable
    assert armed.fired > 0
    assert runner.writes == 0


@pytest.mark.parametrize("name", ["label_name", "first_label"])
def test_a_filter_by_a_label_that_there_is_not_chooses_none_and_names_the_nearest(
    runner: ConfirmRunner, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ending = runner.confirm(**{name: "roze"})
    assert (ending.error, ending.result["seen"]) == (None, 0)
    assert f"Dataset {runner.dataset_id} has no label 'roze' (did you mean 'rose'?)" in capsys.readouterr().out


@pytest.mark.parametrize("native", [7, "7"])
@pytest.mark.parametrize("way", ["label_name", "first_label", "labels", "min_score_by_label", "text"])
def test_labels_named_by_digits_may_come_as_numbers(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, native: Any, way: str
) -> None:
    runner = ConfirmRunner(emulator, moved_clock, tmp_path)
    runner.dataset_id = emulator.load_proposals(40, labels=["7", "8"])
    parameters: dict[str, dict[str, Any]] = {
        "label_name": {"label_name": native},
        "first_label": {"first_label": native},
        "labels": {"policy": {"labels": [native]}},
        "min_score_by_label": {"policy": {"min_score_by_label": {native: 0, "8": 1}, "min_score": 1}},
        "text": {"policy": json.dumps({"labels": [native]})},
    }
    ending = runner.confirm(**parameters[way])
    assert ending.error is None
    assert 10 < ending.result["by_label"]["7"] < 40


@pytest.mark.parametrize("way", ["policy", "low_score", "plan"])
def test_scores_that_are_none_go_to_people(runner: ConfirmRunner, way: str) -> None:
    """45 is a percentage, and no reason to be sure."""
    odd = [45, -1, 1.0001, "45", "1_0", "0_1"]
    runner.dataset.propose(
        [
            {"sample_id": f"odd{number}", "labels": [{"name": "rose", "type": 0, "id": "1", "score": score}]}
            for number, score in enumerate(odd)
        ]
    )
    if way == "low_score":
        ending = runner.confirm(low_score=0.5)
    elif way == "policy":
        ending = runner.confirm(policy={"min_score": 0.5, "hard_examples": "confirm"})
    else:
        planned = runner.plan(policy={"min_score": 0.5, "hard_examples": "confirm"})
        assert "- **6** with a score that is no number from 0 to 1; it counts as unknown" in planned.xcoms["summary"]
        ending = runner.confirm(plan_uri=runner.plan_uri)
    assert ending.error is None
    assert ending.result["confirmed"] > 200
    assert ending.result["review"] >= 1
    assert not any(runner.dataset.labels_of(f"odd{number}") for number in range(len(odd)))


@pytest.mark.parametrize("kind", [Path, ObjectStoragePath])
def test_places_may_be_paths(runner: ConfirmRunner, kind: Any) -> None:
    plan, ledger = runner.folder / "a plan.jsonl", runner.folder / "ledger"
    if kind is ObjectStoragePath:
        plan, ledger = (ObjectStoragePath(f"file://{path}") for path in (plan, ledger))
    assert runner.plan(plan_uri=plan).error is None
    ending = runner.confirm(plan_uri=plan, ledger_uri=ledger)
    assert ending.error is None
    assert ending.result["ledger_uri"] == f"file://{runner.folder}/ledger"
    assert runner.revert(ledger_uri=ledger).result["cleared"] == 250


@pytest.mark.usefixtures("airflow_db")
def test_places_that_are_paths_survive_airflow(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(5)
    root = ObjectStoragePath(f"file://{tmp_path}/{{{{ run_id }}}}")
    task, log = run_operator(ModelArtsConfirmSamplesOperator, dataset_id=dataset_id, ledger_uri=root)
    assert task.state == "success", log
    assert task.xcom["ledger_uri"].startswith(f"file://{tmp_path}/manual__")


def test_a_guard_keeps_its_plan_below_a_relative_log_folder(
    runner: ConfirmRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", "logs")
    ending = runner.confirm(policy={"max_samples": 1000})
    assert ending.error is None
    assert ending.result["plan_uri"].startswith(f"file://{tmp_path}/logs/modelarts/")


def test_a_log_folder_that_cannot_be_written_is_named_with_what_to_give_instead(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", "/dev/null")
    ending = runner.confirm(policy={"max_samples": 1000})
    assert type(ending.error) is AirflowFailException
    assert str(ending.error).startswith("ledger_uri is not given, and base_log_folder file:///dev/null/modelarts ")


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
def test_what_renders_to_nothing_never_confirms_more(
    runner: ConfirmRunner, rendered: dict[str, Any], complaint: str
) -> None:
    operator = ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id=runner.dataset_id)
    for name, value in rendered.items():
        setattr(operator, name, value)
    ending = drive(operator, runner.clock)
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert len(runner.emulator.journal) == 0


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
    alarm = AlarmOnRequest(emulator, monkeypatch, "PUT", WRITE, after=3)
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
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError("the supervisor is gone")

    monkeypatch.setattr("tests.support.operator_driver.StandInTaskInstance.xcom_push", broken)
    monkeypatch.setattr("airflow_provider_modelarts.operators.samples.link_dataset", lambda *_: None)
    fault = runner.emulator.faults.add("PUT", WRITE, "status", after=1, times=None, status=403, code="ModelArts.0108")
    ending = runner.confirm()
    assert fault.fired
    assert type(ending.error) is AirflowFailException
    assert "ModelArts.0108" in str(ending.error)


# --- kills


def confirm_and_kill_after_the_first_write(runner: ConfirmRunner) -> Ending:
    # One write at a time: what is under way when the kill arrives cannot be called back.
    operator = ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id=runner.dataset_id, concurrency=1)

    def kill(record: Any) -> None:
        if record.method == "PUT" and runner.writes == 1:
            operator.on_kill()

    runner.emulator.observers.append(kill)
    return drive(operator, runner.clock, copies=False)


@pytest.mark.parametrize("state", ["failed", "success", "restarting"])
def test_after_a_kill_no_further_write_goes_out(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    airflow = TaskStates(monkeypatch, confirm=state)
    ending = confirm_and_kill_after_the_first_write(runner)
    assert airflow.asked
    assert runner.writes == 1
    assert type(ending.error) is ConfirmationError
    check_counts(ending.xcoms["return_value"])
    assert ending.xcoms["return_value"]["confirmed"] == 250 - runner.dataset.unconfirmed


@pytest.mark.parametrize("state", ["running", None])
def test_an_evicted_worker_goes_on(runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, state: str | None) -> None:
    airflow = TaskStates(monkeypatch, confirm=state)
    ending = confirm_and_kill_after_the_first_write(runner)
    assert airflow.asked
    assert ending.error is None
    assert runner.dataset.unconfirmed == 0


def test_writers_wait_while_airflow_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def answer(**_: Any) -> dict[str, dict[str, Any]]:
        asked.set()
        assert may_answer.wait(2)
        return {"run": {"confirm": "failed"}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answer))
    gate = WriteStop(TaskKey("dag", "run", "confirm"), logging.getLogger(__name__))
    assert not gate.signal.is_requested()
    found: list[bool] = []
    killer = threading.Thread(target=gate.close_if_ended)
    killer.start()
    assert asked.wait(2)
    writer = threading.Thread(target=lambda: found.append(gate.signal.is_requested()))
    writer.start()
    assert found == []
    may_answer.set()
    writer.join(5)
    killer.join(5)
    assert found == [True]
