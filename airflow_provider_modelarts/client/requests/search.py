"""Conditions by which samples are searched: contract 3.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.requests.base import FROM_JSON, WHOLE, Integer, RequestBody, matching, to_body
from airflow_provider_modelarts.client.states import LabelType
from airflow_provider_modelarts.client.validation import decoded, strict_json, validate_whole, wrong

LabelTypeNumber = Annotated[Literal[0, 1, 3, 100, 101, 102, 103, 200, 201, 202, 600], WHOLE]

SampleStateWord = Literal[
    "__ALL__",
    "__NONE__",
    "__UNCHECK__",
    "__ACCEPTED__",
    "__REJECTED__",
    "__UNREVIEWED__",
    "__REVIEWED__",
    "__WORKFORCE_SAMPLED__",
    "__WORKFORCE_SAMPLED_UNCHECK__",
    "__WORKFORCE_SAMPLED_CHECKED__",
    "__WORKFORCE_SAMPLED_ACCEPTED__",
    "__WORKFORCE_SAMPLED_REJECTED__",
    "__AUTO_ANNOTATION__",
]

_LONGEST_SPAN = timedelta(days=30)


def _check_span(text: str) -> str:
    """Refuse days that do not exist, and a span that the service does not search."""
    if text in ("month", "day"):
        return text
    try:
        first, last = (datetime.strptime(day, "%Y%m%d") for day in text.split("-"))  # noqa: DTZ007 - a day, no moment
    except ValueError:
        raise ValueError("names a day that does not exist; it must be yyyyMMdd-yyyyMMdd") from None
    if not timedelta(0) <= last - first <= _LONGEST_SPAN:
        raise ValueError("must be a span of at most 30 days, the first day first")
    return text


Folder = Annotated[str, matching(r"(?s:.*)/", "a folder that ends with a slash")]
SampleTime = Annotated[
    str,
    matching(r"month|day|\d{8}-\d{8}", "month, day, or a span as yyyyMMdd-yyyyMMdd"),
    AfterValidator(_check_span),
]


class SearchLabel(RequestBody):
    """A label that samples must carry."""

    name: str | None = Field(default=None, description="Its name.")
    type: LabelTypeNumber | None = Field(default=None, description="Its type, see LabelType.")
    op: Literal["OR", "AND"] | None = Field(default=None, description="How several attributes are joined.")
    property: Annotated[dict[str, list[str] | None], FROM_JSON] | None = Field(
        default=None, description="Values for each attribute; null: the attribute is present, whatever its value."
    )


class SearchLabels(RequestBody):
    """Labels that samples must carry."""

    labels: Annotated[list[SearchLabel], FROM_JSON] | None = Field(default=None, description="The labels.")
    op: Literal["OR", "AND"] | None = Field(default=None, description="How they are joined; needed with several.")

    @model_validator(mode="after")
    def _say_how_they_are_joined(self) -> Self:
        if len(self.labels or ()) > 1 and self.op is None:
            raise ValueError("has several labels, so it needs op: OR or AND")
        return self


class SearchProp(RequestBody):
    """Attributes of samples, such as the group that auto-grouping wrote."""

    op: Literal["AND", "OR"] | None = Field(default=None, description="How several attributes are joined.")
    props: Annotated[dict[str, list[str]], FROM_JSON] | None = Field(
        default=None, description="Values for each attribute."
    )


class SearchCondition(RequestBody):
    """A condition; the fields of one are joined by AND, and so are the conditions of a list call."""

    coefficient: str | None = Field(default=None, description="Difficulty coefficient, as decimal text.")
    frame_in_video: Integer | None = Field(default=None, description="Number of a frame.")
    hard: Literal["0", "1"] | None = Field(default=None, description="Hard example: 1 yes, 0 no.")
    import_origin: str | None = Field(default=None, description="Where the sample was imported from.")
    kvp: str | None = Field(default=None, description="DICOM: tube voltage of the CT, in kV.")
    label_list: SearchLabels | None = Field(default=None, description="Labels that it carries.")
    labeler: str | None = Field(default=None, description="Who labeled it, such as human/account/user.")
    metadata: SearchProp | None = Field(default=None, description="Attributes of the sample.")
    parent_sample_id: str | None = Field(default=None, description="The sample that it is a part of.")
    sample_dir: Folder | None = Field(default=None, description="Folder that holds it; folders below are not searched.")
    sample_name: str | None = Field(default=None, description="Name of its file, with the extension.")
    sample_time: SampleTime | None = Field(
        default=None, description="When it was added: month, day, or yyyyMMdd-yyyyMMdd of at most 30 days."
    )
    score: str | None = Field(default=None, description="Confidence, as decimal text.")
    slice_thickness: str | None = Field(default=None, description="DICOM: thickness of a layer, in mm.")
    study_date: str | None = Field(default=None, description="DICOM: date of the examination.")
    time_in_video: str | None = Field(default=None, description="Time of a frame.")


Conditions = SearchCondition | Mapping[str, Any] | Sequence[SearchCondition | Mapping[str, Any]] | str
"""A condition, a list of them, or either as JSON text."""


def conditions_text(given: Conditions | None, what: str) -> str | None:
    """Return search conditions as the JSON text of a list, the form that every edition of the service reads.

    :param given: a condition, a list of them, either as JSON text, or None
    :param what: what the request is to do, for the error: "list samples of dataset d"
    :raises InvalidRequest: if it is none of these, or a condition is not of the contract; with the path of the field
    """
    return None if given is None else strict_json(read_conditions(given, what), "search_conditions")


def read_conditions(given: Conditions, what: str) -> list[dict[str, Any]]:
    """Return search conditions as they are sent; parameters as of :func:`conditions_text`."""
    found = decoded(given, "search_conditions")
    conditions = [found] if isinstance(found, (Mapping, SearchCondition)) else found
    if not isinstance(conditions, (list, tuple)) or not all(
        isinstance(one, (Mapping, SearchCondition)) for one in conditions
    ):
        hint = "; the text given is no JSON" if isinstance(found, str) else ""
        raise wrong("search_conditions", f"a list of conditions, which are objects, or its JSON text{hint}", given)
    name = "search_conditions"
    return [to_body(SearchCondition, one, what, path=f"{name}[{number}]") for number, one in enumerate(conditions)]


def choosing_conditions(given: Conditions, what: str) -> list[dict[str, Any]]:
    """Return search conditions that choose by all that they name.

    Without any, or by an empty one, all samples would be meant. By one of which a part is empty more are meant than was
    said: of two labels joined by OR an empty one matches every label.

    :param given: as of :func:`conditions_text`
    :param what: as of :func:`conditions_text`
    :raises InvalidRequest: also for an empty list, and for a condition of which a part says nothing
    """
    found = read_conditions(given, what)
    raw = decoded(given, "search_conditions")
    if not found:
        raise InvalidRequest("search_conditions has no condition. Leave it out to choose all samples.")
    # What is null is dropped when a condition is read, and what is JSON text is an object only then.
    for conditions in ([raw] if isinstance(raw, Mapping) else raw, found):
        path = _silent_part(conditions, "search_conditions")
        if path is not None:
            raise InvalidRequest(
                f"{path} says nothing, so that more samples would be chosen than are meant, or all: look at the "
                "template that it comes from, or leave it out."
            )
    return found


def read_label_type(value: object) -> int:
    """Return the type of labels to choose by.

    :raises InvalidRequest: for what is no type of labels
    """
    found = validate_whole("label_type", value, 0)
    if found not in tuple(LabelType):
        raise wrong("label_type", f"a type of labels: {', '.join(str(int(one)) for one in LabelType)}", value)
    return found


def _silent_part(value: object, path: str) -> str | None:
    """Return the path of the first part without a value; None if all have one.

    A null among the values of an attribute is one: the attribute is present.
    """
    if isinstance(value, Mapping):
        parts = [(f"{path}.{key}", part) for key, part in value.items() if key != "op"]
        if path.endswith(".property"):
            parts = [(name, part) for name, part in parts if part is not None]
            if value and not parts:
                return None
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{place}]", part) for place, part in enumerate(value)]
    else:
        # A folder of which only the slash is left is every folder.
        return path if value is None or (isinstance(value, str) and not value.strip(" /")) else None
    return next((silent for name, part in parts if (silent := _silent_part(part, name))), None) if parts else path
