"""Publishing a version of a dataset: contract 6.3."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from airflow_provider_modelarts.client.requests.base import Flag, RequestBody, matching
from airflow_provider_modelarts.client.requests.datasets import VersionFormat, VersionName
from airflow_provider_modelarts.client.requests.samples import Coefficient


class CreateVersionRequest(RequestBody):
    """Publishes a version."""

    version_name: VersionName | None = Field(
        default=None, description="Its name, 1 to 32 characters; the service's default: V001, V002 ..."
    )
    version_format: VersionFormat | None = Field(default=None, description="Format of its files.")
    description: (
        Annotated[str, matching(r"""(?s)[^!<>=&"']{0,256}""", """at most 256 characters, none of ! < > = & " '""")]
        | None
    ) = Field(default=None, description="For people, at most 256 characters.")
    clear_hard_property: Flag | None = Field(
        default=None, description="Leave out what makes hard examples; the service's default: true."
    )
    export_images: Flag | None = Field(default=None, description="Also copy the images; the service's default: false.")
    remove_sample_usage: Flag | None = Field(
        default=None, description="Leave out what samples are used for; the service's default: true."
    )
    train_evaluate_sample_ratio: Coefficient | None = Field(
        default=None, description="Share of samples for training, decimal text from 0 to 1; the service's default 1.00."
    )
    with_column_header: Flag | None = Field(
        default=None, description="Tables: the first line has names; the service's default: true."
    )
