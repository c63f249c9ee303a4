"""Proposals go back exactly as they were served, whatever the service's quirks (B10, B13; contract 3.3, 10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator.variants import CHOICES, Variants
from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.labeling.proposals import page_order as walk
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

WRITE = "data-annotations/samples"
SIZE = "@modelarts:size"

# Contract 3.3: what a label's property may hold.
SHAPES: tuple[tuple[str, list[list[float]]], ...] = (
    ("bndbox", [[1, 2.0], [30.5, 40]]),
    ("polygon", [[0, 0], [1e-05, 3], [2.50, 7]]),
    ("circle", [[10, 20], [5.0]]),
    ("line", [[1, 1], [2, 2]]),
    ("dashed", [[1.0, 1], [2, 2.0]]),
    ("point", [[3, 4]]),
    ("polyline", [[1, 2], [3, 4], [5.25, 6]]),
)
ATTRIBUTES: dict[str, Any] = {
    "@modelarts:hard": "false",
    "@modelarts:hard_coefficient": "0.0",
    "@modelarts:hard_reasons": "3-20-21-19",
    "@modelarts:start_index": 0,
    "@modelarts:end_index": 12,
    "@modelarts:from": "E1",
    "@modelarts:to": "E2",
    "@modelarts:start_time": "00:00:01.000",
    "@modelarts:end_time": "00:00:02.500",
    "@modelarts:content": 'quotes " and \\ and \u2028 and \U0001f339',
    "@modelarts:source": "speaker 1",
    "color": "red",
    "weight": 1,
    "ripeness": 1.0,
    "size in px": 123456789012345678,
    "share": 0.1,
    "is ripe": True,
    "nothing": None,
    "nested": {"b": [1, 1.0, {"z": -0.0}], "a": []},
}


def detection(number: int) -> dict[str, Any]:
    boxes = [
        {"name": f"fruit {place % 3}", "type": 1, "id": str(place + 1), "score": [0.91, 1, 1.0][place % 3],
         "property": {"@modelarts:shape": shape, "@modelarts:feature": feature, **ATTRIBUTES}}
        for place, (shape, feature) in enumerate(SHAPES[: 1 + number % len(SHAPES)])
    ]  # fmt: skip
    size = [640, 480] if number % 2 else [640, 480, 1]
    metadata = {SIZE: size, "@modelarts:hard": True, "@modelarts:hard_coefficient": 1.0, "test": "1",
                "@modelarts:hard_reasons": [8, 6], "@modelarts:import_origin": 0}  # fmt: skip
    return {"sample_id": f"sample {number:02d} é?", "sample_type": 0, "labels": boxes, "metadata": metadata}


def multi_label(number: int) -> dict[str, Any]:
    names = ["a label", "b", "ü", "dasiy", "0"]
    labels = [
        {"property": {**ATTRIBUTES, "place": place}, "score": 0.5 + place / 10, "name": name, "type": 0}
        for place, name in enumerate(names[: 1 + number % len(names)])
    ]
    labels[0].pop("score" if number % 2 else "property")
    return {"sample_id": f"{number:032x}", "labels": labels, "metadata": {"@modelarts:hard": 0, "test": "1"}}


KINDS = {"detection": detection, "multi_label": multi_label}


def every_variant() -> Iterator[dict[str, Any]]:
    """Each switch by itself, and all that go together at once."""
    yield {}
    for name, values in CHOICES.items():
        yield from ({name: value} for value in values if value != getattr(Variants(), name))
    yield from ({name: True} for name in ("extra_fields", "null_fields", "results_on_success", "body_with_204"))
    yield from ({"trim_labels_to_filter": True}, {"strict_requests": True}, {"shrink_list": 2})
    yield {"rate_limit": (3, 10.0), "retry_after": 4}
    for offset_mode in CHOICES["offset_mode"]:
        for results in CHOICES["results"]:
            yield {
                "offset_mode": offset_mode,
                "results": results,
                "hard": "text",
                "score": "text",
                "extra_fields": True,
                "null_fields": True,
                "results_on_success": True,
                "body_with_204": True,
                "trim_labels_to_filter": True,
                "metadata": "replace",
                "unknown_status": 404,
                "code_prefix": "APIG.",
                "rate_limit": (4, 10.0),
                "missing_labels": "keep",
            }


def exactly(text: bytes) -> Any:
    """Return JSON with its numbers as they are written and its keys in their order."""
    return json.loads(text, parse_float=lambda one: ("float", one), parse_int=lambda one: ("int", one),
                      object_pairs_hook=lambda pairs: pairs)  # fmt: skip


def samples_in(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the samples of a list or a request, their labels as they are written."""
    for pairs in dict(exactly(text)).get("samples") or []:
        yield dict(pairs)


def served_and_sent(emulator: Emulator) -> tuple[dict[str, Any], dict[str, list[Any]], list[Any]]:
    served: dict[str, Any] = {}
    sent: dict[str, list[Any]] = {}
    metadata: list[Any] = []
    for record in emulator.journal:
        if record.method == "PUT" and record.status == 200:
            for sample in samples_in(record.body):
                sent.setdefault(sample["sample_id"], []).append(sample["labels"])
                metadata.append(sample.get("metadata"))
        elif record.method == "GET" and "auto-annotations" in record.path and record.status == 200:
            whole = (
                samples_in(record.response) if record.path.endswith("/samples") else [dict(exactly(record.response))]
            )
            served |= {sample["sample_id"]: sample["labels"] for sample in whole}
    return served, sent, metadata


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "variants", list(every_variant()), ids=lambda given: ",".join(f"{k}={v}" for k, v in given.items())
)
def test_labels_go_back_as_they_came(
    client: ModelArtsClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, variants: dict[str, Any], kind: str
) -> None:
    monkeypatch.setattr(walk, "PAGE_SIZE", 4)
    documents = [KINDS[kind](number) for number in range(11)]
    names = sorted({label["name"] for raw in documents for label in raw["labels"]})
    dataset_id = emulator.load_proposals(0, kind=kind, labels=names)
    dataset = emulator.dataset(dataset_id)
    dataset.propose(documents)
    for name, value in variants.items():
        setattr(emulator.variants, name, value)
    bad = emulator.faults.add("PUT", WRITE, "fail_sample", position=1, code="ModelArts.4420")
    bucket = Bucket()
    place = LedgerTarget(bucket, RunIdentity("dag", "run", "task"))
    result = confirm(client, dataset_id, concurrency=2, ledger=place)
    assert bad.fired
    taken = sum(sample.annotated_by == "human/emulator/reviewer" for sample in dataset.samples.values())
    assert result.confirmed == 11 - taken
    assert bool(taken) == bool(variants.get("shrink_list"))

    served, sent, metadata = served_and_sent(emulator)
    for sample_id, every_time in sent.items():
        assert all(labels == served[sample_id] for labels in every_time)
    sizes = [dict(one) for one in metadata if one is not None]
    assert {key for one in sizes for key in one} == ({SIZE} if kind == "detection" else set())
    assert len(sizes) == (len(metadata) if kind == "detection" else 0)

    plan = read_plan(place.identity.plan_path(bucket))
    in_ledger = {entry.sample_id: entry.after for _, entry in read_ledger(bucket, "run").entries()}
    for planned in plan.samples():
        sample = planned.sample
        stored = json.loads(json.dumps(dataset.labels_of(sample.sample_id)))
        kept = [{"name": label["name"], "property": label.get("property") or {}} for label in sample.raw["labels"]]
        assert json.dumps([{k: label[k] for k in ("name", "property")} for label in stored]) == json.dumps(kept)
        if sample.sample_id in sent:
            assert exactly(json.dumps(in_ledger[sample.sample_id]).encode()) == sent[sample.sample_id][-1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trimming_filter_costs_no_label(client: ModelArtsClient, emulator: Emulator, kind: str) -> None:
    dataset_id = emulator.load_proposals(0, kind=kind)
    dataset = emulator.dataset(dataset_id)
    documents = {raw["sample_id"]: raw for raw in map(KINDS[kind], range(11))}
    dataset.propose(list(documents.values()))
    emulator.variants.trim_labels_to_filter = True
    name = documents[next(iter(documents))]["labels"][0]["name"]
    result = confirm(client, dataset_id, label_name=name)
    assert result.confirmed == 11
    for sample_id, raw in documents.items():
        assert [label["name"] for label in dataset.labels_of(sample_id)] == [label["name"] for label in raw["labels"]]


# What the documents never show, and a JSON text may hold all the same: it goes back as it stands there.
TEXTS = {
    "numbers": b'[{"name":"rose","property":{"a":1,"b":1.0,"c":1e2,"d":-0,"e":12345678901234567890,"f":0.90}}]',
    "blanks": b'[ { "name" : "rose" ,\n "type" :\t0 } ]',
    "escapes": b'[{"name":"r\\u006fse","type":0,"property":{"a":"\\/ \\ud83c\\udf39"}}]',
    "half a surrogate pair": b'[{"name":"rose","type":0,"property":{"a":"\\ud800"}}]',
    "half a surrogate pair, as bytes": b'[{"name":"rose","type":0,"property":{"a":"\xed\xa0\x80"}}]',
    "a key twice": b'[{"name":"tulip","name":"rose","type":0}]',
    "a large number": b'[{"name":"rose","type":0,"property":{"a":1e400}}]',
    "no number": b'[{"name":"rose","type":0,"property":{"a":NaN}}]',
    "an unknown key": b'[{"name":"rose","type":0,"more":{"deep":[[[{}]]]}}]',
    "two megabytes": b'[{"name":"rose","type":0,"property":{"a":"' + b"x" * 2_000_000 + b'"}}]',
}


@pytest.mark.wrong_requests
@pytest.mark.wrong_answers
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("way", ["at once", "read singly", "with a guard", "by a plan", "with a ledger"])
def test_the_text_of_labels_goes_out_as_it_came_in(
    client: ModelArtsClient, emulator: Emulator, text: str, way: str
) -> None:
    labels = TEXTS[text]
    dataset_id = emulator.load_proposals(0)
    dataset = emulator.dataset(dataset_id)
    dataset.propose([{"sample_id": f"s{number}", "labels": [{"name": "rose", "type": 0}]} for number in range(3)])
    book = dataset._dataset.proposals
    fragment = b'{"sample_id":"s1","labels":%b,"metadata":{"@modelarts:size":[1,2]}}' % labels
    book.replace([(one.sample_id, fragment if one.sample_id == "s1" else one.fragment) for one in book])
    bucket, parameters = Bucket(), {}
    if way == "read singly":
        parameters = {"label_name": "rose"}
    elif way == "with a guard":
        parameters = {"policy": {"max_samples": 3}}
    elif way == "by a plan":
        parameters = {"plan": make_plan(client, dataset_id, bucket / "plan.jsonl").plan.path}
    elif way == "with a ledger":
        parameters = {"ledger": LedgerTarget(bucket, RunIdentity("dag", "run", "task"))}
    confirm(client, dataset_id, **parameters)
    written = [record.body for record in emulator.journal if record.method == "PUT" and b'"s1"' in record.body]
    assert all(b'"labels":' + labels + b"}" in body for body in written)
    assert written
    if way == "by a plan":
        (planned,) = [one for one in read_plan(bucket / "plan.jsonl").samples() if one.row.sample_id == "s1"]
        assert bytes(planned.row.labels) == labels.replace(b"\n", b" ")
