"""Reads the emulator's journal as the five steps of the documented workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.emulator import Record

STEPS = ("token", "start", "wait", "list", "confirm")

# Which requests belong to which step: method and the end of the path, the first row that fits.
_REQUESTS = (
    ("token", "POST", "/v3/auth/tokens"),
    ("start", "POST", "/tasks"),
    ("wait", "GET", "/tasks/{}"),
    ("list", "GET", "/auto-annotations/samples"),
    ("confirm", "PUT", "/data-annotations/samples"),
)


@dataclass(frozen=True)
class Step:
    """What one step cost.

    :param seconds: the time from each of its requests to the next request of the workflow, or to the end.
    :param requests: how many there were.
    """

    name: str
    seconds: float
    requests: int


def step_of(record: Record) -> str | None:
    """Return the step that a request belongs to; None for the looks around it (dataset, statistics)."""
    for step, method, end in _REQUESTS:
        path = record.path.rsplit("/", 1)[0] + "/{}" if end.endswith("{}") else record.path
        if record.method == method and path.endswith(end):
            return step
    return None


def steps(records: Iterable[Record], ended: float) -> list[Step]:
    """Return the five steps.

    :param records: the journal.
    :param ended: when the run ended, in epoch seconds.
    """
    seconds = dict.fromkeys(STEPS, 0.0)
    requests = dict.fromkeys(STEPS, 0)
    known = [(step, record.time) for record in records if (step := step_of(record)) is not None]
    ends = [time for _, time in known[1:]] + [ended]
    for (step, time), end in zip(known, ends, strict=True):
        seconds[step] += max(0.0, end - time)
        requests[step] += 1
    return [Step(name, seconds[name], requests[name]) for name in STEPS]
