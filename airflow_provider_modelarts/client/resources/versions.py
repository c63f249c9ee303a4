"""Published versions of a dataset: contract 6.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.lost_replies import advice_after_loss, check_success, delete, id_of
from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    read,
    to_flag,
    to_integer,
    to_name,
    to_number,
    to_object,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.labels import LabelStats
from airflow_provider_modelarts.client.resources.readers import list_of, to_counts, to_texts
from airflow_provider_modelarts.client.states import VersionStatus
from airflow_provider_modelarts.client.validation import as_number, validate_id, validate_whole, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_modelarts.client.requests.versions import CreateVersionRequest
    from airflow_provider_modelarts.client.transport.transport import Transport

FORMATS = {0: "Default", 1: "CarbonData", 2: "CSV"}
"""Formats of versions by the numbers that lists are filtered by; elsewhere the service writes the words."""

_MILLISECONDS = "integer, epoch milliseconds"


class DatasetVersion(Model):
    """A published version; its id and name are empty, and other fields None, if the service left them out."""

    version_id = Field(to_name, "text: id.")
    version_name = Field(to_name, "text, at most 32 characters: name, such as V001.")
    version_format = Field(to_text, "text: ``Default``, ``CarbonData`` or ``CSV``.")
    previous_version_id = Field(to_text, "text: id of the version before it; None for the first one.")
    status = Field(VersionStatus.read, "integer, see VersionStatus: whether it can be used; unknown ones stay numbers.")
    description = Field(to_text, "text: for people.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was created.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")
    total_sample_count = Field(to_integer, "integer, samples: all of them.")
    annotated_sample_count = Field(to_integer, "integer, samples: those with labels.")
    total_sub_sample_count = Field(to_integer, "integer, samples: parts of samples, such as frames.")
    annotated_sub_sample_count = Field(to_integer, "integer, samples: labeled parts of samples.")
    add_sample_count = Field(to_integer, "integer, samples: new since the version before it.")
    deleted_sample_count = Field(to_integer, "integer, samples: deleted since the version before it.")
    modified_sample_count = Field(to_integer, "integer, samples: changed since the version before it.")
    previous_total_sample_count = Field(to_integer, "integer, samples: all of the version before it.")
    previous_annotated_sample_count = Field(to_integer, "integer, samples: labeled ones of the version before it.")
    manifest_path = Field(to_text, "text: path of its manifest in OBS.")
    data_path = Field(to_text, "text: folder of its data in OBS.")
    is_current = Field(to_flag, "truth value: whether it is the dataset's current version.")
    train_evaluate_sample_ratio = Field(to_number, "number, 0 to 1: share of samples for training.")
    remove_sample_usage = Field(to_flag, "truth value: whether it leaves out what samples are used for.")
    clear_hard_property = Field(to_flag, "truth value: whether it leaves out what makes hard examples.")
    export_images = Field(to_flag, "truth value: whether the images were copied.")
    with_column_header = Field(to_flag, "truth value: tables, the first line has names.")
    include_dataset_data = Field(to_flag, "truth value: whether it holds the dataset's own data.")
    task_type = Field(to_integer, "integer: type of the labeling, as the type of the dataset.")
    label_type = Field(to_text, "text: ``single`` or ``multi``, labels for each sample.")
    label_stats = Field(list_of(LabelStats), "tuple: counts for each label; of a version read on its own.")
    sample_state = Field(to_text, "text: state of its samples.")
    tags = Field(to_texts, "tuple of texts: what it is tagged with.")
    code = Field(to_text, "text: code of what happens or went wrong.")
    message = Field(to_text, "text: what happens or went wrong.")
    deletion_stats = Field(to_counts, "map: samples by the reason of their deletion.")
    data_statistics = Field(to_object, "object: statistics of its data, as they arrived.")
    data_analysis = Field(to_object, "object: result of the analysis, as it arrived.")
    data_validate = Field(to_flag, "truth value: whether its data were validated.")
    analysis_status = Field(to_integer, "integer: status of the analysis.")
    analysis_task_id = Field(to_text, "text: id of the analysis.")
    analysis_cache_path = Field(to_text, "text: folder of the analysis.")
    extract_serial_number = Field(to_flag, "truth value: whether serial numbers were read.")
    start_processor_task = Field(to_flag, "truth value: whether a processing of the data was started.")
    processor_task_id = Field(to_text, "text: id of the processing.")
    processor_task_status = Field(to_integer, "integer: status of the processing.")
    manifest_cache_input_path = Field(to_text, "text: manifest that the processing reads.")
    crop = Field(to_flag, "truth value: whether images are cropped.")
    crop_path = Field(to_text, "text: folder of cropped images.")
    crop_rotate_cache_path = Field(to_text, "text: folder of images being cropped and rotated.")
    rotate = Field(to_flag, "truth value: whether images are rotated.")
    rotate_path = Field(to_text, "text: folder of rotated images.")

    @property
    def is_usable(self) -> bool:
        """Whether it is published and can be worked with."""
        return self.status == VersionStatus.USABLE


class Versions:
    """Calls about versions of datasets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        dataset_id: str,
        *,
        status: VersionStatus | int | None = None,
        train_evaluate_ratio: str | None = None,
        version_format: int | None = None,
    ) -> Iterator[DatasetVersion]:
        """Yield the versions of a dataset, newest first (contract 6.3).

        :param dataset_id: the dataset
        :param status: only those with this status; 1 for usable ones
        :param train_evaluate_ratio: only those whose ratio lies between two, ``"0.5,0.9"``
        :param version_format: only those of this format: 0 Default, 1 CarbonData, 2 CSV
        :raises InvalidRequest: for values outside the contract, before anything is sent
        """
        what = f"list versions of dataset {validate_id('dataset_id', dataset_id)}"
        last = max(VersionStatus)
        query = {
            "status": None if status is None else str(validate_whole("status", status, 0, last)),
            **version_query(train_evaluate_ratio, version_format),
        }
        path = ("datasets", dataset_id, "versions")
        listing = ListEndpoint(what, path, DatasetVersion, "versions", "total_number", ("version_id",), query)
        return listing.walk(self._transport)

    def find(self, dataset_id: str, version_name: str) -> DatasetVersion | None:
        """Return the version of a name, None without one: what was published although the answer was lost.

        :param dataset_id: the dataset
        :param version_name: the whole name
        """
        return next((one for one in self.list(dataset_id) if one.version_name == version_name), None)

    def get(self, dataset_id: str, version_id: str) -> DatasetVersion:
        """Return a version, with counts for each label (contract 6.3).

        :param dataset_id: the dataset
        :param version_id: the version
        :raises NotFound: if the service does not know one of them
        """
        what, path = _one("read", dataset_id, version_id)
        # a version that failed carries the code of its failure: that is no error of the read
        answer = self._transport.get(what, *path, own=("version_id",))
        return read(DatasetVersion, checked_answer(answer, what, version_id=version_id), what)

    def create(
        self,
        dataset_id: str,
        version: CreateVersionRequest | Mapping[str, Any] | None = None,
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish a version (contract 6.3). It is never sent twice once it may have been carried out.

        Meanwhile labels cannot be changed and no labeling task starts; read the version until it is usable.

        :param dataset_id: the dataset
        :param version: ``CreateVersionRequest``, or an object; None leaves everything to the service
        :param extra: fields that the contract does not know
        :return: id of the version
        :raises InvalidRequest: for values outside the contract, before anything is sent; for a name that is taken
            (``ModelArts.4371``), a dataset without samples (``ModelArts.4825``)
        :raises DatasetBusy: while the dataset is busy, and within a minute after the version before
        :raises ModelArtsError: after a lost answer it may have been published: :meth:`find` it by its name
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.versions import CreateVersionRequest as Body

        what = f"publish a version of dataset {validate_id('dataset_id', dataset_id)}"
        body = to_body(Body, {} if version is None else version, what, extra)
        advice = "List the versions of the dataset before publishing another."
        with advice_after_loss(advice):
            answer = self._transport.write(
                "POST", what, "datasets", dataset_id, "versions", body=body, own=("version_id",)
            )
        return id_of(answer, "version_id", what, advice)

    def delete(self, dataset_id: str, version_id: str) -> None:
        """Delete a version; samples and labels of the dataset stay (contract 6.3).

        It is read first, so that a repeated request that finds it deleted counts as success.

        :param dataset_id: the dataset
        :param version_id: the version
        :raises NotFound: if the service does not know one of them
        :raises InvalidRequest: while it is being published (``ModelArts.4828``)
        """
        what, path = _one("delete", dataset_id, version_id)
        delete(
            lambda: self.get(dataset_id, version_id),
            lambda: check_success(self._transport.harmless("DELETE", what, *path), what),
        )


def _one(verb: str, dataset_id: str, version_id: str) -> tuple[str, tuple[str, ...]]:
    what = f"{verb} version {validate_id('version_id', version_id)} of dataset {validate_id('dataset_id', dataset_id)}"
    return what, ("datasets", dataset_id, "versions", version_id)


def version_query(train_evaluate_ratio: str | None, version_format: int | None) -> dict[str, str | None]:
    """Return the part of a query that asks for versions (contract 6.1, 6.3).

    :param train_evaluate_ratio: two numbers from 0 to 1 with a comma between; None for any
    :param version_format: number of the format; None for any
    :raises InvalidRequest: for other values
    """
    if train_evaluate_ratio is not None and not _are_bounds(train_evaluate_ratio):
        raise wrong("train_evaluate_ratio", 'two numbers from 0 to 1 such as "0.5,0.9"', train_evaluate_ratio)
    number = None if version_format is None else str(validate_whole("version_format", version_format, 0, max(FORMATS)))
    return {"train_evaluate_ratio": train_evaluate_ratio, "version_format": number}


def _are_bounds(text: object) -> bool:
    bounds = [as_number(part) for part in text.split(",")] if isinstance(text, str) else []
    return len(bounds) == 2 and None not in bounds and 0 <= (bounds[0] or 0) <= (bounds[1] or 0) <= 1
