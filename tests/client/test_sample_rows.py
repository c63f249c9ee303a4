"""Rows of a list say what the models say of the same JSON, and keep the text of the labels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.sample_rows import OddRow, SampleRow, parse_page, parse_row, row_of
from airflow_provider_modelarts.client.sample_updates import labeled_elements
from tests.support.odd_json import SAMPLES

ROSE = b'{"name":"rose","score":0.9}'


def element_of(sample: Sample) -> Any:
    try:
        return repr(labeled_elements([sample])[0])
    except InvalidRequest:
        return None


def element_of_row(row: SampleRow) -> Any:
    try:
        return repr(json.loads(row.element()))
    except InvalidRequest:
        return None


def in_order(element: str | None) -> Any:
    return None if element is None else sorted(eval(element, {"nan": "nan", "inf": "inf"}).items())


@settings(max_examples=1500)
@given(SAMPLES)
def test_a_row_says_what_the_model_says(raw: dict[str, Any]) -> None:
    sample, row = Sample(raw), parse_row(json.dumps(raw).encode())
    for name in ("sample_id", "label_names", "oddity", "origin"):
        assert getattr(row, name) == getattr(sample, name), name
    assert (row.annotated_by or None, row.worker_id or None) == (sample.annotated_by or None, sample.worker_id or None)
    again = row.sample
    for name in ("is_hard", "hard_reasons", "label_names", "oddity", "origin"):
        assert getattr(again, name) == getattr(sample, name), name
    assert repr([label.score for label in again.labels]) == repr([label.score for label in sample.labels])
    assert in_order(element_of_row(row)) == in_order(element_of(sample))


@pytest.mark.parametrize(
    "labels",
    [
        b'[{"name":"rose","score":NaN}]',
        b'[{"name":"rose","score":1e400}]',
        b'[{"name":"\\ud800"}]',
        b'[{"name":"tulip","name":"rose"}]',
        b'[{"name":"rose","property":{"n":12345678901234567890}}]',
        b'[ {"name" : "rose",\n\t"property":{"a\\/b":"\\u00e9","x":1.0,"y":1,"z":-0,"w":1E+2,"v":0.10}} ]',
        '[{"name":"ü\U0001f339"}]'.encode(),
        b'[{"property":{"@modelarts:content":"hello"},"type":201}]',
        b'[{"name":"rose","type":"0","score":"0.9"}]',
        b"[" + b",".join([ROSE] * 300) + b"]",
    ],
)
@pytest.mark.parametrize(
    "beside", [b"", b',"metadata":{"x":"' + b"m" * 2_000_000 + b'"}', b',"score":[1]', b',"score":NaN']
)
@pytest.mark.parametrize(
    "envelope", [b'{"sample_count":1,"samples":[%b]}', b'{ "samples" : [ %b , 5 ], "more": {"samples": [1]} }']
)
def test_labels_reach_the_element_byte_for_byte(labels: bytes, beside: bytes, envelope: bytes) -> None:
    body = envelope % (b'{"labels": %b ,"sample_id":"a"%b}' % (labels, beside))
    row = parse_page(body)["samples"][0]
    assert bytes(row.labels) == labels
    assert row.element().endswith(b'"labels":' + labels + b"}")
    assert row.sample.label_names == Sample(json.loads(body)["samples"][0]).label_names


@pytest.mark.parametrize("size", ["null", "[]", "[ ]", "{}", '""', "0", "0.0", "false", "[0]", "[640, 480]", '" "'])
def test_only_a_size_that_says_something_is_written(size: str) -> None:
    text = f'{{"sample_id":"a","labels":[{{"name":"rose","type":1}}],"metadata":{{"@modelarts:size":{size}}}}}'
    assert json.loads(parse_row(text.encode()).element()) == Sample(json.loads(text)).element()


def test_each_row_of_an_odd_page_is_read_for_itself() -> None:
    body = b'{"samples":[{"sample_id":"a","labels":[%b]},{"sample_id":7,"labels":[%b]},null],"note":"x"}' % (ROSE, ROSE)
    content = parse_page(body)
    assert content["note"] == "x"
    plain, odd, nothing = content["samples"]
    assert type(plain) is SampleRow
    assert (type(odd), odd.sample_id, bytes(odd.labels)) == (OddRow, "7", b"[%b]" % ROSE)
    assert (type(nothing), nothing.sample_id, nothing.oddity) == (OddRow, "", "It came without an id.")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_other_encodings_are_read_as_well(encoding: str) -> None:
    text = '{"samples":[{"sample_id":"ü","labels":[{"name":"é"}]}],"sample_count":1}'
    try:
        known = json.loads(text.encode(encoding))
    except ValueError:
        pytest.skip("not even the standard library reads it")
    (row,) = parse_page(text.encode(encoding))["samples"]
    assert row.sample.raw == known["samples"][0]
    assert bytes(row.labels) == '[{"name":"é"}]'.encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1", b'{"samples":[{"sample_id":"a"}', b'\xff{"samples":[]}', b'{"samples":[{"sample_id":"\xff"}]}'],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever kind
        parse_page(body)


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'{"samples":null}', b'{"error_code":"X"}', b'{"samples":{"a":1},"sample_count":3}']
)
def test_what_is_no_list_of_samples_stays_what_it_is(body: bytes) -> None:
    assert parse_page(body) == json.loads(body)


def test_a_model_becomes_a_row_without_a_loss() -> None:
    raw = {
        "sample_id": "a",
        "labels": [{"name": "rose", "property": {"x": 1.0}}],
        "metadata": {"@modelarts:size": [1, 2]},
        "worker_id": "w",
    }
    row = row_of(Sample(raw))
    assert row.sample.raw == raw
    assert json.loads(row.element()) == {"sample_id": "a", "labels": raw["labels"], "worker_id": "w"}


@pytest.mark.parametrize("score", ["0.5", "[1]"])
def test_a_row_is_shown_without_signatures(score: str) -> None:
    row = parse_row(
        b'{"sample_id":"a","source":"https://h/a?sig=hidden","labels":[{"name":"rose"}],"score":%b,'
        b'"metadata":{"@modelarts:new_source":"https://h/b?sig=hidden"}}' % score.encode()
    )
    assert "hidden" not in f"{row!r} {row.metadata!r} {[row]!r}"
    assert "rose" in repr(row)
