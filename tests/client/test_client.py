"""The client itself: requests for which it has no method."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import (
    InvalidRequest,
    ModelArtsError,
    NotFound,
    TaskAlreadyRunning,
)

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


def test_a_read_returns_the_json(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    query: dict[str, Any] = {"limit": 2, "offset": "0", "low_score": 0.5, "order": None}
    answer = client.request("GET", "datasets", dataset_id, "auto-annotations", "samples", query=query)
    assert len(answer["samples"]) == 2
    assert emulator.journal.select("GET", "/samples")[-1].query == {"limit": "2", "offset": "0", "low_score": "0.5"}
    flag = {"check_running_task": True, "running_task_type": 0}
    assert client.request("GET", "datasets", dataset_id, query=flag)["dataset_id"] == dataset_id
    sent = emulator.journal.select("GET", f"/datasets/{dataset_id}")[-1].query
    assert sent == {"check_running_task": "true", "running_task_type": "0"}


def test_a_write_sends_its_body_and_may_have_none(client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.task_seconds = 100
    dataset_id = emulator.load_digits(labeled=100)
    body = {"task_type": "auto-label"}
    task_id = client.request("POST", "datasets", dataset_id, "tasks", body=body)["task_id"]
    assert json.loads(emulator.journal.select("POST", "/tasks")[-1].body) == body
    with pytest.raises(TaskAlreadyRunning):
        client.request("POST", "datasets", dataset_id, "tasks", body=body)
    assert client.request("POST", "datasets", dataset_id, "tasks", task_id, "stop") is None
    assert emulator.journal.select("POST", "/stop")[-1].body == b""


def test_reads_are_repeated_and_writes_only_if_nothing_was_carried_out(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, moved_clock: MovedClock
) -> None:
    path = ("datasets", dataset_id, "data-annotations", "samples")
    down = emulator.faults.add("GET", "/data-annotations/samples", "status", status=503, times=2)
    assert client.request("GET", *path)["sample_count"]
    assert down.fired == 2
    sample_id = next(iter(client.proposals.list(dataset_id))).sample_id
    body = {"samples": [{"sample_id": sample_id, "labels": [{"name": "cat"}]}]}
    throttled = emulator.faults.add("PUT", "/data-annotations/samples", "status", status=429, times=2)
    assert client.request("PUT", *path, body=body)["success"]
    assert (throttled.fired, emulator.journal.count("PUT", "/samples")) == (2, 3)
    lost = emulator.faults.add("PUT", "/data-annotations/samples", "reset_after")
    with pytest.raises(ModelArtsError) as caught:
        client.request("PUT", *path, body=body)
    assert not caught.value.certainly_not_executed
    assert (lost.fired, emulator.journal.count("PUT", "/samples")) == (1, 4)


def test_an_error_is_that_of_the_table(client: ModelArtsClient) -> None:
    with pytest.raises(NotFound, match="Cannot send GET datasets/unknown"):
        client.request("GET", "datasets", "unknown")


@pytest.mark.parametrize(
    ("arguments", "options", "complaint"),
    [
        (("FETCH", "datasets"), {}, "method must be one of GET, POST"),
        (("get", "datasets"), {}, "method must be one of GET"),
        (("GET",), {}, "each part of the path on its own"),
        (("GET", "datasets/d"), {}, "each part of the path on its own"),
        (("GET", "datasets", ""), {}, "an id"),
        (("GET", "datasets", ".."), {}, "an id"),
        (("GET", "datasets", None), {}, "an id"),
        (("GET", "datasets"), {"body": {}}, "GET has no body"),
        (("GET", "datasets"), {"query": {"limit": [1]}}, r"query\['limit'\] must be text, a number, true or false"),
        (("GET", "datasets"), {"query": {"limit": float("nan")}}, r"query\['limit'\] must be text"),
        (("GET", "datasets"), {"query": [("limit", 1)]}, r"query must be a dict of parameters, such as"),
        (("GET", "datasets"), {"query": []}, "query must be a dict of parameters"),
        (("GET", "datasets"), {"query": "limit=1"}, "query must be a dict of parameters"),
        (("GET", "datasets"), {"query": {1: "x"}}, "A name in query must be text, not 1"),
        (("POST", "datasets"), {"query": [1], "body": {}}, "query must be a dict of parameters"),
        (("POST", "datasets"), {"body": {"a": float("nan")}}, "the request cannot be written as JSON"),
        (("POST", "datasets"), {"body": b"{"}, "body must be what JSON can say"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    client: ModelArtsClient, emulator: Emulator, arguments: Any, options: Any, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        client.request(*arguments, **options)
    assert [record for record in emulator.journal if record.path.startswith("/v2")] == []
