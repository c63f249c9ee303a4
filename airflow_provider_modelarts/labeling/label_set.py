"""Makes the labels that a dataset lacks; deletes none and changes none (contract 6.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, UnexpectedResponse
from airflow_provider_modelarts.client.validation import decoded, digits_as_text, shown, validate_label
from airflow_provider_modelarts.client.wording import first_of

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.labels import Label, LabelOutcome

LABELS_SHOWN = 100
"""How many names a result holds: XCom is small (B19)."""

LabelElement = dict[str, Any]


class LabelConflict(InvalidRequest):
    """A dataset has a label of this name, but with another type, property or attribute."""


@dataclass(frozen=True)
class LabelSetResult:
    """What became of the labels that a dataset should have; ``labels = created + existing``.

    :param labels: how many were asked for
    :param created: names of those that were made
    """

    labels: int
    created: tuple[str, ...]

    def to_xcom(self) -> dict[str, Any]:
        """Return counts, and the names of the first labels that were made."""
        return {
            "labels": self.labels,
            "created": len(self.created),
            "existing": self.labels - len(self.created),
            "created_labels": list(self.created[:LABELS_SHOWN]),
        }


def parse_labels(value: object) -> list[LabelElement]:
    """Read labels as a DAG author gives them.

    :param value: a list of names or of objects such as ``{"name": "cat", "property": {...}}``, or its JSON text
    :return: the labels as they go out, each with a name, none twice
    :raises InvalidRequest: for anything else, and for a label that is to be renamed
    """
    from airflow_provider_modelarts.client.requests.base import to_body
    from airflow_provider_modelarts.client.requests.labels import LabelsRequest

    value = decoded(value, "labels")
    # Among them the outputs of mapped tasks, which are read as they are needed.
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)) or not len(value):
        raise InvalidRequest(
            f"labels must be a list with at least one label, or JSON text of one, not {shown(value)}: see what its "
            "template renders to."
        )
    labels = [_with_text_name(element) for element in value]
    found: list[LabelElement] = to_body(LabelsRequest, {"labels": labels}, "read labels")["labels"]
    for place, label in enumerate(found):
        validate_label(f"labels[{place}].name", label["name"])
        if "@modelarts:rename_to" in label.get("property", {}):
            raise InvalidRequest(
                f"labels[{place}] renames the label {shown(label['name'])}. Labels are made here and never changed: "
                "leave @modelarts:rename_to out."
            )
    return found


def _with_text_name(element: object) -> object:
    """Return a label as an object; its name is text, also where native rendering made a number of digits."""
    if isinstance(element, Mapping):
        return {**element, "name": digits_as_text(element["name"])} if "name" in element else element
    return {"name": digits_as_text(element)}


def ensure_labels(client: ModelArtsClient, dataset_id: str, labels: object) -> LabelSetResult:
    """Make the labels that a dataset lacks. May be repeated; what is there already stays as it is.

    A creation is sent once. After a lost or bad answer the labels are read: those that are there by then count.

    :param client: speaks to the service
    :param dataset_id: the dataset
    :param labels: as for :func:`parse_labels`
    :raises LabelConflict: if a label is there with another type, property or attribute; nothing was made
    :raises ModelArtsError: if labels could not be made; those that were made stay, and the next try finds them
    """
    wanted = parse_labels(labels)
    missing = _missing(client, dataset_id, wanted)
    if missing:
        _create(client, dataset_id, missing)
    return LabelSetResult(len(wanted), tuple(label["name"] for label in missing))


def _missing(client: ModelArtsClient, dataset_id: str, wanted: Sequence[LabelElement]) -> list[LabelElement]:
    """Return the labels that a dataset lacks."""
    present: dict[str, list[Label]] = {}
    for label in client.labels.list(dataset_id):
        present.setdefault(label.name, []).append(label)
    conflicts = [text for label in wanted if (text := _conflict(label, present.get(label["name"], [])))]
    if conflicts:
        raise LabelConflict(
            f"Dataset {dataset_id} has {len(conflicts)} of the {len(wanted)} labels with other settings than are asked "
            f"for: {first_of(conflicts, 5, separator='; ')}. No label was made or "
            "changed. Correct the parameter labels, or change the label in the dataset."
        )
    return [label for label in wanted if label["name"] not in present]


def _create(client: ModelArtsClient, dataset_id: str, missing: Sequence[LabelElement]) -> None:
    outcomes: Sequence[LabelOutcome] = ()
    lost: ModelArtsError | None = None
    try:
        outcomes = client.labels.create(dataset_id, missing)
    except ModelArtsError as error:
        if error.certainly_not_executed:
            raise
        lost = error
    if outcomes and all(one.ok for one in outcomes):
        return
    # Somebody may have made one of them since they were listed; or the reply was lost.
    still = _missing(client, dataset_id, missing)
    if not still:
        return
    if lost is not None:
        lost.add(f"The labels were listed afterwards: {_names(still)} are not there. Run the task again.")
        raise lost
    said = {one.name: f"{one.error_code or 'no code'}: {one.error_msg or 'no text'}" for one in outcomes}
    first = still[0]["name"]
    raise UnexpectedResponse(
        f"{len(still)} of {len(missing)} labels of dataset {dataset_id} were not made: {_names(still)}. Of "
        f"{shown(first)} the service says {said.get(first)}. Correct them, or run the task again."
    )


def _names(labels: Sequence[LabelElement]) -> str:
    return first_of([shown(label["name"]) for label in labels], 5)


def _conflict(wanted: LabelElement, present: Sequence[Label]) -> str | None:
    """Return in words how the labels of one name differ from the one that is wanted; None if one of them fits."""
    differences = [_difference(wanted, label.raw, "") for label in present]
    if not differences or None in differences:
        return None
    return f"{shown(wanted['name'])}: {differences[0]}"


def _difference(wanted: object, present: object, path: str) -> str | None:
    """Return the first place at which a value is not as it is wanted; what is not asked for does not count."""
    if isinstance(wanted, Mapping):
        inside = present if isinstance(present, Mapping) else {}
        parts = [(f"{path}.{key}" if path else key, value, inside.get(key)) for key, value in wanted.items()]
    elif isinstance(wanted, list):
        if not isinstance(present, list) or len(present) != len(wanted):
            return f"{path} has {len(present) if isinstance(present, list) else 0} elements, not {len(wanted)}"
        parts = [(f"{path}[{place}]", value, present[place]) for place, value in enumerate(wanted)]
    elif _plain(wanted) == _plain(present):
        return None
    else:
        return f"{path} is {shown(present)}, not {shown(wanted)}"
    return next((text for name, value, there in parts if (text := _difference(value, there, name))), None)


def _plain(value: object) -> object:
    """Return a value as it is compared: empty text is none, and colors have no case."""
    if isinstance(value, str):
        return (value.lower() if value.startswith("#") else value) or None
    return value
