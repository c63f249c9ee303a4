"""Starting a labeling task: contract 2.1."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from airflow_provider_modelarts.client.requests.base import (
    FROM_JSON,
    WHOLE,
    Flag,
    Id,
    Integer,
    RequestBody,
    SampleIds,
    matching,
)
from airflow_provider_modelarts.client.requests.samples import SampleLabels
from airflow_provider_modelarts.client.requests.search import SampleStateWord, SearchCondition

_PART = r"(0(\.\d+)?|1(\.0+)?)"
ConfidenceScope = Annotated[str, matching(f"{_PART}-{_PART}", "a range such as 0.10-0.90, both from 0 to 1")]


class Flavor(RequestBody):
    """What a training runs on."""

    code: str | None = Field(default=None, description="Code of the resource, such as modelarts.p3.large.")


class InfConfig(RequestBody):
    """What the model of a pre-label task runs on."""

    specification: str | None = Field(default=None, description="Code of the resource, such as modelarts.vm.cpu.2u.")
    instance_count: Integer | None = Field(
        default=None, ge=1, description="How many of them; the console takes 1 (its default) to 5."
    )
    model_id: Id | None = Field(default=None, description="The model.")
    weight: Integer | None = Field(default=None, ge=0, le=100, description="Share of the traffic, in percent.")
    envs: Annotated[dict[str, str], FROM_JSON] | None = Field(default=None, description="Environment variables.")


class TrainingParameter(RequestBody):
    """A parameter of the training; the service's example has further keys, so they are sent, too."""

    model_config = ConfigDict(extra="allow")

    label: str | None = Field(default=None, description="Name of the parameter.")
    value: str | None = Field(default=None, description="Its value, as text.")


class ExportParams(RequestBody):
    """What is exported, and where to: contract 6.6."""

    clear_hard_property: Flag | None = Field(
        default=None, description="Leave out what makes hard examples; the service's default: true."
    )
    export_dataset_version_format: str | None = Field(default=None, description="Format of the version.")
    export_dataset_version_name: str | None = Field(default=None, description="Name of the version.")
    export_dest: Literal["DIR", "NEW_DATASET"] | None = Field(
        default=None, description="DIR (the service's default): a folder of OBS; NEW_DATASET: a dataset."
    )
    export_new_dataset_name: str | None = Field(default=None, description="Name of the new dataset.")
    export_new_dataset_work_path: str | None = Field(default=None, description="Its folder for output, /bucket/dir/.")
    ratio_sample_usage: Flag | None = Field(
        default=None, description="Divide the samples by train_sample_ratio; the service's default: false."
    )
    sample_state: Literal[SampleStateWord, ""] | None = Field(
        default=None, description="Only samples in this state; empty: whatever their state."
    )
    samples: SampleIds | None = Field(default=None, description="Ids of the samples.")
    search_conditions: Annotated[list[SearchCondition], FROM_JSON] | None = Field(
        default=None, description="Only samples for which one of these holds; list calls want all of them to hold."
    )
    train_sample_ratio: str | None = Field(
        default=None, description="Share of samples for training, decimal text from 0 to 1; the service's default 1.00."
    )


class SmartTaskConfig(RequestBody):
    """Settings of a labeling task; the service fills in those that are not given."""

    algorithm_type: Literal["fast", "accurate"] | None = Field(
        default=None, description="fast: trains on labeled samples only; accurate: on unlabeled ones, too."
    )
    ambiguity: Flag | None = Field(default=None, description="auto-grouping: group by blur; the service's default: no.")
    image_brightness: Flag | None = Field(
        default=None, description="auto-grouping: group by brightness; the service's default: no."
    )
    image_colorfulness: Flag | None = Field(
        default=None, description="auto-grouping: group by color; the service's default: no."
    )
    n_clusters: Integer | None = Field(
        default=None,
        ge=1,
        description="auto-grouping: number of groups, fewer than there are samples; the console takes 2 to 200.",
    )
    property: str | None = Field(default=None, description="auto-grouping: attribute that receives the group.")
    result_type: Annotated[Literal[0, 1], WHOLE] | None = Field(
        default=None, description="auto-grouping: 0 writes to OBS, 1 into the samples."
    )
    annotation_output: str | None = Field(default=None, description="Path of OBS; the service's own.")
    collect_rule: Literal["all"] | None = Field(default=None, description="Which samples are hard; only all.")
    collect_sample: Flag | None = Field(
        default=None, description="Collect hard examples; documented default true, answers show false."
    )
    confidence_scope: ConfidenceScope | None = Field(
        default=None, description="Confidences of hard examples, lowest-highest, such as 0.10-0.90."
    )
    description: str | None = Field(default=None, description="For people.")
    engine_name: str | None = Field(default=None, description="Engine of the training.")
    export_format: Annotated[Literal[1, 2], WHOLE] | None = Field(
        default=None, description="1: a folder for each label; 2: one folder, a text file for each image."
    )
    export_params: ExportParams | None = Field(default=None, description="What to export.")
    flavor: Flavor | None = Field(default=None, description="What the training runs on.")
    inf_cluster_id: str | None = Field(default=None, description="Dedicated cluster of the model.")
    inf_config_list: Annotated[list[InfConfig], FROM_JSON] | None = Field(
        default=None, description="pre-label: what the model runs on."
    )
    inf_output: str | None = Field(default=None, description="Path of OBS; the service's own.")
    infer_result_output_dir: str | None = Field(default=None, description="Path of OBS; the service's own.")
    key_sample_output: str | None = Field(default=None, description="Path of OBS; the service's own.")
    log_url: str | None = Field(default=None, description="Path of OBS for logs; the service's own.")
    manifest_path: str | None = Field(default=None, description="Path of OBS of a manifest; the service's own.")
    model_id: Id | None = Field(default=None, description="The model.")
    model_name: str | None = Field(default=None, description="Name of the model.")
    model_parameter: str | None = Field(default=None, description="Parameters of the model.")
    model_version: str | None = Field(default=None, description="Version of the model.")
    name: str | None = Field(default=None, description="Name of the labeling task; the service invents one.")
    output_dir: str | None = Field(default=None, description="Path of OBS; the service's own.")
    parameters: Annotated[list[TrainingParameter], FROM_JSON] | None = Field(
        default=None, description="Parameters of the training."
    )
    pool_id: str | None = Field(default=None, description="Dedicated resource pool.")
    req_uri: str | None = Field(default=None, description="Path of the model's service; the service's own.")
    samples: Annotated[list[SampleLabels], FROM_JSON] | None = Field(default=None, description="Samples to label.")
    stop_time: Integer | None = Field(
        default=None, ge=1, description="Minutes after which it stops; video only; the service's default: 15."
    )
    time: str | None = Field(default=None, description="Time stamp; the service's own.")
    train_data_path: str | None = Field(default=None, description="Path of OBS of training data; the service's own.")
    train_url: str | None = Field(default=None, description="Path of OBS for the training; the service's own.")
    version_format: Literal["Default", "CarbonData", "CSV"] | None = Field(
        default=None, description="Format of the dataset version."
    )
    worker_server_num: Integer | None = Field(
        default=None, ge=0, description="Number of workers of the training; the service's default: 0."
    )


class CreateTaskRequest(RequestBody):
    """Starts a labeling task."""

    task_type: Literal["auto-label", "pre-label", "auto-grouping", "auto-deploy", "auto_deploy"] | None = Field(
        default=None, description="Its kind; auto-deploy is of the edition of 2021 only."
    )
    collect_key_sample: Flag | None = Field(
        default=None, description="Also look for hard examples; the service's default: no."
    )
    model_id: Id | None = Field(default=None, description="pre-label: the model to run.")
    config: SmartTaskConfig | None = Field(default=None, description="Its settings.")
    type: Integer | None = Field(
        default=None, description="Stands in an example of 2021 in place of task_type; do not send."
    )
    export_type: Annotated[Literal[0, 1], WHOLE] | None = Field(
        default=None, description="Stands in an example of 2021: 0 OBS, 1 attributes of samples; do not send."
    )
