"""Label, draw an audit, let a team answer it, and confirm as far as that proves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.evidence.evidence_file import read_evidence
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.labeling.policy import AUDITED
from example_dags import confirm_with_evidence
from tests.support.dag_runner import DagOutcome, run_dag
from tests.support.team_member import make_team

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

pytestmark = pytest.mark.usefixtures("airflow_db")
TARGET = 0.9


def run(dataset_id: str, workforce_id: str, folder: Path, **conf: Any) -> DagOutcome:
    bag = DagBag(Path(confirm_with_evidence.__file__))
    assert bag.import_errors == {}
    given = {"dataset_id": dataset_id, "workforce_id": workforce_id, "place": f"file://{folder}", **conf}
    return run_dag(bag.dags["confirm_with_evidence"], conf=given)


def test_digits_are_confirmed_as_far_as_a_team_proves_them(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    emulator.job_seconds = emulator.team_seconds = 5
    dataset_id = emulator.load_digits()
    truth = emulator.truth(dataset_id)
    workforce_id = make_team(emulator, ModelArtsHook().client)
    outcome = run(dataset_id, workforce_id, tmp_path, target=TARGET, audit_size=80)
    assert {task.state for task in outcome.tasks.values()} == {"success"}, outcome.log
    evaluated, confirmed = outcome.tasks["evaluate"].xcom, outcome.tasks["confirm"].xcom
    plan = read_plan(tmp_path / "plans" / f"{outcome.run_id}.jsonl")
    evidence = read_evidence(tmp_path / "evidence" / f"{outcome.run_id}.jsonl")

    # What the report says is what a recount of plan, ledger and truth says.
    drawn = [row for row, decision in plan.samples() if decision == AUDITED]
    wrong = sum(truth[row.sample_id] != row.label_names[0] for row in drawn)
    assert (evaluated["drawn"], evaluated["answered"], evaluated["wrong"]) == (len(drawn), len(drawn), wrong)
    entries = list(read_ledger(tmp_path / "ledger", outcome.run_id).entries())
    assert confirmed["confirmed"] == evaluated["confirmable"] == len(entries) > 0
    assert {header.plan_digest for header, _ in entries} == {read_plan_digest(confirmed["plan_uri"])}
    taken = Counter(entry.after[0]["name"] for _, entry in entries)
    assert set(taken) == set(evaluated["min_score_by_label"]) == set(evidence.min_score_by_label)

    # Of each label that is confirmed the target is reached.
    faults = Counter(entry.after[0]["name"] for _, entry in entries if truth[entry.sample_id] != entry.after[0]["name"])
    faults.update(row.label_names[0] for row in drawn if truth[row.sample_id] != row.label_names[0])
    for one in evidence.labels:
        if one.proof.threshold is not None:
            assert faults[one.label] <= (1 - TARGET) * one.proof.counts.total
    # What is not proven stays proposed, and what the team labeled is final as the team says.
    dataset = emulator.dataset(dataset_id)
    assert dataset.unconfirmed == len(plan) - plan.counts["review"] - confirmed["confirmed"]
    assert all(dataset.names_of(row.sample_id) == [truth[row.sample_id]] for row in drawn)


def read_plan_digest(plan_uri: str) -> str:
    return read_plan(Path(plan_uri.removeprefix("file://"))).digest


def test_an_audit_that_is_too_small_confirms_nothing(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    emulator.job_seconds = emulator.team_seconds = 5
    dataset_id = emulator.load_digits()
    workforce_id = make_team(emulator, ModelArtsHook().client)
    outcome = run(dataset_id, workforce_id, tmp_path, audit_size=5)
    assert {task.state for task in outcome.tasks.values()} == {"success"}, outcome.log
    assert outcome.tasks["evaluate"].xcom["min_score_by_label"] == {}
    assert "more answers are needed" in outcome.tasks["evaluate"].xcoms["summary"]
    assert outcome.tasks["confirm"].xcom["confirmed"] == 0
