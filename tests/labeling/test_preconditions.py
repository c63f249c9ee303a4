"""The preconditions of labeling as one list: each that is not met is found, and the service refuses for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from airflow_provider_modelarts.client.errors import DatasetBusy, ModelArtsError, PreconditionFailed
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.preconditions import check_preconditions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator


def paint(folder: Path, labels: dict[str, int], mode: str = "RGB") -> None:
    for label, count in labels.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new(mode, (24, 20), (200, 3 * number, 20, 255)[: len(mode)]).save(
                folder / label / f"{mode}{number}.png"
            )


@pytest.fixture
def load(emulator: Emulator, tmp_path: Path) -> Callable[..., str]:
    """Make a dataset of so many images for each label; those of ``four`` have four channels."""

    def load(labels: dict[str, int], four: dict[str, int] | None = None) -> str:
        paint(tmp_path, labels)
        paint(tmp_path, four or {}, mode="RGBA")
        return emulator.load_folder(tmp_path)

    return load


def unmet(dataset_id: str, **parameters: Any) -> list[str]:
    report = check_preconditions(ModelArtsHook().client, dataset_id, **parameters)
    assert report.ready == (not report.unmet)
    return [check.name for check in report.unmet]


def refusal(dataset_id: str) -> ModelArtsError | None:
    """What the service says to a start."""
    try:
        ModelArtsHook().client.tasks.start(dataset_id)
    except ModelArtsError as error:
        return error
    return None


FIT = {"a": 6, "b": 5, "unlabeled": 4}


def test_a_fit_dataset_is_ready_and_nothing_is_written(load: Callable[..., str], emulator: Emulator) -> None:
    dataset_id = load(FIT)
    assert unmet(dataset_id) == []
    assert {record.method for record in emulator.journal if "/datasets" in record.path} == {"GET"}
    assert refusal(dataset_id) is None


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"unlabeled": 4}, ["labels", "images_per_label"]),
        ({"a": 6, "unlabeled": 4}, ["labels"]),
        ({"a": 6, "b": 4, "unlabeled": 4}, ["images_per_label"]),
        ({"a": 6, "b": 6}, ["unlabeled_images"]),
        ({"a": 4, "b": 4}, ["images_per_label", "unlabeled_images"]),
    ],
)
def test_too_little_is_found_and_the_service_refuses_it(
    load: Callable[..., str], labels: dict[str, int], found: list[str]
) -> None:
    dataset_id = load(labels)
    assert unmet(dataset_id) == found
    assert type(refusal(dataset_id)) is PreconditionFailed


@pytest.mark.parametrize(
    ("labels", "is_only_done"),
    [({"a": 6, "b": 6}, True), ({"a": 6, "b": 4}, True), ({"a": 6}, False), ({"a": 6, "b": 4, "unlabeled": 1}, False)],
)
def test_nothing_to_label_is_told_from_what_is_wrong(
    load: Callable[..., str], labels: dict[str, int], is_only_done: bool
) -> None:
    assert check_preconditions(ModelArtsHook().client, load(labels)).is_only_done is is_only_done


def test_rare_labels_are_named_with_their_numbers(load: Callable[..., str]) -> None:
    report = check_preconditions(ModelArtsHook().client, load({"a": 6, "b": 4, "c": 1, "unlabeled": 4}))
    assert "too few images have b (4), c (1); 5 are needed for each label." in report.refusal()
    assert "- NO: too few images have b (4), c (1)" in report.to_markdown()
    assert "- yes: 4 of 15 images have no label" in str(report)


def test_the_list_is_small_whatever_the_labels_are_called(emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(50)
    dataset = emulator.dataset(dataset_id)
    for number, sample_id in enumerate(list(dataset.samples)[:40]):
        dataset.edit(sample_id, f"{number}{'x' * 900}")
    report = check_preconditions(ModelArtsHook().client, dataset_id)
    assert "and 30 more; 5 are needed for each label." in report.to_markdown()
    assert len(report.to_markdown()) < 3000
    assert len(str(report.to_xcom())) < 3000


def test_images_with_four_channels_are_found_if_they_are_looked_for(load: Callable[..., str]) -> None:
    dataset_id = load(FIT, four={"unlabeled": 2})
    assert unmet(dataset_id) == ["three_channels"]
    assert unmet(dataset_id, check_images=False) == []
    assert refusal(dataset_id) is None  # the labeling task fails after its start


def test_other_shapes_than_boxes_are_found(emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(20, kind="detection")
    dataset = emulator.dataset(dataset_id)
    shape = {"@modelarts:shape": "polygon", "@modelarts:feature": [[0, 0], [9, 9], [5, 2]]}
    dataset.edit(next(iter(dataset.samples)), [{"name": "cat", "type": 1, "property": shape}])
    assert "boxes_only" in unmet(dataset_id)


def test_another_type_of_dataset_is_found(load: Callable[..., str], emulator: Emulator) -> None:
    dataset_id = load(FIT)
    emulator.dataset(dataset_id).dataset_type = 3
    assert "type" in unmet(dataset_id)
    assert type(refusal(dataset_id)) is PreconditionFailed


@pytest.mark.parametrize("status", [2, 3, 4])
def test_a_broken_dataset_is_no_error_that_is_worth_a_retry(
    load: Callable[..., str], emulator: Emulator, status: int
) -> None:
    dataset_id = load(FIT)
    emulator.dataset(dataset_id).status = status
    report = check_preconditions(ModelArtsHook().client, dataset_id)
    assert [check.name for check in report.unmet] == ["not_busy"]
    assert type(report.error()) is PreconditionFailed


def test_what_passes_is_an_error_that_is_worth_a_retry(load: Callable[..., str], emulator: Emulator) -> None:
    client = ModelArtsHook().client
    dataset_id = load(FIT)
    emulator.dataset(dataset_id).status = 6
    assert unmet(dataset_id) == ["not_busy"]
    assert type(check_preconditions(client, dataset_id).error()) is DatasetBusy
    emulator.dataset(dataset_id).status = 1
    label_task_id = client.tasks.start(dataset_id)
    report = check_preconditions(client, dataset_id)
    assert [check.name for check in report.unmet] == ["no_running_task"]
    assert label_task_id in report.refusal()
    assert type(report.error()) is DatasetBusy
