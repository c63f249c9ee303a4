"""What the machine found: tries beside each other, and a stop that comes while something is read once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.apply.batch_writer import FRESH_SECONDS, BatchWriter
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.ledger.entries import Entry, RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals, ProposalRead
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

BY_HAND = [{"name": "by hand", "type": 0, "property": {}}]
# What each try wrote down of one sample, in the order of the tries, and what stood there before the run.
RECORDS: dict[str, tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "a zombie reads what its retry wrote": (
        [[{"fate": "confirmed", "read": True}], [{"fate": "confirmed", "before": BY_HAND}]],
        BY_HAND,
    ),
    "a killed try had noted a person's labels": (
        [[{"fate": "intended", "before": BY_HAND}], [{"fate": "confirmed", "read": True}]],
        BY_HAND,
    ),
    "a zombie takes what its retry wrote for a person's": (
        [[{"fate": "intended", "before": "ours"}], [{"fate": "confirmed", "before": BY_HAND}]],
        BY_HAND,
    ),
    "the same, and there had been none": (
        [[{"fate": "intended", "before": "ours"}], [{"fate": "confirmed"}]],
        [],
    ),
    "a killed try wrote nothing down": ([[{"fate": "confirmed", "read": True}]], []),
    "another one found it labeled since, and wrote it": (
        [[{"fate": "confirmed"}], [{"fate": "intended", "before": BY_HAND}]],
        BY_HAND,
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_undo_knows_what_was_there_before_the_run(client: ModelArtsClient, emulator: Emulator, name: str) -> None:
    records, before = RECORDS[name]
    dataset_id = emulator.load_proposals(1)
    dataset = emulator.dataset(dataset_id)
    ((sample_id, raw),) = dataset.proposals.items()
    dataset.edit(sample_id, raw["labels"])
    bucket = Bucket()
    for number, entries in enumerate(records, start=1):
        with LedgerWriter(bucket, RunIdentity("dag", "run", "task", try_number=number), dataset_id) as ledger:
            for facts in entries:
                ours = {"before": dataset.labels_of(sample_id)} if facts.get("before") == "ours" else {}
                given: dict[str, Any] = {**facts, **ours}
                ledger.record(Entry(sample_id, rule="passed", after=raw["labels"], **given))
    result = revert(client, bucket, "run")
    assert dataset.labels_of(sample_id) == before
    assert result.restored + result.cleared == 1


def test_a_stop_while_samples_are_read_once_more_lets_no_write_out(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_proposals(3)
    service = DatasetProposals(client, dataset_id, moved_clock)  # type: ignore[arg-type]  # a clock by what it does
    listed = service.page(0, 100)
    candidates = [ProposalRead(row, listed.read_at) for row in listed.items]
    moved_clock.sleep(FRESH_SECONDS + 1)

    def reads() -> int:
        return emulator.journal.count("GET", "auto-annotations/samples/")

    writer = BatchWriter(service, batch_size=100, stop=StopSignal(lambda: bool(reads())))
    outcomes = list(writer.write(candidates))
    assert reads()
    assert emulator.journal.count("PUT") == 0
    assert {sample_id for outcome in outcomes for sample_id in outcome.ids} == emulator.dataset(
        dataset_id
    ).proposals.keys()
    assert [outcome.status for outcome in outcomes for _ in outcome.ids] == [ConfirmationStatus.LEFT] * 3


# Who shares the ledger of a run with the task that confirms, and has written there before it.
OTHERS = {
    "another task": RunIdentity("dag", "run", "other"),
    "another shard": RunIdentity("dag", "run", "task", map_index=1),
    "another DAG": RunIdentity("other", "run", "task"),
}


@pytest.mark.parametrize("same_plan", [False, True], ids=["a plan of its own", "the same plan"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_a_person_confirmed_is_not_ours_because_others_wrote_in_the_run(
    client: ModelArtsClient, emulator: Emulator, name: str, same_plan: bool
) -> None:
    bucket = Bucket()
    dataset_id = emulator.load_proposals(5)
    dataset = emulator.dataset(dataset_id)
    plan = make_plan(client, dataset_id, bucket / "plan.jsonl").plan
    digest = plan.digest if same_plan else "another"
    sample_id, *others = dataset.proposals
    with LedgerWriter(bucket, OTHERS[name], dataset_id, plan_digest=digest) as ledger:
        ledger.record(Entry("x", "failed", "passed", [], code="ModelArts.4420"))
    dataset.edit(sample_id, dataset.proposals[sample_id]["labels"])  # as the console does for a person who accepts it
    by_hand = dataset.labels_of(sample_id)

    result = confirm(client, dataset_id, plan=plan, ledger=LedgerTarget(bucket, RunIdentity("dag", "run", "task")))
    assert (result.confirmed, result.gone) == (4, 1)
    fates = {entry.sample_id: entry.fate for _, entry in read_ledger(bucket, "run").entries()}
    assert fates == {"x": "failed", sample_id: "gone", **dict.fromkeys(others, "confirmed")}
    undone = revert(client, bucket, "run", ledger_dag_id="dag")
    assert undone.cleared == 4
    assert dataset.labels_of(sample_id) == by_hand


def test_what_a_person_confirmed_is_not_ours_because_another_plan_was_tried(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    bucket, identity = Bucket(), RunIdentity("dag", "run", "task")
    dataset_id = emulator.load_proposals(5)
    dataset = emulator.dataset(dataset_id)
    plan = make_plan(client, dataset_id, bucket / "plan.jsonl").plan
    with LedgerWriter(bucket, identity, dataset_id, plan_digest="of a plan that was replaced") as ledger:
        ledger.record(Entry("x", "failed", "passed", [], code="ModelArts.4420"))
    sample_id = next(iter(dataset.proposals))
    dataset.edit(sample_id, dataset.proposals[sample_id]["labels"])
    result = confirm(client, dataset_id, plan=plan, ledger=LedgerTarget(bucket, identity))
    assert (result.confirmed, result.gone) == (4, 1)


def test_the_chains_of_others_are_not_read(client: ModelArtsClient, emulator: Emulator) -> None:
    bucket = Bucket()
    dataset_id = emulator.load_proposals(5)
    for identity in OTHERS.values():
        with LedgerWriter(bucket, identity, dataset_id) as ledger:
            ledger.record(Entry("x", "confirmed", "passed", []))
    theirs = set(bucket.objects)
    for name in theirs:
        bucket.objects[name] = b"of no use to this task"
    result = confirm(client, dataset_id, ledger=LedgerTarget(bucket, RunIdentity("dag", "run", "task")))
    assert result.confirmed == 5


# What a try beside this one does to one sample while this one is held up, and what becomes of the sample then.
BESIDE: dict[str, tuple[str, str]] = {
    "was killed before it stored its part": ("open", "confirmed"),
    "was killed after it stored its part": ("stored", "confirmed"),
    "has ended well": ("closed", "confirmed"),
    "has ended, and a person accepted the proposal": ("closed without it", "gone"),
    "did not exist, and a person accepted the proposal": ("", "gone"),
}


class HeldUp:
    """A try that is held up while another one, or a person, labels one of its samples as planned."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, how: str) -> None:
        self.client, self.emulator, self.clock, self.bucket, self.how = client, emulator, moved_clock, Bucket(), how
        self.dataset_id = emulator.load_proposals(6)
        self.dataset = emulator.dataset(self.dataset_id)
        self.plan = make_plan(client, self.dataset_id, self.bucket / "plan.jsonl").plan
        self.sample_id, self.raw = list(self.dataset.proposals.items())[2]
        self.fault = emulator.faults.add("PUT", "data-annotations", "status", status=400, code="ModelArts.4381")
        emulator.observers.append(self.act)

    def act(self, record: Any) -> None:
        if record.method != "PUT" or not record.fault:
            return
        self.clock.advance(30)
        labels = [dict(label) for label in self.raw["labels"]]
        if self.how:
            identity = RunIdentity("dag", "run", "task")
            ledger = LedgerWriter(self.bucket, identity, self.dataset_id, plan_digest=self.plan.digest)
            ledger.begin()
            if self.how in ("stored", "closed"):
                ledger.record(Entry(self.sample_id, "confirmed", "confirm_all", labels))
                ledger.flush()
            if self.how.startswith("closed"):
                ledger.close()
        is_ours = self.how in ("open", "stored", "closed")
        author = f"human/{self.emulator.domain}/{self.emulator.user}" if is_ours else "human/emulator/person"
        self.dataset.edit(self.sample_id, labels, author=author)

    def confirm(self, try_number: int = 2, **more: Any) -> Any:
        ledger = LedgerTarget(self.bucket, RunIdentity("dag", "run", "task", try_number=try_number))
        return confirm(self.client, self.dataset_id, plan=self.plan, ledger=ledger, **more)

    def fate(self) -> str:
        fates = [
            entry.fate for _, entry in read_ledger(self.bucket, "run").entries() if entry.sample_id == self.sample_id
        ]
        return fates[-1] if fates else ""

    def check_undo(self, fate: str) -> None:
        result = revert(self.client, self.bucket, "run")
        assert bool(self.dataset.labels_of(self.sample_id)) == (fate != "confirmed")
        assert result.cleared == (6 if fate == "confirmed" else 5)


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_found_written_is_judged_when_all_tries_have_been_read(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, name: str
) -> None:
    how, fate = BESIDE[name]
    story = HeldUp(client, emulator, moved_clock, how)
    result = story.confirm()
    assert story.fault.fired == 1
    assert (result.confirmed, result.gone) == ((6, 0) if fate == "confirmed" else (5, 1))
    assert story.fate() == fate
    story.check_undo(fate)


@pytest.mark.parametrize("name", BESIDE)
def test_what_was_found_written_and_not_judged_any_more_is_left_to_the_next_try(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, name: str
) -> None:
    how, fate = BESIDE[name]
    story = HeldUp(client, emulator, moved_clock, how)
    first = story.confirm(should_stop=lambda: story.dataset.unconfirmed == 0)
    assert first.stopped
    result = story.confirm(3)
    assert (result.confirmed, result.gone) == ((6, 0) if fate == "confirmed" else (5, 1))
    story.check_undo(fate)


def test_what_is_found_written_without_a_ledger_is_gone(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = HeldUp(client, emulator, moved_clock, "")
    result = confirm(client, story.dataset_id, plan=story.plan)
    assert (result.confirmed, result.gone) == (5, 1)


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_a_killed_try_wrote_is_known_although_it_is_proposed_otherwise_since(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, is_ours: bool
) -> None:
    story = HeldUp(client, emulator, moved_clock, "open")
    ledger = LedgerWriter(
        story.bucket, RunIdentity("dag", "run", "task"), story.dataset_id, plan_digest=story.plan.digest
    )
    ledger.begin()
    emulator.faults.clear()
    emulator.observers.clear()
    written = story.raw["labels"] if is_ours else ["by hand"]
    author = f"human/{emulator.domain}/{emulator.user}" if is_ours else "human/emulator/person"
    story.dataset.edit(story.sample_id, written, author=author)
    otherwise = [{**label, "name": "otherwise"} for label in story.raw["labels"]]
    story.dataset.propose([{**story.raw, "labels": otherwise, "annotated_by": "human/emulator/person"}])
    result = story.confirm()
    assert (result.confirmed, result.left, result.changed_since_plan) == (5, 1, 1)
    assert story.fate() == ("confirmed" if is_ours else "changed")
    story.check_undo("confirmed" if is_ours else "changed")
