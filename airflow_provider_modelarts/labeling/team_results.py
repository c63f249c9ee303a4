"""What became of members' copies: counts for XCom, a warning about copies left as they are, an error for failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_modelarts.client.sample_updates import SampleOutcome

CHANGED = "changed"
"""Code of samples that somebody has changed while this try waited to write them; they count as changed."""
UNCLEAR = "not_written"
"""Code of samples that a retry has left alone because nothing says whether somebody has changed them."""


@dataclass(frozen=True, kw_only=True)
class CopiesResult:
    """Counts of copies; each copy handed in is in one of them, besides ``samples`` (B16).

    :param samples: copies handed in
    :param unchanged: copies that were as asked already; nothing was sent for them
    :param changed: copies that were left as they are, since somebody has changed them
    :param left: ids of the samples of changed copies, the first few; not in XCom
    """

    samples: int
    unchanged: int
    changed: int
    left: tuple[str, ...] = ()

    warns_that: ClassVar[str]
    """What happened to the changed copies."""

    def to_xcom(self) -> dict[str, int]:
        """Return the counts as JSON primitives."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    @property
    def warning(self) -> str | None:
        """One line about the changed copies; None if there are none."""
        if not self.changed:
            return None
        more = f" and {self.changed - len(self.left)} more" if self.changed > len(self.left) else ""
        return f"{self.changed} of {self.samples} {self.warns_that}: {', '.join(self.left)}{more}."


@dataclass(frozen=True, kw_only=True)
class TeamResult(CopiesResult):
    """Counts of one write; ``samples = updated + unchanged + changed + failed + unknown``.

    :param updated: samples that this write gave what was asked for
    :param failed: samples that the service refused
    :param unknown: samples that may not be as asked: neither an answer nor a read says whether they were written, or
        nothing says whether somebody has changed them since an earlier try, and they were left as they are
    :param requests: writes sent
    :param failures: the samples that failed or are unknown, by code; not in XCom
    """

    updated: int
    failed: int
    unknown: int
    requests: int
    failures: Mapping[str, Failure] = field(default_factory=dict)

    warns_that = (
        "team samples are not as this task, or an earlier try of it, has found or left them: somebody has changed "
        "them. They were not overwritten"
    )

    @classmethod
    def of(
        cls, outcomes: Iterable[SampleOutcome], *, unchanged: int, changed: Sequence[str], requests: int
    ) -> TeamResult:
        """Return the counts.

        :param outcomes: what became of each sample that was due
        :param changed: ids of those that were not due because somebody has changed them
        """
        updated = unknown = 0
        left = list(changed)
        bad: dict[str, list[SampleOutcome]] = {}
        for outcome in outcomes:
            if outcome.ok:
                updated += 1
            elif outcome.error_code == CHANGED:
                left.append(outcome.sample_id)
            else:
                unknown += outcome.ok is None
                code = outcome.error_code if outcome.ok is False or outcome.error_code == UNCLEAR else "unknown"
                bad.setdefault(code or "refused", []).append(outcome)
        failed = sum(map(len, bad.values())) - unknown
        return cls(
            samples=updated + unchanged + len(left) + failed + unknown,
            updated=updated,
            unchanged=unchanged,
            changed=len(left),
            failed=failed,
            unknown=unknown,
            requests=requests,
            failures={code: _failure(code, some) for code, some in sorted(bad.items())},
            left=tuple(left[:SAMPLES_SHOWN]),
        )

    def check(self) -> None:
        """Raise unless every sample is as asked, or was changed by somebody else.

        :raises ConfirmationError: in one line, naming codes and samples
        """
        if self.failures:
            raise ConfirmationError(
                f"{self.failed + self.unknown} of {self.samples} team samples were not written for certain: "
                f"{'; '.join(map(str, self.failures.values()))}. Correct them and run the task again."
            )


def _failure(code: str, outcomes: Sequence[SampleOutcome]) -> Failure:
    ids = tuple(one.sample_id for one in outcomes[:SAMPLES_SHOWN])
    return Failure(code, outcomes[0].error_msg or "", len(outcomes), ids)


@dataclass(frozen=True, kw_only=True)
class CommentsResult(CopiesResult):
    """Counts of comments on copies; ``samples = accepted + rejected + unchanged + changed``.

    :param accepted: copies accepted by these comments
    :param rejected: copies that these comments do not accept
    """

    accepted: int
    rejected: int

    warns_that = (
        "copies were left as they are: somebody else has commented on them, or they were labeled again since an "
        "earlier try of this task"
    )
