"""What a task has done, in the one form that lineage, asset events and metrics are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_modelarts.assets import DatasetUri
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.results import LABELS_SHOWN, ConfirmationResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.labeling.undo.results import RevertResult

Operation = Literal["start", "plan", "confirm", "revert", "publish"]

EVIDENCE = "evidence"
"""Key of a result under which bounds by label stand, if the confirmation rests on evidence:
``{label: {"bound", "target", "answered"}}``."""


@dataclass(frozen=True)
class Observation:
    """What a try of a task has done.

    :param operation: which kind of task it was
    :param dataset_ids: ids of the datasets that it worked on
    :param datasets: the same as lineage names them; none if the project is not known
    :param values: the numbers and ids of its result, by name
    :param places: URIs by role: ``plan`` (given to the task, or applied by the run that is reverted),
        ``own_plan`` (made by the task), ``ledger``, ``manifest``
    :param preview: nothing was written
    :param is_complete: the try has reached its end; False: an error ended it
    :param seconds: that the try took, or waited; None: not known
    :param throttled: requests of the process to which the service answered that it gets too many
    """

    operation: Operation
    dataset_ids: Sequence[str]
    datasets: Sequence[DatasetUri]
    values: Mapping[str, Any]
    places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    preview: bool = False
    is_complete: bool = True
    seconds: float | None = None
    throttled: int = 0

    @property
    def version(self) -> DatasetUri | None:
        """The version that was published."""
        version_id = self.version_id
        return DatasetUri.of(*self.datasets[0][:3], version_id) if version_id and self.datasets else None

    @property
    def version_id(self) -> str | None:
        """The id of the version that was published."""
        return self.values.get("version_id") if self.operation == "publish" else None

    def total(self, names: Sequence[str]) -> int | None:
        """Return the sum of some numbers of the result; None if one of them is not known."""
        found = [self.values.get(name) for name in names]
        return None if not found or None in found else sum(int(number) for number in found if number is not None)


def values_of(result: ConfirmationResult | RevertResult) -> dict[str, Any]:
    """Return the counts of a result, with two that are not in XCom: ``unknown`` and ``confirmed_now``, by this try."""
    values = result.to_xcom()
    if isinstance(result, ConfirmationResult):
        unsettled = sum(failure.count for code, failure in result.failures.items() if code == UNKNOWN)
        values |= {"unknown": unsettled, "confirmed_now": result.confirmed - result.confirmed_before}
    return values


def bounds_by_label(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return for each label what the evidence says of it, at most :data:`LABELS_SHOWN`; nothing without evidence."""
    found = values.get(EVIDENCE)
    if not isinstance(found, Mapping):
        return {}
    known = {str(label): facts for label, facts in found.items() if isinstance(facts, Mapping) and "bound" in facts}
    return dict(sorted(known.items())[:LABELS_SHOWN])


def dataset_uris(hook: ModelArtsHook, dataset_ids: Sequence[str], *, may_ask: bool) -> list[DatasetUri]:
    """Return datasets as assets and lineage name them; none if the project is not known.

    :param may_ask: get a token, in one attempt, if only that tells the project, as after a wait in the triggerer. A
        task of which nobody asked for lineage must not wait for IAM at its end
    :raises ModelArtsError: if the connection cannot be read, or no token was got
    :raises ValueError: for a region or an id that no URI can hold
    """
    region, project_id = hook.settings.region, hook.client.known_project_id
    if project_id is None and may_ask:
        with hook.client.detached() as once:
            project_id = once.project_id
    if project_id is None:
        return []
    return [DatasetUri.of(region, project_id, dataset_id) for dataset_id in dataset_ids]
