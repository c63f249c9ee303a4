"""Mails to members of a team task: none twice in a retry, as far as that can be known (contract 5.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ModelArtsError, NotFound, Throttled
from airflow_provider_modelarts.labeling.team_copies import Tries
from airflow_provider_modelarts.labeling.team_mails import notify_members
from tests.labeling.test_team_copies import A, B, Team

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

NOTIFY = ("POST", "/notify")
both_ways = pytest.mark.parametrize("keeps", [True, False], ids=["notes", "no notes"])


class MailedTeam(Team):
    """The team, whose members get mails."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator, clock: MovedClock) -> None:
        super().__init__(client, emulator)
        self.clock, self.run_started = clock, clock.now()

    def notify(self, number: int, *, keeps: bool = True, emails: tuple[str, ...] = (A, B)) -> tuple[int, ...]:
        tries = Tries(number == 1, "night", self.notes if keeps else None)
        place = self.dataset.dataset_id, self.task_id
        return tuple(notify_members(self.client, *place, emails, tries=tries, run_started=self.run_started))

    @property
    def mailed(self) -> list[list[str]]:
        return [json.loads(record.body)["emails"] for record in self.emulator.journal.select(*NOTIFY)]


@pytest.fixture
def team(client: ModelArtsClient, emulator: Emulator, moved_clock: MovedClock) -> MailedTeam:
    return MailedTeam(client, emulator, moved_clock)


@both_ways
def test_a_retry_mails_nobody_again(team: MailedTeam, keeps: bool) -> None:
    team.clock.sleep(300)
    assert team.notify(1, keeps=keeps) == (2, 2, 0)
    team.clock.sleep(300)
    assert team.notify(2, keeps=keeps) == (2, 0, 2)
    assert team.mailed == [[A, B]]


@both_ways
@pytest.mark.parametrize("fault", ["reset", "reset_after"])
def test_after_a_lost_answer_the_service_is_asked_who_was_mailed(team: MailedTeam, fault: str, keeps: bool) -> None:
    team.emulator.faults.add(*NOTIFY, fault)
    if fault == "reset":
        with pytest.raises(ModelArtsError, match="may have been sent"):
            team.notify(1, keeps=keeps)
        team.clock.sleep(300)
        assert team.notify(2, keeps=keeps) == (2, 2, 0)
    else:
        assert team.notify(1, keeps=keeps) == (2, 2, 0)
    assert len(team.mailed) == {"reset": 2, "reset_after": 1}[fault]


def test_whoever_was_mailed_is_left_out_of_what_is_sent_again(team: MailedTeam) -> None:
    """The process died after the request, and before it could note that."""
    team.notify(1, emails=(A,))
    (key,) = team.notes.values
    note = team.notes.get(key)
    team.notes.set(key, {**note, "sent": False, "asked": [*note["asked"][:2], [A, B]]})
    team.clock.sleep(300)
    assert team.notify(2) == (2, 1, 1)
    assert team.mailed == [[A], [B]]


@both_ways
def test_mails_from_before_do_not_count(team: MailedTeam, keeps: bool) -> None:
    team.client.team_tasks.notify(team.dataset.dataset_id, team.task_id, [A, B])
    team.clock.sleep(3600)
    team.run_started = team.clock.now()
    team.emulator.faults.add(*NOTIFY, "reset")
    with pytest.raises(ModelArtsError):
        team.notify(1, keeps=keeps)
    team.clock.sleep(300)
    assert team.notify(2, keeps=keeps) == (2, 2, 0)


def test_a_clear_mails_once_more(team: MailedTeam) -> None:
    assert team.notify(1) == (2, 2, 0)
    team.clock.sleep(300)
    place = team.dataset.dataset_id, team.task_id
    cleared = notify_members(team.client, *place, [A, B], tries=Tries(False, "night, cleared", team.notes))
    assert tuple(cleared) == (2, 2, 0)


def test_refusals_are_raised_and_a_mail_of_a_moment_ago_counts_in_the_retry(team: MailedTeam) -> None:
    with pytest.raises(NotFound):
        team.notify(1, emails=("nobody@example.com",))
    team.client.team_tasks.notify(team.dataset.dataset_id, team.task_id, [A])
    with pytest.raises(Throttled):
        team.notify(1)
    team.clock.sleep(300)
    result: Any = team.notify(2)
    assert result == (2, 1, 1)
