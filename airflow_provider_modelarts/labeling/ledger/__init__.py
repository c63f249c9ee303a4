"""Ledgers: what a confirmation wrote, and what stood there before."""

from airflow_provider_modelarts.labeling.ledger.entries import FATES, Entry, Fate, LedgerBroken, PartHeader, RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import Chain, Ledger, LedgerWriter, Settled, read_ledger, settled

__all__ = [
    "FATES",
    "Chain",
    "Entry",
    "Fate",
    "Ledger",
    "LedgerBroken",
    "LedgerWriter",
    "PartHeader",
    "RunIdentity",
    "Settled",
    "read_ledger",
    "settled",
]
