"""Models keep what arrives, and read it in all its spellings: B10, contract 9."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_modelarts.client import (
    Dataset,
    DatasetStats,
    Label,
    LabelTask,
    Sample,
    SampleLabel,
    TaskState,
)
from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.models import read, to_flag, to_integer, to_number

CONTRACT = Path(__file__).parents[2] / "docs" / "contract" / "modelarts-openapi.yaml"
DATASET = "/v2/{project_id}/datasets/{dataset_id}"

# Where examples of a model are: path, method, key of the list if it is one.
PLACES = [
    (LabelTask, f"{DATASET}/tasks", "get", "tasks"),
    (LabelTask, f"{DATASET}/tasks/{{task_id}}", "get", None),
    (Sample, f"{DATASET}/auto-annotations/samples", "get", "samples"),
    (Sample, f"{DATASET}/auto-annotations/samples/{{sample_id}}", "get", None),
    (Sample, f"{DATASET}/data-annotations/samples", "get", "samples"),
    (Sample, f"{DATASET}/data-annotations/samples/{{sample_id}}", "get", None),
    (Sample, f"{DATASET}/workforce-tasks/{{workforce_task_id}}/data-annotations/samples", "get", "samples"),
    (Sample, f"{DATASET}/workforce-tasks/{{workforce_task_id}}/data-annotations/samples/{{sample_id}}", "get", None),
    (Dataset, DATASET, "get", None),
    (Dataset, "/v2/{project_id}/datasets", "get", "datasets"),
    (DatasetStats, f"{DATASET}/data-annotations/stats", "get", None),
    (Label, f"{DATASET}/data-annotations/labels", "get", "labels"),
]


def examples() -> list[Any]:
    contract = yaml.load(CONTRACT.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found = []
    for model, path, method, key in PLACES:
        shown = contract["paths"][path][method]["responses"]["200"]["content"]["application/json"]["examples"]
        for name, example in shown.items():
            values = example["value"][key] if key else [example["value"]]
            found += [
                pytest.param(model, value, id=f"{path.removeprefix(DATASET)}-{name}-{number}")
                for number, value in enumerate(values)
            ]
    return found


@pytest.mark.parametrize(("model", "value"), examples())
def test_every_example_of_the_contract_is_read_without_loss(model: Any, value: dict[str, Any]) -> None:
    text = json.dumps(value, sort_keys=True)
    arrived = json.loads(text)
    thing = read(model, arrived, "read an example")
    repr(thing)
    assert thing.raw is arrived
    assert json.dumps(thing.raw, sort_keys=True) == text
    assert pickle.loads(pickle.dumps(thing)).raw == thing.raw


def test_examples_are_there() -> None:
    assert len(examples()) >= 20


def test_a_number_keeps_its_spelling() -> None:
    sample = Sample(
        json.loads('{"sample_id": "s", "labels": [{"name": "a", "score": 1}, {"name": "b", "score": 1.0}]}')
    )
    assert json.dumps(sample.element()) == json.dumps({"sample_id": "s", "labels": sample.raw["labels"]})
    assert [str(label.score) for label in sample.labels] == ["1", "1.0"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1, True), (0, False), (1.0, True), ("true", True), ("FALSE", False), ("1", True),
     ("0", False), (None, None), ("", None), ("maybe", None), ([], None)],
)  # fmt: skip
def test_hard_is_read_in_all_its_forms(value: object, expected: bool | None) -> None:
    assert to_flag(value) is expected
    assert Sample({"sample_id": "s", "metadata": {"@modelarts:hard": value}}).is_hard is expected


def test_hard_falls_back_to_the_labels_only_if_the_sample_is_silent() -> None:
    hard_label = {"name": "a", "property": {"@modelarts:hard": "true", "@modelarts:hard_reasons": "3-20"}}
    assert Sample({"labels": [hard_label]}).is_hard is True
    assert Sample({"labels": [hard_label], "metadata": {"@modelarts:hard": 0}}).is_hard is False
    assert Sample({"labels": [hard_label], "metadata": {"@modelarts:hard_reasons": [8, 3]}}).hard_reasons == (8, 3, 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.5", 0.5), (1, 1), ("7", 7), (None, None), ("much", None), (True, None), ("nan", None), (float("inf"), None)],
)
def test_numbers_are_read_from_text(value: object, expected: float | None) -> None:
    assert to_number(value) == expected
    assert SampleLabel({"score": value}).score == expected


def test_whole_numbers() -> None:
    found = [to_integer(value) for value in ("3", 3.0, "3.0", None, "x")]
    assert found == [3, 3, 3, None, None]
    assert all(type(number) is int for number in found[:3])


@pytest.mark.parametrize("raw", [{}, {"sample_id": None, "labels": None, "metadata": None}, {"labels": [None, 3, {}]}])
def test_every_field_of_a_sample_may_be_missing_or_null(raw: dict[str, Any]) -> None:
    sample = Sample(raw)
    assert (sample.sample_id, sample.score, sample.is_hard, sample.hard_reasons) == ("", None, None, ())
    assert [(label.name, label.property) for label in sample.labels] in ([], [("", {})])
    assert sample.origin is None


def test_origin_is_stable_and_never_signed() -> None:
    source = "https://bucket.obs.example.com:443/in/a.jpg?AccessKeyId=AK&Signature=SIG"
    assert Sample({"source": source}).origin == "https://bucket.obs.example.com:443/in/a.jpg"
    metadata = {"@modelarts:origin_source": "s3://bucket/in/a.jpg", "@modelarts:new_source": "s3://bucket/copy/a.jpg"}
    assert Sample({"source": source, "metadata": metadata}).origin == "s3://bucket/in/a.jpg"
    assert Sample({"source": source, "metadata": {"@modelarts:origin_source": source}}).origin == (
        "https://bucket.obs.example.com:443/in/a.jpg"
    )
    assert "SIG" not in repr(Sample({"sample_id": "s", "source": source, "labels": [{"name": "a"}]}))
    task = LabelTask({"status": 1, "result": {"samples": [{"source": source}]}, "extra": source})
    assert "SIG" not in repr(task) + str(task)


def test_models_are_frozen() -> None:
    with pytest.raises(AttributeError, match="frozen"):
        Sample({"sample_id": "s"}).raw = {}
    with pytest.raises(AttributeError, match="frozen"):
        LabelTask({"status": 1}).status = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del Sample({"sample_id": "s"}).raw


def test_models_are_equal_if_the_same_arrived() -> None:
    assert Sample({"sample_id": "s"}) == Sample({"sample_id": "s"}) != Sample({"sample_id": "t"})
    assert LabelTask({"status": 1}) != Dataset({"status": 1})


def test_only_an_object_makes_a_model() -> None:
    with pytest.raises(TypeError, match="Sample is read from a JSON object, not from list"):
        Sample([])  # type: ignore[arg-type]


def test_a_task_knows_its_ids_and_counts_wherever_they_stand() -> None:
    detail = {"resource_id": "d", "status": 1, "result": {"total_sample_count": 30}, "config": {"name": "n"}}
    task = read(LabelTask, detail, "read", dataset_id="asked", task_id="t")
    assert (task.dataset_id, task.task_id, task.total_sample_count, task.name) == ("d", "t", 30, "n")
    assert "task_id" not in task.raw
    listed = read(LabelTask, {"task_id": "own", "total_sample_count": 5}, "read", task_id="t", dataset_id="asked")
    assert (listed.dataset_id, listed.task_id, listed.total_sample_count) == ("asked", "own", 5)


@pytest.mark.parametrize(("number", "state", "over"), [(3, TaskState.SUCCEEDED, True), ("2", TaskState.FAILED, True),
                                                       (-1, TaskState.QUEUED, False), (17, 17, False)])  # fmt: skip
def test_states(number: object, state: int, over: bool) -> None:
    task = LabelTask({"status": number})
    assert task.state == task.status == state
    assert isinstance(task.state, TaskState)
    assert task.state.is_known is (state in list(TaskState))
    assert task.state.is_terminal is task.is_terminal is over


def test_a_state_that_is_not_listed_is_like_the_others_but_no_member() -> None:
    unlisted = TaskState(17)
    assert (unlisted.name, str(unlisted), json.dumps([unlisted]), f"{unlisted}") == ("17", "17", "[17]", "17")
    assert pickle.loads(pickle.dumps(unlisted)) == unlisted
    assert hash(unlisted) == hash(17)
    assert 17 not in list(TaskState)
    for wrong in ("17", 1.5, None):
        with pytest.raises(ValueError, match="is not a valid TaskState"):
            TaskState(wrong)


def test_a_state_that_the_service_left_out_is_not_made_up() -> None:
    task = LabelTask({"task_id": "t"})
    assert (task.status, task.is_terminal) == (None, False)
    with pytest.raises(UnexpectedResponse, match="gave no status in LabelTask"):
        _ = task.state


def test_the_result_of_a_labeling_task() -> None:
    searched = [{"hard_select_task_id": "h", "time": 262, "create_at": 0}]
    raw = {"train_job_id": 932777, "continuity": False, "hard_select_tasks": searched, "events": [{"name": "start"}]}
    result = LabelTask({"status": 3, "result": raw}).result
    assert (result.train_job_id, result.continuity, result.version_id) == ("932777", False, None)
    assert [(one.hard_select_task_id, one.time) for one in result.hard_select_tasks] == [("h", 262)]
    assert [event.name for event in result.events] == ["start"]
    assert result.samples == ()
    assert LabelTask({"status": 1, "result": None}).result.events == ()


def test_what_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(UnexpectedResponse) as caught:
        read(LabelTask, ["https://x/?Signature=SECRET"], "read labeling task t")
    assert "SECRET" not in str(caught.value)
    with pytest.raises(UnexpectedResponse):
        read(Sample, None, "read sample s")
