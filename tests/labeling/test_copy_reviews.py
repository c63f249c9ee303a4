"""Reviews of members' copies against the emulator: each word once, and none about other labels (contract 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ModelArtsError, PermissionDenied, ServiceUnavailable
from airflow_provider_modelarts.labeling.copy_reviews import review_team_samples
from airflow_provider_modelarts.labeling.team_copies import Tries
from tests.labeling.test_team_copies import Notes, Team

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

REVIEW = ("POST", "/data-annotations/review")


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
        given = {"tries": Tries(number == 1, "night", self.notes), **more}
        result = review_team_samples(self.client, self.dataset.dataset_id, self.task_id, self.comments(), **given)
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


def test_a_refusal_is_raised(team: ReviewedTeam) -> None:
    team.task_id = team.dataset.create_team_task(("a@example.com",), team.ids)
    with pytest.raises(PermissionDenied):
        team.review()
