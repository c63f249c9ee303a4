"""A real Airflow for the end-to-end tests: scheduler, triggerer, DAG processor and API server on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.airflow_processes import AirflowProcesses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def airflow_processes(tmp_path: Path) -> Iterator[AirflowProcesses]:
    """One running Airflow with the example DAGs and nothing else; all of it is stopped at the end."""
    with AirflowProcesses(tmp_path / "airflow") as airflow:
        yield airflow
