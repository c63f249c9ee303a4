"""The result of a confirmation: counts for XCom, failures for the log, and the error that says what is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.client.redaction import storable
from airflow_provider_modelarts.client.wording import counted, cut, first_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PROGRESS_SECONDS = 3.0
"""Seconds between two lines of progress (B23)."""

SAMPLES_SHOWN = 10
"""How many samples of a failure are named; the rest is counted."""

LABELS_SHOWN = 50
"""How many labels have a count of their own in XCom."""

OTHER_LABELS = "(other labels)"
"""Key in XCom of the counts of all other labels, added up: a sample with several of them counts several times."""

_LABEL_LENGTH = 256
_GONE = "confirmed already by an earlier run, or no longer proposed"

CATEGORIES = ("confirmed", "review", "left", "failed", "gone")
"""What becomes of a sample; each sample seen ends in exactly one (B16)."""

_LOG_ONLY: dict[str, Any] = {"log_only": True}


@dataclass(frozen=True)
class Failure:
    """Samples that failed with one and the same code.

    :param code: the service's code, or "unknown" if nothing could be learnt within the time allowed
    :param message: the service's text of the first of them
    :param count: how many samples
    :param samples: ids of the first :data:`SAMPLES_SHOWN`
    """

    code: str
    message: str
    count: int
    samples: tuple[str, ...]

    def __str__(self) -> str:
        samples = first_of([storable(one) for one in self.samples], SAMPLES_SHOWN, total=self.count)
        text = f" {storable(' '.join(self.message.split()))}" if self.message else ""
        return f"{self.code}:{text} ({counted(self.count, 'sample')}: {samples})"


@dataclass(frozen=True)
class ConfirmationResult:
    """Counts of one confirmation; ``seen = confirmed + review + left + failed + gone`` (B16).

    :param seen: different samples that were read as proposals
    :param confirmed: labels are final now; in a plan or a preview: would be confirmed
    :param review: left to people by the policy
    :param left: not touched: without labels, outside the allow-list, or changed since they were decided
    :param failed: were to be confirmed, and the service refused or its answer could not be had
    :param gone: were to be confirmed, but are no longer proposed, and it was not this run that confirmed them
    :param changed_since_plan: the part of ``left`` that is there because the proposal is not the one decided upon
    :param passes: how often the list was read for writing; 1 unless somebody else changed it during the run
    :param requests: calls made to the service
    :param seconds: duration by the clock
    :param plan_uri: the plan that was applied, if one was stored
    :param ledger_uri: where the record of the writes is, if one was kept
    :param by_label: for each label name, how many confirmed samples carry it; bounded in XCom, see :meth:`to_xcom`
    :param dataset_id: the dataset; not in XCom
    :param failures: the failed samples by code; not in XCom
    :param unaccounted: proposals that the service counts but never listed (B14); not in XCom
    :param stopped: the run was asked to stop before its end; what it had not reached is in ``left``; not in XCom
    :param confirmed_before: the part of ``confirmed`` that earlier tries of the same task had recorded; not in XCom
    :param preview: a plan or a preview: nothing was written, and ``confirmed`` is what would be; not in XCom
    """

    seen: int = 0
    confirmed: int = 0
    review: int = 0
    left: int = 0
    failed: int = 0
    gone: int = 0
    changed_since_plan: int = 0
    passes: int = 0
    requests: int = 0
    seconds: float = 0.0
    plan_uri: str | None = None
    ledger_uri: str | None = None
    by_label: Mapping[str, int] = field(default_factory=dict)
    dataset_id: str = field(default="", metadata=_LOG_ONLY)
    failures: Mapping[str, Failure] = field(default_factory=dict, metadata=_LOG_ONLY)
    unaccounted: int = field(default=0, metadata=_LOG_ONLY)
    stopped: bool = field(default=False, metadata=_LOG_ONLY)
    confirmed_before: int = field(default=0, metadata=_LOG_ONLY)
    preview: bool = field(default=False, metadata=_LOG_ONLY)

    def __post_init__(self) -> None:
        accounted = sum(getattr(self, category) for category in CATEGORIES)
        if accounted != self.seen or self.changed_since_plan > self.left:
            raise ValueError(f"the counts are inconsistent: {self.to_xcom()}")

    def to_xcom(self) -> dict[str, Any]:
        """Return the counts as JSON primitives of at most some kilobytes (B19).

        Neither samples nor labels of single samples are in it. Of ``by_label`` it has the :data:`LABELS_SHOWN` most
        frequent; the counts of all others are added up under :data:`OTHER_LABELS`.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if not f.metadata.get("log_only")}
        return {**values, "seconds": round(self.seconds, 3), "by_label": bounded_counts(self.by_label)}

    def __str__(self) -> str:
        words = {"confirmed": "would be confirmed"} if self.preview else {}
        if self.gone:
            words["gone"] = f"gone ({_GONE})"
        counts = ", ".join(f"{getattr(self, name)} {words.get(name, name)}" for name in CATEGORIES)
        passes = f"the list was read {_times(self.passes)}, " if self.passes else ""  # a plan has no passes
        return f"{self.seen} proposals seen: {counts}; {passes}{self.requests} requests"


@dataclass(frozen=True)
class Progress:
    """How far a confirmation or the making of a plan is; ``str()`` is a line for the log.

    :param total: proposals that the service counted when the reading began
    :param seen: different samples read so far
    :param counts: so far, for each of :data:`CATEGORIES`; of a plan: for each decision
    :param seconds: since the start
    """

    total: int
    seen: int
    counts: Mapping[str, int]
    seconds: float

    @property
    def percent(self) -> float:
        """Return the share of the proposals that have been dealt with, 0 to 100."""
        return min(100.0, 100 * self.seen / self.total) if self.total else 100.0

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {category}" for category, count in self.counts.items() if count)
        rate = f", {self.seen / self.seconds:.0f} samples/s" if self.seconds > 0 else ""
        return f"{self.percent:.0f} %: {self.seen} of {self.total} proposals{': ' if counts else ''}{counts}{rate}"


def bounded_counts(by_label: Mapping[str, int]) -> dict[str, int]:
    """Return counts by label for XCom: few, with names that any database takes."""
    frequent = sorted(by_label, key=lambda name: (-by_label[name], name))[:LABELS_SHOWN]
    kept = set(frequent)
    found: Counter[str] = Counter()
    for name, count in by_label.items():
        if name in kept:
            found[cut(storable(name), _LABEL_LENGTH)] += count
    others = sum(by_label.values()) - found.total()
    if others:
        found[OTHER_LABELS] += others
    return dict(found)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def check(result: ConfirmationResult, on_partial_failure: Literal["fail", "warn"] = "fail") -> None:
    """Raise unless a confirmation is complete; call it after the result was stored.

    :param result: what :func:`airflow_provider_modelarts.labeling.apply.confirmation.confirm` returned
    :param on_partial_failure: "fail" (default) raises for samples that failed; "warn" does not: the caller logs
        ``result.failures``. A run that was stopped or that could not account for all proposals raises either way
    :raises ConfirmationError: in one line
    """
    complaints = []
    if result.failed and on_partial_failure == "fail":
        complaints.append(
            f"{result.failed} of {result.seen} samples could not be confirmed: "
            + "; ".join(str(failure) for failure in result.failures.values())
        )
    if result.unaccounted:
        complaints.append(
            f"{result.unaccounted} proposals that the service counts were not listed, although the list was read "
            f"{_times(result.passes)}"
        )
    if result.stopped:
        verb = "decided upon, and nothing was written" if result.preview else "confirmed"
        done = result.seen if result.preview else f"{result.confirmed} of {result.seen}"
        complaints.append(f"stopped after {done} samples were {verb}")
    if complaints:
        text = f"Dataset {result.dataset_id}: {'; '.join(complaints)}. Run the task again"
        text += "." if result.preview else ": what is confirmed stays so."
        raise ConfirmationError(text)


def listed_twice(dataset_id: str, sample_ids: Collection[str]) -> str:
    """Return a line for the log about samples that the list shows more than once."""
    return (
        f"The list of proposals of dataset {dataset_id} shows samples that are listed twice: "
        f"{first_of(sorted(sample_ids), SAMPLES_SHOWN)}. Each of them is decided about once."
    )
