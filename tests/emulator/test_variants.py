"""Switchable quirks (contract 9 and 10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.emulator.conftest import AUTO, Caller

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("form", "kind"), [("bool", bool), ("number", int), ("text", str)])
def test_forms_of_hard(proposals: Callable[..., Caller], form: str, kind: type) -> None:
    caller = proposals(40, hard_share=0.5)
    caller.emulator.variants.hard = form
    values = {sample["metadata"]["@modelarts:hard"] for sample in caller.walk()}
    assert {type(value) for value in values} == {kind}
    assert len(values) == 2


@pytest.mark.parametrize("form", ["mixed", "int", "float"])
def test_forms_of_progress(digits: Caller, form: str) -> None:
    digits.emulator.variants.progress = form
    task_id = digits.start()
    seen = []
    for _ in range(3):
        digits.emulator.clock.advance(1)
        seen.append(type(digits.get(f"/tasks/{task_id}")["progress"]))
    kinds = {"mixed": {int, float}, "int": {int}, "float": {float}}
    assert set(seen) == kinds[form]


def test_scores_as_text(proposals: Callable[..., Caller]) -> None:
    caller = proposals(20)
    plain = [sample["labels"][0]["score"] for sample in caller.walk()]
    caller.emulator.variants.score = "text"
    served = caller.walk()
    assert [sample["labels"][0]["score"] for sample in served] == [json.dumps(score) for score in plain]
    assert caller.confirm(served)["success"]


def test_extra_and_null_fields(proposals: Callable[..., Caller]) -> None:
    caller = proposals(5)
    caller.emulator.variants.extra_fields = True
    caller.emulator.variants.null_fields = True
    sample = caller.walk()[0]
    assert sample["emulator_extra"]
    assert sample["labels"][0]["emulator_extra"] == 1.0
    assert sample["sample_usage"] is None
    assert caller.get()["emulator_extra"]
    # what was served may come back; name, type and property remain
    assert caller.confirm([sample]) == {"success": True}
    stored = caller.dataset.labels_of(sample["sample_id"])
    assert set(stored[0]) == {"name", "type", "property"}


def test_a_task_without_its_id(digits: Caller) -> None:
    task_id = digits.start()
    assert digits.get(f"/tasks/{task_id}")["task_id"] == task_id
    digits.emulator.variants.task_id_in_detail = False
    assert not {"task_id", "task_name"} & set(digits.get(f"/tasks/{task_id}"))


def test_204_with_a_body_does_not_disturb_the_next_request(digits: Caller) -> None:
    digits.emulator.variants.body_with_204 = True
    task_id = digits.start()
    assert digits("POST", f"/tasks/{task_id}/stop").status_code == 204
    assert digits.emulator.journal[-1].response == b'{"success":true}'
    assert digits.get(f"/tasks/{task_id}")["status"] == 4


def test_a_list_that_shrinks_while_it_is_read(proposals: Callable[..., Caller]) -> None:
    caller = proposals(50)
    caller.emulator.variants.shrink_list = 5
    totals = [caller.get(AUTO, limit=10, offset=0)["sample_count"] for _ in range(3)]
    assert totals == [50, 45, 40]
    assert caller.dataset.annotated == 15
