"""Who confirmed which sample, when and by which rule, as ledgers say; held in a table on disk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.models import parse_json
from airflow_provider_modelarts.labeling.export.spool import scratch_database, to_bytes, to_str
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN
from airflow_provider_modelarts.labeling.storage.sealed_file import encode_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader
    from airflow_provider_modelarts.labeling.ledger.reader import Ledger

_TABLE = """
CREATE TABLE confirmed (
    sample_id BLOB PRIMARY KEY, at REAL, part INTEGER, rule BLOB, labels BLOB, is_listed INTEGER DEFAULT 0
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class LedgerVerdict:
    """What ledgers say of a sample.

    :param confirmation: who confirmed the labels that it has now, for files; None: nobody that a ledger knows of
    :param is_changed: it was confirmed, and has other labels now
    """

    confirmation: dict[str, Any] | None = None
    is_changed: bool = False


_UNKNOWN = LedgerVerdict()


class ConfirmationIndex:
    """The last confirmation of each sample of a dataset; to be closed.

    :param dataset_id: the dataset
    :param ledgers: what is read, part by part
    :raises LedgerBroken: if a part cannot be trusted
    """

    def __init__(self, dataset_id: str, ledgers: Iterable[Ledger]) -> None:
        self._tables = scratch_database()
        self._tables.executescript(_TABLE)
        self._tables.execute("BEGIN")
        self._parts: list[dict[str, Any]] = []
        self._numbers: dict[tuple[Any, ...], int] = {}
        for ledger in ledgers:
            for header, entry in ledger.entries():
                if header.dataset_id == dataset_id and entry.fate == "confirmed":
                    self._tables.execute(
                        "INSERT INTO confirmed (sample_id, at, part, rule, labels) VALUES (?, ?, ?, ?, ?) "
                        "ON CONFLICT (sample_id) DO UPDATE SET at = excluded.at, part = excluded.part, "
                        "rule = excluded.rule, labels = excluded.labels WHERE excluded.at >= at",
                        (
                            to_bytes(entry.sample_id),
                            header.created_at,
                            self._number(header),
                            to_bytes(entry.rule),
                            encode_line(entry.after),
                        ),
                    )

    def close(self) -> None:
        """Throw everything away."""
        self._tables.close()

    def begin_reading(self) -> None:
        """Forget which samples were asked for."""
        self._tables.execute("UPDATE confirmed SET is_listed = 0")

    def look_up(self, sample: Sample) -> LedgerVerdict:
        """Return what is known of a labeled sample, which is read now."""
        key = to_bytes(sample.sample_id)
        row = self._tables.execute(
            "SELECT at, part, rule, labels FROM confirmed WHERE sample_id = ?", (key,)
        ).fetchone()
        if row is None:
            return _UNKNOWN
        self._tables.execute("UPDATE confirmed SET is_listed = 1 WHERE sample_id = ?", (key,))
        at, part, rule, labels = row
        if not has_labels_of(sample, Sample({"sample_id": sample.sample_id, "labels": parse_json(labels)})):
            return LedgerVerdict(is_changed=True)
        when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        return LedgerVerdict({**self._parts[part], "confirmed_at": when, "rule": to_str(rule)})

    def missing(self) -> tuple[int, list[str]]:
        """Return how many samples were confirmed and not looked up, and the ids of some."""
        (count,) = self._tables.execute("SELECT count(*) FROM confirmed WHERE is_listed = 0").fetchone()
        rows = self._tables.execute(
            "SELECT sample_id FROM confirmed WHERE is_listed = 0 ORDER BY sample_id LIMIT ?", (SAMPLES_SHOWN,)
        )
        return count, [to_str(sample_id) for (sample_id,) in rows]

    def _number(self, header: PartHeader) -> int:
        """Return the number under which it is kept who wrote a part: one for each try, not for each sample."""
        by = {
            "dag_id": header.dag_id,
            "run_id": header.run_id,
            "task_id": header.task_id,
            "map_index": header.map_index,
            "try_number": header.try_number,
            "approved_by": header.approved_by,
            "plan_digest": header.plan_digest,
        }
        key = tuple(by.values())
        if key not in self._numbers:
            self._numbers[key] = len(self._parts)
            self._parts.append({name: value for name, value in by.items() if value is not None})
        return self._numbers[key]
