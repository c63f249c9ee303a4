"""Confirming by a plan and with a ledger: previews, retries and clears, who approved, and what is refused."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.links import ModelArtsDatasetLink
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
    ModelArtsRevertConfirmationOperator,
)
from tests.operators.runners import RUN_ID, WRITE, ConfirmRunner, check_sums
from tests.support.dag_runner import run_operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

POLICY = {"min_score": 0.9}
EVERYTHING = {"hard_examples": "confirm", "max_samples": 250, "min_samples": 250}


def verify(runner: ConfirmRunner) -> None:
    """The ledger's chains are whole, and each sample that it says is confirmed is so."""
    ledger = read_ledger(Path(runner.ledger_uri.removeprefix("file://")), RUN_ID)
    assert ledger.verify() == []
    for _, entry in ledger.entries():
        if entry.fate == "confirmed":
            assert runner.final[entry.sample_id], entry


# --- plan, then apply


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
    verify(runner)


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
    verify(runner)


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


# --- retries and clears


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
    assert len({header.plan_digest for header in headers(runner)}) == 1
    assert [header.try_number for header in headers(runner)] == [1, 2]
    verify(runner)


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


def headers(runner: ConfirmRunner) -> list[Any]:
    ledger = read_ledger(Path(runner.ledger_uri.removeprefix("file://")), RUN_ID)
    return [chain.first() for chain in ledger.chains]


def test_a_clear_makes_a_new_plan(runner: ConfirmRunner) -> None:
    cut_off(runner)
    runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    runner.emulator.faults.clear()
    ending = runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri, try_number=2, max_tries=4)
    assert ending.error is None
    old, new = (read_plan(path) for path in runner.plans())
    assert {old.uri, new.uri} == {str(path) for path in runner.plans()}
    assert len(new) != len(old), "what the first try confirmed is no proposal any more"
    verify(runner)


def test_the_tasks_of_a_run_do_not_share_plans(runner: ConfirmRunner) -> None:
    names = list(runner.plan().result["by_label"])[:2]
    for number, name in enumerate(names):
        operator = ModelArtsConfirmSamplesOperator(
            task_id=f"confirm_{number}", dataset_id=runner.dataset_id, label_name=name, ledger_uri=runner.ledger_uri
        )
        assert runner.run(operator, 1, 0).error is None
    assert len(runner.plans()) == 2
    verify(runner)


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


# --- refusals


def test_a_plan_of_another_dataset_a_part_of_one_and_none_are_refused(runner: ConfirmRunner) -> None:
    missing = refusal(runner, runner.confirm(plan_uri=runner.plan_uri))
    assert missing.startswith(f"There is no plan at {runner.plan_uri}. Nothing was written; run the task that makes it")
    runner.plan()
    other = runner.emulator.load_proposals(5)
    runner.emulator.journal.clear()
    assert f"not of {other}" in refusal(runner, runner.confirm(dataset_id=other, plan_uri=runner.plan_uri))
    (plan,) = runner.files()
    plan.write_bytes(plan.read_bytes()[:-20])
    assert "not complete" in refusal(runner, runner.confirm(plan_uri=runner.plan_uri))


def test_another_plan_than_was_approved_is_refused(runner: ConfirmRunner) -> None:
    digest = runner.plan(policy={"min_score": 0.97}).xcoms["plan_digest"]
    given = {"plan_uri": runner.plan_uri, "plan_digest": digest}
    assert runner.confirm(**given, preview=True).error is None
    other = runner.plan(max_tries=4).xcoms["plan_digest"]
    assert other != digest
    runner.emulator.journal.clear()
    text = refusal(runner, runner.confirm(**given))
    assert digest in text
    assert other in text


def test_a_digest_needs_a_plan() -> None:
    with pytest.raises(ParameterError, match="plan_uri with plan_digest"):
        ModelArtsConfirmSamplesOperator(task_id="confirm", dataset_id="d", plan_digest="0" * 64)


def refusal(runner: ConfirmRunner, ending: Any) -> str:
    assert type(ending.error) is AirflowFailException
    assert len(runner.emulator.journal) == 0, "nothing is sent"
    text = str(ending.error)
    assert "\n" not in text
    return text


def test_a_guard_of_an_applied_plan_is_held_again(runner: ConfirmRunner) -> None:
    runner.plan(policy={"max_samples": 10})
    ending = runner.confirm(plan_uri=runner.plan_uri)
    assert "max_samples=10" in str(ending.error)
    assert runner.writes == 0


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


@pytest.mark.parametrize("ledger_uri", ["s3://bucket/ledger", "file:///proc/no/such", "file:///dev/null/ledger"])
def test_a_ledger_that_cannot_be_written_is_refused_before_anything_is_sent(
    runner: ConfirmRunner, ledger_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    runner.plan()
    runner.emulator.journal.clear()
    text = refusal(runner, runner.confirm(plan_uri=runner.plan_uri, ledger_uri=ledger_uri))
    assert f"ledger_uri {ledger_uri}" in text


# --- who approved

APPROVAL = {
    "chosen_options": ["Approve"],
    "params_input": {},
    "responded_at": "2026-11-20T12:00:00+00:00",
    "responded_by_user": {"id": "17", "name": "ada"},
}


@pytest.mark.parametrize(
    ("given", "noted"),
    [
        (APPROVAL, "ada"),
        (str(APPROVAL), "ada"),
        ("{grace}", "{grace}"),
        ({**APPROVAL, "responded_by_user": {"id": "17", "name": ""}}, "17"),
        ({**APPROVAL, "responded_by_user": None}, None),
        ("grace", "grace"),
        ("{grace} {", "{grace} {"),
        (str({**APPROVAL, "responded_at": datetime(2026, 11, 20, tzinfo=UTC)}), "ada"),
        (json.dumps({**APPROVAL, "responded_by_user": None}), None),
        (None, None),
    ],
)
def test_the_ledger_says_who_approved(runner: ConfirmRunner, given: Any, noted: str | None) -> None:
    runner.plan()
    operator = ModelArtsConfirmSamplesOperator(
        task_id="confirm", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri
    )
    operator.approved_by = given  # as Airflow puts in what the approval returned
    assert runner.run(operator, 1, 0).error is None
    assert {header.approved_by for header in headers(runner)} == {noted}


@pytest.mark.parametrize("written", [dict, str, json.dumps], ids=["rendered natively", "as text", "as JSON"])
def test_a_rejected_plan_is_not_applied(runner: ConfirmRunner, written: Any) -> None:
    runner.plan()
    runner.emulator.journal.clear()
    operator = ModelArtsConfirmSamplesOperator(task_id="c", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri)
    rejected = {**APPROVAL, "chosen_options": ["Reject"]}
    timed = {**rejected, "responded_at": datetime(2026, 11, 20, tzinfo=UTC)}
    for given in (written(rejected), f" {json.dumps(rejected)}\n", str(timed)):  # as templates render it
        operator.approved_by = given  # type: ignore[assignment]
        assert "was rejected" in refusal(runner, runner.run(operator, 1, 0))
    operator.approved_by = "{'chosen_options': ['Reject"
    assert "nobody has chosen" in refusal(runner, runner.run(operator, 1, 0))
    operator.approved_by = "{'chosen_options': [?]}"
    assert "cannot be read" in refusal(runner, runner.run(operator, 1, 0))


@pytest.mark.parametrize("chosen", [[], None], ids=str)
def test_a_plan_for_which_nobody_chose_anything_is_not_applied(runner: ConfirmRunner, chosen: Any) -> None:
    runner.plan()
    runner.emulator.journal.clear()
    operator = ModelArtsConfirmSamplesOperator(task_id="c", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri)
    operator.approved_by = {**APPROVAL, "chosen_options": chosen}  # type: ignore[assignment]
    assert "nobody has chosen" in refusal(runner, runner.run(operator, 1, 0))


# --- what lies about afterwards


@pytest.mark.usefixtures("airflow_db")
def test_plan_ledger_and_xcoms_hold_no_presigned_address(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(60)
    sample_id = next(iter(emulator.dataset(dataset_id).proposals))
    emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator,
        dataset_id=dataset_id,
        ledger_uri=f"file://{tmp_path}",
        policy={"min_score": "{{ 0.1 }}", "min_samples": 1},
        on_partial_failure="warn",
    )
    assert run.state == "success", log
    served = b"".join(record.response for record in emulator.journal)
    assert any(secret.encode() in served for secret in emulator.secrets), "the service does serve signatures"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    for text in (*(path.read_text() for path in files), json.dumps(run.xcoms), json.dumps(run.rendered), log):
        assert not any(secret in text for secret in emulator.secrets)
        assert "Signature=" not in text
    assert any(b"s3://" in path.read_bytes() for path in files)


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("name", ["rose \ud83d", "\udc00 tulip", "nothing \x00"])
def test_a_label_whose_name_no_database_takes_costs_no_task(emulator: Emulator, tmp_path: Path, name: str) -> None:
    dataset_id = emulator.load_proposals(40)
    dataset = emulator.dataset(dataset_id)
    raws = list(dataset.proposals.values())
    raws[3] = {**raws[3], "labels": [{**raws[3]["labels"][0], "name": name}]}
    dataset.propose(raws, keep=False)
    given: dict[str, Any] = {"dataset_id": dataset_id, "policy": {"audit_share": 0, "hard_examples": "confirm"}}
    run, log = run_operator(ModelArtsPlanConfirmationOperator, plan_uri=f"file://{tmp_path}/plan.jsonl", **given)
    assert run.state == "success", log
    shown = name.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    assert run.xcom["by_label"][shown] == 1
    assert "**40** would be confirmed" in run.xcoms["summary"]
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator, ledger_uri=f"file://{tmp_path}/ledger", on_partial_failure="warn", **given
    )
    assert run.state == "success", log
    # The service refuses what is no UTF-8; then it is that one sample.
    refused = "\x00" not in name
    assert (run.xcom["confirmed"], run.xcom["failed"]) == (40 - refused, refused)
    parts = [path.read_text().splitlines() for path in tmp_path.rglob("*.try*.jsonl") if ".plan." not in path.name]
    entries = [json.loads(line) for part in parts for line in part[1:-1]]
    assert [one["after"][0]["name"] for one in entries if one["sample_id"] == raws[3]["sample_id"]] == [name]
    run, log = run_operator(
        ModelArtsRevertConfirmationOperator,
        ledger_uri=f"file://{tmp_path}/ledger",
        ledger_run_id=json.loads(parts[0][0])["run_id"],
    )
    assert run.state == "success", log
    assert run.xcom["cleared"] == 40 - refused


# --- other storages, and Airflow's own retries


@pytest.fixture
def bucket() -> Iterator[str]:
    """A place in an object storage: no folders, nothing is appended, an object appears when it is closed."""
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    store = MemoryFileSystem()
    attach("memory", fs=store)
    yield "memory://bucket/labels"
    store.rm("/bucket", recursive=True)


def test_plan_ledger_and_undo_work_in_an_object_storage(runner: ConfirmRunner, bucket: str) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    before = runner.final
    planned = runner.plan(policy=POLICY, plan_uri=f"{bucket}/plan.jsonl")
    assert planned.result["plan_uri"] == f"{bucket}/plan.jsonl"
    ending = runner.confirm(plan_uri=planned.result["plan_uri"], ledger_uri=f"{bucket}/ledger")
    assert ending.error is None
    assert ending.result["confirmed"] == planned.result["confirmed"] > 0
    stored = MemoryFileSystem().find("/bucket")
    assert not [name for name in stored if "write-test" in name], "nothing is left of the trial"
    assert len(stored) >= 2
    undone = runner.revert(ledger_uri=ending.result["ledger_uri"])
    assert undone.result["cleared"] == ending.result["confirmed"]
    assert runner.final == before


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


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("operator", [ModelArtsPlanConfirmationOperator, ModelArtsConfirmSamplesOperator])
def test_the_tasks_page_leads_to_what_is_left_for_people(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, operator: Any
) -> None:
    connection = emulator.connection
    connection["extra"]["console"] = "https://console.example.com/datasets/{dataset_id}"
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(connection))
    dataset_id = emulator.load_proposals(5)
    given = {"plan_uri": f"file://{tmp_path}/plan.jsonl"} if operator is ModelArtsPlanConfirmationOperator else {}
    run, log = run_operator(operator, dataset_id=dataset_id, **given)
    assert run.state == "success", log
    assert run.xcoms[ModelArtsDatasetLink().xcom_key] == f"https://console.example.com/datasets/{dataset_id}"
