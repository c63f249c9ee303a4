"""The label set of a dataset: contract 6.2."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from airflow_provider_modelarts.client.requests.base import FROM_JSON, RequestBody, matching
from airflow_provider_modelarts.client.requests.search import LabelTypeNumber

Color = Annotated[str, matching(r"(#[0-9A-Fa-f]{6})?", "a color as #rrggbb, or empty")]
LabelName = Annotated[str, Field(min_length=1, max_length=1024)]


class LabelPropertyBody(RequestBody):
    """How a label looks and is used; what is not given stays as it is."""

    color: Color | None = Field(
        default=None,
        validation_alias="@modelarts:color",
        serialization_alias="@modelarts:color",
        description="Its color, #rrggbb; empty: none.",
    )
    default_shape: Literal["bndbox", "polygon", "circle", "line", "dashed", "point", "polyline", ""] | None = Field(
        default=None,
        validation_alias="@modelarts:default_shape",
        serialization_alias="@modelarts:default_shape",
        description="Object detection: the shape that the console draws.",
    )
    from_type: str | None = Field(
        default=None,
        validation_alias="@modelarts:from_type",
        serialization_alias="@modelarts:from_type",
        description="Triplets: label of the entities at which a relation begins.",
    )
    to_type: str | None = Field(
        default=None,
        validation_alias="@modelarts:to_type",
        serialization_alias="@modelarts:to_type",
        description="Triplets: label of the entities at which a relation ends.",
    )
    rename_to: LabelName | None = Field(
        default=None,
        validation_alias="@modelarts:rename_to",
        serialization_alias="@modelarts:rename_to",
        description="The label's new name; samples that have the label follow.",
    )
    shortcut: str | None = Field(
        default=None,
        validation_alias="@modelarts:shortcut",
        serialization_alias="@modelarts:shortcut",
        description="Key of the console; no two labels of a dataset have the same.",
    )


class AttributeValueBody(RequestBody):
    """One of the values among which an attribute chooses."""

    id: str | None = Field(default=None, description="Its id.")
    value: str | None = Field(default=None, description="The value.")


class LabelAttributeBody(RequestBody):
    """An attribute that each use of a label may have."""

    id: str | None = Field(default=None, description="Its id.")
    name: str | None = Field(default=None, max_length=64, description="Its name, at most 64 characters.")
    type: Literal["text", "select"] | None = Field(default=None, description="Free text, or one of several values.")
    default_value: str | None = Field(default=None, description="The value without a choice.")
    values: Annotated[list[AttributeValueBody], FROM_JSON] | None = Field(
        default=None, description="select: the values."
    )


class LabelBody(RequestBody):
    """A label, by its name."""

    name: LabelName | None = Field(default=None, description="Its name, 1 to 1024 characters.")
    type: LabelTypeNumber | None = Field(default=None, description="Its type, see LabelType; default: the dataset's.")
    property: LabelPropertyBody | None = Field(default=None, description="How it looks and is used.")
    attributes: Annotated[list[LabelAttributeBody], FROM_JSON] | None = Field(
        default=None, description="Attributes of each of its uses."
    )


def _check_names(labels: list[LabelBody]) -> list[LabelBody]:
    """Refuse labels without a name, and a name that comes twice: answers tell labels apart by position only."""
    for number, label in enumerate(labels):
        if label.name is None:
            raise ValueError(f"has no name in element {number}")
    for name, times in Counter(label.name for label in labels).items():
        if times > 1:
            raise ValueError(f"has the label {str(name)[:100]!r} {times} times: give each once")
    return labels


def _check_some(labels: list[LabelBody]) -> list[LabelBody]:
    if not labels:
        raise ValueError("is empty: give at least one label")
    return labels


NamedLabels = Annotated[list[LabelBody], FROM_JSON, AfterValidator(_check_names)]
"""Labels of which each has a name, and none comes twice."""
SomeLabels = Annotated[NamedLabels, AfterValidator(_check_some)]
"""The same, at least one."""


class LabelsRequest(RequestBody):
    """Creates, changes or deletes labels."""

    labels: SomeLabels = Field(description="The labels.")
