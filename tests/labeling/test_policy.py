"""The policy's table, row by row, and what cannot be a policy (design: Policy)."""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.sample_rows import parse_row
from airflow_provider_modelarts.labeling.policy import (
    RULES,
    ConfirmPolicy,
    GuardFailed,
    InvalidPolicy,
    confirm_all,
    decide_by,
    decide_rows_by,
    parse_policy,
)
from airflow_provider_modelarts.labeling.sample_facts import facts_of, facts_of_row
from tests.labeling.raw_samples import raw_label, raw_sample
from tests.support.odd_json import SAMPLES

HARD = {"metadata": {"@modelarts:hard": True}}


def proposal(*labels: dict[str, Any], number: int = 1, **more: Any) -> Sample:
    return Sample(raw_sample(number, list(labels), **more))


def decision(policy: dict[str, Any], sample: Sample) -> tuple[str, str]:
    parsed = parse_policy(policy)
    assert parsed is not None
    return tuple(parsed.decide(sample))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("policy", "sample", "expected"),
    [
        ({}, proposal(), ("leave", "no_labels")),
        ({}, Sample({"sample_id": "x"}), ("leave", "no_labels")),
        ({}, proposal(raw_label("")), ("leave", "no_labels")),
        ({"labels": ["rose"]}, proposal(raw_label("rose"), raw_label("tulip")), ("leave", "label_not_allowed")),
        ({"labels": ["rose", "tulip"]}, proposal(raw_label("rose"), raw_label("tulip")), ("confirm", "passed")),
        ({"min_score": 0}, proposal(raw_label(score=None)), ("review", "score_unknown")),
        ({"min_score": 0}, proposal(raw_label(score="much")), ("review", "score_unknown")),
        ({}, proposal(raw_label(score=None)), ("confirm", "passed")),
        ({"min_score": 0.8}, proposal(raw_label(score=None), score=0.8), ("confirm", "passed")),
        ({"min_score": 0.8}, proposal(raw_label(score=None), score=0.79), ("review", "score_too_low")),
        ({"min_score": 0.8}, proposal(raw_label(score=0.9), score=0.1), ("confirm", "passed")),
        ({"min_score": 0.8}, proposal(raw_label(score=0.9), raw_label(score=None)), ("review", "score_unknown")),
        ({"min_score": 0.9}, proposal(raw_label(score=0.9)), ("confirm", "passed")),
        ({"min_score": "0.9"}, proposal(raw_label(score="0.9")), ("confirm", "passed")),
        ({"min_score": 1}, proposal(raw_label(score=1.0)), ("confirm", "passed")),
        ({"min_score": 0.9}, proposal(raw_label(score=0.95), raw_label(score=0.89)), ("review", "score_too_low")),
        (
            {"min_score": 0.9, "min_score_by_label": {"weed": 0.5}},
            proposal(raw_label("weed", score=0.5), raw_label("rose", score=0.9)),
            ("confirm", "passed"),
        ),
        ({"min_score_by_label": {"weed": 0.99}}, proposal(raw_label("weed", score=0.98)), ("review", "score_too_low")),
        ({"min_score_by_label": {"weed": 0.99}}, proposal(raw_label("rose", score=None)), ("confirm", "passed")),
        ({}, proposal(raw_label(), **HARD), ("review", "hard_example")),
        ({"hard_examples": "confirm"}, proposal(raw_label(), **HARD), ("confirm", "passed")),
        ({}, proposal(raw_label(), metadata={"@modelarts:hard": "false"}), ("confirm", "passed")),
        ({}, proposal(raw_label(property={"@modelarts:hard": "true"})), ("review", "hard_example")),
        # what is not from 0 to 1 is no score, and nothing stands in for it
        *(
            ({"min_score": 0}, proposal(raw_label(score=odd), score=0.99), ("review", "score_unknown"))
            for odd in (45, -1, 1.0001, -0.0001, "45", "1_0", "0_1", "0.9_5", "nan", "\uff11", math.nan, True, [1], "")
        ),
        ({"min_score": 0.9}, proposal(raw_label(score=None), score=95), ("review", "score_unknown")),
        ({"min_score": 0.9}, proposal(raw_label(score=0.95), raw_label(score=45)), ("review", "score_unknown")),
        ({"min_score_by_label": {"rose": 0.9}}, proposal(raw_label("rose", score=45)), ("review", "score_unknown")),
        ({"min_score_by_label": {"rose": 0.9}}, proposal(raw_label("tulip", score=45)), ("confirm", "passed")),
        ({}, proposal(raw_label(score=45)), ("confirm", "passed")),
        ({"min_score": 0.9}, proposal(raw_label(score=" 0.9 ")), ("confirm", "passed")),
        ({"min_score": 0.9}, proposal(raw_label(score=45), score=0.99), ("review", "score_unknown")),
        ({"min_score": Decimal("0.9")}, proposal(raw_label(score=0.9)), ("confirm", "passed")),
        ({"labels": [7]}, proposal(raw_label("7")), ("confirm", "passed")),
        ({"min_score_by_label": {7: 0.9}}, proposal(raw_label("7", score=0.8)), ("review", "score_too_low")),
        ({"audit_share": 1}, proposal(raw_label()), ("review", "audit_sample")),
        ({"audit_share": 0}, proposal(raw_label()), ("confirm", "passed")),
        # the first row that applies decides
        ({"labels": ["rose"], "min_score": 1}, proposal(raw_label("weed", score=0)), ("leave", "label_not_allowed")),
        ({"min_score": 1, "audit_share": 1}, proposal(raw_label(score=0), **HARD), ("review", "score_too_low")),
        ({"audit_share": 1}, proposal(raw_label(), **HARD), ("review", "hard_example")),
    ],
)
def test_the_first_rule_that_applies_decides(policy: dict[str, Any], sample: Sample, expected: tuple[str, str]) -> None:
    assert decision(policy, sample) == expected


@settings(max_examples=1500)
@given(SAMPLES)
def test_rules_see_the_same_of_a_row_and_of_its_model(raw: dict[str, Any]) -> None:
    row = parse_row(json.dumps(raw).encode())
    assert repr(facts_of_row(row)) == repr(facts_of(Sample(raw)))
    for policy in (None, ConfirmPolicy(min_score=0.5), ConfirmPolicy(labels=("rose",), hard_examples="confirm")):
        for filters in ({}, {"low_score": 0.1}):
            one = decide_by(policy, filters)(facts_of(Sample(raw)))
            assert decide_rows_by(policy, filters)([row]) == [one]


def test_without_a_policy_everything_that_has_labels_is_confirmed() -> None:
    assert confirm_all(facts_of(proposal(raw_label(score=0), **HARD))).action == "confirm"
    assert confirm_all(facts_of(proposal())).action == "leave"


@pytest.mark.parametrize("policy", [None, {}, {"hard_examples": "confirm"}])
@pytest.mark.parametrize("bound", ["low_score", "high_score"])
def test_a_score_that_is_none_passes_no_bound_of_the_list_either(policy: object, bound: str) -> None:
    decide = decide_by(parse_policy(policy), {bound: 0.9})
    assert decide(facts_of(proposal(raw_label(score=45)))) == ("review", "score_unknown")
    assert decide(facts_of(proposal(raw_label(score=None), score=-1))) == ("review", "score_unknown")
    assert decide(facts_of(proposal(raw_label(score=0.95)))).action == "confirm"
    # The service knows better than we why it lists a sample whose score it does not show.
    assert decide(facts_of(proposal(raw_label(score=None)))).action == "confirm"
    assert decide(facts_of(proposal())) == ("leave", "no_labels")


KNOWN = {"rose", "tulip", "Weed", "7"}


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ({"labels": ["rose", "tulipp"]}, "'tulipp', which dataset d1 does not have (did you mean 'tulip'?)"),
        ({"min_score_by_label": {"roze": 0.99}}, "'roze', which dataset d1 does not have (did you mean 'rose'?)"),
        ({"min_score_by_label": {"WEED": 0.99}}, "(did you mean 'Weed'?)"),
        ({"min_score_by_label": {" rose": 0.99}}, "(did you mean 'rose'?)"),
        ({"labels": ["orchid"]}, "'orchid', which dataset d1 does not have (it has '7', 'Weed', 'rose', 'tulip')"),
    ],
)
def test_a_label_that_the_dataset_does_not_have_is_refused_with_the_nearest(policy: object, complaint: str) -> None:
    parsed = parse_policy(policy)
    assert parsed is not None
    with pytest.raises(InvalidPolicy) as caught:
        parsed.check_labels(KNOWN, "d1")
    assert complaint in str(caught.value)


def test_labels_of_the_dataset_are_no_reason_to_complain() -> None:
    parsed = parse_policy({"labels": ["rose", 7], "min_score_by_label": {"tulip": 0.9}})
    assert parsed is not None
    assert parsed.named_labels == ("rose", "7", "tulip")
    parsed.check_labels(KNOWN, "d1")


SCORES = st.one_of(st.none(), st.floats(0, 1), st.integers(0, 1))
LABELS = st.lists(st.builds(raw_label, st.sampled_from(["rose", "tulip", "weed"]), score=SCORES), max_size=3)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.lists(st.sampled_from(["rose", "tulip", "weed"]), min_size=1),
        "min_score": st.floats(0, 1),
        "min_score_by_label": st.dictionaries(st.sampled_from(["rose", "tulip"]), st.floats(0, 1)),
        "hard_examples": st.sampled_from(["review", "confirm"]),
        "audit_share": st.floats(0, 1),
        "seed": st.integers() | st.text(max_size=3).filter(bool),
    },
)


@given(POLICIES, LABELS, SCORES, st.sampled_from([True, False, "true", "0", 1]))
def test_what_is_confirmed_meets_every_condition(
    policy: dict[str, Any], labels: list[dict[str, Any]], score: float | None, hard: object
) -> None:
    sample = proposal(*labels, score=score, metadata={"@modelarts:hard": hard})
    action, rule = decision(policy, sample)
    assert rule in {row.name for row in RULES} | {"passed"}
    if action != "confirm":
        return
    assert labels
    for label in labels:
        assert label["name"] in policy.get("labels", [label["name"]])
        threshold = policy.get("min_score_by_label", {}).get(label["name"], policy.get("min_score"))
        known = label["score"] if label["score"] is not None else score
        assert threshold is None or (known is not None and known >= threshold)
    assert hard in (False, "0") or policy.get("hard_examples") == "confirm"


@given(POLICIES)
def test_a_policy_reads_the_same_as_dict_as_text_and_with_numbers_as_text(policy: dict[str, Any]) -> None:
    expected = parse_policy(policy)
    assert parse_policy(json.dumps(policy)) == expected
    as_text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in policy.items()}
    assert parse_policy(as_text) == expected
    assert expected is not None
    assert parse_policy(expected.model_dump(mode="json", exclude_none=True)) == expected


@given(LABELS.filter(bool), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10_000))
def test_a_stricter_score_never_confirms_more(labels: list[Any], one: float, other: float, number: int) -> None:
    sample = proposal(*labels, number=number)
    low, high = sorted((one, other))
    if decision({"min_score": high}, sample)[0] == "confirm":
        assert decision({"min_score": low}, sample)[0] == "confirm"


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_audit_draws_its_share_and_the_same_samples_every_time(share: float) -> None:
    samples = [proposal(raw_label(), number=number) for number in range(4000)]

    def drawn(**policy: Any) -> set[str]:
        return {s.sample_id for s in samples if decision({"audit_share": share, **policy}, s)[0] == "review"}

    assert len(drawn()) == pytest.approx(4000 * share, rel=0.2)
    assert drawn() == drawn(seed=0) == drawn(seed="0")
    assert drawn(seed=1) != drawn()
    assert drawn() <= {s.sample_id for s in samples if decision({"audit_share": share * 1.5}, s)[0] == "review"}


@pytest.mark.parametrize(
    ("guard", "confirmed", "by_label", "holds"),
    [
        ({"max_samples": 10}, 10, {"a": 10}, True),
        ({"max_samples": 10}, 11, {"a": 11}, False),
        ({"min_samples": 10}, 10, {"a": 10}, True),
        ({"min_samples": 10}, 9, {"a": 9}, False),
        ({"max_share_per_label": 0.5}, 10, {"a": 5, "b": 5}, True),
        ({"max_share_per_label": 0.5}, 10, {"a": 4, "b": 6}, False),
        ({"max_share_per_label": 1}, 10, {"a": 10, "b": 10}, True),
        ({"max_share_per_label": "0.5", "max_samples": "9", "min_samples": "0"}, 0, {}, True),
    ],
)
def test_guards_judge_the_whole_and_name_themselves(
    guard: dict[str, Any], confirmed: int, by_label: dict[str, int], holds: bool
) -> None:
    policy = parse_policy(guard)
    assert policy is not None
    assert policy.has_guards
    if holds:
        policy.check_guards(confirmed, Counter(by_label))
    else:
        with pytest.raises(GuardFailed, match=next(iter(guard))):
            policy.check_guards(confirmed, Counter(by_label))


def test_only_guards_are_guards() -> None:
    assert not ConfirmPolicy(min_score=0.9, audit_share=0.1, labels=["a"]).has_guards  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "rendered to ''"),
        (" None ", "rendered to 'None'"),
        ("null", "rendered to 'null'"),
        ("{'min_score': 0.9}", "tojson"),
        ("[]", "must be a dict"),
        (0.9, "must be a dict"),
        (True, "must be a dict"),
        ({"min_scor": 0.9}, "min_scor is unknown; known are labels, min_score"),
        ({"min_score": None}, "no value for min_score"),
        ({"min_score": ""}, "no value for min_score"),
        ({"min_score": "None"}, "min_score: a number is wanted"),
        ({"min_score": "nan"}, "finite"),
        ({"min_score": True}, "min_score: a number is wanted"),
        ({"min_score": 1.01}, "less than or equal to 1"),
        ({"min_score": -0.1}, "greater than or equal to 0"),
        ({"min_score_by_label": {"rose": 2}}, "min_score_by_label.rose"),
        ({"min_score_by_label": ["rose"]}, "a score for each label"),
        ({"labels": "rose"}, "a list of label names"),
        ({"labels": []}, "at least one label name"),
        ({"labels": ["None"]}, "none may be empty"),
        ({"labels": ["rose", " "]}, "none may be empty"),
        ({"min_score_by_label": {"None": 0.9}}, "a score for each label"),
        ('{"labels": ["None"]}', "none may be empty"),
        ({"labels": [1.5]}, "a list of label names"),
        ({"labels": [True]}, "a list of label names"),
        ({"labels": [None]}, "a list of label names"),
        ({"min_score_by_label": {7: 0.9, "7": 0.1}}, "a score for each label"),
        ({"min_score": "1_0"}, "min_score: a number is wanted"),
        ({"min_score": "0."}, "min_score: a number is wanted"),
        ({"min_score_by_label": {"rose": "0. "}}, "min_score_by_label.rose: a number is wanted"),
        ({"min_score": "0_1"}, "min_score: a number is wanted"),
        ({"min_score": "\uff10.9"}, "min_score: a number is wanted"),
        ({"min_score": "infinity"}, "finite"),
        ({"min_score": Decimal("NaN")}, "finite"),
        ({"max_samples": "1_0"}, "max_samples: a number is wanted"),
        ({"hard_examples": "maybe"}, "'review' or 'confirm'"),
        ({"audit_share": 1.5}, "audit_share"),
        ({"seed": 1.5}, "seed"),
        ({"max_samples": 0}, "max_samples"),
        ({"max_samples": 1.5}, "a whole number"),
        ({"max_share_per_label": 0}, "max_share_per_label"),
        ({"min_samples": 5, "max_samples": 4}, "min_samples 5 is above max_samples 4"),
        ({1: 2}, "string"),
        ('{"min_score": 0.9, "min_score": 0.1}', "the key 'min_score' twice"),
        ({"min_score_by_label": '{"rose": 0.9, "rose": 0.1}'}, "the key 'rose' twice"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(value: object, text: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.permanent


def test_nothing_at_all_is_no_policy_and_a_ready_one_is_itself() -> None:
    assert parse_policy(None) is None
    policy = ConfirmPolicy()
    assert parse_policy(policy) is policy
    assert parse_policy({}) == parse_policy("{}") == policy
