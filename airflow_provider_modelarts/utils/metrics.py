"""Counts and durations for Airflow's own metrics (StatsD or OpenTelemetry, as its ``[metrics]`` say)."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.utils.observation import Observation, Operation

log = logging.getLogger(__name__)


class Count(NamedTuple):
    """A counter: by which numbers of a result it grows.

    :param operation: the kind of task
    :param adds: the number of the result
    :param only_complete: count only the try that reached its end: each try finds the same samples again
    """

    operation: Operation
    adds: str
    only_complete: bool = False


COUNTERS: Mapping[str, Count] = {
    "modelarts.samples.confirmed": Count("confirm", "confirmed_now"),
    "modelarts.samples.review": Count("confirm", "review", only_complete=True),
    "modelarts.samples.failed": Count("confirm", "failed"),
    "modelarts.samples.unknown": Count("confirm", "unknown"),
    "modelarts.samples.restored": Count("revert", "restored"),
    "modelarts.samples.cleared": Count("revert", "cleared"),
}
"""Counters of samples. A preview counts nothing."""

THROTTLED = "modelarts.requests.throttled"
"""Counter of the answers by which the service asked for fewer requests."""

TIMERS: Mapping[Operation, str] = {
    "start": "modelarts.label_task.wait_seconds",
    "publish": "modelarts.publish.wait_seconds",
    "plan": "modelarts.plan.seconds",
    "confirm": "modelarts.confirm.seconds",
    "revert": "modelarts.revert.seconds",
}
"""How long a try waited, or worked."""

_reported: WeakKeyDictionary[ModelArtsClient, int] = WeakKeyDictionary()


def newly_throttled(client: ModelArtsClient) -> int:
    """Return how often the service has throttled a client since this was asked last."""
    total = client.throttled
    before = _reported.get(client, 0)
    _reported[client] = total
    return total - before


def counts_of(observation: Observation) -> dict[str, int]:
    """Return by how much each counter grows."""
    counts = {}
    for name, count in COUNTERS.items():
        is_due = observation.is_complete or not count.only_complete
        if count.operation != observation.operation or observation.preview or not is_due:
            continue
        counts[name] = int(observation.values.get(count.adds) or 0)
    return {**counts, THROTTLED: observation.throttled}


def emit_metrics(ti: Any, observation: Observation) -> None:
    """Send what a task has done to Airflow's metrics.

    The tags are ``dag_id`` and ``task_id``, as Airflow's own metrics of tasks have them. Datasets, runs and labels are
    none: each value of a tag is a time series of its own in the monitoring.

    :param ti: the task instance
    """
    stats = _stats()
    if stats is None:
        return
    tags = {"dag_id": ti.dag_id, "task_id": ti.task_id}
    for name, number in counts_of(observation).items():
        stats.incr(name, number, tags=tags)
    if observation.seconds is not None:
        # A number would be milliseconds in one backend and seconds in another.
        stats.timing(TIMERS[observation.operation], timedelta(seconds=observation.seconds), tags=tags)


def _stats() -> Any:
    """Return Airflow's metrics: a module since 3.3, a class before; None where neither is found."""
    try:
        from airflow.sdk.observability import stats
    except ImportError:
        log.debug("This Airflow has no airflow.sdk.observability.stats: nothing is sent to its metrics.")
        return None
    return stats if hasattr(stats, "incr") else stats.Stats
