"""What this package itself wrote since a plan was made: such labels are no answers of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import is_certainly_before
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.ledger.reader import read_ledgers
from airflow_provider_modelarts.labeling.plan.plan_file import PlanRefused, read_header

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader
    from airflow_provider_modelarts.labeling.ledger.reader import LedgerChain
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

_WRITTEN = ("confirmed", "intended", "unknown", "failed")
"""Fates of samples that carry our labels, or may do so: "failed" also stands for an answer that was lost."""


def written_by_us(root: StoragePath, plan: Plan, sample_ids: Collection[str]) -> set[str]:
    """Return which samples may carry labels that runs of this ledger wrote since a plan was made.

    :param root: the ledger's place
    :param plan: the plan, as it was made
    :param sample_ids: the samples of its audit
    :raises InvalidRequest: if the plan was applied already: what people say after that is no test of it
    :raises LedgerBroken: if a part of the ledger cannot be trusted
    """
    found: set[str] = set()
    for ledger in read_ledgers(root):
        for chain in ledger.chains:
            first = chain.first()
            if first.dataset_id != plan.header.dataset_id:
                continue
            if _applied(chain, first, plan):
                raise InvalidRequest(
                    f"The plan {plan.uri} was applied already, by run {first.run_id} of DAG {first.dag_id}. Answers "
                    "that are read after that prove nothing. Evaluate the audit before anything is confirmed."
                )
            if not chain.ended_before(plan.header.created_at):
                found.update(
                    entry.sample_id
                    for _, entries in chain.read()
                    for entry in entries
                    if entry.sample_id in sample_ids and entry.fate in _WRITTEN
                )
    return found


def _applied(chain: LedgerChain, first: PartHeader, plan: Plan) -> bool:
    """Whether a chain applied a plan, or one that was made of it by taking confirmations back."""
    if first.plan_digest == plan.digest:
        return True
    if first.plan_uri is None or is_certainly_before(first.created_at, plan.header.created_at):
        return False
    # A narrowed plan lies beside its ledger.
    beside = chain.parts[0][1].parent / first.plan_uri.rpartition("/")[2]
    try:
        narrowed_by: Any = read_header(beside).narrowed_by if beside.exists() else None
    except PlanRefused:
        return False
    while isinstance(narrowed_by, dict):
        if narrowed_by.get("plan_digest") == plan.digest:
            return True
        narrowed_by = narrowed_by.get("narrowed_by")
    return False
