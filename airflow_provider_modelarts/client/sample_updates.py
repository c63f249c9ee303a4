"""Writes of labels: what is refused before it is sent, what is sent, and what the answer says about each sample."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol, overload

from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.client.models import to_flag, to_integer, to_object, to_objects, to_text
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.validation import as_number, digits_as_text, shown, validate_id, validate_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.client.requests.samples import SampleLabels

# What a sample to write may hold; contract 4.1.
FIELDS = ("sample_id", "labels", "metadata", "sample_type", "sample_usage", "source", "worker_id")
# What decides which label it is; a misspelled one would be lost. Others that a service adds are sent as they are.
LABEL_FIELDS = ("name", "type", "property")
CONTENT = "@modelarts:content"
START_TIME = "@modelarts:start_time"
SPEECH = {201: (CONTENT,), 202: (CONTENT, START_TIME), None: (CONTENT,)}
"""By the type of labels that have no name, content and segments of speech (contract 6.1), what else says something."""

OWN = ("success", "results")
"""Keys with which the answer to a write says itself what became of the samples, also where it names an error's code."""

# Codes about one sample: its values, JSON, label, size or existence. Contract 7.3.
_OF_ONE_SAMPLE = frozenset(
    ("0104", "4105", "4410", "4417", "4419", "4420", "4421", "4422", "4423", "4424", "4651", "4656")
)
_IN_BRACKETS = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    """Result of a write for one sample.

    :param sample_id: the sample
    :param ok: True: the service says it was written; False: it says it was not; None: unknown, read the sample
    :param error_code: the service's code
    :param error_msg: one line for people
    """

    sample_id: str
    ok: bool | None
    error_code: str | None = None
    error_msg: str | None = None


class Listed(Protocol):
    """A sample as it was listed."""

    def element(self) -> dict[str, Any]:
        """Return the JSON object that confirms it."""


def labeled_elements(samples: Iterable[Listed | Mapping[str, Any] | SampleLabels]) -> list[dict[str, Any]]:
    """Return the JSON objects that write the labels of samples.

    :param samples: samples as listed, request models (``SampleLabels``) or dicts
    :raises InvalidRequest: if there are none; if one has no labels, a label without the name that its type needs, no id
        or an unknown field, or comes twice
    """
    return _each_once([_element(sample) for sample in validate_list("samples", samples, " of samples")])


def emptied_elements(sample_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return the JSON objects that remove the labels of samples.

    :param sample_ids: the samples
    :raises InvalidRequest: if there are none, or if an id is missing or comes twice
    """
    ids = validate_list("sample_ids", sample_ids, " of ids")
    return _each_once([{"sample_id": validate_id("sample_id", sample_id), "labels": []} for sample_id in ids])


def emptied_copies(samples: Iterable[Listed | Mapping[str, Any] | str]) -> list[dict[str, Any]]:
    """Return the JSON objects that remove the labels of members' copies.

    :param samples: copies as listed, objects with ``sample_id`` and ``worker_id``, or ids of samples
    :raises InvalidRequest: if there are none, if an id is missing, for other fields, or if a copy comes twice
    """
    return _each_once([_emptied_copy(one) for one in validate_list("samples", samples, " of copies or ids")])


def _emptied_copy(sample: Listed | Mapping[str, Any] | str) -> dict[str, Any]:
    given: Any = {"sample_id": sample} if isinstance(sample, str) else sample
    if hasattr(sample, "element"):
        given = {name: getattr(sample, name) for name in ("sample_id", "worker_id")}
    if not isinstance(given, Mapping) or set(given) - {"sample_id", "worker_id"}:
        raise InvalidRequest(f"A copy to clear has a sample_id and a worker_id, and nothing else; not {shown(given)}.")
    ids = {name: validate_id(name, value) for name, value in given.items() if value is not None}
    return {"sample_id": validate_id("sample_id", ids.get("sample_id")), "labels": []} | ids


def send_updates(elements: Sequence[Mapping[str, Any]], write: Callable[[], Any]) -> Sequence[SampleOutcome]:
    """Write, and return one outcome per sample in the same order.

    :param elements: what is written
    :param write: sends the request and returns the parsed answer
    :raises ModelArtsError: if the service certainly did not carry the request out
    """
    return send_of([str(element["sample_id"]) for element in elements], write)


def send_of(ids: Sequence[str], write: Callable[[], Any]) -> Sequence[SampleOutcome]:
    """Write samples of these ids, each once; else as :func:`send_updates`."""
    if not ids:
        return ()
    try:
        answer = write()
    except ModelArtsError as error:
        if error.certainly_not_executed and not _may_be_partial(error):
            raise
        return tuple(SampleOutcome(sample_id, None, error.code, str(error)) for sample_id in ids)
    return outcomes(ids, answer)


def _may_be_partial(error: ModelArtsError) -> bool:
    """Whether a code that came with HTTP 200 is about one sample: then others may have been written."""
    is_success = error.status is not None and 200 <= error.status < 300
    return is_success and (error.code or "").removeprefix("ModelArts.") in _OF_ONE_SAMPLE


class AllWritten(Sequence[SampleOutcome]):
    """The outcomes of a write that wrote all samples; made when they are asked for."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> SampleOutcome: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[SampleOutcome]: ...
    def __getitem__(self, place: int | slice) -> SampleOutcome | Sequence[SampleOutcome]:
        if isinstance(place, slice):
            return AllWritten(self._ids[place])
        return SampleOutcome(self._ids[place], True)


def outcomes(ids: Sequence[str], answer: object) -> Sequence[SampleOutcome]:
    """Return what a batch answer (contract 4.1, HTTP 200 also for failures) says about each sample.

    A sample counts as written only where ``success`` and ``results`` agree. Where they do not, every outcome is
    unknown, and a sample that the text of a refusal names has its code and text. After a failure only positions tell
    which sample failed, unless the texts name one: a caller who must be certain reads the samples of the batch.

    :param ids: the samples in the order in which they were sent
    :param answer: the parsed body
    """
    content = to_object(answer)
    success, code = to_flag(content.get("success")), to_text(content.get("error_code"))
    results = content.get("results")
    parts = to_objects(results)
    flags = [to_flag(part.get("success")) for part in parts]
    is_complete = len(flags) == len(ids)
    if success and ((not results and not code) or (is_complete and all(flags))):
        return AllWritten(ids)
    is_refused = success is False or (success is None and False in flags)
    if is_refused and len(ids) == 1 and not any(flags):  # whatever else is missing, it is about this one
        return (_outcome(ids[0], False, content if code or not parts else parts[0]),)
    if success is False and is_complete and None not in flags and not all(flags):
        failed = {sample_id: part for sample_id, part, flag in zip(ids, parts, flags, strict=True) if not flag}
        named = _named(ids, failed.values())
        # If every text names a sample, these failed, whatever the positions say.
        failures = named if len(named) == len(failed) else failed
        return tuple(_outcome(sample_id, sample_id not in failures, failures.get(sample_id)) for sample_id in ids)
    refused = _named(ids, [part for part, flag in zip(parts, flags, strict=True) if flag is False])
    unclear = {"error_code": code, "error_msg": (to_text(content.get("error_msg")) or "").strip() or _UNCLEAR}
    return tuple(_outcome(sample_id, None, refused.get(sample_id, unclear)) for sample_id in ids)


_UNCLEAR = "The service's answer does not say what became of this sample; read it."


def _named(ids: Sequence[str], refusals: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the samples that the texts of refusals name."""
    known = set(ids)
    named: dict[str, Mapping[str, Any]] = {}
    for part in refusals:
        found = known.intersection(_IN_BRACKETS.findall(to_text(part.get("error_msg")) or ""))
        named |= dict.fromkeys(found, part)
    return named


def _outcome(sample_id: str, ok: bool | None, said: Mapping[str, Any] | None) -> SampleOutcome:
    if said is None:
        return SampleOutcome(sample_id, ok)
    text = to_text(said.get("error_msg"))
    line = None if text is None else without_queries(" ".join(text.split()))
    return SampleOutcome(sample_id, ok, to_text(said.get("error_code")), line)


def _element(sample: Listed | Mapping[str, Any] | SampleLabels) -> dict[str, Any]:
    as_body = getattr(sample, "model_dump", None)  # asked by name: who sends no models does not load pydantic
    if as_body is not None:
        sample = as_body(exclude_unset=True)
    as_listed = getattr(sample, "element", None)
    if as_listed is not None:
        element = as_listed()
        validate_id("sample_id", element.get("sample_id"))
        return element if _is_plain(element.get("labels")) else _checked(element)
    if isinstance(sample, Mapping):
        element = _checked({name: value for name, value in sample.items() if value is not None})
        _check_kinds(element)
        return element
    raise InvalidRequest(f"A sample must be a Sample or an object, not {shown(sample)}.")


def _is_text(value: object) -> bool:
    return isinstance(digits_as_text(value), str)


def _is_number(value: object) -> bool:
    # What is no number of JSON is refused as such.
    return isinstance(value, float) or as_number(value) is not None


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


Kinds = Mapping[str, tuple[str, Callable[[object], bool]]]
# What stands in a sample and in a label. Numbers may be text, as templates make them; which types and usages there are
# is the service's to judge. Values are sent as they are given: they may be what the service has shown.
_OF_SAMPLE: Kinds = {
    "worker_id": ("an id as text", _is_text),
    "source": ("text", _is_text),
    "sample_usage": ("text", _is_text),
    "sample_type": ("a number", _is_number),
    "metadata": ("an object", _is_object),
}
_OF_LABEL: Kinds = {
    "type": ("a number", _is_number),
    "score": ("a number", _is_number),
    "property": ("an object", _is_object),
}


def _check_kinds(element: Mapping[str, Any]) -> None:
    """Refuse values of a wrong type in a sample that a user has put together."""
    whose = f"sample {element['sample_id']}"
    _check_values(element, _OF_SAMPLE, whose)
    for number, label in enumerate(element["labels"], start=1):
        _check_values(label, _OF_LABEL, f"label {number} of {whose}")


def _check_values(given: Mapping[str, Any], kinds: Kinds, whose: str) -> None:
    for key, (expected, fits) in kinds.items():
        value = given.get(key)
        if value is not None and not fits(value):
            raise InvalidRequest(f"{key} of {whose} must be {expected}, not {shown(value)}. Nothing was sent.")


def _is_plain(labels: object) -> bool:
    """Whether labels need no closer look, which is the usual case."""
    return type(labels) is list and bool(labels) and all(type(label) is dict and _is_named(label) for label in labels)


def _is_named(label: Mapping[str, Any]) -> bool:
    name = label.get("name")
    return bool(name.strip()) if type(name) is str else to_text(name) is not None


def _checked(element: dict[str, Any]) -> dict[str, Any]:
    # First what a key was meant to be: a misspelled sample_id is the reason why there is none.
    given = element.get("sample_id", "(without sample_id)")
    unknown = [
        f"{name} (is {right} meant?)" if (right := _nearest(name, FIELDS)) else name
        for name in sorted(map(str, set(element) - set(FIELDS)))
    ]
    if unknown:
        raise InvalidRequest(
            f"Sample {given if isinstance(given, str) else shown(given)} has fields that cannot be written: "
            f"{', '.join(unknown)}. "
            f"Give sample_id and labels; also allowed are {', '.join(FIELDS[2:])}."
        )
    sample_id = validate_id("sample_id", element.get("sample_id"))
    labels = element.get("labels")
    if not isinstance(labels, (list, tuple)) or not labels:
        raise InvalidRequest(
            f"Sample {sample_id} has no labels to write, which would erase its labels: leave it out, "
            "or call clear_labels if that is meant."
        )
    element["labels"] = [getattr(label, "raw", label) for label in labels]
    for number, label in enumerate(element["labels"], start=1):
        _check_label(sample_id, number, label)
    return element


def _check_label(sample_id: str, number: int, label: object) -> None:
    """Refuse a label that says less than was meant: it would replace the labels of the sample."""
    if not isinstance(label, dict) or not label:
        raise InvalidRequest(
            f'Labels of sample {sample_id} must be objects such as {{"name": "cat"}}, not {shown(label)}.'
        )
    for key in label:
        right = _nearest(key, LABEL_FIELDS)
        if right and right not in label:
            raise InvalidRequest(
                f"Label {number} of sample {sample_id} has {str(key)[:100]!r}, but no {right!r}: is that meant? "
                "Nothing was sent."
            )
    if _is_named(label) or needs_no_name(label):
        return
    found = f"name is {shown(label['name'])}" if "name" in label else f"fields are {', '.join(sorted(map(str, label)))}"
    raise InvalidRequest(
        f"Sample {sample_id} has a label without a name: number {number}, whose {found[:200]}. "
        f'Give its "name", or for speech "{CONTENT}" in its "property"; nothing was sent.'
    )


def needs_no_name(label: Mapping[str, Any]) -> bool:
    """Whether a label is one of speech, whose content stands in its properties (contract 3.3).

    :param label: a label as it is sent; one without a type counts as speech if it has content
    """
    value = label.get("property")
    keys = SPEECH.get(to_integer(label.get("type")), SPEECH[None])
    return isinstance(value, dict) and any(isinstance(value.get(key), str) and value[key].strip() for key in keys)


def _nearest(key: object, names: Sequence[str]) -> str | None:
    """Return the name that a misspelled key resembles; None for a right key, and for one that resembles none."""
    if not isinstance(key, str) or key in names:
        return None
    return next(iter(get_close_matches(key.strip().lower(), names, 1, 0.75)), None)


def _each_once(elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is to be written; refuse nothing at all, and a sample that comes twice."""
    if not elements:
        raise InvalidRequest("samples is empty: give at least one sample.")
    refuse_twins([(element["sample_id"], element.get("worker_id") or None) for element in elements])
    return elements


def refuse_twins(keys: Sequence[tuple[str, str | None]]) -> None:
    """Refuse to write one sample twice; keys are its id and the team member whose copy it is."""
    if len(set(keys)) < len(keys):
        twin = next(key for key, number in Counter(keys).items() if number > 1)
        raise InvalidRequest(f"Sample {twin[0]} comes twice: only one of its label lists could remain.")
