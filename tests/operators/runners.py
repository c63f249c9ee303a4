"""Run operators on a dataset in the emulator: some plan, confirm and revert, others start labeling tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
    ModelArtsRevertConfirmationOperator,
)
from tests.support.operator_driver import Ending, StandInTaskInstance, drive, drive_try, moment

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.labeling.ledger.reader import Ledger
    from tests.support.clock import MovedClock


WRITE = "/data-annotations/samples"
RUN_ID = "manual__2026-11-20T11:00:00+00:00"
SUMS = ("confirmed", "review", "left", "failed", "gone")


class ConfirmRunner:
    """Plans, confirms and reverts, in tries of one run."""

    def __init__(self, emulator: Emulator, clock: MovedClock, folder: Path, samples: int = 250) -> None:
        self.emulator, self.clock, self.folder = emulator, clock, folder
        self.dataset_id = emulator.load_proposals(samples, hard_share=0.2)
        self.run_started = moment(clock)
        self.run_id = RUN_ID
        self.plan_uri = f"file://{folder}/plans/{RUN_ID}.jsonl"
        self.ledger_uri = f"file://{folder}/ledger"

    def plan(self, *, try_number: int = 1, max_tries: int = 3, map_index: int = -1, **parameters: Any) -> Ending:
        given = {"dataset_id": self.dataset_id, "plan_uri": self.plan_uri, **parameters}
        operator = ModelArtsPlanConfirmationOperator(task_id="plan", **given)
        return self.run(operator, try_number, max_tries, map_index)

    def confirm(self, *, try_number: int = 1, max_tries: int = 3, **parameters: Any) -> Ending:
        given = {"dataset_id": self.dataset_id, **parameters}
        return self.run(ModelArtsConfirmSamplesOperator(task_id="confirm", **given), try_number, max_tries)

    def revert(self, **parameters: Any) -> Ending:
        given = {"ledger_uri": self.ledger_uri, "ledger_run_id": RUN_ID, **parameters}
        return self.run(ModelArtsRevertConfirmationOperator(task_id="revert", **given), 1, 3)

    def run(self, operator: BaseOperator, try_number: int, max_tries: int, map_index: int = -1) -> Ending:
        ti = StandInTaskInstance(
            start_date=moment(self.clock),
            run_id=self.run_id,
            task_id=operator.task_id,
            map_index=map_index,
            try_number=try_number,
            max_tries=max_tries,
        )
        return drive_try(operator, self.clock, ti, run_started=self.run_started)

    def begin_run(self, run_id: str) -> None:
        """Let a day pass; what is run from then on belongs to another run, with a plan of its own."""
        self.clock.advance(86400)
        self.run_started = moment(self.clock)
        self.run_id = run_id
        self.plan_uri = f"file://{self.folder}/plans/{run_id}.jsonl"

    @property
    def dataset(self) -> Any:
        return self.emulator.dataset(self.dataset_id)

    @property
    def writes(self) -> int:
        return self.emulator.journal.count("PUT", WRITE) + self.emulator.journal.count("POST", WRITE)

    @property
    def final(self) -> dict[str, Any]:
        """The final labels of every sample, by id."""
        return {sample_id: self.dataset.labels_of(sample_id) for sample_id in self.dataset.samples}

    def files(self, kind: str = "") -> list[Path]:
        """The stored plans and ledger parts whose names hold ``kind``."""
        return sorted(path for path in self.folder.rglob("*.jsonl") if kind in path.name)

    def plans(self) -> list[Path]:
        return self.files(".plan.jsonl")

    def parts(self) -> list[Path]:
        return [path for path in self.files(".try") if ".plan." not in path.name]

    def entries(self) -> list[dict[str, Any]]:
        """What the ledger says of samples, in the order of its parts."""
        return [json.loads(line) for part in self.parts() for line in part.read_text().splitlines()[1:-1]]

    def headers(self) -> list[Any]:
        """The first lines of the ledger's chains, one for each try that wrote."""
        return [chain.first() for chain in self._ledger().chains]

    def verify(self) -> None:
        """The ledger's chains are whole, and each sample that it says is confirmed is so."""
        ledger = self._ledger()
        assert ledger.verify() == []
        for _, entry in ledger.entries():
            if entry.fate == "confirmed":
                assert self.final[entry.sample_id], entry

    def _ledger(self) -> Ledger:
        return read_ledger(Path(self.ledger_uri.removeprefix("file://")), self.run_id)


def check_sums(counts: dict[str, Any]) -> None:
    assert counts["seen"] == sum(counts[name] for name in SUMS)


class StartRunner:
    """Starts labeling tasks."""

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
