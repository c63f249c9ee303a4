"""The operator that reports on the quality of a dataset's labels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import wrong
from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.labeling.storage.path import display_uri, file_name, name_of
from airflow_provider_modelarts.links import REPORT_XCOM, ModelArtsQualityReportLink
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._applied_plans import applied_plan, place_of_plan
from airflow_provider_modelarts.operators._templates import TemplatedOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.operators._templates import Readers

MOST_RUNS = 100
_ENDINGS = (".html", ".md")


def _web_address(name: str, value: object) -> str:
    text = parameters.identifier(name, value)
    if not text.startswith(("https://", "http://")):
        raise ParameterError(wrong(name, "an address that begins with https:// or http://", value).message)
    return text


_OF_REPORT: Readers = {
    "dataset_id": parameters.identifier,
    "ledger_uri": places.uri,
    "report_uri": places.uri,
    "report_link": parameters.optional(_web_address),
    "runs": parameters.whole(1, MOST_RUNS),
}


class ModelArtsQualityReportOperator(TemplatedOperator):
    """Write a report for people on what the last runs of a dataset came to, as Markdown and as one HTML page.

    It shows what was confirmed by label, the rules, what people's answers proved, the drift from run to run, the
    reasons of hard examples, and what is left to people. All numbers are counted from the ledger, from the plans that
    it names, and from their evidence. Nothing is asked of the service. The HTML page needs no other file and runs no
    script. The task's page links to it.

    Returns ``markdown_uri, html_uri, runs, confirmed, problems``: the files, how many runs are in the report, how many
    samples they have confirmed, and of how many the plan or the ledger cannot be read.

    :param dataset_id: the dataset (templated)
    :param ledger_uri: the ledger of the tasks that confirmed (templated)
    :param report_uri: where the report is written: a folder, in which its files are named by the dataset, or a file
        that ends with .html or .md, beside which the other is written. What is there is replaced (templated)
    :param report_link: the address at which people reach the HTML page in a browser, which the task's page links to;
        None: the URI itself (templated)
    :param runs: how many of the last runs, 1 to 100 (templated)
    :raises AirflowFailException: for errors that no retry can mend
    """

    template_fields: Sequence[str] = tuple(_OF_REPORT)
    operator_extra_links = (ModelArtsQualityReportLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        ledger_uri: places.AnyPlace,
        report_uri: places.AnyPlace,
        report_link: str | None = None,
        runs: int | str = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.ledger_uri = ledger_uri
        self.report_uri = report_uri
        self.report_link = report_link
        self.runs = runs
        self.check_parameters(_OF_REPORT)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report; see the class."""
        from airflow_provider_modelarts.client.clock import system_clock
        from airflow_provider_modelarts.labeling.quality.report import QualityReport
        from airflow_provider_modelarts.labeling.quality.runs import count_runs
        from airflow_provider_modelarts.labeling.storage.atomic import replace_text

        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_OF_REPORT)
            ledger = places.storage_path("ledger_uri", given["ledger_uri"])
            markdown, html = _files(given["report_uri"], given["dataset_id"])

            with places.storage_errors("ledger_uri", str(ledger), "read"):
                runs = count_runs(
                    ledger,
                    given["dataset_id"],
                    partial(_read_applied, ledger),
                    read_evidence=partial(_read_evidence, ledger),
                    runs=given["runs"],
                )
            report = QualityReport(given["dataset_id"], runs, system_clock.now())
            if not report.runs:
                self.log.warning(
                    "The ledger %s names no run of dataset %s: the report is empty. Check ledger_uri and dataset_id.",
                    display_uri(ledger),
                    given["dataset_id"],
                )
            for problem in report.problems:
                self.log.warning("Not in the report: %s", problem)
            with places.storage_errors("report_uri", str(html), "written"):
                replace_text(markdown, report.markdown())
                replace_text(html, report.html())
            link = str(html) if given["report_link"] is None else given["report_link"]
            if self.do_xcom_push:
                context["ti"].xcom_push(key=REPORT_XCOM, value=link)
            return {
                "markdown_uri": str(markdown),
                "html_uri": str(html),
                "runs": len(report.runs),
                "confirmed": sum(run.fates["confirmed"] for run in report.runs),
                "problems": len(report.problems),
            }


def _read_applied(ledger: ObjectStoragePath, header: PartHeader) -> Plan:
    try:
        return applied_plan(ledger, header)
    except ParameterError as error:  # the ledger does not say how its plan is reached
        raise InvalidRequest(str(error)) from None


def _read_evidence(ledger: ObjectStoragePath, plan: Plan) -> Evidence | None:
    """Return the evidence that a plan was narrowed by; None if it was not.

    :raises InvalidRequest: if it cannot be read, or is not the one that was used
    """
    from airflow_provider_modelarts.labeling.evidence.evidence_file import read_evidence

    if plan.proven_by is None:
        return None
    uri, digest = plan.proven_by
    named = None if plan.policy is None else plan.policy.evidence_uri
    try:
        # The plan names no connection; its policy may, unless the confirming task named another place.
        is_named = named is not None and display_uri(places.storage_path("evidence_uri", named)) == uri
        path = place_of_plan(ledger, named if named is not None and is_named else uri)
    except ParameterError:
        raise InvalidRequest(f"Nothing says by which connection its evidence {uri} is reached.") from None
    evidence = read_evidence(path)
    if evidence.digest != digest:
        raise InvalidRequest(f"Its evidence {evidence.uri} was replaced since: it is not the one that was used.")
    return evidence


def _files(report_uri: str, dataset_id: str) -> tuple[ObjectStoragePath, ObjectStoragePath]:
    """Return where the Markdown and the HTML are written; the place is tried."""
    path = places.storage_path("report_uri", report_uri)
    name = name_of(path)
    ending = next((one for one in _ENDINGS if name.endswith(one) and name != one), None)
    if ending is None:
        places.check_writable("report_uri", path)
        folder, stem = path, f"quality-{file_name(dataset_id)}"
    else:
        folder, stem = places.file_to_write("report_uri", report_uri).parent, name.removesuffix(ending)
    return folder / f"{stem}.md", folder / f"{stem}.html"
