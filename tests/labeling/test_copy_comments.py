"""Comments on members' copies against the emulator: each word once, and none about other labels (contract 5.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import (
    ModelArtsError,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
)
from airflow_provider_modelarts.labeling.copy_comments import judge_team_samples, review_team_samples
from airflow_provider_modelarts.labeling.team_copies import Tries
from tests.labeling.test_team_copies import Notes, Team

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

REVIEW = ("POST", "/data-annotations/review")
JUDGE = ("POST", "/acceptance/batch-comment")


class ReviewedTeam(Team):
    """The team with a reviewer; the first member has labeled all copies."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator) -> None:
        super().__init__(client, emulator)
        reviewers = ("r@example.com",)
        self.task_id = self.dataset.create_team_task(("a@example.com",), self.ids, reviewers=reviewers)
        (self.worker,) = self.dataset.team_workers(self.task_id)
        for place in range(6):
            self.label(place, "3")

    def comments(self, accept: int = 4) -> list[dict[str, Any]]:
        """Accept the first few, and send the others back."""
        return [{**copy, "accept": place < accept, "comment": "seen"} for place, copy in enumerate(self.copies())]

    def review(self, number: int = 1, **more: Any) -> dict[str, int]:
        return self.comment(review_team_samples, number, **more)

    def comment(self, function: Any, number: int, comments: Any = None, **more: Any) -> dict[str, int]:
        given = {"tries": Tries(number == 1, "night", self.notes), **more}
        result = function(self.client, self.dataset.dataset_id, self.task_id, comments or self.comments(), **given)
        found = result.to_xcom()
        assert found["samples"] == sum(found.values()) - found["samples"] == 6
        assert bool(found["changed"]) == (result.warning is not None)
        return {name: number for name, number in found.items() if number and name != "samples"}

    def words(self) -> list[bool | None]:
        copies = {one.sample_id: one for one in self.client.team_samples.list(self.dataset.dataset_id, self.task_id)}
        return [copies[one].review_accept for one in self.ids]


@pytest.fixture
def team(client: ModelArtsClient, emulator: Emulator) -> ReviewedTeam:
    return ReviewedTeam(client, emulator)


def test_copies_are_accepted_and_sent_back(team: ReviewedTeam) -> None:
    assert team.review() == {"accepted": 4, "rejected": 2}
    assert team.words() == [True] * 4 + [False] * 2
    assert team.review(2) == {"unchanged": 6}
    assert team.emulator.journal.count(*REVIEW) == 1


def test_another_review_stays_and_is_told(team: ReviewedTeam) -> None:
    team.dataset.review(team.task_id, team.ids[0], accept=False)
    team.dataset.review(team.task_id, team.ids[1], comment="seen")
    assert team.review() == {"accepted": 2, "rejected": 2, "unchanged": 1, "changed": 1}
    assert team.words() == [False, True, True, True, False, False]


def test_a_review_between_the_read_and_the_request_is_told(team: ReviewedTeam) -> None:
    def meddle(record: Any) -> None:
        if record.method == "GET" and not team.emulator.journal.count(*REVIEW):
            team.dataset.review(team.task_id, team.ids[0], accept=False)

    team.emulator.observers.append(meddle)
    assert team.review() == {"accepted": 3, "rejected": 2, "changed": 1}


@pytest.mark.parametrize("keeps", [True, False], ids=["notes", "no notes"])
def test_a_retry_says_nothing_about_labels_that_are_new(team: ReviewedTeam, keeps: bool) -> None:
    """A copy that was sent back is labeled again: the word was about what it had before."""
    notes = Notes() if keeps else None
    team.review(tries=Tries(True, "night", notes))
    team.label(4, "3")
    team.label(5, "4")
    again = team.review(tries=Tries(False, "night", notes))
    assert again == ({"unchanged": 4, "changed": 2} if keeps else {"unchanged": 4, "rejected": 2})


@pytest.mark.parametrize(("fault", "words"), [("reset", None), ("reset_after", True)])
def test_a_lost_answer_is_looked_up(team: ReviewedTeam, fault: str, words: bool | None) -> None:
    team.emulator.faults.add(*REVIEW, fault)
    if words is None:
        with pytest.raises(ModelArtsError, match="may have been reviewed"):
            team.review()
        assert team.review(2) == {"accepted": 4, "rejected": 2}
    else:
        assert team.review() == {"accepted": 4, "rejected": 2}
        assert team.emulator.journal.count(*REVIEW) == 1
    assert team.words() == [True] * 4 + [False] * 2


def test_a_review_that_waits_says_nothing_about_labels_that_are_new(
    team: ReviewedTeam, moved_clock: MovedClock
) -> None:
    """Neither does it replace a word that somebody has given in between."""

    def act(_: Any) -> bool:
        if not rule.fired:
            team.label(0, "4")
            team.dataset.review(team.task_id, team.ids[5], accept=True)
        return True

    throttled = {"status": 429, "code": "ModelArts.4206", "headers": {"Retry-After": "60"}}
    rule = team.emulator.faults.add(*REVIEW, "status", times=1, match=act, **throttled)
    assert team.review() == {"accepted": 3, "rejected": 1, "changed": 2}
    assert team.words() == [None, True, True, True, False, True]
    assert rule.fired == 1


def test_a_service_that_lets_no_review_in_ends_the_try(team: ReviewedTeam, moved_clock: MovedClock) -> None:
    throttled = {"status": 429, "code": "ModelArts.4206", "headers": {"Retry-After": "60"}}
    rule = team.emulator.faults.add(*REVIEW, "status", times=None, **throttled)
    with pytest.raises(ServiceUnavailable, match=f"{team.task_id}.*too old.*Run the task again"):
        team.review()
    assert 1 < rule.fired < 20


def test_an_empty_comment_is_none(team: ReviewedTeam) -> None:
    """A service may show it, or leave it out."""
    comments = [{**one, "comment": ""} for one in team.comments()]
    assert team.review(comments=comments) == {"accepted": 4, "rejected": 2}
    shown = [one.raw for one in team.client.team_samples.list(team.dataset.dataset_id, team.task_id)]
    assert [one.pop("review_comment") for one in shown] == [""] * 6
    answer = json.dumps({"sample_count": 6, "samples": shown}).encode()
    team.emulator.faults.add("GET", "/data-annotations/samples", "status", times=None, status=200, body=answer)
    assert team.review(comments=comments, tries=None) == {"unchanged": 6}


def test_a_refusal_is_raised(team: ReviewedTeam) -> None:
    team.task_id = team.dataset.create_team_task(("a@example.com",), team.ids)
    with pytest.raises(PermissionDenied):
        team.review()


# --- the owner's word in an acceptance


class JudgedTeam(ReviewedTeam):
    """The team in an acceptance in which all copies were drawn; nobody reviews."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, clock: MovedClock) -> None:
        super().__init__(client, emulator)
        self.task_id = self.dataset.create_team_task(("a@example.com",), self.ids)
        self.place = self.dataset.dataset_id, self.task_id
        (self.worker,) = self.dataset.team_workers(self.task_id)
        for place in range(6):
            self.label(place, "3")
        client.team_tasks.start_acceptance(*self.place, sampling_rate=1)
        clock.sleep(3600)

    def judge(self, number: int = 1, **more: Any) -> dict[str, int]:
        return self.comment(judge_team_samples, number, **more)

    def words(self) -> list[bool | None]:
        copies = {one.sample_id: one for one in self.client.team_samples.list(*self.place)}
        return [copies[one].check_accept for one in self.ids]

    def say(self, place: int, *, accept: bool) -> None:
        """Let the owner judge a copy in the console."""
        self.client.team_tasks.comment_acceptance(*self.place, [{**self.copies()[place], "accept": accept}])


@pytest.fixture
def judged(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> JudgedTeam:
    return JudgedTeam(client, emulator, moved_clock)


def test_a_later_word_replaces_an_earlier_one(judged: JudgedTeam) -> None:
    judged.say(0, accept=False)
    assert judged.judge() == {"accepted": 4, "rejected": 2}
    assert judged.words() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "the only copy"])
def test_a_lost_judgement_is_looked_up(judged: JudgedTeam, is_named: bool) -> None:
    rule = judged.emulator.faults.add(*JUDGE, "reset_after")
    comments = judged.comments() if is_named else [{**one, "worker_id": None} for one in judged.comments()]
    comments = [{name: value for name, value in one.items() if value is not None} for one in comments]
    assert judged.judge(comments=comments) == {"accepted": 4, "rejected": 2}
    assert (rule.fired, judged.emulator.journal.count(*JUDGE)) == (1, 1)


def test_a_retry_of_a_judgement_leaves_alone_what_the_owner_has_said_since(judged: JudgedTeam) -> None:
    """The process died after the request, and before it could note that."""
    notes = Notes()
    assert judged.judge(tries=Tries(True, "night", notes)) == {"accepted": 4, "rejected": 2}
    notes.values = {key: value for key, value in notes.values.items() if key.endswith("before")}
    judged.say(0, accept=False)
    sent = judged.emulator.journal.count(*JUDGE)
    assert judged.judge(tries=Tries(False, "night", notes)) == {"accepted": 3, "rejected": 2, "changed": 1}
    assert judged.words() == [False, True, True, True, False, False]
    assert judged.emulator.journal.count(*JUDGE) == sent
    assert judged.judge(tries=Tries(False, "night, cleared", notes)) == {"accepted": 4, "rejected": 2}


def test_where_nothing_tells_what_was_said_before_a_retry_replaces_no_word(judged: JudgedTeam) -> None:
    """Airflow 3.2 keeps nothing between tries; what the owner rejects after the first one must not be accepted."""
    judged.emulator.faults.add(*JUDGE, "status", status=503, times=None)
    with pytest.raises(ServiceUnavailable):
        judged.judge(tries=Tries(True, "night", None))
    judged.emulator.faults.clear()
    judged.say(0, accept=False)
    with pytest.raises(PreconditionFailed, match=r"1 of 6 copies .* are judged otherwise") as raised:
        judged.judge(tries=Tries(False, "night", None))
    assert judged.ids[0] in str(raised.value)
    assert judged.words() == [False, None, None, None, None, None]
    assert judged.judge(tries=Tries(True, "night, cleared", None)) == {"accepted": 4, "rejected": 2}


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "the only copy"])
def test_after_the_acceptance_what_was_judged_so_needs_nothing(
    judged: JudgedTeam, moved_clock: MovedClock, is_named: bool
) -> None:
    comments = judged.comments() if is_named else [{"sample_id": one, "accept": True} for one in judged.ids]
    first = judged.judge(comments=comments)
    judged.client.team_tasks.finish_acceptance(*judged.place, 0)
    assert judged.judge(comments=comments, tries=None) == first, "while results are carried over"
    moved_clock.sleep(3600)
    assert judged.judge(comments=comments, tries=None) == first
    with pytest.raises(PreconditionFailed):
        judged.judge(comments=[{**one, "accept": False} for one in comments], tries=None)
