"""The DAG that confirms a dataset in parts: every sample in exactly one of them, on any number of workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from example_dags import confirm_by_label
from tests.support.dag_runner import DagOutcome, run_dag

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")
PARTS = ("confirmed", "review", "left", "failed", "gone")


def run(dataset_id: str, folder: Path, **conf: Any) -> DagOutcome:
    bag = DagBag(Path(confirm_by_label.__file__))
    assert bag.import_errors == {}
    given = {"dataset_id": dataset_id, "place": f"file://{folder}", **conf}
    return run_dag(bag.dags["confirm_by_label"], conf=given)


def parts(outcome: DagOutcome) -> list[dict[str, Any]]:
    return [task.xcom for name, task in outcome.tasks.items() if name.startswith("confirm_")]


def written(emulator: Emulator) -> list[str]:
    """The ids of all samples that were sent in writes."""
    bodies = [json.loads(record.body) for record in emulator.journal.select("PUT", "/data-annotations/samples")]
    return [sample["sample_id"] for body in bodies for sample in body["samples"]]


@pytest.mark.parametrize("kind", ["classification", "multi_label"])
def test_every_sample_is_written_by_exactly_one_task(
    kind: str, emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id = emulator.load_proposals(300, kind=kind, labels=["a", "b", "c"])
    outcome = run(dataset_id, tmp_path, min_score=0)
    assert outcome.state == "success", outcome.log
    assert outcome.tasks["list_labels"].xcom == ["a", "b", "c"]
    dataset = emulator.dataset(dataset_id)
    proposals = dataset.unconfirmed
    assert len(parts(outcome)) == 3
    for part in parts(outcome):
        assert part["seen"] == sum(part[name] for name in PARTS)
    sums = outcome.tasks["add_up"].xcom
    assert sums["confirmed"] == dataset.annotated == 300 - proposals
    assert len(written(emulator)) == len(set(written(emulator))) == dataset.annotated

    ledger = read_ledger(tmp_path / "ledger", outcome.run_id)
    assert ledger.verify() == []
    assert len({header.map_index for header, _ in ledger.entries()}) == 3
    names = dict(enumerate(["a", "b", "c"]))
    for header, entry in ledger.entries():
        assert entry.after[0]["name"] == names[header.map_index], "the part of its first label"
    assert len({entry.sample_id for _, entry in ledger.entries()}) == dataset.annotated


def test_what_scores_less_is_left_for_people(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(200, labels=["a", "b"])
    outcome = run(dataset_id, tmp_path, min_score=0.9)
    sums = outcome.tasks["add_up"].xcom
    dataset = emulator.dataset(dataset_id)
    assert (sums["seen"], sums["review"]) == (200, dataset.unconfirmed)
    assert 0 < sums["confirmed"] == dataset.annotated < 200


def test_a_task_that_fails_leaves_the_parts_of_the_others(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id = emulator.load_proposals(200, labels=["a", "b"])
    spoiled = next(
        sample_id
        for sample_id, raw in emulator.dataset(dataset_id).proposals.items()
        if raw["labels"][0]["name"] == "a"
    )
    emulator.faults.add("PUT", "/data-annotations/samples", "status", times=None, status=403, code="ModelArts.0108",
                        match=lambda call: spoiled.encode() in call.body)  # fmt: skip
    outcome = run(dataset_id, tmp_path, min_score=0)
    states = [outcome.tasks[f"confirm_{index}"].state for index in range(2)]
    assert states == ["failed", "success"]
    assert outcome.tasks["add_up"].state == "upstream_failed"
