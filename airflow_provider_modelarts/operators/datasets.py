"""Operators around labeling: new images come into a dataset, what is labeled leaves it, and what it is fit for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.preconditions import check_preconditions
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._base import SUMMARY_XCOM
from airflow_provider_modelarts.operators._service_job import ServiceJobOperator
from airflow_provider_modelarts.operators._templates import TemplatedOperator, constant
from airflow_provider_modelarts.utils.dataset_jobs import ExportJob, ImportJob, PublicationJob, SyncJob, obs_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.operators._templates import Readers
    from airflow_provider_modelarts.utils.service_job_wait import JobOutcome

# A marker of some 25 characters is added to it.
_LONGEST_DESCRIPTION = 220

_DATASET: Readers = {"dataset_id": parameters.identifier, **parameters.CONNECTION}
_FURTHER: Readers = {"settings": parameters.optional(parameters.plain), "extra": parameters.optional(parameters.plain)}
_IMPORT: Readers = {
    "import_path": parameters.text,
    "import_type": parameters.optional(parameters.choice("dir", "manifest")),
    "final_annotation": parameters.optional(parameters.flag),
    **_FURTHER,
    **_DATASET,
}
_EXPORT: Readers = {
    "path": parameters.text,
    "export_type": parameters.optional(parameters.whole(0, 3)),
    "version_id": parameters.optional(parameters.identifier),
    **_FURTHER,
    **_DATASET,
}
_VERSION: Readers = {
    "version_name": parameters.optional(parameters.text),
    "description": parameters.optional(parameters.text),
    **_FURTHER,
    **_DATASET,
}


class ModelArtsSyncDatasetOperator(ServiceJobOperator):
    """Take the new files of its folder into a dataset, and samples whose file is gone out of it; wait for the end.

    A retry goes on with the synchronization of the try before it, and starts another only if that one failed. A clear
    starts another. A dataset that is busy is waited for. Nothing is stopped when the Airflow task is ended. Returns
    ``samples_before, samples_after, added, deleted, sync_id``, also if the synchronization failed.

    :param dataset_id: the dataset (templated)
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ServiceJobFailed: if the synchronization failed
    :raises ServiceJobTimeout: if it was not over in time; it goes on, and a retry waits for it
    :raises AirflowFailException: for errors that no retry can mend
    """

    readers = _DATASET
    template_fields: Sequence[str] = tuple(readers)

    def __init__(self, *, dataset_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.check_job()

    def job(self, given: Mapping[str, Any]) -> SyncJob:
        """Return the synchronization of the dataset."""
        return SyncJob(given["dataset_id"])

    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - it says nothing
        """Return nothing: the service takes no parameters."""
        return {}

    def job_result(self, summary: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the counts; where nothing was noted before the start, the first one is what the others make of it."""
        counts = [summary.get(name) for name in ("samples_after", "added", "deleted")]
        after, added, deleted = (count or 0 for count in counts)
        before = None if None in counts else after - added + deleted
        return {"samples_before": facts.get("samples_before", before), **summary}


class ModelArtsImportSamplesOperator(ServiceJobOperator):
    """Import images, with their labels, from a folder or a manifest in OBS into a dataset; wait for the end.

    A retry goes on with the import of the try before it, and starts another only if that one failed. A clear starts
    another. The service keeps no name of an import: after a worker was killed between the request and its answer, the
    import is known by its path and its time. A dataset that is busy is waited for. Nothing is stopped when the Airflow
    task is ended. Returns ``import_id, import_path, samples, imported, labeled, unconfirmed``, also if the import
    failed.

    :param dataset_id: the dataset (templated)
    :param import_path: folder or manifest, ``obs://bucket/folder/`` (templated)
    :param import_type: ``dir`` or ``manifest``; None: the service's choice, a folder (templated)
    :param final_annotation: whether imported labels are final; False: they wait for confirmation; None: the service's
        default, final (templated)
    :param settings: further fields of the service's import request, such as ``{"difficult_only": True}`` (templated)
    :param extra: fields that the contract does not know, sent as they are (templated)
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ServiceJobFailed: if the import failed
    :raises ServiceJobTimeout: if it was not over in time; it goes on, and a retry waits for it
    :raises AirflowFailException: for errors that no retry can mend, such as a path without files
    """

    readers = _IMPORT
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"settings": "json", "extra": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        import_path: str | XComArg,
        import_type: str | None = None,
        final_annotation: bool | str | None = None,
        settings: dict[str, Any] | str | None = None,
        extra: dict[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.import_path = import_path
        self.import_type = import_type
        self.final_annotation = final_annotation
        self.settings = settings
        self.extra = extra
        self.check_job()

    def job(self, given: Mapping[str, Any]) -> ImportJob:
        """Return the import into the dataset."""
        return ImportJob(given["dataset_id"])

    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the service's import request."""
        from airflow_provider_modelarts.client.requests.transfers import ImportTaskRequest

        names = ("import_path", "import_type", "final_annotation")
        return _request(ImportTaskRequest, "start an import", given, names)


class ModelArtsExportSamplesOperator(ServiceJobOperator):
    """Export samples of a dataset, with their labels, into a folder of OBS; wait for the end.

    A retry goes on with the export of the try before it, and starts another only if that one failed. A clear starts
    another. The service keeps no name of an export: after a worker was killed between the request and its answer, the
    export is known by its path and its time. Nothing is stopped when the Airflow task is ended. Returns ``export_id,
    path, samples, exported``, also if the export failed.

    :param dataset_id: the dataset (templated)
    :param path: folder to write into, ``obs://bucket/folder/`` (templated)
    :param export_type: 0 labeled samples, 1 unlabeled, 2 all, 3 those that ``export_params`` in ``settings`` choose;
        None: the service's choice (templated)
    :param version_id: export this version instead of the present state (templated)
    :param settings: further fields of the service's export request (templated)
    :param extra: fields that the contract does not know, sent as they are (templated)
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ServiceJobFailed: if the export failed
    :raises ServiceJobTimeout: if it was not over in time; it goes on, and a retry waits for it
    :raises AirflowFailException: for errors that no retry can mend
    """

    readers = _EXPORT
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"settings": "json", "extra": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        path: str | XComArg,
        export_type: int | str | None = None,
        version_id: str | XComArg | None = None,
        settings: dict[str, Any] | str | None = None,
        extra: dict[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.path = path
        self.export_type = export_type
        self.version_id = version_id
        self.settings = settings
        self.extra = extra
        self.check_job()

    def job(self, given: Mapping[str, Any]) -> ExportJob:
        """Return the export of the dataset."""
        return ExportJob(given["dataset_id"])

    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the service's export request."""
        from airflow_provider_modelarts.client.requests.transfers import ExportTaskRequest

        return _request(ExportTaskRequest, "start an export", given, ("path", "export_type", "version_id"))


class ModelArtsPublishVersionOperator(ServiceJobOperator):
    """Publish a version of a dataset, which training can use; wait until it is usable.

    The service publishes one version a minute, and none while the dataset is busy: both are waited for. A marker is
    added to the version's description. By it a retry finds the version of the try before it, and publishes another only
    if that one failed. After a clear the version from before it is kept as long as the dataset still has its samples
    and labels: they are compared, which takes two requests for 100 samples. Another version is published if anything
    has changed, if the parameters have, or if that version was deleted. (Airflow 3.2 does not remember the version over
    a clear, so that another one is published.) Nothing is stopped when the Airflow task is ended. Returns
    ``version_id, version_name, manifest_path, samples, labeled``, also if the publication failed.

    :param dataset_id: the dataset (templated)
    :param version_name: 1 to 32 characters, not used before; None: the service's next, such as V003. With a name of its
        own, a version that failed has to be deleted before it can be published again (templated)
    :param description: for people, at most 220 characters (templated)
    :param settings: further fields of the service's request, such as ``{"train_evaluate_sample_ratio": "0.8"}``
        (templated)
    :param extra: fields that the contract does not know, sent as they are (templated)
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up; an earlier
        ``execution_timeout`` counts instead
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ServiceJobFailed: if the publication failed
    :raises ServiceJobTimeout: if it was not over in time; it goes on, and a retry waits for it
    :raises AirflowFailException: for errors that no retry can mend, such as a name that is taken
    """

    readers = _VERSION
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"settings": "json", "extra": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        version_name: str | None = None,
        description: str | None = None,
        settings: dict[str, Any] | str | None = None,
        extra: dict[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.version_name = version_name
        self.description = description
        self.settings = settings
        self.extra = extra
        self.check_job()

    def job(self, given: Mapping[str, Any]) -> PublicationJob:
        """Return the publication of the dataset."""
        return PublicationJob(given["dataset_id"])

    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the service's request for a version."""
        from airflow_provider_modelarts.client.requests.versions import CreateVersionRequest

        request = _request(CreateVersionRequest, "publish a version", given, ("version_name", "description"))
        if len(request["body"].get("description", "")) > _LONGEST_DESCRIPTION:
            raise ParameterError(
                f"description must have at most {_LONGEST_DESCRIPTION} characters: the service takes 256, and a marker "
                "is added to it."
            )
        return request

    def observe_job(self, context: Context, outcome: JobOutcome, result: Mapping[str, Any]) -> None:
        """Tell of the version; one that failed is none."""
        is_usable = outcome.status == "success"
        self.observe(
            context,
            parameters.hook(self),
            "publish",
            [str(self.dataset_id)],
            result if is_usable else {},
            places={"manifest": [obs_uri(result.get("manifest_path")) if is_usable else None]},
            is_complete=is_usable,
            waited=True,
        )


def _request(model: Any, what: str, given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the request of a job of a dataset: the checked body, and what the contract does not know."""
    own = {name: given[name] for name in names}
    body = parameters.request_body(model, what, own, given["settings"], given["extra"])
    return {"body": body, "extra": given["extra"]}


class ModelArtsCheckDatasetOperator(TemplatedOperator):
    """Check whether a labeling task could start on a dataset, all conditions at once, before one is started.

    Checked are: type of the dataset, what it is busy with, a running labeling task, its labels and the images of each,
    images without label, images with four channels, and for object detection the shapes of boxes. Not checked, as the
    service does not tell: encryption of the bucket, and the agency. Nothing is changed.

    Returns ``ready, unmet`` (names of the conditions that are not met) and ``checks`` (name, whether it is met, and a
    line for people). The same stands as Markdown in the XCom ``summary``. Both are pushed before anything is raised.

    :param dataset_id: the dataset (templated)
    :param if_not_ready: ``fail`` or ``skip``, if a condition is not met
    :param if_nothing_to_label: ``fail`` or ``skip``, if there is no image without label and everything else is met, but
        for labels on few images: after a night without new images
    :param check_images: read the list of all samples, 100 in a request, to find images with four channels, on which a
        labeling task fails after it has started
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowSkipException: if it is to be skipped
    :raises PreconditionFailed: as AirflowFailException, if conditions are not met that no retry can mend
    :raises DatasetBusy: if the dataset is only busy, or another labeling task runs: a retry may find it free
    """

    template_fields: Sequence[str] = tuple(_DATASET)
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        if_not_ready: str = "fail",
        if_nothing_to_label: str = "fail",
        check_images: bool = True,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.if_not_ready: str = constant("if_not_ready", if_not_ready, parameters.fail_or_skip)
        self.if_nothing_to_label: str = constant("if_nothing_to_label", if_nothing_to_label, parameters.fail_or_skip)
        self.check_images: bool = constant("check_images", check_images, parameters.flag)
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_DATASET)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the conditions; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            dataset_id = self.read_parameters(_DATASET)["dataset_id"]
            hook = parameters.hook(self).look_afresh()
            link_dataset(context, hook, dataset_id)
            report = check_preconditions(hook.client, dataset_id, check_images=self.check_images)
            self.log.info("%s", report)
            result = report.to_xcom()
            if self.do_xcom_push:
                context["ti"].xcom_push(key=SUMMARY_XCOM, value=report.to_markdown())
            if report.ready:
                return result
            if self.do_xcom_push:
                context["ti"].xcom_push(key="return_value", value=result)
            may_skip = self.if_not_ready == "skip" or (report.is_only_done and self.if_nothing_to_label == "skip")
            if may_skip:
                raise AirflowSkipException(report.refusal())
            raise report.error()
