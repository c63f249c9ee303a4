"""Lineage of the operators for OpenLineage: which datasets and files a task read and wrote, and how many rows.

Nothing here needs OpenLineage but :func:`operator_lineage`, which its Airflow provider alone leads to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.labeling.storage.path import display_uri
from airflow_provider_modelarts.utils.observation import bounds_by_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_modelarts.assets import DatasetUri
    from airflow_provider_modelarts.utils.observation import Observation, Operation


class Flow(NamedTuple):
    """What one kind of task reads and writes, by role.

    :param inputs: ``dataset``, or a place of the observation
    :param outputs: the same, or ``version``; with the numbers of the result that add up to the rows
        written by this try, if they are known
    """

    inputs: tuple[str, ...]
    outputs: Mapping[str, tuple[str, ...]]


FLOWS: Mapping[Operation, Flow] = {
    "start": Flow(("dataset",), {"dataset": ("unconfirmed_sample_count",)}),
    "plan": Flow(("dataset",), {"own_plan": ("seen",)}),
    "confirm": Flow(
        ("dataset", "plan"),
        {"dataset": ("confirmed_now",), "own_plan": ("seen",), "ledger": ()},
    ),
    "revert": Flow(("ledger", "plan"), {"dataset": ("restored", "cleared")}),
    "publish": Flow(("dataset",), {"version": ("samples",), "manifest": ("samples",)}),
}
"""What flows where, by kind of task. A task that only previews writes nothing."""

_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Other spellings of schemes, and the one that OpenLineage's naming has."""


@dataclass(frozen=True)
class LineageNode:
    """One dataset of lineage.

    :param namespace: where it is, as OpenLineage's naming says
    :param name: within the namespace
    :param rows: rows written; None: not known, or it was read
    :param version: the version that it is
    :param bounds: for each label, what evidence says of its proposals
    """

    namespace: str
    name: str
    rows: int | None = None
    version: str | None = None
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def lineage_of(observation: Observation) -> tuple[list[LineageNode], list[LineageNode]]:
    """Return what a task read, and what it wrote."""
    flow = FLOWS[observation.operation]
    bounds = bounds_by_label(observation.values)
    inputs = [
        replace(node, bounds=bounds if role == "dataset" else {})
        for role in flow.inputs
        for node in _nodes(observation, role)
    ]
    if observation.preview:
        return inputs, []
    outputs = []
    for role, counted in flow.outputs.items():
        found = list(_nodes(observation, role))
        # A sum over several datasets is the number of none of them.
        rows = observation.total(counted) if len(found) == 1 else None
        outputs += [replace(node, rows=rows) for node in found]
    return inputs, outputs


def _nodes(observation: Observation, role: str) -> Iterator[LineageNode]:
    """Yield the datasets of lineage that play a role in a task; none if there is nothing of that kind."""
    if role == "dataset":
        yield from map(_node_of, observation.datasets)
    elif role == "version":
        if observation.version is not None:
            yield replace(_node_of(observation.version), version=observation.version.version_id)
    else:
        yield from map(place_node, observation.places.get(role, ()))


def _node_of(uri: DatasetUri) -> LineageNode:
    return LineageNode(uri.namespace, uri.name)


def place_node(uri: str) -> LineageNode:
    """Return a file or folder by OpenLineage's naming: ``s3://bucket`` and the key, ``file`` and the path.

    Connections, users and what follows a question mark are left out: they may be secrets.
    """
    scheme, separator, rest = display_uri(uri).partition("://")
    if not separator:
        return LineageNode("file", scheme)
    host, _, path = rest.partition("/")
    scheme = _SCHEMES.get(scheme, scheme)
    if scheme == "file":
        return LineageNode(f"file://{host}" if host else "file", f"/{path}")
    return LineageNode(f"{scheme}://{host}", path.strip("/") or "/")


def operator_lineage(observation: Observation | None) -> Any:
    """Return an observation as OpenLineage's Airflow provider takes it, an ``OperatorLineage``."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    inputs, outputs = lineage_of(observation) if observation is not None else ([], [])
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    version = dataset_version_dataset.DatasetVersionDatasetFacet
    return OperatorLineage(
        inputs=[
            InputDataset(
                namespace=node.namespace,
                name=node.name,
                inputFacets={"dataQualityAssertions": _assertions(node.bounds)} if node.bounds else {},
            )
            for node in inputs
        ],
        outputs=[
            OutputDataset(
                namespace=node.namespace,
                name=node.name,
                facets={"version": version(datasetVersion=node.version)} if node.version is not None else {},
                outputFacets={} if node.rows is None else {"outputStatistics": statistics(rowCount=node.rows)},
            )
            for node in outputs
        ],
    )


def _assertions(bounds: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the facet that says, label by label, which share of its proposals is right at least."""
    import attr
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    known = {attribute.name for attribute in attr.fields(quality.Assertion)}
    assertions = []
    for label, facts in bounds.items():
        bound, target = float(facts["bound"]), facts.get("target")
        # Older clients know the first three alone.
        texts: dict[str, Any] = {"expected": None if target is None else str(target), "actual": str(bound)}
        assertions.append(
            quality.Assertion(
                assertion="precision_at_least",
                success=target is None or bound >= float(target),
                column=label,
                **{name: text for name, text in texts.items() if name in known},
            )
        )
    return quality.DataQualityAssertionsDatasetFacet(assertions=assertions)
