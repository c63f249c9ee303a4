"""A pytest fixture: an emulator, and an Airflow connection to it.

Import it by name in a conftest.py::

    from airflow_provider_modelarts.emulator.pytest_plugin import modelarts_emulator
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.emulator.emulator import Emulator

CONNECTION_VARIABLE = "AIRFLOW_CONN_MODELARTS_DEFAULT"


@pytest.fixture
def modelarts_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Yield a running emulator that the connection `modelarts_default` leads to, for one test."""
    from airflow_provider_modelarts.emulator.emulator import Emulator

    with Emulator() as emulator:
        monkeypatch.setenv(CONNECTION_VARIABLE, emulator.connection_json)
        yield emulator
