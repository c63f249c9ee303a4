"""Undo: what a run wrote goes, what was there before returns, and what people did stays."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.client.errors import InvalidRequest, PermissionDenied, ServiceUnavailable
from airflow_provider_modelarts.emulator.state import dataset as state
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.label_equality import raw_labels
from airflow_provider_modelarts.labeling.ledger.reader import Entry, LedgerBroken, LedgerWriter, RunIdentity
from airflow_provider_modelarts.labeling.plan.plan_file import PlanHeader, PlanWriter, read_plan
from airflow_provider_modelarts.labeling.plan.summary import MAX_BYTES
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.results import Failure
from airflow_provider_modelarts.labeling.undo.results import FATES, NO_PROPOSALS, RevertResult, reverted_by
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

RUN = RunIdentity("flowers", "manual__1", "confirm")
PATH = "data-annotations"
PERSON = "human/emulator/person"
"""Who gave the labels that a sample has, says its next proposal."""


class Story:
    """A run that confirmed every proposal of a dataset, some of samples that people had labeled before."""

    def __init__(
        self,
        client: ModelArtsClient,
        emulator: Emulator,
        count: int = 60,
        *,
        kind: str = "classification",
        relabeled: int = 0,
        seed: int = 0,
    ) -> None:
        self.client, self.emulator, self.bucket = client, emulator, Bucket()
        self.dataset_id = emulator.load_proposals(count, kind=kind, seed=seed)
        self.dataset = emulator.dataset(self.dataset_id)
        proposals = self.dataset.proposals
        for sample_id in list(proposals)[:relabeled]:
            # labeled by a person, and proposed again nevertheless
            self.dataset.edit(sample_id, self.labels_by_hand(sample_id, kind))
            self.dataset.propose([{**proposals[sample_id], "annotated_by": PERSON}])
        self.before = {sample_id: self.dataset.labels_of(sample_id) for sample_id in proposals}
        self.proposals = {sample_id: Sample(raw) for sample_id, raw in proposals.items()}

    @staticmethod
    def labels_by_hand(sample_id: str, kind: str) -> list[dict[str, Any]]:
        label: dict[str, Any] = {"name": f"by hand {sample_id[-1]}"}
        if kind == "detection":
            label["type"] = 1
            label["property"] = {"@modelarts:shape": "bndbox", "@modelarts:feature": [[1, 2.0], [3, 4]]}
        return [label, {**label, "name": "second"}]

    @property
    def ids(self) -> list[str]:
        return list(self.proposals)

    def confirm(self, ids: Iterable[str] | None = None, identity: RunIdentity = RUN, **facts: Any) -> None:
        wanted = [self.proposals[sample_id] for sample_id in (self.ids if ids is None else ids)]
        with LedgerWriter(self.bucket, identity, self.dataset_id, window=25, **facts) as ledger:
            for first in range(0, len(wanted), 20):
                part = wanted[first : first + 20]
                assert all(outcome.ok for outcome in self.client.samples.update(self.dataset_id, part))
                ledger.record(*(self.entry(sample) for sample in part))
        self.emulator.journal.clear()

    def entry(self, sample: Sample, **more: Any) -> Entry:
        facts: dict[str, Any] = {"fate": "confirmed", "before": self.before[sample.sample_id] or None}
        return Entry(sample.sample_id, rule="passed", after=raw_labels(sample), origin=sample.origin, **(facts | more))

    def revert(self, **more: Any) -> RevertResult:
        return revert(self.client, self.bucket, RUN.run_id, **more)

    def now(self) -> dict[str, list[dict[str, Any]]]:
        return {sample_id: self.dataset.labels_of(sample_id) for sample_id in self.proposals}

    @property
    def writes(self) -> int:
        return self.emulator.journal.count("PUT", PATH)


def counts(result: RevertResult) -> dict[str, int]:
    return {fate: getattr(result, fate) for fate in FATES if getattr(result, fate)}


@pytest.mark.parametrize("kind", ["classification", "multi_label", "detection"])
def test_every_sample_is_as_it_was(client: ModelArtsClient, emulator: Emulator, kind: str) -> None:
    story = Story(client, emulator, kind=kind, relabeled=15)
    story.confirm()
    assert story.now() != story.before
    result = story.revert()
    assert story.now() == story.before
    assert counts(result) == {"restored": 15, "cleared": 45}
    assert result.seen == 60
    assert result.problems == ()
    assert NO_PROPOSALS in result.markdown()
    assert story.dataset.unconfirmed == 0


def test_doing_it_again_does_nothing(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, relabeled=5)
    story.confirm()
    story.revert()
    emulator.journal.clear()
    assert counts(story.revert()) == {"already": 60}
    assert story.writes == 0


def test_a_preview_writes_nothing_and_counts_the_same(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, relabeled=5)
    story.confirm()
    confirmed = story.now()
    result = story.revert(preview=True)
    assert (result.preview, counts(result)) == (True, {"restored": 5, "cleared": 55})
    assert "would be reverted" in result.markdown()
    assert f"- **{result.cleared}** would have no label again" in result.markdown()
    assert f"{result.restored} would be restored, {result.cleared} would be cleared, 0 already" in str(result)
    assert story.writes == 0
    assert story.now() == confirmed


def test_what_a_person_changed_stays_and_is_listed(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, relabeled=5)
    story.confirm()
    relabeled, emptied = story.ids[0], story.ids[10]
    moved = {"name": story.proposals[story.ids[20]].labels[0].name, "property": {"ripe": "no"}}
    story.dataset.edit(relabeled, "corrected")
    story.dataset.edit(emptied, [])
    story.dataset.edit(story.ids[20], [moved])
    result = story.revert()
    assert counts(result) == {"restored": 4, "cleared": 53, "already": 1, "changed": 2}
    assert [label["name"] for label in story.dataset.labels_of(relabeled)] == ["corrected"]
    assert story.dataset.labels_of(story.ids[20]) != story.before[story.ids[20]]
    assert set(result.examples["changed"]) == {story.proposals[story.ids[number]].origin for number in (0, 20)}
    assert all(f"`{place}`" in result.markdown() for place in result.examples["changed"])


def test_a_deleted_sample_is_gone(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 10)
    story.confirm()
    del story.dataset.samples[story.ids[3]]
    result = story.revert()
    assert counts(result) == {"cleared": 9, "gone": 1}


def test_only_what_was_or_may_have_been_written_is_looked_at(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 6)
    one, two, three, four, five, six = story.proposals.values()
    for sample in (one, two, three):
        client.samples.update(story.dataset_id, [sample])
    with LedgerWriter(story.bucket, RUN, story.dataset_id) as ledger:
        ledger.record(
            story.entry(one),
            story.entry(two, fate="failed", code="unknown"),
            story.entry(three, fate="intended"),
            story.entry(four, fate="failed", code="ModelArts.4423"),
            story.entry(five, fate="gone"),
            story.entry(six, fate="changed"),
        )
    assert counts(story.revert()) == {"cleared": 3}
    assert set(story.dataset.proposals) == {four.sample_id, five.sample_id, six.sample_id}


def test_a_retry_and_its_zombie_are_one_run(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, relabeled=4)
    story.confirm(story.ids[:40])
    # the retry found the first twenty confirmed, and took them for what was there before
    story.before, before = {**story.before, **{name: story.now()[name] for name in story.ids[:20]}}, story.before
    story.confirm(story.ids[:20] + story.ids[40:], replace(RUN, try_number=2))
    assert counts(story.revert()) == {"restored": 4, "cleared": 56}
    assert story.now() == before


def test_labels_noted_before_a_crash_are_put_back(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 10, relabeled=2)
    sample = story.proposals[story.ids[0]]
    crashed = LedgerWriter(story.bucket, RUN, story.dataset_id)
    crashed.record(story.entry(sample, fate="intended"))
    crashed.flush()
    client.samples.update(story.dataset_id, [sample])
    # what the retry finds written it notes as confirmed, and knows of no labels before
    with LedgerWriter(story.bucket, replace(RUN, try_number=2), story.dataset_id) as ledger:
        ledger.record(story.entry(sample, before=None, read=True))
    result = story.revert()
    assert counts(result) == {"restored": 1}
    assert story.now()[sample.sample_id] == story.before[sample.sample_id] != []
    (problem,) = result.problems
    assert "crashed" in problem


def test_what_a_crash_left_unsettled_is_counted_and_not_touched(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 10)
    path = Bucket() / "plan.jsonl"
    with PlanWriter(path, PlanHeader(story.dataset_id)) as writer:
        for sample in story.proposals.values():
            writer.add(sample, Decision("confirm", "passed"))
    plan = read_plan(path)
    story.confirm(story.ids[:6], plan_digest=plan.digest)
    assert story.revert(plans=[plan], preview=True).unsettled == 0, "a chain that was closed knows of all"
    crashed = LedgerWriter(story.bucket, replace(RUN, try_number=2), story.dataset_id, plan_digest=plan.digest)
    crashed.begin()
    client.samples.update(story.dataset_id, [story.proposals[story.ids[7]]])
    result = story.revert(plans=[plan])
    assert (counts(result), result.unsettled) == ({"cleared": 6}, 4)
    assert story.now()[story.ids[7]] != []
    assert "**4** are not settled" in result.markdown()


def test_datasets_are_told_apart(client: ModelArtsClient, emulator: Emulator) -> None:
    one = Story(client, emulator, 10)
    other = Story(client, emulator, 10, seed=1)
    other.bucket = one.bucket
    one.confirm()
    other.confirm(identity=replace(RUN, map_index=1))
    assert counts(one.revert(dataset_id=one.dataset_id)) == {"cleared": 10}
    assert other.now() != other.before
    assert counts(one.revert()) == {"cleared": 10, "already": 10}
    assert other.now() == other.before


def test_no_ledger_and_two_dags_of_one_run_id_are_refused(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 5)
    with pytest.raises(InvalidRequest, match="no ledger of run manual__1"):
        story.revert()
    story.confirm()
    story.confirm(identity=replace(RUN, dag_id="trees"))
    with pytest.raises(LedgerBroken, match="flowers, trees"):
        story.revert()
    assert story.writes == 0


def test_dags_whose_runs_share_an_id_are_told_apart_by_name(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 8)
    story.confirm(story.ids[:5])
    story.confirm(story.ids[5:], identity=replace(RUN, dag_id="trees"))
    with pytest.raises(InvalidRequest, match="no ledger of run manual__1 of DAG shrubs"):
        story.revert(ledger_dag_id="shrubs")
    assert counts(story.revert(ledger_dag_id="trees")) == {"cleared": 3}
    assert [sample_id for sample_id, labels in story.now().items() if labels] == story.ids[:5]
    assert counts(story.revert(ledger_dag_id="flowers")) == {"cleared": 5}


def test_what_was_there_before_and_is_what_the_run_wrote_is_not_written_again(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    story = Story(client, emulator, 5)
    sample_id = story.ids[2]
    story.before[sample_id] = story.proposals[sample_id].raw["labels"]
    story.confirm()
    result = story.revert()
    assert counts(result) == {"already": 1, "cleared": 4}
    sent = [json.loads(record.body)["samples"] for record in emulator.journal.select("PUT", PATH)]
    assert sample_id not in {sample["sample_id"] for samples in sent for sample in samples}
    assert story.now()[sample_id] != []


def test_a_ledger_that_cannot_be_trusted_stops_it_before_the_first_write(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    story = Story(client, emulator)
    story.confirm()
    last = sorted(story.bucket.objects)[-1]
    story.bucket.objects[last] = story.bucket.objects[last].replace(b"passed", b"PASSED", 1)
    with pytest.raises(LedgerBroken, match=last.rpartition("/")[2]):
        story.revert()
    assert story.writes == 0


# --- written more than once


def confirm_again(story: Story, names: Mapping[str, str], identity: RunIdentity, moved_clock: MovedClock) -> None:
    """Let a labeling task propose samples anew, a minute later, and a task of the run confirm that."""
    moved_clock.advance(60)
    for sample_id, name in names.items():
        proposal = story.proposals[sample_id].raw
        labels = [{**label, "name": name} for label in proposal["labels"]]
        story.dataset.propose([{**proposal, "labels": labels, "annotated_by": PERSON}])
    result = confirm(story.client, story.dataset_id, ledger=LedgerTarget(story.bucket, identity))
    assert result.confirmed == len(names)


def begin(story: Story, identity: RunIdentity) -> None:
    confirm(story.client, story.dataset_id, ledger=LedgerTarget(story.bucket, identity))


CLEARED = replace(RUN, try_number=2, intent="cleared")


def test_what_a_person_corrected_between_two_writes_of_a_run_comes_back(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = Story(client, emulator, 5)
    corrected, left = story.ids[2:4]
    begin(story, RUN)
    story.dataset.edit(corrected, ["corrected"])
    confirm_again(story, {corrected: "proposed anew", left: "proposed anew"}, CLEARED, moved_clock)
    assert counts(story.revert()) == {"restored": 1, "cleared": 4}
    assert story.dataset.names_of(corrected) == ["corrected"]
    assert [sample_id for sample_id, labels in story.now().items() if labels] == [corrected]


@pytest.mark.parametrize("tasks", ["abc", "bac", "bca", "cba"])
def test_of_several_corrections_the_last_one_comes_back_whatever_the_tasks_are_called(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, tasks: str
) -> None:
    story = Story(client, emulator, 5, relabeled=1)
    sample_id = story.ids[0]
    begin(story, replace(RUN, task_id=tasks[0]))
    for number, task_id in enumerate(tasks[1:]):
        story.dataset.edit(sample_id, [f"corrected {number}"])
        confirm_again(story, {sample_id: f"proposed {number}"}, replace(RUN, task_id=task_id), moved_clock)
    assert counts(story.revert()) == {"restored": 1, "cleared": 4}
    assert story.dataset.names_of(sample_id) == ["corrected 1"]


@pytest.mark.parametrize("relabeled", [0, 5])
@pytest.mark.parametrize("tasks", [("a_first", "z_second"), ("z_first", "a_second")])
def test_what_one_task_wrote_is_not_what_was_there_before_the_next(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, tasks: tuple[str, str], relabeled: int
) -> None:
    story = Story(client, emulator, 5, relabeled=relabeled)
    first, second = (replace(RUN, task_id=task_id) for task_id in tasks)
    begin(story, first)
    confirm_again(story, dict.fromkeys(story.ids, "proposed anew"), second, moved_clock)
    assert counts(story.revert()) == {"restored" if relabeled else "cleared": 5}
    assert story.now() == story.before


def test_a_write_whose_task_was_killed_is_one_that_replaced_a_correction(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = Story(client, emulator, 5)
    sample = story.proposals[story.ids[2]]
    story.confirm()
    moved_clock.advance(60)
    story.dataset.edit(sample.sample_id, ["corrected"])
    killed = LedgerWriter(story.bucket, CLEARED, story.dataset_id)
    killed.record(story.entry(sample, fate="intended", before=story.dataset.labels_of(sample.sample_id)))
    killed.flush()
    client.samples.update(story.dataset_id, [sample])
    with LedgerWriter(story.bucket, replace(CLEARED, try_number=3), story.dataset_id) as ledger:
        ledger.record(story.entry(sample, before=None, read=True))
    assert counts(story.revert()) == {"restored": 1, "cleared": 4}
    assert story.dataset.names_of(sample.sample_id) == ["corrected"]


class ClockSetBack(Clock):
    """Shows less each time it is read."""

    time = 1e9

    def now(self) -> float:
        self.time -= 60
        return self.time


def test_a_clock_that_is_set_back_does_not_turn_a_chain_around(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 5)
    sample = story.proposals[story.ids[2]]
    client.samples.update(story.dataset_id, [sample])
    with LedgerWriter(story.bucket, RUN, story.dataset_id, clock=ClockSetBack()) as ledger:
        for name in ("first", "last"):
            ledger.record(story.entry(sample, before=[{"name": name, "type": 0}]))
            ledger.flush()
    assert counts(story.revert()) == {"restored": 1}
    assert story.dataset.names_of(sample.sample_id) == ["last"]


# --- faults


def test_samples_that_the_service_refuses_fail_by_their_code(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 20)
    story.confirm()
    bad = story.ids[4]
    fault = emulator.faults.add("PUT", PATH, "fail_sample", sample_id=bad, code="ModelArts.4420", times=None)
    result = story.revert()
    assert fault.fired >= 1
    assert counts(result) == {"cleared": 19, "failed": 1}
    assert result.failures["ModelArts.4420"].samples == (bad,)
    assert "1 x `ModelArts.4420`" in result.markdown()
    assert [sample_id for sample_id, labels in story.now().items() if labels] == [bad]


@pytest.mark.parametrize("text", ["named", "anonymous"])
@pytest.mark.parametrize("relabeled", [0, 20])
def test_a_sample_that_is_refused_and_put_back_by_a_person_is_as_it_was(
    client: ModelArtsClient, emulator: Emulator, relabeled: int, text: str
) -> None:
    story = Story(client, emulator, 20, relabeled=relabeled)
    story.confirm()
    refused = story.ids[4]
    more = {"sample_id": refused} if text == "named" else {"position": 4}
    emulator.faults.add("PUT", PATH, "fail_sample", code="ModelArts.4420", **more)
    if text == "anonymous":
        emulator.variants.results = "missing"

    def put_back(record: Any) -> None:
        if record.method == "PUT":
            story.dataset.edit(refused, story.before[refused])

    emulator.observers.append(put_back)
    result = story.revert()
    assert result.changed == result.failed == result.unknown == 0
    assert result.already == (text == "named")
    assert story.now() == story.before


@pytest.mark.parametrize("kind", ["reset_after", "reset", "html"])
def test_a_lost_answer_is_settled_by_reading(client: ModelArtsClient, emulator: Emulator, kind: str) -> None:
    story = Story(client, emulator, relabeled=10)
    story.confirm()
    fault = emulator.faults.add("PUT", PATH, kind, times=2)
    result = story.revert()
    assert fault.fired == 2
    assert counts(result) == {"restored": 10, "cleared": 50}
    assert story.now() == story.before


def test_a_person_who_corrects_after_a_lost_answer_is_not_overwritten(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    story = Story(client, emulator, 10)
    story.confirm()
    corrected = story.ids[2]

    def correct(record: Any) -> None:
        if record.method == "PUT" and record.fault:
            story.dataset.edit(corrected, "corrected")

    emulator.observers.append(correct)
    fault = emulator.faults.add("PUT", PATH, "reset")
    result = story.revert()
    assert fault.fired == 1
    assert counts(result) == {"cleared": 9, "changed": 1}
    assert story.dataset.names_of(corrected) == ["corrected"]


def test_what_ends_it_early_says_what_was_done(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 60)
    story.confirm()
    emulator.faults.add("PUT", PATH, "status", status=403, code="ModelArts.0112", after=1, times=None)
    with pytest.raises(PermissionDenied) as caught:
        story.revert(batch_size=20)
    done = reverted_by(caught.value)
    assert done is not None
    assert counts(done) == {"cleared": 20}
    emulator.faults.clear()
    assert counts(story.revert()) == {"already": 20, "cleared": 40}


def test_asked_to_stop_it_lets_no_further_write_out(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 60)
    story.confirm()
    result = story.revert(batch_size=20, should_stop=lambda: story.writes > 0)
    assert result.stopped
    assert story.writes == 1
    assert counts(result) == {"cleared": 20}


def test_asked_to_stop_while_it_reads_it_writes_nothing(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 20)
    story.confirm()
    result = story.revert(should_stop=lambda: emulator.journal.count("GET", PATH) > 0)
    assert (result.stopped, result.seen, story.writes) == (True, 0, 0)


def test_reads_are_fresh_when_they_are_written(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock
) -> None:
    story = Story(client, emulator, 30)
    story.confirm()
    corrected = story.ids[29]
    reads: Counter[str] = Counter()

    def slow(record: Any) -> None:
        if record.method == "GET" and record.path.rpartition("/")[2] in story.proposals:
            reads[record.path.rpartition("/")[2]] += 1
            if sum(reads.values()) == 30:
                # everything was read once; a pause, in which a person works
                moved_clock.advance(60)
                story.dataset.edit(corrected, "corrected")

    emulator.observers.append(slow)
    result = story.revert()
    assert sum(reads.values()) > 30
    assert counts(result) == {"cleared": 29, "changed": 1}
    assert story.dataset.names_of(corrected) == ["corrected"]


@pytest.mark.parametrize("relabeled", [0, 30])
def test_a_service_that_wants_to_be_left_alone_gets_no_old_write_afterwards(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, relabeled: int
) -> None:
    story = Story(client, emulator, 30, relabeled=relabeled)
    story.confirm()
    corrected = story.ids[7]

    def correct(record: Any) -> None:
        if record.method == "PUT" and record.status == 429:
            story.dataset.edit(corrected, "corrected")

    emulator.observers.append(correct)
    fault = emulator.faults.add("PUT", PATH, "status", status=429, headers={"Retry-After": "40"}, times=2)
    result = story.revert()
    assert fault.fired == 2
    assert sum(moved_clock.slept) >= 80
    assert counts(result) == {"restored" if relabeled else "cleared": 29, "changed": 1}
    assert story.dataset.names_of(corrected) == ["corrected"]


@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_nobody_loses_a_label(
    client: ModelArtsClient, emulator: Emulator, data: st.DataObject
) -> None:
    emulator.faults.clear()
    story = Story(client, emulator, 24, relabeled=data.draw(st.integers(0, 24)), seed=data.draw(st.integers(0, 99)))
    confirmed = data.draw(st.sets(st.sampled_from(story.ids)))
    story.confirm(sorted(confirmed))
    edits = data.draw(st.dictionaries(st.sampled_from(story.ids), st.sampled_from([[], ["mine"], ["mine", "too"]])))
    for sample_id, labels in edits.items():
        story.dataset.edit(sample_id, labels)
    left = story.now()
    for kind in data.draw(st.lists(st.sampled_from(["reset", "reset_after", "html", "delay"]), max_size=3)):
        emulator.faults.add(data.draw(st.sampled_from(["PUT", "GET"])), PATH, kind, after=data.draw(st.integers(0, 5)))
    result = story.revert(batch_size=data.draw(st.sampled_from([5, 100])))
    now = story.now()
    for sample_id in story.ids:
        if sample_id in edits or sample_id not in confirmed:
            assert now[sample_id] == left[sample_id]
        else:
            assert now[sample_id] == story.before[sample_id]
    assert result.seen == len(confirmed)
    assert result.failed == 0


def test_the_report_is_bounded() -> None:
    many: Mapping[Any, Any] = dict.fromkeys(("changed", "failed", "gone"), ("s3://b/" + "😀|`" * 400,) * 5)
    failures = {f"c{n}": Failure(f"c{n}", "<b>|" * 500, 9, ("x",)) for n in range(20)}
    result = RevertResult(examples=dict(many), failures=failures, problems=("p`" * 900,) * 20, unsettled=3)
    assert len(result.markdown().encode()) < MAX_BYTES
    with pytest.raises(ValueError, match="add up"):
        RevertResult(seen=1)


def test_xcom_holds_counts_only() -> None:
    result = RevertResult(seen=1, changed=1, examples={"changed": ("s3://b/1.jpg",)}, problems=("a",))
    assert set(result.to_xcom()) == {
        *FATES, "seen", "unsettled", "requests", "seconds", "preview", "stopped"
    }  # fmt: skip
    assert str(result) == (
        "1 samples of the run seen: 0 restored, 0 cleared, 0 already, 1 changed, 0 gone, 0 failed; 0 requests"
    )


# --- odd answers

ODD_ANSWERS: dict[str, dict[str, Any]] = {
    "an error in a success": {"status": 200, "body": '{"error_code": "ModelArts.9999", "error_msg": "odd"}'},
    "a fault in a success": {"status": 200, "body": '{"success": false, "error_code": "ModelArts.0104"}'},
    "nothing": {"status": 200, "body": "{}"},
    "another sample": {"status": 200, "body": '{"sample_id": "another", "labels": []}'},
    "no id": {"status": 200, "body": '{"labels": []}'},
    "a list": {"status": 200, "body": "[]"},
    "null": {"status": 200, "body": "null"},
    "a bad request": {"status": 400, "code": "ModelArts.0104"},
    "no answer": {"status": 503},
}


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_a_sample_whose_read_is_odd_has_failed_and_the_others_are_undone(
    client: ModelArtsClient, emulator: Emulator, answer: str
) -> None:
    story = Story(client, emulator, 20, relabeled=3)
    story.confirm()
    odd = story.ids[::7]
    fault = emulator.faults.add(
        "GET", PATH, "status", times=None, match=lambda call: call.path.endswith(tuple(odd)), **ODD_ANSWERS[answer]
    )
    result = story.revert(concurrency=1)
    assert fault.fired >= len(odd)
    assert counts(result) == {"restored": 2, "cleared": 15, "failed": 3}
    assert [sample_id for sample_id in odd if not story.now()[sample_id]] == []
    assert sum(failure.count for failure in result.failures.values()) == 3
    emulator.faults.clear()
    assert counts(story.revert()) == {"restored": 1, "cleared": 2, "already": 17}
    assert story.now() == story.before


def test_a_read_that_is_odd_once_is_repeated(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 20)
    story.confirm()
    emulator.faults.add("GET", PATH, "status", after=3, **ODD_ANSWERS["another sample"])
    assert counts(story.revert()) == {"cleared": 20}


def test_a_service_that_is_down_ends_the_undo(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 60)
    story.confirm()
    emulator.faults.add("GET", PATH, "status", status=503, times=None, after=20)
    with pytest.raises(ServiceUnavailable) as caught:
        story.revert(batch_size=20)
    done = reverted_by(caught.value)
    assert done is not None
    assert counts(done) == {"cleared": 20}


@pytest.mark.parametrize("labels", ["[null]", '["rose"]', '"rose"', '{"name": "rose"}', '[null, {"name": "rose"}]'])
def test_a_sample_whose_labels_are_none_has_failed(client: ModelArtsClient, emulator: Emulator, labels: str) -> None:
    story = Story(client, emulator, 5)
    story.confirm()
    odd = story.ids[2]
    body = f'{{"sample_id": "{odd}", "labels": {labels}}}'
    emulator.faults.add(
        "GET", PATH, "status", times=None, status=200, body=body, match=lambda call: call.path.endswith(odd)
    )
    assert counts(story.revert()) == {"cleared": 4, "failed": 1}


@pytest.mark.parametrize("relabeled", [0, 10])
@pytest.mark.parametrize("answer", ["an error in a success", "another sample", "no id"])
def test_an_odd_read_after_a_lost_answer_is_not_taken_for_an_undone_sample(
    client: ModelArtsClient, emulator: Emulator, answer: str, relabeled: int
) -> None:
    story = Story(client, emulator, 10, relabeled=relabeled)
    story.confirm()
    odd = story.ids[4]
    emulator.faults.add("PUT", PATH, "reset")

    def begin(record: Any) -> None:
        if record.method == "PUT" and record.fault:
            emulator.faults.add(
                "GET", PATH, "status", times=None, match=lambda call: call.path.endswith(odd), **ODD_ANSWERS[answer]
            )

    emulator.observers.append(begin)
    assert counts(story.revert()) == {"restored" if relabeled else "cleared": 9, "failed": 1}


# --- labels that the service respells


RESPELLINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "trims names": lambda label: {**label, "name": label["name"].strip()},
    "composes characters": lambda label: {**label, "name": unicodedata.normalize("NFC", label["name"])},
    "writes capitals": lambda label: {**label, "name": label["name"].title()},
    "takes blanks out": lambda label: {**label, "name": "".join(label["name"].split())},
    "writes ligatures out": lambda label: {**label, "name": unicodedata.normalize("NFKC", label["name"])},
}


class Respelled(Story):
    """A run whose service keeps names otherwise than they were sent."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, how: str, patch: pytest.MonkeyPatch) -> None:
        super().__init__(client, emulator, 8)
        names = {"composes characters": " Bl\u0075\u0308te ", "writes ligatures out": " \ufb01eld "}
        name = names.get(how, " red rose ")
        for sample_id, proposal in self.proposals.items():
            labels = [{**label, "name": name} for label in proposal.raw["labels"]]
            self.dataset.propose([{**proposal.raw, "labels": labels}])
            self.proposals[sample_id] = Sample({**proposal.raw, "labels": labels})
        kept, respell = state.Dataset.stored, RESPELLINGS[how]
        patch.setattr(state.Dataset, "stored", lambda dataset, label: respell(kept(dataset, label)))


@pytest.mark.parametrize("how", RESPELLINGS)
def test_an_undo_that_finds_all_respelled_touches_nothing_and_says_why(
    client: ModelArtsClient,
    emulator: Emulator,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    story = Respelled(client, emulator, how, monkeypatch)
    story.confirm()
    left = story.now()
    result = story.revert()
    assert counts(result) == {"changed": 8}
    assert story.now() == left
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("8 of 8 samples carry other spellings of what the run wrote, and were not touched")
    assert result.problems == (warning,)
    assert "other spellings" in result.markdown()
    assert "the service changes labels when it keeps them" in warning


@pytest.mark.parametrize("how", RESPELLINGS)
def test_a_lost_answer_is_recognised_although_the_service_respells_names(
    client: ModelArtsClient, emulator: Emulator, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Respelled(client, emulator, how, monkeypatch)
    emulator.faults.add("PUT", PATH, "reset_after")
    result = confirm(client, story.dataset_id, ledger=LedgerTarget(story.bucket, RUN))
    assert (result.confirmed, result.gone, result.failed) == (8, 0, 0)


def test_a_person_who_corrects_the_spelling_is_not_overwritten(client: ModelArtsClient, emulator: Emulator) -> None:
    story = Story(client, emulator, 6)
    sample_id = story.ids[2]
    raw = story.proposals[sample_id].raw
    story.proposals[sample_id] = Sample({**raw, "labels": [{**label, "name": "rose "} for label in raw["labels"]]})
    story.confirm()
    story.dataset.edit(sample_id, ["rose"])
    assert counts(story.revert()) == {"cleared": 5, "changed": 1}
    assert story.dataset.names_of(sample_id) == ["rose"]


@pytest.mark.parametrize("keeps", [{}, {"@modelarts:hard": True, "@modelarts:hard_coefficient": 0.7}])
def test_how_hard_an_example_is_does_not_keep_a_label_from_being_undone(
    client: ModelArtsClient, emulator: Emulator, keeps: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(client, emulator, 6, relabeled=2)
    kept = state.Dataset.stored

    def stored(dataset: state.Dataset, label: dict[str, Any]) -> dict[str, Any]:
        found = kept(dataset, label)
        others = {name: value for name, value in found["property"].items() if not name.startswith("@modelarts:hard")}
        return {**found, "property": others | keeps}

    monkeypatch.setattr(state.Dataset, "stored", stored)
    emulator.faults.add("PUT", PATH, "reset_after")
    result = confirm(client, story.dataset_id, ledger=LedgerTarget(story.bucket, RUN))
    assert (result.confirmed, result.gone) == (6, 0)
    assert counts(story.revert()) == {"restored": 2, "cleared": 4}


def test_lost_answers_of_which_all_look_gone_are_spoken_of(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(client, emulator, 6)
    kept = state.Dataset.stored
    monkeypatch.setattr(
        state.Dataset, "stored", lambda dataset, label: {**kept(dataset, label), "name": label["name"][:3]}
    )
    emulator.faults.add("PUT", PATH, "reset_after")
    assert confirm(client, story.dataset_id, ledger=LedgerTarget(story.bucket, RUN)).gone == 6
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "All 6 samples of a write" in warning
    assert "changes labels when it keeps them" in warning


def test_an_undo_of_what_one_person_changed_is_not_loud(
    client: ModelArtsClient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(client, emulator, 6)
    story.confirm()
    story.dataset.edit(story.ids[2], ["mine"])
    assert counts(story.revert()) == {"cleared": 5, "changed": 1}
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
