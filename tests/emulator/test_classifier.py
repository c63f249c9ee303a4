"""What the classifier guesses, and from what it learns (contract 8.2)."""

from __future__ import annotations

import pytest

from airflow_provider_modelarts.emulator import Emulator
from tests.emulator.conftest import Caller


@pytest.mark.parametrize("algorithm", ["fast", "accurate"])
def test_guesses_are_the_classifiers_own(digits: Caller, algorithm: str) -> None:
    digits.finish(collect_key_sample=True, config={"algorithm_type": algorithm})
    truth = digits.emulator.truth(digits.dataset_id)
    samples = digits.walk()
    right = [sample["labels"][0]["name"] == truth[sample["sample_id"]] for sample in samples]
    assert 0.85 < sum(right) / len(right) < 0.99
    sure = [ok for ok, sample in zip(right, samples, strict=True) if sample["labels"][0]["score"] >= 0.9]
    assert sum(sure) / len(sure) > sum(right) / len(right)
    hard = [ok for ok, sample in zip(right, samples, strict=True) if sample["metadata"]["@modelarts:hard"]]
    assert 50 < len(hard) < 500
    assert sum(hard) / len(hard) < sum(right) / len(right)


def test_accurate_is_another_model_than_fast() -> None:
    found = []
    for algorithm in ("fast", "accurate"):
        with Emulator() as emulator:
            emulator.clock.freeze()
            caller = Caller(emulator, emulator.load_digits())
            caller.finish(config={"algorithm_type": algorithm})
            found.append({s["sample_id"]: s["labels"][0]["score"] for s in caller.walk()})
    assert found[0].keys() == found[1].keys()
    assert found[0] != found[1]


def test_hard_examples_only_when_asked_for(digits: Caller) -> None:
    digits.finish(collect_key_sample=False)
    assert not any(sample["metadata"]["@modelarts:hard"] for sample in digits.walk())


def test_the_task_learns_from_what_was_labeled_at_its_start(digits: Caller) -> None:
    dataset = digits.dataset
    digits.start()
    unlabeled = [sample_id for sample_id, sample in dataset.samples.items() if not sample.labels]
    dataset.edit(unlabeled[0], "3")
    dataset.edit(unlabeled[1], "a new label")
    digits.emulator.clock.advance(6)
    proposed = {sample["sample_id"]: sample["labels"][0]["name"] for sample in digits.walk()}
    assert not {unlabeled[0], unlabeled[1]} & proposed.keys()
    assert "a new label" not in proposed.values()
    assert dataset.names_of(unlabeled[0]) == ["3"]


def test_a_labeled_sample_without_a_picture_teaches_nothing(digits: Caller) -> None:
    digits.dataset.propose([{"sample_id": "no picture"}])
    digits.dataset.edit("no picture", "3")
    digits.finish()
    assert digits.waiting() == 1647
