"""Plans: exact, complete, and refused if anything about them is not as it was written."""

from __future__ import annotations

import json
import random
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import ConfirmationError, UnexpectedResponse
from airflow_provider_modelarts.client.sample_rows import SampleRow, row_of
from airflow_provider_modelarts.labeling.apply.confirmation import confirm
from airflow_provider_modelarts.labeling.label_equality import raw_labels
from airflow_provider_modelarts.labeling.plan import builder
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.lines import PlanHeader, PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import ConfirmPolicy, Decision, GuardFailed
from airflow_provider_modelarts.labeling.sample_table import CHANGED, NOT_PLANNED, PlanIndex
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

CONFIRM = Decision("confirm", "passed")
HEADER = PlanHeader("dataset", policy={"min_score": 0.5}, label_task_id="task", created_at=1.5)

# What JSON can carry; names as the service knows them: any text.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
labels = st.lists(
    st.fixed_dictionaries(
        {"name": text},
        optional={"type": st.integers(0, 999), "score": st.sampled_from([1, 1.0, 0.5, "0.5"]), "property": values},
    ),
    max_size=4,
)
decisions = st.sampled_from([CONFIRM, Decision("review", "hard_example"), Decision("leave", "no_labels")])


def as_json(value: object) -> str:
    """Return JSON that differs where key order or number format differ."""
    return json.dumps(value)


def written(pairs: list[tuple[dict[str, Any], Decision]], path: Any = None) -> Any:
    path = path or Bucket() / "plan.jsonl"
    with PlanWriter(path, HEADER) as writer:
        for raw, decision in pairs:
            writer.add(Sample(raw), decision)
    return path


def sample(number: int, **more: Any) -> dict[str, Any]:
    return {"sample_id": f"{number:032x}", "labels": [{"name": "rose", "type": 0, "score": 1.0}], **more}


@settings(deadline=None, derandomize=True, max_examples=150)
@given(pairs=st.lists(st.tuples(labels, decisions), max_size=8))
def test_labels_come_back_exactly_as_they_were(pairs: list[tuple[list[dict[str, Any]], Decision]]) -> None:
    given_ = [({"sample_id": f"s {number}", "labels": found}, said) for number, (found, said) in enumerate(pairs)]
    plan = read_plan(written(given_))
    read = list(plan.samples())
    assert [as_json(raw_labels(planned.sample)) for planned in read] == [as_json(raw["labels"]) for raw, _ in given_]
    assert [planned.decision for planned in read] == [said for _, said in given_]
    assert [planned.sample.sample_id for planned in read] == [raw["sample_id"] for raw, _ in given_]
    assert all(plan.decide(Sample(raw)) == said for raw, said in given_)
    assert sum(plan.counts.values()) == len(plan) == len(pairs)
    assert plan.header == HEADER


@settings(deadline=None, derandomize=True, max_examples=300)
@given(data=st.data())
def test_a_plan_that_was_cut_or_changed_anywhere_is_refused(data: st.DataObject) -> None:
    path = written([(sample(number), CONFIRM) for number in range(3)])
    whole = path.content
    if data.draw(st.booleans(), label="cut"):
        path.content = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
        path.content = whole[:place] + bytes([other]) + whole[place + 1 :]
    with pytest.raises(PlanRefused) as caught:
        read_plan(path)
    assert "\n" not in str(caught.value)
    assert "plan.jsonl" in str(caught.value)


@pytest.mark.parametrize("number", range(5))
def test_a_plan_without_one_of_its_lines_is_refused(number: int) -> None:
    path = written([(sample(number), CONFIRM) for number in range(3)])
    lines = path.content.splitlines(keepends=True)
    assert len(lines) == 5
    path.content = b"".join(lines[:number] + lines[number + 1 :])
    with pytest.raises(PlanRefused):
        read_plan(path)


def test_counts_that_do_not_fit_are_refused_although_the_digest_does() -> None:
    path = written([(sample(number), CONFIRM) for number in range(3)])
    path.content = path.content.replace(b'"confirm":3', b'"confirm":2')
    with pytest.raises(PlanRefused, match="not complete or was altered"):
        read_plan(path)


def test_nothing_and_something_else_are_refused() -> None:
    path = Bucket() / "plan.jsonl"
    with pytest.raises(PlanRefused, match="there is nothing"):
        read_plan(path)
    for content in (b"", b"{}\n", b"hello", b"\xff\xfe\n", b"[1]\n" * 3, b"[" * 100_000):
        path.content = content
        with pytest.raises(PlanRefused, match="no plan"):
            read_plan(path)
    whole = written([]).content
    path.content = whole.replace(b'"version":1', b'"version":2')
    with pytest.raises(PlanRefused, match="another format"):
        read_plan(path)


def test_a_plan_exchanged_while_it_is_used_is_noticed() -> None:
    path = written([(sample(1), CONFIRM)])
    plan = read_plan(path)
    written([(sample(2), CONFIRM)], path)
    with pytest.raises(PlanRefused, match="exchanged"):
        list(plan.samples())


def test_a_plan_knows_what_changed() -> None:
    review = Decision("review", "hard_example")
    plan = read_plan(written([(sample(1), CONFIRM), (sample(2), review)]))
    relabeled = [{"name": "tulip", "type": 0, "score": 1.0}]
    renumbered = [{"id": "7", "name": "rose", "type": 0, "score": 1.0}]
    assert plan.decide(Sample(sample(1))) == CONFIRM
    assert plan.decide(Sample(sample(1, labels=renumbered))) == CONFIRM
    assert plan.decide(Sample(sample(1, labels=relabeled))) == CHANGED
    assert plan.decide(Sample(sample(1, labels=[]))) == CHANGED
    assert plan.decide(Sample(sample(2, labels=relabeled))) == review
    assert plan.decide(Sample(sample(3))) == NOT_PLANNED


def test_a_line_has_what_people_and_detection_need_and_no_address() -> None:
    secret = "X-Amz-Signature=5ecret"
    raw = sample(
        1,
        score=0.25,
        source=f"https://obs.example.com/b/1.jpg?{secret}",
        preview=f"https://obs.example.com/b/p.jpg?{secret}",
        metadata={
            "@modelarts:size": [10, 20.0, 3],
            "@modelarts:hard": 1,
            "@modelarts:hard_reasons": [3, 1],
            "@modelarts:origin_source": "s3://b/1.jpg",
            "other": secret,
        },
    )
    unplaced = sample(2, source=f"https://obs.example.com/b/2.jpg?{secret}")
    odd = sample(3, metadata={"@modelarts:new_source": f"s3://b/3.jpg?{secret}"})
    path = written([(raw, CONFIRM), (unplaced, CONFIRM), (odd, CONFIRM)])
    assert b"5ecret" not in path.content
    one, two, three = (planned.sample for planned in read_plan(path).samples())
    assert one.element() == Sample(raw).element()
    assert as_json(one.metadata["@modelarts:size"]) == "[10, 20.0, 3]"
    assert (one.origin, one.is_hard, one.hard_reasons, one.score) == ("s3://b/1.jpg", True, (3, 1), 0.25)
    assert two.origin == "https://obs.example.com/b/2.jpg"
    assert three.origin == "s3://b/3.jpg"


def test_the_index_finds_every_sample_and_stays_small() -> None:
    chance = random.Random(0)
    ids = [f"{chance.getrandbits(128):032x}" for _ in range(20_000)] + ["", "ä", "x" * 200]
    tracemalloc.start()
    index = PlanIndex()
    for number, sample_id in enumerate(ids):
        index.add(SampleRow(sample_id), CONFIRM if number % 2 else Decision("leave", "no_labels"))
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/labeling/sample_table.py")])
    tracemalloc.stop()
    size = sum(statistic.size for statistic in ours.statistics("filename"))
    # 16,384 buckets of about 60 bytes are the fixed part.
    assert (size - 16384 * 100) / len(ids) < 60
    for number, sample_id in enumerate(ids):
        found = index.find(sample_id)
        assert found is not None
        assert (found[0].action, found[1]) == ("confirm" if number % 2 else "leave", number)
    assert index.find("unknown") is None


# --- against the emulator


@pytest.mark.parametrize("offset_mode", ["page", "record"])
@pytest.mark.parametrize("kind", ["classification", "multi_label", "detection"])
def test_a_plan_holds_every_proposal_once(
    client: ModelArtsClient, emulator: Emulator, kind: str, offset_mode: str
) -> None:
    emulator.variants.offset_mode = offset_mode
    dataset_id = emulator.load_proposals(350, kind=kind, hard_share=0.2)
    proposals = emulator.dataset(dataset_id).proposals
    path = Bucket() / "plan.jsonl"
    made = make_plan(client, dataset_id, path, policy={"min_score": 0.7}, made_by={"dag_id": "d"}, label_task_id="t")
    read = {planned.sample.sample_id: planned for planned in made.plan.samples()}
    policy = ConfirmPolicy(min_score=0.7)
    assert {name: as_json(raw_labels(planned.sample)) for name, planned in read.items()} == {
        name: as_json(raw["labels"]) for name, raw in proposals.items()
    }
    assert all(planned.decision == policy.decide(Sample(proposals[name])) for name, planned in read.items())
    assert made.result.seen == 350
    assert made.result.confirmed + made.result.review + made.result.left == 350
    assert min(made.result.confirmed, made.result.review) > 0
    assert (made.plan.header.label_task_id, made.plan.header.made_by) == ("t", {"dag_id": "d"})
    assert made.result.plan_uri == "memory://bucket/plan.jsonl"
    assert emulator.journal.count("PUT", "") == 0
    # a summary read from the stored plan is the one that was collected while it was written
    assert made.plan.summarize().markdown() == made.summary.markdown()
    assert not any(secret.encode() in path.content for secret in emulator.secrets)


def test_a_guard_fails_by_name_and_the_plan_stays_readable(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(50)
    path = Bucket() / "plan.jsonl"
    made = make_plan(client, dataset_id, path, policy={"max_samples": 3, "hard_examples": "confirm"})
    with pytest.raises(GuardFailed, match="max_samples=3"):
        made.plan.check_guards()
    again = read_plan(path)
    assert again.counts["confirm"] == 50
    with pytest.raises(GuardFailed, match="max_samples=3"):
        again.check_guards()


def test_without_a_policy_everything_with_labels_is_planned(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(120)
    made = make_plan(client, dataset_id, Bucket() / "plan.jsonl")
    assert made.result.confirmed == 120
    assert made.plan.policy is None
    made.plan.check_guards()


def test_a_filter_does_not_trim_the_labels_planned(client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.variants.trim_labels_to_filter = True
    dataset_id = emulator.load_proposals(60, kind="multi_label", labels=("rose", "tulip", "daisy"))
    whole = emulator.dataset(dataset_id).proposals
    made = make_plan(client, dataset_id, Bucket() / "plan.jsonl", filters={"label_name": "rose"})
    read = list(made.plan.samples())
    assert read
    assert all(as_json(raw_labels(p.sample)) == as_json(whole[p.sample.sample_id]["labels"]) for p in read)
    assert any(len(p.sample.labels) > 1 for p in read)


def test_a_list_that_misses_what_it_counts_is_no_plan(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = emulator.load_proposals(250)
    path = Bucket() / "plan.jsonl"
    fetch = client.proposals.page

    def doubled(pool: Any, pace: Any, bearings: Any) -> Iterator[Any]:
        page = bearings.pages.page(0)
        yield page
        yield page

    monkeypatch.setattr(builder, "pages_ahead", doubled)
    with pytest.raises(UnexpectedResponse, match="counts 250 proposals, but lists only 100"):
        make_plan(client, dataset_id, path)
    with pytest.raises(PlanRefused):
        read_plan(path)
    assert fetch(dataset_id, 0).total == 250


def test_a_list_that_changes_meanwhile_is_planned_as_far_as_it_is_seen(
    client: ModelArtsClient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    dataset_id = emulator.load_proposals(250)
    emulator.variants.shrink_list = 3
    made = make_plan(client, dataset_id, Bucket() / "plan.jsonl")
    assert "changed while they were read" in caplog.text
    assert 240 <= made.result.seen <= 250


def test_asked_to_stop_it_stores_no_plan(client: ModelArtsClient, emulator: Emulator) -> None:
    path = Bucket() / "plan.jsonl"
    with pytest.raises(ConfirmationError, match="no plan was stored"):
        make_plan(client, emulator.load_proposals(250), path, should_stop=lambda: emulator.journal.count("GET", "") > 1)
    with pytest.raises(PlanRefused):
        read_plan(path)


def test_a_plan_notes_when_it_was_made(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> None:
    begun, path = moved_clock.now(), Bucket() / "plan.jsonl"

    def let_time_pass() -> bool:
        moved_clock.advance(60)
        return False

    made = make_plan(client, emulator.load_proposals(5), path, should_stop=let_time_pass)
    assert made.plan.header.created_at == begun
    assert read_plan(path).completed_at == made.plan.completed_at == moved_clock.now() > begun


# --- lists that are paged or counted otherwise than documented

ODD_LISTS: list[dict[str, Any]] = [
    *({"behind_the_end": answer} for answer in (400, 404, 500, "last")),
    *({"behind_the_end": answer, "offset_mode": "record"} for answer in (400, 500)),
    *({"max_page": 50, "behind_the_end": answer} for answer in ("empty", 404)),
    {"max_page": 30, "offset_mode": "record"},
    *({"total": total} for total in ("page", "capped", "zero", "negative", "null", "missing")),
    *({"total": total, "offset_mode": "record", "behind_the_end": 400} for total in ("page", "capped", "null")),
    *({"total": "page", "max_page": most} for most in (50, 33, 12)),
    {"total": "page", "behind_the_end": 500},
]


@pytest.mark.parametrize("variants", ODD_LISTS, ids=str)
@pytest.mark.parametrize("proposals", [0, 1, 100, 250, 300])
def test_nothing_is_left_out_however_the_service_pages_and_counts(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, variants: dict[str, Any], proposals: int
) -> None:
    dataset_id = emulator.load_proposals(proposals)
    for name, value in variants.items():
        setattr(emulator.variants, name, value)
    made = make_plan(client, dataset_id, Bucket() / "plan.jsonl", policy={"min_score": 0.7})
    assert made.result.seen == proposals
    result = confirm(client, dataset_id, policy={"min_score": 0.7})
    assert (result.seen, result.unaccounted) == (proposals, 0)
    assert (result.confirmed, result.review, result.left) == (
        made.result.confirmed,
        made.result.review,
        made.result.left,
    )
    assert emulator.dataset(dataset_id).unconfirmed == proposals - result.confirmed
    again = confirm(client, dataset_id, plan=made.plan)
    assert (again.confirmed, again.unaccounted) == (0, 0)


def test_a_count_that_is_too_low_is_said(
    client: ModelArtsClient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.variants.total = "capped"
    make_plan(client, emulator.load_proposals(450), Bucket() / "plan.jsonl")
    assert "counts 100 proposals, but its list shows 450" in caplog.text
    assert "changed while" not in caplog.text


@pytest.mark.parametrize("behind_the_end", [400, 500])
def test_a_list_that_others_shorten_is_finished_where_pages_behind_its_end_are_refused(
    client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock, behind_the_end: int
) -> None:
    dataset_id = emulator.load_proposals(800)
    emulator.variants.behind_the_end = behind_the_end
    emulator.variants.shrink_list = 30
    result = confirm(client, dataset_id)
    assert emulator.dataset(dataset_id).unconfirmed == result.unaccounted == 0


@pytest.mark.parametrize("proposals", [6, 100, 250])
@pytest.mark.parametrize("offset_mode", ["page", "record"])
def test_a_sample_that_is_listed_twice_is_planned_and_confirmed_once(
    client: ModelArtsClient,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    proposals: int,
    offset_mode: str,
) -> None:
    dataset_id = emulator.load_proposals(proposals)
    emulator.variants.repeat_rows = 1
    emulator.variants.offset_mode = offset_mode
    made = make_plan(client, dataset_id, Bucket() / "plan.jsonl", policy={"min_score": 0.7})
    assert made.result.seen == proposals
    twice = list(emulator.dataset(dataset_id).proposals)[-1]
    assert f"listed twice: {twice}" in caplog.text
    for policy in ({"min_score": 1}, {"min_score": 0.7}, None):
        result = confirm(client, dataset_id, policy=policy)
        assert result.unaccounted == 0
    assert emulator.dataset(dataset_id).unconfirmed == 0
    assert caplog.text.count("listed twice") >= 2


def test_a_sample_listed_twice_with_different_labels_is_read_singly(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    dataset_id = emulator.load_proposals(3)
    emulator.variants.repeat_rows = 1
    sample_id = list(emulator.dataset(dataset_id).proposals)[-1]
    fetch = client.proposals.page_of_rows
    changed = []

    def contradicted(*args: Any, **kwargs: Any) -> Any:
        page = fetch(*args, **kwargs)
        if len(page.items) > 1:
            raw = page.items[0].sample.raw
            raw["labels"][0]["name"] = "wrong"
            changed.append(raw)
            return replace(page, items=[row_of(Sample(raw)), *page.items[1:]])
        return page

    labels = emulator.dataset(dataset_id).proposals[sample_id]["labels"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.proposals, "page_of_rows", contradicted)
        made = make_plan(client, dataset_id, Bucket() / "plan.jsonl")
        result = confirm(client, dataset_id, plan=made.plan)
    assert changed
    assert result.confirmed == 3
    assert emulator.dataset(dataset_id).names_of(sample_id) == [labels[0]["name"]]
