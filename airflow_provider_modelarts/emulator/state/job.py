"""What keeps a dataset busy for a while: creation, publication, version switch, import, export, synchronization."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator.state.task import Failure

CREATE, SYNC, PUBLISH, SWITCH, IMPORT, EXPORT = "create", "sync", "publish", "switch", "import", "export"
# Status of the dataset while a job of this kind runs (contract 6.1); an export does not show.
BUSY = {CREATE: 0, SYNC: 5, PUBLISH: 6, SWITCH: 7, IMPORT: 8}

# Words of a job's life, each up to a share of its duration (contract 6.6).
IMPORT_WORDS = ((0.1, "QUEUING"), (0.2, "STARTING"), (1.0, "RUNNING"))
EXPORT_WORDS = ((0.1, "INIT"), (1.0, "RUNNING"))
FAILED, COMPLETED, SUCCEEDED = "FAILED", "COMPLETED", "SUCCESSED"  # quirk 45: spelled so


@dataclass(eq=False)
class Job:
    """One job of a dataset, as a function of time.

    :param kind: one of the names above.
    :param started: epoch seconds; `duration` in seconds.
    :param request: what was asked for.
    :param finish: does what the job is about, at its end; not called if it fails.
    :param failure: known at the start; the job fails at its end.
    :param settled: its end has been dealt with.
    :param counts: of samples, by their key in answers; filled at the end.
    """

    job_id: str
    kind: str
    started: float
    duration: float
    request: dict[str, Any]
    finish: Callable[[Job], None]
    failure: Failure | None = None
    settled: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def ended(self) -> float:
        """Return when it ends or ended, epoch seconds."""
        return self.started + self.duration

    def is_over(self, now: float) -> bool:
        """Whether it has ended, well or badly."""
        return now >= self.ended()

    def settle(self) -> None:
        """Deal with its end, once."""
        if not self.settled:
            self.settled = True
            if self.failure is None:
                self.finish(self)

    def word(self, now: float) -> str:
        """Return the status as a word (contract 6.6)."""
        if self.is_over(now):
            good = SUCCEEDED if self.kind == EXPORT else COMPLETED
            return good if self.failure is None else FAILED
        share = (now - self.started) / self.duration
        words = EXPORT_WORDS if self.kind == EXPORT else IMPORT_WORDS
        return next(word for until, word in words if share < until)

    def elapsed(self, now: float) -> int:
        """Return how long it has run, or ran, in seconds."""
        return int(min(now, self.ended()) - self.started)

    def changed(self, now: float) -> int:
        """Return when it changed last, epoch milliseconds."""
        return int(min(now, self.ended()) * 1000)

    def error(self, now: float) -> dict[str, str]:
        """Return what is said of a failure, empty while there is none."""
        if self.failure is None or not self.is_over(now):
            return {}
        return {"error_code": self.failure.code, "error_msg": self.failure.message}
