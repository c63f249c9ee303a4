"""A pytest fixture: an emulator, and an Airflow connection to it.

Import it by name in a conftest.py::

    from airflow_provider_modelarts.emulator.pytest_plugin import modelarts_emulator
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.emulator.emulator import Emulator


@pytest.fixture
def modelarts_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Yield a running emulator that the connection `modelarts_default` leads to, for one test."""
    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.emulator.emulator import CONNECTION_VARIABLE

    _forget_clients()
    with Emulator() as emulator:
        monkeypatch.setenv(CONNECTION_VARIABLE, emulator.connection_json)
        yield emulator
        _forget_clients()


def _forget_clients() -> None:
    """Make the hook, if it is loaded, read its connection again: it keeps one client for a whole process."""
    hook_module = sys.modules.get("airflow_provider_modelarts.hooks.modelarts")
    if hook_module is not None:
        hook_module.clear_clients()
