"""What the end-to-end tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

DIGITS = 1797


def processes_of(home: Path | str) -> list[str]:
    """Return the command lines of the running processes of the Airflow that lives in ``home``."""
    found = []
    for process in psutil.process_iter():
        try:
            # Airflow's processes run in its home; one that has given itself a title shows no environment.
            of_home = process.cwd() == str(home) or process.environ().get("AIRFLOW_HOME") == str(home)
            if of_home and process.pid != os.getpid():
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def outcome_of(emulator: Emulator, dataset_id: str) -> tuple[int, int]:
    """Return how many images have final labels, and how many still await a person."""
    dataset = emulator.dataset(dataset_id)
    return dataset.annotated, dataset.unconfirmed


def check_outcome(emulator: Emulator, dataset_id: str, result: dict[str, Any], *, labeled: int) -> None:
    """The numbers of a run on the digits, ``labeled`` of them before, are those that the service holds."""
    annotated, unconfirmed = outcome_of(emulator, dataset_id)
    assert result["seen"] == DIGITS - labeled
    assert result["confirmed"] == annotated - labeled
    assert result["review"] == unconfirmed
    assert result["seen"] == sum(result[part] for part in ("confirmed", "review", "left", "failed", "gone"))
    assert result["confirmed"] > 0
    assert result["review"] > 0
    assert emulator.journal.count("POST", "/tasks") == 1
    assert emulator.journal.count("POST", "/v3/auth/tokens") >= 1
