"""Samples of a team task: single copies, removal of labels, review (contract 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

pytestmark = pytest.mark.usefixtures("moved_clock")

A, B, R = "a@example.com", "b@example.com", "r@example.com"
SAMPLES = "/data-annotations"


class Team:
    """A team task of three samples, of which both labelers have labeled copies."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, reviewers: tuple[str, ...] = (R,)) -> None:
        self.client, self.emulator = client, emulator
        self.dataset_id = emulator.load_proposals(3)
        self.dataset = emulator.dataset(self.dataset_id)
        self.ids = list(self.dataset.samples)
        self.task_id = emulator.create_team_task(self.dataset_id, [A, B], reviewers=reviewers)
        self.workers = {email: worker_id for worker_id, email in self.dataset.team_workers(self.task_id).items()}
        self.name = next(iter(self.dataset.labels))
        for sample_id, worker_id in self.dataset.team_copies(self.task_id):
            self.dataset.label_team_sample(self.task_id, sample_id, self.name, worker_id)

    @property
    def place(self) -> tuple[str, str]:
        return self.dataset_id, self.task_id

    def list(self, **more: Any) -> list[Any]:
        return list(self.client.team_samples.list(*self.place, **more))

    def empty(self) -> set[tuple[str, str]]:
        copies = self.dataset.team_copies(self.task_id)
        return {key for key, phase in copies.items() if phase == "un_annotation"}

    def comment(self, sample: int = 0, email: str = A, **more: Any) -> dict[str, Any]:
        return {"sample_id": self.ids[sample], "worker_id": self.workers[email], "accept": True, **more}


@pytest.fixture
def team(client: ModelArtsClient, emulator: Emulator) -> Team:
    return Team(client, emulator)


def test_a_single_copy_can_be_read_once_an_acceptance_has_begun(team: Team) -> None:
    with pytest.raises(PreconditionFailed, match=r"Begin an acceptance.*4624"):
        team.client.team_samples.get(*team.place, team.ids[0])
    team.dataset.accept(team.task_id, team.ids[0], team.workers[B])
    copy = team.client.team_samples.get(*team.place, team.ids[0], worker_id=team.workers[B], locale="zh-cn")
    assert (copy.sample_id, copy.worker_id, copy.label_names) == (team.ids[0], team.workers[B], [team.name])
    assert [(one.email, one.worker_id) for one in copy.labelers] == [(B, team.workers[B])]
    assert (copy.review_accept, copy.check_accept) == (None, None)
    with pytest.raises(NotFound):
        team.client.team_samples.get(*team.place, "unknown")
    with pytest.raises(NotFound):
        team.client.team_samples.get(*team.place, team.ids[0], worker_id=team.workers[A], sample_state="__ACCEPTED__")


@pytest.mark.parametrize("form", ["listed", "objects", "ids"])
def test_labels_are_cleared_of_the_copies_that_are_meant_and_of_no_others(team: Team, form: str) -> None:
    worker_id = team.workers[B]
    before = [team.dataset.labels_of(one) for one in team.ids]
    more: dict[str, Any] = {}
    samples: list[Any] = [one for one in team.list() if one.worker_id == worker_id][:2]
    chosen = {(one.sample_id, worker_id) for one in samples}
    if form == "objects":
        samples = [{"sample_id": one.sample_id, "worker_id": worker_id} for one in samples]
    elif form == "ids":
        samples, more = [one.sample_id for one in samples], {"email": B}
    outcomes = team.client.team_samples.clear_labels(*team.place, samples, **more)
    assert [one.ok for one in outcomes] == [True, True]
    assert team.empty() == chosen
    assert [team.dataset.labels_of(one) for one in team.ids] == before


def test_both_copies_of_a_sample_are_cleared_at_once(team: Team) -> None:
    copies = [one for one in team.list() if one.sample_id == team.ids[0]]
    assert [one.ok for one in team.client.team_samples.clear_labels(*team.place, copies)] == [True, True]
    assert team.empty() == {(team.ids[0], worker_id) for worker_id in team.workers.values()}


def test_what_is_meant_must_be_beyond_doubt(team: Team) -> None:
    (outcome,) = team.client.team_samples.clear_labels(*team.place, [team.ids[0]])
    assert (outcome.ok, outcome.error_code) == (False, "ModelArts.4420")
    assert team.empty() == set()


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ("sample", "must be a list"),
        ({"sample_id": "s"}, "must be a list"),
        ([""], "sample_id"),
        ([{"worker_id": "w"}], "sample_id"),
        ([{"sample_id": "s", "labels": []}], "nothing else"),
        ([7], "nothing else"),
        (["s", "s"], "comes twice"),
        ([{"sample_id": "s", "worker_id": None}, "s"], "comes twice"),
    ],
)
def test_what_cannot_be_cleared_is_refused_before_it_is_sent(
    client: ModelArtsClient, emulator: Emulator, samples: Any, text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        client.team_samples.clear_labels("d", "w", samples)
    with pytest.raises(InvalidRequest, match="email"):
        client.team_samples.clear_labels("d", "w", ["s"], email="bob")
    assert emulator.journal.count(None, SAMPLES) == 0


@pytest.mark.parametrize("fault", ["reset", "reset_after"])
def test_a_lost_reply_leaves_it_open_and_nothing_is_sent_again(team: Team, fault: str) -> None:
    team.emulator.faults.add("PUT", SAMPLES, fault)
    (outcome,) = team.client.team_samples.clear_labels(*team.place, [team.ids[0]], email=A)
    assert outcome.ok is None
    assert team.emulator.journal.count("PUT", SAMPLES) == 1


def test_a_review_is_stored_with_comment_and_grade(team: Team) -> None:
    review = team.client.team_samples.review
    bad = team.comment(1, B, accept=False, comment="no", score="D")
    assert review(*team.place, [team.comment(score="A"), bad])
    (accepted,) = team.list(sample_state="__REVIEWED__")
    (rejected,) = team.list(sample_state="__REJECTED__", locale="en-us")
    assert (accepted.review_accept, accepted.review_score, accepted.worker_id) == (True, "A", team.workers[A])
    assert (rejected.review_accept, rejected.review_comment, rejected.sample_id) == (False, "no", team.ids[1])
    assert not review(*team.place, [team.comment(accept=False), team.comment(2)]), "one had been reviewed already"
    assert [one.sample_id for one in team.list(sample_state="__REJECTED__")] == [team.ids[1]]
    assert len(team.list(sample_state="__REVIEWED__")) == 2


def test_who_may_not_review(team: Team, client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.team_member = A
    with pytest.raises(PermissionDenied, match="4600"):
        client.team_samples.review(*team.place, [team.comment()])
    emulator.team_member = None
    without = Team(client, emulator, reviewers=())
    with pytest.raises(PermissionDenied, match="4600"):
        client.team_samples.review(*without.place, [without.comment()])


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "none": (lambda samples: samples.review("d", "w", []), "comments must have at least 1"),
    "text": (lambda samples: samples.review("d", "w", "all of it"), "comments must be a list"),
    "comment": (
        lambda samples: samples.review("d", "w", [{"sample_id": "s", "accept": True, "comment": "a>b"}]),
        r"comments\[0\]\.comment must be at most 256 characters",
    ),
    "verdict": (
        lambda samples: samples.review("d", "w", [{"sample_id": "s", "accept": "fine"}]),
        r"comments\[0\]\.accept must be true or false",
    ),
    "locale": (lambda samples: samples.get("d", "w", "s", locale="de"), "locale must be one of"),
    "worker": (lambda samples: samples.get("d", "w", "s", worker_id=""), "worker_id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_contract_does_not_allow_is_refused_before_it_is_sent(
    client: ModelArtsClient, emulator: Emulator, name: str
) -> None:
    call, text = REFUSED[name]
    with pytest.raises(InvalidRequest, match=text):
        call(client.team_samples)
    assert emulator.journal.count(None, SAMPLES) == 0


def test_a_review_whose_reply_is_lost_is_not_repeated(team: Team) -> None:
    team.emulator.faults.add("POST", "/review", "reset_after")
    with pytest.raises(ServiceUnavailable, match="review_accept"):
        team.client.team_samples.review(*team.place, [team.comment()])
    assert team.emulator.journal.count("POST", "/review") == 1
