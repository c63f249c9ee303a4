"""When a proposal counts as right, what the report shows, and which plans can be proven at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.resources.team_samples import TeamSample
from airflow_provider_modelarts.client.sample_rows import SampleRow, row_of
from airflow_provider_modelarts.labeling.audit import SizedDraw, place_in_draw
from airflow_provider_modelarts.labeling.evidence.answers import _is_by_account, _is_labeled
from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
from airflow_provider_modelarts.labeling.evidence.evidence_file import (
    NOT_PROVEN,
    EvidenceHeader,
    EvidenceRefused,
    gathered,
    read_evidence,
    store_evidence,
)
from airflow_provider_modelarts.labeling.evidence.judging import Answer, _can_be_matched, judge, judge_names
from airflow_provider_modelarts.labeling.evidence.report import markdown
from airflow_provider_modelarts.labeling.plan.narrowing import narrow_plan
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanHeader, PlanRefused, PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import AUDITED, Decision, facts_of_row, parse_policy
from tests.labeling.test_summary import NASTY

if TYPE_CHECKING:
    from pathlib import Path


def sample(labels: list[dict[str, Any]], sample_id: str = "s") -> SampleRow:
    return row_of(Sample({"sample_id": sample_id, "labels": labels}))


def box(name: str, *corners: float | str, shape: str | None = "bndbox") -> dict[str, Any]:
    left, top, right, bottom = corners
    marks: dict[str, Any] = {"@modelarts:feature": [[left, top], [right, bottom]]}
    return {"name": name, "type": 1, "property": marks if shape is None else {**marks, "@modelarts:shape": shape}}


def named(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "type": 0, "score": 0.5, "property": {"@modelarts:hard": "false"}} for name in names]


def speech(content: str) -> list[dict[str, Any]]:
    return [{"type": 201, "property": {"@modelarts:content": content}}]


def entity(start: int, end: int) -> list[dict[str, Any]]:
    return [{"name": "city", "property": {"@modelarts:start_index": start, "@modelarts:end_index": end, "note": start}}]


CAR = box("car", 0, 0, 100, 100)


def test_a_box_somewhere_else_is_wrong_however_little_overlap_is_asked_for() -> None:
    proposal = sample([CAR])
    assert judge(proposal, [box("car", 99, 99, 300, 300)], 0).right
    assert not judge(proposal, [box("car", 200, 200, 300, 300)], 0).right


@pytest.mark.parametrize(
    ("shown", "is_answer"),
    [
        ({"sample_status": "MANUAL_ANNOTATION"}, True),
        ({"sample_status": "manual_annotation", "annotated_by": "human/a/b"}, True),
        ({"sample_status": "__UNCHECK__"}, True),
        ({"annotated_by": "human/account/user"}, True),
        ({"sample_status": "UN_ANNOTATION"}, False),
        ({"sample_status": "__NONE__"}, False),
        ({"sample_status": "__AUTO_ANNOTATION__"}, False),
        ({"sample_status": "auto_annotation", "annotated_by": ""}, False),
        ({"sample_status": ""}, False),
        ({"sample_status": None, "annotated_by": None}, False),
        ({"annotated_by": "auto"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_labels_of_the_machine_that_are_only_shown_are_no_answers(shown: dict[str, Any], is_answer: bool) -> None:
    """The service has several words for it, and may leave it out."""
    assert _is_labeled(Sample({"sample_id": "s", "labels": named("rose"), **shown})) is is_answer
    assert not _is_labeled(Sample({"sample_id": "s", "labels": [], **shown}))


@pytest.mark.parametrize(
    ("author", "is_by_account"),
    [
        ("human/account/user", True),
        ("human/OTC-EU-DE-1/some user", True),
        ("human/ann@example.com", False),
        ("human/a/b@example.com", False),
        ("human", False),
        ("auto/a/b", False),
        ("", False),
        (None, False),
    ],
)
def test_a_copy_that_an_account_filled_is_no_answer_of_a_member(author: str | None, is_by_account: bool) -> None:
    assert _is_by_account(TeamSample({"sample_id": "s", "annotated_by": author})) is is_by_account


@pytest.mark.parametrize(
    ("proposed", "given", "is_right"),
    [
        (named("rose"), [{"name": "rose"}], True),
        (named("rose"), [{"name": "Rose"}], False),
        (named("rose"), [{"name": "tulip"}], False),
        (named("rose"), [{"name": "rose"}, {"name": "tulip"}], False),
        (named("rose", "tulip"), [{"name": "tulip"}, {"name": "rose"}], True),
        (named("rose", "tulip"), [{"name": "rose"}], False),
        (named("rose", "rose"), [{"name": "rose"}], False),
        ([CAR], [CAR], True),
        ([CAR], [box("car", 0, 0, 100, 50)], True),  # half of it: iou 0.5
        ([CAR], [box("car", 0, 0, 100, 49)], False),
        ([CAR], [box("car", "0", "0.0", 100, 60)], True),
        ([CAR], [box("car", 0, 0, 100, 100, shape=None)], True),  # the older spelling
        ([CAR], [box("bus", 0, 0, 100, 100)], False),
        ([CAR], [CAR, box("car", 200, 200, 300, 300)], False),
        ([CAR], [{"name": "car"}], False),
        ([CAR], [], False),
        ([CAR], [{**CAR, "property": {"@modelarts:shape": "bndbox", "@modelarts:feature": "?"}}], False),
        ([CAR], [box("car", 100, 100, 0, 0)], False),
        ([box("car", 0, 0, 100, 100, shape="circle")], [box("car", 0, 0, 100, 99, shape="circle")], False),
        ([box("car", 0, 0, 100, 100, shape="circle")], [box("car", 0, 0, 100, 100, shape="circle")], True),
        (speech("hello"), speech("hello"), True),
        (speech("hello"), speech("hallo"), False),
        (entity(0, 5), entity(0, 5), True),
        (entity(0, 5), entity(0, 6), False),
        # Both fit one box alone.
        (
            [box("car", 0, 0, 100, 100), box("car", 0, 0, 100, 60)],
            [box("car", 0, 0, 100, 58), box("car", 0, 0, 100, 300)],
            False,
        ),
        # The first must leave the box that it likes best to the second.
        (
            [box("car", 0, 0, 100, 100), box("car", 0, 0, 100, 190)],
            [box("car", 0, 0, 100, 110), box("car", 0, 0, 100, 60)],
            True,
        ),
    ],
)
def test_right_means_that_nothing_was_changed(
    proposed: list[dict[str, Any]], given: list[dict[str, Any]], is_right: bool
) -> None:
    assert judge(sample(proposed), given, 0.5).right is is_right


def test_many_boxes_that_all_must_move_are_matched() -> None:
    """The last row needs the place of the first, which moves on to that of the second, and so on."""
    rows = [[place, place + 1] for place in range(3000)]
    assert _can_be_matched([*rows, [0]])
    assert not _can_be_matched([*rows, [0], [0]])


def test_names_alone_never_say_that_boxes_are_right() -> None:
    assert judge_names(sample(named("rose", "tulip")), ["tulip", "rose"]) == Answer(True, ("tulip", "rose"))
    assert not judge_names(sample(named("rose")), ["tulip"]).right
    assert not judge_names(sample([CAR]), ["car"]).right
    assert not judge_names(sample(speech("hello")), [""]).right
    assert not judge_names(sample(entity(0, 5)), ["city"]).right


# --- plans


def plan_of(
    folder: Path, labels: dict[str, int], *, size: int = 20, target: float = 0.8, header: PlanHeader | None = None
) -> Plan:
    """A plan with so many proposals of each label, scores from 0 upwards."""
    policy = {"target_precision": target, "audit_size": size, "seed": "s"}
    draw = SizedDraw(size, "s")
    rows = [
        row_of(Sample({"sample_id": f"{place}-{number}", "labels": [{"name": name, "score": number / count}]}))
        for place, (name, count) in enumerate(labels.items())
        for number in range(count)
    ]
    for row in rows:
        draw.add(row.label_names[0], row.sample_id)
    drawn = draw.drawn()
    with PlanWriter(folder / "plan.jsonl", header or PlanHeader("d", policy)) as writer:
        writer.add_rows(rows, [AUDITED if row.sample_id in drawn else Decision("confirm", "passed") for row in rows])
    return read_plan(folder / "plan.jsonl")


def header_for(plan: Plan) -> EvidenceHeader:
    policy = plan.policy
    assert policy is not None
    return EvidenceHeader("d", plan.uri, plan.digest, policy.target_precision or 0, policy.confidence, 0.5, "given")


def test_a_proof_leaves_the_rest_to_people(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"rose": 60, "tulip": 60}, size=40)
    audited = AuditedPlan(plan)
    answers = {one: Answer(row.label_names == ["rose"], ()) for one, row in audited.rows.items()}
    evidence = store_evidence(tmp_path / "evidence.jsonl", plan, gathered(audited, header_for(plan), answers))
    assert plan.is_candidate
    narrowed = narrow_plan(plan, tmp_path / "narrowed.jsonl", [evidence])
    assert not narrowed.is_candidate
    assert {row.label_names[0] for row, decision in narrowed.samples() if decision.action == "confirm"} == {"rose"}
    assert {decision for row, decision in narrowed.samples() if row.label_names == ["tulip"]} == {NOT_PROVEN, AUDITED}
    assert narrowed.counts["confirm"] == 20
    with pytest.raises(PlanRefused, match="Evidence speaks for the plan as it was made"):
        AuditedPlan(narrowed)


def test_a_plan_without_a_target_or_with_an_unscored_sample_cannot_be_proven(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no target_precision"):
        AuditedPlan(plan_of(tmp_path, {"rose": 3}, header=PlanHeader("d", {"min_score": 0.5})))
    policy = {"target_precision": 0.8, "audit_size": 1, "seed": "s"}
    with PlanWriter(tmp_path / "odd.jsonl", PlanHeader("d", policy)) as writer:
        writer.add(Sample({"sample_id": "a", "labels": [{"name": "rose"}]}), Decision("confirm", "passed"))
    with pytest.raises(PlanRefused, match="sample a has no score"):
        AuditedPlan(read_plan(tmp_path / "odd.jsonl"))


def test_who_is_drawn_depends_on_seed_and_id_alone() -> None:
    ids = [f"sample-{number}" for number in range(500)]
    found = []
    for order in (ids, ids[::-1]):
        draw = SizedDraw(7, "night")
        for sample_id in order:
            draw.add("rose", sample_id)
        found.append(draw.drawn())
    assert found[0] == found[1] == set(sorted(ids, key=lambda one: place_in_draw("night", one))[:7])


# --- the file and the report


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"null\n", b'{"format":"modelarts-audit-evidence","version":1}\n', b"{"]
)
def test_what_is_no_evidence_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e").write_bytes(content)
    with pytest.raises(EvidenceRefused):
        read_evidence(tmp_path / "e")


def test_evidence_for_an_earlier_plan_is_replaced(tmp_path: Path) -> None:
    digests = []
    for count in (30, 31):
        plan = plan_of(tmp_path, {"rose": count})
        audited = AuditedPlan(plan)
        stored = store_evidence(tmp_path / "e", plan, gathered(audited, header_for(plan), {}))
        assert read_evidence(tmp_path / "e").header.plan_digest == plan.digest
        digests.append(stored.digest)
    assert len(set(digests)) == 2


def test_the_report_is_bounded_and_its_names_do_nothing(tmp_path: Path) -> None:
    labels = {f"{NASTY}{number}": 3 for number in range(300)}
    plan = plan_of(tmp_path, labels, size=2)
    audited = AuditedPlan(plan)
    answers = {one: Answer(number % 3 > 0, ("x",)) for number, one in enumerate(audited.rows)}
    text = markdown(audited, gathered(audited, header_for(plan), answers))
    assert len(text.encode()) <= 8192
    assert "other labels" in text
    assert "<script" not in text
    assert NASTY not in text
    assert "0.3 - 0.4 ####" in text


def test_the_report_of_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {})
    audited = AuditedPlan(plan)
    text = markdown(audited, gathered(audited, header_for(plan), {}))
    assert "**0** of 0 proposals may be confirmed" in text
    assert "|" not in text


# --- the policy

GOOD: dict[str, Any] = {"target_precision": 0.95, "audit_size": 100, "seed": "night-1"}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({**GOOD, "target_precision": 0}, "target_precision"),
        ({**GOOD, "target_precision": 1}, "target_precision"),
        ({**GOOD, "target_precision": "high"}, "target_precision"),
        ({**GOOD, "target_precision": float("nan")}, "target_precision"),
        ({**GOOD, "target_precision": None}, "target_precision"),
        ({**GOOD, "confidence": 1}, "confidence"),
        ({**GOOD, "confidence": 0}, "confidence"),
        ({**GOOD, "audit_share": 0.1}, "two ways to draw one audit"),
        ({**GOOD, "audit_size": 0}, "audit_size"),
        ({**GOOD, "audit_size": 1.5}, "audit_size"),
        ({"target_precision": 0.9, "seed": "s"}, "give audit_size or audit_share"),
        ({"target_precision": 0.9, "audit_share": 0, "seed": "s"}, "give audit_size or audit_share"),
        ({"target_precision": 0.9, "audit_size": 9}, "a seed that no earlier plan"),
        ({"confidence": 0.9}, "which is missing"),
        ({"evidence_uri": "file:///e"}, "which is missing"),
        ({**GOOD, "evidence_uri": ""}, "evidence_uri"),
    ],
    ids=str,
)
def test_a_target_that_cannot_be_proven_is_refused(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_policy(policy)


def test_a_target_survives_a_plans_first_line() -> None:
    policy = parse_policy({**GOOD, "target_precision": "0.95", "audit_size": "100", "confidence": 0.95})
    assert policy is not None
    stored = json.loads(json.dumps(policy.model_dump(mode="json", exclude_defaults=True)))
    assert parse_policy(stored) == policy


@pytest.mark.parametrize("score", [None, float("nan"), "?", 2])
def test_with_a_target_a_sample_without_a_usable_score_goes_to_people(score: Any) -> None:
    policy = parse_policy(GOOD)
    row = row_of(Sample({"sample_id": "a", "labels": [{"name": "rose", "score": score}]}))
    assert policy is not None
    assert policy.decide_by_facts(facts_of_row(row)) == Decision("review", "score_unknown")
