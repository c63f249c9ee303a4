"""Samples of a dataset and their final labels: contract 3.3, 4.1, 6.4."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    read,
    to_flag,
    to_integer,
    to_name,
    to_number,
    to_object,
    to_objects,
    to_reasons,
    to_text,
    without_query,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.readers import to_texts
from airflow_provider_modelarts.client.sample_updates import (
    OWN,
    SampleOutcome,
    emptied_elements,
    labeled_elements,
    send_updates,
)
from airflow_provider_modelarts.client.states import (
    LabelType,
    Order,
    SampleState,
    SampleStatus,
    SampleType,
    SampleUsage,
)
from airflow_provider_modelarts.client.validation import (
    validate_choice,
    validate_email,
    validate_id,
    validate_scores,
    validate_whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.paging import OnMove
    from airflow_provider_modelarts.client.requests.samples import SampleLabels
    from airflow_provider_modelarts.client.transport.transport import Transport

__all__ = ["HardDetail", "Page", "Sample", "SampleLabel", "SampleOutcome", "Samples", "filters", "sample_listing"]

HARD = "@modelarts:hard"
HARD_COEFFICIENT = "@modelarts:hard_coefficient"
HARD_REASONS = "@modelarts:hard_reasons"
SIZE = "@modelarts:size"
DETECTION = 1
PLACES = frozenset({"@modelarts:shape", "@modelarts:feature"})
ORDERS = tuple(map(str, Order))
STABLE_SCHEMES = ("s3://", "obs://")
_KINDS = {type(None): "null", bool: "a truth value", str: "a text", list: "a list", dict: "an object"}


Item = TypeVar("Item")


class SampleLabel(Model):
    """One label of a sample, proposed or final."""

    name = Field(to_name, "The label's name as it is, never changed; empty for kinds of labels that have none.")
    type = Field(LabelType.read, "The label's type; a number that is not known stays a number.")
    id = Field(to_text, "Number within the sample; proposals only.")
    score = Field(to_number, "Confidence, 0 to 1; None if the service gives none.")

    @property
    def is_detection(self) -> bool:
        """Whether it marks a place in an image, so that the service wants the image's size with it."""
        return _marks_a_place(self.raw)

    # The last one: from here on the word means the field, not the decorator.
    property = Field(to_object, "Box, difficulty and custom attributes (contract 3.3), as they arrived.")

    def __repr__(self) -> str:
        return f"SampleLabel(name={self.name!r}, type={self.type}, score={self.score!r})"


class HardDetail(Model):
    """Why samples are hard: one reason of contract 7.5, and what to do about it."""

    id = Field(to_integer, "integer, 0 to 30: the reason, as in ``Sample.hard_reasons``.")
    alo_name = Field(to_text, "text: the reason's short name.")
    reason = Field(to_text, "text for people: what was found.")
    suggestion = Field(to_text, "text for people: what to do.")


def to_hard_details(value: object) -> dict[int, HardDetail]:
    """Return explained reasons by their ids; what is no number, or explains nothing, is left out."""
    found = {to_integer(reason): detail for reason, detail in to_object(value).items() if isinstance(detail, dict)}
    return {reason: HardDetail(detail) for reason, detail in found.items() if reason is not None}


class Sample(Model):
    """An image, text or other object of a dataset, with its proposed or final labels."""

    sample_id = Field(to_name, "Key of the sample, opaque. Empty if the service left it out.")
    metadata = Field(to_object, "Size, origin, difficulty and custom attributes (contract 3.3), as they arrived.")
    score = Field(to_number, "Confidence in the sample as a whole; often missing where its labels have one.")
    annotated_by = Field(to_text, "Who labeled it, ``human/account/user``; None or empty if nobody did.")
    sample_status = Field(
        lambda value: SampleStatus.read(to_text(value)),
        "The service's word for its state, the same for proposals and unlabeled samples. Unknown ones stay as is.",
    )
    worker_id = Field(to_text, "Team labeling: the member whose copy this is.")
    sample_type = Field(SampleType.read, "What it is, see SampleType; a number that is not known stays a number.")
    sample_usage = Field(
        lambda value: SampleUsage.read(to_text(value)), "What it is used for, see SampleUsage; None if nothing is said."
    )
    sample_name = Field(to_text, "Name of its file, with the extension.")
    sample_dir = Field(to_text, "Folder of its file.")
    sample_size = Field(to_integer, "Size of its file in bytes.")
    sample_time = Field(to_integer, "Last change of its file, epoch milliseconds.")
    sample_data = Field(to_texts, "Its content as far as the service shows it: texts and tables. Empty otherwise.")
    source = Field(to_text, "Presigned address of its file, never to be stored or logged; ``origin`` can be.")
    preview = Field(to_text, "The same of a smaller picture.")
    sub_sample_url = Field(to_text, "The same of a part of it.")
    deletion_reasons = Field(to_texts, "Why it was deleted.")
    hard_details = Field(
        to_hard_details, "HardDetail by reason: why it is hard. Calls about one sample have it, lists do not."
    )

    @property
    def oddity(self) -> str | None:
        """What keeps it from being read as the API documents it, as one sentence; None if nothing does.

        Only what could make the labels mean something else counts: unknown fields, and numbers written as text, do not.
        The other properties leave out what is no object. ``samples.update`` refuses a sample whose labels are odd.
        """
        if not self.sample_id:
            return "It came without an id."
        labels = self.raw.get("labels")
        if labels is not None and not isinstance(labels, list):
            return f"Its labels are {_kind(labels)}, not a list."
        if isinstance(self.raw.get("score"), (dict, list)):
            return f"Its score is {_kind(self.raw['score'])}, not a number."
        for place, label in enumerate(labels or (), start=1):
            if not isinstance(label, dict):
                return f"Label {place} is {_kind(label)}, not an object."
            for name in ("name", "type", "score"):
                if isinstance(label.get(name), (dict, list)):
                    return f"The {name} of label {place} is {_kind(label[name])}."
        return None

    @cached_property
    def labels(self) -> tuple[SampleLabel, ...]:
        """Proposed labels where proposals are listed, final ones elsewhere; see :attr:`oddity`."""
        return tuple(map(SampleLabel, to_objects(self.raw.get("labels"))))

    @property
    def label_names(self) -> list[str]:
        """The names of its labels, one for each; to be had at less cost than ``labels``."""
        return [to_name(label.get("name")) for label in to_objects(self.raw.get("labels"))]

    @property
    def is_hard(self) -> bool | None:
        """Whether this is a hard example; None if neither the sample nor a label of it says so."""
        known = to_flag(self.metadata.get(HARD))
        if known is not None:
            return known
        said = [flag for flag in (to_flag(label.property.get(HARD)) for label in self.labels) if flag is not None]
        return any(said) if said else None

    @property
    def hard_reasons(self) -> tuple[int, ...]:
        """Why it is hard, by number (contract 7.5), the sample's own reasons before those of its labels."""
        reasons = list(to_reasons(self.metadata.get(HARD_REASONS)))
        for label in self.labels:
            reasons.extend(to_reasons(label.property.get(HARD_REASONS)))
        return tuple(dict.fromkeys(reasons))

    @property
    def hard_coefficient(self) -> float | int | None:
        """How hard it is, 0 to 1; None if the sample does not say."""
        return to_number(self.metadata.get(HARD_COEFFICIENT))

    @property
    def origin(self) -> str | None:
        """Where the sample lies, fit for logs and files: ``s3://...``, or its address without the signature."""
        metadata = self.metadata
        places = (metadata.get("@modelarts:origin_source"), metadata.get("@modelarts:new_source"))
        return stable_origin(places, self.raw.get("source"))

    def element(self) -> dict[str, Any]:
        """Return what is sent to confirm it: id and labels as they came, of detection samples the size too."""
        labels = self.raw.get("labels")
        element = {"sample_id": self.sample_id, "labels": labels}
        # Read without their fields: every sample of a confirmation passes here.
        if worker_id := to_text(self.raw.get("worker_id")):
            element["worker_id"] = worker_id
        size = to_object(self.raw.get("metadata")).get(SIZE)
        if size and any(map(_marks_a_place, to_objects(labels))):
            element["metadata"] = {SIZE: size}
        return element

    def __repr__(self) -> str:
        names = [label.name for label in self.labels]
        return f"Sample(sample_id={self.sample_id!r}, labels={names!r}, origin={self.origin!r})"


def stable_origin(places: Iterable[object], source: object) -> str | None:
    """Return the first place that stays where it is, else the address without its signature."""
    for place in places:
        if isinstance(place, str) and place.startswith(STABLE_SCHEMES):
            return place
    return without_query(source) if isinstance(source, str) and source else None


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")


def _marks_a_place(label: dict[str, Any]) -> bool:
    value, kind = label.get("property"), label.get("type")
    # most are plain integers, which need no reading
    is_detection = (kind if type(kind) is int else to_integer(kind)) == DETECTION
    return is_detection or (isinstance(value, dict) and not PLACES.isdisjoint(value))


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list.

    :param items: what the page holds
    :param total: how many the whole list holds; None if the service does not say
    :param number: number of the page, from 0
    :param read_at: epoch seconds just before the page was asked for, so that its age is never understated
    """

    items: Sequence[Item]
    total: int | None
    number: int
    read_at: float


def filters(
    label_name: str | None,
    label_type: int | None,
    low_score: float | str | None,
    high_score: float | str | None,
    order: str | None,
    search_conditions: Any,
    process_parameter: str | None,
) -> dict[str, str | None]:
    """Return the query of a list of samples (contract 3.1); what is wrong is refused here.

    :raises InvalidRequest: for a score outside 0 to 1, bounds the wrong way round, an unknown order, or search
        conditions that are none
    """
    low, high = validate_scores(low_score, high_score)
    conditions = None
    if search_conditions is not None:
        from airflow_provider_modelarts.client.requests.search import conditions_text

        conditions = conditions_text(search_conditions, "list samples")
    return {
        "label_name": label_name,
        "label_type": None if label_type is None else str(validate_whole("label_type", label_type, 0)),
        "low_score": low,
        "high_score": high,
        "order": None if order is None else validate_choice("order", order, ORDERS),
        "search_conditions": conditions,
        "process_parameter": process_parameter,
    }


def sample_listing(
    what: str, path: tuple[str, ...], query: Mapping[str, str | None], keys: tuple[str, ...] = ("sample_id",)
) -> ListEndpoint[Sample]:
    """Return a list of samples; all of them look alike (contract 3.3). A row that cannot be read is a sample too.

    :param keys: what tells the samples of this list apart
    """
    return ListEndpoint(what, path, Sample, "samples", "sample_count", keys, query, keeps_odd_rows=True)


class Samples:
    """Calls about samples and their final labels."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        dataset_id: str,
        *,
        sample_state: SampleState | str | None = None,
        label_name: str | None = None,
        label_type: int | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        order: Order | str | None = None,
        search_conditions: Any = None,
        process_parameter: str | None = None,
        version_id: str | None = None,
        sample_type: SampleType | int | None = None,
        email: str | None = None,
        on_move: OnMove | None = None,
    ) -> Iterator[Sample]:
        """Yield the samples of a dataset (contract 6.4).

        :param dataset_id: the dataset
        :param sample_state: only in this state, for example ``__NONE__`` for unlabeled; None for all
        :param label_name: only with this label
        :param label_type: only with labels of this type
        :param low_score: only from this confidence on, 0 to 1
        :param high_score: only up to this confidence, 0 to 1
        :param order: ``asc`` or ``desc`` (the service's default: newest first)
        :param search_conditions: conditions of contract 3.1, one or a list, all of which must hold
        :param process_parameter: image processing for the addresses in the answer
        :param version_id: as they were when this version was published, with the usage that it gave them; None: now
        :param sample_type: only samples of this type, for example ``SampleType.TEXT``; None sends nothing, for the
            documented default would hide images
        :param email: only what this member of a team has labeled
        :param on_move: called with a line for people if the list changed while it was read; None: a warning is logged
        """
        what = f"list samples of dataset {validate_id('dataset_id', dataset_id)}"
        query = filters(label_name, label_type, low_score, high_score, order, search_conditions, process_parameter)
        query["sample_state"] = sample_state
        query["version_id"] = None if version_id is None else validate_id("version_id", version_id)
        query["sample_type"] = None if sample_type is None else str(validate_whole("sample_type", sample_type, 0))
        query["email"] = None if email is None else validate_email("email", email)
        path = ("datasets", dataset_id, "data-annotations", "samples")
        return sample_listing(what, path, query).walk(self._transport, on_move=on_move)

    def get(self, dataset_id: str, sample_id: str, *, retry: bool = True) -> Sample:
        """Return a sample with its final labels (contract 6.4).

        :param dataset_id: the dataset
        :param sample_id: the sample
        :param retry: False: one attempt
        :raises NotFound: if the service does not know it
        """
        what = f"read sample {validate_id('sample_id', sample_id)} of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "data-annotations", "samples", sample_id)
        answer = self._transport.get(what, *path, retry=retry)
        return read(Sample, checked_answer(answer, what, sample_id=sample_id), what)

    def update(
        self,
        dataset_id: str,
        samples: Iterable[Sample | SampleLabels | Mapping[str, Any]],
        *,
        retry: bool = True,
        before_sending: Callable[[], None] | None = None,
    ) -> Sequence[SampleOutcome]:
        """Replace the labels of samples, in one request of at most 12 MB; confirming is this (contract 4.1).

        A sample as it was listed goes back with exactly the labels that it came with, and with its size if it has
        boxes. The request is sent again only if it certainly was not carried out. If that is not known, every outcome
        has ``ok=None``: read the samples before writing again, somebody may have changed them since.

        :param dataset_id: the dataset
        :param samples: samples as listed, request models (``SampleLabels``), or dicts with ``sample_id`` and ``labels``
            (also ``metadata``, ``sample_type``, ``sample_usage``, ``source``, ``worker_id``)
        :param retry: False: one attempt; for labels that may not wait, because they were read a while ago
        :param before_sending: called each time that the request is about to go out, after it was authorized: fetching a
            token may have taken a while. What it raises keeps the request from being sent, and comes through as it is
        :return: an outcome per sample, in the same order; after a batch with a failure the others are True by position
        :raises InvalidRequest: for samples without labels, without id, or given twice, and for labels without the name
            that all but those of speech (types 201, 202) need; before anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        elements = labeled_elements(samples)
        return self._write(dataset_id, elements, "write labels of", retry=retry, before_sending=before_sending)

    def clear_labels(
        self,
        dataset_id: str,
        sample_ids: Iterable[str],
        *,
        retry: bool = True,
        before_sending: Callable[[], None] | None = None,
    ) -> Sequence[SampleOutcome]:
        """Take all labels from samples; the only call that does.

        :param dataset_id: the dataset
        :param sample_ids: the samples
        :param retry: False: one attempt, as of :meth:`update`
        :param before_sending: as of :meth:`update`
        :return: as of :meth:`update`
        :raises InvalidRequest: for a missing id or one given twice, before anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        elements = emptied_elements(sample_ids)
        return self._write(dataset_id, elements, "clear labels of", retry=retry, before_sending=before_sending)

    def _write(
        self,
        dataset_id: str,
        elements: Sequence[dict[str, Any]],
        verb: str,
        *,
        retry: bool,
        before_sending: Callable[[], None] | None,
    ) -> Sequence[SampleOutcome]:
        what = f"{verb} {len(elements)} samples of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "data-annotations", "samples")
        body = {"samples": elements}
        return send_updates(
            elements,
            lambda: self._transport.write(
                "PUT", what, *path, body=body, retry=retry, before_sending=before_sending, own=OWN
            ),
        )
