"""What the tests of the hook share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.emulator import Emulator


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were looked up, in order."""
    seen: list[str] = []
    look_up = BaseHook.get_connection

    def noted(conn_id: str) -> object:
        seen.append(conn_id)
        return look_up(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", noted)
    return seen


@pytest.fixture
def other() -> Iterator[Emulator]:
    """A second service, which knows none of the first one's users, datasets and labeling tasks."""
    from airflow_provider_modelarts.emulator import Emulator

    with Emulator(seed=77) as second:
        yield second
