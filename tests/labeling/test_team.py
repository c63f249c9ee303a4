"""Writing team labels (contract 5.2) against the emulator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest, NotFound
from airflow_provider_modelarts.labeling.team_samples import update_team_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

WRITE = ("PUT", "workforce-tasks")
EMAILS = ("a@example.com", "b@example.com")


class Team:
    """A dataset of digits with a team task of two members, each with a copy of each sample."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator) -> None:
        self.client = client
        self.dataset = emulator.dataset(emulator.load_digits(labeled=150))
        self.ids = tuple(sorted(self.dataset.samples)[:12])
        self.task_id = self.dataset.create_team_task(EMAILS, self.ids)
        self.workers = list(self.dataset.team_workers(self.task_id))

    def samples(self, worker: int = 0) -> list[dict[str, Any]]:
        return [
            {"sample_id": one, "labels": [{"name": "7", "type": 0}], "worker_id": self.workers[worker]}
            for one in self.ids
        ]

    def names(self, worker: int = 0) -> list[str]:
        return [
            label["name"]
            for one in self.ids
            for label in self.dataset.team_labels_of(self.task_id, one, self.workers[worker])
        ]

    def update(self, samples: object, **more: Any) -> Any:
        return update_team_samples(self.client, self.dataset.dataset_id, self.task_id, samples, **more)


@pytest.fixture
def team(client: ModelArtsClient, emulator: Emulator) -> Team:
    return Team(client, emulator)


@pytest.mark.parametrize("form", [list, json.dumps], ids=["dicts", "text"])
def test_the_named_copies_are_written_and_no_others(team: Team, form: Callable[[Any], object]) -> None:
    result = team.update(form(team.samples()), batch_size=5)
    result.check()
    assert result.to_xcom() == {
        "samples": 12,
        "updated": 12,
        "unchanged": 0,
        "changed": 0,
        "failed": 0,
        "unknown": 0,
        "requests": 3,
    }
    assert team.names(0) == ["7"] * 12
    assert team.names(1) == []


def test_copies_of_one_sample_travel_apart(team: Team, emulator: Emulator) -> None:
    assert team.update(team.samples(0) + team.samples(1)).updated == 24
    for record in emulator.journal:
        if record.method == "PUT":
            ids = [sample["sample_id"] for sample in json.loads(record.body)["samples"]]
            assert len(set(ids)) == len(ids)


def test_on_behalf_of_a_member(team: Team) -> None:
    samples = [{key: value for key, value in one.items() if key != "worker_id"} for one in team.samples()]
    assert team.update(samples, worker_email=EMAILS[1]).updated == 12
    assert (team.names(0), team.names(1)) == ([], ["7"] * 12)


@pytest.mark.parametrize("form", ["normal", "missing", "short", "shuffled"])
def test_an_unknown_label_fails_its_sample_only(team: Team, emulator: Emulator, form: str) -> None:
    emulator.variants.results = form
    samples = team.samples()
    samples[4]["labels"] = [{"name": "no such label", "type": 0}]
    result = team.update(samples)
    assert (result.updated, result.failed + result.unknown) == (11, 1)
    assert [failure.samples for failure in result.failures.values()] == [(team.ids[4],)]
    with pytest.raises(ConfirmationError, match=team.ids[4]):
        result.check()


@pytest.mark.parametrize(("fault", "updated"), [("reset", 0), ("reset_after", 12)])
def test_a_lost_answer_is_looked_up_and_not_sent_again(
    team: Team, emulator: Emulator, fault: str, updated: int
) -> None:
    rule = emulator.faults.add(*WRITE, fault)
    result = team.update(team.samples())
    assert rule.fired == 1
    assert (result.updated, result.unknown, result.requests) == (updated, 12 - updated, 1)
    assert emulator.journal.count(*WRITE) == 1


def test_a_batch_refused_for_a_sample_is_split(team: Team, emulator: Emulator) -> None:
    bad = team.ids[4].encode()
    emulator.faults.add(
        *WRITE, "status", times=None, status=400, code="ModelArts.0104", match=lambda call: bad in call.body
    )
    result = team.update(team.samples())
    assert (result.updated, result.failed) == (11, 1)


def test_a_stop_lets_no_further_write_out(team: Team, emulator: Emulator) -> None:
    result = team.update(team.samples(), batch_size=4, should_stop=lambda: emulator.journal.count(*WRITE) >= 1)
    assert (result.updated, result.unknown, result.requests) == (4, 8, 1)


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ("no json", "no JSON"),
        ([], "at least one"),
        ("None", "no JSON"),
        (["x"], "must be an object"),
        ([{"sample_id": "x", "labels": []}], "erase"),
        ([{"sample_id": "x"}], "erase"),
        ([{"sample_id": "x", "labels": [{"name": "a"}]}] * 2, "twice"),
        ([{"sample_id": "x", "labels": [{"name": "a"}], "worker_id": no} for no in ("", None)], "twice"),
    ],
)
def test_samples_that_cannot_be_written_are_refused_at_once(
    team: Team, emulator: Emulator, samples: object, text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        team.update(samples)
    assert emulator.journal.count(*WRITE) == 0


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"labels": [{"name": "7"}], "bogus": 1}, "fields that cannot be written: bogus"),
        ({"labels": ["7"]}, "must be objects"),
        ({"labels": [{"type": 0}]}, "a label without a name"),
        ({"labels": [{"name": " "}]}, "a label without a name"),
        ({"labels": [{"name": "7", "score": float("nan")}]}, "cannot be written as JSON"),
        ({"labels": [{"name": "7" * 13_000_000}]}, "more than the"),
    ],
)
def test_one_wrong_sample_at_the_end_keeps_all_others_from_being_sent(
    team: Team, emulator: Emulator, wrong: dict[str, Any], text: str
) -> None:
    samples = team.samples()
    samples[-1] = {**samples[-1], **wrong}
    with pytest.raises(InvalidRequest, match=text) as raised:
        team.update(samples, batch_size=2)
    assert raised.value.permanent
    assert len(str(raised.value)) < 1000
    assert len(emulator.journal) == 0


def test_an_address_that_is_none_is_refused_once_and_nothing_is_sent(team: Team, emulator: Emulator) -> None:
    with pytest.raises(InvalidRequest, match="worker_email must be an e-mail address, not 'bob'"):
        team.update(team.samples(), worker_email="bob")
    assert len(emulator.journal) == 0


def test_ids_that_cannot_stand_in_an_address_are_refused_as_such(team: Team, emulator: Emulator) -> None:
    with pytest.raises(InvalidRequest, match="workforce_task_id must be an id"):
        update_team_samples(team.client, team.dataset.dataset_id, "..", team.samples())
    assert len(emulator.journal) == 0


def test_an_unknown_team_task_is_named(team: Team) -> None:
    with pytest.raises(NotFound, match="no-such-task"):
        update_team_samples(team.client, team.dataset.dataset_id, "no-such-task", team.samples())
