"""Ledgers: what a confirmation wrote, and what stood there before."""

from airflow_provider_modelarts.labeling.ledger.entries import (
    FATES,
    Entry,
    LedgerBroken,
    LedgerFate,
    PartHeader,
    RunIdentity,
)
from airflow_provider_modelarts.labeling.ledger.reader import (
    Ledger,
    LedgerChain,
    LedgerState,
    LedgerWriter,
    read_ledger,
    replay,
)

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
