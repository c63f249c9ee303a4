"""The result of an export: counts for XCom, and what was left out."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure, bounded_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.labeling.export.formats.base import ExportFault


class ExportProblemsError(InvalidRequest):
    """Samples cannot be exported whole in the format that was asked for. Nothing was written."""


@dataclass(frozen=True)
class ExportResult:
    """Counts of one export; ``seen = samples + proposals + left_out``.

    :param dataset_id: the dataset
    :param format: the format
    :param uri: the export's folder
    :param seen: samples that were read, proposals among them if they were asked for
    :param samples: labeled samples that are in the export
    :param proposals: undecided proposals that are in it
    :param left_out: samples that are not in it
    :param labels: labels that are in it
    :param labels_left_out: labels that the format cannot express, of samples that are in it
    :param files: how many files it has
    :param renamed: images whose name in the export is not their own: others have the same, or storage would not take it
    :param redacted: samples of which an address in an attribute lost its query, or was left out, as it may be signed
    :param confirmed: samples that a ledger says were confirmed, and that have these labels still
    :param changed_since: samples that a ledger says were confirmed, and that have other labels now
    :param confirmed_missing: samples that a ledger says were confirmed, and that are not among the labeled ones now
    :param by_label: for each label name, how many of ``samples`` have it; bounded in XCom
    :param problems: what was left out, and why, by code; in XCom only the counts
    :param digest: of the list of files, 64 hex digits; empty: the export is not complete
    :param seconds: duration by the clock
    """

    dataset_id: str
    format: str
    uri: str
    seen: int = 0
    samples: int = 0
    proposals: int = 0
    left_out: int = 0
    labels: int = 0
    labels_left_out: int = 0
    files: int = 0
    renamed: int = 0
    redacted: int = 0
    confirmed: int = 0
    changed_since: int = 0
    confirmed_missing: int = 0
    by_label: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[str, Failure] = field(default_factory=dict)
    digest: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.seen != self.samples + self.proposals + self.left_out:
            raise ValueError(f"the counts are inconsistent: {self.to_xcom()}")

    def to_xcom(self) -> dict[str, Any]:
        """Return the counts as JSON primitives of at most some kilobytes."""
        return {
            **vars(self),
            "seconds": round(self.seconds, 3),
            "by_label": bounded_counts(self.by_label),
            "problems": {code: problem.count for code, problem in self.problems.items()},
        }

    def __str__(self) -> str:
        proposals = f" and {self.proposals} proposals" if self.proposals else ""
        left = f"; {self.left_out} samples and {self.labels_left_out} labels were left out" if self.problems else ""
        return (
            f"{self.samples} samples{proposals} of dataset {self.dataset_id} with {self.labels} labels as "
            f"{self.format}: {self.files} files{left}"
        )


class ExportProblems:
    """What cannot be exported, by code."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._shown: dict[str, list[str]] = {}

    def add(self, fault: ExportFault, sample_id: str) -> None:
        """Note a fault of a sample."""
        self._texts.setdefault(fault.code, fault.text)
        self._counts[fault.code] += 1
        shown = self._shown.setdefault(fault.code, [])
        insort(shown, sample_id)
        del shown[SAMPLES_SHOWN:]

    @property
    def by_code(self) -> dict[str, Failure]:
        """The faults, each with how many samples have it, and the first of them by id."""
        return {
            code: Failure(code, self._texts[code], count, tuple(self._shown[code]))
            for code, count in sorted(self._counts.items())
        }

    def check(self, format_name: str, dataset_id: str) -> None:
        """Raise if there are any.

        :raises ExportProblemsError: naming them all
        """
        if self._counts:
            told = "; ".join(map(str, self.by_code.values()))
            raise ExportProblemsError(
                f"Dataset {dataset_id} cannot be exported whole as {format_name}: {told}. Nothing was written. Choose "
                "a format that can express it, or say by on_problem what is to be left out."
            )
