"""The result of an undo: counts that go into XCom, and a report for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.labeling.markdown import code, escape

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.results import Failure

RevertFate = Literal["restored", "cleared", "already", "changed", "gone", "failed", "unknown"]
FATES: dict[RevertFate, str] = {
    "restored": "carry the labels again that they had before",
    "cleared": "have no label again",
    "already": "were as before already",
    "changed": "carry something else than the run wrote, and were not touched",
    "gone": "no longer exist",
    "failed": "could not be read or written",
    "unknown": "carry what the run sent; whether the run or a person gave it is not known; they were not touched",
}
_IN_A_PREVIEW: dict[RevertFate, str] = {
    "restored": "would carry the labels again that they had before",
    "cleared": "would have no label again",
}
SHOWN = 5
LISTED: tuple[RevertFate, ...] = ("changed", "failed", "gone", "unknown")
NO_PROPOSALS = (
    "The machine's proposals do not come back: start a new labeling task to have the unlabeled samples proposed again."
)


@dataclass(frozen=True)
class RevertResult:
    """The counts of an undo; ``seen`` is the sum of the seven counts after it.

    :param seen: samples that the run wrote, or may have written, and that were dealt with
    :param restored: carry again the labels that a person had given before
    :param cleared: had no label before, and have none again
    :param already: were as before when they were read; so are all at a second undo
    :param changed: carry something else than the run wrote; not touched
    :param gone: the service knows no such sample any more
    :param failed: the service refused, or its answer could not be had
    :param unknown: carry what the run sent; the service had refused a part of that request without saying which, and
        whether the run or a person gave these labels is not known; not touched: look at them in the console
    :param unsettled: samples of the plans given of which the ledger does not know whether they were written; not
        touched: run the confirming task again, which settles them, and then the undo
    :param requests: calls made to the service
    :param seconds: duration by the clock
    :param preview: nothing was written; the counts say what would be
    :param stopped: the run was asked to stop; what it had not reached is in no count
    :param examples: for changed, failed, gone and unknown, where the first few samples lie
    :param failures: the failed samples by code
    :param problems: what is incomplete in the ledger, and reasons to doubt the counts; a line each
    """

    seen: int = 0
    restored: int = 0
    cleared: int = 0
    already: int = 0
    changed: int = 0
    gone: int = 0
    failed: int = 0
    unknown: int = 0
    unsettled: int = 0
    requests: int = 0
    seconds: float = 0.0
    preview: bool = False
    stopped: bool = False
    examples: dict[RevertFate, tuple[str, ...]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.seen != sum(getattr(self, fate) for fate in FATES):
            raise ValueError(f"the counts are inconsistent: {self.to_xcom()}")

    def to_xcom(self) -> dict[str, Any]:
        """Return the counts as JSON primitives (B19)."""
        counts = {name: getattr(self, name) for name in ("seen", *FATES, "unsettled", "requests")}
        return {**counts, "seconds": round(self.seconds, 3), "preview": self.preview, "stopped": self.stopped}

    def markdown(self) -> str:
        """Return a report for people, below 8 KB (B19)."""
        verb = "would be reverted" if self.preview else "were reverted"
        lines = [f"### {self.restored + self.cleared} of {self.seen} samples {verb}", ""]
        texts = {**FATES, **_IN_A_PREVIEW} if self.preview else FATES
        lines += [f"- **{getattr(self, fate)}** {text}" for fate, text in texts.items()]
        if self.unsettled:
            lines.append(f"- **{self.unsettled}** are not settled: run the confirming task again, then revert again")
        for fate, places in self.examples.items():
            lines += ["", f"Samples that {FATES[fate]}:", "", *(f"- {code(place)}" for place in places)]
        for failure in list(self.failures.values())[:SHOWN]:
            lines += ["", f"{failure.count} x {code(failure.code, 60)} {escape(failure.message, 300)}"]
        lines += [f"\n{escape(problem, 300)}" for problem in self.problems[:SHOWN]]
        return "\n".join([*lines, "", NO_PROPOSALS]) + "\n"

    def __str__(self) -> str:
        words = {fate: f"would be {fate}" for fate in _IN_A_PREVIEW} if self.preview else {}
        shown = [fate for fate in FATES if fate != "unknown" or self.unknown]
        counts = ", ".join(f"{getattr(self, fate)} {words.get(fate, fate)}" for fate in shown)
        return f"{self.seen} samples of the run seen: {counts}; {self.requests} requests"


def check_reverted(result: RevertResult) -> None:
    """Raise unless an undo is complete; call it after the result was stored.

    Samples that were changed since, or are gone, are no failure: their labels are not the run's any more.

    :raises ConfirmationError: in one line, if samples could not be written or the undo was stopped
    """
    complaints = []
    if result.failed:
        failures = "; ".join(str(failure) for failure in result.failures.values())
        complaints.append(f"{result.failed} of {result.seen} samples could not be reverted: {failures}")
    if result.stopped:
        complaints.append(f"stopped after {result.seen} samples")
    if complaints:
        raise ConfirmationError(f"{'; '.join(complaints)}. Run the task again: what is reverted stays so.")
