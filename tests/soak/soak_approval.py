"""Plan, approval by a person, apply, in an Airflow of its own: the person answers by REST."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from demo.airflow_processes import AirflowProcesses
from tests.support.contract import ContractCheck
from tests.support.leaks import leaks_in_folder

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

DAG_ID = "confirm_with_approval"


def let_the_scheduler_see(airflow: AirflowProcesses) -> None:
    """Take a person's time: the scheduler fails a task that is answered before it knows that it paused."""
    beats: set[str] = set()

    def beat_thrice() -> bool:
        beats.add(airflow.request("GET", "/api/v2/monitor/health")["scheduler"]["latest_scheduler_heartbeat"])
        return len(beats) > 2

    airflow.wait_until(beat_thrice, 300, "the scheduler does not beat")


class Asking:
    """A run of the DAG in a real Airflow that waits for a person."""

    def __init__(self, airflow: AirflowProcesses, dataset_id: str, place: Path) -> None:
        self.airflow = airflow
        conf = {"dataset_id": dataset_id, "place": f"file://{place}"}
        airflow.wait_until(lambda: airflow.knows_dag(DAG_ID), 300, "the DAG is not read")
        airflow.request("PATCH", f"/api/v2/dags/{DAG_ID}", {"is_paused": False})
        body = {"logical_date": None, "conf": conf}
        self.run_id: str = airflow.request("POST", f"/api/v2/dags/{DAG_ID}/dagRuns", body)["dag_run_id"]

    @property
    def path(self) -> str:
        return f"/api/v2/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/approve/-1/hitlDetails"

    def question(self) -> dict[str, Any]:
        """Wait until a person is asked; return what is shown."""
        self.airflow.wait_until(
            lambda: self.airflow.task_state(DAG_ID, self.run_id, "approve") in ("awaiting_input", "deferred"),
            300,
            "nobody is asked",
        )
        let_the_scheduler_see(self.airflow)
        found: dict[str, Any] = self.airflow.request("GET", self.path)
        return found

    def answer(self, option: str) -> str:
        """Answer, and return how the run ended."""
        self.airflow.request("PATCH", self.path, {"chosen_options": [option], "params_input": {}})
        self.airflow.wait_until(
            lambda: self.airflow.run_state(DAG_ID, self.run_id) in ("success", "failed"), 300, "the run does not end"
        )
        return self.airflow.run_state(DAG_ID, self.run_id)


def test_a_person_is_asked_and_what_was_approved_is_written(
    emulator: Emulator, tmp_path: Path, record_property: Any
) -> None:
    check = ContractCheck()
    emulator.observers.append(check)
    begin = time.monotonic()
    dataset_id = emulator.load_proposals(300, hard_share=0.2)
    place = tmp_path / "place"
    settings = {"AIRFLOW_CONN_MODELARTS_DEFAULT": emulator.connection_json}
    with AirflowProcesses(tmp_path / "home", settings=settings) as airflow:
        rejected = Asking(airflow, dataset_id, place)
        assert "would be confirmed" in rejected.question()["body"]
        assert rejected.answer("Reject") == "success"
        assert airflow.task_state(DAG_ID, rejected.run_id, "confirm") == "skipped"
        assert emulator.dataset(dataset_id).annotated == 0

        approved = Asking(airflow, dataset_id, place)
        question = approved.question()
        assert len(question["body"].encode()) <= 8192
        changed = next(iter(emulator.dataset(dataset_id).proposals))
        emulator.dataset(dataset_id).edit(changed, ["by hand"])
        assert approved.answer("Approve") == "success"
        counts = airflow.xcom(DAG_ID, approved.run_id, "confirm")

    assert emulator.dataset(dataset_id).names_of(changed) == ["by hand"]
    assert counts["confirmed"] == emulator.dataset(dataset_id).annotated - 1 > 0
    ledger = read_ledger(place / "ledger", approved.run_id)
    assert ledger.verify() == []
    (approver,) = {header.approved_by for header, _ in ledger.entries()}
    assert approver
    assert leaks_in_folder(place, {str(number): secret for number, secret in enumerate(emulator.secrets)}) == {}
    assert not read_ledger(place / "ledger", rejected.run_id).chains
    assert check.problems == []
    record_property("story", f"{time.monotonic() - begin:.0f} s, {counts['confirmed']} confirmed")
