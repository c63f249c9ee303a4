"""The sensor of a team task: what it waits for, in every way the same, and that it changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_provider_modelarts.client.states import AcceptanceAction
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.sensors.team_task import ModelArtsTeamTaskSensor
from tests.support.operator_driver import Ending, drive

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

WAYS: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}
every_way = pytest.mark.parametrize("way", WAYS)
LABELER, REVIEWER = "labeler@example.com", "reviewer@example.com"
COPIES = 3


class Team:
    """A team task of three samples, and sensors that wait for it."""

    def __init__(self, emulator: Emulator, clock: MovedClock, *, reviewers: tuple[str, ...] = ()) -> None:
        self.emulator, self.clock = emulator, clock
        self.dataset_id = emulator.load_digits(labeled=100)
        self.dataset = emulator.dataset(self.dataset_id)
        self.sample_ids = tuple(one for one in self.dataset.samples if not self.dataset.names_of(one))[:COPIES]
        self.task_id = self.dataset.create_team_task((LABELER,), self.sample_ids, reviewers=reviewers)
        self.client = ModelArtsHook().client

    def label(self, most: int = COPIES) -> None:
        for sample_id in self.sample_ids[:most]:
            self.dataset.label_team_sample(self.task_id, sample_id, "7")

    def accept(self, action: AcceptanceAction) -> None:
        self.client.team_tasks.start_acceptance(self.dataset_id, self.task_id, sampling_rate=1)
        self.clock.sleep(600)
        self.client.team_tasks.finish_acceptance(self.dataset_id, self.task_id, action)
        self.clock.sleep(600)

    def wait(self, way: str = "poke", **parameters: Any) -> Ending:
        given = {"dataset_id": self.dataset_id, "workforce_task_id": self.task_id, "timeout": 600}
        self.emulator.journal.clear()
        ending = drive(ModelArtsTeamTaskSensor(task_id="wait", **{**given, **WAYS[way], **parameters}), self.clock)
        writes = [one for one in self.emulator.journal if one.method != "GET" and one.path.startswith("/v2/")]
        assert writes == []
        return ending


@pytest.fixture
def team(emulator: Emulator, moved_clock: MovedClock) -> Team:
    return Team(emulator, moved_clock)


@every_way
def test_it_waits_until_all_is_labeled(team: Team, way: str) -> None:
    team.label(most=2)
    timeout = team.wait(way)
    assert type(timeout.error) is AirflowSensorTimeout
    assert "1 unlabeled" in str(timeout.error)
    assert f"Team task {team.task_id}" in str(timeout.error)
    team.label()
    ending = team.wait(way)
    assert ending.error is None
    assert ending.result == {
        "workforce_task_id": team.task_id,
        "status": "running",
        "samples": 3,
        "unlabeled": 0,
        "proposed": 0,
        "sent_back": 0,
        "unreviewed": 0,
        "awaiting_acceptance": 3,
        "accepted": 0,
    }


def test_people_who_label_during_the_wait_end_it(team: Team) -> None:
    """The label comes between two polls of a wait that is deferred."""
    polls: list[int] = []

    def label_after_three(record: Any) -> None:
        if record.path.endswith(team.task_id):
            polls.append(1)
            if len(polls) == 3:
                team.label()

    team.emulator.observers.append(label_after_three)
    ending = team.wait("deferred")
    assert (ending.error, ending.deferrals) == (None, 1)
    assert len(polls) == 4


@every_way
def test_reviewers_have_to_be_through_too(emulator: Emulator, moved_clock: MovedClock, way: str) -> None:
    team = Team(emulator, moved_clock, reviewers=(REVIEWER,))
    team.label()
    assert "3 unreviewed" in str(team.wait(way).error)
    for place, sample_id in enumerate(team.sample_ids):
        team.dataset.review(team.task_id, sample_id, accept=place > 0)
    assert "1 sent back" in str(team.wait(way).error)
    team.label(most=1)
    team.dataset.review(team.task_id, team.sample_ids[0])
    assert team.wait(way).error is None


@every_way
def test_it_waits_until_the_owner_has_accepted(team: Team, way: str) -> None:
    team.label()
    assert type(team.wait(way, until="accepted").error) is AirflowSensorTimeout
    team.accept(AcceptanceAction.REJECT_ALL)
    assert "3 sent back" in str(team.wait(way, until="accepted").error)
    team.label()
    team.accept(AcceptanceAction.PASS_ALL)
    ending = team.wait(way, until="accepted")
    assert ending.error is None
    assert (ending.result["status"], ending.result["accepted"]) == ("passed", 3)


@every_way
def test_soft_fail_skips_what_was_not_done_in_time_and_nothing_else(team: Team, way: str) -> None:
    assert type(team.wait(way, soft_fail="true").error) is AirflowSkipException
    unknown = team.wait(way, soft_fail=True, workforce_task_id="no-such-task")
    assert type(unknown.error) is AirflowFailException
    assert "ModelArts.4619" in str(unknown.error)


@every_way
def test_errors_that_pass_are_survived(team: Team, way: str) -> None:
    team.label()
    rule = team.emulator.faults.add("GET", "/workforce-tasks/", "status", times=3, status=503)
    assert team.wait(way).error is None
    assert rule.fired == 3
