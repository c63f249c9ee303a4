"""What allows a write and what an answer proves, one rule at a time (B14, B15)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import PermissionDenied
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.apply.batch_writer import FRESH_SECONDS, BatchWriter
from airflow_provider_modelarts.labeling.apply.confirmation import ConfirmationRequest, LedgerTarget, confirm
from airflow_provider_modelarts.labeling.apply.run import ConfirmationRun
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.proposals.sample_status import check_status
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals, ProposalRead
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket
from tests.labeling.raw_samples import raw_label, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.client import ModelArtsClient, Page
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

GONE, CONFIRMED = ConfirmationStatus.GONE, ConfirmationStatus.CONFIRMED
WRITE = ("PUT", "data-annotations/samples")


class Desk:
    """A dataset, what its list has just shown, and a writer.

    :param labels: of every proposal
    """

    def __init__(
        self,
        client: ModelArtsClient,
        emulator: Emulator,
        clock: MovedClock,
        count: int = 3,
        labels: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.client, self.emulator, self.clock = client, emulator, clock
        self.dataset_id = emulator.load_proposals(count)
        self.dataset = emulator.dataset(self.dataset_id)
        self.proposed = [
            {**raw, "labels": list(labels or [raw_label()])} for raw in reversed(self.dataset.proposals.values())
        ]
        self.dataset.propose(self.proposed, keep=False)
        self.service = DatasetProposals(client, self.dataset_id, clock)  # type: ignore[arg-type]  # a clock by what it does
        self.page: Page[SampleRow] = self.service.page(0, 100)
        self.candidates = [ProposalRead(row, self.page.read_at) for row in self.page.items]
        self.ids = [sample.sample_id for sample in self.page.items]
        emulator.journal.clear()

    def write(self, **more: Any) -> dict[str, ConfirmationStatus]:
        """Return what became of each sample, in the order in which that was known."""
        writer = BatchWriter(self.service, batch_size=100, stop=StopSignal(), **more)
        return {sample_id: outcome.status for outcome in writer.write(self.candidates) for sample_id in outcome.ids}

    def final(self) -> list[list[dict[str, Any]]]:
        """Return the final labels of every sample, in the order of the list."""
        return [stored(self.dataset.labels_of(sample_id)) for sample_id in self.ids]

    def requests(self) -> list[str]:
        """Return what was asked, "read" or "write" for each request about single samples or batches."""
        return [
            "write" if record.method == "PUT" else "read"
            for record in self.emulator.journal
            if "-annotations/samples" in record.path
        ]


@pytest.fixture
def desk(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> Desk:
    return Desk(client, emulator, moved_clock)


def test_what_a_person_confirmed_while_it_grew_old_is_not_ours(desk: Desk) -> None:
    first, *rest = desk.ids
    desk.clock.sleep(FRESH_SECONDS + 1)
    desk.dataset.edit(first, [raw_label()])  # accepted in the console, with the very labels that were proposed
    assert desk.write() == {first: GONE, **dict.fromkeys(rest, CONFIRMED)}


def test_of_what_was_sent_before_a_list_proves_nothing(desk: Desk) -> None:
    first, *rest = desk.ids
    desk.emulator.faults.add(*WRITE, "reset")
    busy_until = 0.0

    def act(record: Any) -> None:
        nonlocal busy_until
        if record.method == "PUT" and not busy_until:
            busy_until = desk.clock.now() + FRESH_SECONDS + 15
            desk.dataset.status = 6
        elif record.path.endswith(desk.dataset_id) and busy_until:
            if not desk.dataset.labels_of(first):
                desk.dataset.edit(first, [raw_label("corrected")])
            if desk.clock.now() >= busy_until:
                desk.dataset.status = 1

    desk.emulator.observers.append(act)
    looks: list[float] = []

    def list_that_is_behind() -> Page[Sample]:
        looks.append(desk.clock.now())
        return replace(desk.page, read_at=desk.clock.now())

    assert desk.write(list_again=list_that_is_behind) == {
        first: GONE,
        **dict.fromkeys(rest, CONFIRMED),
    }
    assert len(looks) == 1
    assert desk.final()[0] == stored([raw_label("corrected")])


def test_samples_that_grow_old_before_they_were_sent_are_listed_once_more(desk: Desk) -> None:
    desk.clock.sleep(FRESH_SECONDS + 1)
    assert set(desk.write(list_again=lambda: desk.service.page(0, 100)).values()) == {CONFIRMED}
    assert desk.requests() == ["read", "write"]


def test_what_grows_old_while_others_are_read_waits_for_a_read_of_its_own(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    desk = Desk(client, emulator, moved_clock, count=2)
    desk.clock.sleep(FRESH_SECONDS + 1)
    takes = [10.0, 18.0]

    def be_slow(record: Any) -> None:
        if record.method == "GET" and takes:
            desk.clock.sleep(takes.pop(0))

    desk.emulator.observers.append(be_slow)
    first, second = desk.ids
    assert list(desk.write().items()) == [(second, CONFIRMED), (first, CONFIRMED)]
    assert desk.requests() == ["read", "read", "write", "read", "write"]


CORRECTED = [raw_label("corrected")]


@pytest.mark.parametrize(
    ("proposed", "final", "status"),
    [
        ([raw_label()], None, ConfirmationStatus.PLANNED),
        ([raw_label(id="7")], None, ConfirmationStatus.PLANNED),
        ([raw_label(score=0.1)], None, ConfirmationStatus.CHANGED),
        (CORRECTED, None, ConfirmationStatus.CHANGED),
        (CORRECTED, [raw_label()], ConfirmationStatus.CHANGED),
        (
            CORRECTED,
            CORRECTED,
            GONE,
        ),  # a single read that shows final labels as if they were proposed
        (stored([raw_label()]), [raw_label()], CONFIRMED),
        (None, [raw_label()], CONFIRMED),
        (None, CORRECTED, GONE),
        (None, None, GONE),
    ],
)
def test_how_a_sample_stands_is_what_two_reads_show_together(
    client: ModelArtsClient,
    emulator: Emulator,
    moved_clock: MovedClock,
    proposed: list[dict[str, Any]] | None,
    final: list[dict[str, Any]] | None,
    status: ConfirmationStatus,
) -> None:
    desk = Desk(client, emulator, moved_clock, count=1)
    (decided,) = desk.page.items
    desk.dataset.edit(decided.sample_id, final or [])
    desk.dataset.propose([] if proposed is None else [{**decided.sample.raw, "labels": proposed}], keep=False)
    found = check_status(desk.service, decided)
    assert found.status is status
    if status in (ConfirmationStatus.PLANNED, ConfirmationStatus.CHANGED):
        assert found.now is not None
        assert found.now.row.sample.raw["labels"] == proposed


@pytest.mark.parametrize("code", ["4343", "4349", "4355", "4356", "4381"])
def test_samples_of_a_dataset_that_is_busy_go_out_again(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, code: str
) -> None:
    dataset_id = emulator.load_proposals(5)
    sample_id = next(iter(emulator.dataset(dataset_id).proposals))
    fault = emulator.faults.add(*WRITE, "fail_sample", times=2, sample_id=sample_id, code=f"ModelArts.{code}")
    result = confirm(client, dataset_id)
    assert fault.fired == 2
    assert (result.confirmed, result.failed) == (5, 0)
    assert sum(moved_clock.slept) >= 10


def test_an_error_holds_all_others_back_before_anybody_has_noted_it(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_proposals(5)
    service = DatasetProposals(client, dataset_id, moved_clock)  # type: ignore[arg-type]  # a clock by what it does
    pool = WorkerPool(1)
    run = ConfirmationRun(service, ConfirmationRequest(dataset_id, batch_size=1), list, pool, stop=StopSignal())
    page = service.page(0, 100)
    one, two, *_ = run._write_jobs([ProposalRead(row, page.read_at) for row in page.items])
    emulator.faults.add(*WRITE, "status", status=403, code="ModelArts.0108")
    one.run()
    two.run()
    assert emulator.journal.count(*WRITE) == 1
    with pytest.raises(PermissionDenied):
        one.conclude()


def test_what_an_earlier_try_confirmed_is_not_written_again_because_a_list_is_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket()

    def place(try_number: int) -> LedgerTarget:
        return LedgerTarget(bucket, RunIdentity("dag", "run", "task", try_number=try_number))

    assert confirm(desk.client, desk.dataset_id, ledger=place(1)).confirmed == 3
    desk.dataset.edit(desk.ids[0], CORRECTED)
    behind = [desk.page, replace(desk.page, items=[])]
    monkeypatch.setattr(
        desk.client.proposals,
        "page_of_rows",
        lambda _, offset, limit, **more: replace(behind[bool(offset)], read_at=desk.clock.now()),
    )
    desk.emulator.journal.clear()
    result = confirm(desk.client, desk.dataset_id, ledger=place(2))
    assert (result.confirmed, result.gone) == (3, 0)
    assert "write" not in desk.requests()
    assert desk.final()[0] == stored(CORRECTED)


def first_label_of(row: SampleRow) -> SampleRow:
    raw = row.sample.raw
    return row_of(Sample({**raw, "labels": raw["labels"][:1]}))


def test_a_label_outside_the_filter_proves_nothing_if_others_are_missing(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is filtered by score shows one label of each sample, and not one that matches."""
    labels = [raw_label(score=0.3), raw_label("weed", score=0.9)]
    desk = Desk(client, emulator, moved_clock, labels=labels)
    page = client.proposals.page_of_rows

    def odd_page(*args: Any, **filters: Any) -> Page[SampleRow]:
        found = page(*args, **filters)
        if "low_score" not in filters:
            return found
        return replace(found, items=[first_label_of(row) for row in found.items])

    monkeypatch.setattr(client.proposals, "page_of_rows", odd_page)
    assert confirm(client, desk.dataset_id, low_score=0.5).confirmed == 3
    assert desk.final() == [stored(labels)] * 3


# --- what the service refused was not sent


class Refused:
    """A run of which the service refuses a few samples; a person accepts the proposals of some at once.

    :param count: samples in the batch
    :param refused: so many of them are refused
    :param form: of the results
    :param is_named: the texts of refusals hold the sample's id
    """

    def __init__(
        self,
        client: ModelArtsClient,
        emulator: Emulator,
        count: int,
        *,
        refused: int = 1,
        form: str = "normal",
        is_named: bool = True,
        author: str = "human/emulator/person",
        accepts: bool = True,
        before: str = "",
    ) -> None:
        self.client, self.emulator, self.bucket = client, emulator, Bucket()
        self.dataset_id = emulator.load_proposals(count)
        self.dataset = emulator.dataset(self.dataset_id)
        self.refused = list(self.dataset.proposals)[:refused]
        for sample_id in self.refused if before else []:
            raw = dict(self.dataset.proposals[sample_id])
            self.dataset.edit(sample_id, before, author=author)
            self.dataset.propose([{**raw, "annotated_by": author}])
        emulator.variants.results = form
        self.is_named, self.author, self.accepts = is_named, author, accepts
        self._carry = client.samples._transport.write
        client.samples._transport.write = self.write  # type: ignore[method-assign]

    def write(self, method: str, what: str, *path: str, body: Any, **more: Any) -> Any:
        """Carry a write, without those samples that are refused; then let the person act."""
        samples = (json.loads(body) if isinstance(body, bytes) else body)["samples"]
        sent = [sample["sample_id"] for sample in samples]
        answer = self._carry(
            method,
            what,
            *path,
            body={"samples": [s for s in samples if s["sample_id"] not in self.refused]},
            **more,
        )
        results: list[dict[str, Any]] = [
            {
                "success": False,
                "error_code": "ModelArts.4420",
                "error_msg": f"Sample not found.{f' [{sample_id}]' if self.is_named else ''}",
            }
            if sample_id in self.refused
            else {"success": True}
            for sample_id in sent
        ]
        for sample_id in set(self.refused) & self.dataset.proposals.keys() if self.accepts else ():
            labels = [dict(label) for label in self.dataset.proposals[sample_id]["labels"]]
            self.dataset.edit(sample_id, labels, author=self.author)
        form = self.emulator.variants.results
        if all(result["success"] for result in results):
            return answer
        if form == "missing":
            return {"success": False}
        if form == "short":
            results = [result for result in results if not result["success"]]
        if form == "shuffled":
            results = results[1:] + results[:1]
        return {"success": False, "results": results}

    def run(self) -> Any:
        return confirm(
            self.client, self.dataset_id, ledger=LedgerTarget(self.bucket, RunIdentity("dag", "run", "task"))
        )

    def check_undo(self) -> Any:
        """Return what an undo comes to that leaves what people have given, and takes all else back."""
        theirs = {sample_id: self.dataset.labels_of(sample_id) for sample_id in self.refused}
        result = revert(self.client, self.bucket, "run")
        assert {sample_id: self.dataset.labels_of(sample_id) for sample_id in self.refused} == theirs
        return result


@pytest.mark.parametrize("before", ["", "at first"])
@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("form", ["normal", "short", "shuffled"])
def test_a_refused_sample_that_a_person_accepts_is_not_ours_where_the_text_names_it(
    client: ModelArtsClient, emulator: Emulator, form: str, count: int, before: str
) -> None:
    story = Refused(client, emulator, count, form=form, before=before)
    result = story.run()
    assert (result.confirmed, result.gone, result.failed) == (count - 1, 1, 0)
    undone = story.check_undo()
    assert (undone.cleared, undone.unknown) == (count - 1, 0)


@pytest.mark.parametrize("refused", [1, 3])
@pytest.mark.parametrize("form", ["normal", "shuffled"])
def test_a_refused_sample_that_a_person_accepts_is_told_by_its_author_where_no_text_names_it(
    client: ModelArtsClient, emulator: Emulator, form: str, refused: int
) -> None:
    story = Refused(client, emulator, 8, refused=refused, form=form, is_named=False)
    result = story.run()
    assert (result.confirmed, result.gone, result.failed) == (8 - refused, refused, 0)
    assert story.check_undo().cleared == 8 - refused


@pytest.mark.parametrize("form", ["short", "missing"])
def test_the_author_of_an_earlier_write_tells_what_numbers_do_not(
    client: ModelArtsClient, emulator: Emulator, form: str
) -> None:
    story = Refused(client, emulator, 8, refused=5, form=form, is_named=False)
    story.refused.reverse()
    result = confirm(
        client,
        story.dataset_id,
        batch_size=2,
        concurrency=1,
        ledger=LedgerTarget(story.bucket, RunIdentity("dag", "run", "task")),
    )
    assert result.confirmed + result.gone + result.failed == 8
    assert story.check_undo().cleared == result.confirmed <= 3


def test_all_refused_is_all_refused_whatever_the_texts_say(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Refused(client, emulator, 3, refused=3, is_named=False)
    result = story.run()
    assert (result.confirmed, result.gone) == (0, 3)
    assert story.check_undo().seen == 0


@pytest.mark.parametrize("count", [2, 8])
def test_what_nothing_tells_is_unknown_and_the_undo_lists_it_and_leaves_it(
    client: ModelArtsClient, emulator: Emulator, count: int
) -> None:
    mine = f"human/{emulator.domain}/{emulator.user}"
    story = Refused(client, emulator, count, form="shuffled", is_named=False, author=mine)
    result = story.run()
    assert (result.confirmed, result.failed) == (0, count)
    assert set(result.failures) == {"unknown"}
    undone = story.check_undo()
    assert (undone.seen, undone.unknown, undone.cleared) == (count, count, 0)
    assert len(undone.examples["unknown"]) == min(count, 5)
    assert "is not known" in undone.markdown()
    again = confirm(
        client, story.dataset_id, ledger=LedgerTarget(story.bucket, RunIdentity("dag", "run", "task", try_number=2))
    )
    assert (again.failed, again.gone) == (0, count)
    assert story.check_undo().unknown == count


@pytest.mark.parametrize("form", ["normal", "short", "shuffled", "missing"])
@pytest.mark.parametrize("is_named", [True, False])
def test_where_nobody_acts_a_mixed_answer_leaves_nothing_unknown(
    client: ModelArtsClient, emulator: Emulator, form: str, is_named: bool
) -> None:
    story = Refused(client, emulator, 8, refused=2, form=form, is_named=is_named, accepts=False)
    result = story.run()
    assert (result.confirmed, result.gone, result.failed) == (6, 0, 2)
    assert set(result.failures) == {"refused" if form == "missing" else "ModelArts.4420"}
    assert story.check_undo().cleared == 6


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize(
    "fault", [{"kind": "reset"}, {"kind": "status", "status": 504}, {"kind": "status", "status": 408}]
)
def test_what_a_person_accepts_after_a_request_was_lost_is_not_ours(
    client: ModelArtsClient, emulator: Emulator, fault: dict[str, Any], count: int
) -> None:
    dataset_id, bucket = emulator.load_proposals(count), Bucket()
    dataset = emulator.dataset(dataset_id)
    accepted = next(iter(dataset.proposals))

    def accept(record: Any) -> None:
        if record.method == "PUT" and record.fault:
            dataset.edit(accepted, [dict(label) for label in dataset.proposals[accepted]["labels"]])

    emulator.observers.append(accept)
    rule = emulator.faults.add(*WRITE, **fault)
    result = confirm(client, dataset_id, ledger=LedgerTarget(bucket, RunIdentity("dag", "run", "task")))
    assert rule.fired == 1
    assert (result.confirmed, result.gone, result.failed) == (count - 1, 1, 0)
    by_hand = dataset.labels_of(accepted)
    assert revert(client, bucket, "run").cleared == count - 1
    assert dataset.labels_of(accepted) == by_hand != []
