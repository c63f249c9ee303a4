"""The operator that reads people's answers to an audit back, and says what they prove."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.redaction import storable
from airflow_provider_modelarts.client.validation import decoded, shown
from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.storage.path import name_of
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _plan_and_ledger as plans
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._approval import AUDIT_ANSWERS, Approval, read_approval
from airflow_provider_modelarts.operators._base import SUMMARY_XCOM, identity_of
from airflow_provider_modelarts.operators._templates import TemplatedOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, ObjectStoragePath
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.labeling.evidence.answers import Answers
    from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.operators._templates import Readers

EVIDENCE_DIGEST_XCOM = "evidence_digest"
"""XCom with the digest of the evidence, 64 hex digits."""
THRESHOLD_BYTES = 4096
"""Bytes of the thresholds in XCom; if they need more, it holds none: a part would look like all."""

DATASET, TEAM_TASK = "dataset", "team_task"


def _answers_from(name: str, value: object) -> str | Approval:
    """Return "dataset", "team_task", or the answers as those of an approval, with what is known of it."""
    if isinstance(value, str) and value.strip() in (DATASET, TEAM_TASK):
        return value.strip()
    read = decoded(value, name)
    if (isinstance(read, Mapping) and "chosen_options" in read) or "chosen_options" in str(value):
        approval = read_approval(name, value)
        return approval._replace(answers=approval.answers.get(AUDIT_ANSWERS, {}))
    if not isinstance(read, Mapping):
        raise ParameterError(
            f'{name} must be "{DATASET}", "{TEAM_TASK}", the output of an approval, or a dict of answers by sample id, '
            f"not {shown(value)}."
        )
    return Approval(answers=read.get(AUDIT_ANSWERS, read))


_OF_AUDIT: Readers = {
    "dataset_id": parameters.identifier,
    "plan_uri": places.uri,
    "plan_digest": parameters.optional(parameters.identifier),
    "evidence_uri": parameters.optional(places.uri),
    "answers_from": _answers_from,
    "workforce_task_id": parameters.optional(parameters.identifier),
    "ledger_uri": parameters.optional(places.uri),
    "iou": parameters.number(0, 1),
    **parameters.CONNECTION,
}


class ModelArtsEvaluateAuditOperator(TemplatedOperator):
    """Read people's answers to the audit of a plan, and store what they prove. Nothing is written to the dataset.

    The plan's policy holds ``target_precision`` and ``confidence``. For each label the evidence says from which score
    upwards that target is proven; ``ModelArtsConfirmSamplesOperator`` confirms by the plan only so far. It runs before
    anything of the plan is confirmed. A plan is judged once: if evidence of it is there, that is returned. A small file
    beside the plan names the evidence, so an evaluation of the same plan that is to store it elsewhere is refused.

    Returns ``min_score_by_label`` (None if that is longer than 4 KB), ``labels, proven, proposals, drawn,
    answered, wrong, excluded, confirmable, evidence_uri, report_uri``. A report for people (Markdown, at most 8 KB) is
    stored as XCom ``summary`` and, with a picture (SVG) that it links to, beside the evidence under the same name with
    ``.md`` and ``.svg``; what is there is replaced. The digest of the evidence is the XCom ``evidence_digest``.

    :param dataset_id: the dataset (templated)
    :param plan_uri: the plan, whose policy has a target (templated)
    :param plan_digest: the digest that it must have: the XCom ``plan_digest`` of the task that made it (templated)
    :param evidence_uri: file to store the evidence in, as JSON Lines: ``file://``, or ``s3://`` with s3fs. None: where
        the policy says. Evidence for another plan that is there is replaced (templated)
    :param answers_from: where the answers are: ``dataset``: the final labels of the audited samples. ``team_task``: the
        labels that members gave in the team task ``workforce_task_id``. Or the answers: the output of an approval whose
        field ``audit_answers`` has them, as ``ModelArtsApprovalOperator`` asks for them with ``ask_audit``, or a dict
        that names for each sample id ``"right"``, ``"wrong"`` or the list of the label names that it should have
        (templated)
    :param workforce_task_id: the team task, made after the plan (templated)
    :param ledger_uri: the ledger of the confirming tasks: labels that they wrote are no answers, and a plan that they
        applied already is refused. None: there is none (templated)
    :param iou: least overlap (intersection over union), 0 to 1, of a box that a person drew and the one proposed, if
        the proposal is to count as right (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises ConfirmationError: if nobody has answered yet; nothing is stored, and the task may run again
    :raises AirflowFailException: for a plan that was judged elsewhere or applied already, whose audit is not as its
        seed draws it, or that has no target; and for what else no retry can mend
    """

    template_fields: Sequence[str] = tuple(_OF_AUDIT)
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        plan_uri: places.AnyPlace,
        plan_digest: str | XComArg | None = None,
        evidence_uri: places.AnyPlace | None = None,
        answers_from: Mapping[str, Any] | str | XComArg = DATASET,
        workforce_task_id: str | XComArg | None = None,
        ledger_uri: places.AnyPlace | None = None,
        iou: float | str = 0.5,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.plan_uri = plan_uri
        self.plan_digest = plan_digest
        self.evidence_uri = evidence_uri
        self.answers_from = answers_from
        self.workforce_task_id = workforce_task_id
        self.ledger_uri = ledger_uri
        self.iou = iou
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_OF_AUDIT)

    def execute(self, context: Context) -> dict[str, Any]:
        """Evaluate the audit; see the class."""
        from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
        from airflow_provider_modelarts.labeling.evidence.evidence_file import first_evidence, store_evidence
        from airflow_provider_modelarts.labeling.evidence.reliability import reliability_svg
        from airflow_provider_modelarts.labeling.evidence.report import markdown
        from airflow_provider_modelarts.labeling.storage.atomic import replace_text

        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_OF_AUDIT)
            if (given["answers_from"] == TEAM_TASK) is not (given["workforce_task_id"] is not None):
                raise ParameterError(f'Give workforce_task_id with answers_from="{TEAM_TASK}", and only then.')
            plan_path = places.storage_path("plan_uri", self.plan_uri)
            audited = AuditedPlan(plans.stored_plan(plan_path, given["dataset_id"], given["plan_digest"]))
            places.check_writable("plan_uri", plan_path.parent)  # the plan's folder remembers what it was judged by
            path = places.file_to_write("evidence_uri", plans.evidence_place(audited.plan, self.evidence_uri))
            hook = parameters.hook(self)
            link_dataset(context, hook, given["dataset_id"])
            with places.storage_errors("evidence_uri", str(path), "read"):
                evidence = first_evidence(path, audited.plan)
            if evidence is not None:
                self.log.info("The audit of this plan was evaluated already; its evidence counts: %s", evidence.uri)
            else:
                made = self._evidence(hook.look_afresh().client, audited, given, context)
                with places.storage_errors("evidence_uri", str(path), "written"):
                    evidence = store_evidence(path, audited.plan, made)
            report, picture = _report_files(path)
            with places.storage_errors("the report", str(report), "written"):
                replace_text(picture, reliability_svg(evidence))
                replace_text(report, markdown(audited, evidence, name_of(picture)))
            result = {**_counts(audited, evidence), "evidence_uri": str(path), "report_uri": str(report)}
            self.log.info("The evidence is stored at %s: %s", evidence.uri, result)
            if self.do_xcom_push:
                context["ti"].xcom_push(key=SUMMARY_XCOM, value=markdown(audited, evidence))
                context["ti"].xcom_push(key=EVIDENCE_DIGEST_XCOM, value=evidence.digest)
            return result

    def _evidence(
        self, client: ModelArtsClient, audited: AuditedPlan, given: Mapping[str, Any], context: Context
    ) -> Evidence:
        from airflow_provider_modelarts.client.clock import system_clock
        from airflow_provider_modelarts.client.errors import ConfirmationError
        from airflow_provider_modelarts.labeling.evidence.evidence_file import EvidenceHeader, gathered

        plan = audited.plan
        ours = self._own_writes(audited)
        answers = _read_answers(client, audited, given)
        people = {sample_id: answer for sample_id, answer in answers.items() if sample_id not in ours}
        if audited.rows and not people:
            raise ConfirmationError(
                f"None of the {len(audited.rows)} samples that were drawn for the audit of the plan {plan.uri} was "
                "answered by a person. Nothing was stored. Run the task again when people have answered."
            )
        if ours:
            self.log.warning("%d audited samples carry labels that a confirmation wrote: no answers.", len(ours))
        source = given["answers_from"]
        header = EvidenceHeader(
            dataset_id=plan.header.dataset_id,
            plan_uri=plan.uri,
            plan_digest=plan.digest,
            target_precision=audited.target,
            confidence=audited.policy.confidence,
            iou=given["iou"],
            answers_from=source if isinstance(source, str) else "given",
            excluded=len(ours & answers.keys()),
            made_by=asdict(identity_of(context)),
            created_at=system_clock.now(),
        )
        return gathered(audited, header, people)

    def _own_writes(self, audited: AuditedPlan) -> set[str]:
        from airflow_provider_modelarts.labeling.evidence.own_writes import written_by_us

        if self.ledger_uri is None:
            return set()
        root = places.storage_path("ledger_uri", self.ledger_uri)
        with places.storage_errors("ledger_uri", str(root), "read"):
            return written_by_us(root, audited.plan, audited.rows.keys())


def _read_answers(client: ModelArtsClient, audited: AuditedPlan, given: Mapping[str, Any]) -> Answers:
    from airflow_provider_modelarts.client.clock import system_clock
    from airflow_provider_modelarts.labeling.evidence import answers

    source = given["answers_from"]
    if source == DATASET:
        return answers.answers_in_dataset(client, audited, given["iou"], system_clock)
    if source == TEAM_TASK:
        return answers.answers_in_team_task(client, audited, given["workforce_task_id"], given["iou"])
    source.check_plan("answers_from", audited.plan)
    return answers.answers_given(audited, source.answers)


def _report_files(evidence: ObjectStoragePath) -> tuple[ObjectStoragePath, ObjectStoragePath]:
    """Return where the report and its picture are written: beside the evidence, never in its place."""
    stem = name_of(evidence).removesuffix(".jsonl")
    return evidence.parent / f"{stem}.md", evidence.parent / f"{stem}.svg"


def _counts(audited: AuditedPlan, evidence: Evidence) -> dict[str, Any]:
    """Return the result for XCom: JSON primitives of at most some kilobytes (B19)."""
    from airflow_provider_modelarts.labeling.evidence.report import confirmable

    thresholds = evidence.min_score_by_label
    can_be_shown = len(json.dumps(thresholds)) <= THRESHOLD_BYTES and all(storable(name) == name for name in thresholds)
    return {
        "min_score_by_label": thresholds if can_be_shown else None,
        "labels": len(evidence.labels),
        "proven": len(thresholds),
        "proposals": sum(one.proposals for one in evidence.labels),
        "drawn": sum(one.drawn for one in evidence.labels),
        "answered": len(evidence.answers),
        "wrong": evidence.wrong_by_label.total(),
        "excluded": evidence.header.excluded,
        "confirmable": sum(confirmable(audited, evidence).values()),
    }
