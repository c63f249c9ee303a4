"""What a try before a clear has sent by a plan that is not applied any more, and did not record.

A clear makes a new plan, of what is still proposed. What the old one's try wrote last before it died is in neither: it
is looked up, and recorded for the old plan, so that an undo knows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.labeling.ledger.reader import replay, run_folder
from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused, read_plan

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.ledger.reader import Ledger, LedgerState, PartHeader
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath


class SupersededPlan(NamedTuple):
    """A plan that an earlier try of the same task has applied, and what is known of it.

    :param plan: that plan
    :param applied: first line of the ledger of who applied it
    :param state: what became of its samples
    """

    plan: Plan
    applied: PartHeader
    state: LedgerState


def superseded_plans(root: StoragePath, ledger: Ledger, plan: Plan) -> list[SupersededPlan]:
    """Return the other plans that a task has applied to the same dataset and that lie beside its ledger.

    :param root: the ledger's place
    :param ledger: chains of all tries of the task, also before a clear
    :param plan: what is applied now
    """
    found: dict[str, SupersededPlan] = {}
    for chain in ledger.chains:
        applied = chain.first()
        digest, uri = applied.plan_digest, applied.plan_uri
        is_other = applied.dataset_id == plan.header.dataset_id and digest != plan.digest
        if not is_other or digest is None or uri is None or digest in found:
            continue
        try:
            old = read_plan(run_folder(root, applied.run_id) / uri.rpartition("/")[2])
        except PlanRefused:
            continue  # it lay elsewhere, or was replaced: what it wanted is not known any more
        if old.digest == digest:
            found[digest] = SupersededPlan(old, applied, replay(old, ledger))
    return list(found.values())
