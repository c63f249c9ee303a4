"""What labels of samples must say, by their types (contract 3.3, 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Refusal
from airflow_provider_modelarts.emulator.http.schema import SAMPLE_LABEL_PROPERTIES, check
from airflow_provider_modelarts.emulator.state import kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_modelarts.emulator.state.dataset import Dataset

START, END = "@modelarts:start_index", "@modelarts:end_index"
BEGIN, FINISH = "@modelarts:start_time", "@modelarts:end_time"
FROM, TO = "@modelarts:from", "@modelarts:to"
CONTENT = "@modelarts:content"
# What a label of each type says beside its name; without it the label would mean nothing.
NEEDED: Mapping[int, tuple[str, ...]] = {
    kinds.NAMED_ENTITIES: (START, END),
    kinds.ENTITY: (START, END),
    kinds.RELATION: (FROM, TO),
    kinds.SPEECH_CONTENT: (CONTENT,),
    kinds.SPEECH_SEGMENTS: (BEGIN, FINISH),
}
# How many numbers each point of a shape has (contract 3.3, `@modelarts:feature`); polygons and polylines have any
# number of points.
POINTS = {"bndbox": (2, 2), "circle": (2, 1), "line": (2, 2), "dashed": (2, 2), "point": (2,)}


def served_labels(dataset: Dataset, sample_id: str) -> list[Any]:
    """Return all labels with which a sample is shown; each may go back as it came, however odd a test has made it."""
    proposal, sample = dataset.proposals.get(sample_id), dataset.samples.get(sample_id)
    found = [*((proposal.data().get("labels") or []) if proposal else []), *(sample.labels if sample else [])]
    for task in dataset.team_tasks.values():
        found += task.proposed.get(sample_id, [])
        found += [label for copy in task.copies.values() if copy.sample_id == sample_id for label in copy.labels]
    return found


def check_forms(dataset: Dataset, sample_id: str, labels: Iterable[dict[str, Any]], *, strict: bool) -> None:
    """Check what all labels have in common: a name where one is needed, and properties of the documented forms.

    :param sample_id: the sample, or the name of a new one.
    :raises Refusal: 400 ModelArts.0104; 501 ModelArts.4383 for a type of dataset whose samples have no labels.
    """
    for label in labels:
        if not dataset.kind.label_types:
            raise refuse("ModelArts.4383", f"labels in a dataset of type {dataset.dataset_type}")
        if not label.get("name") and label.get("type", dataset.dataset_type) not in kinds.NAMELESS:
            raise refuse("ModelArts.0104", f"a label of sample {sample_id} has no name")
        try:
            where = f"property of a label of sample {sample_id}"
            check(label.get("property") or {}, SAMPLE_LABEL_PROPERTIES, strict=strict, where=where)
        except Refusal:
            if label not in served_labels(dataset, sample_id):
                raise


def check_rules(dataset: Dataset, sample_id: str, labels: Sequence[dict[str, Any]], text: str | None) -> None:
    """Check what the types of labels ask for.

    :param text: content of a text sample, in which the spans of entities lie; None: it is not known.
    :raises Refusal: ModelArts.4413, for this sample alone.
    """
    fault = next((said for label in labels if (said := _fault(dataset, label, labels, text))), None)
    if fault is None:
        return
    served = served_labels(dataset, sample_id)
    if not all(label in served for label in labels):
        raise refuse("ModelArts.4413", f"{sample_id}: {fault}")


def _fault(dataset: Dataset, label: dict[str, Any], labels: Sequence[dict[str, Any]], text: str | None) -> str | None:
    """Return what is wrong with a label; None: nothing."""
    kind, values = label.get("type", dataset.dataset_type), label.get("property") or {}
    if kind not in dataset.kind.label_types:
        return f"type {kind} in a dataset of type {dataset.dataset_type}"
    missing = [name for name in NEEDED.get(kind, ()) if values.get(name) in (None, "")]
    if missing:
        return f"a label of type {kind} without {', '.join(missing)}"
    for first, last in ((START, END), (BEGIN, FINISH)):
        if first in values and last in values and not values[first] < values[last]:
            return f"{first} is not before {last}"
    if text is not None and values.get(END, 0) > len(text):
        return f"{END} is behind the end of the text"
    if kind == kinds.RELATION:
        return _relation_fault(dataset, label, labels)
    return _shape_fault(values)


def _relation_fault(dataset: Dataset, label: dict[str, Any], labels: Sequence[dict[str, Any]]) -> str | None:
    """Return what is wrong with a relation: both ends are entities of the sample, with the names that it joins."""
    entities = {one["id"]: one for one in labels if one.get("type") == kinds.ENTITY and one.get("id")}
    wanted = dataset.labels.get(label.get("name", ""), {}).get("property") or {}
    for end, ends in ((FROM, "@modelarts:from_type"), (TO, "@modelarts:to_type")):
        entity = entities.get(label["property"][end])
        if entity is None:
            return f"{end} names no entity of the sample"
        if wanted.get(ends) and wanted[ends] != entity.get("name"):
            return f"{end} names an entity that is no {wanted[ends]}"
    return None


def _shape_fault(values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the points of a shape (contract 3.3, `@modelarts:feature`)."""
    shape, points = values.get("@modelarts:shape"), values.get("@modelarts:feature")
    if shape is None or points is None:
        return None
    wanted = POINTS.get(shape, (2,) * len(points))
    if tuple(map(len, points)) != wanted:
        return f"the points of a {shape} are not right"
    if shape == "bndbox" and not all(low < high for low, high in zip(*points, strict=True)):
        return "a box whose second corner is not to the lower right of the first"
    return None
