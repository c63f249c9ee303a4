"""Reads the status of a sample after a write whose answer was lost, bad, or not "all written" (B15).

Two reads can tell: the proposal, which a written sample no longer has, and the final labels, which by then are what
was written. Positions in an answer and the count of the list only point to suspects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.labeling.label_equality import has_labels_of, same_proposal
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import Sample
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, WriteTarget


class Finding(NamedTuple):
    """What was read of a sample that was decided upon.

    :param status: PLANNED: still proposed with the labels decided upon; CHANGED: proposed with others; CONFIRMED: it
        carries the labels decided upon, whoever gave them; GONE: it is no proposal, and carries others or none
    :param now: the proposal, if there is one
    :param final: the sample with its final labels, if they were read
    """

    status: ConfirmationStatus
    now: ProposalRead | None = None
    final: Sample | None = None


def check_status(service: WriteTarget, decided: SampleRow) -> Finding:
    """Read the status of a sample.

    :param service: where to read
    :param decided: the proposal as it was decided upon
    :raises ModelArtsError: if it cannot be read
    """
    now = service.proposal(decided.sample_id)
    if now is not None and same_proposal(now.row, decided):
        return Finding(ConfirmationStatus.PLANNED, now)
    final = service.final(decided.sample_id)
    if now is not None and not (final is not None and has_labels_of(final, now.row, loosely=True)):
        return Finding(ConfirmationStatus.CHANGED, now, final)
    # What a single read calls a proposal may be the final labels: then it is what the sample carries that counts.
    is_written = final is not None and has_labels_of(final, decided, loosely=True)
    return Finding(ConfirmationStatus.CONFIRMED if is_written else ConfirmationStatus.GONE, final=final)
