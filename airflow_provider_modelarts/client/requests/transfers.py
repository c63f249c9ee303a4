"""Imports and exports of a dataset: contract 6.6."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from airflow_provider_modelarts.client.requests.base import FROM_JSON, WHOLE, Flag, Id, Integer, RequestBody, matching
from airflow_provider_modelarts.client.requests.datasets import (
    DatasetTypeNumber,
    DataSourceBody,
    LabelFormat,
    VersionFormat,
)
from airflow_provider_modelarts.client.requests.labels import LabelBody
from airflow_provider_modelarts.client.requests.search import SampleStateWord
from airflow_provider_modelarts.client.requests.tasks import ExportParams

ObsPath = Annotated[
    str, matching(r"((obs|s3):/)?/[^/]+/(?s:.*)", "a path of OBS: obs://bucket/..., s3://bucket/... or /bucket/...")
]
LabelOrName = Annotated[LabelBody | str, Field(union_mode="left_to_right")]


class ImportTaskRequest(RequestBody):
    """Starts an import."""

    import_path: ObsPath = Field(description="Folder of OBS, or a manifest file.")
    import_type: Literal["dir", "manifest"] | None = Field(default=None, description="What import_path is.")
    import_origin: Literal["obs", "dws", "dli", "rds", "mrs", "inference"] | None = Field(
        default=None, description="Where from; the service's default: obs."
    )
    data_source: DataSourceBody | None = Field(default=None, description="Table data: the source.")
    annotation_format: Literal["VOC", "COCO"] | None = Field(
        default=None, description="Object detection: format of the labels; edition of 2021."
    )
    import_annotations: Flag | None = Field(default=None, description="Import labels; the service's default: true.")
    import_samples: Flag | None = Field(default=None, description="Import samples; the service's default: true.")
    import_folder: str | None = Field(default=None, description="Sub-folder of import_path.")
    final_annotation: Flag | None = Field(
        default=None,
        description="Make imported labels final (the service's default); false: they wait for confirmation, which is "
        "possible for image classification and object detection.",
    )
    difficult_only: Flag | None = Field(default=None, description="Only hard examples; the service's default: false.")
    included_labels: Annotated[list[LabelOrName], FROM_JSON] | None = Field(
        default=None, description="Only samples with these labels; labels, or their names."
    )
    excluded_labels: Annotated[list[LabelOrName], FROM_JSON] | None = Field(
        default=None, description="No samples with these labels; labels, or their names."
    )
    included_tags: Annotated[list[str], FROM_JSON] | None = Field(
        default=None, description="Stands in an example of 2021; do not send."
    )
    label_format: LabelFormat | None = Field(default=None, description="Text: how labels stand in files.")
    with_column_header: Flag | None = Field(
        default=None, description="Tables: the first line has names; the service's default: false."
    )


class ExportTaskRequest(RequestBody):
    """Starts an export."""

    path: ObsPath | None = Field(default=None, description="Folder of OBS to write into; needed in any case.")
    export_type: Annotated[Literal[0, 1, 2, 3], WHOLE] | None = Field(
        default=None, description="Which samples: 0 labeled, 1 unlabeled, 2 all, 3 those that export_params choose."
    )
    export_format: Annotated[Literal[1, 2], WHOLE] | None = Field(
        default=None, description="1: a folder for each label; 2: one folder, a text file for each image."
    )
    annotation_format: Literal["VOC", "COCO"] | None = Field(
        default=None, description="Object detection: format of the labels."
    )
    export_params: ExportParams | None = Field(default=None, description="What is exported, and where to.")
    sample_state: SampleStateWord | None = Field(default=None, description="Only samples in this state.")
    source_type_header: Literal["obs://", "s3://"] | None = Field(
        default=None, description="How addresses in a manifest begin; the service's default: obs://."
    )
    version_format: VersionFormat | None = Field(default=None, description="Format of the version.")
    version_id: Id | None = Field(default=None, description="Export this version instead of the present state.")
    with_column_header: Flag | None = Field(
        default=None, description="Tables: the first line has names; the service's default: true."
    )
    status: Integer | None = Field(default=None, description="In the documents without use; do not send.")
    task_id: Id | None = Field(default=None, description="In the documents without use; do not send.")
    dataset_id: Id | None = Field(default=None, description="Edition of 2021; do not send.")
    dataset_type: DatasetTypeNumber | None = Field(default=None, description="In the documents without use.")
