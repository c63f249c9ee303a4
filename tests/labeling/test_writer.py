"""What allows a write and what an answer proves, one rule at a time (B14, B15)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import PermissionDenied
from airflow_provider_modelarts.labeling.apply.batch_writer import FRESH_SECONDS, BatchWriter
from airflow_provider_modelarts.labeling.apply.confirmation import ConfirmationRequest, LedgerTarget, confirm
from airflow_provider_modelarts.labeling.apply.run import ConfirmationRun
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.policy import confirm_all
from airflow_provider_modelarts.labeling.proposals.dataset import DatasetProposals, ProposalRead
from airflow_provider_modelarts.labeling.proposals.sample_status import check_status
from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus
from airflow_provider_modelarts.labeling.stop_signal import StopSignal
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.model import DATASET, ModelClient, ModelService, raw_label, raw_sample, stored
from tests.labeling.object_store import Bucket
from tests.labeling.simulation import confirm_in

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient, Page, Sample
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

GONE, CONFIRMED = ConfirmationStatus.GONE, ConfirmationStatus.CONFIRMED
WRITE = ("PUT", "data-annotations/samples")


class Desk:
    """A model of the service, what its list has just shown, and a writer."""

    def __init__(self, count: int = 3) -> None:
        self.model = ModelService([raw_sample(number, [raw_label()]) for number in range(1, count + 1)])
        client: Any = ModelClient(self.model)
        self.clock: Any = self.model.clock
        self.service = DatasetProposals(client, DATASET, self.clock)
        self.page: Page[Sample] = self.service.page(0, 100)
        self.candidates = [ProposalRead(sample, self.page.read_at) for sample in self.page.items]
        self.ids = [sample.sample_id for sample in self.page.items]

    def write(self, **more: Any) -> dict[str, ConfirmationStatus]:
        """Return what became of each sample."""
        writer = BatchWriter(self.service, batch_size=100, stop=StopSignal(), **more)
        return {outcome.sample.sample_id: outcome.status for outcome in writer.write(self.candidates)}


def test_what_a_person_confirmed_while_it_grew_old_is_not_ours() -> None:
    desk = Desk()
    first, *rest = desk.ids
    desk.clock.sleep(FRESH_SECONDS + 1)
    desk.model.edit(first, [raw_label()])  # accepted in the console, with the very labels that were proposed
    assert desk.write() == {first: GONE, **dict.fromkeys(rest, CONFIRMED)}


def test_of_what_was_sent_before_a_list_proves_nothing() -> None:
    desk = Desk()
    first, *rest = desk.ids
    desk.model.write_faults.append("lost before")

    def meanwhile(kind: str) -> None:
        if kind == "update" and desk.model.journal.count("update") == 2:
            desk.model.busy_until = desk.clock.now() + FRESH_SECONDS + 15
        if kind == "status" and first not in desk.model.referee.human:
            desk.model.edit(first, [raw_label("corrected")])

    desk.model.before_request = meanwhile
    looks: list[float] = []

    def list_that_is_behind() -> Page[Sample]:
        looks.append(desk.clock.now())
        return replace(desk.page, read_at=desk.clock.now())

    assert desk.write(list_again=list_that_is_behind) == {
        first: GONE,
        **dict.fromkeys(rest, CONFIRMED),
    }
    assert len(looks) == 1
    assert desk.model.final[first] == stored([raw_label("corrected")])


def test_samples_that_grow_old_before_they_were_sent_are_listed_once_more() -> None:
    desk = Desk()
    desk.clock.sleep(FRESH_SECONDS + 1)
    assert set(desk.write(list_again=lambda: desk.service.page(0, 100)).values()) == {CONFIRMED}
    assert "proposal" not in desk.model.journal


def test_what_grows_old_while_others_are_read_waits_for_a_read_of_its_own() -> None:
    desk = Desk(2)
    desk.clock.sleep(FRESH_SECONDS + 1)
    takes = {1: 10.0, 2: 18.0}

    def be_slow(kind: str) -> None:
        if kind == "proposal":
            desk.clock.sleep(takes.pop(desk.model.journal.count("proposal"), 0.0))

    desk.model.before_request = be_slow
    writer = BatchWriter(desk.service, batch_size=100, stop=StopSignal())
    outcomes = [(outcome.sample.sample_id, outcome.status) for outcome in writer.write(desk.candidates)]
    first, second = desk.ids
    assert outcomes == [(second, CONFIRMED), (first, CONFIRMED)]
    assert desk.model.journal == ["page", "proposal", "proposal", "update", "proposal", "update"]


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
    proposed: list[dict[str, Any]] | None, final: list[dict[str, Any]] | None, status: ConfirmationStatus
) -> None:
    desk = Desk(1)
    (decided,) = desk.page.items
    desk.model.listed = [] if proposed is None else [{**decided.raw, "labels": proposed}]
    if final is not None:
        desk.model.final[decided.sample_id] = stored(final)
    found = check_status(desk.service, decided)
    assert found.status is status
    if status in (ConfirmationStatus.PLANNED, ConfirmationStatus.CHANGED):
        assert found.now is not None
        assert found.now.sample.raw["labels"] == proposed


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
    run = ConfirmationRun(service, ConfirmationRequest(dataset_id, batch_size=1), confirm_all, pool, stop=StopSignal())
    page = service.page(0, 100)
    one, two, *_ = run._write_jobs([ProposalRead(sample, page.read_at) for sample in page.items])
    emulator.faults.add(*WRITE, "status", status=403, code="ModelArts.0108")
    one.run()
    two.run()
    assert emulator.journal.count(*WRITE) == 1
    with pytest.raises(PermissionDenied):
        one.conclude()


class BehindList(ModelService):
    """A service whose list is behind: it still shows what has left it, as long as somebody holds it up."""

    behind: list[dict[str, Any]] | None = None

    def page(self, *args: Any, **more: Any) -> Page[Sample]:
        now, self.listed = self.listed, self.listed if self.behind is None else self.behind
        try:
            return super().page(*args, **more)
        finally:
            self.listed = now


def test_what_an_earlier_try_confirmed_is_not_written_again_because_a_list_is_behind() -> None:
    model = BehindList([raw_sample(number, [raw_label()]) for number in range(1, 4)])
    proposed, bucket = list(model.listed), Bucket()

    def place(try_number: int) -> LedgerTarget:
        return LedgerTarget(bucket, RunIdentity("dag", "run", "task", try_number=try_number))

    assert confirm_in(model, ledger=place(1)).confirmed == 3
    corrected = proposed[0]["sample_id"]
    model.edit(corrected, CORRECTED)
    model.behind, written = proposed, model.journal.count("update")
    result = confirm_in(model, ledger=place(2))
    assert (result.confirmed, result.gone) == (3, 0)
    assert model.journal.count("update") == written
    assert model.final[corrected] == stored(CORRECTED)


class OddList(ModelService):
    """A service whose list, filtered by score, shows of each sample one label, and not one that matches."""

    def _filtered(self, raw: dict[str, Any], filters: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "labels": raw["labels"][:1]} if "low_score" in filters else raw


def test_a_label_outside_the_filter_proves_nothing_if_others_are_missing() -> None:
    labels = [raw_label(score=0.3), raw_label("weed", score=0.9)]
    model = OddList([raw_sample(number, labels) for number in range(1, 4)], trims=True)
    assert confirm_in(model, low_score=0.5).confirmed == 3
    assert list(model.final.values()) == [stored(labels)] * 3


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
        sent = [sample["sample_id"] for sample in body["samples"]]
        answer = self._carry(
            method,
            what,
            *path,
            body={"samples": [s for s in body["samples"] if s["sample_id"] not in self.refused]},
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
