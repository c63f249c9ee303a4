"""The pure parts of confirming: labels that are the same, batches, books and results (B14 to B18)."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Sample, SampleOutcome
from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.apply.batches import Batch, split, split_suspects
from airflow_provider_modelarts.labeling.label_equality import fingerprint, has_labels_of, same_proposal
from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead
from airflow_provider_modelarts.labeling.results import ConfirmationResult, Failure, Progress, check
from airflow_provider_modelarts.labeling.sample_table import (
    AS_PLANNED,
    CHANGED,
    ConfirmationStatus,
    SampleTable,
    short_key,
)
from tests.labeling.raw_samples import raw_label, raw_sample, stored

BOX = {"@modelarts:shape": "bndbox", "@modelarts:feature": [[1, 2], [30.0, 40.5]]}


def proposal(*labels: dict[str, Any], number: int = 1, **more: Any) -> Sample:
    return Sample(raw_sample(number, list(labels), **more))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([raw_label()], [raw_label(id="7")], True),
        ([raw_label()], [raw_label(score=0.91)], False),
        ([raw_label()], [raw_label("tulip")], False),
        ([raw_label()], [raw_label(), raw_label("tulip")], False),
        ([raw_label(), raw_label("tulip")], [raw_label("tulip"), raw_label()], False),
        ([raw_label(property=BOX)], [raw_label(property={**BOX, "custom": 1})], False),
        ([raw_label()], [raw_label(unheard_of=None)], False),
        ([], [], True),
    ],
)
def test_proposals_are_the_same_if_all_but_the_id_is(one: list[Any], other: list[Any], same: bool) -> None:
    first, second = row_of(proposal(*one)), row_of(proposal(*other))
    assert same_proposal(first, second) is same
    assert (fingerprint(first) == fingerprint(second)) is same
    table = SampleTable()
    table.remember_labels(first)
    assert table.decide_as_planned([second]) == [AS_PLANNED if same else CHANGED]


def test_labels_that_are_written_differently_have_different_fingerprints() -> None:
    numbers = [0, 1, -1, -2, 1.0, -0.0, 10**16, 1e16, 2**64, 2**64 + 1, math.nan, math.inf, -math.inf]
    values = [*numbers, None, True, "1", "null", "NaN", "\ud800", "\ud801", "\u00e9", [], [1], {}, {"a": None}]
    marks = {fingerprint(row_of(Sample({"labels": [{"name": "rose", "property": value}]}))) for value in values}
    assert len(marks) == len(values)
    one = {"name": "rose", "property": {"a": {"b": 1, "c": 2}, "d": [1]}}
    other = {"property": {"d": [1], "a": {"c": 2, "b": 1}}, "name": "rose", "id": "7"}
    assert fingerprint(row_of(Sample({"labels": [one]}))) == fingerprint(row_of(Sample({"labels": [other]})))


@pytest.mark.parametrize(
    ("final", "sent", "does"),
    [
        ([raw_label()], [raw_label()], True),
        (stored([raw_label()]), [raw_label()], True),
        (stored([raw_label("b"), raw_label("a")]), [raw_label("a"), raw_label("b")], True),
        ([{"name": "rose", "type": 0, "property": {}}], [{"name": "rose"}], True),
        ([{"name": "rose", "type": 0}], [{"name": "rose", "type": 0, "property": {}}], True),
        ([{"name": "a", "type": 1, "property": BOX}], [raw_label("a", type=1, property=BOX)], True),
        ([{"name": "rose", "type": 1}], [{"name": "rose", "type": 0}], False),
        (stored([raw_label("tulip")]), [raw_label()], False),
        (stored([raw_label()]), [raw_label(), raw_label()], False),
        ([], [raw_label()], False),
        ([], [], False),
    ],
)
def test_a_written_label_is_known_by_name_type_and_property(final: list[Any], sent: list[Any], does: bool) -> None:
    assert has_labels_of(proposal(*final), proposal(*sent)) is does


@given(st.lists(st.integers(0, 50_000), max_size=40), st.integers(1, 10))
def test_batches_hold_everything_in_order_and_stay_small(lengths: list[int], batch_size: int) -> None:
    candidates = [
        ProposalRead(row_of(proposal(raw_label("x" * length), number=number)), 0.0)
        for number, length in enumerate(lengths)
    ]
    batches = list(split(candidates, batch_size, batch_bytes=60_000))
    assert [candidate for batch in batches for candidate in batch] == candidates
    assert all(0 < len(batch) <= batch_size for batch in batches)
    for batch in batches:
        assert len(batch) == 1 or sum(len(candidate.row.label_names[0]) for candidate in batch) < 60_000


CODES = st.sampled_from([None, "ModelArts.4420", "ModelArts.4423", "ModelArts.9999"])


@given(st.lists(st.tuples(st.booleans(), CODES), min_size=1, max_size=9))
def test_a_refused_batch_is_taken_apart_until_each_sample_has_its_answer(told: list[tuple[bool, str | None]]) -> None:
    candidates = [ProposalRead(row_of(proposal(raw_label(), number=number)), 0.0) for number in range(len(told))]
    replies = {
        candidate.sample_id: SampleOutcome(candidate.sample_id, False if code else None, code)
        for candidate, (_, code) in zip(candidates, told, strict=True)
    }
    proposed = [candidate for candidate, (still, _) in zip(candidates, told, strict=True) if still]
    failed, rest = split_suspects(Batch(candidates), proposed, replies)
    accounted = [sample_id for outcome in failed for sample_id in outcome.ids]
    accounted += [candidate.sample_id for batch in rest for candidate in batch.candidates]
    assert sorted(accounted) == sorted(candidate.sample_id for candidate in proposed)
    assert all(0 < len(batch.candidates) < len(candidates) for batch in rest)


@given(st.text(max_size=40) | st.uuids().map(lambda one: one.hex), st.text(max_size=40))
def test_short_keys_keep_samples_apart(one: str, other: str) -> None:
    assert (short_key(one) == short_key(other)) is (one == other)


def test_the_books_and_the_intent_cost_less_than_300_bytes_per_sample() -> None:
    number_of_samples = 10_000
    sample = proposal(raw_label())
    tracemalloc.start()
    books = SampleTable()
    books.begin_pass()
    for number in range(number_of_samples):
        raw = {"sample_id": f"{number:032x}", "labels": sample.raw["labels"]}
        listed = row_of(Sample(raw))
        books.set_status(listed, ConfirmationStatus.PLANNED)
        books.remember_labels(listed)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(books) == books.remaining == number_of_samples
    assert size / number_of_samples < 300


def test_a_sample_is_counted_once_wherever_it_goes() -> None:
    books = SampleTable()
    books.begin_pass()
    sample = proposal(raw_label("rose"), raw_label("rose"), raw_label("tulip"))
    books.set_status(sample, ConfirmationStatus.PLANNED)
    books.set_status(sample, ConfirmationStatus.CONFIRMED)
    assert (len(books), books.remaining, books.count(ConfirmationStatus.CONFIRMED)) == (1, 0, 1)
    assert books.by_label[ConfirmationStatus.CONFIRMED] == {"rose": 1, "tulip": 1}
    books.begin_pass()
    books.mark_listed(sample.sample_id)
    assert (books.changes, books.remaining) == (0, 0)
    books.fail(sample, "X", "why")
    books.mark_listed(sample.sample_id)
    assert (len(books), books.remaining, books.count(ConfirmationStatus.CONFIRMED), books.changes) == (1, 1, 0, 1)
    assert +books.by_label[ConfirmationStatus.CONFIRMED] == {}


def test_sums_that_do_not_hold_are_not_reported() -> None:
    with pytest.raises(ValueError, match="inconsistent"):
        ConfirmationResult(seen=3, confirmed=1)
    with pytest.raises(ValueError, match="inconsistent"):
        ConfirmationResult(seen=1, left=1, changed_since_plan=2)


def test_the_error_names_what_is_missing() -> None:
    failures = {"ModelArts.4423": Failure("ModelArts.4423", "Size\nunknown.", 12, tuple("abcdefghij"))}
    result = ConfirmationResult(seen=13, confirmed=1, failed=12, failures=failures, dataset_id="d", passes=1)
    check(result, "warn")
    with pytest.raises(ConfirmationError) as caught:
        check(result)
    assert "ModelArts.4423: Size unknown. (12 samples: a, b, c, d, e, f, g, h, i, j and 2 more)" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfirmationError, match="2 proposals that the service counts"):
        check(ConfirmationResult(unaccounted=2, passes=2), "warn")
    check(ConfirmationResult())


def test_progress_is_one_line() -> None:
    progress = Progress(200, 50, {"confirmed": 40, "review": 10, "gone": 0}, 2.0)
    assert str(progress) == "25 %: 50 of 200 proposals: 40 confirmed, 10 review, 25 samples/s"
    assert str(Progress(0, 0, {}, 0.0)) == "100 %: 0 of 0 proposals"
