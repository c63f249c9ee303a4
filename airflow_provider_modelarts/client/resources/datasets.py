"""Datasets and their statistics: contract 6.1, 6.5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.lost_replies import advice_after_loss, check_success, delete, id_of, with_one_of
from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    given,
    read,
    to_flag,
    to_integer,
    to_name,
    to_object,
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.labels import Label, LabelStats
from airflow_provider_modelarts.client.resources.readers import list_of, to_counts, to_texts
from airflow_provider_modelarts.client.resources.samples import HardDetail, to_hard_details
from airflow_provider_modelarts.client.resources.versions import DatasetVersion, version_query
from airflow_provider_modelarts.client.states import DatasetStatus, DatasetType, Order
from airflow_provider_modelarts.client.validation import (
    validate_choice,
    validate_flag,
    validate_id,
    validate_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_modelarts.client.requests.datasets import CreateDatasetRequest, UpdateDatasetRequest
    from airflow_provider_modelarts.client.states import SampleState
    from airflow_provider_modelarts.client.transport.transport import Transport

NORMAL = DatasetStatus.NORMAL
"""Status of a dataset that can be worked with."""

ORDERS = tuple(map(str, Order))
SORTS = ("create_time", "dataset_name")
DATASET_VERSIONS = ("v1", "v2", "all")
LOCALES = ("en-us", "zh-cn")
_STATISTICS = ("key_sample_stats", "label_stats", "sample_stats")
_MILLISECONDS = "integer, epoch milliseconds"


class SchemaMapping(Model):
    """Table data: which column becomes which."""

    src_name = Field(to_text, "text: name of the column in the source.")
    dest_name = Field(to_text, "text: name of the column in the dataset.")


class DataSource(Model):
    """Where a dataset takes its files from."""

    data_path = Field(to_text, "text: folder of OBS, /bucket/folder/.")
    data_type = Field(to_integer, "integer: 0 OBS, 1 DWS, 2 DLI, 3 RDS, 4 MRS, 5 AI Gallery, 6 inference service.")
    schema_maps = Field(list_of(SchemaMapping), "tuple: table data, the columns.")
    source_info = Field(to_object, "object: table data, the source as it arrived.")
    with_column_header = Field(to_flag, "truth value: table data, the first line has names.")


class Column(Model):
    """A column of table data."""

    schema_id = Field(to_integer, "integer: number of the column.")
    name = Field(to_name, "text: name of the column.")
    type = Field(to_text, "text: type of the column, such as STRING.")
    description = Field(to_text, "text: for people.")


class PreviewFile(Model):
    """One of the up to four files that a list of datasets shows; its address is signed and expires."""

    file_id = Field(to_text, "text: id of the file.")
    file_type = Field(to_text, "text: type of the file.")
    url = Field(to_text, "text: presigned address; never to be stored or logged.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was created.")
    dataset_id = Field(to_text, "text: the dataset.")
    size = Field(to_integer, "integer, bytes: its size.")
    width = Field(to_integer, "integer, pixels: width of the image.")
    height = Field(to_integer, "integer, pixels: height of the image.")
    depth = Field(to_integer, "integer: channels of the image.")
    tags = Field(to_object, "object: what is attached to it.")

    @property
    def file_name(self) -> str | None:
        """Its name; the service calls it ``file_Name``."""
        return to_text(self.raw.get("file_Name"))


class Dataset(Model):
    """A dataset; its id and name are empty, and other fields None, if the service left them out."""

    dataset_id = Field(to_name, "text: id.")
    dataset_name = Field(to_name, "text, at most 100 characters: name.")
    dataset_type = Field(DatasetType.read, "integer, see DatasetType: what is labeled; unknown ones stay numbers.")
    status = Field(DatasetStatus.read, "integer, see DatasetStatus: what it does; unknown ones stay numbers.")
    description = Field(to_text, "text: for people.")
    data_format = Field(to_text, "text: ``Default`` or ``CarbonData``.")
    dataset_format = Field(to_integer, "integer: 0 files, 1 table.")
    dataset_version = Field(to_text, "text: ``v1`` or ``v2``, which of the service's kinds of datasets it is.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was created.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")
    data_update_time = Field(to_integer, f"{_MILLISECONDS}: when its data were changed.")
    data_sources = Field(list_of(DataSource), "tuple: where its files come from.")
    data_url = Field(to_text, "text: folder of its files; in lists only.")
    work_path = Field(to_text, "text: folder of OBS for output.")
    work_path_type = Field(to_integer, "integer: 0 OBS.")
    inner_work_path = Field(to_text, "text: its own folder within work_path.")
    inner_annotation_path = Field(to_text, "text: folder of published labels.")
    inner_data_path = Field(to_text, "text: folder of published data.")
    inner_log_path = Field(to_text, "text: folder of logs.")
    inner_temp_path = Field(to_text, "text: folder of temporary files.")
    inner_task_path = Field(to_text, "text: folder of labeling tasks.")
    third_path = Field(to_text, "text: path of a third party.")
    unconfirmed_sample_count = Field(to_integer, "integer, samples: those that await confirmation.")
    deleted_sample_count = Field(to_integer, "integer, samples: those that were deleted.")
    loading_sample_count = Field(to_integer, "integer, samples: those that are being loaded.")
    total_sub_sample_count = Field(to_integer, "integer, samples: parts of samples, such as frames.")
    annotated_sub_sample_count = Field(to_integer, "integer, samples: labeled parts of samples.")
    labels = Field(list_of(Label), "tuple: its labels; in lists only if asked for.")
    current_version_id = Field(to_text, "text: id of the current version; None or empty if there is none.")
    current_version_name = Field(to_text, "text: name of the current version.")
    next_version_num = Field(to_integer, "integer: number of the version that is published next.")
    dataset_version_count = Field(to_integer, "integer, versions: how many were published.")
    versions = Field(list_of(DatasetVersion), "tuple: its versions; in lists, if asked for.")
    exist_running_task = Field(to_flag, "truth value: whether a task of the kind asked for runs.")
    exist_workforce_task = Field(to_flag, "truth value: whether there is a team labeling task.")
    workforce_task_count = Field(to_integer, "integer, tasks: how many team labeling tasks there are.")
    label_task_count = Field(to_integer, "integer, tasks: how many labeling tasks there are.")
    content_labeling = Field(to_flag, "truth value: speech, whether its content is labeled.")
    feature_supports = Field(to_texts, "tuple of texts: what it supports; 0 labels of files.")
    managed = Field(to_flag, "truth value: whether the service keeps its files.")
    import_data = Field(to_flag, "truth value: tables, whether the data were read.")
    import_task_id = Field(to_text, "text: id of the import that filled it.")
    dataset_tags = Field(to_texts, "tuple of texts: what it is tagged with.")
    deletion_stats = Field(to_counts, "map: samples by the reason of their deletion.")
    data_statistics = Field(to_object, "object: statistics of table data, as they arrived.")
    ai_project = Field(to_text, "text: project it belongs to; not documented.")
    enterprise_project_id = Field(to_text, "text: id of the enterprise project.")
    workspace_id = Field(to_text, "text: id of the workspace; 0 is the default one.")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Tables: the columns, which the service calls ``schema``."""
        return list_of(Column)(self.raw.get("schema"))

    @property
    def preview(self) -> tuple[PreviewFile, ...]:
        """Up to four of its files, in lists and if asked for; ``samples``, and ``files`` in the edition of 2021."""
        return list_of(PreviewFile)(self.raw.get("samples") or self.raw.get("files"))

    @property
    def workforces(self) -> tuple[dict[str, Any], ...]:
        """What ``workforce_descriptor`` says of the teams that label it, as it arrived: one object, or a list."""
        found = self.raw.get("workforce_descriptor")
        return tuple(to_objects(found if isinstance(found, list) else [found]))

    @property
    def total_sample_count(self) -> int:
        """Samples in it, whatever their state."""
        return given(self, "total_sample_count")

    @property
    def annotated_sample_count(self) -> int:
        """Samples with final labels."""
        return given(self, "annotated_sample_count")

    @property
    def running_task_ids(self) -> tuple[str, ...]:
        """What runs, by id; filled only if asked for with ``running_task_type``."""
        return to_texts(self.raw.get("running_tasks_id"))

    @property
    def is_normal(self) -> bool:
        """Whether nothing (publishing, import, synchronization ...) stands against working with it."""
        return self.status == DatasetStatus.NORMAL


class CreatedDataset(Model):
    """What the service says of a dataset that it has begun to create."""

    dataset_id = Field(to_name, "text: id; read it until its status is NORMAL.")
    import_task_id = Field(to_text, "text: id of the import that fills it.")
    error_code = Field(to_text, "text: code of what went wrong beside.")
    error_msg = Field(to_text, "text: what went wrong beside.")


class DatasetStats(Model):
    """Statistics of a dataset; the two counts of a label have nothing to do with each other."""

    @property
    def labels(self) -> tuple[LabelStats, ...]:
        """Counts for each label."""
        return list_of(LabelStats)(self.raw.get("label_stats"))

    @property
    def samples(self) -> dict[str, int]:
        """Counts by state: ``un_annotation, manual_annotation, auto_annotation, all, total, deleted, lefted``."""
        return to_counts(self.raw.get("sample_stats"))

    @property
    def key_samples(self) -> dict[str, int]:
        """Counts of hard examples: ``total, key_sample, non_key_sample``."""
        return to_counts(self.raw.get("key_sample_stats"))

    @property
    def grouped_labels(self) -> dict[str, tuple[LabelStats, ...]]:
        """Counts for each label by group."""
        groups = to_object(self.raw.get("grouped_label_stats"))
        return {name: list_of(LabelStats)(labels) for name, labels in groups.items()}

    @property
    def hard_details(self) -> dict[int, HardDetail]:
        """The reasons for which samples are hard, each explained; their numbers are in ``hard_detail_stats``."""
        stats = to_object(self.raw.get("hard_detail_stats"))
        return to_hard_details({reason: to_object(one).get("value") for reason, one in stats.items()})

    hard_detail_stats = Field(to_object, "object: reasons of hard examples with their numbers, as they arrived.")
    metadata_stats = Field(to_object, "object: attributes of samples with their numbers, as they arrived.")
    deletion_stats = Field(to_counts, "map: samples by the reason of their deletion.")
    data_path = Field(to_text, "text: folder of the data.")
    data_spliting_enable = Field(to_flag, "truth value: whether a version can be split; the service spells it so.")


class DatasetMetrics(Model):
    """Counts over time."""

    @property
    def series(self) -> dict[str, dict[int, int]]:
        """By name, such as ``total``, ``manual_annotation`` and ``un_annotation``: epoch milliseconds and count."""
        found = to_object(self.raw.get("metrics"))
        return {name: _points(values) for name, values in found.items()}


def _points(value: object) -> dict[int, int]:
    points = {to_integer(time): count for time, count in to_counts(value).items()}
    return {time: count for time, count in points.items() if time is not None}


class SearchOptions(Model):
    """What samples of a dataset can be searched by."""

    labels = Field(list_of(Label), "tuple: labels.")
    labelers = Field(to_texts, "tuple of texts: who labeled, such as ``human/account/user``.")

    @property
    def metadata(self) -> dict[str, tuple[str, ...]]:
        """Attributes of samples with the values that occur."""
        return {name: to_texts(values) for name, values in to_object(self.raw.get("metadata")).items()}


class Datasets:
    """Calls about datasets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, dataset_id: str, *, running_task_type: int | None = None, retry: bool = True) -> Dataset:
        """Return a dataset (contract 6.1).

        :param dataset_id: the dataset
        :param running_task_type: also ask what of this kind runs; 0 auto-label, 1 pre-label, 2 export, 3 switch of the
            version, 4 export and 5 import of a manifest, 6 publication, 7 auto-grouping, 10 deployment
        :param retry: False: one attempt, for polls
        :raises NotFound: if the service does not know it
        """
        what = f"read dataset {validate_id('dataset_id', dataset_id)}"
        answer = self._transport.get(what, "datasets", dataset_id, query=_running(running_task_type), retry=retry)
        return read(Dataset, checked_answer(answer, what, dataset_id=dataset_id), what)

    def list(
        self,
        *,
        search: str | None = None,
        dataset_type: int | None = None,
        order: Order | str | None = None,
        sort_by: str | None = None,
        with_labels: bool | None = None,
        file_preview: bool | None = None,
        contain_versions: bool | None = None,
        support_export: bool | None = None,
        train_evaluate_ratio: str | None = None,
        version_format: int | None = None,
        workspace_id: str | None = None,
        dataset_version: str | None = None,
        running_task_type: int | None = None,
    ) -> Iterator[Dataset]:
        """Yield the datasets of the project, newest first unless ordered otherwise (contract 6.1).

        :param search: only those with this text in their name
        :param dataset_type: only those of this type
        :param order: ``asc`` or ``desc`` (the service's default)
        :param sort_by: ``create_time`` (the service's default) or ``dataset_name``
        :param with_labels: also their labels; large accounts have seen time-outs with it
        :param file_preview: also up to four files of each
        :param contain_versions: also their versions
        :param support_export: only those that can be exported
        :param train_evaluate_ratio: only those with a version whose ratio lies between two, ``"0.5,0.9"``
        :param version_format: only those with a version of this format: 0 Default, 1 CarbonData, 2 CSV
        :param workspace_id: only those of this workspace
        :param dataset_version: ``v1``, ``v2`` or ``all``, the service's kinds of datasets
        :param running_task_type: also ask what of this kind runs, as of :meth:`get`
        :raises InvalidRequest: for values outside the contract, before anything is sent
        """
        flags = {
            "with_labels": with_labels,
            "file_preview": file_preview,
            "contain_versions": contain_versions,
            "support_export": support_export,
        }
        query = {
            "search_content": search,
            "dataset_type": None if dataset_type is None else str(validate_whole("dataset_type", dataset_type, 0)),
            "order": None if order is None else validate_choice("order", order, ORDERS),
            "sort_by": None if sort_by is None else validate_choice("sort_by", sort_by, SORTS),
            **{name: None if flag is None else str(validate_flag(name, flag)).lower() for name, flag in flags.items()},
            **version_query(train_evaluate_ratio, version_format),
            "workspace_id": None if workspace_id is None else validate_id("workspace_id", workspace_id),
            "dataset_version": (
                None
                if dataset_version is None
                else validate_choice("dataset_version", dataset_version, DATASET_VERSIONS)
            ),
            **_running(running_task_type),
        }
        listing = ListEndpoint(
            "list datasets", ("datasets",), Dataset, "datasets", "total_number", ("dataset_id",), query
        )
        return listing.walk(self._transport)

    def find(self, dataset_name: str) -> Dataset | None:
        """Return the dataset of a name, None without one: what was created although the answer was lost.

        :param dataset_name: the whole name
        """
        return next((one for one in self.list(search=dataset_name) if one.dataset_name == dataset_name), None)

    def create(
        self, dataset: CreateDatasetRequest | Mapping[str, Any], *, extra: Mapping[str, Any] | None = None
    ) -> CreatedDataset:
        """Create a dataset (contract 6.1). It is never sent twice once it may have been carried out.

        The service reads the files afterwards: the dataset can be used when its status is NORMAL.

        :param dataset: ``CreateDatasetRequest``, or an object with ``dataset_name``, ``work_path``, ``data_sources``
        :param extra: fields that the contract does not know
        :raises InvalidRequest: for values outside the contract, before anything is sent; for a name that is taken
            (``ModelArts.4351``)
        :raises PreconditionFailed: if the quota of datasets is used up
        :raises ModelArtsError: after a lost answer it may have been created: :meth:`find` it by its name
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.datasets import CreateDatasetRequest as Body

        body = to_body(Body, dataset, "create a dataset", extra)
        name = body["dataset_name"]
        what = f"create dataset {name}"
        advice = f"Look for it with datasets.find({name!r}) before creating it again."
        with advice_after_loss(advice):
            answer = self._transport.write("POST", what, "datasets", body=body, own=("dataset_id",))
        id_of(answer, "dataset_id", what, advice)
        return read(CreatedDataset, answer, what)

    def update(
        self,
        dataset_id: str,
        changes: UpdateDatasetRequest | Mapping[str, Any],
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Change name, description, labels or the current version of a dataset (contract 6.1).

        :param dataset_id: the dataset
        :param changes: ``UpdateDatasetRequest``, or an object with what is to change
        :param extra: fields that the contract does not know
        :raises InvalidRequest: for no change or values outside the contract, before anything is sent
        :raises NotFound: if there is no such dataset, version or label
        :raises DatasetBusy: while a version is being published, switched or imported
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.datasets import UpdateDatasetRequest as Body

        what = f"update dataset {validate_id('dataset_id', dataset_id)}"
        body = to_body(Body, changes, what, extra)
        if not body:
            raise InvalidRequest(f"Cannot {what}: nothing is given that is to change.")
        with advice_after_loss("Read the dataset and its labels before sending it again."):
            answer = self._transport.write("PUT", what, "datasets", dataset_id, body=body, own=("dataset_id",))
            checked_answer(answer, what, dataset_id=dataset_id)

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset with its labels and versions; its files stay (contract 6.1).

        It is read first, so that a repeated request that finds it deleted counts as success.

        :param dataset_id: the dataset
        :raises NotFound: if the service does not know it
        :raises PreconditionFailed: while a labeling task is not finished (``ModelArts.4803``)
        """
        what = f"delete dataset {validate_id('dataset_id', dataset_id)}"
        delete(
            lambda: self.get(dataset_id),
            lambda: check_success(self._transport.harmless("DELETE", what, "datasets", dataset_id), what),
        )

    def stats(
        self,
        dataset_id: str,
        *,
        sample_state: SampleState | str | None = None,
        email: str | None = None,
        locale: str | None = None,
    ) -> DatasetStats:
        """Return the statistics of a dataset (contract 6.5).

        :param dataset_id: the dataset
        :param sample_state: count only samples in this state (contract 6.4)
        :param email: count only what this team member has labeled
        :param locale: language of texts in the answer, ``en-us`` (the service's default) or ``zh-cn``
        """
        what = f"read statistics of dataset {validate_id('dataset_id', dataset_id)}"
        query = {
            "sample_state": sample_state,
            "email": email,
            "locale": None if locale is None else validate_choice("locale", locale, LOCALES),
        }
        answer = self._transport.get(what, "datasets", dataset_id, "data-annotations", "stats", query=query)
        answer = with_one_of(answer, what, *_STATISTICS)
        return read(DatasetStats, answer, what)

    def metrics(
        self, dataset_id: str, *, start_time: int, end_time: int, workforce_task_id: str | None = None
    ) -> DatasetMetrics:
        """Return the counts of a dataset over time (contract 6.1).

        :param dataset_id: the dataset
        :param start_time: from when on, epoch milliseconds
        :param end_time: until when, epoch milliseconds
        :param workforce_task_id: the counts of this team labeling task
        :raises InvalidRequest: for times that are none, or an end before the start, before anything is sent
        """
        what = f"read metrics of dataset {validate_id('dataset_id', dataset_id)}"
        start, end = validate_whole("start_time", start_time, 0), validate_whole("end_time", end_time, 0)
        if end < start:
            raise InvalidRequest(f"end_time must not be before start_time, but {end} is before {start}.")
        query = {
            "start_time": str(start),
            "end_time": str(end),
            "workforce_task_id": (
                None if workforce_task_id is None else validate_id("workforce_task_id", workforce_task_id)
            ),
        }
        answer = self._transport.get(what, "datasets", dataset_id, "metrics", query=query)
        answer = with_one_of(answer, what, "metrics")
        return read(DatasetMetrics, answer, what)

    def search_options(self, dataset_id: str) -> SearchOptions:
        """Return the values by which the samples of a dataset can be searched (contract 6.5).

        :param dataset_id: the dataset
        """
        what = f"read search options of dataset {validate_id('dataset_id', dataset_id)}"
        answer = self._transport.get(what, "datasets", dataset_id, "data-annotations", "search-condition")
        return read(SearchOptions, with_one_of(answer, what, "labels", "labelers", "metadata"), what)


def _running(number: int | None) -> dict[str, str | None]:
    """Return the query that asks what runs; the kind is always named, for its default is another one (contract 6.1)."""
    is_asked = number is not None
    return {
        "check_running_task": "true" if is_asked else None,
        "running_task_type": str(validate_whole("running_task_type", number, 0)) if is_asked else None,
    }
