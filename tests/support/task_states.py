"""Stands for what Airflow answers to the question which states tasks are in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

if TYPE_CHECKING:
    import pytest


class TaskStates:
    """Answers with ``states`` from now on, and notes who asked.

    :param states: by task id, of the run ``run_id``; none at all: Airflow knows no such task
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_id: str = "run", **states: str | None) -> None:
        self.run_id, self.states = run_id, dict(states)
        self.asked: list[dict[str, Any]] = []
        """The questions."""
        self.asked_in: list[threading.Thread] = []
        """The threads that asked them."""
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(self._answer))

    def _answer(self, **question: Any) -> dict[str, dict[str, Any]]:
        self.asked.append(question)
        self.asked_in.append(threading.current_thread())
        return {self.run_id: self.states} if self.states else {}
