"""Uploading and deleting samples: contract 6.4."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from airflow_provider_modelarts.client.requests.base import (
    FROM_JSON,
    Flag,
    RequestBody,
    SampleIds,
    matching,
    wrong_value,
)
from airflow_provider_modelarts.client.requests.datasets import DataSourceBody, LabelFormat
from airflow_provider_modelarts.client.requests.samples import SampleLabelBody, SampleMetadata, SampleTypeNumber

LARGEST = 12_582_912
"""Bytes that one sample may have (contract 7.3)."""

FileName = Annotated[
    str, matching(r"""(?s)[^!<>=&"']{1,1024}""", """a file name of 1 to 1024 characters, none of ! < > = & " '""")
]


def _to_base64(value: Any) -> Any:
    """Return bytes as the text that is sent; text is taken to be such text already."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, (bytes, bytearray, memoryview)) else value


def _check_content(text: str) -> str:
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise wrong_value("the bytes of the file, or their base64 text") from None
    if not content:
        raise ValueError("is empty: give the bytes of the file")
    if len(content) > LARGEST:
        raise ValueError(f"has {len(content)} bytes, more than the {LARGEST} of a sample")
    return text


Content = Annotated[str, BeforeValidator(_to_base64), AfterValidator(_check_content)]


class SampleFile(RequestBody):
    """One sample to upload."""

    name: FileName = Field(description="Name of the file, with its extension.")
    data: Content | None = Field(default=None, repr=False, description="The file: its bytes, or their base64 text.")
    data_source: DataSourceBody | None = Field(default=None, description="The file, if it lies in OBS already.")
    encoding: Literal["UTF-8", "GBK", "GB2312"] | None = Field(
        default=None, description="Text: how it is encoded; the service's default: UTF-8."
    )
    labels: Annotated[list[SampleLabelBody], FROM_JSON] | None = Field(default=None, description="Its labels.")
    metadata: SampleMetadata | None = Field(
        default=None, description="What to store with it; with boxes it must give @modelarts:size."
    )
    sample_type: SampleTypeNumber | None = Field(
        default=None, description="0 image, 1 text, 2 sound, 4 table, 6 video, 9 free format."
    )


def _check_files(samples: list[SampleFile]) -> list[SampleFile]:
    """Refuse nothing at all, a name that comes twice, and a sample without a file."""
    if not samples:
        raise ValueError("is empty: give at least one sample")
    for number, sample in enumerate(samples):
        if (sample.data is None) == (sample.data_source is None):
            raise ValueError(f"has in element {number} not exactly one of data and data_source")
    name, times = Counter(sample.name for sample in samples).most_common(1)[0]
    if times > 1:
        raise ValueError(f"has the file {name[:100]!r} {times} times: only one of them could remain")
    return samples


class UploadSamplesRequest(RequestBody):
    """Uploads samples."""

    samples: Annotated[list[SampleFile], FROM_JSON, AfterValidator(_check_files)] = Field(description="The samples.")
    final_annotation: Flag | None = Field(
        default=None,
        description="Make their labels final (the service's default); false: they wait for confirmation, which is "
        "possible for image classification and object detection.",
    )
    label_format: LabelFormat | None = Field(default=None, description="Text: how labels stand in files.")


class DeleteSamplesRequest(RequestBody):
    """Deletes samples."""

    samples: SampleIds = Field(description="Their ids.")
    delete_source: Flag | None = Field(
        default=None, description="Also delete their files in OBS; the service's default: false."
    )
