"""Which plan and ledger a confirmation takes: what is refused before anything is sent, and who approved."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operators.runners import ConfirmRunner


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


def refusal(runner: ConfirmRunner, ending: Any) -> str:
    assert type(ending.error) is AirflowFailException
    assert len(runner.emulator.journal) == 0, "nothing is sent"
    text = str(ending.error)
    assert "\n" not in text
    return text


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
    "responded_at": "2036-11-20T12:00:00+00:00",
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
        (str({**APPROVAL, "responded_at": datetime(2036, 11, 20, tzinfo=UTC)}), "ada"),
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
    assert {header.approved_by for header in runner.headers()} == {noted}


@pytest.mark.parametrize("written", [dict, str, json.dumps], ids=["rendered natively", "as text", "as JSON"])
def test_a_rejected_plan_is_not_applied(runner: ConfirmRunner, written: Any) -> None:
    runner.plan()
    runner.emulator.journal.clear()
    operator = ModelArtsConfirmSamplesOperator(task_id="c", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri)
    rejected = {**APPROVAL, "chosen_options": ["Reject"]}
    timed = {**rejected, "responded_at": datetime(2036, 11, 20, tzinfo=UTC)}
    for given in (written(rejected), f" {json.dumps(rejected)}\n", str(timed)):  # as templates render it
        operator.approved_by = given  # type: ignore[assignment]
        assert "was rejected" in refusal(runner, runner.run(operator, 1, 0))
    for torn in ("{'chosen_options': ['Reject", "{'chosen_options': [?]}", "chosen_options", "['chosen_options']"):
        operator.approved_by = torn
        assert "cannot be read" in refusal(runner, runner.run(operator, 1, 0))


@pytest.mark.parametrize("chosen", [[], None], ids=str)
def test_a_plan_for_which_nobody_chose_anything_is_not_applied(runner: ConfirmRunner, chosen: Any) -> None:
    runner.plan()
    runner.emulator.journal.clear()
    operator = ModelArtsConfirmSamplesOperator(task_id="c", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri)
    operator.approved_by = {**APPROVAL, "chosen_options": chosen}  # type: ignore[assignment]
    assert "nobody has chosen" in refusal(runner, runner.run(operator, 1, 0))


# --- an object storage


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
    planned = runner.plan(policy={"min_score": 0.9}, plan_uri=f"{bucket}/plan.jsonl")
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
