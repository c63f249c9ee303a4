"""Tells the DAGs that are scheduled on a dataset what has changed in it: the ``extra`` of asset events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.labeling.storage.path import stored_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import BaseOperator, Context

    from airflow_provider_modelarts.utils.observation import Observation, Operation

_CONFIRMATION = ("seen", "confirmed", "review", "left", "failed", "gone")

EVENT_VALUES: Mapping[Operation, tuple[str, ...]] = {
    "start": ("label_task_id", "total_sample_count", "annotated_sample_count", "unconfirmed_sample_count"),
    "plan": _CONFIRMATION,
    "confirm": _CONFIRMATION,
    "revert": ("seen", "restored", "cleared", "already", "changed", "gone", "failed", "unknown"),
    "publish": ("version_id", "version_name", "samples", "labeled"),
}
"""What of a result goes into an event, by kind of task."""

_PLACES = {"plan": "plan_uri", "own_plan": "plan_uri", "ledger": "ledger_uri", "manifest": "manifest_uri"}


def event_extra(observation: Observation) -> dict[str, Any]:
    """Return the ``extra`` of an event: JSON primitives, no secrets, some hundred bytes."""
    values = {name: observation.values.get(name) for name in EVENT_VALUES[observation.operation]}
    single = {role: uris[0] for role, uris in observation.places.items() if len(uris) == 1}
    places = {_PLACES[role]: without_queries(stored_uri(uri)) for role, uri in single.items()}
    dataset_ids = observation.dataset_ids
    return {
        "operation": observation.operation,
        "dataset_id": dataset_ids[0] if len(dataset_ids) == 1 else None,
        "preview": observation.preview,
        **values,
        **places,
    }


def fill_outlet_events(operator: BaseOperator, context: Context, observation: Observation) -> None:
    """Fill the event of each asset that the author of the DAG named as an outlet of the task.

    An alias gets the asset of the dataset itself, so that a DAG whose datasets are known only when it runs needs no
    other. Airflow sends the events if the task succeeds.

    A version becomes a partition of the asset only in a DAG whose schedule says that its tasks choose partitions
    (``PartitionedAtRuntime``, Airflow 3.3): an event with a partition starts no DAG that is scheduled on the asset as
    such.
    """
    from airflow.sdk import Asset, AssetAlias
    from airflow.sdk.definitions.asset import AssetRef

    extra = event_extra(observation)
    for outlet in operator.outlets:
        if not isinstance(outlet, (Asset, AssetAlias, AssetRef)):
            continue
        event: Any = context["outlet_events"][outlet]
        if isinstance(outlet, AssetAlias):
            for uri in observation.datasets:
                event.add(Asset(uri=str(uri)), extra={**extra, "dataset_id": uri.dataset_id})
            continue
        event.extra.update(extra)
        if observation.version_id and chooses_partitions(operator):
            event.add_partitions(observation.version_id)


def chooses_partitions(operator: BaseOperator) -> bool:
    """Whether the schedule of the operator's DAG leaves it to the tasks to name partitions."""
    return bool(getattr(operator.dag.timetable, "partitioned_at_runtime", False))
