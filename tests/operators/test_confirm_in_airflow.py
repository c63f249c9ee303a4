"""Confirmations in Airflow itself: what lies about afterwards, and the link on the page of the task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.links import ModelArtsDatasetLink
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
    ModelArtsRevertConfirmationOperator,
)
from tests.operators.runners import WRITE
from tests.support.dag_runner import run_operator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator


@pytest.mark.usefixtures("airflow_db")
def test_plan_ledger_and_xcoms_hold_no_presigned_address(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(60)
    sample_id = next(iter(emulator.dataset(dataset_id).proposals))
    emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator,
        dataset_id=dataset_id,
        ledger_uri=f"file://{tmp_path}",
        policy={"min_score": "{{ 0.1 }}", "min_samples": 1},
        on_partial_failure="warn",
    )
    assert run.state == "success", log
    served = b"".join(record.response for record in emulator.journal)
    assert any(secret.encode() in served for secret in emulator.secrets), "the service does serve signatures"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    for text in (*(path.read_text() for path in files), json.dumps(run.xcoms), json.dumps(run.rendered), log):
        assert not any(secret in text for secret in emulator.secrets)
        assert "Signature=" not in text
    assert any(b"s3://" in path.read_bytes() for path in files)


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("name", ["rose \ud83d", "\udc00 tulip", "nothing \x00"])
def test_a_label_whose_name_no_database_takes_costs_no_task(emulator: Emulator, tmp_path: Path, name: str) -> None:
    dataset_id = emulator.load_proposals(40)
    dataset = emulator.dataset(dataset_id)
    raws = list(dataset.proposals.values())
    raws[3] = {**raws[3], "labels": [{**raws[3]["labels"][0], "name": name}]}
    dataset.propose(raws, keep=False)
    given: dict[str, Any] = {"dataset_id": dataset_id, "policy": {"audit_share": 0, "hard_examples": "confirm"}}
    run, log = run_operator(ModelArtsPlanConfirmationOperator, plan_uri=f"file://{tmp_path}/plan.jsonl", **given)
    assert run.state == "success", log
    shown = name.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    assert run.xcom["by_label"][shown] == 1
    assert "**40** would be confirmed" in run.xcoms["summary"]
    run, log = run_operator(
        ModelArtsConfirmSamplesOperator, ledger_uri=f"file://{tmp_path}/ledger", on_partial_failure="warn", **given
    )
    assert run.state == "success", log
    # The service refuses what is no UTF-8; then it is that one sample.
    refused = "\x00" not in name
    assert (run.xcom["confirmed"], run.xcom["failed"]) == (40 - refused, refused)
    parts = [path.read_text().splitlines() for path in tmp_path.rglob("*.try*.jsonl") if ".plan." not in path.name]
    entries = [json.loads(line) for part in parts for line in part[1:-1]]
    assert [one["after"][0]["name"] for one in entries if one["sample_id"] == raws[3]["sample_id"]] == [name]
    run, log = run_operator(
        ModelArtsRevertConfirmationOperator,
        ledger_uri=f"file://{tmp_path}/ledger",
        ledger_run_id=json.loads(parts[0][0])["run_id"],
    )
    assert run.state == "success", log
    assert run.xcom["cleared"] == 40 - refused


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("operator", [ModelArtsPlanConfirmationOperator, ModelArtsConfirmSamplesOperator])
def test_the_tasks_page_leads_to_what_is_left_for_people(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, operator: Any
) -> None:
    connection = emulator.connection
    connection["extra"]["console"] = "https://console.example.com/datasets/{dataset_id}"
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(connection))
    dataset_id = emulator.load_proposals(5)
    given = {"plan_uri": f"file://{tmp_path}/plan.jsonl"} if operator is ModelArtsPlanConfirmationOperator else {}
    run, log = run_operator(operator, dataset_id=dataset_id, **given)
    assert run.state == "success", log
    assert run.xcoms[ModelArtsDatasetLink().xcom_key] == f"https://console.example.com/datasets/{dataset_id}"
