"""A plan that is compared with an earlier one: what it keeps, what it holds back, and what cannot be compared."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.apply.confirmation import confirm
from airflow_provider_modelarts.labeling.drift import BINS, HARD
from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
from airflow_provider_modelarts.labeling.plan.baseline import Baseline, BaselineRefused, read_baseline
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.lines import PlanNotes, PlanRefused
from airflow_provider_modelarts.labeling.plan.narrowing import Rejections, narrow_plan
from airflow_provider_modelarts.labeling.plan.plan_file import DRIFTED, PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import GuardFailed
from airflow_provider_modelarts.labeling.sample_facts import facts_of_row
from tests.labeling.object_store import Bucket
from tests.labeling.raw_samples import raw_label, raw_sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.labeling.plan.builder import PlanResult

POLICY = {"min_score": 0.5, "max_drift": 0.1}
EVEN = {"rose": 1, "tulip": 1, "daisy": 1}
ROSES = {"rose": 8, "tulip": 1, "daisy": 1}


def night(number: int, weights: Mapping[str, float], count: int = 400, low: float = 0.2) -> list[dict[str, Any]]:
    """Return the proposals of new samples of one night."""
    draw = random.Random(number)
    names = draw.choices(list(weights), list(weights.values()), k=count)
    return [
        raw_sample(number * 10_000 + place, [raw_label(name, score=round(draw.uniform(low, 1), 3))])
        for place, name in enumerate(names)
    ]


class Nights:
    """Plans of one dataset, one after the other."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator) -> None:
        self.client, self.bucket = client, Bucket()
        self.dataset_id = emulator.load_proposals(0)
        self.dataset = emulator.dataset(self.dataset_id)
        self.plans: list[Any] = []

    def plan(self, proposals: list[dict[str, Any]], baseline: bool = True, **policy: Any) -> PlanResult:
        self.dataset.propose(proposals)
        path = self.bucket / f"plan {len(self.plans)}.jsonl"
        earlier = Baseline(read_plan(self.plans[-1])) if baseline and self.plans else None
        self.plans.append(path)
        return make_plan(self.client, self.dataset_id, path, policy={**POLICY, **policy}, baseline=earlier)

    def apply(self, plan: Any) -> Any:
        return confirm(self.client, self.dataset_id, plan=plan)


@pytest.fixture
def nights(client: ModelArtsClient, emulator: Emulator) -> Nights:
    return Nights(client, emulator)


def last_line(path: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.content.splitlines()[-1])
    return found


def recounted(plan: Any, but: Any = ()) -> dict[str, list[int]]:
    """Count the lines of a plan in another way than the package does."""
    counts: dict[str, list[int]] = {}
    for planned in plan.samples():
        if planned.sample.sample_id in but:
            continue
        label = planned.sample.raw["labels"][0]
        bins = counts.setdefault(label["name"], [0] * (BINS + 2))
        bins[next(place for place in range(BINS - 1, -1, -1) if label["score"] >= place / BINS)] += 1
        bins[HARD] += bool(planned.sample.is_hard)
    return counts


@pytest.mark.parametrize("kind", ["classification", "multi_label", "detection"])
def test_the_last_line_counts_what_the_lines_say(client: ModelArtsClient, emulator: Emulator, kind: str) -> None:
    dataset_id = emulator.load_proposals(350, kind=kind, hard_share=0.2)
    path = Bucket() / "plan.jsonl"
    plan = make_plan(client, dataset_id, path).plan
    expected = recounted(plan)
    assert last_line(path)["noted"] == {"counts": expected, "completed_at": plan.completed_at}
    assert read_plan(path).counts_of_new is not None
    assert sum(sum(bins[:-1]) for bins in expected.values()) == 350
    assert 20 < sum(bins[HARD] for bins in expected.values()) < 130


def test_the_first_plan_has_nothing_to_be_compared_with_and_says_so(nights: Nights) -> None:
    made = nights.plan(night(1, EVEN))
    made.plan.check_guards()
    assert made.plan.drift is not None
    assert made.plan.drift.notes() == ["Drift: there is no earlier plan to compare with, so nothing was judged."]
    assert nights.apply(made.plan).confirmed == made.result.confirmed > 0


def test_the_same_machine_raises_no_alarm_though_what_was_left_is_proposed_every_night(nights: Nights) -> None:
    for number in range(1, 6):
        # What scored low stays, and piles up: it would look like scores that sink.
        made = nights.plan(night(number, EVEN), min_score=0.9)
        made.plan.check_guards()
        nights.apply(made.plan)
    drift = made.plan.drift
    assert drift is not None
    assert (drift.now, drift.before, drift.moved) == (400, 400, ())
    assert drift.flips.samples > 1000
    assert drift.flips.changed == 0
    earlier = {planned.sample.sample_id for planned in read_plan(nights.plans[-2]).samples()}
    assert last_line(nights.plans[-1])["noted"]["fresh"] == recounted(made.plan, but=earlier)


def test_a_label_that_takes_over_fails_the_guard_and_nothing_is_written(nights: Nights) -> None:
    nights.apply(nights.plan(night(1, EVEN)).plan)
    final = nights.dataset.annotated
    made = nights.plan(night(2, ROSES))
    for plan in (made.plan, read_plan(nights.plans[-1])):
        with pytest.raises(GuardFailed, match=r"max_drift=0\.1 does not hold.*the share of 'rose' from 3") as caught:
            plan.check_guards()
        assert "Nothing was written" in str(caught.value)
        with pytest.raises(GuardFailed):
            nights.apply(plan)
    assert nights.dataset.annotated == final
    assert made.plan.counts["confirm"] > 0  # it stays readable, with what would have been confirmed


def test_a_warning_confirms_all_the_same(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    nights.apply(nights.plan(night(1, EVEN)).plan)
    made = nights.plan(night(2, ROSES), on_drift="warn")
    assert nights.apply(made.plan).confirmed == made.result.confirmed > 200
    assert any(
        "the share of 'rose'" in record.getMessage() for record in caplog.records if record.levelname == "WARNING"
    )


def test_nothing_that_carries_a_label_that_moved_is_confirmed_with_review(nights: Nights) -> None:
    nights.apply(nights.plan(night(1, EVEN, low=0.6)).plan)
    proposals = night(2, EVEN, low=0.6)
    for number, one in enumerate(proposals):
        (label,) = one["labels"]
        if label["name"] == "rose":
            label["score"] = round(0.5 + 0.0001 * number, 4)
        elif number % 10 == 0:
            one["labels"] = [label, raw_label("rose", score=0.99)]  # a second label that moved
    made = nights.plan(proposals, on_drift="review")
    plan, stored = made.plan, read_plan(nights.plans[-1])
    assert plan.drift is not None
    assert plan.drift.labels == {"rose"}
    with_rose = {one["sample_id"] for one in proposals if any(label["name"] == "rose" for label in one["labels"])}
    assert 100 < len(with_rose) < 250
    for one in (plan, stored):
        one.check_guards()
        decided = {planned.sample.sample_id: planned.decision for planned in one.samples()}
        assert {sample_id for sample_id, decision in decided.items() if decision == DRIFTED} == with_rose
        assert one.counts == {"leave": 0, **Counter(decision.action for decision in decided.values())}
        assert one.by_label.keys() == {"tulip", "daisy"}
        assert not any(one.confirms(sample_id) for sample_id in with_rose)
    assert made.result.review == len(with_rose)
    assert made.summary.markdown() == stored.summarize().markdown()
    assert "a label that has drifted" in made.summary.markdown()
    done = nights.apply(nights.plans[-1])
    assert (done.confirmed, done.review) == (400 - len(with_rose), len(with_rose))
    assert set(nights.dataset.proposals) == with_rose


@pytest.mark.parametrize("audit", [{"audit_size": 30}, {"audit_share": 0.2}])
def test_an_audit_speaks_for_what_is_not_held_back(nights: Nights, audit: dict[str, Any]) -> None:
    target = {"target_precision": 0.9, "seed": "night", **audit}
    nights.plan(night(1, EVEN), **target)
    made = nights.plan(night(2, {"rose": 18, "tulip": 10, "daisy": 2}), on_drift="review", **target)
    assert made.plan.drift is not None
    assert made.plan.drift.labels == {"rose", "daisy"}
    assert AuditedPlan(made.plan).populations.keys() == {"tulip"}


@pytest.mark.parametrize("audit", [{"audit_size": 50}, {"audit_share": 0.3}])
def test_an_audit_of_samples_with_several_labels_speaks_for_what_is_not_held_back(
    nights: Nights, audit: dict[str, Any]
) -> None:
    """Samples are drawn by their first label, and held back for any of their labels."""

    def proposals(number: int, low: float) -> list[dict[str, Any]]:
        found = night(number, EVEN, 600)
        for place, one in enumerate(found):
            (label,) = one["labels"]
            if label["name"] == "daisy":
                label["score"] = low + (1 - low) * label["score"]
            elif place % 2 and label["name"] == "rose":
                one["labels"].append(raw_label("daisy", score=0.9))
        return found

    target = {"target_precision": 0.9, "seed": "night", "on_drift": "review", "hard_examples": "confirm", **audit}
    nights.plan(proposals(1, 0.0), **target)
    plan = nights.plan(proposals(2, 0.8), **target).plan
    assert plan.drift is not None
    assert plan.drift.labels == {"daisy"}
    audited = AuditedPlan(plan)
    assert audited.populations.keys() == {"rose", "tulip"}
    assert not any("daisy" in row.label_names for row in audited.rows.values())
    rose = audited.populations["rose"]
    assert len(rose.drawn) < len(rose.scores) < rose.drawn_from, "some of those drawn were held back"


def test_guards_judge_what_is_left_after_review(nights: Nights) -> None:
    nights.plan(night(1, EVEN))
    made = nights.plan(night(2, ROSES), on_drift="review", min_samples=200)
    with pytest.raises(GuardFailed, match="min_samples=200"):
        made.plan.check_guards()


def test_all_goes_to_people_if_what_moved_is_of_no_single_label(nights: Nights) -> None:
    nights.plan(night(1, EVEN))
    proposals = night(2, EVEN)
    for one in proposals[:200]:
        one["metadata"] = {"@modelarts:hard": True}
    made = nights.plan(proposals, on_drift="review", hard_examples="confirm")
    assert made.plan.drift is not None
    assert [shift.what for shift in made.plan.drift.moved] == ["hard"]
    assert made.result.confirmed == 0


def test_samples_that_were_proposed_before_are_judged_by_what_became_of_their_labels(nights: Nights) -> None:
    first = night(1, EVEN)
    nights.plan(first)
    for one in first[:40]:
        one["labels"][0]["name"] = "tulip" if one["labels"][0]["name"] == "rose" else "rose"
    made = nights.plan([*first, *night(2, EVEN)])
    drift = made.plan.drift
    assert drift is not None
    assert drift.flips[:2] == (400, 40)
    assert sum(count for *_, count in drift.flips.most) == 40
    assert {(before, now) for before, now, _ in drift.flips.most} == {
        ("rose", "tulip"),
        ("tulip", "rose"),
        ("daisy", "rose"),
    }
    assert not drift.moved  # a first share of flips has none before it to be compared with
    for one in first[:300]:
        one["labels"][0]["name"] = "daisy"
    again = nights.plan([*first, *night(3, EVEN)]).plan.drift
    assert again is not None
    assert "flips" in {shift.what for shift in again.moved}


def test_boxes_of_the_same_names_are_no_flip(nights: Nights) -> None:
    nights.plan([raw_sample(1, [raw_label("rose"), raw_label("tulip")]), *night(1, EVEN)])
    made = nights.plan([raw_sample(1, [raw_label("tulip", score=0.7), raw_label("rose"), raw_label("rose")])])
    assert made.plan.drift is not None
    assert made.plan.drift.flips[:2] == (401, 0)


def test_a_plan_of_an_older_version_is_applied_but_not_compared_with(nights: Nights) -> None:
    made = nights.plan(night(1, EVEN))
    path = nights.bucket / "older.jsonl"
    with PlanWriter(path, made.plan.header) as writer:
        for row, decision in made.plan.samples():
            writer.add_rows([row], [decision])
    older = read_plan(path)
    assert (older.notes, older.counts) == (PlanNotes(), made.plan.counts)
    with pytest.raises(BaselineRefused, match="older version"):
        Baseline(older)
    with pytest.raises(GuardFailed, match="cannot be judged"):  # its policy asks for what it does not have
        older.check_guards()


@pytest.mark.parametrize(
    "asked", [{"dataset_id": "another"}, {"filters": {"label_name": "rose"}}, {"first_label": "rose"}]
)
def test_a_plan_of_other_proposals_is_not_compared_with(nights: Nights, asked: dict[str, Any]) -> None:
    nights.plan(night(1, EVEN))
    with pytest.raises(BaselineRefused, match=f"made for another {next(iter(asked))}"):
        read_baseline(nights.plans[0], **asked)


def test_what_a_person_rejects_of_a_plan_leaves_its_comparison_as_it_is(nights: Nights) -> None:
    nights.plan(night(1, EVEN))
    made = nights.plan(night(2, ROSES), on_drift="review")
    narrowed = narrow_plan(made.plan, nights.bucket / "narrowed.jsonl", [Rejections(labels=frozenset({"daisy"}))])
    assert narrowed.notes == made.plan.notes
    assert narrowed.counts["confirm"] <= made.plan.counts["confirm"]
    narrowed.check_guards()


@pytest.mark.parametrize("change", [(b'"hard"', b'"flop"'), (b'"review",', b'"warn",'), (b'"noted"', b'"moted"')])
def test_what_a_plan_notes_cannot_be_changed(nights: Nights, change: tuple[bytes, bytes]) -> None:
    nights.plan(night(1, EVEN))
    made = nights.plan(night(2, ROSES), on_drift="review")
    assert made.plan.drift is not None
    path = nights.plans[-1]
    *lines, last = path.content.splitlines(keepends=True)
    changed = last.replace(*change) if change[0] in last else last.replace(b'"compared":', b'"compared":1')
    assert changed != last
    path.content = b"".join([*lines, changed])
    with pytest.raises(PlanRefused):
        read_plan(path)


def test_drift_is_not_judged_where_no_plan_is_stored(nights: Nights) -> None:
    nights.dataset.propose(night(1, EVEN))
    with pytest.raises(InvalidRequest, match="max_drift is judged when a plan is made"):
        confirm(nights.client, nights.dataset_id, policy=POLICY)
    assert nights.dataset.annotated == 0
    assert confirm(nights.client, nights.dataset_id, policy=POLICY, preview=True).confirmed > 0


@pytest.mark.wrong_answers
def test_odd_samples_are_not_counted(nights: Nights) -> None:
    odd = raw_sample(1, [{"name": ["no", "text"], "score": 0.9}])
    made = nights.plan([odd, *night(1, EVEN)])
    assert made.plan.counts_of_new is not None
    assert made.plan.counts_of_new.total == len(made.plan) - made.result.failed == 400
    assert any(facts_of_row(planned.row).oddity for planned in made.plan.samples())
