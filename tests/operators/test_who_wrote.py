"""What a retry takes for its own: all that an earlier try has written, and nothing that a person has confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from tests.operators.bureau import WRITE

if TYPE_CHECKING:
    from tests.operators.bureau import Bureau


def confirmed_by_a_person(bureau: Bureau) -> str:
    """Let a person accept one planned proposal as it is; return its sample."""
    sample_id = next(one for one in bureau.dataset.proposals if not bureau.dataset.labels_of(one))
    bureau.dataset.edit(sample_id, [dict(label) for label in bureau.dataset.proposals[sample_id]["labels"]])
    return sample_id


def fates(bureau: Bureau, sample_id: str) -> list[Any]:
    return [entry["fate"] for entry in bureau.entries() if entry["sample_id"] == sample_id]


def test_what_a_try_found_confirmed_by_a_person_a_retry_does_not_take_for_its_own(bureau: Bureau) -> None:
    bureau.plan()
    theirs = confirmed_by_a_person(bureau)
    labels = bureau.dataset.labels_of(theirs)
    refused = next(iter(bureau.dataset.proposals))
    bureau.emulator.faults.add("PUT", WRITE, "fail_sample", sample_id=refused, code="ModelArts.4424")
    given = {"plan_uri": bureau.plan_uri, "ledger_uri": bureau.ledger_uri}
    assert bureau.confirm(**given).xcoms["return_value"]["gone"] == 1
    second = bureau.confirm(try_number=2, **given)
    assert (second.result["confirmed"], second.result["gone"]) == (249, 1)
    assert set(fates(bureau, theirs)) == {"gone"}
    assert bureau.revert().result["cleared"] == 249
    assert bureau.dataset.labels_of(theirs) == labels


@pytest.mark.parametrize("earlier_try", ["has written nothing", "has stored nothing"])
def test_where_no_try_has_written_what_is_confirmed_is_a_persons(bureau: Bureau, earlier_try: str) -> None:
    bureau.plan()
    given = {"plan_uri": bureau.plan_uri, "ledger_uri": bureau.ledger_uri}
    if earlier_try == "has written nothing":
        bureau.emulator.faults.add("GET", "/auto-annotations/", "status", times=None, status=403, code="ModelArts.0108")
        assert bureau.confirm(**given).error is not None
        bureau.emulator.faults.clear()
    theirs = confirmed_by_a_person(bureau)
    labels = bureau.dataset.labels_of(theirs)
    second = bureau.confirm(try_number=2, **given)
    assert (second.result["confirmed"], second.result["gone"]) == (249, 1)
    bureau.revert()
    assert bureau.dataset.labels_of(theirs) == labels


@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_person_accepted_between_a_crash_and_the_retry_stays_when_the_run_is_undone(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    bureau.plan()
    given = {"plan_uri": bureau.plan_uri, "ledger_uri": bureau.ledger_uri, "concurrency": 1}
    faults = bureau.emulator.faults
    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "close", LedgerWriter.flush)
        if not recorded:
            patch.setattr(LedgerWriter, "add", lambda *_: None)
        faults.add("PUT", WRITE, "status", after=2, times=None, status=403, code="ModelArts.0108")
        assert bureau.confirm(**given).error is not None
    faults.clear()
    written = bureau.dataset.annotated
    theirs = {confirmed_by_a_person(bureau) for _ in range(20)}
    labels = {sample_id: bureau.dataset.labels_of(sample_id) for sample_id in theirs}
    second = bureau.confirm(try_number=2, **given).result
    if recorded:
        assert (second["confirmed"], second["gone"]) == (230, 20)
    assert {fate for sample_id in theirs for fate in fates(bureau, sample_id)} == {"unknown"}
    undone = bureau.revert().result
    assert {sample_id: bureau.dataset.labels_of(sample_id) for sample_id in theirs} == labels
    assert (undone["cleared"], undone["unknown"], bureau.dataset.annotated) == (230, 20, 20)
    assert 0 < written < 230


def test_a_retry_by_another_user_does_not_take_back_nor_hide_what_the_try_before_may_have_written(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau.plan()
    given = {"plan_uri": bureau.plan_uri, "ledger_uri": bureau.ledger_uri, "concurrency": 1}
    faults = bureau.emulator.faults
    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "add", lambda *_: None)
        patch.setattr(LedgerWriter, "close", LedgerWriter.flush)
        faults.add("PUT", WRITE, "status", after=2, times=None, status=403, code="ModelArts.0108")
        bureau.confirm(**given)
    faults.clear()
    written = {sample_id for sample_id, labels in bureau.final.items() if labels}
    for sample_id in written:  # as if the connection had named another user by then
        bureau.dataset.edit(sample_id, bureau.dataset.labels_of(sample_id), author="human/emulator/robot before")
    bureau.confirm(try_number=2, **given)
    undone = bureau.revert().result
    assert (undone["unknown"], undone["cleared"]) == (len(written), 250 - len(written))


def test_what_was_sent_and_never_answered_is_in_the_ledger_and_a_retry_finds_out(bureau: Bureau) -> None:
    bureau.plan()
    given = {"plan_uri": bureau.plan_uri, "ledger_uri": bureau.ledger_uri}
    faults = bureau.emulator.faults
    faults.add("PUT", WRITE, "reset_after")
    faults.add("GET", "/auto-annotations/samples/", "status", times=None, status=403, code="ModelArts.0108")
    first = bureau.confirm(concurrency=1, **given)
    written = bureau.dataset.annotated
    assert written == first.xcoms["return_value"]["failed"] == 50
    assert [entry["code"] for entry in bureau.entries()] == ["unknown"] * 50
    faults.clear()
    assert bureau.confirm(try_number=2, **given).result["confirmed"] == 250
    assert bureau.revert().result["cleared"] == 250
    assert bureau.dataset.annotated == 0


@pytest.mark.parametrize("end", ["killed before anything was recorded", "no answer and no further read"])
def test_what_was_written_before_a_clear_and_not_recorded_is_looked_up_and_can_be_undone(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    given = {"ledger_uri": bureau.ledger_uri, "concurrency": 1}
    faults = bureau.emulator.faults
    if end == "no answer and no further read":
        faults.add("PUT", WRITE, "reset_after")
        faults.add("GET", "/auto-annotations/samples/", "status", times=None, status=403, code="ModelArts.0108")
        bureau.confirm(**given)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(LedgerWriter, "add", lambda *_: None)
            patch.setattr(LedgerWriter, "close", LedgerWriter.flush)
            faults.add("PUT", WRITE, "status", after=2, times=None, status=403, code="ModelArts.0108")
            bureau.confirm(**given)
    faults.clear()
    written = bureau.dataset.annotated
    assert 0 < written < 250
    cleared = bureau.confirm(try_number=2, max_tries=4, **given)
    assert cleared.result["confirmed"] == 250 - written
    undone = bureau.revert().result
    assert (undone["cleared"], undone["unsettled"]) == (250, 0)
    assert bureau.dataset.annotated == 0
    # It is known by now: nothing is looked up again.
    singly = bureau.emulator.journal.count("GET", "/data-annotations/samples/")
    bureau.confirm(try_number=3, max_tries=4, **given)
    assert bureau.emulator.journal.count("GET", "/data-annotations/samples/") == singly


def test_a_planned_sample_that_is_proposed_otherwise_by_now_is_left_also_behind_a_filter(bureau: Bureau) -> None:
    sample_id, raw = next(
        (one, raw) for one, raw in bureau.dataset.proposals.items() if raw["labels"][0]["name"] == "rose"
    )
    planned = bureau.plan(label_name="rose").result["confirmed"]
    bureau.dataset.propose([{**raw, "labels": [{**raw["labels"][0], "name": "tulip"}]}])
    result = bureau.confirm(plan_uri=bureau.plan_uri, ledger_uri=bureau.ledger_uri).result
    assert (result["confirmed"], result["gone"]) == (planned - 1, 0)
    assert (result["left"], result["changed_since_plan"]) == (1, 1)
    assert fates(bureau, sample_id) == ["changed"]
