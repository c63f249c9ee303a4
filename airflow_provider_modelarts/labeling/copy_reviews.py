"""Gives members' copies the word of a reviewer (contract 5.2), and repeats none that was given by an earlier try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import ModelArtsError, ServiceUnavailable
from airflow_provider_modelarts.client.wording import first_of
from airflow_provider_modelarts.labeling.proposals.service_calls import HeldBack
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN
from airflow_provider_modelarts.labeling.team_copies import (
    FRESH_SECONDS,
    REREADS,
    Copies,
    Tries,
    WriteHistory,
    fingerprint_of,
)

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
        return (
            f"{self.changed} of {self.samples} copies were not reviewed: they have another review, or were labeled "
            f"again since an earlier try of this task: {first_of(self.left, SAMPLES_SHOWN, total=self.changed)}."
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

    The team task is read first, at most 25 s before the review goes out. A copy that has a review already is left
    alone, and so is one that its member has labeled again since an earlier try, or while this one waited: the word was
    about other labels. After a lost answer the copies are read.

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
        if not _is_reviewed(copy) and history.judge(place, marks[place]) != "changed"
    ]
    if due:
        is_new, due = _send_fresh(client, dataset_id, workforce_task_id, comments, due, marks)
        if not is_new:
            sent = [comments[place] for place in due]
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


def _send_fresh(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    comments: Sequence[Mapping[str, Any]],
    due: list[int],
    marks: Sequence[bytes],
) -> tuple[bool, list[int]]:
    """Send a review of copies that are still as they were read; return whether all of it is new, and what was sent.

    :param due: positions of the comments to send
    :param marks: by position the fingerprint of each copy
    :raises ServiceUnavailable: if the service lets the review in only when it has become too old, time after time
    """
    read_at = system_clock.now()
    for _ in range(REREADS):
        try:
            sent = [comments[place] for place in due]
            return not due or _send(client, dataset_id, workforce_task_id, sent, read_at), due
        except HeldBack:
            now = _find(client, dataset_id, workforce_task_id, comments)
            read_at = system_clock.now()
            due = [
                place for place in due if fingerprint_of(now[place]) == marks[place] and not _is_reviewed(now[place])
            ]
    raise ServiceUnavailable(
        f"Samples of team task {workforce_task_id} of dataset {dataset_id} could not be reviewed: the service let no "
        f"review in, and each time what was read before had become too old ({REREADS} times in a row). Run the task "
        "again later.",
        sent=False,
    )


def _send(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    comments: Sequence[Mapping[str, Any]],
    read_at: float,
) -> bool:
    """Send a review; return whether all of it is new."""

    def check_again() -> None:
        if system_clock.now() - read_at > FRESH_SECONDS:
            raise HeldBack

    try:
        return client.team_samples.review(dataset_id, workforce_task_id, comments, before_sending=check_again)
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


def _is_reviewed(copy: TeamSample | None) -> bool:
    return copy is not None and copy.review_accept is not None


def _says(copy: TeamSample | None, comment: Mapping[str, Any]) -> bool:
    """Whether a copy has this very review; what the comment does not name may be anything."""
    return copy is not None and all(
        name not in comment or getattr(copy, f"review_{name}") == comment[name]
        for name in ("accept", "comment", "score")
    )
