"""What a confirmation came to, in XCom and in words."""

from __future__ import annotations

import json

import pytest

from airflow_provider_modelarts.labeling.result import (
    LABELS_SHOWN,
    OTHER_LABELS,
    ConfirmationResult,
    Failure,
)


def xcom_labels(by_label: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = ConfirmationResult(by_label=by_label).to_xcom()["by_label"]
    return found


def test_few_labels_are_all_in_xcom_in_their_order() -> None:
    counts = {f"label {number}": number for number in range(LABELS_SHOWN)}
    assert xcom_labels(counts) == counts
    assert list(xcom_labels(counts)) == list(counts)


def test_of_many_labels_the_most_frequent_are_in_xcom_and_the_rest_is_added_up() -> None:
    counts = {f"label {number:04}": 1 + number % 7 for number in range(3000)} | {"rose": 500, "tulip": 400}
    result = ConfirmationResult(by_label=counts)
    found = result.to_xcom()["by_label"]
    assert len(found) == LABELS_SHOWN + 1
    assert (found["rose"], found["tulip"]) == (500, 400)
    assert set(found.values()) - {found[OTHER_LABELS]} == {500, 400, 7}
    assert list(found)[-1] == OTHER_LABELS
    assert sum(found.values()) == sum(counts.values())
    assert result.by_label == counts, "in Python all are there"


def test_a_label_that_is_called_like_the_rest_is_added_to_it() -> None:
    counts = {f"label {number:04}": 1 for number in range(100)} | {OTHER_LABELS: 10}
    found = xcom_labels(counts)
    assert sum(found.values()) == 110
    assert len(found) == LABELS_SHOWN


@pytest.mark.parametrize("name", ["rose \ud83d", "\udc00 tulip", "a \x00 b", "x" * 10_000, "\U0001f339" * 10_000])
def test_any_name_can_be_stored(name: str) -> None:
    found = xcom_labels({name: 3, "daisy": 2})
    assert sorted(found.values()) == [2, 3]
    text = json.dumps(found, ensure_ascii=False)
    assert "\\u0000" not in text
    assert len(text.encode()) < 2000


def test_names_that_are_alike_once_they_can_be_stored_are_counted_together() -> None:
    assert xcom_labels({"a \ud83d": 1, "a \\ud83d": 2}) == {"a \\ud83d": 3}


def test_a_failure_can_be_logged_whatever_the_service_says() -> None:
    text = str(Failure("ModelArts.4420", "no label rose \ud83d", 2, ("sample \udc00", "b")))
    assert text == "ModelArts.4420: no label rose \\ud83d (2 samples: sample \\udc00, b)"
