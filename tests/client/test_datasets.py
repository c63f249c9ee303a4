"""Datasets: create, change, delete, find, statistics. Contract 6.1, 6.5."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import DatasetStatus
from airflow_provider_modelarts.client.errors import (
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PreconditionFailed,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.requests.datasets import CreateDatasetRequest, UpdateDatasetRequest

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

NEW: dict[str, Any] = {
    "dataset_name": "flowers",
    "dataset_type": 0,
    "data_sources": [{"data_type": 0, "data_path": "/bucket/flowers/"}],
    "work_path": "/bucket/output/",
}


def test_a_dataset_is_created_found_changed_and_deleted(client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.put_images("/bucket/flowers/", 3, label="rose")
    emulator.clock.freeze()
    made = client.datasets.create(CreateDatasetRequest(**NEW))
    assert json.loads(emulator.journal.select("POST", "/datasets")[-1].body) == NEW | {"work_path_type": 0}
    assert client.datasets.get(made.dataset_id).status is DatasetStatus.CREATING
    emulator.clock.advance(emulator.job_seconds)
    dataset = client.datasets.get(made.dataset_id)
    assert (dataset.status, dataset.total_sample_count, dataset.annotated_sample_count) == (DatasetStatus.NORMAL, 3, 3)
    assert dataset.data_sources[0].data_path == "/bucket/flowers/"
    assert [label.name for label in dataset.labels] == ["rose"]
    found = client.datasets.find("flowers")
    assert found is not None
    assert found.dataset_id == made.dataset_id
    assert client.datasets.find("flower") is None
    client.datasets.update(made.dataset_id, UpdateDatasetRequest(description="of the garden"))
    client.datasets.update(made.dataset_id, {"add_labels": [{"name": "daisy"}], "dataset_name": "plants"})
    dataset = client.datasets.get(made.dataset_id)
    assert (dataset.dataset_name, dataset.description) == ("plants", "of the garden")
    assert [label.name for label in dataset.labels] == ["rose", "daisy"]
    client.datasets.delete(made.dataset_id)
    with pytest.raises(NotFound):
        client.datasets.get(made.dataset_id)
    with pytest.raises(NotFound):
        client.datasets.delete(made.dataset_id)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset_name": "a b"}, r"dataset_name must be 1 to 100 letters, digits"),
        ({"dataset_name": "x" * 101}, "dataset_name must be 1 to 100"),
        ({"dataset_name": None}, "dataset_name is missing"),
        ({"description": "5 < 6"}, r"description must be at most 256 characters, none of"),
        ({"description": "x" * 257}, "description must be at most 256"),
        ({"work_path": "/bucket/"}, "work_path that is no folder in a bucket"),
        ({"work_path": "/bucket/flowers/out/"}, "work_path within its data_path"),
        ({"work_path": "/bucket/flowers"}, "work_path within its data_path"),
        ({"data_sources": []}, "data_sources must have at least 1"),
        ({"data_sources": NEW["data_sources"] * 2}, "data_sources must have at most 1"),
        ({"data_sources": [{"data_pat": "/b/c/"}]}, r"data_sources\[0\].data_pat is unknown; is data_path meant"),
        ({"dataset_type": 5}, "dataset_type must be one of"),
        ({"labels": [{"name": "a"}, {"name": "a"}]}, "labels has the label 'a' 2 times"),
        ({"labels": [{"property": {}}]}, "labels has no name in element 0"),
        ({"labels": [{"name": "a", "property": {"@modelarts:color": "red"}}]}, "must be a color as #rrggbb"),
    ],
)
def test_what_no_dataset_is_made_of_is_not_sent(
    client: ModelArtsClient, emulator: Emulator, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.datasets.create(NEW | changes)
    assert emulator.journal.count("POST", "/datasets") == 0


def test_what_the_service_refuses_to_create(client: ModelArtsClient, emulator: Emulator) -> None:
    client.datasets.create(NEW)
    with pytest.raises(InvalidRequest) as caught:
        client.datasets.create(NEW)
    assert caught.value.code == "ModelArts.4351"
    emulator.variants.max_datasets = 1
    with pytest.raises(PreconditionFailed, match="quota"):
        client.datasets.create(NEW | {"dataset_name": "more"})


@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_a_dataset_is_not_created_twice_after_a_lost_answer(
    client: ModelArtsClient, emulator: Emulator, kind: str
) -> None:
    emulator.faults.add("POST", "/datasets", kind)
    with pytest.raises(ModelArtsError, match=r"datasets\.find\('flowers'\)"):
        client.datasets.create(NEW)
    assert emulator.journal.count("POST", "/datasets") == 1
    assert client.datasets.find("flowers") is not None


def test_an_answer_without_the_new_id_says_where_to_look(client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.faults.add("POST", "/datasets", "status", status=201, body="{}")
    with pytest.raises(UnexpectedResponse, match=r"names no dataset_id.*datasets\.find"):
        client.datasets.create(NEW)


def test_fields_that_the_contract_does_not_know_are_sent_on_demand_only(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    with pytest.raises(InvalidRequest, match="colour is unknown"):
        client.datasets.create(NEW | {"colour": 1})
    with pytest.raises(InvalidRequest, match="managed is a field of the request"):
        client.datasets.create(NEW, extra={"managed": True})
    assert emulator.journal.count("POST", "/datasets") == 0


@pytest.mark.wrong_requests
def test_additional_fields_are_merged_in(client: ModelArtsClient, emulator: Emulator) -> None:
    client.datasets.create(NEW, extra={"colour": 1})
    assert json.loads(emulator.journal.select("POST", "/datasets")[-1].body)["colour"] == 1


def test_a_change_of_nothing_is_not_sent(client: ModelArtsClient, emulator: Emulator, dataset_id: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing is given"):
        client.datasets.update(dataset_id, {})
    with pytest.raises(InvalidRequest, match="add_labels is empty"):
        client.datasets.update(dataset_id, {"add_labels": []})
    assert emulator.journal.count("PUT") == 0


@pytest.mark.usefixtures("moved_clock")
def test_a_deletion_that_is_repeated_counts_as_one(
    client: ModelArtsClient, emulator: Emulator, dataset_id: str
) -> None:
    emulator.faults.add("DELETE", f"/datasets/{dataset_id}", "reset_after")
    client.datasets.delete(dataset_id)
    assert emulator.journal.count("DELETE") == 2
    assert emulator.datasets == ()


def test_a_dataset_at_work_is_not_deleted(client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.task_seconds = 1000
    digits = emulator.load_digits()
    client.tasks.start(digits)
    with pytest.raises(PreconditionFailed, match="Stop the labeling tasks") as caught:
        client.datasets.delete(digits)
    assert caught.value.code == "ModelArts.4803"


def test_a_list_is_asked_for_what_the_contract_knows(client: ModelArtsClient, emulator: Emulator) -> None:
    digits, other = emulator.load_digits(), emulator.load_proposals(2)
    emulator.clock.freeze()
    client.versions.create(digits)
    names = [one.dataset_name for one in client.datasets.list(sort_by="dataset_name", order="asc")]
    assert names == ["digits", "synthetic-classification"]
    shown = list(
        client.datasets.list(
            dataset_type=0,
            with_labels=True,
            file_preview=True,
            contain_versions=True,
            support_export=False,
            train_evaluate_ratio="0.9,1",
            version_format=0,
            workspace_id="0",
            dataset_version="v1",
            running_task_type=6,
        )
    )
    assert [one.dataset_id for one in shown] == [digits]
    assert (len(shown[0].labels), len(shown[0].preview), len(shown[0].versions)) == (10, 4, 1)
    assert shown[0].preview[0].file_name == "digit_0000.png"
    assert shown[0].exist_running_task is True
    assert len(shown[0].running_task_ids) == 1
    assert client.datasets.get(other).versions == ()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"order": "up"}, "order must be one of asc, desc"),
        ({"sort_by": "size"}, "sort_by must be one of create_time, dataset_name"),
        ({"with_labels": "perhaps"}, "with_labels must be true or false"),
        ({"train_evaluate_ratio": "0.9,0.1"}, "train_evaluate_ratio must be two numbers"),
        ({"version_format": 3}, "version_format must be a number from 0 to 2"),
        ({"dataset_version": "v3"}, "dataset_version must be one of"),
        ({"workspace_id": ""}, "workspace_id must be an id"),
    ],
)
def test_lists_of_what_is_not_there_are_not_asked_for(
    client: ModelArtsClient, emulator: Emulator, query: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.datasets.list(**query)
    assert emulator.journal.count("GET", "/datasets") == 0


def test_statistics_metrics_and_search_options(client: ModelArtsClient, emulator: Emulator) -> None:
    digits = emulator.load_digits()
    stats = client.datasets.stats(digits, locale="en-us", email="")
    assert (stats.samples["total"], stats.key_samples["total"], stats.data_spliting_enable) == (1797, 1797, True)
    assert {label.name: label.sample_count for label in stats.labels}["3"] == 15
    now = int(emulator.clock.now() * 1000)
    series = client.datasets.metrics(digits, start_time=now - 5000, end_time=now + 100_000).series
    assert set(series["total"].values()) == {1797}
    assert all(isinstance(time, int) for time in series["total"])
    assert series["failed"] == {}
    with pytest.raises(InvalidRequest, match="end_time must not be before start_time"):
        client.datasets.metrics(digits, start_time=2, end_time=1)
    options = client.datasets.search_options(digits)
    assert options.labelers == ("human/emulator/owner",)
    assert len(options.labels) == 10
    assert options.metadata == {}


def test_a_proxy_that_knows_no_dataset_has_deleted_none(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(1)
    emulator.faults.add("DELETE", f"/datasets/{dataset_id}", "status", status=404, code="Gateway.0404", times=None)
    with pytest.raises(NotFound):
        client.datasets.delete(dataset_id)
    assert client.datasets.get(dataset_id).dataset_id == dataset_id
