"""Texts, sounds and tables through the client: what is read, written and read again (contract 3.3, 4.1, 6.1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import DatasetType, LabelType, Sample, SampleType, SampleUsage
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

TYPES = {
    DatasetType.TEXT_CLASSIFICATION: SampleType.TEXT,
    DatasetType.NAMED_ENTITIES: SampleType.TEXT,
    DatasetType.TEXT_TRIPLETS: SampleType.TEXT,
    DatasetType.SOUND_CLASSIFICATION: SampleType.SOUND,
    DatasetType.SPEECH_CONTENT: SampleType.SOUND,
    DatasetType.SPEECH_SEGMENTS: SampleType.SOUND,
}
CONTENT = "@modelarts:content"


@pytest.mark.parametrize("dataset_type", TYPES)
def test_labels_of_every_kind_come_back_as_they_were_written(
    client: ModelArtsClient, emulator: Emulator, dataset_type: DatasetType
) -> None:
    dataset_id = emulator.load_samples(dataset_type, 4, labeled=4)
    dataset = emulator.dataset(dataset_id)
    assert client.datasets.get(dataset_id).dataset_type is dataset_type
    listed = list(client.samples.list(dataset_id, sample_type=TYPES[dataset_type]))
    assert len(listed) == 4
    assert {sample.sample_type for sample in listed} == {TYPES[dataset_type]}
    assert all(sample.oddity is None for sample in listed)
    before = {sample.sample_id: json.dumps(sample.raw["labels"]) for sample in listed}
    assert all(outcome.ok for outcome in client.samples.update(dataset_id, listed))
    again = {sample.sample_id: json.dumps(sample.raw["labels"]) for sample in client.samples.list(dataset_id)}
    assert again == before
    assert not list(client.samples.list(dataset_id, sample_type=SampleType.IMAGE))
    outcomes = client.samples.clear_labels(dataset_id, list(before))
    assert all(outcome.ok for outcome in outcomes)
    assert dataset.annotated == 0
    for label in client.labels.list(dataset_id):
        assert label.type in tuple(LabelType)


def test_labels_that_break_the_rules_are_told_by_sample(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_samples(101, 2)
    first, second = client.samples.list(dataset_id)
    span = {"@modelarts:start_index": 0, "@modelarts:end_index": 3}
    outcomes = client.samples.update(
        dataset_id,
        [
            {"sample_id": first.sample_id, "labels": [{"name": "person"}]},
            {"sample_id": second.sample_id, "labels": [{"name": "person", "property": span}]},
        ],
    )
    assert [(outcome.ok, outcome.error_code) for outcome in outcomes] == [(False, "ModelArts.4413"), (True, None)]


def test_texts_are_made_uploaded_labeled_and_read(client: ModelArtsClient, emulator: Emulator) -> None:
    joins = {"@modelarts:from_type": "person", "@modelarts:to_type": "town"}
    made = client.datasets.create(
        {
            "dataset_name": "texts",
            "dataset_type": DatasetType.TEXT_TRIPLETS,
            "data_sources": [{"data_path": "/bucket/in/"}],
            "work_path": "/bucket/out/",
            "work_path_type": 0,
            "labels": [
                {"name": "person", "type": 103},
                {"name": "town", "type": 103},
                {"name": "lives in", "type": 102, "property": joins},
            ],
        }
    )
    emulator.clock.advance(emulator.job_seconds)

    def entity(name: str, number: str, start: int, end: int) -> dict[str, Any]:
        span = {"@modelarts:start_index": start, "@modelarts:end_index": end}
        return {"name": name, "type": 103, "id": number, "property": span}

    relation = {"name": "lives in", "type": 102, "property": {"@modelarts:from": "1", "@modelarts:to": "2"}}
    labels = [entity("person", "1", 0, 3), entity("town", "2", 13, 17), relation]
    sample = {
        "name": "a.txt",
        "data": "Ann lives in Köln.".encode(),
        "encoding": "UTF-8",
        "sample_type": SampleType.TEXT,
        "labels": labels,
        "metadata": {"paper": "FAZ"},
    }
    (outcome,) = client.sample_files.upload(made.dataset_id, [sample])
    assert outcome.ok
    (read,) = client.samples.list(made.dataset_id)
    assert (read.sample_name, read.sample_data, read.sample_type) == ("a.txt", ("Ann lives in Köln.",), SampleType.TEXT)
    assert (read.sample_size, read.metadata["paper"]) == (19, "FAZ")
    assert read.sample_dir == "s3://bucket/in/"
    assert read.raw["labels"] == labels
    (found,) = client.samples.list(made.dataset_id, search_conditions={"metadata": {"props": {"paper": ["FAZ"]}}})
    assert found == read
    stats = client.datasets.stats(made.dataset_id)
    assert {one.name: one.count for one in stats.labels} == {"person": 1, "town": 1, "lives in": 1}


def test_tables_have_data_and_no_labels(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_samples(400, 2)
    dataset = client.datasets.get(dataset_id)
    assert (dataset.dataset_format, dataset.import_data) == (1, True)
    assert [column.name for column in dataset.columns] == ["person", "company", "day"]
    first, _ = client.samples.list(dataset_id, order="asc")
    assert first.sample_data == ("Alice,Acme,0", "Alice,Acme,1")
    with pytest.raises(ModelArtsError, match=r"ModelArts\.4383"):
        client.samples.update(dataset_id, [{"sample_id": first.sample_id, "labels": [{"name": "a"}]}])


def test_speech_is_searched_by_what_its_labels_say(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_samples(201, 4, labeled=4)
    spoken = {"label_list": {"labels": [{"type": 201, "property": {"@modelarts:source": ["Carol"]}}]}}
    (sample,) = client.samples.list(dataset_id, search_conditions=spoken)
    (label,) = sample.labels
    assert (label.name, label.type, label.property[CONTENT]) == ("", LabelType.SPEECH_CONTENT, "This is tone 2.")


@pytest.mark.parametrize("usage", SampleUsage)
def test_usage_and_metadata_are_kept_and_versions_split(
    client: ModelArtsClient, emulator: Emulator, usage: SampleUsage
) -> None:
    dataset_id = emulator.load_samples(100, 11, labeled=10)
    samples = list(client.samples.list(dataset_id, sample_state="__ALL__"))
    chosen = {**samples[0].element(), "sample_usage": usage, "metadata": {"speaker": "Ann"}}
    assert client.samples.update(dataset_id, [chosen])[0].ok
    read = client.samples.get(dataset_id, samples[0].sample_id)
    assert (read.sample_usage, read.metadata["speaker"]) == (usage, "Ann")
    assert client.datasets.search_options(dataset_id).metadata == {"speaker": ("Ann",)}
    made = client.versions.create(dataset_id, {"train_evaluate_sample_ratio": "0.8", "remove_sample_usage": False})
    emulator.clock.advance(60)
    versions = list(client.versions.list(dataset_id, train_evaluate_ratio="0.7,0.9"))
    assert [version.version_id for version in versions] == [made]
    assert not list(client.versions.list(dataset_id, train_evaluate_ratio="0.9,1"))
    kept = {sample.sample_id: sample.sample_usage for sample in client.samples.list(dataset_id, version_id=made)}
    assert kept.pop(read.sample_id) is usage
    assert sorted(map(str, kept.values())) == ["EVAL"] * 2 + ["None"] + ["TRAIN"] * 7
    assert client.samples.get(dataset_id, samples[1].sample_id).sample_usage is None


@pytest.mark.parametrize("reason", range(31))
def test_every_reason_of_a_hard_sample_is_read(client: ModelArtsClient, emulator: Emulator, reason: int) -> None:
    dataset_id = emulator.load_proposals(3, hard_share=0)
    sample_id = next(iter(emulator.dataset(dataset_id).proposals))
    emulator.dataset(dataset_id).mark_hard(sample_id, reason, coefficient=0.5)
    read = client.proposals.get(dataset_id, sample_id)
    assert (read.is_hard, read.hard_reasons, read.hard_coefficient) == (True, (reason,), 0.5)
    detail = read.hard_details[reason]
    assert (detail.id, bool(detail.alo_name), bool(detail.reason), bool(detail.suggestion)) == (
        reason,
        True,
        True,
        True,
    )
    (listed,) = client.proposals.list(dataset_id, search_conditions={"coefficient": "0.5"})
    assert (listed.sample_id, listed.hard_reasons, listed.hard_details) == (sample_id, (reason,), {})
    stats = client.datasets.stats(dataset_id)
    assert stats.hard_details == {reason: detail}
    assert stats.hard_detail_stats[str(reason)]["key"] == 1
    assert stats.key_samples["key_sample"] == 1


def test_details_that_cannot_be_read_are_left_out() -> None:
    odd = {"hard_details": {"3": {"id": "3", "reason": 7}, "x": {"id": 1}, "4": None, "5": "blurred"}}
    details = Sample({"sample_id": "s", **odd}).hard_details
    assert list(details) == [3]
    assert (details[3].id, details[3].reason, details[3].suggestion) == (3, "7", None)
    for none in (None, [], "x", 3):
        assert Sample({"sample_id": "s", "hard_details": none}).hard_details == {}


def test_addresses_of_a_sample_are_not_shown(client: ModelArtsClient, emulator: Emulator) -> None:
    (sample,) = client.samples.list(emulator.load_samples(100, 1))
    assert sample.source is not None
    assert "Signature" in sample.source
    assert "Signature" not in repr(sample)
    assert sample.preview == sample.source


@pytest.mark.parametrize("given", [{"sample_type": -1}, {"sample_type": "text"}, {"version_id": ""}, {"email": "ann"}])
def test_what_samples_cannot_be_chosen_by(client: ModelArtsClient, emulator: Emulator, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        list(client.samples.list(emulator.load_samples(100, 1), **given))
