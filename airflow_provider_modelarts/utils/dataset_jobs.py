"""The jobs of a dataset: synchronization, import, export, publication; and the wait for a dataset that is busy.

Requests are ``{"body": ..., "extra": ...}``: what the contract knows, checked, and what it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.client.errors import NotFound
from airflow_provider_modelarts.client.states import DatasetStatus, ExportState, ImportState, VersionStatus
from airflow_provider_modelarts.labeling.label_equality import labels_digest
from airflow_provider_modelarts.utils.service_job import JobState, ServiceJob, Waitable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.transfers import ExportTask, ImportTask, SyncTask
    from airflow_provider_modelarts.client.resources.versions import DatasetVersion
    from airflow_provider_modelarts.utils.service_job import JobCondition

# What a status means; those that are not listed, unknown ones too, mean that the job is active.
_CONDITIONS: dict[object, JobCondition] = {
    ImportState.COMPLETED: "succeeded",
    ImportState.FAILED: "failed",
    ExportState.SUCCEEDED: "succeeded",
    ExportState.FAILED: "failed",
    ExportState.STOPPED: "failed",
}
_VERSION_CONDITIONS: dict[object, JobCondition] = {
    VersionStatus.USABLE: "succeeded",
    VersionStatus.DELETING: "failed",
    VersionStatus.DELETED: "failed",
    VersionStatus.ERROR: "failed",
}
_DATASET_CONDITIONS: dict[object, JobCondition] = {
    DatasetStatus.NORMAL: "succeeded",
    DatasetStatus.DELETING: "failed",
    DatasetStatus.DELETED: "failed",
    DatasetStatus.ERROR: "failed",
}


@dataclass(frozen=True)
class SyncJob(ServiceJob):
    """The synchronization of a dataset with its input folder.

    The service tells only the last one. One that somebody else has started later stands for ours: it takes in all
    that ours would have.
    """

    name: ClassVar[str] = "sync"
    noun: ClassVar[str] = "synchronization"

    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:  # noqa: ARG002
        """Send the start; the service names no id."""
        client.sync.start(self.dataset_id)
        return ""

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:  # noqa: ARG002
        """Return the last synchronization, if there was one."""
        task = client.sync.status(self.dataset_id)
        return [] if task.status is ImportState.NOT_EXIST else [self._state(task)]

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return the last synchronization.

        :raises NotFound: if the service knows none
        """
        task = client.sync.status(self.dataset_id, retry=False)
        if task.status is ImportState.NOT_EXIST:
            raise NotFound(f"Dataset {self.dataset_id} knows of no synchronization, though {job_id} was started.")
        return self._state(task)

    def facts(self, client: ModelArtsClient) -> dict[str, Any]:
        """Return how many samples there are before."""
        return {"samples_before": client.datasets.get(self.dataset_id).total_sample_count}

    @staticmethod
    def _state(task: SyncTask) -> JobState:
        job_id = task.task_id or str(task.create_time or "of an unknown id")
        return JobState(
            job_id,
            _CONDITIONS.get(task.status, "active"),
            task.create_time,
            progress=str(task.status).lower(),
            summary={
                "sync_id": job_id,
                "samples_after": task.total_sample_count,
                "added": task.add_sample_count,
                "deleted": task.deleted_sample_count,
            },
            reason=_reason(task),
        )


@dataclass(frozen=True)
class ImportJob(ServiceJob):
    """An import. The service keeps no text of ours, so that only its folder and its time tell whose it is."""

    name: ClassVar[str] = "import"
    noun: ClassVar[str] = "import"

    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:  # noqa: ARG002
        """Send the start."""
        return client.imports.start(self.dataset_id, request["body"], extra=request["extra"])

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the imports from the same folder or manifest."""
        path = _plain_path(request["body"]["import_path"])
        tasks = client.imports.list(self.dataset_id)
        return [_import_state(task) for task in tasks if _plain_path(task.import_path) in (path, "")]

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return one import."""
        return _import_state(client.imports.get(self.dataset_id, job_id, retry=False))


@dataclass(frozen=True)
class ExportJob(ServiceJob):
    """An export. The service keeps no text of ours, so that only its folder and its time tell whose it is."""

    name: ClassVar[str] = "export"
    noun: ClassVar[str] = "export"

    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:  # noqa: ARG002
        """Send the start."""
        return client.exports.start(self.dataset_id, request["body"], extra=request["extra"])

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the exports of the same kind into the same folder."""
        path, kind = (request["body"].get(name) for name in ("path", "export_type"))
        return [
            _export_state(task)
            for task in client.exports.list(self.dataset_id)
            if _plain_path(task.path) in (_plain_path(path), "")
            if None in (kind, task.export_type) or task.export_type == kind
        ]

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return one export."""
        return _export_state(client.exports.get(self.dataset_id, job_id, retry=False))


@dataclass(frozen=True)
class PublicationJob(ServiceJob):
    """The publication of a version; the marker stands in its description."""

    name: ClassVar[str] = "publication"
    noun: ClassVar[str] = "publication of version"

    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:
        """Send the start."""
        description = " ".join(part for part in (request["body"].get("description"), marker) if part)
        body = {**request["body"], "description": description}
        return client.versions.create(self.dataset_id, body, extra=request["extra"])

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the versions; if the request gives a name, those of that name."""
        name = request["body"].get("version_name")
        versions = client.versions.list(self.dataset_id)
        return [_version_state(version) for version in versions if name in (None, version.version_name)]

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return one version."""
        return _version_state(client.versions.get(self.dataset_id, job_id, retry=False))

    def still_serves(self, client: ModelArtsClient, job_id: str) -> bool:
        """Return whether samples and labels are still those of the version: another one would be the same again.

        The service says nowhere when labels were changed last, so that they are compared.
        """
        version = client.versions.get(self.dataset_id, job_id)
        dataset = client.datasets.get(self.dataset_id)
        counts = [(one.total_sample_count, one.annotated_sample_count) for one in (version, dataset)]
        if counts[0] != counts[1]:
            return False
        return _labels(client, self.dataset_id, job_id) == _labels(client, self.dataset_id, None)


@dataclass(frozen=True)
class DatasetReadiness(Waitable):
    """The wait until a dataset is not busy any more."""

    name: ClassVar[str] = "readiness"
    noun: ClassVar[str] = "dataset"

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return whether the dataset can be worked with."""
        status = client.datasets.get(self.dataset_id, retry=False).status
        word = status.name.lower().replace("_", " ") if isinstance(status, DatasetStatus) else f"status {status}"
        return JobState(
            job_id, _DATASET_CONDITIONS.get(status, "active"), progress=word, reason=f"it cannot be worked with: {word}"
        )

    def describe(self, job_id: str) -> str:
        """Return the name of the dataset, for messages."""
        return f"The wait for dataset {job_id}"


def _labels(client: ModelArtsClient, dataset_id: str, version_id: str | None) -> dict[str, bytes]:
    """Return for each sample of a version, or of the present state, what stands for its final labels."""
    samples = client.samples.list(dataset_id, version_id=version_id)
    return {sample.sample_id: labels_digest(sample) for sample in samples}


def _plain_path(path: str | None) -> str:
    """Return a path of OBS in one spelling: the service may answer another than the one it was given."""
    text = path or ""
    for scheme in ("obs:/", "s3:/"):
        text = text.removeprefix(scheme)
    return text.strip("/")


def obs_uri(path: str | None) -> str | None:
    """Return a path of OBS, which the service writes as ``/bucket/key``, as ``obs://bucket/key``; None for none."""
    plain = _plain_path(path)
    return f"obs://{plain}" if plain else None


def _reason(job: SyncTask | ImportTask | ExportTask) -> str:
    return " ".join(part for part in (job.error_msg, f"[{job.error_code}]" if job.error_code else None) if part)


def _import_state(task: ImportTask) -> JobState:
    done, total = task.file_statistics.file_num_finished, task.file_statistics.file_num_total
    counts = "" if total is None else f", {done or 0} of {total} files"
    return JobState(
        task.task_id,
        _CONDITIONS.get(task.status, "active"),
        task.create_time,
        progress=f"{str(task.status).lower()}{counts}",
        summary={
            "import_id": task.task_id,
            "import_path": task.import_path,
            "samples": task.total_sample_count,
            "imported": task.imported_sample_count,
            "labeled": task.annotated_sample_count,
            "unconfirmed": task.unconfirmed_sample_count,
        },
        reason=_reason(task),
    )


def _export_state(task: ExportTask) -> JobState:
    share = "" if task.progress is None else f", {task.progress:g} %"
    return JobState(
        task.task_id,
        _CONDITIONS.get(task.status, "active"),
        task.create_time,
        progress=f"{str(task.status).lower()}{share}",
        summary={
            "export_id": task.task_id,
            "path": task.path,
            "samples": task.total_sample_count,
            "exported": task.finished_sample_count,
        },
        reason=_reason(task),
    )


def _version_state(version: DatasetVersion) -> JobState:
    status = version.status
    word = status.name.lower() if isinstance(status, VersionStatus) else f"status {status}"
    said = [version.message, f"[{version.code}]" if version.code else None]
    return JobState(
        version.version_id,
        _VERSION_CONDITIONS.get(status, "active"),
        version.create_time,
        version.description or "",
        progress=word,
        summary={
            "version_id": version.version_id,
            "version_name": version.version_name,
            "manifest_path": version.manifest_path,
            "samples": version.total_sample_count,
            "labeled": version.annotated_sample_count,
        },
        reason=" ".join(part for part in said if part) or f"the version is {word}",
    )
