"""Imports, exports and synchronization of a dataset: contract 6.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import NotFound
from airflow_provider_modelarts.client.lost_replies import advice_after_loss, check_success, id_of
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
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.readers import to_texts
from airflow_provider_modelarts.client.states import ExportState, ImportState
from airflow_provider_modelarts.client.validation import validate_id, validate_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_modelarts.client.requests.transfers import ExportTaskRequest, ImportTaskRequest
    from airflow_provider_modelarts.client.transport.transport import Transport

EXPORT_TYPES = {0: "labeled", 1: "unlabeled", 2: "all", 3: "by condition"}
"""Which samples an export takes, by number."""

_MILLISECONDS = "integer, epoch milliseconds"
# What failed carries the code of its failure: that is no error of the read. An error names none of these.
_OWN = ("task_id", "dataset_id")


def _import_state(value: object) -> ImportState | str | None:
    return ImportState.read(to_text(value))


def _export_state(value: object) -> ExportState | str | None:
    return ExportState.read(to_text(value))


class FileStatistics(Model):
    """How far an import of files is."""

    file_num_finished = Field(to_integer, "integer, files: done.")
    file_num_total = Field(to_integer, "integer, files: all of them.")
    file_size_finished = Field(to_integer, "integer, bytes: done.")
    file_size_total = Field(to_integer, "integer, bytes: all of them.")


class ImportTask(Model):
    """An import; its id is empty, and other fields None, if the service left them out."""

    task_id = Field(to_name, "text: id, that of the dataset and its own.")
    dataset_id = Field(to_name, "text: the dataset.")
    status = Field(_import_state, "text, see ImportState: how far it is; unknown words stay as they are.")
    import_path = Field(to_text, "text: folder or manifest in OBS.")
    import_type = Field(to_integer, "integer: 0 folder, 1 manifest.")
    total_sample_count = Field(to_integer, "integer, samples: found.")
    imported_sample_count = Field(to_integer, "integer, samples: imported.")
    annotated_sample_count = Field(to_integer, "integer, samples: imported with labels.")
    unconfirmed_sample_count = Field(to_integer, "integer, samples: imported to await confirmation.")
    total_sub_sample_count = Field(to_integer, "integer, samples: parts of samples that were found.")
    imported_sub_sample_count = Field(to_integer, "integer, samples: parts of samples that were imported.")
    total_file_count = Field(to_integer, "integer, files: found.")
    total_file_size = Field(to_integer, "integer, bytes: found.")
    finished_file_count = Field(to_integer, "integer, files: done.")
    finished_file_size = Field(to_integer, "integer, bytes: done.")
    data_source = Field(to_object, "object: table data, the source as it arrived.")
    processor_task_id = Field(to_text, "text: id of a processing of the data.")
    processor_task_status = Field(to_integer, "integer: status of that processing.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was started.")
    update_ms = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")
    elapsed_time = Field(to_number, "number, seconds: how long it has taken.")
    error_code = Field(to_text, "text: code of its failure.")
    error_msg = Field(to_text, "text: why it failed.")

    @property
    def file_statistics(self) -> FileStatistics:
        """How far it is with files."""
        return FileStatistics(to_object(self.raw.get("file_statistics")))

    @property
    def is_terminal(self) -> bool:
        """Whether it is over; False for states that are not known."""
        return isinstance(self.status, ImportState) and self.status.is_terminal


class ExportParameters(Model):
    """What an export takes, and where to."""

    clear_hard_property = Field(to_flag, "truth value: whether it leaves out what makes hard examples.")
    clear_difficult = Field(to_flag, "truth value: the same in the edition of 2021.")
    export_dataset_version_format = Field(to_text, "text: format of the version.")
    export_dataset_version_name = Field(to_text, "text: name of the version.")
    export_dest = Field(to_text, "text: ``DIR`` for a folder, ``NEW_DATASET`` for a dataset.")
    export_new_dataset_name = Field(to_text, "text: name of the new dataset.")
    export_new_dataset_work_path = Field(to_text, "text: folder for the output of the new dataset.")
    ratio_sample_usage = Field(to_flag, "truth value: whether samples are divided by train_sample_ratio.")
    sample_state = Field(to_text, "text: state of the samples; empty for all.")
    samples = Field(to_texts, "tuple of texts: ids of the samples.")
    train_sample_ratio = Field(to_number, "number, 0 to 1: share of samples for training.")

    @property
    def search_conditions(self) -> tuple[dict[str, Any], ...]:
        """Conditions of which one must hold, as they arrived."""
        return tuple(to_objects(self.raw.get("search_conditions")))


class ExportTask(Model):
    """An export; its id is empty, and other fields None, if the service left them out."""

    task_id = Field(to_name, "text: id.")
    status = Field(_export_state, "text, see ExportState: how far it is; unknown words stay as they are.")
    progress = Field(to_number, "number, 0 to 100: percent done.")
    path = Field(to_text, "text: folder of OBS.")
    export_type = Field(to_integer, "integer: 0 labeled samples, 1 unlabeled, 2 all, 3 by condition.")
    export_format = Field(to_integer, "integer: 1 a folder for each label, 2 one folder.")
    version_format = Field(to_text, "text: format of the version.")
    version_id = Field(to_text, "text: the version that is exported.")
    total_sample_count = Field(to_integer, "integer, samples: to export.")
    finished_sample_count = Field(to_integer, "integer, samples: exported.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was started.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")
    error_code = Field(to_text, "text: code of its failure.")
    error_msg = Field(to_text, "text: why it failed.")

    @property
    def export_params(self) -> ExportParameters:
        """What it takes, and where to."""
        return ExportParameters(to_object(self.raw.get("export_params")))

    @property
    def is_terminal(self) -> bool:
        """Whether it is over; False for states that are not known."""
        return isinstance(self.status, ExportState) and self.status.is_terminal


class SyncTask(Model):
    """The last synchronization of a dataset with its input folder; NOT_EXIST if there was none."""

    dataset_id = Field(to_name, "text: the dataset.")
    task_id = Field(to_text, "text: id.")
    status = Field(_import_state, "text, see ImportState: how far it is; unknown words stay as they are.")
    add_sample_count = Field(to_integer, "integer, samples: new.")
    deleted_sample_count = Field(to_integer, "integer, samples: gone, as their files are.")
    total_sample_count = Field(to_integer, "integer, samples: of the dataset afterwards.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was started.")
    duration_time = Field(to_number, "number, seconds: how long it has taken.")
    error_code = Field(to_text, "text: code of its failure.")
    error_msg = Field(to_text, "text: why it failed.")

    @property
    def is_terminal(self) -> bool:
        """Whether it is over, or never was; False for states that are not known."""
        return isinstance(self.status, ImportState) and self.status.is_terminal


class Imports:
    """Calls about imports."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(
        self, dataset_id: str, request: ImportTaskRequest | Mapping[str, Any], *, extra: Mapping[str, Any] | None = None
    ) -> str:
        """Start an import (contract 6.6). It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :param request: ``ImportTaskRequest``, or an object such as ``{"import_type": "dir", "import_path": "obs://b/d/"}``
        :param extra: fields that the contract does not know
        :return: id of the import
        :raises InvalidRequest: for values outside the contract, before anything is sent; for a path without files
        :raises DatasetBusy: while the dataset is busy
        :raises ModelArtsError: after a lost answer it may have been started: look for its path in :meth:`list`
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.transfers import ImportTaskRequest as Body

        what = f"start an import into dataset {validate_id('dataset_id', dataset_id)}"
        body = to_body(Body, request, what, extra)
        return _start(self._transport, what, (dataset_id, "import-tasks"), body, "imports")

    def get(self, dataset_id: str, task_id: str, *, retry: bool = True) -> ImportTask:
        """Return an import (contract 6.6).

        :param dataset_id: the dataset
        :param task_id: the import
        :param retry: False: one attempt, for polls
        :raises NotFound: if the service does not know one of them
        """
        what = f"read import {validate_id('task_id', task_id)} of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "import-tasks", task_id)
        answer = self._transport.get(what, *path, retry=retry, own=_OWN)
        task = read(ImportTask, checked_answer(answer, what, task_id=task_id), what)
        if task.status is ImportState.NOT_EXIST:
            raise NotFound(f"Cannot {what}: the dataset has no such import. Check its id.", status=200)
        return task

    def list(self, dataset_id: str) -> Iterator[ImportTask]:
        """Yield the imports of a dataset, newest first (contract 6.6).

        :param dataset_id: the dataset
        """
        what = f"list imports of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "import-tasks")
        listing = ListEndpoint(what, path, ImportTask, "import_tasks", "total_count", ("task_id",))
        return listing.walk(self._transport)


class Exports:
    """Calls about exports."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(
        self, dataset_id: str, request: ExportTaskRequest | Mapping[str, Any], *, extra: Mapping[str, Any] | None = None
    ) -> str:
        """Start an export (contract 6.6). It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :param request: ``ExportTaskRequest``, or an object such as ``{"path": "/bucket/folder/", "export_type": 0}``
        :param extra: fields that the contract does not know
        :return: id of the export
        :raises InvalidRequest: for values outside the contract, before anything is sent
        :raises NotFound: if the service does not know the dataset or the version
        :raises ModelArtsError: after a lost answer it may have been started: look for its path in :meth:`list`
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.transfers import ExportTaskRequest as Body

        what = f"start an export of dataset {validate_id('dataset_id', dataset_id)}"
        body = to_body(Body, request, what, extra)
        return _start(self._transport, what, (dataset_id, "export-tasks"), body, "exports")

    def get(self, dataset_id: str, task_id: str, *, retry: bool = True) -> ExportTask:
        """Return an export (contract 6.6).

        :param dataset_id: the dataset
        :param task_id: the export
        :param retry: False: one attempt, for polls
        :raises NotFound: if the service does not know one of them
        """
        what = f"read export {validate_id('task_id', task_id)} of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "export-tasks", task_id)
        answer = self._transport.get(what, *path, retry=retry, own=_OWN)
        return read(ExportTask, checked_answer(answer, what, task_id=task_id), what)

    def list(self, dataset_id: str, *, export_type: int | None = None) -> Iterator[ExportTask]:
        """Yield the exports of a dataset, newest first (contract 6.6).

        :param dataset_id: the dataset
        :param export_type: only those of 0 labeled samples, 1 unlabeled, 2 all, 3 by condition
        :raises InvalidRequest: for another type, before anything is sent
        """
        what = f"list exports of dataset {validate_id('dataset_id', dataset_id)}"
        kind = None if export_type is None else str(validate_whole("export_type", export_type, 0, max(EXPORT_TYPES)))
        path = ("datasets", dataset_id, "export-tasks")
        listing = ListEndpoint(
            what, path, ExportTask, "export_tasks", "total_count", ("task_id",), {"export_type": kind}
        )
        return listing.walk(self._transport)


class Sync:
    """Calls about the synchronization of a dataset with its input folder."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(self, dataset_id: str) -> None:
        """Begin to take new files into a dataset, and samples without file out of it (contract 6.6).

        It is never sent twice once it may have been carried out.

        :param dataset_id: the dataset
        :raises NotFound: if the service does not know it
        :raises DatasetBusy: while the dataset is busy
        :raises ModelArtsError: after a lost answer it may have been started: :meth:`status` tells
        """
        what = f"synchronize dataset {validate_id('dataset_id', dataset_id)}"
        with advice_after_loss("Read sync.status before starting another synchronization."):
            check_success(self._transport.write("POST", what, "datasets", dataset_id, "sync-data"), what)

    def status(self, dataset_id: str, *, retry: bool = True) -> SyncTask:
        """Return the last synchronization of a dataset (contract 6.6).

        :param dataset_id: the dataset
        :param retry: False: one attempt, for polls
        :raises NotFound: if the service does not know the dataset
        """
        what = f"read the synchronization of dataset {validate_id('dataset_id', dataset_id)}"
        answer = self._transport.get(what, "datasets", dataset_id, "sync-data", "status", retry=retry, own=_OWN)
        return read(SyncTask, checked_answer(answer, what, dataset_id=dataset_id), what)


def _start(transport: Transport, what: str, path: tuple[str, str], body: dict[str, Any], resource: str) -> str:
    """Start an import or an export, and return its id."""
    advice = f"Look for its path with {resource}.list before starting another."
    with advice_after_loss(advice):
        answer = transport.write("POST", what, "datasets", *path, body=body, own=("task_id",))
    return id_of(answer, "task_id", what, advice)
