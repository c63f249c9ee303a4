"""Undo: what a run wrote goes, what was there before returns, and what people did stays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.ledger.entries import LedgerBroken
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.markdown import MAX_BYTES
from airflow_provider_modelarts.labeling.plan.lines import PlanHeader
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.results import Failure
from airflow_provider_modelarts.labeling.undo.results import FATES, NO_PROPOSALS, RevertResult
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

from tests.labeling.reverted_run import PATH, RUN, Story, counts


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


def test_the_report_is_bounded() -> None:
    many: Mapping[Any, Any] = dict.fromkeys(("changed", "failed", "gone"), ("s3://b/" + "😀|`" * 400,) * 5)
    failures = {f"c{n}": Failure(f"c{n}", "<b>|" * 500, 9, ("x",)) for n in range(20)}
    result = RevertResult(examples=dict(many), failures=failures, problems=("p`" * 900,) * 20, unsettled=3)
    assert len(result.markdown().encode()) < MAX_BYTES
    with pytest.raises(ValueError, match="inconsistent"):
        RevertResult(seen=1)


def test_xcom_holds_counts_only() -> None:
    result = RevertResult(seen=1, changed=1, examples={"changed": ("s3://b/1.jpg",)}, problems=("a",))
    assert set(result.to_xcom()) == {
        *FATES, "seen", "unsettled", "requests", "seconds", "preview", "stopped"
    }  # fmt: skip
    assert str(result) == (
        "1 samples of the run seen: 0 restored, 0 cleared, 0 already, 1 changed, 0 gone, 0 failed; 0 requests"
    )
