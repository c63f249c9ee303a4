"""Label updates: contract 3.3, 4.1 and, for the samples of a team, 5.2."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from airflow_provider_modelarts.client.requests.base import (
    FROM_JSON,
    WHOLE,
    Id,
    Integer,
    Number,
    RequestBody,
    matching,
    wrong_value,
)
from airflow_provider_modelarts.client.requests.search import LabelTypeNumber
from airflow_provider_modelarts.client.validation import as_flag

SampleTypeNumber = Annotated[Literal[0, 1, 2, 4, 6, 9], WHOLE]
Shape = Literal["bndbox", "polygon", "circle", "line", "dashed", "point", "polyline"]
Point = Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=1, max_length=2)]
MediaTime = Annotated[str, matching(r"\d{2}:\d{2}:\d{2}\.\d{3}", "a time as hh:mm:ss.SSS")]
Coefficient = Annotated[str, matching(r"0(\.\d+)?|1(\.0+)?", "the text of a decimal number from 0 to 1")]
_REASON = r"([0-9]|[12][0-9]|30)"
Reasons = Annotated[
    str, matching(rf"({_REASON}(-{_REASON})*)?", "ids of reasons from 0 to 30 with hyphens between, such as 3-20")
]


def _modelarts_key(name: str) -> str:
    """Return the service's key of a field; the prefix keeps it apart from attributes that users define."""
    return name.replace("modelarts_", "@modelarts:", 1)


def _to_hard(value: object) -> int | bool:
    """Keep 0, 1 and truth values as they are: the contract has the one, the service writes the other."""
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return value if isinstance(value, bool) else int(value)
    found = as_flag(value) if isinstance(value, str) else None
    if found is None:
        raise wrong_value("0, 1, true or false")
    return found


class SampleLabelProperty(RequestBody):
    """What a label says beyond its name; other keys are attributes of the label that a user has defined."""

    model_config = ConfigDict(extra="allow", alias_generator=_modelarts_key)

    modelarts_content: str | None = Field(
        default=None,
        description="What is said in a piece of speech.",
    )
    modelarts_start_index: Integer | None = Field(
        default=None,
        ge=0,
        description="First character of an entity, counted from 0.",
    )
    modelarts_end_index: Integer | None = Field(
        default=None,
        ge=0,
        description="Character after the last one of an entity.",
    )
    modelarts_start_time: MediaTime | None = Field(
        default=None,
        description="Where a segment of speech begins, hh:mm:ss.SSS.",
    )
    modelarts_end_time: MediaTime | None = Field(
        default=None,
        description="Where a segment of speech ends, hh:mm:ss.SSS.",
    )
    modelarts_source: str | None = Field(
        default=None,
        description="Who speaks.",
    )
    modelarts_feature: Annotated[list[Point], FROM_JSON] | None = Field(
        default=None,
        min_length=1,
        description="Points of a shape in pixels from the top left: [[x, y], ...]; a circle is [[x, y], [radius]].",
    )
    modelarts_shape: Shape | None = Field(
        default=None,
        description="Kind of the shape.",
    )
    modelarts_from: str | None = Field(
        default=None,
        description="Id of the entity at which a relation begins.",
    )
    modelarts_to: str | None = Field(
        default=None,
        description="Id of the entity at which a relation ends.",
    )
    modelarts_hard: Literal["0", "1", "true", "false"] | None = Field(
        default=None,
        description="Hard example, as text.",
    )
    modelarts_hard_coefficient: Coefficient | None = Field(
        default=None,
        description="How hard, as decimal text from 0 to 1.",
    )
    modelarts_hard_reasons: Reasons | None = Field(
        default=None,
        description="Why it is hard: ids of contract 7.5 with hyphens between.",
    )


class SampleLabelBody(RequestBody):
    """A label of a sample."""

    name: str | None = Field(
        default=None, min_length=1, max_length=1024, description="Its name; labels of speech (201, 202) may have none."
    )
    type: LabelTypeNumber | None = Field(default=None, description="Its type, see LabelType.")
    id: Id | None = Field(default=None, description="Its number within the sample, as text.")
    property: SampleLabelProperty | None = Field(default=None, description="What it says beyond its name.")
    score: Number | None = Field(default=None, ge=0, le=1, description="Confidence, 0 to 1.")
    annotated_by: Literal["human", "auto"] | None = Field(default=None, description="Who made it; video only.")


class SampleMetadata(RequestBody):
    """What is stored with a sample; other keys are attributes that a user or auto-grouping has written."""

    model_config = ConfigDict(extra="allow", alias_generator=_modelarts_key)

    modelarts_import_origin: Integer | None = Field(
        default=None,
        description="Where it was imported from; 0 in all known answers.",
    )
    modelarts_hard: Annotated[int | bool, BeforeValidator(_to_hard)] | None = Field(
        default=None,
        description="Hard example: 0 or 1, true or false.",
    )
    modelarts_hard_coefficient: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How hard, 0 to 1.",
    )
    modelarts_hard_reasons: Annotated[list[Annotated[Integer, Field(ge=0, le=30)]], FROM_JSON] | None = Field(
        default=None,
        description="Why it is hard: ids of contract 7.5.",
    )
    modelarts_size: Annotated[list[Annotated[Integer, Field(ge=1)]], FROM_JSON] | None = Field(
        default=None,
        min_length=2,
        max_length=3,
        description="Width, height and depth in pixels; must be given with boxes.",
    )


class SampleLabels(RequestBody):
    """A sample, and what is known of it."""

    sample_id: Id = Field(description="The sample.")
    labels: Annotated[list[SampleLabelBody], FROM_JSON] | None = Field(default=None, description="All its labels.")
    metadata: SampleMetadata | None = Field(default=None, description="What to store with it.")
    sample_type: SampleTypeNumber | None = Field(
        default=None, description="0 image, 1 text, 2 sound, 4 table, 6 video, 9 free format."
    )
    sample_usage: Literal["TRAIN", "EVAL", "TEST", "INFERENCE"] | None = Field(
        default=None, description="What it is used for."
    )
    source: str | None = Field(default=None, description="Its address.")
    worker_id: Id | None = Field(default=None, description="Team labeling: the member whose copy is meant.")
