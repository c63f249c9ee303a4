"""Teams and their members (contract 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import Caller, ask_token, token_body

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator


class Teams:
    """The teams of the emulator's project."""

    def __init__(self, emulator: Emulator) -> None:
        self.caller = Caller(emulator)
        self.emulator = emulator
        self.url = f"/v2/{emulator.project_id}/workforces"

    def ok(self, method: str, tail: str = "", body: Any = None, *, status: int = 200, **query: Any) -> Any:
        response = self.caller(method, self.url + tail, json=body, params=query)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def refused(self, method: str, tail: str = "", body: Any = None, **query: Any) -> tuple[int, str]:
        return self.caller.refused(method, self.url + tail, json=body, params=query)

    def create(self, name: str, **body: Any) -> str:
        team_id: str = self.ok("POST", "", {"workforce_name": name, **body}, status=201)["workforce_id"]
        return team_id

    def add(self, team_id: str, email: str, role: int | str = 0, **body: Any) -> str:
        made = self.ok("POST", f"/{team_id}/workers", {"emails": email, "role": role, **body}, status=201)
        assert made == {}, "no id"
        workers = self.ok("GET", f"/{team_id}/workers", limit=100)["workers"]
        return next(str(one["worker_id"]) for one in workers if one["email"] == email)


@pytest.fixture
def teams(emulator: Emulator) -> Teams:
    return Teams(emulator)


def test_a_team_comes_changes_and_goes(teams: Teams) -> None:
    team_id = teams.create("night-shift", description="my team")
    team = teams.ok("GET", f"/{team_id}")
    assert (team["workforce_name"], team["description"], team["worker_count"]) == ("night-shift", "my team", 0)
    teams.emulator.clock.advance(5)
    assert teams.ok("PUT", f"/{team_id}", {"description": ""}) == {}
    changed = teams.ok("GET", f"/{team_id}")
    assert (changed["workforce_name"], changed["description"]) == ("night-shift", "")
    assert changed["update_time"] == team["create_time"] + 5000
    assert teams.ok("DELETE", f"/{team_id}", status=204) is None
    assert teams.refused("GET", f"/{team_id}") == (400, "ModelArts.4601")
    assert teams.refused("DELETE", f"/{team_id}") == (400, "ModelArts.4601")


def test_a_list_of_teams(teams: Teams) -> None:
    for name in ("bb", "aa", "ab"):
        teams.create(name)
        teams.emulator.clock.advance(1)

    def names(**query: Any) -> list[str]:
        return [one["workforce_name"] for one in teams.ok("GET", "", **query)["workforces"]]

    assert names() == ["ab", "aa", "bb"]
    assert names(order="asc") == ["bb", "aa", "ab"]
    assert names(sort_by="workforce_name", order="asc") == ["aa", "ab", "bb"]
    assert names(search_content="a") == ["ab", "aa"]
    assert names(limit=1, offset=1) == ["aa"]
    assert teams.ok("GET", "", search_content="b", limit=1)["total_number"] == 2
    dataset_id = teams.emulator.load_proposals(3)
    task_id = teams.emulator.create_team_task(dataset_id)
    assert names(workforce_task_id=task_id) == ["team-emulator"]
    assert names(workforce_task_id="unknown") == []


def test_teams_belong_to_a_project(teams: Teams) -> None:
    team_id = teams.create("aa")
    scope = {"project": {"name": teams.emulator.other_project_name}}
    issued = ask_token(teams.emulator, token_body(teams.emulator, scope=scope))
    other = Teams(teams.emulator)
    other.caller.session.headers["X-Auth-Token"] = issued.headers["X-Subject-Token"]
    other.url = f"/v2/{issued.json()['token']['project']['id']}/workforces"
    assert other.ok("GET")["total_number"] == 0
    assert other.refused("GET", f"/{team_id}") == (400, "ModelArts.4601")
    other.create("aa")
    assert [one["workforce_id"] for one in teams.ok("GET")["workforces"]] == [team_id]


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"workforce_name": ""},
        {"workforce_name": "x" * 65},
        {"workforce_name": "two words"},
        {"workforce_name": None},
        {"workforce_name": "ok", "description": "x" * 257},
        {"workforce_name": "ok", "description": "a<b"},
        {"workforce_name": "ok", "description": None},
    ],
)
def test_a_team_that_cannot_be_is_refused(teams: Teams, body: dict[str, Any]) -> None:
    assert teams.refused("POST", "", body) == (400, "ModelArts.0104")
    assert teams.ok("GET")["total_number"] == 0


@pytest.mark.wrong_requests
def test_unknown_fields_are_refused_if_asked_to(teams: Teams) -> None:
    teams.create("aa", colour="red")
    teams.emulator.variants.strict_requests = True
    assert teams.refused("POST", "", {"workforce_name": "bb", "colour": "red"}) == (400, "ModelArts.0104")
    assert teams.refused("GET", "", colour="red") == (400, "ModelArts.0104")


def test_names_and_numbers_of_teams(teams: Teams) -> None:
    first = teams.create("team-0")
    assert teams.refused("POST", "", {"workforce_name": "team-0"}) == (400, "ModelArts.4602")
    for number in range(1, 10):
        last = teams.create(f"team-{number}")
    assert teams.refused("POST", "", {"workforce_name": "team-10"}) == (400, "ModelArts.0118")
    assert teams.refused("PUT", f"/{last}", {"workforce_name": "team-0"}) == (400, "ModelArts.4602")
    teams.ok("DELETE", f"/{first}", status=204)
    assert teams.create("team-0") != first


def test_members(teams: Teams) -> None:
    team_id = teams.create("aa")
    worker_id = teams.add(team_id, "b@example.com", "0", description="My name is Tom")
    teams.emulator.clock.advance(1)
    manager = teams.add(team_id, "a@example.com", 2)
    worker = teams.ok("GET", f"/{team_id}/workers/{worker_id}")
    assert (worker["email"], worker["role"], worker["status"]) == ("b@example.com", 0, 0)
    assert (worker["description"], worker["workforce_id"]) == ("My name is Tom", team_id)
    assert teams.ok("GET", f"/{team_id}")["worker_count"] == 2

    def emails(tail: str = f"/{team_id}/workers", **query: Any) -> list[str]:
        return [one["email"] for one in teams.ok("GET", tail, **query)["workers"]]

    assert emails() == ["a@example.com", "b@example.com"]
    assert emails(order="asc") == ["b@example.com", "a@example.com"]
    assert emails(sort_by="email", order="asc") == ["a@example.com", "b@example.com"]
    assert teams.ok("PUT", f"/{team_id}/workers/{worker_id}", {"role": 1, "description": ""}) == {}
    assert teams.ok("GET", f"/{team_id}/workers/{worker_id}")["role"] == 1
    # literal segments win over the id of a team; the role is "labeler" unless asked for
    assert emails("/workers") == []
    assert emails("/workers", role=1) == ["b@example.com"]
    assert emails("/workers", role=2) == ["a@example.com"]
    assert teams.ok("DELETE", f"/{team_id}/workers/{manager}", status=204) is None
    assert teams.refused("GET", f"/{team_id}/workers/{manager}") == (400, "ModelArts.4604")
    assert teams.refused("DELETE", f"/{team_id}/workers/{manager}") == (400, "ModelArts.4604")


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "body",
    [
        {"emails": "a@example.com"},
        {"role": 0},
        {"emails": ["a@example.com"], "role": 0},
        {"emails": "nobody", "role": 0},
        {"emails": "a@example.com", "role": 3},
        {"emails": "a@example.com", "role": True},
        {"emails": "a@example.com", "role": "0", "description": "it's"},
    ],
)
def test_a_member_that_cannot_be_is_refused(teams: Teams, body: dict[str, Any]) -> None:
    team_id = teams.create("aa")
    assert teams.refused("POST", f"/{team_id}/workers", body) == (400, "ModelArts.0104")
    assert teams.ok("GET", f"/{team_id}/workers")["total_number"] == 0


def test_a_team_has_one_manager_and_each_address_once(teams: Teams) -> None:
    team_id = teams.create("aa")
    worker_id = teams.add(team_id, "a@example.com")
    manager = teams.add(team_id, "m@example.com", 2)
    url = f"/{team_id}/workers"
    assert teams.refused("POST", url, {"emails": "a@example.com", "role": 1}) == (400, "ModelArts.4605")
    assert teams.refused("POST", url, {"emails": "n@example.com", "role": 2}) == (400, "ModelArts.4617")
    assert teams.refused("PUT", f"{url}/{worker_id}", {"role": 2}) == (400, "ModelArts.4617")
    assert teams.ok("PUT", f"{url}/{manager}", {"role": 2}) == {}
    assert teams.ok("PUT", f"{url}/{manager}", {"role": 0}) == {}
    assert teams.ok("PUT", f"{url}/{worker_id}", {"role": 2}) == {}
    other = teams.create("bb")
    assert teams.add(other, "a@example.com") == worker_id, "one person, one id"


def test_a_team_has_a_hundred_members(teams: Teams) -> None:
    team_id = teams.create("aa")
    for number in range(100):
        body = {"emails": f"{number}@example.com", "role": 0}
        teams.ok("POST", f"/{team_id}/workers", body, status=201)
    body = {"emails": "one-more@example.com", "role": 0}
    assert teams.refused("POST", f"/{team_id}/workers", body) == (400, "ModelArts.0118")


def test_several_members_leave_at_once(teams: Teams) -> None:
    team_id = teams.create("aa")
    ids = [teams.add(team_id, f"{name}@example.com") for name in "abc"]
    answer = teams.ok("POST", f"/{team_id}/workers/batch-delete", {"workers": [ids[0], "nobody", ids[2]]})
    assert answer["success"] is False
    assert [one.get("error_code") for one in answer["results"]] == [None, "ModelArts.4604", None]
    assert [one["worker_id"] for one in teams.ok("GET", f"/{team_id}/workers")["workers"]] == [ids[1]]


def test_nobody_leaves_with_unfinished_work(teams: Teams) -> None:
    dataset_id = teams.emulator.load_proposals(2)
    teams.emulator.create_team_task(dataset_id, ["a@example.com"])
    (team,) = teams.ok("GET")["workforces"]
    (worker,) = teams.ok("GET", f"/{team['workforce_id']}/workers")["workers"]
    url = f"/{team['workforce_id']}/workers"
    assert teams.refused("DELETE", f"{url}/{worker['worker_id']}") == (400, "ModelArts.4628")
    answer = teams.ok("POST", f"{url}/batch-delete", {"workers": [worker["worker_id"]]})
    assert answer["results"][0]["error_code"] == "ModelArts.4628"
    assert teams.refused("DELETE", f"/{team['workforce_id']}") == (400, "ModelArts.4603")


def test_what_members_may_do_to_their_team(teams: Teams) -> None:
    team_id = teams.create("aa")
    worker_id = teams.add(team_id, "a@example.com")
    manager = teams.add(team_id, "m@example.com", 2)
    teams.emulator.team_member = "a@example.com"
    body = {"emails": "n@example.com", "role": 0}
    assert teams.refused("POST", f"/{team_id}/workers", body) == (401, "ModelArts.4630")
    assert teams.refused("DELETE", f"/{team_id}/workers/{manager}") == (401, "ModelArts.4630")
    assert teams.refused("POST", "", {"workforce_name": "bb"}) == (401, "ModelArts.4630")
    teams.emulator.team_member = "m@example.com"
    assert teams.ok("POST", f"/{team_id}/workers", body, status=201) == {}
    assert teams.refused("DELETE", f"/{team_id}/workers/{manager}") == (400, "ModelArts.4618")
    assert teams.ok("DELETE", f"/{team_id}/workers/{worker_id}", status=204) is None
    assert teams.refused("DELETE", f"/{team_id}") == (401, "ModelArts.4630")


def test_the_tasks_of_the_calling_member(teams: Teams) -> None:
    dataset_id = teams.emulator.load_proposals(3)
    first = teams.emulator.create_team_task(dataset_id, ["a@example.com"], reviewers=["r@example.com"])
    teams.emulator.clock.advance(1)
    second = teams.emulator.create_team_task(dataset_id, ["a@example.com", "b@example.com"])
    assert teams.ok("GET", "/worker-tasks") == {"count": 0, "worker_tasks": []}, "the owner is no member"

    def tasks(email: str, **query: Any) -> list[str]:
        teams.emulator.team_member = email
        return [one["task_id"] for one in teams.ok("GET", "/worker-tasks", **query)["worker_tasks"]]

    assert tasks("a@example.com") == [second, first]
    assert tasks("a@example.com", order="asc", sort_by="workforce_task_name") == [first, second]
    assert tasks("a@example.com", search_content="task-2") == [second]
    assert tasks("b@example.com") == [second]
    assert tasks("r@example.com") == [first]
    (task,) = teams.ok("GET", "/worker-tasks")["worker_tasks"]
    assert (task["role"], task["task_status"], task["dataset_type"]) == (1, 1, 0)
    assert task["sample_stats"]["total_sample_count"] == 3
