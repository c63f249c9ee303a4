"""What a retry takes for its own: all that an earlier try has written, and nothing that a person has confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from tests.operators.runners import WRITE

if TYPE_CHECKING:
    from tests.operators.runners import ConfirmRunner


def confirmed_by_a_person(runner: ConfirmRunner) -> str:
    """Let a person accept one planned proposal as it is; return its sample."""
    sample_id = next(one for one in runner.dataset.proposals if not runner.dataset.labels_of(one))
    runner.dataset.edit(sample_id, [dict(label) for label in runner.dataset.proposals[sample_id]["labels"]])
    return sample_id


def fates(runner: ConfirmRunner, sample_id: str) -> list[Any]:
    return [entry["fate"] for entry in runner.entries() if entry["sample_id"] == sample_id]


def test_what_a_try_found_confirmed_by_a_person_a_retry_does_not_take_for_its_own(runner: ConfirmRunner) -> None:
    runner.plan()
    theirs = confirmed_by_a_person(runner)
    labels = runner.dataset.labels_of(theirs)
    refused = next(iter(runner.dataset.proposals))
    runner.emulator.faults.add("PUT", WRITE, "fail_sample", sample_id=refused, code="ModelArts.4424")
    given = {"plan_uri": runner.plan_uri, "ledger_uri": runner.ledger_uri}
    assert runner.confirm(**given).xcoms["return_value"]["gone"] == 1
    second = runner.confirm(try_number=2, **given)
    assert (second.result["confirmed"], second.result["gone"]) == (249, 1)
    assert set(fates(runner, theirs)) == {"gone"}
    assert runner.revert().result["cleared"] == 249
    assert runner.dataset.labels_of(theirs) == labels


@pytest.mark.parametrize("earlier_try", ["has written nothing", "has stored nothing"])
def test_where_no_try_has_written_what_is_confirmed_is_a_persons(runner: ConfirmRunner, earlier_try: str) -> None:
    runner.plan()
    given = {"plan_uri": runner.plan_uri, "ledger_uri": runner.ledger_uri}
    if earlier_try == "has written nothing":
        runner.emulator.faults.add("GET", "/auto-annotations/", "status", times=None, status=403, code="ModelArts.0108")
        assert runner.confirm(**given).error is not None
        runner.emulator.faults.clear()
    theirs = confirmed_by_a_person(runner)
    labels = runner.dataset.labels_of(theirs)
    second = runner.confirm(try_number=2, **given)
    assert (second.result["confirmed"], second.result["gone"]) == (249, 1)
    runner.revert()
    assert runner.dataset.labels_of(theirs) == labels


@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_person_accepted_between_a_crash_and_the_retry_stays_when_the_run_is_undone(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    runner.plan()
    given = {"plan_uri": runner.plan_uri, "ledger_uri": runner.ledger_uri, "concurrency": 1}
    faults = runner.emulator.faults
    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "close", LedgerWriter.flush)
        if not recorded:
            patch.setattr(LedgerWriter, "add_lines", lambda *_: None)
        faults.add("PUT", WRITE, "status", after=2, times=None, status=403, code="ModelArts.0108")
        assert runner.confirm(**given).error is not None
    faults.clear()
    written = runner.dataset.annotated
    theirs = {confirmed_by_a_person(runner) for _ in range(20)}
    labels = {sample_id: runner.dataset.labels_of(sample_id) for sample_id in theirs}
    second = runner.confirm(try_number=2, **given).result
    if recorded:
        assert (second["confirmed"], second["gone"]) == (230, 20)
    assert {fate for sample_id in theirs for fate in fates(runner, sample_id)} == {"unknown"}
    undone = runner.revert().result
    assert {sample_id: runner.dataset.labels_of(sample_id) for sample_id in theirs} == labels
    assert (undone["cleared"], undone["unknown"], runner.dataset.annotated) == (230, 20, 20)
    assert 0 < written < 230


def test_a_retry_by_another_user_does_not_take_back_nor_hide_what_the_try_before_may_have_written(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.plan()
    given = {"plan_uri": runner.plan_uri, "ledger_uri": runner.ledger_uri, "concurrency": 1}
    faults = runner.emulator.faults
    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "add_lines", lambda *_: None)
        patch.setattr(LedgerWriter, "close", LedgerWriter.flush)
        faults.add("PUT", WRITE, "status", after=2, times=None, status=403, code="ModelArts.0108")
        runner.confirm(**given)
    faults.clear()
    written = {sample_id for sample_id, labels in runner.final.items() if labels}
    for sample_id in written:  # as if the connection had named another user by then
        runner.dataset.edit(sample_id, runner.dataset.labels_of(sample_id), author="human/emulator/robot before")
    runner.confirm(try_number=2, **given)
    undone = runner.revert().result
    assert (undone["unknown"], undone["cleared"]) == (len(written), 250 - len(written))


def test_what_was_sent_and_never_answered_is_in_the_ledger_and_a_retry_finds_out(runner: ConfirmRunner) -> None:
    runner.plan()
    given = {"plan_uri": runner.plan_uri, "ledger_uri": runner.ledger_uri}
    faults = runner.emulator.faults
    faults.add("PUT", WRITE, "reset_after")
    faults.add("GET", "/auto-annotations/samples/", "status", times=None, status=403, code="ModelArts.0108")
    first = runner.confirm(concurrency=1, **given)
    written = runner.dataset.annotated
    assert written == first.xcoms["return_value"]["failed"] == 50
    assert [entry["code"] for entry in runner.entries()] == ["unknown"] * 50
    faults.clear()
    assert runner.confirm(try_number=2, **given).result["confirmed"] == 250
    assert runner.revert().result["cleared"] == 250
    assert runner.dataset.annotated == 0


@pytest.mark.parametrize("end", ["killed before anything was recorded", "no answer and no further read"])
def test_what_was_written_before_a_clear_and_not_recorded_is_looked_up_and_can_be_undone(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    given = {"ledger_uri": runner.ledger_uri, "concurrency": 1}
    faults = runner.emulator.faults
    if end == "no answer and no further read":
        faults.add("PUT", WRITE, "reset_after")
        faults.add("GET", "/auto-annotations/samples/", "status", times=None, status=403, code="ModelArts.0108")
        runner.confirm(**given)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(LedgerWriter, "add_lines", lambda *_: None)
            patch.setattr(LedgerWriter, "close", LedgerWriter.flush)
            faults.add("PUT", WRITE, "status", after=2, times=None, status=403, code="ModelArts.0108")
            runner.confirm(**given)
    faults.clear()
    written = runner.dataset.annotated
    assert 0 < written < 250
    cleared = runner.confirm(try_number=2, max_tries=4, **given)
    assert cleared.result["confirmed"] == 250 - written
    undone = runner.revert().result
    assert (undone["cleared"], undone["unsettled"]) == (250, 0)
    assert runner.dataset.annotated == 0
    # It is known by now: nothing is looked up again.
    singly = runner.emulator.journal.count("GET", "/data-annotations/samples/")
    runner.confirm(try_number=3, max_tries=4, **given)
    assert runner.emulator.journal.count("GET", "/data-annotations/samples/") == singly


def test_a_planned_sample_that_is_proposed_otherwise_by_now_is_left_also_behind_a_filter(runner: ConfirmRunner) -> None:
    sample_id, raw = next(
        (one, raw) for one, raw in runner.dataset.proposals.items() if raw["labels"][0]["name"] == "rose"
    )
    planned = runner.plan(label_name="rose").result["confirmed"]
    runner.dataset.propose([{**raw, "labels": [{**raw["labels"][0], "name": "tulip"}]}])
    result = runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri).result
    assert (result["confirmed"], result["gone"]) == (planned - 1, 0)
    assert (result["left"], result["changed_since_plan"]) == (1, 1)
    assert fates(runner, sample_id) == ["changed"]
