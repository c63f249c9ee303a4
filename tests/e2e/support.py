"""What the end-to-end tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path


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
