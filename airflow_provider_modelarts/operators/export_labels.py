"""The operator that exports the labels of a dataset in the formats that others read."""

# ruff: noqa: A002 - format is what users call it

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.export import FORMAT_NAMES, LABEL_STUDIO, ON_PROBLEM, PROPOSAL_FORMATS
from airflow_provider_modelarts.labeling.storage.path import display_uri
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _plan_and_ledger as plans
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._base import StoppableOperator, identity_of
from airflow_provider_modelarts.operators._templates import is_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.labeling.export import OnProblem
    from airflow_provider_modelarts.labeling.export.exporter import ExportRequest, LabelExport
    from airflow_provider_modelarts.labeling.export.results import ExportResult
    from airflow_provider_modelarts.labeling.ledger.reader import Ledger
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.operators._templates import Readers


def _classes(name: str, value: object) -> list[str]:
    return [parameters.label(f"{name}[{place}]", one) for place, one in enumerate(parameters.listed(name, value))]


_OF_EXPORT: Readers = {
    "dataset_id": parameters.identifier,
    "uri": places.uri,
    "format": parameters.choice(*FORMAT_NAMES),
    "include_proposals": parameters.optional(parameters.flag),
    "classes": parameters.optional(_classes),
    "on_problem": parameters.choice(*ON_PROBLEM),
    "plan_uri": parameters.optional(places.uri),
    "plan_digest": parameters.optional(parameters.identifier),
    "ledger_uri": parameters.optional(places.uri),
    "ledger_run_id": parameters.optional(parameters.identifier),
    **parameters.CONNECTION,
}


class ModelArtsExportLabelsOperator(StoppableOperator):
    """Write the final labels of a dataset into a folder, in a format that others read. The dataset is not changed.

    The export is complete where ``export.json`` is there, which is written last; an earlier export of the same dataset
    in the same format is replaced. Every export also has ``samples.jsonl``: for each sample its labels exactly as the
    service has them and, with a ledger, who confirmed them, when and by which rule. No file holds a signed address.

    Returns ``uri``, ``digest``, and the counts ``seen, samples, proposals, left_out, labels, labels_left_out, files,
    renamed, redacted, confirmed, changed_since, confirmed_missing, by_label, problems``, stored before anything is
    raised.

    :param dataset_id: the dataset (templated)
    :param uri: the folder to write to: ``file://``, or ``s3://`` and ``obs://`` with s3fs. It must be empty, or hold an
        export of this dataset in this format (templated)
    :param format: ``modelarts-manifest``, ``coco``, ``yolo``, ``yolo-segment``, ``pascal-voc``, ``label-studio``,
        ``imagefolder`` or ``jsonl`` (templated)
    :param include_proposals: export undecided proposals too, as predictions; ``label-studio`` and ``jsonl`` can tell
        them from decisions. None: with ``label-studio`` only (templated)
    :param classes: label names in the order of their numbers, so that they are the same each night; another label is a
        problem. None: the names that are met, sorted (templated)
    :param on_problem: what to do about what the format cannot express, such as a circle in YOLO, and about an image
        whose size the service does not say. ``fail``: write nothing. ``leave_out_samples``: leave out every sample that
        cannot be exported whole. ``leave_out_labels``: leave out the labels that cannot be expressed, and samples
        without any other. What is left out is named in the log and in ``export.json`` (templated)
    :param plan_uri: a plan of this dataset: what it decided about each sample is exported too (templated)
    :param plan_digest: the digest that the plan must have. None: any (templated)
    :param ledger_uri: the folder that confirming tasks were given as ``ledger_uri`` (templated)
    :param ledger_run_id: only the ledger of this DAG run. None: those of all runs (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises AirflowFailException: if something cannot be exported and ``on_problem`` is ``fail``, if the folder holds
        other files, and for what else no retry can mend
    """

    template_fields: Sequence[str] = tuple(_OF_EXPORT)
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        uri: places.AnyPlace,
        format: str,
        include_proposals: bool | str | None = None,
        classes: Sequence[str] | XComArg | str | None = None,
        on_problem: OnProblem | str = "fail",
        plan_uri: places.AnyPlace | None = None,
        plan_digest: str | None = None,
        ledger_uri: places.AnyPlace | None = None,
        ledger_run_id: str | XComArg | None = None,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.uri = uri
        self.format = format
        self.include_proposals = include_proposals
        self.classes = classes
        self.on_problem = on_problem
        self.plan_uri = plan_uri
        self.plan_digest = plan_digest
        self.ledger_uri = ledger_uri
        self.ledger_run_id = ledger_run_id
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_OF_EXPORT)
        with self.errors_of_making():
            together = ("format", "include_proposals", "plan_uri", "plan_digest", "ledger_uri", "ledger_run_id")
            given = {name: getattr(self, name) for name in together}
            if not any(map(is_template, given.values())):
                _check_together(given)

    def execute(self, context: Context) -> dict[str, Any]:
        """Export; see the class."""
        from airflow_provider_modelarts.labeling.export.exporter import LabelExport

        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            request = self._request(context)
            hook = parameters.hook(self)
            link_dataset(context, hook, request.dataset_id)
            stop = self.open_gate(context)
            export = LabelExport(
                hook.look_afresh().client,
                request,
                on_progress=lambda count: self.log.info("%d samples read.", count),
                should_stop=stop.is_set,
            )
            try:
                with places.storage_errors("uri", str(request.path), "written to"):
                    result = export.run()
            except BaseException as error:
                # Airflow's alarm is no Exception.
                self.push_result_after_error(error, context, self._xcom(export.result(), request))
                self._tell(export.result(), export)
                raise
            self.push_result(context, self._xcom(result, request))
            self.log.info("Exported to %s: %s", result.uri, result)
            self._tell(result, export)
            return self._xcom(result, request)

    def _request(self, context: Context) -> ExportRequest:
        from airflow_provider_modelarts.labeling.export.exporter import ExportRequest

        given = self.read_parameters(_OF_EXPORT)
        _check_together(given)
        path = places.storage_path("uri", self.uri)
        places.check_writable("uri", path)
        wanted = given["include_proposals"]
        return ExportRequest(
            given["dataset_id"],
            path,
            given["format"],
            include_proposals=given["format"] == LABEL_STUDIO if wanted is None else wanted,
            classes=given["classes"],
            on_problem=given["on_problem"],
            plan=_plan(given),
            ledgers=_ledgers(given),
            made_by=asdict(identity_of(context)),
        )

    @staticmethod
    def _xcom(result: ExportResult, request: ExportRequest) -> dict[str, Any]:
        """Return the counts, and the folder as it was given: with the connection that leads there."""
        return {**result.to_xcom(), "uri": str(request.path)}

    def _tell(self, result: ExportResult, export: LabelExport) -> None:
        """Log what is not in the export, and what does not agree with the ledger."""
        for problem in result.problems.values():
            self.log.warning("Not exported: %s", problem)
        if result.redacted:
            self.log.warning(
                "Addresses in the attributes of %d samples lost their queries, or were left out: they may be signed.",
                result.redacted,
            )
        if result.changed_since:
            self.log.warning(
                "%d samples have other labels than a run has confirmed; nobody is named for them.", result.changed_since
            )
        if result.confirmed_missing:
            self.log.warning(
                "%d samples that the ledger says were confirmed are not among the labeled ones now, such as %s: they "
                "were taken back, emptied or deleted since.",
                result.confirmed_missing,
                ", ".join(export.confirmed_missing),
            )


def _check_together(given: Mapping[str, Any]) -> None:
    """Refuse parameters that make no sense together.

    :param given: what was given, as it is or as it was read
    """
    wants_proposals = parameters.optional(parameters.flag)("include_proposals", given["include_proposals"])
    if wants_proposals and given["format"] not in PROPOSAL_FORMATS:
        raise ParameterError(
            f"{given['format']} cannot tell a proposal from a decision: leave include_proposals out, or choose "
            f"{' or '.join(PROPOSAL_FORMATS)}."
        )
    for name, place in (("plan_digest", "plan_uri"), ("ledger_run_id", "ledger_uri")):
        if given[name] is not None and given[place] is None:
            raise ParameterError(f"{name} is given without {place}: give both, or none.")


def _plan(given: Mapping[str, Any]) -> Plan | None:
    if given["plan_uri"] is None:
        return None
    path = places.storage_path("plan_uri", given["plan_uri"])
    return plans.stored_plan(path, given["dataset_id"], given["plan_digest"])


def _ledgers(given: Mapping[str, Any]) -> list[Ledger]:
    """Return the ledgers that say who confirmed.

    :raises ParameterError: if there is none: a wrong place would look like a dataset that nobody has confirmed
    """
    from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, read_ledgers

    if given["ledger_uri"] is None:
        return []
    root, run_id = places.storage_path("ledger_uri", given["ledger_uri"]), given["ledger_run_id"]
    with places.storage_errors("ledger_uri", str(root), "read"):
        found = list(read_ledgers(root)) if run_id is None else [read_ledger(root, run_id)]
    if not any(ledger.chains for ledger in found):
        of_run = "" if run_id is None else f" of the run {run_id!r}"
        raise ParameterError(
            f"ledger_uri {display_uri(root)} holds no ledger{of_run}. Nothing was written; correct it, or leave it out."
        )
    return found
