"""Confirming by a plan: exactly what was planned is written, what changed since is left, and what the log says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from tests.operators.runners import WRITE, check_sums

if TYPE_CHECKING:
    from tests.operators.runners import ConfirmRunner

POLICY = {"min_score": 0.9}


def test_exactly_what_was_planned_is_written(runner: ConfirmRunner) -> None:
    planned = runner.plan(policy=POLICY).result
    wanted = {s.sample.sample_id for s in read_plan(runner.files()[0]).samples() if s.decision.action == "confirm"}
    ending = runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)
    assert ending.error is None
    check_sums(ending.result)
    assert ending.result["confirmed"] == planned["confirmed"] == len(wanted)
    assert (ending.result["plan_uri"], ending.result["ledger_uri"]) == (runner.plan_uri, runner.ledger_uri)
    assert {sample_id for sample_id, labels in runner.final.items() if labels} == wanted
    assert {entry["sample_id"] for entry in runner.entries() if entry["fate"] == "confirmed"} == wanted
    runner.verify()


@pytest.mark.parametrize("keeps_ledger", [False, True], ids=["no ledger", "ledger"])
@pytest.mark.parametrize("preview", [True, False], ids=["preview", "applied"])
def test_an_empty_plan_confirms_nothing(runner: ConfirmRunner, preview: bool, keeps_ledger: bool) -> None:
    planned = runner.plan(label_name="orchid", policy={"min_score": 0.99, "max_samples": 10})
    assert (planned.error, planned.result["seen"]) == (None, 0)
    ending = runner.confirm(
        plan_uri=runner.plan_uri,
        plan_digest=planned.xcoms["plan_digest"],
        ledger_uri=runner.ledger_uri if keeps_ledger else None,
        preview=preview,
    )
    assert ending.error is None
    assert (ending.result["seen"], ending.result["confirmed"], ending.result["by_label"]) == (0, 0, {})
    assert ending.result["plan_uri"] == runner.plan_uri
    assert (runner.writes, runner.dataset.unconfirmed) == (0, 250)


@pytest.mark.parametrize("preview", [True, False], ids=["preview", "applied"])
def test_a_guard_of_an_empty_plan_is_held_again(runner: ConfirmRunner, preview: bool) -> None:
    assert "min_samples=1" in str(runner.plan(label_name="orchid", policy={"min_samples": 1}).error)
    ending = runner.confirm(plan_uri=runner.plan_uri, preview=preview)
    assert type(ending.error) is AirflowFailException
    assert "only 0 samples" in str(ending.error)
    assert runner.writes == 0


@pytest.mark.parametrize("place", ["ledger", "logs"])
def test_a_retry_goes_on_with_an_empty_plan_of_its_own(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(runner.folder / "logs"))
    given: dict[str, Any] = {"label_name": "orchid", "policy": {"min_samples": 0, "max_samples": 10}}
    given["ledger_uri"] = runner.ledger_uri if place == "ledger" else None
    assert runner.confirm(**given).result["seen"] == 0
    raw = next(iter(runner.dataset.proposals.values()))
    runner.dataset.propose([{**raw, "labels": [{**raw["labels"][0], "name": "orchid"}]}])
    second = runner.confirm(try_number=2, **given)
    assert (second.result["confirmed"], second.result["changed_since_plan"], runner.writes) == (0, 1, 0)
    cleared = runner.confirm(try_number=3, max_tries=5, **given)
    assert (cleared.result["confirmed"], runner.dataset.annotated) == (1, 1)


def test_what_changed_after_planning_is_left_and_counted(runner: ConfirmRunner) -> None:
    runner.plan()
    first, second, *_ = proposals = runner.dataset.proposals
    runner.dataset.edit(first, ["by hand"])
    other = [{**label, "name": "another"} for label in proposals[second]["labels"]]
    runner.dataset.propose([{**proposals[second], "labels": other}])
    ending = runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)
    assert (ending.result["confirmed"], ending.result["gone"], ending.result["changed_since_plan"]) == (248, 1, 1)
    assert runner.dataset.names_of(first) == ["by hand"]
    assert runner.dataset.names_of(second) == []


@pytest.mark.parametrize("stored", ["plan", "nothing"])
def test_a_preview_sends_no_write_and_stores_nothing(runner: ConfirmRunner, stored: str) -> None:
    given: dict[str, Any] = {"policy": POLICY}
    if stored == "plan":
        runner.plan(policy=POLICY)
        given = {"plan_uri": runner.plan_uri}
    files = runner.files()
    ending = runner.confirm(preview=True, ledger_uri=runner.ledger_uri, **given)
    check_sums(ending.result)
    assert 0 < ending.result["confirmed"] < 250
    assert {record.method for record in runner.emulator.journal} <= {"GET", "POST"}
    assert (runner.writes, runner.dataset.unconfirmed) == (0, 250)
    assert runner.files() == files


@pytest.mark.parametrize("mode", ["fail", "warn"])
def test_a_refused_sample_fails_or_warns_and_stands_in_the_ledger(runner: ConfirmRunner, mode: Any) -> None:
    sample_id = next(iter(runner.dataset.proposals))
    fault = runner.emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    ending = runner.confirm(on_partial_failure=mode, ledger_uri=runner.ledger_uri)
    assert fault.fired
    counts = ending.result if mode == "warn" else ending.xcoms["return_value"]
    check_sums(counts)
    assert (counts["confirmed"], counts["failed"]) == (249, 1)
    if mode == "fail":
        assert type(ending.error) is ConfirmationError
        assert sample_id in str(ending.error)
    else:
        assert ending.error is None
    (failed,) = (entry for entry in runner.entries() if entry["fate"] == "failed")
    assert failed["sample_id"] == sample_id
    assert failed["code"].startswith("ModelArts.")
    runner.verify()


def test_a_preview_says_what_would_be_confirmed(runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.plan(policy=POLICY)
    capsys.readouterr()
    confirmed = runner.confirm(plan_uri=runner.plan_uri, preview=True).result["confirmed"]
    text = capsys.readouterr().out
    assert f"Preview, nothing was written: 250 proposals seen: {confirmed} would be confirmed, " in text


def test_a_plan_that_is_applied_a_second_time_says_what_happened(
    runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.plan()
    runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri)
    capsys.readouterr()
    operator = ModelArtsConfirmSamplesOperator(
        task_id="second", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri
    )
    ending = runner.run(operator, 1, 0)
    assert ending.error is None
    assert ending.result["gone"] == 250
    text = capsys.readouterr().out
    assert "250 gone (confirmed already by an earlier run, or no longer proposed)" in text
    assert "Nothing was confirmed of the 250 proposals" in text
    assert "250 confirmed already by an earlier run or no longer proposed." in text


def test_an_empty_plan_that_is_applied_names_its_own_filters(
    runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.plan(label_name="orchid")
    capsys.readouterr()
    runner.confirm(plan_uri=runner.plan_uri)
    assert "has no proposals with label_name='orchid'" in capsys.readouterr().out


def test_a_guard_of_an_applied_plan_is_held_again(runner: ConfirmRunner) -> None:
    runner.plan(policy={"max_samples": 10})
    ending = runner.confirm(plan_uri=runner.plan_uri)
    assert "max_samples=10" in str(ending.error)
    assert runner.writes == 0


def test_a_digest_needs_a_plan() -> None:
    with pytest.raises(ParameterError, match="plan_uri with plan_digest"):
        ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id="d", plan_digest="0" * 64)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"plan_uri": "file:///tmp/p", "policy": {}}, "Give plan_uri without policy"),
        ({"plan_uri": "file:///tmp/p", "low_score": 0.1}, "Give plan_uri without low_score"),
        ({"plan_uri": "/tmp/p"}, "plan_uri must be a URI"),
        ({"ledger_uri": ""}, "ledger_uri is empty"),
        ({"ledger_uri": "ledger"}, "ledger_uri must be a URI"),
        ({"concurrency": 0}, "concurrency must be a number from 1 to 64"),
        ({"concurrency": 65}, "concurrency must be a number from 1 to 64"),
        ({"first_label": " "}, "first_label must be the name of a label"),
        ({"approved_by": ""}, "approved_by is empty"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        ModelArtsConfirmSamplesOperator(task_id="c", **{"dataset_id": "d", **parameters})
