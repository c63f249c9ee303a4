"""The DAG that takes a run back: what it shows is what it does, and nothing is written before the approval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from example_dags import auto_label_images, confirm_with_approval, revert_confirmation
from tests.support.dag_runner import DagOutcome, run_dag

if TYPE_CHECKING:
    from types import ModuleType

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")


def run(module: ModuleType, **conf: Any) -> DagOutcome:
    file = Path(str(module.__file__))
    bag = DagBag(file)
    assert bag.import_errors == {}
    dag = bag.dags[file.stem]
    return run_dag(dag, conf=conf, approved="approve" if "approve" in dag.task_ids else None)


def confirmed(emulator: Emulator, folder: Path) -> tuple[str, str]:
    """Confirm by the example with an approval; return dataset and run."""
    dataset_id = emulator.load_proposals(200, hard_share=0.2)
    outcome = run(confirm_with_approval, dataset_id=dataset_id, place=f"file://{folder}")
    assert outcome.state == "success", outcome.log
    assert emulator.dataset(dataset_id).annotated > 0
    return dataset_id, outcome.run_id


def test_what_the_preview_counts_is_taken_back(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    dataset_id, run_id = confirmed(emulator, tmp_path)
    annotated = emulator.dataset(dataset_id).annotated
    outcome = run(revert_confirmation, ledger_uri=f"file://{tmp_path}/ledger", run_id=run_id)
    assert outcome.state == "success", outcome.log
    preview, reverted = outcome.tasks["preview"].xcom, outcome.tasks["revert"].xcom
    assert (preview["preview"], reverted["preview"]) == (True, False)
    assert preview["cleared"] == reverted["cleared"] == annotated
    assert "would be reverted" in outcome.tasks["preview"].xcoms["summary"]
    assert emulator.dataset(dataset_id).annotated == 0


def test_what_a_person_has_changed_since_stays(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    dataset_id, run_id = confirmed(emulator, tmp_path)
    dataset = emulator.dataset(dataset_id)
    corrected = next(one for one in dataset.samples if dataset.labels_of(one))
    dataset.edit(corrected, ["by a person"])
    outcome = run(revert_confirmation, ledger_uri=f"file://{tmp_path}/ledger", run_id=run_id)
    assert outcome.tasks["preview"].xcom["changed"] == outcome.tasks["revert"].xcom["changed"] == 1
    assert dataset.names_of(corrected) == ["by a person"]
    assert dataset.annotated == 1


@pytest.mark.parametrize("run_id", ["", "no-such-run"])
def test_a_run_that_is_not_in_the_ledger_ends_before_anybody_is_asked(
    run_id: str, emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id, _ = confirmed(emulator, tmp_path)
    annotated = emulator.dataset(dataset_id).annotated
    outcome = run(revert_confirmation, ledger_uri=f"file://{tmp_path}/ledger", run_id=run_id)
    states = {name: task.state for name, task in outcome.tasks.items()}
    assert states == {"preview": "failed", "approve": "upstream_failed", "revert": "upstream_failed"}
    assert emulator.dataset(dataset_id).annotated == annotated


def test_the_ledger_of_the_whole_workflow_is_the_one_it_reads_by_default(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELARTS_LEDGER_URI", f"file://{tmp_path}/ledger")
    emulator.task_seconds = 60
    dataset_id = emulator.load_digits(labeled=150)
    monkeypatch.setenv("MODELARTS_DATASET_ID", dataset_id)
    labeled = run(auto_label_images)
    assert labeled.state == "success", labeled.log
    outcome = run(revert_confirmation, run_id=labeled.run_id)
    assert outcome.state == "success", outcome.log
    assert outcome.tasks["revert"].xcom["cleared"] == labeled.tasks["confirm"].xcom["confirmed"] > 0
    assert emulator.dataset(dataset_id).annotated == 150
