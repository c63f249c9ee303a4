"""What a task read and wrote, by OpenLineage's naming; and its client takes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.assets import DatasetUri
from airflow_provider_modelarts.utils.lineage import FLOWS, LineageNode, lineage_of, operator_lineage, place_node
from airflow_provider_modelarts.utils.observation import Observation

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "modelarts://cn-north-4/project"
DATASET = DatasetUri.of("cn-north-4", "project", "dataset")
OTHER = DatasetUri.of("cn-north-4", "project", "other")
PLACES = {"plan": ["s3://conn@bucket/plans/p.jsonl"], "ledger": ["file:///data/ledger"]}
EVIDENCE = {
    "daisy": {"bound": 0.97, "target": 0.95, "answered": 120},
    "rose": {"bound": 0.4, "target": 0.95, "answered": 3},
    "lily": {"answered": 0},
}


def observed(operation: Any, datasets: Any = (DATASET,), **more: Any) -> Observation:
    return Observation(operation, [uri.dataset_id for uri in datasets], datasets, **{"values": {}, **more})


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("s3://bucket/plans/p.jsonl", "s3://bucket", "plans/p.jsonl"),
        ("s3a://my_conn@bucket/plans/", "s3://bucket", "plans"),
        ("s3://key:secret@bucket/p.jsonl?X-Amz-Signature=abc", "s3://bucket", "p.jsonl"),
        ("s3://bucket", "s3://bucket", "/"),
        ("obs://bucket/out/V001.manifest?Signature=abc", "obs://bucket", "out/V001.manifest"),
        ("gcs://bucket/p", "gs://bucket", "p"),
        ("file:///data/plans/p.jsonl", "file", "/data/plans/p.jsonl"),
        ("file://host/data", "file://host", "/data"),
        ("/data/p.jsonl", "file", "/data/p.jsonl"),
    ],
)
def test_a_place_is_named_as_openlineage_says_and_without_secrets(uri: str, namespace: str, name: str) -> None:
    assert place_node(uri) == LineageNode(namespace, name)


def names(nodes: list[LineageNode]) -> list[tuple[str, int | None]]:
    return [(node.name, node.rows) for node in nodes]


@pytest.mark.parametrize(
    ("operation", "values", "places", "inputs", "outputs"),
    [
        ("start", {"unconfirmed_sample_count": 7}, {}, ["dataset"], [("dataset", 7)]),
        ("start", {}, {}, ["dataset"], [("dataset", None)]),
        ("plan", {"seen": 9}, {"own_plan": ["file:///p"]}, ["dataset"], [("/p", 9)]),
        (
            "confirm",
            {"confirmed_now": 0},
            PLACES,
            ["dataset", "plans/p.jsonl"],
            [("dataset", 0), ("/data/ledger", None)],
        ),
        (
            "confirm",
            {"confirmed_now": 3, "seen": 9},
            {"own_plan": ["file:///p"]},
            ["dataset"],
            [("dataset", 3), ("/p", 9)],
        ),
        ("revert", {"restored": 1, "cleared": 2}, PLACES, ["/data/ledger", "plans/p.jsonl"], [("dataset", 3)]),
        (
            "publish",
            {"version_id": "V1x", "samples": 40},
            {"manifest": ["obs://bucket/V001.manifest"]},
            ["dataset"],
            [("dataset/V1x", 40), ("V001.manifest", 40)],
        ),
        ("publish", {}, {"manifest": []}, ["dataset"], []),
    ],
)
def test_what_each_kind_of_task_reads_and_writes(
    operation: Any, values: Any, places: Any, inputs: list[str], outputs: list[tuple[str, int | None]]
) -> None:
    read, written = lineage_of(observed(operation, values=values, places=places))
    assert [node.name for node in read] == inputs
    assert names(written) == outputs
    assert {node.namespace for node in (*read, *written) if node.name.startswith("dataset")} <= {NAMESPACE}


@pytest.mark.parametrize("operation", FLOWS)
def test_a_preview_writes_nothing_and_an_unknown_dataset_is_left_out(operation: Any) -> None:
    assert lineage_of(observed(operation, places=PLACES, preview=True))[1] == []
    read, written = lineage_of(observed(operation, (), values={"version_id": "V1"}))
    assert (read, written) == ([], [])


def test_the_rows_of_several_datasets_together_are_the_number_of_none() -> None:
    _, written = lineage_of(observed("revert", (DATASET, OTHER), values={"restored": 1, "cleared": 2}))
    assert names(written) == [("dataset", None), ("other", None)]


def test_the_bounds_of_the_evidence_belong_to_the_dataset_alone() -> None:
    read, _ = lineage_of(observed("confirm", values={"evidence": EVIDENCE}, places=PLACES))
    assert [sorted(node.bounds) for node in read] == [["daisy", "rose"], []]
    assert [node.bounds for node in lineage_of(observed("confirm", values={"evidence": "none"}))[0]] == [{}]


def sent(lineage: Any, file: Path) -> dict[str, Any]:
    """Send lineage by OpenLineage's own client into a file; return what is there."""
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.transport.file import FileConfig, FileTransport

    client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(file), append=True)))
    run, job = Run(runId="01a21dbd-651d-7e2c-a5c9-b30967a9aaa4"), Job(namespace="default", name="dag.task")
    event = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime="2026-11-20T11:00:00Z",
        run=run,
        job=job,
        producer="https://example.com",
        **lineage,
    )
    client.emit(event)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_the_client_of_openlineage_takes_it(tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.openlineage")
    values = {"version_id": "V1x", "samples": 40, "evidence": EVIDENCE}
    lineage = operator_lineage(observed("publish", values=values, places={"manifest": ["obs://bucket/m"]}))
    found = sent({"inputs": lineage.inputs, "outputs": lineage.outputs}, tmp_path / "events.jsonl")
    (read,), (version, manifest) = found["inputs"], found["outputs"]
    assertions = read["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(one["column"], one["success"]) for one in assertions] == [("daisy", True), ("rose", False)]
    assert version["facets"]["version"]["datasetVersion"] == "V1x"
    assert [one["outputFacets"]["outputStatistics"]["rowCount"] for one in (version, manifest)] == [40, 40]
    nothing = operator_lineage(None)
    assert (nothing.inputs, nothing.outputs) == ([], [])
