"""Confirming by a stored plan and with a ledger, by several threads, against the emulator (B14, B17; contract 7.4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest, PermissionDenied
from airflow_provider_modelarts.labeling.apply.confirmation import (
    Confirmation,
    ConfirmationRequest,
    LedgerTarget,
    confirm,
)
from airflow_provider_modelarts.labeling.ledger.entries import Entry, RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.ledger.reconcile import Reconciler
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, read_plan
from airflow_provider_modelarts.labeling.policy import GuardFailed
from airflow_provider_modelarts.labeling.proposals.worker_pool import ConcurrencyLimiter
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

WRITE = ("PUT", "data-annotations/samples")


def place(bucket: Bucket, try_number: int = 1) -> LedgerTarget:
    return LedgerTarget(bucket, RunIdentity("dag", "run", "task", try_number=try_number), "somebody")


def entries(bucket: Bucket) -> list[Entry]:
    return [entry for _, entry in read_ledger(bucket, "run").entries()]


@pytest.mark.parametrize("concurrency", [1, 3, 8, "16"])
@pytest.mark.parametrize("offset_mode", ["page", "record"])
def test_threads_confirm_each_sample_once(
    client: ModelArtsClient, emulator: Emulator, concurrency: Any, offset_mode: str
) -> None:
    emulator.variants.offset_mode = offset_mode
    dataset_id = emulator.load_proposals(1250)
    result = confirm(client, dataset_id, concurrency=concurrency)
    assert (result.seen, result.confirmed, result.passes, result.unaccounted) == (1250, 1250, 1, 0)
    sent = [
        sample["sample_id"] for r in emulator.journal if r.method == "PUT" for sample in json.loads(r.body)["samples"]
    ]
    assert len(sent) == len(set(sent)) == 1250
    # Where records are counted the last page does not show it: one more look, and the last page itself.
    assert emulator.journal.count("GET", "/auto-annotations/samples") == 13 + (2 if offset_mode == "page" else 4)


def test_the_ledger_holds_what_was_written_and_the_plan_lies_beside_it(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id = emulator.load_proposals(450, hard_share=0.2)
    proposals = {key: raw["labels"] for key, raw in emulator.dataset(dataset_id).proposals.items()}
    bucket = Bucket()
    result = confirm(client, dataset_id, policy={"min_score": 0.6}, ledger=place(bucket))
    assert 0 < result.confirmed < 450
    assert result.plan_uri == str(place(bucket).identity.plan_path(bucket))
    assert result.ledger_uri is not None
    assert result.ledger_uri in result.plan_uri
    found = entries(bucket)
    assert {(entry.fate, entry.rule) for entry in found} == {("confirmed", "passed")}
    assert len(found) == result.confirmed
    assert all(entry.after == proposals[entry.sample_id] and entry.before is None for entry in found)
    ledger = read_ledger(bucket, "run")
    assert ledger.verify() == []
    assert {chain.first().approved_by for chain in ledger.chains} == {"somebody"}


def test_labels_that_a_person_gave_are_kept_in_the_ledger_before_they_are_replaced(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id = emulator.load_proposals(20)
    dataset = emulator.dataset(dataset_id)
    sample_id = sorted(dataset.proposals)[3]
    proposal = dict(dataset.proposals[sample_id])
    dataset.edit(sample_id, ["by hand"])
    before = dataset.labels_of(sample_id)
    dataset.propose([{**proposal, "annotated_by": "human/account/user"}])
    writes_before: list[int] = []

    class Watched(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if mode == "wb" and ".try001." in str(self):
                writes_before.append(emulator.journal.count(*WRITE))
            return super().open(mode)

    bucket = Watched()
    result = confirm(client, dataset_id, ledger=place(bucket))
    assert result.confirmed == 20
    # That this try may write, the labels that it will replace, and what became of all.
    assert writes_before == [0, 0, 1], "they are stored before anything is written"
    noted = [entry for entry in entries(bucket) if entry.before is not None]
    assert [(entry.sample_id, entry.fate, entry.before) for entry in noted] == [
        (sample_id, "intended", before),
        (sample_id, "confirmed", before),
    ]
    assert dataset.labels_of(sample_id) != before


HOLD_UPS: dict[str, dict[str, Any]] = {
    "busy": {"status": 400, "code": "ModelArts.4381", "times": 4},
    "throttled": {"status": 429, "code": "APIGW.0308", "headers": {"Retry-After": "40"}},
    "down": {"status": 503, "times": 1},
    "gateway time-out": {"status": 504, "times": 1},
    "request time-out": {"status": 408, "times": 1},
}


@pytest.mark.parametrize("had", ["nothing", "labels of a person"])
@pytest.mark.parametrize("held_up", HOLD_UPS)
def test_labels_that_a_person_gave_while_a_write_was_held_up_are_kept_and_come_back(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, held_up: str, had: str
) -> None:
    dataset_id, bucket = emulator.load_proposals(20), Bucket()
    dataset = emulator.dataset(dataset_id)
    sample_id = sorted(dataset.proposals)[3]
    proposal = dict(dataset.proposals[sample_id])
    if had != "nothing":
        dataset.edit(sample_id, ["at first"])
        dataset.propose([{**proposal, "annotated_by": "human/account/user"}])

    def label(record: Any) -> None:
        if record.method == "PUT" and record.fault and dataset.names_of(sample_id) != ["by hand"]:
            dataset.edit(sample_id, ["by hand"])
            dataset.propose([{**proposal, "annotated_by": "human/account/user"}])
            moved_clock.advance(26)

    emulator.observers.append(label)
    stored_before_writes: list[bool] = []

    def watch(record: Any) -> None:
        if record.method == "PUT" and not record.fault and sample_id in str(record.body):
            stored_before_writes.append(any(b"by hand" in content for content in bucket.objects.values()))

    emulator.observers.append(watch)
    fault = emulator.faults.add(*WRITE, "status", **HOLD_UPS[held_up])
    result = confirm(client, dataset_id, ledger=place(bucket))
    assert fault.fired >= 1
    assert result.confirmed == 20
    assert stored_before_writes == [True]
    assert dataset.names_of(sample_id) != ["by hand"]
    undone = revert(client, bucket, "run")
    assert (undone.restored, undone.cleared) == (1, 19)
    assert dataset.names_of(sample_id) == ["by hand"]


def test_labels_that_a_person_took_away_while_a_write_was_held_up_do_not_come_back(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id, bucket = emulator.load_proposals(5), Bucket()
    dataset = emulator.dataset(dataset_id)
    sample_id = sorted(dataset.proposals)[3]
    proposal = dict(dataset.proposals[sample_id])
    dataset.edit(sample_id, ["by hand"])
    dataset.propose([{**proposal, "annotated_by": "human/account/user"}])

    def clear(record: Any) -> None:
        if record.method == "PUT" and record.fault:
            dataset.edit(sample_id, [])
            dataset.propose([{**proposal, "annotated_by": "human/account/user"}])
            moved_clock.advance(26)

    emulator.observers.append(clear)
    emulator.faults.add(*WRITE, "status", status=400, code="ModelArts.4381")
    assert confirm(client, dataset_id, ledger=place(bucket)).confirmed == 5
    undone = revert(client, bucket, "run")
    assert (undone.restored, undone.cleared) == (0, 5)
    assert dataset.labels_of(sample_id) == []


def test_labels_of_many_people_are_looked_at_in_pieces_that_stay_fresh(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id, bucket = emulator.load_proposals(40), Bucket()
    dataset = emulator.dataset(dataset_id)
    proposals = {sample_id: dict(raw) for sample_id, raw in dataset.proposals.items()}
    for sample_id, raw in proposals.items():
        dataset.edit(sample_id, [f"by hand {sample_id[-1]}"])
        dataset.propose([{**raw, "annotated_by": "human/account/user"}])
    before = {sample_id: dataset.labels_of(sample_id) for sample_id in proposals}

    def be_slow(record: Any) -> None:
        if record.method == "GET" and "data-annotations/samples/" in record.path:
            moved_clock.advance(2)

    emulator.observers.append(be_slow)
    assert confirm(client, dataset_id, ledger=place(bucket)).confirmed == 40
    assert 1 < emulator.journal.count(*WRITE) <= 8
    emulator.observers.remove(be_slow)
    assert revert(client, bucket, "run").restored == 40
    assert {sample_id: dataset.labels_of(sample_id) for sample_id in proposals} == before


def test_a_guard_judges_the_stored_plan_at_every_try(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    bucket = Bucket()
    policy = {"min_samples": 120, "hard_examples": "confirm"}
    emulator.faults.add("PUT", WRITE[1], "status", times=None, after=1, status=403, code="ModelArts.0108")
    run = Confirmation(
        client, ConfirmationRequest.checked(dataset_id, policy=policy, ledger=place(bucket), concurrency=1)
    )
    with pytest.raises(Exception, match=r"0108"):
        run.run()
    first = run.result()
    assert first is not None
    assert first.confirmed == 50
    emulator.faults.clear()
    # 100 are left, fewer than the guard wants: what it judges is the whole.
    result = confirm(client, dataset_id, policy=policy, ledger=place(bucket, 2))
    assert (result.seen, result.confirmed, result.gone) == (150, 150, 0)
    assert len([name for name in bucket.objects if name.endswith("plan.jsonl")]) == 1


def test_a_guard_that_does_not_hold_for_a_plan_writes_nothing(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    run = Confirmation(
        client, ConfirmationRequest.checked(dataset_id, policy={"max_samples": 10}, plan=Bucket() / "plan.jsonl")
    )
    with pytest.raises(GuardFailed, match="max_samples"):
        run.run()
    result = run.result()
    assert result is not None
    assert (result.seen, result.confirmed) == (150, 0)
    assert emulator.journal.count(*WRITE) == 0


def test_only_what_was_planned_and_still_holds_is_written(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    dataset = emulator.dataset(dataset_id)
    bucket = Bucket()
    path = bucket / "plan.jsonl"
    make_plan(client, dataset_id, path)
    edited, *_ = sorted(dataset.proposals)
    dataset.edit(edited, ["by hand"])
    result = confirm(client, dataset_id, plan=path, ledger=place(bucket))
    assert (result.seen, result.confirmed, result.gone, result.changed_since_plan) == (150, 149, 1, 0)
    assert dataset.names_of(edited) == ["by hand"]
    assert {entry.fate for entry in entries(bucket) if entry.sample_id == edited} == {"gone"}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"policy": {"min_score": 0.5}}, "policy"),
        ({"label_name": "rose"}, "filters"),
        ({"first_label": "rose"}, "filters and first_label"),
        ({"dataset_id": "other"}, "dataset_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plan_for_something_else_is_refused(
    client: ModelArtsClient, emulator: Emulator, asked: dict[str, Any], named: str
) -> None:
    dataset_id = emulator.load_proposals(10)
    path = Bucket() / "plan.jsonl"
    make_plan(client, dataset_id, path)
    with pytest.raises(PlanRefused, match=named):
        confirm(client, **{"dataset_id": dataset_id, "plan": path, **asked})
    assert emulator.journal.count(*WRITE) == 0


@pytest.mark.parametrize(
    ("planned", "asked", "named"),
    [
        ({"policy": {"min_score": 0.5}}, {}, "policy"),
        ({}, {"policy": {"min_score": 0.5}}, "policy"),
        ({"label_name": "rose"}, {}, "filters"),
        ({"first_label": "rose"}, {}, "filters and first_label"),
        ({"first_label": "rose"}, {"label_name": "rose"}, "first_label"),
        ({"low_score": 0.1}, {"high_score": 0.9}, "filters"),
    ],
    ids=str,
)
def test_a_plan_of_an_earlier_try_is_refused_if_something_else_is_asked_for_now(
    client: ModelArtsClient, emulator: Emulator, planned: dict[str, Any], asked: dict[str, Any], named: str
) -> None:
    dataset_id = emulator.load_proposals(30)
    bucket = Bucket()
    emulator.faults.add(*WRITE, "status", times=None, status=403, code="ModelArts.0108")
    with pytest.raises(PermissionDenied):
        confirm(client, dataset_id, ledger=place(bucket), **planned)
    emulator.faults.clear()
    emulator.journal.clear()
    with pytest.raises(PlanRefused, match=f"made for another {named} than"):
        confirm(client, dataset_id, ledger=place(bucket, 2), **asked)
    assert emulator.journal.count(*WRITE) == 0
    assert confirm(client, dataset_id, ledger=place(bucket, 2), **planned).confirmed > 0


@pytest.mark.parametrize("dies", [False, True], ids=["failed", "killed"])
def test_a_plan_that_was_replaced_between_two_tries_is_refused(
    client: ModelArtsClient, emulator: Emulator, dies: bool
) -> None:
    dataset_id = emulator.load_proposals(150)
    bucket = Bucket()
    path = bucket / "plan.jsonl"
    first = make_plan(client, dataset_id, path).plan
    emulator.faults.add(*WRITE, "status", times=None, after=1, status=403, code="ModelArts.0108")
    with pytest.raises(PermissionDenied):
        confirm(client, dataset_id, plan=path, ledger=place(bucket), concurrency=1)
    emulator.faults.clear()
    if dies:  # before it could close its chain
        for name in [name for name in bucket.objects if ".try001." in name]:
            del bucket.objects[name]
        ledger = LedgerWriter(bucket, place(bucket).identity, dataset_id, plan_digest=first.digest)
        ledger.record(Entry("x", "failed", "passed", [], code="ModelArts.4420"))
        ledger.flush()
    make_plan(client, dataset_id, path)
    written = emulator.journal.count(*WRITE)
    with pytest.raises(PlanRefused, match=first.digest):
        confirm(client, dataset_id, plan=path, ledger=place(bucket, 2))
    assert emulator.journal.count(*WRITE) == written
    # A clear begins anew, and so does another task of the run.
    for identity in (
        RunIdentity("dag", "run", "task", try_number=3, intent="cleared"),
        RunIdentity("dag", "run", "other", try_number=1),
    ):
        assert confirm(client, dataset_id, plan=path, ledger=LedgerTarget(bucket, identity)).failed == 0


def test_a_plan_by_which_nothing_was_written_may_be_replaced(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    bucket = Bucket()
    path = bucket / "plan.jsonl"
    make_plan(client, dataset_id, path)
    emulator.faults.add(*WRITE, "status", times=None, status=403, code="ModelArts.0108")
    with pytest.raises(PermissionDenied):
        confirm(client, dataset_id, plan=path, ledger=place(bucket))
    emulator.faults.clear()
    make_plan(client, dataset_id, path, policy={"min_score": 0.0, "hard_examples": "confirm"})
    assert confirm(client, dataset_id, plan=path, ledger=place(bucket, 2)).confirmed == 150


def test_a_plan_stored_by_another_try_meanwhile_is_applied(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    bucket = Bucket()
    path = bucket / "plan.jsonl"
    theirs: list[Plan] = []

    def let_the_retry_plan() -> bool:
        """Asked before each page: by then this try has found no plan."""
        if not theirs:
            theirs.append(make_plan(client, dataset_id, path).plan)
        return False

    result = confirm(client, dataset_id, plan=path, ledger=place(bucket), concurrency=1, should_stop=let_the_retry_plan)
    assert result.confirmed == 150
    assert read_plan(path).digest == theirs[0].digest
    assert {chain.first().plan_digest for chain in read_ledger(bucket, "run").chains} == {theirs[0].digest}


def test_a_plan_stored_meanwhile_for_something_else_is_refused(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(150)
    path = Bucket() / "plan.jsonl"

    def let_others_plan() -> bool:
        if not path.exists():
            make_plan(client, dataset_id, path, policy={"min_score": 0.5})
        return False

    with pytest.raises(PlanRefused, match="policy"):
        confirm(client, dataset_id, plan=path, policy={"min_score": 0.9}, concurrency=1, should_stop=let_others_plan)
    assert emulator.journal.count(*WRITE) == 0


NOTHING = {"label_name": "orchid", "policy": {"min_score": 0.99, "max_samples": 10}}
"""What nothing is proposed for: the plan has no line."""


def plan_nothing(client: ModelArtsClient, dataset_id: str, path: Any, **more: Any) -> Plan:
    asked: dict[str, Any] = {"policy": NOTHING["policy"], "filters": {"label_name": NOTHING["label_name"]}, **more}
    plan = make_plan(client, dataset_id, path, **asked).plan
    assert len(plan) == 0
    return plan


def test_an_empty_plan_is_a_plan(client: ModelArtsClient, emulator: Emulator) -> None:
    path = Bucket() / "plan.jsonl"
    plan = plan_nothing(client, emulator.load_proposals(5), path)
    assert (bool(plan), bool(read_plan(path))) == (True, True)


@pytest.mark.parametrize("keeps_ledger", [False, True], ids=["no ledger", "ledger"])
@pytest.mark.parametrize("given", ["object", "path", "own"])
@pytest.mark.parametrize("asks", ["again", "only the plan"])
def test_an_empty_plan_confirms_nothing(
    client: ModelArtsClient, emulator: Emulator, keeps_ledger: bool, given: str, asks: str
) -> None:
    dataset_id = emulator.load_proposals(230)
    bucket = Bucket()
    asked: dict[str, Any] = dict(NOTHING) if asks == "again" or given == "own" else {}
    path = bucket / "plan.jsonl"
    if given != "own":
        plan = plan_nothing(client, dataset_id, path)
        asked["plan"] = plan if given == "object" else path
    if keeps_ledger or given == "own":
        asked["ledger"] = place(bucket)
    for preview in (True, False, False):
        result = confirm(client, dataset_id, **asked, preview=preview)
        assert (result.seen, result.confirmed, result.by_label) == (0, 0, {})
    assert result.plan_uri is not None
    assert emulator.journal.count(*WRITE) == 0
    assert not read_ledger(bucket, "run").chains or entries(bucket) == []
    # What is proposed later, also with the label that was asked for, was not planned.
    first = next(iter(emulator.dataset(dataset_id).proposals.values()))
    emulator.dataset(dataset_id).propose([{**first, "labels": [{**first["labels"][0], "name": "orchid"}]}])
    for preview in (True, False):
        later = confirm(client, dataset_id, **asked, preview=preview)
        assert (later.seen, later.confirmed, later.left, later.changed_since_plan) == (1, 0, 1, 1)
    assert emulator.journal.count(*WRITE) == 0
    assert emulator.dataset(dataset_id).annotated == 0


def test_an_empty_plan_keeps_its_filters_and_its_first_label(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(130, kind="multi_label")
    path = Bucket() / "plan.jsonl"
    plan_nothing(client, dataset_id, path, policy=None, filters={"label_name": "orchid"}, first_label="orchid")
    emulator.journal.clear()
    for preview in (True, False):
        assert confirm(client, dataset_id, plan=path, preview=preview).seen == 0
    listed = [record.query for record in emulator.journal if record.path.endswith("/auto-annotations/samples")]
    assert {query.get("label_name") for query in listed} == {"orchid"}


def test_guards_of_an_empty_plan_are_held(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(130)
    path = Bucket() / "plan.jsonl"
    policy = {"min_samples": 1, "hard_examples": "confirm"}
    plan_nothing(client, dataset_id, path, policy=policy)
    for preview in (True, False):
        run = Confirmation(client, ConfirmationRequest.checked(dataset_id, plan=path, preview=preview))
        with pytest.raises(GuardFailed, match="only 0 samples"):
            run.run()
        result = run.result()
        assert result is not None
        assert (result.seen, result.confirmed) == (0, 0)
    assert emulator.journal.count(*WRITE) == 0


def test_a_plan_of_a_dataset_without_proposals_confirms_nothing_that_comes_later(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id = emulator.load_proposals(30)
    later = list(emulator.dataset(dataset_id).proposals.values())
    emulator.dataset(dataset_id).propose([], keep=False)
    bucket = Bucket()
    assert len(make_plan(client, dataset_id, bucket / "plan.jsonl").plan) == 0
    emulator.dataset(dataset_id).propose(later)
    result = confirm(client, dataset_id, plan=bucket / "plan.jsonl", ledger=place(bucket))
    assert (result.seen, result.left, result.changed_since_plan) == (30, 30, 30)
    assert emulator.journal.count(*WRITE) == 0


@pytest.mark.parametrize("policy", [{"min_score": 1.0, "audit_share": 1}, {"labels": ["orchid"]}], ids=str)
def test_a_plan_that_only_leaves_or_reviews_confirms_nothing(
    client: ModelArtsClient, emulator: Emulator, policy: dict[str, Any]
) -> None:
    dataset_id = emulator.load_proposals(130)
    bucket = Bucket()
    plan = make_plan(client, dataset_id, bucket / "plan.jsonl", policy=policy).plan
    assert (len(plan), plan.counts["confirm"]) == (130, 0)
    result = confirm(client, dataset_id, plan=bucket / "plan.jsonl", ledger=place(bucket))
    assert (result.seen, result.confirmed, result.review + result.left) == (130, 0, 130)
    assert emulator.journal.count(*WRITE) == 0


def test_after_a_try_with_an_empty_plan_died_there_is_nothing_to_undo(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    """The process dies before it has stored the first part of its ledger."""

    class Dead(BaseException):
        pass

    class Dying(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if ".try001." in str(self) and mode != "rb" and emulator.journal.count("GET", "/auto-annotations/samples"):
                raise Dead
            return super().open(mode)

    dataset_id = emulator.load_proposals(130)
    bucket = Dying()
    plan_nothing(client, dataset_id, bucket / "plan.jsonl")
    with pytest.raises(Dead):
        confirm(client, dataset_id, plan=bucket / "plan.jsonl", ledger=place(bucket))
    assert emulator.dataset(dataset_id).annotated == 0
    alive = Bucket(objects=bucket.objects)
    result = confirm(client, dataset_id, plan=alive / "plan.jsonl", ledger=place(alive, 2))
    assert (result.confirmed, emulator.dataset(dataset_id).annotated) == (0, 0)
    assert revert(client, alive, "run").seen == 0


def test_a_first_label_without_a_name_is_refused(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(5)
    for given in ({"first_label": ""}, {"first_label": "", "label_name": "rose"}, {"label_name": " "}):
        with pytest.raises(InvalidRequest, match="must be a label's name"):
            confirm(client, dataset_id, **given)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="half a surrogate pair"):
        confirm(client, dataset_id, label_name="rose \ud83d")
    for more in ({"first_label": " "}, {"filters": {"label_name": ""}}):
        with pytest.raises(InvalidRequest, match="must be a label's name"):
            make_plan(client, dataset_id, Bucket() / "plan.jsonl", **more)  # type: ignore[arg-type]
    assert len(emulator.journal) == 0


def test_a_preview_refuses_a_plan_for_something_else_as_the_run_does(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id = emulator.load_proposals(30)
    bucket = Bucket()
    plan_nothing(client, dataset_id, bucket / "plan.jsonl")
    with pytest.raises(PlanRefused, match="filters"):
        confirm(client, dataset_id, plan=bucket / "plan.jsonl", label_name="rose", preview=True)
    confirm(client, dataset_id, ledger=place(bucket), **NOTHING)
    with pytest.raises(PlanRefused, match="policy and filters"):
        confirm(client, dataset_id, ledger=place(bucket), preview=True)


def test_a_preview_stores_nothing(client: ModelArtsClient, emulator: Emulator) -> None:
    bucket = Bucket()
    result = confirm(client, emulator.load_proposals(30), plan=bucket / "plan", ledger=place(bucket), preview=True)
    assert (result.confirmed, bucket.objects) == (30, {})
    assert emulator.journal.count(*WRITE) == 0


def test_a_ledger_that_cannot_be_written_ends_the_run(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if mode == "wb" and "try001" in str(self):
                raise OSError("no space left")
            return super().open(mode)

    with pytest.raises(ConfirmationError, match=r"no space left.*Check ledger_uri"):
        confirm(client, emulator.load_proposals(30), ledger=place(Full()))


class EndpointError(Exception):
    """As botocore's, which is no OSError."""


@pytest.mark.parametrize("kind", [OSError, EndpointError])
def test_a_storage_that_fails_once_costs_no_entry(
    client: ModelArtsClient, emulator: Emulator, kind: type[Exception]
) -> None:
    failed: list[str] = []

    class Flaky(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if mode == "wb" and ".000001." in str(self) and not failed:
                failed.append(str(self))
                raise kind("Could not connect to the endpoint URL")
            return super().open(mode)

    dataset_id, bucket = emulator.load_proposals(3000), Flaky()
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, ledger=place(bucket)))
    with pytest.raises(ConfirmationError, match="Could not connect"):
        run.run()
    result, ledger = run.result(), read_ledger(bucket, "run")
    written = emulator.dataset(dataset_id).annotated
    assert result is not None
    assert result.confirmed == written > 0
    assert [entry.fate for _, entry in ledger.entries()] == ["confirmed"] * written
    assert ledger.verify() == []


def test_what_nobody_expected_leaves_counts_and_an_open_ledger(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("unexpected")

    dataset_id, bucket = emulator.load_proposals(300), Bucket()
    monkeypatch.setattr(Reconciler, "unlisted", broken)
    run = Confirmation(client, ConfirmationRequest.checked(dataset_id, ledger=place(bucket)))
    with pytest.raises(ZeroDivisionError):
        run.run()
    result, ledger = run.result(), read_ledger(bucket, "run")
    assert result is not None
    assert result.confirmed == 300 == sum(1 for _ in ledger.entries())
    assert "its writer crashed" in ledger.verify()[0]


@pytest.mark.parametrize("trims", [False, True])
def test_shards_by_first_label_share_a_dataset(client: ModelArtsClient, emulator: Emulator, trims: bool) -> None:
    emulator.variants.trim_labels_to_filter = trims
    names = ["rose", "tulip", "weed"]
    dataset_id = emulator.load_proposals(400, kind="multi_label", labels=names)
    first = [raw["labels"][0]["name"] for raw in emulator.dataset(dataset_id).proposals.values()]
    for name in names:
        result = confirm(client, dataset_id, first_label=name)
        assert (result.seen, result.confirmed, result.unaccounted) == (first.count(name), first.count(name), 0)
    assert emulator.dataset(dataset_id).unconfirmed == 0
    assert emulator.journal.count("GET", "/auto-annotations/samples/") < 10


def test_a_plan_for_a_first_label_says_so_to_who_applies_it(client: ModelArtsClient, emulator: Emulator) -> None:
    names = ["rose", "tulip", "weed"]
    dataset_id = emulator.load_proposals(200, kind="multi_label", labels=names)
    first = [raw["labels"][0]["name"] for raw in emulator.dataset(dataset_id).proposals.values()]
    path = Bucket() / "plan.jsonl"
    made = make_plan(client, dataset_id, path, filters={"label_name": "tulip"}, first_label="tulip")
    assert made.result.seen == first.count("tulip")
    assert read_plan(path).header.first_label == "tulip"
    result = confirm(client, dataset_id, plan=path)
    assert (result.seen, result.confirmed, result.changed_since_plan) == (first.count("tulip"),) * 2 + (0,)
    assert emulator.dataset(dataset_id).unconfirmed == 200 - first.count("tulip")


def test_throttled_threads_become_fewer_and_more_again(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(900)
    faults = [
        emulator.faults.add(
            method, path, "status", times=5, after=4, status=429, code="APIGW.0308", headers={"Retry-After": "3"}
        )
        for method, path in (WRITE, ("GET", "/auto-annotations/samples"))
    ]
    result = confirm(client, dataset_id, concurrency=8)
    assert [fault.fired for fault in faults] == [5, 5]
    assert (result.confirmed, result.failed) == (900, 0)


def test_the_pace_is_halved_once_for_what_was_under_way_together_and_grows_by_one_a_round(
    moved_clock: MovedClock,
) -> None:
    clock: Any = moved_clock
    pace = ConcurrencyLimiter(16, clock)
    asked_at = clock.now()
    clock.sleep(1)
    for _ in range(5):
        pace.throttled(asked_at, 7.0)
    assert pace.allowed == 8
    pace.wait()
    assert clock.now() == asked_at + 8
    pace.throttled(clock.now(), None)
    assert pace.allowed == 4
    for _ in range(4):
        pace.went_well()
    assert pace.allowed == 4
    pace.went_well()
    assert pace.allowed == 5
    for _ in range(500):
        pace.went_well()
    assert pace.allowed == 16


@pytest.mark.parametrize("concurrency", [0, 65, "many", True])
def test_concurrency_has_bounds(client: ModelArtsClient, concurrency: Any) -> None:
    with pytest.raises(InvalidRequest, match="concurrency"):
        confirm(client, "dataset", concurrency=concurrency)


@pytest.mark.parametrize("proposed", ["as before", "otherwise", "with one label more"])
@pytest.mark.parametrize("filters", [{"label_name": "rose"}, {"low_score": 0.5}, {"first_label": "rose"}])
@pytest.mark.parametrize("trims", [False, True])
def test_a_retry_ends_although_what_was_confirmed_is_proposed_again(
    client: ModelArtsClient, emulator: Emulator, trims: bool, filters: dict[str, Any], proposed: str
) -> None:
    emulator.variants.trim_labels_to_filter = trims
    dataset_id = emulator.load_proposals(40, kind="multi_label", labels=["rose", "tulip", "weed"])
    dataset, bucket = emulator.dataset(dataset_id), Bucket()
    raw = next(
        dict(raw)
        for raw in dataset.proposals.values()
        if len(raw["labels"]) > 1
        and raw["labels"][0]["name"] == "rose"
        and any(label["score"] < 0.5 for label in raw["labels"])
        and any(label["score"] >= 0.5 for label in raw["labels"])
    )
    first = confirm(client, dataset_id, ledger=place(bucket), **filters)
    assert first.confirmed > 0
    labels = [dict(label) for label in raw["labels"]]
    if proposed == "otherwise":
        labels[-1]["name"] = "something else"
    elif proposed != "as before":
        labels.append({**labels[-1], "name": "one more", "id": "9"})
    dataset.propose([{**raw, "labels": labels, "annotated_by": "human/account/user"}])
    result = confirm(client, dataset_id, ledger=place(bucket, 2), **filters)
    assert result.unaccounted == 0
    assert result.confirmed + result.left == first.confirmed
    assert result.left == (proposed != "as before")


ODD = {"status": 200, "body": '{"error_code": "ModelArts.9999", "error_msg": "odd"}'}


def test_an_odd_read_of_what_a_lost_answer_left_open_is_the_failure_of_that_sample(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id, bucket = emulator.load_proposals(100), Bucket()
    dataset = emulator.dataset(dataset_id)
    odd = tuple(list(dataset.proposals)[::7])
    emulator.faults.add(*WRITE, "reset_after")
    emulator.faults.add(
        "GET", "data-annotations", "status", times=None, match=lambda call: call.path.endswith(odd), **ODD
    )
    result = confirm(client, dataset_id, ledger=place(bucket))
    assert (result.confirmed, result.gone, result.failed) == (100 - len(odd), 0, len(odd))
    emulator.faults.clear()
    assert confirm(client, dataset_id, ledger=place(bucket, 2)).confirmed == 100
    assert revert(client, bucket, "run").cleared == 100


def test_an_odd_read_of_what_the_list_did_not_show_keeps_no_other_back(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id, bucket = emulator.load_proposals(20), Bucket()
    dataset = emulator.dataset(dataset_id)
    plan = make_plan(client, dataset_id, bucket / "plan.jsonl").plan
    odd, *others = list(dataset.proposals)[:5]
    for sample_id in (odd, *others):
        dataset.edit(sample_id, [dict(label) for label in dataset.proposals[sample_id]["labels"]])
    emulator.faults.add("GET", odd, "status", times=None, **ODD)
    result = confirm(client, dataset_id, plan=plan, ledger=place(bucket))
    assert (result.confirmed, result.gone, result.failed) == (15, 4, 1)
    emulator.faults.clear()
    again = confirm(client, dataset_id, plan=plan, ledger=place(bucket, 2))
    assert (again.confirmed, again.gone, again.failed) == (15, 5, 0)


@pytest.mark.parametrize("trims", [False, True])
def test_an_odd_read_of_a_proposal_is_the_failure_of_that_sample(
    client: ModelArtsClient, emulator: Emulator, trims: bool
) -> None:
    emulator.variants.trim_labels_to_filter = trims
    dataset_id = emulator.load_proposals(40, kind="multi_label", labels=["rose", "tulip", "weed"])
    wanted = [key for key, raw in emulator.dataset(dataset_id).proposals.items() if "rose" in str(raw["labels"])]
    emulator.faults.add("GET", f"auto-annotations/samples/{wanted[1]}", "status", times=None, **ODD)
    result = confirm(client, dataset_id, label_name="rose", ledger=place(Bucket()))
    assert result.failed <= 1
    assert result.confirmed + result.failed == len(wanted)


def test_a_sample_whose_labels_before_cannot_be_read_is_not_written(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id, bucket = emulator.load_proposals(20), Bucket()
    dataset = emulator.dataset(dataset_id)
    sample_id, raw = list(dataset.proposals.items())[3]
    dataset.edit(sample_id, ["by hand"])
    dataset.propose([{**raw, "annotated_by": "human/account/user"}])
    emulator.faults.add("GET", f"data-annotations/samples/{sample_id}", "status", times=None, **ODD)
    result = confirm(client, dataset_id, ledger=place(bucket))
    assert (result.confirmed, result.failed) == (19, 1)
    assert dataset.names_of(sample_id) == ["by hand"]
