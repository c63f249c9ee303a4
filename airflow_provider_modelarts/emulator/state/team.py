"""Team labeling tasks: a copy of each sample per member (contract 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RUNNING = 1  # contract 5.1, task status


@dataclass(eq=False)
class Copy:
    """One member's copy of a sample.

    :param accepted: its labels were accepted; the member cannot edit it any more.
    """

    sample_id: str
    worker_id: str
    labels: list[dict[str, Any]] = field(default_factory=list)
    accepted: bool = False
    author: str = ""
    metadata: dict[str, Any] | None = None
    usage: str | None = None


@dataclass(eq=False)
class TeamTask:
    """One team labeling task.

    :param workers: e-mail address of each member by worker id.
    :param copies: by sample id and worker id.
    """

    task_id: str
    name: str
    created: float
    workforce_id: str
    workers: dict[str, str]
    copies: dict[tuple[str, str], Copy]
    status: int = RUNNING
