"""Labels of a dataset: contract 6.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.lost_replies import advice_after_loss, check_success
from airflow_provider_modelarts.client.models import Field, Model, to_integer, to_name, to_object, to_text
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.readers import list_of
from airflow_provider_modelarts.client.sample_updates import OWN, send_updates
from airflow_provider_modelarts.client.states import LabelType
from airflow_provider_modelarts.client.validation import (
    validate_id,
    validate_label,
    validate_list,
    validate_whole,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.requests.labels import LabelBody, LabelPropertyBody
    from airflow_provider_modelarts.client.transport.transport import Transport

MOST_LABELS = 100_000
"""The most labels that the service gives at once (contract 0.1)."""

LABEL_ONLY, SAMPLES_TOO, FILES_TOO = 0, 1, 2
"""``delete_policy``: delete the label; also the samples that have no other; also the files of these in OBS."""

_LOOK = "List the labels of the dataset before sending it again."


class AttributeValue(Model):
    """One of the values among which an attribute chooses."""

    id = Field(to_text, "text: its id.")
    value = Field(to_text, "text: the value.")


class LabelAttribute(Model):
    """An attribute that each use of a label may have."""

    id = Field(to_text, "text: its id.")
    name = Field(to_name, "text, at most 64 characters: its name.")
    type = Field(to_text, "text: ``text`` for free text, ``select`` for one of several values.")
    default_value = Field(to_text, "text: the value without a choice.")
    values = Field(list_of(AttributeValue), "tuple: the values among which it chooses.")


class Label(Model):
    """A label that samples of a dataset may have."""

    name = Field(to_name, "text, at most 1024 characters: its name.")
    type = Field(LabelType.read, "integer, see LabelType: what it says of a sample; unknown ones stay numbers.")
    attributes = Field(list_of(LabelAttribute), "tuple: attributes that each of its uses may have.")

    @property
    def properties(self) -> dict[str, Any]:
        """Colour, shortcut and shape, as they arrived."""
        return to_object(self.raw.get("property"))

    @property
    def color(self) -> str | None:
        """Its colour in the console, #rrggbb or empty."""
        return to_text(self.properties.get("@modelarts:color"))

    @property
    def shortcut(self) -> str | None:
        """Its key in the console."""
        return to_text(self.properties.get("@modelarts:shortcut"))

    @property
    def default_shape(self) -> str | None:
        """Object detection: the shape that the console draws, such as ``bndbox``."""
        return to_text(self.properties.get("@modelarts:default_shape"))

    @property
    def from_type(self) -> str | None:
        """Triplets: the label of the entities at which a relation begins."""
        return to_text(self.properties.get("@modelarts:from_type"))

    @property
    def to_type(self) -> str | None:
        """Triplets: the label of the entities at which a relation ends."""
        return to_text(self.properties.get("@modelarts:to_type"))


class LabelStats(Label):
    """A label with its numbers: ``count`` and ``sample_count`` have nothing to do with each other."""

    count = Field(to_integer, "integer: how often it was given.")
    sample_count = Field(to_integer, "integer, samples: how many have it.")


@dataclass(frozen=True, slots=True)
class LabelOutcome:
    """What became of one label of a request.

    :param name: the label
    :param ok: True: the service says it was carried out; False: it says it was not; None: unknown, list the labels
    :param error_code: the service's code
    :param error_msg: one line for people
    """

    name: str
    ok: bool | None
    error_code: str | None = None
    error_msg: str | None = None


class Labels:
    """Calls about labels."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, dataset_id: str, *, version_id: str | None = None, limit: int | None = None) -> Iterator[Label]:
        """Yield the labels of a dataset.

        :param dataset_id: the dataset
        :param version_id: labels of this version instead of the current state
        :param limit: how many to fetch with each request, 1 to 100,000; default: the service's, which is all of them
        :raises InvalidRequest: for a limit outside its range
        """
        what = f"list labels of dataset {validate_id('dataset_id', dataset_id)}"
        if limit is not None:
            validate_whole("limit", limit, 1, MOST_LABELS)
        path = ("datasets", dataset_id, "data-annotations", "labels")
        query = {"version_id": version_id}
        # without a limit none is sent: the old edition has no paging here, the new one serves 100,000 at once
        return ListEndpoint(what, path, Label, "labels", "total_number", (), query).walk(self._transport, limit=limit)

    def create(
        self,
        dataset_id: str,
        labels: Iterable[LabelBody | Mapping[str, Any]],
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> Sequence[LabelOutcome]:
        """Add labels to a dataset (contract 6.2). It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :param labels: ``LabelBody`` or objects such as ``{"name": "cat", "property": {"@modelarts:color": "#3399ff"}}``
        :param extra: fields of the request that the contract does not know
        :return: an outcome for each label, in the same order; a name that is taken fails with ``ModelArts.4411``
        :raises InvalidRequest: for no label, one without name, twice, or outside the contract; before anything is sent
        :raises DatasetBusy: while a version is being published
        """
        return self._change("POST", "create", dataset_id, labels, extra)

    def update(
        self,
        dataset_id: str,
        labels: Iterable[LabelBody | Mapping[str, Any]],
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> Sequence[LabelOutcome]:
        """Change properties or names of labels (contract 6.2).

        :param dataset_id: the dataset
        :param labels: each with its present name; the property ``@modelarts:rename_to`` renames, and samples follow
        :param extra: as of :meth:`create`
        :return: an outcome for each label, in the same order; an unknown one fails with ``ModelArts.4410``
        :raises InvalidRequest: as of :meth:`create`
        :raises DatasetBusy: while a version is being published
        """
        return self._change("PUT", "update", dataset_id, labels, extra)

    def delete(
        self, dataset_id: str, names: Iterable[str], *, delete_policy: int = LABEL_ONLY
    ) -> Sequence[LabelOutcome]:
        """Delete labels; samples lose them (contract 6.2).

        :param dataset_id: the dataset
        :param names: the labels
        :param delete_policy: 0 only the labels; 1 also the samples that have no other label; 2 also their files in OBS
        :return: an outcome for each label, in the same order; an unknown one fails with ``ModelArts.4410``
        :raises InvalidRequest: for no label, one given twice, or another policy, before anything is sent
        :raises DatasetBusy: while a version is being published
        """
        policy = validate_whole("delete_policy", delete_policy, LABEL_ONLY, FILES_TOO)
        given = validate_list("names", names, " of labels' names")
        labels = [{"name": validate_label("name", name)} for name in given]
        return self._change("POST", "delete", dataset_id, labels, None, "delete", query={"delete_policy": str(policy)})

    def _change(
        self,
        method: str,
        verb: str,
        dataset_id: str,
        labels: Iterable[LabelBody | Mapping[str, Any]],
        extra: Mapping[str, Any] | None,
        *further: str,
        query: Mapping[str, str | None] | None = None,
    ) -> Sequence[LabelOutcome]:
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.labels import LabelsRequest

        what = f"{verb} labels of dataset {validate_id('dataset_id', dataset_id)}"
        given = labels if isinstance(labels, str) else validate_list("labels", labels, " of labels")
        body = to_body(LabelsRequest, {"labels": given}, what, extra)
        path = ("datasets", dataset_id, "data-annotations", "labels", *further)
        outcomes = send_updates(
            [{"sample_id": label["name"]} for label in body["labels"]],
            lambda: self._transport.write(method, what, *path, body=body, query=query, own=OWN),
        )
        return tuple(LabelOutcome(one.sample_id, one.ok, one.error_code, one.error_msg) for one in outcomes)

    def update_one(
        self,
        dataset_id: str,
        name: str,
        properties: LabelPropertyBody | Mapping[str, Any],
        *,
        label_type: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Change the properties of a label (contract 6.2).

        :param dataset_id: the dataset
        :param name: the label
        :param properties: ``LabelPropertyBody``, or an object such as ``{"@modelarts:color": "#93c47d"}``
        :param label_type: its type, where labels of several types share a name
        :param extra: properties that the contract does not know
        :raises InvalidRequest: for properties outside the contract, before anything is sent
        :raises NotFound: if the dataset has no such label
        :raises DatasetBusy: while a version is being published
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.labels import LabelPropertyBody as Body

        what, path, query = _one_label("update", dataset_id, name, label_type)
        body = to_body(Body, properties, what, extra)
        with advice_after_loss(_LOOK):
            check_success(self._transport.write("PUT", what, *path, body=body, query=query), what)

    def delete_with_samples(
        self, dataset_id: str, name: str, *, delete_source: bool = False, label_type: int | None = None
    ) -> None:
        """Delete a label and all samples that have no other label (contract 6.2).

        It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :param name: the label
        :param delete_source: also delete the samples' files in OBS
        :param label_type: its type, where labels of several types share a name
        :raises NotFound: if the dataset has no such label
        :raises DatasetBusy: while a version is being published
        """
        if not isinstance(delete_source, bool):
            raise wrong("delete_source", "true or false", delete_source)
        what, path, query = _one_label("delete", dataset_id, name, label_type)
        query |= {"delete_source": "true" if delete_source else "false"}
        with advice_after_loss(_LOOK):
            check_success(self._transport.write("DELETE", what, *path, query=query), what)


def _one_label(
    verb: str, dataset_id: str, name: str, label_type: int | None
) -> tuple[str, tuple[str, ...], dict[str, str | None]]:
    """Return what a call about one label is called, its path and its query."""
    what = f"{verb} label {validate_label('name', name)} of dataset {validate_id('dataset_id', dataset_id)}"
    path = ("datasets", dataset_id, "data-annotations", "labels", name)
    return what, path, {"label_type": None if label_type is None else str(validate_whole("label_type", label_type, 0))}
