"""What a busy dataset refuses, and how a test lets a job fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.state.job import BUSY, IMPORT, PUBLISH, SWITCH, SYNC
from airflow_provider_modelarts.emulator.state.task import Failure

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call
    from airflow_provider_modelarts.emulator.state.dataset import Dataset

# Contract 7.3, "dataset busy": by status of the dataset, what publications, imports, synchronizations and version
# switches are refused with.
REFUSALS = {
    BUSY[PUBLISH]: "ModelArts.4343",
    BUSY[SWITCH]: "ModelArts.4349",
    BUSY[SYNC]: "ModelArts.4355",
    BUSY[IMPORT]: "ModelArts.4356",
}


def refuse_if_busy(dataset: Dataset) -> None:
    """Refuse a job that cannot run beside the present one.

    :raises Refusal: 400 with the code of what the dataset is busy with.
    """
    if dataset.status in REFUSALS:
        raise refuse(REFUSALS[dataset.status], dataset.dataset_id)


def asked_failure(call: Call) -> Failure | None:
    """Return why the job that a request starts will fail, if the injected fault `fail_task` says so."""
    return Failure(**call.fault_args) if call.fault == "fail_task" else None
