"""A dataset, and start operators on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.operators.label_task import (
    ModelArtsStartLabelTaskOperator,
)
from tests.support.drive import Ending, drive

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


class Scene:
    """See the module."""

    def __init__(self, emulator: Emulator, clock: MovedClock) -> None:
        self.emulator, self.clock = emulator, clock
        emulator.task_seconds = 300
        self.dataset_id = emulator.load_digits(labeled=100)

    def operator(self, **parameters: Any) -> ModelArtsStartLabelTaskOperator:
        return ModelArtsStartLabelTaskOperator(task_id="start", **{"dataset_id": self.dataset_id, **parameters})

    def start(self, **parameters: Any) -> Ending:
        return drive(self.operator(**parameters), self.clock)

    @property
    def body(self) -> dict[str, Any]:
        """What the only start said."""
        (record,) = self.emulator.journal.select("POST", match=lambda record: record.path.endswith("/tasks"))
        found: dict[str, Any] = json.loads(record.body)
        return found

    @property
    def states(self) -> list[int]:
        return list(self.emulator.dataset(self.dataset_id).tasks.values())

    @property
    def stops(self) -> int:
        return self.emulator.journal.count("POST", "/stop")
