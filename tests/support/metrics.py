"""Takes what a test sends to Airflow's metrics, in the place of StatsD."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta


@dataclass
class RecordedMetrics:
    """What came of this package, by name."""

    counts: Counter[str] = field(default_factory=Counter)
    times: dict[str, timedelta] = field(default_factory=dict)
    tags: list[dict[str, Any]] = field(default_factory=list)
    """Each set of tags that came, once."""

    def note(self, tags: dict[str, Any] | None) -> None:
        if tags not in self.tags:
            self.tags.append(tags or {})


@contextlib.contextmanager
def record_metrics() -> Iterator[RecordedMetrics]:
    """Have Airflow's metrics of this process recorded."""
    recorded = RecordedMetrics()

    class Recorder(NoStatsLogger):
        """As Airflow's own loggers, by the same methods."""

        @classmethod
        def incr(cls, stat: str, count: int = 1, rate: float = 1, *, tags: dict[str, Any] | None = None) -> None:
            if stat.startswith("modelarts."):
                recorded.counts[stat] += count
                recorded.note(tags)

        @classmethod
        def timing(cls, stat: str, dt: Any, *, tags: dict[str, Any] | None = None) -> None:
            if stat.startswith("modelarts."):
                recorded.times[stat] = dt
                recorded.note(tags)

    _initialize(Recorder)
    try:
        yield recorded
    finally:
        _initialize(NoStatsLogger)


def _initialize(factory: type[NoStatsLogger]) -> None:
    if hasattr(stats, "initialize"):
        stats.initialize(factory=factory, export_legacy_names=True)
    else:  # before Airflow 3.3 a class takes them
        stats.Stats.initialize(factory=factory)
