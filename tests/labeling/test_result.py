"""What a confirmation came to, in XCom and in words."""

from __future__ import annotations

import json

import pytest

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.labeling.results import LABELS_SHOWN, OTHER_LABELS, ConfirmationResult, Failure, check


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


def test_a_plan_and_a_preview_say_what_would_be_confirmed() -> None:
    planned = ConfirmationResult(seen=9, confirmed=7, review=2, requests=3, preview=True)
    assert str(planned) == "9 proposals seen: 7 would be confirmed, 2 review, 0 left, 0 failed, 0 gone; 3 requests"
    assert "preview" not in planned.to_xcom()


def test_a_run_says_how_often_it_read_the_list() -> None:
    done = ConfirmationResult(seen=9, confirmed=7, review=2, requests=3, passes=1)
    text = "9 proposals seen: 7 confirmed, 2 review, 0 left, 0 failed, 0 gone; the list was read once, 3 requests"
    assert str(done) == text
    assert "the list was read 3 times" in str(ConfirmationResult(passes=3))
    with pytest.raises(ConfirmationError, match=r"2 proposals .* although the list was read 5 times"):
        check(ConfirmationResult(unaccounted=2, passes=5))


def test_what_is_gone_is_explained() -> None:
    text = str(ConfirmationResult(seen=134, gone=134, passes=1))
    assert "134 gone (confirmed already by an earlier run, or no longer proposed)" in text


def test_a_preview_that_was_stopped_does_not_say_that_it_confirmed() -> None:
    with pytest.raises(ConfirmationError) as caught:
        check(ConfirmationResult(seen=9, confirmed=7, left=2, stopped=True, preview=True, dataset_id="d"))
    assert str(caught.value) == (
        "Dataset d: stopped after 9 samples were decided upon, and nothing was written. Run the task again."
    )
