"""Plan, approval by a person who says yes at once, apply.

``tests/soak/soak_approval.py`` runs it in real processes, where a person is asked and answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from example_dags import confirm_with_approval
from tests.support.dag_runner import APPROVER, DagOutcome, run_dag

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

DAG_ID = "confirm_with_approval"


def run(dataset_id: str, folder: Path, **conf: Any) -> DagOutcome:
    bag = DagBag(Path(confirm_with_approval.__file__))
    assert bag.import_errors == {}
    given = {"dataset_id": dataset_id, "place": f"file://{folder}", **conf}
    return run_dag(bag.dags[DAG_ID], conf=given, approved="approve")


@pytest.mark.usefixtures("airflow_db")
def test_what_was_planned_is_applied(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(300, hard_share=0.2)
    outcome = run(dataset_id, tmp_path)
    assert outcome.state == "success", outcome.log
    planned, applied = outcome.tasks["plan"].xcom, outcome.tasks["confirm"].xcom
    assert 0 < applied["confirmed"] == planned["confirmed"] < 300
    assert applied["plan_uri"] == planned["plan_uri"] == f"file://{tmp_path}/plans/{outcome.run_id}.jsonl"
    assert emulator.dataset(dataset_id).annotated == applied["confirmed"]
    plan = read_plan(tmp_path / "plans" / f"{outcome.run_id}.jsonl")
    ledger = read_ledger(tmp_path / "ledger", outcome.run_id)
    assert ledger.verify() == []
    assert {header.plan_digest for header, _ in ledger.entries()} == {plan.digest}
    assert {header.approved_by for header, _ in ledger.entries()} == {APPROVER}


@pytest.mark.usefixtures("airflow_db")
def test_an_approval_that_was_passed_over_is_none(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody marks the task that asks as successful."""
    monkeypatch.setattr("tests.support.dag_runner._approve", lambda context: None)
    dataset_id = emulator.load_proposals(100)
    outcome = run(dataset_id, tmp_path)
    assert outcome.tasks["confirm"].state == "failed"
    assert "approval is None: " in str(outcome.tasks["confirm"].error)
    assert emulator.dataset(dataset_id).annotated == 0


@pytest.mark.usefixtures("airflow_db")
def test_nobody_is_asked_to_approve_nothing(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(60, hard_share=1)
    outcome = run(dataset_id, tmp_path, min_score=1)
    assert {name: task.state for name, task in outcome.tasks.items()} == dict.fromkeys(
        ("plan", "approve", "confirm"), "skipped"
    ), outcome.log
    assert outcome.tasks["plan"].xcom["confirmed"] == 0
    assert "**0** would be confirmed" in outcome.tasks["plan"].xcoms["summary"]
    assert emulator.dataset(dataset_id).annotated == 0


@pytest.mark.usefixtures("airflow_db")
def test_a_machine_that_sees_one_label_everywhere_asks_nobody(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dataset_id = emulator.load_proposals(100, labels=["rose"])
    outcome = run(dataset_id, tmp_path, min_score=0)
    assert {name: task.state for name, task in outcome.tasks.items()} == {
        "plan": "failed",
        "approve": "upstream_failed",
        "confirm": "upstream_failed",
    }
    assert "max_share_per_label=0.9" in outcome.log
    assert "would be confirmed" in outcome.tasks["plan"].xcoms["summary"]
    assert emulator.dataset(dataset_id).annotated == 0
