"""Operators that plan which proposals become final, confirm them, and take a confirmation back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.filters import FILTERS
from airflow_provider_modelarts.labeling.results import check
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _plan_and_ledger as plans
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._applied_plans import plans_of_run
from airflow_provider_modelarts.operators._approval import approver, read_approval
from airflow_provider_modelarts.operators._base import (
    DIGEST_XCOM,
    REVIEW_XCOM,
    ProposalsOperator,
    SearchConditions,
    StoppableOperator,
    identity_of,
    nothing_to_confirm,
)
from airflow_provider_modelarts.operators._templates import constant
from airflow_provider_modelarts.utils.observation import values_of
from airflow_provider_modelarts.utils.worker_thread import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, ObjectStoragePath
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.undo.results import RevertResult
    from airflow_provider_modelarts.operators._templates import Readers

OnPartialFailure = Literal["fail", "warn"]
IfNothingToConfirm = Literal["continue", "skip"]

_OF_PLAN: Readers = {
    "plan_uri": places.uri,
    "label_task_id": parameters.optional(parameters.identifier),
    "ledger_uri": parameters.optional(places.uri),
}
_OF_CONFIRMATION: Readers = {
    "plan_uri": parameters.optional(places.uri),
    "plan_digest": parameters.optional(parameters.identifier),
    "ledger_uri": parameters.optional(places.uri),
    "approved_by": approver,
    "approval": parameters.optional(read_approval),
    "evidence_uri": parameters.optional(places.uri),
    "preview": parameters.flag,
}
# What says something about the plan at plan_uri, and why it needs that.
_ABOUT_A_PLAN = {
    "plan_digest": "a plan that the task makes itself has none yet",
    "approval": "nobody has seen a plan that the task makes itself",
    "evidence_uri": "evidence speaks for a plan that was made before",
}
_OF_REVERT: Readers = {
    "ledger_uri": places.uri,
    "ledger_run_id": parameters.identifier,
    "ledger_dag_id": parameters.optional(parameters.identifier),
    "dataset_id": parameters.optional(parameters.identifier),
    "preview": parameters.flag,
    **parameters.CONNECTION,
}


class ModelArtsPlanConfirmationOperator(ProposalsOperator):
    """Decide about every proposal of a dataset and store the decisions, without writing anything to the dataset.

    Returns the counts of a confirmation, ``confirmed`` being what would be confirmed. A summary for people (Markdown,
    at most 8 KB) is stored as XCom ``summary``; it fits the body of an approval. The plan's digest is stored as XCom
    ``plan_digest``. Guards of the policy are checked after all that is stored. A retry continues with the plan
    that an earlier try has stored, unless something else is asked for now; a cleared task makes a new one.

    :param dataset_id: the dataset (templated)
    :param plan_uri: file to store the plan in, as JSON Lines: ``file://``, or ``s3://`` with s3fs. A plan that is there
        already is replaced, unless another mapped task of the same task has made it: with mapped tasks give each a
        file of its own, with ``{{ ti.map_index }}`` in its name (templated)
    :param policy: rules that decide for each proposal, as a plain dict or its JSON text; see ``ConfirmPolicy``.
        None: confirm every proposal that has labels, hard examples too (templated)
    :param label_task_id: the labeling task that made the proposals, to be noted in the plan (templated)
    :param ledger_uri: the ledger of the task that applies the plans. If the policy has ``max_drift``, the plan that was
        applied last is looked for in it: without ``baseline_plan_uri`` it is compared with, and else it says which
        samples were proposed before. Nothing is written to it (templated)
    :param label_name: only proposals with this label (templated)
    :param first_label: only proposals whose first label this is (templated)
    :param label_type: only proposals with a label of this type, a number of the service: 0 classification, 1 detection
        ... (templated)
    :param low_score: only proposals that score at least this, 0 to 1 (templated)
    :param high_score: only proposals that score at most this, 0 to 1 (templated)
    :param search_conditions: only proposals that meet these conditions of the service's search, such as
        ``{"sample_dir": "s3://bucket/today/"}``, ``{"sample_time": "day"}`` or ``{"hard": "1"}``; of several in a list
        all must hold (templated)
    :param if_nothing_to_confirm: ``continue``: succeed with a warning. ``skip``: the task is skipped after all is
        stored, and with it an approval and the task that applies the plan: nobody is asked to approve nothing
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises AirflowFailException: if a guard does not hold, and for what else no retry can mend
    :raises AirflowSkipException: if nothing would be confirmed, with ``if_nothing_to_confirm="skip"``
    """

    template_fields: Sequence[str] = (*ProposalsOperator.template_fields, *_OF_PLAN)
    template_fields_renderers: ClassVar[dict[str, str]] = {"policy": "json", "search_conditions": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        plan_uri: places.AnyPlace,
        policy: dict[str, Any] | str | None = None,
        label_task_id: str | XComArg | None = None,
        ledger_uri: places.AnyPlace | None = None,
        label_name: str | None = None,
        first_label: str | None = None,
        label_type: int | str | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        search_conditions: SearchConditions | None = None,
        if_nothing_to_confirm: IfNothingToConfirm = "continue",
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            dataset_id=dataset_id,
            policy=policy,
            label_name=label_name,
            first_label=first_label,
            label_type=label_type,
            low_score=low_score,
            high_score=high_score,
            search_conditions=search_conditions,
            modelarts_conn_id=modelarts_conn_id,
            project_id=project_id,
            **kwargs,
        )
        self.plan_uri = plan_uri
        self.label_task_id = label_task_id
        self.ledger_uri = ledger_uri
        # No template field, so a template in it would be taken as it stands.
        self.if_nothing_to_confirm = constant(
            "if_nothing_to_confirm", if_nothing_to_confirm, parameters.choice("continue", "skip")
        )
        self.check_parameters(_OF_PLAN)

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the plan; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            request = self.request()
            label_task_id = parameters.optional(parameters.identifier)("label_task_id", self.label_task_id)
            path = places.file_to_write("plan_uri", self.plan_uri)
            ledger = None if self.ledger_uri is None else places.storage_path("ledger_uri", self.ledger_uri)
            hook = parameters.hook(self)
            link_dataset(context, hook, request.dataset_id)
            client = hook.look_afresh().client
            self.check_labels(client, request)
            made = plans.find_or_make(
                client,
                path,
                request,
                label_task_id=label_task_id,
                ledger=ledger,
                identity=identity_of(context),
                on_progress=self.report,
                stop=self.open_gate(context),
                log=self.log,
            )
            # As it was given: with the connection that leads there, for the task that applies the plan.
            result = replace(made.result, plan_uri=str(path)).to_xcom()
            summary = made.markdown()
            self.push_result(context, result, summary)
            if self.do_xcom_push:
                context["ti"].xcom_push(key=DIGEST_XCOM, value=made.plan.digest)
                context["ti"].xcom_push(key=REVIEW_XCOM, value=self._place_for_review(request, path, made.plan))
            self.observe_result(context, hook, "plan", replace(made.result, plan_uri=str(path)))
            self.log.info("The plan is stored at %s: %s", made.plan.uri, made.result)
            self.warn_if_empty(client, made.result)
            made.plan.check_guards()
            if self.if_nothing_to_confirm == "skip" and not made.result.confirmed:
                raise AirflowSkipException(f"{nothing_to_confirm(made.result)} Skipped: there is nothing to approve.")
            return result

    def _place_for_review(self, request: ConfirmationRequest, path: ObjectStoragePath, plan: Plan) -> dict[str, Any]:
        """Return what the review page needs to show the plan, no secrets; see ``plugins.review_task.PlanPlace``."""
        return {
            "plan_uri": str(path),
            "plan_digest": plan.digest,
            "dataset_id": request.dataset_id,
            "modelarts_conn_id": self.modelarts_conn_id,
            "project_id": self.project_id,
        }


class ModelArtsConfirmSamplesOperator(ProposalsOperator):
    """Confirm the machine's proposals of a dataset: write their labels back, which makes them final.

    Returns counts: ``seen, confirmed, review, left, failed, gone, changed_since_plan, passes, requests, seconds,
    plan_uri, ledger_uri, by_label``; they are stored before anything is raised. It may run again at any time: what is
    confirmed stays so, and what a person has labeled since is not touched.

    With ``plan_uri`` exactly what was planned is written, where it still is proposed so. With ``ledger_uri``, or with a
    guard in the policy, all decisions are stored as a plan before the first write, and every retry goes on with that
    plan, and refuses it if something else is asked for now; without ``ledger_uri`` it lies beside Airflow's task logs.
    Otherwise it is decided and written page by page.

    :param dataset_id: the dataset (templated)
    :param policy: rules that decide for each proposal, as a plain dict or its JSON text; see ``ConfirmPolicy``.
        None: confirm every proposal that has labels, hard examples too (templated)
    :param plan_uri: instead of policy and filters, the plan to apply: it holds them (templated)
    :param plan_digest: the digest that the plan at ``plan_uri`` must have: the XCom ``plan_digest`` of the task that
        made it. Another plan that lies there by now is refused (templated)
    :param label_name: only proposals with this label (templated)
    :param first_label: only proposals whose first label this is: mapped tasks that each take one label of a dataset
        share it without overlap (templated)
    :param label_type: only proposals with a label of this type, a number of the service: 0 classification, 1 detection
        ... (templated)
    :param low_score: only proposals that score at least this, 0 to 1 (templated)
    :param high_score: only proposals that score at most this, 0 to 1 (templated)
    :param search_conditions: only proposals that meet these conditions of the service's search, such as
        ``{"sample_dir": "s3://bucket/today/"}``, ``{"sample_time": "day"}`` or ``{"hard": "1"}``; of several in a list
        all must hold (templated)
    :param ledger_uri: folder in which to record what was written to which sample, and what the service answered;
        all runs may share it. ``file://``, or ``s3://`` with s3fs. None: nothing is recorded (templated)
    :param approved_by: who approved the plan, noted in the ledger: a name, or the output of an ``ApprovalOperator``
        whose answer rejects nothing and is not older than the plan at ``plan_uri`` (templated)
    :param approval: instead of ``approved_by``, the output of an approval of the plan at ``plan_uri``. Samples and
        labels that it rejects (``reject_samples``, ``reject_labels``) are left to people, and the guards judge what is
        left; the ledger notes who approved and when. An answer that is not understood is refused (templated)
    :param evidence_uri: of a plan whose policy has ``target_precision``: the evidence that
        ``ModelArtsEvaluateAuditOperator`` stored. What it does not prove is left to people, and without it nothing is
        confirmed. None: where the policy says (templated)
    :param batch_size: samples in one request; a page of 100 is the most that is written at once
    :param concurrency: requests in flight at once, 1 to 64; fewer while the service throttles
    :param preview: decide, count and check the guards, but write nothing, neither to the dataset nor to the ledger; of
        a task that a guard fails the counts say what it judged (templated)
    :param on_partial_failure: ``fail``: raise if the service refused samples. ``warn``: log them and succeed
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises ConfirmationError: if samples failed, if the run was stopped, or if proposals are unaccounted for
    :raises AirflowFailException: for what no retry can mend
    """

    template_fields: Sequence[str] = (*ProposalsOperator.template_fields, *_OF_CONFIRMATION)
    template_fields_renderers: ClassVar[dict[str, str]] = {"policy": "json", "search_conditions": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        policy: dict[str, Any] | str | None = None,
        plan_uri: places.AnyPlace | None = None,
        plan_digest: str | XComArg | None = None,
        label_name: str | None = None,
        first_label: str | None = None,
        label_type: int | str | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        search_conditions: SearchConditions | None = None,
        ledger_uri: places.AnyPlace | None = None,
        approved_by: str | XComArg | None = None,
        approval: Mapping[str, Any] | str | XComArg | None = None,
        evidence_uri: places.AnyPlace | None = None,
        batch_size: int = 100,
        concurrency: int = 8,
        preview: bool | str = False,
        on_partial_failure: OnPartialFailure = "fail",
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        parameters.refuse_taken_names(kwargs, dry_run="preview")
        super().__init__(
            dataset_id=dataset_id,
            policy=policy,
            label_name=label_name,
            first_label=first_label,
            label_type=label_type,
            low_score=low_score,
            high_score=high_score,
            search_conditions=search_conditions,
            modelarts_conn_id=modelarts_conn_id,
            project_id=project_id,
            **kwargs,
        )
        self.plan_uri = plan_uri
        self.plan_digest = plan_digest
        self.ledger_uri = ledger_uri
        self.approved_by = approved_by
        self.approval = approval
        self.evidence_uri = evidence_uri
        self.batch_size: int = constant("batch_size", batch_size, parameters.whole(1, 1000))
        self.concurrency: int = constant("concurrency", concurrency, parameters.whole(1, 64))
        self.preview = preview
        self.on_partial_failure: OnPartialFailure = constant(
            "on_partial_failure", on_partial_failure, parameters.choice("fail", "warn")
        )
        with self.errors_of_making():
            self._check_that_a_plan_is_alone()
        self.check_parameters(_OF_CONFIRMATION)

    def execute(self, context: Context) -> dict[str, Any]:
        """Confirm the proposals; see the class."""
        from airflow_provider_modelarts.labeling.apply.confirmation import Confirmation

        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            stop = self.open_gate(context)
            self._check_that_a_plan_is_alone()
            request = replace(
                self.request(),
                batch_size=self.batch_size,
                concurrency=self.concurrency,
                preview=parameters.flag("preview", self.preview),
            )
            stored = plans.resolve_plan_and_ledger(
                request,
                context,
                plan_uri=self.plan_uri,
                plan_digest=self.plan_digest,
                ledger_uri=self.ledger_uri,
                approved_by=self.approved_by,
                approval=self.approval,
                evidence_uri=self.evidence_uri,
                log=self.log,
            )
            request = replace(request, plan=stored.plan, ledger=stored.ledger, baseline=stored.baseline)
            hook = parameters.hook(self)
            link_dataset(context, hook, request.dataset_id)
            client = hook.look_afresh().client
            self.check_labels(client, request)
            confirmation = Confirmation(client, request, on_progress=self.report, stop=stop)
            try:
                result = stored.named(run_in_thread(confirmation.run, stop))
                self.log_result(result, "Not confirmed")
                self.warn_if_empty(client, result, stored.filters)
                check(result, self.on_partial_failure)
            except BaseException as error:
                # Airflow's alarm is no Exception (B16).
                done = confirmation.result()
                self.push_result_after_error(error, context, None if done is None else stored.named(done).to_xcom())
                if done is not None:
                    self.observe_result(
                        context, hook, "confirm", stored.named(done), is_complete=False, bounds=stored.bounds
                    )
                raise
            self.observe_result(context, hook, "confirm", result, bounds=stored.bounds)
            return result.to_xcom()

    def _check_that_a_plan_is_alone(self) -> None:
        given = [name for name in ("policy", *FILTERS) if getattr(self, name) is not None]
        if self.plan_uri is not None and given:
            raise ParameterError(f"Give plan_uri without {', '.join(given)}: a plan holds its policy and its filters.")
        for name, reason in _ABOUT_A_PLAN.items():
            if self.plan_uri is None and getattr(self, name) is not None:
                raise ParameterError(f"Give plan_uri with {name}: {reason}.")
        if self.approval is not None and self.approved_by is not None:
            raise ParameterError("Give approval or approved_by, not both: an approval says who gave it.")


class ModelArtsRevertConfirmationOperator(StoppableOperator):
    """Take back what a run confirmed, as its ledger tells: put back the labels that were there before.

    Only samples that still carry what the run wrote (by name, type and property of the labels) are written; all others
    are counted, and a few of them named. A sample that had no label loses its labels. The machine's proposals do not
    come back: to have samples proposed again, start a new labeling task. May be repeated.

    Returns the counts ``seen, restored, cleared, already, changed, gone, failed, unsettled, requests, seconds, preview,
    stopped``, stored before anything is raised; a report for people (Markdown) is stored as XCom ``summary``.

    :param ledger_uri: the folder that the confirming task was given as ``ledger_uri`` (templated)
    :param ledger_run_id: id of the DAG run whose confirmation is taken back (templated)
    :param ledger_dag_id: the DAG of that run. None: it is the only one with a run of this id in the ledger (templated)
    :param dataset_id: only what was written to this dataset. None: to all (templated)
    :param preview: count, but write nothing (templated)
    :param concurrency: samples read at once, 1 to 64
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: takes the place of the connection's own project (templated)
    :raises ConfirmationError: if the service refused samples, or if the run was stopped
    :raises AirflowFailException: if there is no such ledger, if it is damaged, and for what else no retry can mend
    """

    template_fields: Sequence[str] = tuple(_OF_REVERT)

    def __init__(
        self,
        *,
        ledger_uri: places.AnyPlace,
        ledger_run_id: str | XComArg,
        ledger_dag_id: str | None = None,
        dataset_id: str | None = None,
        preview: bool | str = False,
        concurrency: int = 8,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        parameters.refuse_taken_names(kwargs, dry_run="preview")
        super().__init__(**kwargs)
        self.ledger_uri = ledger_uri
        self.ledger_run_id = ledger_run_id
        self.ledger_dag_id = ledger_dag_id
        self.dataset_id = dataset_id
        self.preview = preview
        self.concurrency: int = constant("concurrency", concurrency, parameters.whole(1, 64))
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_OF_REVERT)

    def execute(self, context: Context) -> dict[str, Any]:
        """Revert; see the class."""
        from airflow_provider_modelarts.labeling.undo.results import check_reverted
        from airflow_provider_modelarts.labeling.undo.reverter import RevertRun

        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            root = places.storage_path("ledger_uri", self.ledger_uri)
            given = self.read_parameters(_OF_REVERT)
            run_id, dag_id, dataset_id = given["ledger_run_id"], given["ledger_dag_id"], given["dataset_id"]
            with places.storage_errors("ledger_uri", str(root), "read"):
                known = plans_of_run(root, run_id, dag_id, dataset_id, self.log)
            client = parameters.hook(self).look_afresh().client
            stop = self.open_gate(context)
            run = RevertRun(
                client,
                root,
                run_id,
                ledger_dag_id=dag_id,
                dataset_id=dataset_id,
                plans=known,
                preview=given["preview"],
                concurrency=self.concurrency,
            )
            try:
                result = run_in_thread(lambda: run.revert(stop), stop)
            except BaseException as error:
                # Airflow's alarm is no Exception.
                done = run.result()
                if done is not None:
                    self.push_result_after_error(error, context, done.to_xcom(), done.markdown())
                    self.log_result(done, "Not reverted")
                    self._observe(context, done, root, known, dataset_id)
                raise
            self.push_result(context, result.to_xcom(), result.markdown())
            self._observe(context, result, root, known, dataset_id)
            self.log_result(result, "Not reverted")
            check_reverted(result)
            return result.to_xcom()

    def _observe(
        self,
        context: Context,
        result: RevertResult,
        root: ObjectStoragePath,
        known: Sequence[Plan],
        dataset_id: str | None,
    ) -> None:
        named = {plan.header.dataset_id for plan in known} if dataset_id is None else {dataset_id}
        self.observe(
            context,
            parameters.hook(self),
            "revert",
            sorted(named),
            values_of(result),
            places={"ledger": [str(root)], "plan": [plan.uri for plan in known]},
            preview=result.preview,
            is_complete=not result.stopped,
        )
