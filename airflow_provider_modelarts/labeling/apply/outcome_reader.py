"""Reads what became of the samples of a batch, where its answer does not say that all are written (B15)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.apply.authorship import owners, unexplained
from airflow_provider_modelarts.labeling.apply.batches import WriteOutcome
from airflow_provider_modelarts.labeling.label_equality import names, raw_labels
from airflow_provider_modelarts.labeling.ledger.entries import UNKNOWN
from airflow_provider_modelarts.labeling.proposals.sample_status import check_status
from airflow_provider_modelarts.labeling.proposals.service_calls import is_odd_read
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.labeling.apply.authorship import Refusals, RunAuthor
    from airflow_provider_modelarts.labeling.apply.batches import Batch, Replies
    from airflow_provider_modelarts.labeling.proposals.sample_status import Finding
    from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, WriteTarget
    from airflow_provider_modelarts.labeling.stop_signal import StopSignal

log = logging.getLogger(__name__)

ODD_TRIES = 3
"""A single read with an odd answer is repeated so often; then its sample fails, and the others go on."""
UNREADABLE_IN_A_ROW = 2
"""After so many reads in a row that failed the service is to blame, and the rest of a batch is not read."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the tries of a read, and of a batch whose answer was lost."""
_UNCLEAR = (
    "The service refused some samples of its batch and did not say which. It carries the labels that were sent, and "
    "whether this run or a person gave them is not known: look at it in the console."
)


class OutcomeReader:
    """Reads samples one by one and says what became of each; for one writer.

    :param service: where to read
    :param author: of the run's writes
    :param stop: once it is set no read is repeated
    """

    def __init__(self, service: WriteTarget, author: RunAuthor, stop: StopSignal) -> None:
        self._service = service
        self._author = author
        self._stop = stop
        self._clock = service.clock
        self.sent: set[str] = set()
        """Samples that the service may have written for this writer."""
        self.undecided: list[tuple[Sequence[tuple[ProposalRead, Finding]], Refusals]] = []
        """Samples that carry the labels sent, while it is not known who this run's author is."""

    def read(self, batch: Batch, replies: Replies, patience: float) -> tuple[list[WriteOutcome], list[ProposalRead]]:
        """Read the status of each sample of a batch; return outcomes, and what is still proposed as decided."""
        outcomes: list[WriteOutcome] = []
        proposed: list[ProposalRead] = []
        found: list[tuple[ProposalRead, Finding]] = []
        unreadable: ModelArtsError | None = None
        in_a_row = 0
        for candidate in batch.candidates:
            # Once the patience is over, reads that cannot succeed would each wait for the transport's own retries.
            finding = unreadable or self.check(candidate, patience)
            if isinstance(finding, ModelArtsError):
                in_a_row += not is_odd_read(finding)
                unreadable = finding if in_a_row >= UNREADABLE_IN_A_ROW else None
                reply = replies[candidate.sample_id]
                outcomes.append(self.given_up(candidate, finding.message, reply.error_code))
                continue
            in_a_row = 0
            if finding.status is ConfirmationStatus.PLANNED and finding.now:
                proposed.append(finding.now._replace(rule=candidate.rule))
            else:
                found.append((candidate, finding))
        self._warn_of_other_labels(batch, found)
        return outcomes + self.outcomes(found, unexplained(replies, proposed, found)), proposed

    def _warn_of_other_labels(self, batch: Batch, found: Sequence[tuple[ProposalRead, Finding]]) -> None:
        """Warn if all samples of a batch carry other labels than were sent: it is hardly people who did that."""
        if len(found) < max(len(batch.candidates), 2):
            return
        decided, first = found[0]
        if all(one.status is ConfirmationStatus.GONE and one.final and raw_labels(one.final) for _, one in found):
            log.warning(
                "All %d samples of a write to dataset %s whose answer was lost carry other labels than were sent: of "
                "sample %s %s were sent, and it carries %s. Perhaps the service changes labels when it keeps them. "
                "They count as gone, and an undo will not touch them: compare them in the console.",
                len(found),
                self._service.dataset_id,
                decided.sample_id,
                names(decided.row),
                names(first.final) if first.final else "",
            )

    def check(self, candidate: ProposalRead, patience: float) -> Finding | ModelArtsError:
        """Read the status of a sample; return the error if that fails until the patience is over."""
        tries = 0
        while True:
            try:
                return check_status(self._service, candidate.row)
            except ModelArtsError as error:
                is_odd = is_odd_read(error)
                if error.permanent and not is_odd:
                    raise
                tries += 1
                if self._clock.now() >= patience or self._stop.is_set() or (is_odd and tries >= ODD_TRIES):
                    return error
                self._stop.pause(max(error.retry_after or 0, PAUSES[min(tries, len(PAUSES)) - 1]), self._clock)

    def outcomes(self, found: Sequence[tuple[ProposalRead, Finding]], refused: Refusals) -> list[WriteOutcome]:
        """Return what became of samples that are no longer proposed as decided, as far as that can be told now.

        :param found: the samples as they were decided upon, and what was read of them
        :param refused: how many of those that carry the labels may have been refused
        """
        carrying = [(one, finding) for one, finding in found if finding.status is ConfirmationStatus.CONFIRMED]
        outcomes = [
            WriteOutcome([candidate], finding.status, now=finding.now)
            for candidate, finding in found
            if finding.status is not ConfirmationStatus.CONFIRMED
        ]
        is_in_doubt = refused.most > 0 and any(finding.final and finding.final.annotated_by for _, finding in carrying)
        if is_in_doubt and self._author.name(self._service) is None:
            # What is written next may show who this run's author is.
            self.undecided.append((carrying, refused))
            return outcomes
        return outcomes + self._judged(carrying, refused)

    def judge_undecided(self) -> list[WriteOutcome]:
        """Return what became of all samples that :meth:`outcomes` could not tell then."""
        return [outcome for carrying, refused in self.undecided for outcome in self._judged(carrying, refused)]

    def _judged(self, carrying: Sequence[tuple[ProposalRead, Finding]], refused: Refusals) -> list[WriteOutcome]:
        """Return what became of samples that carry the labels: who gave them is known by now, or never."""
        outcomes: list[WriteOutcome] = []
        authors = {
            candidate.sample_id: (finding.final.annotated_by if finding.final else None) or ""
            for candidate, finding in carrying
            if candidate.sample_id in self.sent and candidate.sample_id not in refused.ids
        }
        ours = self._author.name(self._service) if refused.most > 0 and any(authors.values()) else None
        known = owners(authors, refused.least, refused.most, ours)
        for candidate, _ in carrying:
            sample_id, author = candidate.sample_id, authors.get(candidate.sample_id)
            # The service may keep the author of the first labels.
            is_kept = sample_id in known.others and author == candidate.row.annotated_by
            if sample_id in known.unknown or is_kept:
                outcomes.append(WriteOutcome([candidate], ConfirmationStatus.UNKNOWN, UNKNOWN, _UNCLEAR))
            elif sample_id in known.ours:
                outcomes.append(WriteOutcome([candidate], ConfirmationStatus.CONFIRMED))
            else:  # somebody else confirmed it with the same labels
                outcomes.append(WriteOutcome([candidate], ConfirmationStatus.GONE, carries_labels=True))
        return outcomes

    def given_up(self, candidate: ProposalRead, reason: str, code: str | None = None) -> WriteOutcome:
        """Return the failure of a sample of which nothing more can be learnt; one never sent was not written."""
        if candidate.sample_id in self.sent:
            return uncertain_outcome(candidate, reason)
        return WriteOutcome([candidate], ConfirmationStatus.FAILED, code or "not_sent", f"{reason} It was not written.")


def uncertain_outcome(candidate: ProposalRead, reason: str) -> WriteOutcome:
    """Return the outcome of a sample that was sent, and of which nothing more can be learnt."""
    message = f"{reason} It may have been written or not.".strip()
    return WriteOutcome([candidate], ConfirmationStatus.FAILED, UNKNOWN, message)
