"""Gives members' copies the word of a reviewer (contract 5.2), and repeats none that was given by an earlier try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN
from airflow_provider_modelarts.labeling.team_copies import Copies, Tries, WriteHistory, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample

_COUNTS = ("samples", "accepted", "rejected", "unchanged", "changed")


@dataclass(frozen=True)
class ReviewResult:
    """Counts of one review; ``samples = accepted + rejected + unchanged + changed`` (B16).

    :param samples: copies handed in
    :param accepted: copies accepted now
    :param rejected: copies sent back to their members now
    :param unchanged: copies that had this very review already; nothing was sent for them
    :param changed: copies that have another review, or that somebody has labeled again since an earlier try; they were
        left as they are
    :param left: ids of the samples of changed copies, the first few; not in XCom
    """

    samples: int
    accepted: int
    rejected: int
    unchanged: int
    changed: int
    left: tuple[str, ...] = ()

    def to_xcom(self) -> dict[str, int]:
        """Return the counts as JSON primitives."""
        return {name: getattr(self, name) for name in _COUNTS}

    @property
    def warning(self) -> str | None:
        """One line about the copies that were left as they are; None if there are none."""
        if not self.changed:
            return None
        more = f" and {self.changed - len(self.left)} more" if self.changed > len(self.left) else ""
        return (
            f"{self.changed} of {self.samples} copies were not reviewed: they have another review, or were labeled "
            f"again since an earlier try of this task: {', '.join(self.left)}{more}."
        )


def review_team_samples(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    comments: Sequence[Mapping[str, Any]],
    *,
    tries: Tries | None = None,
) -> ReviewResult:
    """Review labeled copies; those that are not accepted go back to their members.

    The team task is read first. A copy that has a review already is left alone, and so is one that its member has
    labeled again since an earlier try: the word was about other labels. After a lost answer the copies are read.

    :param client: the client to use
    :param dataset_id: the dataset
    :param workforce_task_id: the team task, which has reviewers
    :param comments: as ``team_samples.review`` takes them, as plain dicts
    :param tries: which try of this review it is; None: the only one
    :return: the counts
    :raises ModelArtsError: if the service refuses the review, or if nothing tells that a lost one was carried out
    """
    comments = list(comments)
    found = _find(client, dataset_id, workforce_task_id, comments)
    marks = [fingerprint_of(copy) for copy in found]
    history = WriteHistory.open(tries or Tries(), [dataset_id, workforce_task_id, comments], marks)
    unchanged = [place for place, copy in enumerate(found) if _says(copy, comments[place])]
    due = [
        place
        for place, copy in enumerate(found)
        if (copy is None or copy.review_accept is None) and history.judge(place, marks[place]) != "changed"
    ]
    if due:
        sent = [comments[place] for place in due]
        if not _send(client, dataset_id, workforce_task_id, sent):
            now = _find(client, dataset_id, workforce_task_id, sent)
            due = [place for place, copy in zip(due, now, strict=True) if _says(copy, comments[place])]
        history.mark_sent(due)
    accepted = sum(bool(comments[place]["accept"]) for place in due)
    left = [one["sample_id"] for place, one in enumerate(comments) if place not in {*due, *unchanged}]
    return ReviewResult(
        samples=len(comments),
        accepted=accepted,
        rejected=len(due) - accepted,
        unchanged=len(unchanged),
        changed=len(left),
        left=tuple(left[:SAMPLES_SHOWN]),
    )


def _send(
    client: ModelArtsClient, dataset_id: str, workforce_task_id: str, comments: Sequence[Mapping[str, Any]]
) -> bool:
    """Send a review; return whether all of it is new."""
    try:
        return client.team_samples.review(dataset_id, workforce_task_id, comments)
    except ModelArtsError as error:
        if error.certainly_not_executed:
            raise
        now = _find(client, dataset_id, workforce_task_id, comments)
        if all(_says(copy, comment) for copy, comment in zip(now, comments, strict=True)):
            return True
        raise


def _find(
    client: ModelArtsClient, dataset_id: str, workforce_task_id: str, comments: Sequence[Mapping[str, Any]]
) -> list[TeamSample | None]:
    copies = Copies.read(client, dataset_id, workforce_task_id, comments)
    return [copies.find(comment) for comment in comments]


def _says(copy: TeamSample | None, comment: Mapping[str, Any]) -> bool:
    """Whether a copy has this very review; what the comment does not name may be anything."""
    return copy is not None and all(
        name not in comment or getattr(copy, f"review_{name}") == comment[name]
        for name in ("accept", "comment", "score")
    )
