"""Which plan an Airflow task makes, applies or looks into, and where its ledger is."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.storage.path import remove_file
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._approval import approver, is_before, read_approval
from airflow_provider_modelarts.operators._base import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader, RunIdentity
    from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget
    from airflow_provider_modelarts.labeling.plan.baseline import Baseline
    from airflow_provider_modelarts.labeling.plan.builder import PlanResult
    from airflow_provider_modelarts.labeling.plan.narrowing import Narrowing
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.results import ConfirmationResult, Progress
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal


@dataclass(frozen=True)
class PlanAndLedger:
    """What a confirmation reads and writes beside the dataset.

    :param plan: the plan to apply, or where it is to be made; None: it is decided page by page
    :param ledger: where to record; None: nowhere
    :param uris: plan and ledger as the user names them, with the connections that lead there
    :param filters: those of the plan that the user named, for messages; None: the task's own hold
    :param baseline: the earlier plan that a plan to be made is compared with
    """

    plan: Plan | ObjectStoragePath | None
    ledger: LedgerTarget | None
    uris: dict[str, Any]
    filters: dict[str, Any] | None = None
    baseline: Baseline | None = None
    bounds: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What evidence says of each label that it proves, for lineage: ``bound``, ``target``, ``answered``."""
    _scratch: Any = None
    """The folder of a preview's plan, which lasts as long as this."""

    def named(self, result: ConfirmationResult) -> ConfirmationResult:
        """Return a result with these URIs in the place of those that labeling shows, which hold no connection."""
        return replace(result, **self.uris)


def resolve_plan_and_ledger(
    request: ConfirmationRequest,
    context: Context,
    *,
    plan_uri: object,
    plan_digest: object,
    ledger_uri: object,
    approved_by: object,
    approval: object,
    evidence_uri: object,
    log: Any,
) -> PlanAndLedger:
    """Return the plan and the ledger of a confirming task, from its rendered parameters.

    All that can be wrong with them is found here. A preview stores nothing. What an approval rejects, and what no
    evidence proves, is taken out of the plan: the plan that is applied lies where one would that the task makes itself.

    :raises ParameterError: for a place that cannot be used
    :raises PlanRefused: if the plan that is to be applied is not there, or damaged, or if the one that an earlier try
        has stored is for something else
    """
    from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget
    from airflow_provider_modelarts.labeling.plan.narrowing import narrow_plan

    by = approver("approved_by", approved_by) if approval is None else read_approval("approval", approval)
    narrowings: list[Narrowing] = []
    if approval is not None and by is not None and (rejected := by.rejections("approval")):
        narrowings.append(rejected)
    root = None if ledger_uri is None else places.storage_path("ledger_uri", ledger_uri)
    ledger = None
    uris = {}
    if root is not None and not request.preview:
        places.check_writable("ledger_uri", root)
        ledger = LedgerTarget(root, identity_of(context), *((None, None) if by is None else (by.by, by.at)))
        uris["ledger_uri"] = str(root)
    if plan_uri is not None:
        path = places.storage_path("plan_uri", plan_uri)
        digest = parameters.optional(parameters.identifier)("plan_digest", plan_digest)
        plan = stored_plan(path, request.dataset_id, digest)
        if approval is not None and by is not None and is_before(by.at, plan.header.created_at):
            raise ParameterError(
                f"The approval was given at {by.at}, before the plan {plan.uri} was made: it is about another one. "
                "Nothing was written. Clear the task that asks, so that this plan is approved."
            )
        filters = {**plan.header.filters, "first_label": plan.header.first_label}
        evidence = _evidence_for(plan, evidence_uri)
        bounds = {} if evidence is None else evidence.bounds()
        narrowings += [] if evidence is None else [evidence]
        if not narrowings:
            return PlanAndLedger(plan, ledger, {**uris, "plan_uri": str(path)}, filters)
        if request.preview:
            scratch = tempfile.TemporaryDirectory(prefix="modelarts-")
            with places.storage_errors("plan_uri", str(path), "read"):
                narrowed = narrow_plan(plan, Path(scratch.name) / "plan.jsonl", narrowings)
            return PlanAndLedger(
                narrowed, ledger, {**uris, "plan_uri": str(path)}, filters, bounds=bounds, _scratch=scratch
            )
        own_path = _own_path(root, context)
        with places.storage_errors("the narrowed plan", str(own_path), "written"):
            narrowed = narrow_plan(plan, own_path, narrowings)
        log.info(
            "%d of %d samples are left to be confirmed. The plan that is applied lies at %s.",
            narrowed.counts["confirm"],
            plan.counts["confirm"],
            narrowed.uri,
        )
        return PlanAndLedger(narrowed, ledger, {**uris, "plan_uri": str(own_path)}, filters, bounds=bounds)
    if request.policy is not None and request.policy.target_precision is not None:
        raise ParameterError(
            "The policy has target_precision, which people's answers about a plan must prove first. Nothing was sent. "
            "Plan with this policy (ModelArtsPlanConfirmationOperator), evaluate its audit "
            "(ModelArtsEvaluateAuditOperator), and give plan_uri here."
        )
    own = None if request.preview else _own_place(root, request, context, log)
    if own is None:
        return PlanAndLedger(None, ledger, uris)
    found = _found(own, log, removes_parts=True)
    if found is not None:
        found.check_made_for(**request.plan_terms)  # else refused: by it something may have been written
    baseline = find_baseline(request, root, identity_of(context), log) if found is None else None
    return PlanAndLedger(own if found is None else found, ledger, {**uris, "plan_uri": str(own)}, baseline=baseline)


def evidence_place(plan: Plan, evidence_uri: object) -> object:
    """Return where the evidence for a plan is, as a task or else the plan's policy says.

    :raises ParameterError: if neither says so
    """
    named = None if plan.policy is None else plan.policy.evidence_uri
    if evidence_uri is None and named is None:
        raise ParameterError(
            f"The policy of the plan {plan.uri} has target_precision, and nothing says where the evidence is. Nothing "
            "was written. Give evidence_uri: a file that ModelArtsEvaluateAuditOperator writes."
        )
    return named if evidence_uri is None else evidence_uri


def _evidence_for(plan: Plan, evidence_uri: object) -> Evidence | None:
    """Return the evidence for a plan with a target, from where it was stored; None for a plan that needs none.

    :raises EvidenceRefused: if there is none, or not for this plan
    :raises ParameterError: if evidence is given for a plan that needs none
    """
    from airflow_provider_modelarts.labeling.evidence.evidence_file import read_evidence

    if plan.is_candidate:
        path = places.storage_path("evidence_uri", evidence_place(plan, evidence_uri))
        with places.storage_errors("evidence_uri", str(path), "read"):
            return read_evidence(path)
    if evidence_uri is not None:
        raise ParameterError(
            f"evidence_uri is given, and the plan {plan.uri} has no target that is still to be proven. Nothing was "
            "written. Plan with target_precision, or leave evidence_uri out."
        )
    return None


def find_or_make(
    client: ModelArtsClient,
    path: ObjectStoragePath,
    request: ConfirmationRequest,
    *,
    label_task_id: str | None,
    ledger: ObjectStoragePath | None,
    identity: RunIdentity,
    on_progress: Callable[[Progress], None],
    stop: StopSignal,
    log: Any,
) -> PlanResult:
    """Return the plan that an earlier try of this task has stored, or make it.

    Another task's plan there is replaced, and so is one of this task before a clear or for something else, as the DAG
    may have changed between two tries.

    :raises PlanRefused: if another mapped task of this task has stored its plan there
    """
    from airflow_provider_modelarts.labeling.plan.builder import PlanResult, make_plan

    asked = {**request.plan_terms, "label_task_id": label_task_id}

    def is_ours(plan: Plan) -> bool:
        _check_not_of_another_index(plan, identity)
        return plan.header.made_by.get("intent") == identity.intent and not plan.differs_in(**asked)

    found = _found(path, log)
    if found is not None and is_ours(found):
        log.info("Using the plan that an earlier try has stored at %s.", found.uri)
        return PlanResult(found, found.summarize(), found.result())
    return make_plan(
        client,
        path=path,
        **asked,
        keep=is_ours,  # the plan of another try of this task stays: somebody may be looking at it already
        made_by=asdict(identity),
        baseline=find_baseline(request, ledger, identity, log),
        on_progress=on_progress,
        should_stop=stop.is_set,
    )


def find_baseline(
    request: ConfirmationRequest, ledger: ObjectStoragePath | None, identity: RunIdentity, log: Any
) -> Baseline | None:
    """Return the earlier plan to compare a new one with; None if the policy asks for none, or there is none.

    :param request: with the policy
    :param ledger: where the plan that was applied last is looked for: it is compared with if the policy names none,
        and else says which samples are not new; None: nowhere
    :param identity: who asks: an earlier plan is one of another DAG run
    :raises ParameterError: if there is no place to look for it
    :raises BaselineRefused: if the plan that is named or was applied last cannot be compared with: what a guard cannot
        judge is not confirmed
    """
    from airflow_provider_modelarts.labeling.plan.baseline import BaselineRefused, read_baseline

    policy = request.policy
    if policy is None or policy.max_drift is None:
        return None
    asked = {"dataset_id": request.dataset_id, "filters": request.filters, "first_label": request.first_label}
    if policy.baseline_plan_uri is None:
        return _last_applied(ledger, asked, identity, log)
    path = places.storage_path("baseline_plan_uri", policy.baseline_plan_uri)
    with places.storage_errors("baseline_plan_uri", str(path), "read"):
        if not path.exists():
            raise BaselineRefused(
                f"There is no plan at {path}, which the policy names as baseline_plan_uri. Nothing was written. "
                "Correct the URI, or leave the key out to compare with the plan that was applied last."
            )
        baseline = read_baseline(path, **asked)
    if ledger is not None:
        try:
            last = _last_applied(ledger, asked, identity, log)
            baseline.since = None if last is None else last.plan.index
        except BaselineRefused as error:
            log.warning("Samples that earlier runs left to people count as new: %s", error)
    return baseline


def _last_applied(
    ledger: ObjectStoragePath | None, asked: Mapping[str, object], identity: RunIdentity, log: Any
) -> Baseline | None:
    """Return the plan for the same proposals that another run applied last; None if there is none."""
    from airflow_provider_modelarts.labeling.ledger.reader import applied_plans
    from airflow_provider_modelarts.labeling.plan.baseline import Baseline, BaselineRefused, proposed_anything_new
    from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused

    if ledger is None:
        raise ParameterError(
            "The policy's max_drift needs an earlier plan. Nothing was sent. Give ledger_uri, in which the plan that "
            "was applied last is found, or name a plan as baseline_plan_uri in the policy."
        )
    dataset_id = str(asked["dataset_id"])
    with places.storage_errors("ledger_uri", str(ledger), "read"):
        for header in applied_plans(ledger, dataset_id):
            if (header.dag_id, header.run_id) == (identity.dag_id, identity.run_id):
                continue
            try:
                plan = applied_plan(ledger, header)
            except PlanRefused as error:
                raise BaselineRefused(
                    f"max_drift cannot be judged: the plan that run {header.run_id} applied last to dataset "
                    f"{dataset_id} cannot be read. {error.message} Or name another plan as baseline_plan_uri."
                ) from None
            if plan.differs_in(**asked):
                continue
            if not proposed_anything_new(plan):
                log.info("Run %s found no new samples, so an earlier one is compared with.", header.run_id)
                continue
            try:
                log.info("The plan %s was applied last, by run %s.", plan.uri, header.run_id)
                return Baseline(plan)
            except BaselineRefused as error:
                log.warning("Drift is not judged in this run: %s", error)
                return None
    log.info("No earlier run has applied a plan to these proposals of dataset %s.", dataset_id)
    return None


def applied_plan(root: ObjectStoragePath, header: PartHeader) -> Plan:
    """Return the plan that a run applied.

    :raises PlanRefused: if it is not there, damaged, or was replaced since
    """
    from airflow_provider_modelarts.labeling.ledger.entries import run_folder
    from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused, read_plan

    plan_uri = header.plan_uri or ""
    # A plan of the task's own lies in the ledger's folder.
    beside = run_folder(root, header.run_id) / plan_uri.rpartition("/")[2]
    plan = read_plan(beside if beside.exists() else place_of_plan(root, plan_uri))
    if plan.digest != header.plan_digest:
        raise PlanRefused(f"The plan {plan.uri} was replaced since: it is not the one that the run applied.")
    return plan


def _check_not_of_another_index(plan: Plan, identity: RunIdentity) -> None:
    """Refuse to replace the plan of a task mapped beside this one: only the last of them would be applied."""
    from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused

    by = plan.header.made_by
    is_same_task = all(by.get(name) == getattr(identity, name) for name in ("dag_id", "run_id", "task_id"))
    if is_same_task and by.get("map_index") != identity.map_index:
        raise PlanRefused(
            f"The plan {plan.uri} was made by map index {by.get('map_index')} of this task, and this is map index "
            f"{identity.map_index}: one would replace the other. Nothing was stored. Give each mapped task a plan_uri "
            "of its own, with {{ ti.map_index }} in it."
        )


def title(plan: Plan) -> str:
    """Return the headline of a plan's summary."""
    return f"Plan {plan.digest[:12]} to confirm labels of dataset {plan.header.dataset_id}"


def notes(plan: Plan) -> list[str]:
    """Return what people must know of a plan besides its counts."""
    candidate = (
        "This plan alone confirms nothing: of what would be confirmed only that is which people's answers prove."
    )
    return [*([candidate] if plan.is_candidate else []), *([] if plan.drift is None else plan.drift.notes())]


def of_ledger(root: ObjectStoragePath, run_id: str, dag_id: str | None, dataset_id: str | None, log: Any) -> list[Plan]:
    """Return the plans that a run (of one DAG, on one dataset, if given) applied; warn of those that cannot be read."""
    from airflow_provider_modelarts.labeling.ledger.reader import read_ledger

    headers = [chain.first() for chain in read_ledger(root, run_id).chains]
    applied = {
        header.plan_digest: header
        for header in headers
        if dag_id in (None, header.dag_id) and dataset_id in (None, header.dataset_id) and header.plan_uri is not None
    }
    plans = []
    for header in applied.values():
        try:
            plans.append(applied_plan(root, header))
            continue
        except Exception as error:  # noqa: BLE001 - what a storage's library raises need be no OSError
            reason = " ".join(f"{type(error).__name__}: {error}".split())
        log.warning(
            "Samples that a crash left unsettled are not counted, all else is undone: their plan cannot be read. %s",
            reason,
        )
    return plans


def place_of_plan(root: ObjectStoragePath, plan_uri: str) -> ObjectStoragePath:
    """Return where the plan is that a ledger names, reached by the connection that was used for it.

    Older ledgers name no connection: then it is the ledger's own, if the plan lies in the same bucket. Else nobody can
    know by which connection to ask, and nothing is asked.
    """
    scheme, _, rest = plan_uri.partition("://")
    bucket = rest.partition("/")[0]
    if scheme == "file" or "@" in bucket:
        return places.storage_path("plan_uri", plan_uri)
    is_same_bucket = bucket == str(root).partition("://")[2].partition("/")[0].rpartition("@")[2]
    if scheme != root.protocol or (root.conn_id is not None and not is_same_bucket):
        raise ParameterError(
            f"The ledger does not say by which connection its plan {plan_uri} is reached, so nothing was asked there."
        )
    at = f"{root.conn_id}@" if root.conn_id is not None else ""
    return places.storage_path("plan_uri", f"{scheme}://{at}{rest}")


def _own_place(
    root: ObjectStoragePath | None, request: ConfirmationRequest, context: Context, log: Any
) -> ObjectStoragePath | None:
    """Return where the plan of this task and all its tries is; None if it needs none."""
    policy = request.policy
    if root is None and (policy is None or not (policy.has_guards or policy.needs_plan)):
        return None
    path = _own_path(root, context)
    if root is None and context["ti"].try_number > 1 and not path.exists():
        log.warning(
            "No plan of an earlier try is on this machine, so the guards judge what there is now. Give ledger_uri, a "
            "place that all workers reach, to keep the plan for every try."
        )
    return path


def _own_path(root: ObjectStoragePath | None, context: Context) -> ObjectStoragePath:
    """Return where the plan of this task and all its tries lies: in the ledger's folder, or else beside the logs."""
    if root is not None:
        return identity_of(context).plan_path(root)
    # Airflow's own log files too lie under the folder that the process works in if this one is relative.
    logs = Path(conf.get("logging", "base_log_folder")).expanduser().absolute()
    name = "ledger_uri is not given, and base_log_folder"
    base = places.storage_path(name, logs) / "modelarts"
    places.check_writable(name, base)
    return identity_of(context).plan_path(base)


def stored_plan(path: ObjectStoragePath, dataset_id: str, digest: str | None) -> Plan:
    """Return the plan that a task is to use, which another task has made.

    :param digest: the digest that it must have; None: any
    :raises PlanRefused: if it is not there, damaged, or another one
    :raises InvalidRequest: if it is of another dataset
    """
    from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused, read_plan
    from airflow_provider_modelarts.labeling.storage.path import display_uri

    with places.storage_errors("plan_uri", str(path), "read"):
        if not path.exists():
            raise PlanRefused(
                f"There is no plan at {display_uri(path)}. Nothing was written; run the task that makes it, or correct "
                "plan_uri."
            )
        plan = read_plan(path)
    if plan.header.dataset_id != dataset_id:
        raise InvalidRequest(
            f"The plan {plan.uri} is of dataset {plan.header.dataset_id}, not of {dataset_id}. Nothing was written; "
            "give the plan of this dataset."
        )
    if digest not in (None, plan.digest):
        raise PlanRefused(
            f"The plan {plan.uri} has the digest {plan.digest}, not {digest}: it is another one than was made, shown "
            "or approved. Nothing was written. Give each run a plan_uri of its own, with {{ run_id }} in it, and plan "
            "again."
        )
    return plan


def _found(path: ObjectStoragePath, log: Any, *, removes_parts: bool = False) -> Plan | None:
    """Return the plan at a path; None if there is none, or only a part of one: by that nothing was written."""
    from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused, read_plan

    with places.storage_errors("the plan", str(path), "read"):
        if not path.exists():
            return None
        try:
            return read_plan(path)
        except PlanRefused as error:
            log.warning("Creating a new plan: %s", error)
    if removes_parts:
        with places.storage_errors("the plan", str(path), "replaced"):
            remove_file(path)
    return None
