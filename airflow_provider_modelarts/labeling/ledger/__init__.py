"""Ledgers: what a confirmation wrote, and what stood there before.

A run's folder under the ledger's place holds parts, each written once as a whole. A part's first line says who wrote it
and holds the digest of the part before it, so the parts of one writer form a chain. Each writer (run, try, random id)
has a chain of its own, so a zombie's chain stands beside the retry's. The last part of a chain says that it is the last
one.

The plan is the intent, the ledger the outcome. A sample that the plan confirms and no part accounts for is open; the
next try reads it from the service.
"""

from airflow_provider_modelarts.labeling.ledger.entries import (
    FATES,
    Entry,
    LedgerBroken,
    LedgerFate,
    PartHeader,
    RunIdentity,
)
from airflow_provider_modelarts.labeling.ledger.reader import Ledger, LedgerChain, LedgerState, read_ledger, replay
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter

__all__ = [
    "FATES",
    "Entry",
    "Ledger",
    "LedgerBroken",
    "LedgerChain",
    "LedgerFate",
    "LedgerState",
    "LedgerWriter",
    "PartHeader",
    "RunIdentity",
    "read_ledger",
    "replay",
]
