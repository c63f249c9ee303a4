"""Teams and their members (contract 5.3)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import (
    MailStatus,
    TeamTaskState,
    WorkerRole,
    WorkerStatus,
)
from airflow_provider_modelarts.client.errors import (
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    ServiceUnavailable,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

pytestmark = pytest.mark.usefixtures("moved_clock")

TEAMS = "/workforces"
EMAILS = ("a@example.com", "b@example.com", "c@example.com")


@pytest.fixture
def team_id(client: ModelArtsClient) -> str:
    return client.workforces.create("night-shift", description="my team")


def test_a_team_comes_changes_and_goes(client: ModelArtsClient, team_id: str) -> None:
    team = client.workforces.get(team_id)
    assert (team.workforce_id, team.workforce_name, team.description) == (team_id, "night-shift", "my team")
    assert (team.worker_count, team.create_time, team.workspace_id) == (0, team.update_time, None)
    client.workforces.update(team_id, workforce_name="day-shift", description="")
    team = client.workforces.get(team_id)
    assert (team.workforce_name, team.description) == ("day-shift", "")
    assert client.workforces.find("night-shift") is None
    assert client.workforces.find("day-shift") == team
    client.workforces.delete(team_id)
    with pytest.raises(NotFound):
        client.workforces.get(team_id)
    with pytest.raises(NotFound):
        client.workforces.delete(team_id)


def test_only_what_is_given_is_sent(client: ModelArtsClient, emulator: Emulator, team_id: str) -> None:
    client.workforces.update(team_id, description="")
    assert json.loads(emulator.journal.select("PUT", TEAMS)[-1].body) == {"description": ""}


def test_teams_are_listed(client: ModelArtsClient) -> None:
    for name in ("bb", "aa", "ab"):
        client.workforces.create(name)
    listed = client.workforces.list(sort_by="workforce_name", order="asc")
    assert [one.workforce_name for one in listed] == ["aa", "ab", "bb"]
    assert {one.workforce_name for one in client.workforces.list(search="b")} == {"ab", "bb"}


def test_members(client: ModelArtsClient, team_id: str) -> None:
    teams = client.workforces
    worker = teams.create_worker(team_id, EMAILS[0], WorkerRole.LABELER, description="My name is Tom")
    assert (worker.email, worker.role, worker.status) == (EMAILS[0], WorkerRole.LABELER, WorkerStatus.NOT_INVITED)
    assert (worker.description, worker.workforce_id) == ("My name is Tom", team_id)
    manager = teams.create_worker(team_id, EMAILS[1], "2")
    assert {one.email for one in teams.list_workers(team_id)} == set(EMAILS[:2])
    assert [one.email for one in teams.list_workers(team_id, sort_by="email", order="desc")] == [*EMAILS[1::-1]]
    assert [one.email for one in teams.list_all_workers(role=WorkerRole.MANAGER)] == [EMAILS[1]]
    assert [one.email for one in teams.list_all_workers()] == [EMAILS[0]], "the service's default"
    teams.update_worker(team_id, worker.worker_id, role=1)
    assert teams.get_worker(team_id, worker.worker_id).role == WorkerRole.REVIEWER
    with pytest.raises(PreconditionFailed, match=r"another role first.*4617"):
        teams.create_worker(team_id, EMAILS[2], 2)
    with pytest.raises(InvalidRequest, match="4605"):
        teams.create_worker(team_id, EMAILS[0], 0)
    teams.delete_worker(team_id, manager.worker_id)
    assert teams.find_worker(team_id, EMAILS[1]) is None
    with pytest.raises(NotFound):
        teams.delete_worker(team_id, manager.worker_id)


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "name": (lambda teams: teams.create("two words"), "workforce_name must be 1 to 64 letters"),
    "long name": (lambda teams: teams.create("x" * 65), "workforce_name must be 1 to 64 letters"),
    "no name": (lambda teams: teams.create(None), "workforce_name is missing"),
    "description": (lambda teams: teams.create("a", description="a<b"), "description must be at most 256 characters"),
    "long description": (lambda teams: teams.update("t", description="x" * 257), "at most 256 characters"),
    "declared field": (lambda teams: teams.create("a", extra={"description": "b"}), "give it there"),
    "team": (lambda teams: teams.get(""), "workforce_id"),
    "address": (lambda teams: teams.create_worker("t", "bob", 0), "emails must be one e-mail address"),
    "addresses": (lambda teams: teams.create_worker("t", [EMAILS[0]], 0), "emails must be text"),
    "role": (lambda teams: teams.create_worker("t", EMAILS[0], 3), "role must be one of"),
    "new role": (lambda teams: teams.update_worker("t", "w", role="boss"), "role must be a whole number"),
    "listed role": (lambda teams: list(teams.list_all_workers(role=3)), "role"),
    "order": (lambda teams: list(teams.list(order="newest")), "order must be one of"),
    "sorting": (lambda teams: list(teams.list_workers("t", sort_by="role")), "sort_by must be one of"),
    "nobody": (lambda teams: teams.delete_workers("t", []), "workers must have at least 1"),
    "one id": (lambda teams: teams.delete_workers("t", "w"), "workers must be a list"),
    "no id": (lambda teams: teams.delete_workers("t", ["w", None]), r"workers\[1\] must be an id"),
    "twice": (lambda teams: teams.delete_workers("t", ["w", "v", "w"]), "named twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_contract_does_not_allow_is_refused_before_it_is_sent(
    client: ModelArtsClient, emulator: Emulator, name: str
) -> None:
    call, text = REFUSED[name]
    with pytest.raises(InvalidRequest, match=text) as caught:
        call(client.workforces)
    assert caught.value.status is None
    assert emulator.journal.count(None, TEAMS) == 0


@pytest.mark.wrong_requests
def test_a_field_that_the_contract_does_not_know_is_sent_on_request(
    client: ModelArtsClient, emulator: Emulator
) -> None:
    client.workforces.create("aa", extra={"workspace_id": "0"})
    assert json.loads(emulator.journal.select("POST", TEAMS)[-1].body)["workspace_id"] == "0"


@pytest.mark.parametrize(("fault", "made"), [("reset_after", True), ("reset", False), ("truncated", True)])
def test_a_creation_whose_reply_is_lost_is_not_repeated_and_can_be_looked_for(
    client: ModelArtsClient, emulator: Emulator, fault: str, *, made: bool
) -> None:
    rule = emulator.faults.add("POST", TEAMS, fault)
    with pytest.raises((ServiceUnavailable, UnexpectedResponse), match=r"workforces\.find"):
        client.workforces.create("night-shift")
    assert rule.fired == 1
    assert emulator.journal.count("POST", TEAMS) == 1
    assert (client.workforces.find("night-shift") is not None) is made


def test_an_answer_without_an_id_is_no_success(client: ModelArtsClient, emulator: Emulator) -> None:
    emulator.faults.add("POST", TEAMS, "status", status=201, body=json.dumps({"success": True}))
    with pytest.raises(UnexpectedResponse, match=r"no workforce_id.*workforces\.find"):
        client.workforces.create("night-shift")


@pytest.mark.parametrize("fault", ["reset_after", "reset"])
def test_after_a_lost_reply_a_change_is_read_and_not_repeated(
    client: ModelArtsClient, emulator: Emulator, team_id: str, fault: str
) -> None:
    emulator.faults.add("PUT", TEAMS, fault)
    if fault == "reset_after":
        client.workforces.update(team_id, description="new")
    else:
        with pytest.raises(ServiceUnavailable, match="had not been carried out"):
            client.workforces.update(team_id, description="new")
    assert client.workforces.get(team_id).description == ("new" if fault == "reset_after" else "my team")
    assert emulator.journal.count("PUT", TEAMS) == 1


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"description": ""}, {}), ({"description": ""}, {"description": None}), ({"role": 1}, {"role": "1"})],
    ids=["left out", "null", "a number as text"],
)
def test_after_a_lost_reply_a_change_is_known_however_it_is_shown(
    client: ModelArtsClient, emulator: Emulator, team_id: str, change: dict[str, Any], shown: dict[str, Any]
) -> None:
    worker_id = client.workforces.create_worker(team_id, EMAILS[0], 0, description="new here").worker_id
    emulator.faults.add("PUT", "/workers/", "reset_after")
    body = json.dumps({"worker_id": worker_id, **shown})
    emulator.faults.add("GET", worker_id, "status", status=200, body=body)
    client.workforces.update_worker(team_id, worker_id, **change)
    assert emulator.journal.count("PUT", "/workers/") == 1


def test_a_change_that_cannot_be_read_afterwards_stays_an_error(
    client: ModelArtsClient, emulator: Emulator, team_id: str
) -> None:
    emulator.faults.add("PUT", TEAMS, "reset_after")
    emulator.faults.add("GET", TEAMS, "status", status=403, times=None)
    with pytest.raises(ServiceUnavailable, match="could not be read"):
        client.workforces.update(team_id, description="new")


@pytest.mark.parametrize(("role", "counts_as_added"), [(0, True), (1, False)])
def test_a_member_whose_addition_got_no_reply_is_looked_for(
    client: ModelArtsClient, emulator: Emulator, team_id: str, role: int, *, counts_as_added: bool
) -> None:
    present = client.workforces.create_worker(team_id, EMAILS[0], 0)
    emulator.faults.add("POST", "/workers", "reset")
    if counts_as_added:
        assert client.workforces.create_worker(team_id, EMAILS[0], role) == present
    else:
        with pytest.raises(ServiceUnavailable):
            client.workforces.create_worker(team_id, EMAILS[0], role)
    emulator.faults.add("POST", "/workers", "reset_after")
    assert client.workforces.create_worker(team_id, EMAILS[1], 1).email == EMAILS[1]


def test_a_deletion_whose_reply_is_lost_is_done(client: ModelArtsClient, emulator: Emulator, team_id: str) -> None:
    worker = client.workforces.create_worker(team_id, EMAILS[0], 0)
    for_member = emulator.faults.add("DELETE", "/workers/", "reset_after")
    client.workforces.delete_worker(team_id, worker.worker_id)
    for_team = emulator.faults.add("DELETE", TEAMS, "reset_after")
    client.workforces.delete(team_id)
    assert (for_member.fired, for_team.fired) == (1, 1)
    assert list(client.workforces.list()) == []


@pytest.mark.parametrize("form", ["normal", "missing", "short", "shuffled"])
def test_several_members_leave_at_once(client: ModelArtsClient, emulator: Emulator, team_id: str, form: str) -> None:
    ids = [client.workforces.create_worker(team_id, email, 0).worker_id for email in EMAILS]
    emulator.variants.results = form
    emulator.faults.add("POST", "/batch-delete", "fail_sample", sample_id=ids[1], code="ModelArts.4628")
    removals = client.workforces.delete_workers(team_id, ids)
    assert [one.worker_id for one in removals] == ids
    assert [one.ok is True for one in removals] == [True, False, True]
    assert [one.worker_id for one in client.workforces.list_workers(team_id)] == [ids[1]]
    emulator.variants.results = "normal"
    assert [one.ok for one in client.workforces.delete_workers(team_id, [ids[1]])] == [True]


@pytest.mark.parametrize(("fault", "ok"), [("reset_after", True), ("reset", None)])
def test_who_is_gone_counts_as_removed_after_a_lost_reply(
    client: ModelArtsClient, emulator: Emulator, team_id: str, fault: str, *, ok: bool | None
) -> None:
    worker_id = client.workforces.create_worker(team_id, EMAILS[0], 0).worker_id
    emulator.faults.add("POST", "/batch-delete", fault)
    (removal,) = client.workforces.delete_workers(team_id, [worker_id])
    assert removal.ok is ok
    assert emulator.journal.count("POST", "/batch-delete") == 1


def test_somebody_unknown_was_not_removed(client: ModelArtsClient, team_id: str) -> None:
    (removal,) = client.workforces.delete_workers(team_id, ["nobody"])
    assert (removal.ok, removal.error_code) == (False, "ModelArts.4604")


def test_the_tasks_of_the_calling_member(client: ModelArtsClient, emulator: Emulator) -> None:
    dataset_id = emulator.load_proposals(3)
    task_id = emulator.create_team_task(dataset_id, EMAILS[:1])
    assert list(client.workforces.worker_tasks()) == []
    emulator.team_member = EMAILS[0]
    (task,) = client.workforces.worker_tasks(search="task", sort_by="workforce_task_name")
    assert (task.task_id, task.dataset_id, task.email) == (task_id, dataset_id, EMAILS[0])
    assert (task.role, task.task_status) == (WorkerRole.LABELER, TeamTaskState.RUNNING)
    assert (task.email_status, task.last_notify_time) == (MailStatus.NOT_SENT, 0)
    assert task.sample_stats is not None
    assert (task.sample_stats.total_sample_count, task.sample_stats.unannotated_sample_count) == (3, 3)
