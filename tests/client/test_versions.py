"""Versions: publish, list, find, delete. Contract 6.3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import DatasetStatus, VersionStatus
from airflow_provider_modelarts.client.errors import DatasetBusy, InvalidRequest, ModelArtsError, NotFound
from airflow_provider_modelarts.client.requests.versions import CreateVersionRequest

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator


@pytest.fixture
def digits(emulator: Emulator) -> str:
    emulator.clock.freeze()
    return emulator.load_digits()


def test_a_version_is_published_found_and_deleted(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    wanted = CreateVersionRequest(version_name="first", train_evaluate_sample_ratio="0.8", export_images=True)
    version_id = client.versions.create(digits, wanted)
    assert json.loads(emulator.journal.select("POST", "/versions")[-1].body) == {
        "version_name": "first",
        "train_evaluate_sample_ratio": "0.8",
        "export_images": True,
    }
    version = client.versions.get(digits, version_id)
    assert (version.status, version.is_usable) == (VersionStatus.CREATING, False)
    assert not VersionStatus.CREATING.is_terminal
    assert client.datasets.get(digits).status is DatasetStatus.PUBLISHING
    emulator.clock.advance(emulator.job_seconds)
    version = client.versions.get(digits, version_id)
    assert (version.status, version.is_usable, version.is_current) == (VersionStatus.USABLE, True, True)
    assert (version.total_sample_count, version.annotated_sample_count) == (1797, 150)
    assert version.train_evaluate_sample_ratio == 0.8
    assert len(version.label_stats) == 10
    assert version.manifest_path is not None
    assert version.manifest_path.endswith("/annotation/first/first.manifest")
    found = client.versions.find(digits, "first")
    assert found is not None
    assert found.version_id == version_id
    client.versions.delete(digits, version_id)
    assert list(client.versions.list(digits)) == []
    with pytest.raises(NotFound):
        client.versions.get(digits, version_id)


def test_versions_are_listed_as_asked_for(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    first = client.versions.create(digits)
    emulator.clock.advance(60)
    second = client.versions.create(digits, {"train_evaluate_sample_ratio": "0.5"})
    assert [one.version_id for one in client.versions.list(digits)] == [second, first]
    assert [one.version_id for one in client.versions.list(digits, status=VersionStatus.USABLE)] == [first]
    found = client.versions.list(digits, train_evaluate_ratio="0.4,0.6", version_format=0)
    assert [one.version_id for one in found] == [second]
    assert next(client.versions.list(digits)).previous_version_id == first


def test_one_version_a_minute(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    client.versions.create(digits)
    with pytest.raises(DatasetBusy) as caught:
        client.versions.create(digits)
    assert caught.value.code == "ModelArts.4343"
    emulator.clock.advance(30)
    with pytest.raises(DatasetBusy, match="try again in a minute"):
        client.versions.create(digits)
    emulator.clock.advance(30)
    with pytest.raises(InvalidRequest) as refused:
        client.versions.create(digits, {"version_name": "V001"})
    assert refused.value.code == "ModelArts.4371"
    client.versions.create(digits)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"version_name": "x" * 33}, "version_name must be 1 to 32"),
        ({"description": "a = b"}, "description must be at most 256 characters, none of"),
        ({"version_format": "TXT"}, "version_format must be one of"),
        ({"train_evaluate_sample_ratio": "1.2"}, "train_evaluate_sample_ratio must be the text of a decimal number"),
        ({"clear_hard_property": "perhaps"}, "clear_hard_property must be true or false"),
        ({"name": "first"}, "name is unknown"),
    ],
)
def test_what_cannot_be_published_is_not_sent(
    client: ModelArtsClient, emulator: Emulator, digits: str, body: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        client.versions.create(digits, body)
    assert emulator.journal.count("POST", "/versions") == 0


@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_a_version_is_not_published_twice_after_a_lost_answer(
    client: ModelArtsClient, emulator: Emulator, digits: str, kind: str
) -> None:
    emulator.faults.add("POST", "/versions", kind)
    with pytest.raises(ModelArtsError, match="List the versions of the dataset"):
        client.versions.create(digits, {"version_name": "first"})
    assert emulator.journal.count("POST", "/versions") == 1
    assert client.versions.find(digits, "first") is not None


def test_a_failed_version_says_why(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    emulator.faults.add("POST", "/versions", "fail_task", code="ModelArts.4712", message="an import runs")
    version_id = client.versions.create(digits)
    emulator.clock.advance(emulator.job_seconds)
    version = client.versions.get(digits, version_id)
    assert (version.status, version.code, version.message) == (VersionStatus.ERROR, "ModelArts.4712", "an import runs")


def test_a_dataset_is_switched_back_to_a_version(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    version_id = client.versions.create(digits)
    emulator.clock.advance(60)
    labeled = next(client.samples.list(digits, sample_state="__ALL__"))
    emulator.dataset(digits).edit(labeled.sample_id, "new")
    client.versions.create(digits)
    emulator.clock.advance(emulator.job_seconds)
    client.datasets.update(digits, {"current_version_id": version_id})
    assert client.datasets.get(digits).status is DatasetStatus.SWITCHING_VERSION
    emulator.clock.advance(emulator.job_seconds)
    assert client.datasets.get(digits).current_version_id == version_id
    assert client.samples.get(digits, labeled.sample_id).label_names == labeled.label_names


def test_samples_of_a_version_keep_the_labels_that_it_was_published_with(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    emulator.job_seconds = 5
    dataset = emulator.dataset(digits)
    sample_id = next(key for key in dataset.samples if dataset.names_of(key))
    (before,) = dataset.names_of(sample_id)
    version_id = client.versions.create(digits)
    emulator.clock.advance(10)
    dataset.edit(sample_id, "7" if before != "7" else "8")
    published = {one.sample_id: one.label_names for one in client.samples.list(digits, version_id=version_id)}
    present = {one.sample_id: one.label_names for one in client.samples.list(digits)}
    assert published.keys() == present.keys()
    assert {key for key in present if published[key] != present[key]} == {sample_id}
    assert published[sample_id] == [before]
