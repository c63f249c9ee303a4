"""Hard examples: every reason, its detail, the coefficient, and where they are shown (contract 3.3, 6.5, 7.5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator.state.hard_reasons import MEANINGS
from tests.emulator.conftest import AUTO, SAMPLES, Caller, back

if TYPE_CHECKING:
    from collections.abc import Callable

STATS = "/data-annotations/stats"


def test_there_are_all_reasons_and_each_says_something_else() -> None:
    assert list(MEANINGS) == list(range(31))
    for column in range(3):
        texts = [meaning[column] for meaning in MEANINGS.values()]
        assert all(texts)
        if column < 2:
            assert len(set(texts)) == 31


@pytest.mark.parametrize("reason", MEANINGS)
def test_every_reason_is_explained(proposals: Callable[..., Caller], reason: int) -> None:
    caller = proposals(3, hard_share=0)
    sample_id = caller.sample_ids(1)[0]
    caller.dataset.mark_hard(sample_id, reason, coefficient=0.75)
    single = caller.get(f"{AUTO}/{sample_id}")
    assert single["metadata"]["@modelarts:hard"] is True
    assert single["metadata"]["@modelarts:hard_reasons"] == [reason]
    (detail,) = single["hard_details"].values()
    assert (list(single["hard_details"]), detail["id"]) == ([str(reason)], reason)
    assert (detail["alo_name"], detail["reason"], detail["suggestion"]) == MEANINGS[reason]
    assert caller.get(STATS)["hard_detail_stats"] == {str(reason): {"key": 1, "value": detail}}

    def found(**condition: str) -> list[str]:
        text = json.dumps([condition])
        return [sample["sample_id"] for sample in caller.get(AUTO, search_conditions=text)["samples"]]

    assert found(coefficient="0.75") == found(coefficient="0.7-0.8") == found(hard="1") == [sample_id]
    assert found(coefficient="0.76") == found(coefficient="0.8-1") == []


def test_a_written_reason_is_explained_and_counted(digits: Caller) -> None:
    first, second, third = digits.sample_ids(3)
    hard = {"@modelarts:hard": True, "@modelarts:hard_coefficient": 0.5, "@modelarts:hard_reasons": [8, 30]}
    properties = {"@modelarts:hard": "true", "@modelarts:hard_reasons": "3-20-8"}
    digits.put(
        [
            {"sample_id": first, "labels": [{"name": "1", "property": properties}], "metadata": hard},
            {"sample_id": second, "labels": [{"name": "1"}], "metadata": {**hard, "@modelarts:hard_reasons": [8]}},
            {"sample_id": third, "labels": [{"name": "1"}], "metadata": {"@modelarts:hard": 0}},
        ]
    )
    assert list(digits.get(f"{SAMPLES}/{first}")["hard_details"]) == ["8", "30", "3", "20"]
    assert "hard_details" not in digits.get(f"{SAMPLES}/{third}")
    stats = digits.get(STATS)
    assert stats["key_sample_stats"] == {"total": 1797, "key_sample": 2, "non_key_sample": 1795}
    counts = {reason: one["key"] for reason, one in stats["hard_detail_stats"].items()}
    assert counts == {"3": 1, "8": 2, "20": 1, "30": 1}
    assert digits.get(SAMPLES, search_conditions='[{"coefficient":"0.5"}]')["sample_count"] == 2


def test_a_member_sees_the_reasons_too(proposals: Callable[..., Caller]) -> None:
    caller = proposals(1, hard_share=0)
    (sample_id,) = caller.sample_ids(1)
    caller.dataset.mark_hard(sample_id, 11)
    task_id = caller.emulator.create_team_task(caller.dataset_id)
    caller.dataset.label_team_sample(task_id, sample_id, "rose")
    (worker_id,) = caller.dataset.team_workers(task_id)
    caller.dataset.accept(task_id, sample_id, worker_id)
    single = caller.get(f"/workforce-tasks/{task_id}{SAMPLES}/{sample_id}")
    assert list(single["hard_details"]) == ["11"]


def test_easy_samples_have_no_details(proposals: Callable[..., Caller]) -> None:
    caller = proposals(3, hard_share=0)
    assert all("hard_details" not in caller.get(f"{AUTO}/{sample_id}") for sample_id in caller.sample_ids(3))
    assert "hard_detail_stats" not in caller.get(STATS)


@pytest.mark.parametrize("arguments", [((31,), 1.0), ((-1,), 1.0), ((3,), 1.5), ((3,), -0.1)])
def test_reasons_that_there_are_not(proposals: Callable[..., Caller], arguments: tuple[Any, float]) -> None:
    caller = proposals(1)
    reasons, coefficient = arguments
    with pytest.raises(ValueError, match="reasons 0 to 30"):
        caller.dataset.mark_hard(caller.sample_ids(1)[0], *reasons, coefficient=coefficient)


def test_marking_one_proposal_moves_none(proposals: Callable[..., Caller]) -> None:
    caller = proposals(5)
    before = [sample["sample_id"] for sample in caller.walk()]
    caller.dataset.mark_hard(before[2], 0, 30)
    after = caller.walk()
    assert [sample["sample_id"] for sample in after] == before
    assert caller.confirm(after) == {"success": True}
    assert back(after[2])["labels"] == after[2]["labels"]
