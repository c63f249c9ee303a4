"""Creating and changing datasets: contract 6.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from airflow_provider_modelarts.client.requests.base import (
    FROM_JSON,
    WHOLE,
    Flag,
    Id,
    Integer,
    RequestBody,
    matching,
)
from airflow_provider_modelarts.client.requests.labels import NamedLabels, SomeLabels
from airflow_provider_modelarts.client.validation import decoded

_NAME = r"[A-Za-z0-9_\-\u4e00-\u9fa5]"
_CHARACTERS = "letters, digits, underscores and hyphens"

DatasetName = Annotated[str, matching(_NAME + "{1,100}", f"1 to 100 {_CHARACTERS}")]
VersionName = Annotated[str, matching(_NAME + "{1,32}", f"1 to 32 {_CHARACTERS}")]
TeamTaskName = Annotated[str, matching(_NAME + "{1,64}", f"1 to 64 {_CHARACTERS}")]
Description = Annotated[
    str, matching(r"""(?s)[^\^!<>=&"']{0,256}""", """at most 256 characters, none of ^ ! < > = & " '""")
]
DatasetTypeNumber = Annotated[Literal[0, 1, 3, 100, 101, 102, 200, 201, 202, 400, 600, 900], WHOLE]
VersionFormat = Literal["Default", "CarbonData", "CSV"]


class SchemaMap(RequestBody):
    """Table data: which column becomes which."""

    src_name: str | None = Field(default=None, description="Name of the column in the source.")
    dest_name: str | None = Field(default=None, description="Name of the column in the dataset.")


class SourceInfo(RequestBody):
    """Where table data come from."""

    cluster_id: str | None = Field(default=None, description="Id of the MRS or DWS cluster.")
    cluster_mode: str | None = Field(default=None, description="MRS: 0 normal, 1 security.")
    cluster_name: str | None = Field(default=None, description="Name of the cluster.")
    database_name: str | None = Field(default=None, description="Name of the database.")
    input: str | None = Field(default=None, description="HDFS path of the table.")
    ip: str | None = Field(default=None, description="Address of the database.")
    port: str | None = Field(default=None, description="Port of the database, as text.")
    queue_name: str | None = Field(default=None, description="DLI: queue.")
    subnet_id: str | None = Field(default=None, description="Id of the subnet.")
    table_name: str | None = Field(default=None, description="Name of the table.")
    user_name: str | None = Field(default=None, description="User of the database.")
    user_password: str | None = Field(default=None, description="The user's password; never shown.")
    vpc_id: str | None = Field(default=None, description="Id of the VPC.")


class DataSourceBody(RequestBody):
    """Where a dataset takes its files from."""

    data_path: str | None = Field(default=None, description="Folder of OBS, /bucket/folder/.")
    data_type: Annotated[Literal[0, 1, 2, 3, 4, 5, 6], WHOLE] | None = Field(
        default=None,
        description="0 OBS (the service's default), 1 DWS, 2 DLI, 3 RDS, 4 MRS, 5 AI Gallery, 6 inference service.",
    )
    schema_maps: Annotated[list[SchemaMap], FROM_JSON] | None = Field(default=None, description="Table data: columns.")
    source_info: SourceInfo | None = Field(default=None, description="Table data: the source.")
    with_column_header: Flag | None = Field(default=None, description="Table data: the first line has names.")


class LabelFormat(RequestBody):
    """How labels stand in text files."""

    label_type: Literal["0", "1"] | None = Field(
        default=None, description="0: in a file of their own, name_result; 1 (the service's default): in the same file."
    )
    text_label_separator: str | None = Field(
        default=None, max_length=2, description="Between labels; the service's default: a comma."
    )
    text_sample_separator: str | None = Field(
        default=None, max_length=2, description="Between text and labels; the service's default: a tab."
    )


class TableColumn(RequestBody):
    """A column of table data."""

    schema_id: Integer | None = Field(default=None, description="Number of the column.")
    name: str | None = Field(default=None, description="Name of the column.")
    type: str | None = Field(default=None, description="Type of the column, such as STRING.")
    description: str | None = Field(default=None, description="For people.")


class WorkforceInformation(RequestBody):
    """A team labeling task that is made with the dataset: contract 5.2."""

    task_name: TeamTaskName = Field(description="Its name, 1 to 64 characters.")
    task_id: Id | None = Field(default=None, description="Its id.")
    repetition: Integer | None = Field(default=None, ge=1, description="How many members label each sample.")
    data_sync_type: Annotated[Literal[0, 1, 2, 3], WHOLE] | None = Field(
        default=None, description="What new samples bring: 0 nothing, 1 data, 2 labels, 3 both."
    )
    synchronize_data: Flag | None = Field(default=None, description="Hand new samples to the team.")
    synchronize_auto_labeling_data: Flag | None = Field(default=None, description="Hand proposals to the team.")
    workforces_config: Annotated[dict[str, Any], FROM_JSON] | None = Field(
        default=None, description="Teams and members, or the manager who distributes the work."
    )


class CreateDatasetRequest(RequestBody):
    """Makes a dataset."""

    dataset_name: DatasetName = Field(description="Its name, 1 to 100 characters; no two datasets have the same.")
    work_path: str = Field(
        min_length=3,
        max_length=700,
        description="Folder of OBS for output, /bucket/folder/; not a bucket alone, not the input folder or below it.",
    )
    work_path_type: Annotated[Literal[0], WHOLE] | None = Field(
        default=None, description="Where work_path is: 0 (OBS), which is filled in."
    )
    dataset_type: DatasetTypeNumber | None = Field(default=None, description="What is labeled, see DatasetType.")
    data_sources: Annotated[list[DataSourceBody], FROM_JSON] | None = Field(
        default=None, min_length=1, max_length=1, description="Its files: one source. The edition of 2025 requires it."
    )
    description: Description | None = Field(default=None, description="For people, at most 256 characters.")
    labels: NamedLabels | None = Field(default=None, description="Its labels.")
    data_format: Literal["Default", "CarbonData"] | None = Field(default=None, description="CarbonData: tables only.")
    import_annotations: Flag | None = Field(
        default=None, description="Also take labels that lie beside the files; the service's default: true."
    )
    import_data: Flag | None = Field(default=None, description="Tables: read the data; the service's default: false.")
    label_format: LabelFormat | None = Field(default=None, description="Text: how labels stand in files.")
    managed: Flag | None = Field(default=None, description="Let the service keep the files; its default: false.")
    columns: Annotated[list[TableColumn], FROM_JSON] | None = Field(
        default=None, validation_alias="schema", serialization_alias="schema", description="Tables: the columns."
    )
    workforce_information: WorkforceInformation | None = Field(
        default=None, description="A team labeling task to make with it."
    )
    workspace_id: Id | None = Field(default=None, description="Its workspace; the service's default: 0.")

    @model_validator(mode="before")
    @classmethod
    def _say_where_work_path_is(cls, data: Any) -> Any:
        """Fill in what the contract requires, although there is only one value."""
        data = decoded(data)
        is_silent = isinstance(data, Mapping) and data.get("work_path_type") is None
        return {**data, "work_path_type": 0} if is_silent else data

    @model_validator(mode="after")
    def _keep_output_apart(self) -> Self:
        parts = self.work_path.split("/")
        if parts[0] or len([part for part in parts if part]) < 2:
            raise ValueError("has a work_path that is no folder in a bucket: it must be /bucket/folder/")
        inputs = [source.data_path for source in self.data_sources or () if source.data_path]
        for path in inputs:
            if _folder(self.work_path).startswith(_folder(path)):
                raise ValueError("has a work_path within its data_path: output must not lie in the input folder")
        return self


def _folder(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"


class UpdateDatasetRequest(RequestBody):
    """Changes a dataset; what is not given stays as it is."""

    dataset_name: DatasetName | None = Field(default=None, description="New name, 1 to 100 characters.")
    description: (
        Annotated[str, matching(r"""(?s)[^\^!<>=&"]{0,256}""", 'at most 256 characters, none of ^ ! < > = & "')] | None
    ) = Field(default=None, description="For people, at most 256 characters.")
    current_version_id: Id | None = Field(default=None, description="The version to switch to.")
    add_labels: SomeLabels | None = Field(default=None, description="Labels to add.")
    update_labels: SomeLabels | None = Field(default=None, description="Labels to change, by their names.")
    delete_labels: SomeLabels | None = Field(default=None, description="Labels to delete, by their names.")
    dataset_id: Id | None = Field(default=None, description="Stands in an example of 2021; do not send.")
    add_tags: SomeLabels | None = Field(
        default=None, description="Stands in an example of 2021 in place of add_labels; do not send."
    )
