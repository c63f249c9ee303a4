"""Uploading and deleting samples. Contract 6.4."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import DatasetBusy, InvalidRequest, NotFound
from airflow_provider_modelarts.client.requests.sample_files import SampleFile

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

FILE = b"\x89PNG no image, but a file"


def test_files_become_samples(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    done = client.sample_files.upload(
        dataset_id,
        [
            SampleFile(name="1.png", data=FILE, labels=[{"name": "daisy"}]),
            {"name": "2.png", "data": base64.b64encode(FILE).decode()},
        ],
        final_annotation=True,
    )
    sent = json.loads(emulator.journal.select("POST", "/samples")[-1].body)
    assert {base64.b64decode(sample["data"]) for sample in sent["samples"]} == {FILE}
    assert [(one.name, one.ok) for one in done] == [("1.png", True), ("2.png", True)]
    assert done[0].path is not None
    assert done[0].path.endswith("/input/1.png")
    assert done[0].sample_id is not None
    assert client.samples.get(dataset_id, done[0].sample_id).label_names == ["daisy"]


def test_each_file_fails_for_itself(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    client.sample_files.upload(dataset_id, [{"name": "1.png", "data": FILE}])
    done = client.sample_files.upload(dataset_id, [{"name": "1.png", "data": FILE}, {"name": "2.png", "data": FILE}])
    assert [(one.ok, one.error_code) for one in done] == [(False, "ModelArts.4422"), (True, None)]
    assert (done[0].sample_id, done[0].path) == (None, None)
    assert done[1].sample_id in emulator.dataset(dataset_id).samples


@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_after_a_lost_answer_nothing_is_known_and_nothing_sent_again(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, kind: str
) -> None:
    emulator.faults.add("POST", "/samples", kind)
    done = client.sample_files.upload(dataset_id, [{"name": "1.png", "data": FILE}])
    assert [(one.ok, one.sample_id) for one in done] == [(None, None)]
    assert emulator.journal.count("POST", "/samples") == 1
    found = list(client.samples.list(dataset_id, search_conditions={"sample_name": "1.png"}))
    assert len(found) == 1


def test_results_that_do_not_fit_the_request_tell_no_ids(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    body = json.dumps({"success": True, "results": [{"success": True, "info": "other"}]})
    emulator.faults.add("POST", "/samples", "status", status=200, body=body)
    files = [{"name": f"{number}.png", "data": FILE} for number in range(2)]
    assert [(one.ok, one.sample_id) for one in client.sample_files.upload(dataset_id, files)] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (None, "samples must be a list"),
        ("1.png", "samples must be a list"),
        ([], "samples is empty"),
        ([{"data": FILE}], r"samples\[0\].name is missing"),
        ([{"name": "1.png"}], "not exactly one of data and data_source"),
        ([{"name": "1.png", "data": b""}], "data is empty"),
        ([{"name": "1.png", "data": "no base64!"}], "must be the bytes of the file"),
        ([{"name": "1.png", "data": bytes(12_582_913)}], "more than the 12582912 of a sample"),
        ([{"name": "a<b.png", "data": FILE}], "must be a file name of 1 to 1024 characters"),
        ([{"name": "1.png", "data": FILE}] * 2, "'1.png' 2 times"),
        ([{"name": "1.png", "data": FILE, "label": []}], r"samples\[0\].label is unknown; is labels meant"),
    ],
)
def test_wrong_files_are_not_sent(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, samples: Any, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        client.sample_files.upload(dataset_id, samples)
    assert len(str(caught.value)) < 500
    assert emulator.journal.count("POST", "/samples") == 0


def test_samples_are_deleted(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    first, second = list(emulator.dataset(dataset_id).samples)[:2]
    emulator.variants.results = "normal"
    done = client.sample_files.delete(dataset_id, [first, "x"])
    assert [(one.sample_id, one.ok, one.error_code) for one in done] == [
        (first, True, None),
        ("x", False, "ModelArts.4420"),
    ]
    sent = json.loads(emulator.journal.select("POST", "/samples/delete")[-1].body)
    assert sent == {"samples": [first, "x"], "delete_source": False}
    with pytest.raises(NotFound):
        client.samples.get(dataset_id, first)
    assert client.samples.get(dataset_id, second).sample_id == second


@pytest.mark.parametrize(
    ("sample_ids", "said"),
    [
        (None, "sample_ids must be a list"),
        ("abc", "sample_ids must be a list"),
        ([], "samples is empty"),
        (["a", "b", "a"], "'a' 2 times"),
        ([""], r"samples\[0\] must be an id as text"),
        ([None], r"samples\[0\]"),
    ],
)
def test_wrong_deletions_are_not_sent(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str, sample_ids: Any, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.sample_files.delete(dataset_id, sample_ids)
    assert emulator.journal.count("POST", "/samples/delete") == 0


def test_nothing_is_deleted_twice_after_a_lost_answer(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    emulator.faults.add("POST", "/samples/delete", "reset_after")
    gone = next(iter(emulator.dataset(dataset_id).samples))
    assert [one.ok for one in client.sample_files.delete(dataset_id, [gone])] == [None]
    assert emulator.journal.count("POST", "/samples/delete") == 1


def test_a_busy_dataset_deletes_nothing(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    emulator.clock.freeze()
    client.versions.create(dataset_id)
    gone = next(iter(emulator.dataset(dataset_id).samples))
    with pytest.raises(DatasetBusy):
        client.sample_files.delete(dataset_id, [gone])
    emulator.clock.advance(emulator.job_seconds)
    client.sync.start(dataset_id)
    (outcome,) = client.sample_files.delete(dataset_id, [gone])
    # HTTP 500 may come after something was done: whether it was, the samples tell
    assert (outcome.ok, outcome.error_code) == (None, "ModelArts.4424")
    assert gone in emulator.dataset(dataset_id).samples
