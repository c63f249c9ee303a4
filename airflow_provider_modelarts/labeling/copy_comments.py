"""Comments on members' copies (contract 5.2): a reviewer's word, or the owner's in an acceptance; none is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import DatasetBusy, PreconditionFailed
from airflow_provider_modelarts.client.lost_replies import change
from airflow_provider_modelarts.client.wording import first_of
from airflow_provider_modelarts.labeling.proposals.service_calls import HeldBack
from airflow_provider_modelarts.labeling.results import SAMPLES_SHOWN
from airflow_provider_modelarts.labeling.team_copies import Copies, Tries, WriteHistory, fingerprint_of
from airflow_provider_modelarts.labeling.team_results import CommentsResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample

_PARTS = ("accept", "comment", "score")


def review_team_samples(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    comments: Sequence[Mapping[str, Any]],
    *,
    tries: Tries | None = None,
) -> CommentsResult:
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
    kind = _Kind("review", client.team_samples.review, replaces=False)
    return _Commenting(kind, Copies(client, dataset_id, workforce_task_id, comments), comments, tries or Tries()).run()


def judge_team_samples(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    comments: Sequence[Mapping[str, Any]],
    *,
    tries: Tries | None = None,
) -> CommentsResult:
    """Judge copies that were drawn for an acceptance; a word about one replaces an earlier one.

    In a retry a copy that was judged otherwise, or labeled again, since the first try is left alone. Where nothing was
    kept of the first try, a copy that is judged otherwise is an error. After a lost
    answer, and if the acceptance is over, the copies are read: those that have been judged so need nothing.

    :param client: the client to use
    :param dataset_id: the dataset
    :param workforce_task_id: the team task, in acceptance
    :param comments: as ``team_tasks.comment_acceptance`` takes them, as plain dicts
    :param tries: which try it is; None: the only one
    :return: the counts; what an earlier try has said counts as said now, and nothing is unchanged
    :raises ModelArtsError: if the service refuses, or if nothing tells that a lost request was carried out
    """
    kind = _Kind("check", client.team_tasks.comment_acceptance, replaces=True)
    return _Commenting(kind, Copies(client, dataset_id, workforce_task_id, comments), comments, tries or Tries()).run()


@dataclass(frozen=True)
class _Kind:
    """Who comments.

    :param prefix: of the fields by which a copy shows such a comment
    :param send: sends comments; False: some copies had one already
    :param replaces: whether a comment takes the place of an earlier one
    """

    prefix: str
    send: Callable[..., bool | None]
    replaces: bool

    def word(self, copy: TeamSample) -> list[Any]:
        """Return what is said of a copy: empty text is none."""
        return [getattr(copy, f"{self.prefix}_{part}") or None for part in _PARTS[1:]]

    def accepts(self, copy: TeamSample) -> bool | None:
        """Return whether a copy is accepted; None while nobody has said so."""
        found: bool | None = getattr(copy, f"{self.prefix}_accept")
        return found

    def says(self, copy: TeamSample | None, comment: Mapping[str, Any]) -> bool:
        """Whether a copy has this very comment; what the comment does not name may be anything."""
        if copy is None or self.accepts(copy) != comment["accept"]:
            return False
        said = zip(_PARTS[1:], self.word(copy), strict=True)
        return all(name not in comment or found == (comment[name] or None) for name, found in said)

    def mark(self, copy: TeamSample | None) -> bytes:
        """Return what stands for a copy and for what is said of it."""
        return fingerprint_of(copy, *([] if copy is None else [self.accepts(copy), self.word(copy)]))


class _Commenting:
    """Comments on copies of one team task; they go out in one request."""

    def __init__(self, kind: _Kind, copies: Copies, comments: Sequence[Mapping[str, Any]], tries: Tries) -> None:
        self.kind, self.copies, self.comments = kind, copies, list(comments)
        self.marks = [kind.mark(copies.find(comment)) for comment in self.comments]
        asked = [kind.prefix, copies.dataset_id, copies.task_id, self.comments]
        self.history = WriteHistory.open(tries, asked, self.marks)

    def run(self) -> CommentsResult:
        """Send the comments that are not there yet, about copies that nobody has changed since an earlier try."""
        self._check_words()
        places = range(len(self.comments))
        said = {*self._send_fresh([place for place in places if self._is_due(place)])}
        self.history.mark_sent(said)
        unchanged = {place for place in places if place not in said and self._is_said(place)}
        if self.kind.replaces:
            # It is the last word, whichever try has given it.
            said, unchanged = said | unchanged, set()
        accepted = sum(bool(self.comments[place]["accept"]) for place in said)
        left = [self.comments[place]["sample_id"] for place in sorted({*places} - said - unchanged)]
        return CommentsResult(
            samples=len(self.comments),
            accepted=accepted,
            rejected=len(said) - accepted,
            unchanged=len(unchanged),
            changed=len(left),
            left=tuple(left[:SAMPLES_SHOWN]),
        )

    def _found_at(self, place: int) -> TeamSample | None:
        return self.copies.find(self.comments[place])

    def _is_said(self, place: int) -> bool:
        return self.kind.says(self._found_at(place), self.comments[place])

    def _is_due(self, place: int) -> bool:
        copy = self._found_at(place)
        is_taken = copy is not None and not self.kind.replaces and self.kind.accepts(copy) is not None
        return not is_taken and self.history.judge(place, self.marks[place]) != "changed"

    def _check_words(self) -> None:
        """Refuse to replace words of which nobody knows whether they are later than the first try.

        :raises PreconditionFailed: naming such copies; nothing was sent
        """
        other = [
            comment["sample_id"]
            for place, comment in enumerate(self.comments)
            if (copy := self._found_at(place)) is not None
            and self.kind.accepts(copy) is not None
            and not self._is_said(place)
            and self.history.judge(place, self.marks[place]) == "unclear"
        ]
        if self.kind.replaces and other:
            raise PreconditionFailed(
                f"{len(other)} of {len(self.comments)} copies in team task {self.copies.task_id} of dataset "
                f"{self.copies.dataset_id} are judged otherwise, and nothing tells whether somebody has done so since "
                f"the first try of this task: {first_of(other, SAMPLES_SHOWN)}. Nothing was sent. Clear "
                "the task to judge them as it says.",
                sent=False,
            )

    def _send_fresh(self, due: list[int]) -> list[int]:
        """Send comments on copies that are still as they were read; return which of them are there now.

        :param due: positions of the comments to send
        """
        while due:
            try:
                is_new = self._send(due)
            except HeldBack:
                self.copies.read_again()
                due = [place for place in due if self.kind.mark(self._found_at(place)) == self.marks[place]]
            else:
                return due if is_new else self._said(due)
        return due

    def _send(self, due: Sequence[int]) -> bool:
        """Send comments in one request; return whether all of them are there now."""
        copies, comments = self.copies, [self.comments[place] for place in due]
        is_new: bool | None = None

        def send() -> None:
            nonlocal is_new
            is_new = self.kind.send(copies.dataset_id, copies.task_id, comments, before_sending=copies.check_fresh)

        try:
            change(send, lambda: self._said(due) == list(due))
        except (PreconditionFailed, DatasetBusy):
            # As after a clear, when the acceptance is over, or its results are carried over.
            if self._said(due) != list(due):
                raise
        return is_new is not False

    def _said(self, due: Sequence[int]) -> list[int]:
        """Read the copies; return those of the positions at which the comment is there."""
        self.copies.read()
        return [place for place in due if self._is_said(place)]
