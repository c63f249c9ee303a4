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
from airflow_provider_modelarts.operators._applied_plans import find_baseline
from airflow_provider_modelarts.operators._approval import approver, read_approval
from airflow_provider_modelarts.operators._base import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
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

    by = approver("approved_by", approved_by) if approval is None else read_approval("approval", approval)
    rejected = None if by is None or approval is None else by.rejections("approval")
    root = None if ledger_uri is None else places.storage_path("ledger_uri", ledger_uri)
    found = PlanAndLedger(None, None, {})
    if root is not None and not request.preview:
        places.check_writable("ledger_uri", root)
        ledger = LedgerTarget(root, identity_of(context), *((None, None) if by is None else (by.by, by.at)))
        found = PlanAndLedger(None, ledger, {"ledger_uri": str(root)})
    if plan_uri is None:
        if by is not None and by.plan_digest is not None:
            raise ParameterError(
                "Give plan_uri with approved_by, which is an answer about a plan: nobody has seen a plan that the task "
                "makes itself."
            )
        return _with_own_plan(found, request, root, context, log)
    path = places.storage_path("plan_uri", plan_uri)
    digest = parameters.optional(parameters.identifier)("plan_digest", plan_digest)
    plan = stored_plan(path, request.dataset_id, digest)
    if by is not None:
        by.check_plan("approved_by" if approval is None else "approval", plan)
    evidence = _evidence_for(plan, evidence_uri)
    found = replace(
        found,
        plan=plan,
        uris={**found.uris, "plan_uri": str(path)},
        filters={**plan.header.filters, "first_label": plan.header.first_label},
        bounds={} if evidence is None else evidence.bounds(),
    )
    narrowings: list[Narrowing] = [*([rejected] if rejected else []), *([] if evidence is None else [evidence])]
    return _narrowed(found, plan, narrowings, request, root, context, log) if narrowings else found


def _narrowed(
    found: PlanAndLedger,
    plan: Plan,
    narrowings: Sequence[Narrowing],
    request: ConfirmationRequest,
    root: ObjectStoragePath | None,
    context: Context,
    log: Any,
) -> PlanAndLedger:
    """Replace the plan that was given by one with fewer confirmations; that of a preview goes away with the result."""
    from airflow_provider_modelarts.labeling.plan.narrowing import narrow_plan

    if request.preview:
        scratch = tempfile.TemporaryDirectory(prefix="modelarts-")
        with places.storage_errors("plan_uri", plan.uri, "read"):
            narrowed = narrow_plan(plan, Path(scratch.name) / "plan.jsonl", narrowings)
        return replace(found, plan=narrowed, _scratch=scratch)
    path = _own_path(root, context)
    with places.storage_errors("the narrowed plan", str(path), "written"):
        narrowed = narrow_plan(plan, path, narrowings)
    log.info(
        "%d of %d samples are left to be confirmed. The plan that is applied lies at %s.",
        narrowed.counts["confirm"],
        plan.counts["confirm"],
        narrowed.uri,
    )
    return replace(found, plan=narrowed, uris={**found.uris, "plan_uri": str(path)})


def _with_own_plan(
    found: PlanAndLedger,
    request: ConfirmationRequest,
    root: ObjectStoragePath | None,
    context: Context,
    log: Any,
) -> PlanAndLedger:
    """Add the plan of this task and all its tries, or where it is to be made; a preview decides without one."""
    policy = request.policy
    if policy is not None and policy.target_precision is not None:
        raise ParameterError(
            "The policy has target_precision, which people's answers about a plan must prove first. Nothing was sent. "
            "Plan with this policy (ModelArtsPlanConfirmationOperator), evaluate its audit "
            "(ModelArtsEvaluateAuditOperator), and give plan_uri here."
        )
    needs_plan = root is not None or (policy is not None and (policy.has_guards or policy.needs_plan))
    if request.preview or not needs_plan:
        return found
    path = _own_path(root, context)
    if root is None and context["ti"].try_number > 1 and not path.exists():
        log.warning(
            "No plan of an earlier try is on this machine, so the guards judge what there is now. Give ledger_uri, a "
            "place that all workers reach, to keep the plan for every try."
        )
    plan = _found(path, log, removes_parts=True)
    if plan is not None:
        plan.check_made_for(**request.plan_terms)  # else refused: by it something may have been written
    baseline = find_baseline(request, root, identity_of(context), log) if plan is None else None
    uris = {**found.uris, "plan_uri": str(path)}
    return replace(found, plan=path if plan is None else plan, uris=uris, baseline=baseline)


def evidence_place(plan: Plan, evidence_uri: object) -> object:
    """Return where the evidence for a plan is, as a task or else the plan's policy says.

    :raises ParameterError: if neither says so
    """
    if evidence_uri is None and plan.policy is not None:
        evidence_uri = plan.policy.evidence_uri
    if evidence_uri is None:
        raise ParameterError(
            f"The policy of the plan {plan.uri} has target_precision, and nothing says where the evidence is. Nothing "
            "was written. Give evidence_uri: a file that ModelArtsEvaluateAuditOperator writes."
        )
    return evidence_uri


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


def _check_not_of_another_index(plan: Plan, identity: RunIdentity) -> None:
    """Refuse to replace the plan of a task mapped beside this one: only the last of them would be applied."""
    from airflow_provider_modelarts.labeling.plan.lines import PlanRefused

    by = plan.header.made_by
    is_same_task = all(by.get(name) == getattr(identity, name) for name in ("dag_id", "run_id", "task_id"))
    if is_same_task and by.get("map_index") != identity.map_index:
        raise PlanRefused(
            f"The plan {plan.uri} was made by map index {by.get('map_index')} of this task, and this is map index "
            f"{identity.map_index}: one would replace the other. Nothing was stored. Give each mapped task a plan_uri "
            "of its own, with {{ ti.map_index }} in it."
        )


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
    from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
    from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
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
    from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
    from airflow_provider_modelarts.labeling.plan.plan_file import read_plan

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
