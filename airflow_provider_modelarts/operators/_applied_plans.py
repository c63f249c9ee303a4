"""Plans that earlier runs applied, found by what their ledgers say, and the one that a new plan is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators import _uri_parameters as places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_modelarts.labeling.apply.request import ConfirmationRequest
    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader, RunIdentity
    from airflow_provider_modelarts.labeling.plan.baseline import Baseline
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan


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
    from airflow_provider_modelarts.labeling.plan.lines import PlanRefused

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
    from airflow_provider_modelarts.labeling.plan.lines import PlanRefused
    from airflow_provider_modelarts.labeling.plan.plan_file import read_plan

    plan_uri = header.plan_uri or ""
    # A plan of the task's own lies in the ledger's folder.
    beside = run_folder(root, header.run_id) / plan_uri.rpartition("/")[2]
    plan = read_plan(beside if beside.exists() else place_of_plan(root, plan_uri))
    if plan.digest != header.plan_digest:
        raise PlanRefused(f"The plan {plan.uri} was replaced since: it is not the one that the run applied.")
    return plan


def plans_of_run(
    root: ObjectStoragePath, run_id: str, dag_id: str | None, dataset_id: str | None, log: Any
) -> list[Plan]:
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
        except Exception as error:  # noqa: BLE001 - what a storage's library raises need be no OSError
            log.warning(
                "Samples that a crash left unsettled are not counted, all else is undone: their plan cannot be read. "
                "%s",
                " ".join(f"{type(error).__name__}: {error}".split()),
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
