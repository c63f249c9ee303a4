"""Who gave samples the labels that they carry after an answer that is not "all written": this run, or somebody else.

The positions in such an answer do not say which samples were refused. How many were, and the author that the service
names for each sample, tell most of them apart (B15).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.apply.batches import CONCLUSIVE, number_of
from airflow_provider_modelarts.labeling.label_equality import has_labels_of
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_modelarts.labeling.apply.batches import Replies
    from airflow_provider_modelarts.labeling.proposals.sample_status import Finding
    from airflow_provider_modelarts.labeling.proposals.service_calls import ProposalRead, WriteTarget


class Refusals(NamedTuple):
    """How many samples of a batch were refused, as an answer that is not "all written" says.

    :param ids: samples that were certainly refused
    :param least: how many were refused at least
    :param most: how many may have been refused, or not have been carried out at all
    """

    ids: frozenset[str]
    least: int
    most: int


PERHAPS_REFUSED = Refusals(frozenset(), 0, 1)
"""Of one sample whose last answer is not at hand: it may have been refused."""


def refusals(replies: Replies) -> Refusals:
    """Return what an answer says about refusals, given a reply for each sample of the batch.

    Positions prove nothing. A text that holds the sample's id does, and so does a number: if all were refused, each
    was.
    """
    whole = len(replies)
    told = {sample_id for sample_id, reply in replies.items() if number_of(reply.error_code) in CONCLUSIVE}
    refused = {sample_id for sample_id, reply in replies.items() if reply.ok is False}
    named = {name for name in refused | told if f"[{name}]" in (replies[name].error_msg or "")}
    refused |= named
    is_exact = all(reply.ok is not None for reply in replies.values())
    if len(refused) == whole or (whole == 1 and told):
        return Refusals(frozenset(replies), whole, whole)
    least = len(refused) or int(bool(told))
    return Refusals(frozenset(named), least, len(refused) if is_exact else whole)


class Owners(NamedTuple):
    """Samples by who gave them the labels that were sent: this run, somebody else, or nobody knows."""

    ours: frozenset[str]
    others: frozenset[str]
    unknown: frozenset[str]


def owners(authors: Mapping[str, str], least: int, most: int, ours: str | None) -> Owners:
    """Return who gave samples the labels that they carry after an answer that is not "all written".

    A write leaves its author in ``annotated_by``. All samples that this run wrote name the same one.

    :param authors: who labeled each sample, as the service says; empty if it does not say
    :param least: how many of them this run did not write, at least
    :param most: and at most
    :param ours: the author of this run's writes, if that is known
    """
    everybody = frozenset(authors)
    if most <= 0 or not everybody:
        return Owners(everybody, frozenset(), frozenset())
    if ours is None:
        numbers = Counter(authors.values())
        # Enough samples are ours that only one author can be the one of all of them.
        possible = [author for author, number in numbers.items() if author and number >= max(len(authors) - most, 1)]
        if len(numbers) > 1 and (len(possible) != 1 or most >= len(authors)):
            return Owners(frozenset(), frozenset(), everybody)
        ours = possible[0] if possible else ""
    others = frozenset(name for name, author in authors.items() if author and author != ours)
    rest = everybody - others
    if least > len(others):
        return Owners(frozenset(), others, rest)
    return Owners(rest, others, frozenset())


def unexplained(
    replies: Replies, proposed: Sequence[ProposalRead], found: Sequence[tuple[ProposalRead, Finding]]
) -> Refusals:
    """Return how many of the samples that carry the labels may be refused ones: others explain the rest of them."""
    refused = refusals(replies)
    unread = len(replies) - len(proposed) - len(found)
    left = {one.sample_id for one in proposed} - refused.ids
    moved = {one.sample_id for one, finding in found if finding.status is not ConfirmationStatus.CONFIRMED}
    named = len(refused.ids) + len(left)
    least = refused.least - named - len(moved - refused.ids) - unread
    return Refusals(refused.ids, max(least, 0), max(refused.most - named, 0))


class RunAuthor:
    """Whom the service names as the author of a run's writes; shared by all its writers."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._witness: ProposalRead | None = None

    def record_witness(self, read: ProposalRead) -> None:
        """Remember a sample that the service said it has written: its author wrote all samples of this run."""
        self._witness = read

    def name(self, service: WriteTarget) -> str | None:
        """Return the author; None if that cannot be known."""
        witness = self._witness
        if self._name is None and witness is not None:
            self._witness = None
            try:
                final = service.final(witness.sample_id)
            except ModelArtsError:
                return None  # it would only have helped
            if final is not None and has_labels_of(final, witness.row, loosely=True):
                self._name = final.annotated_by or None
        return self._name
