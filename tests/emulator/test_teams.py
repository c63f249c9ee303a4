"""Team labeling tasks: who works on them, how far they are, mails (contract 5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.emulator.conftest import Caller


def test_statistics_of_a_team_task_come_when_they_are_asked_for(digits: Caller) -> None:
    chosen = digits.sample_ids(2)
    team = digits.emulator.create_team_task(digits.dataset_id, sample_ids=chosen)
    body = {"samples": [{"sample_id": chosen[0], "labels": [{"name": "3"}]}]}
    digits("PUT", f"/workforce-tasks/{team}/data-annotations/samples", json=body)
    statistics = {"sample_stats", "label_stats", "workforce_stats"}
    assert not statistics & set(digits.get(f"/workforce-tasks/{team}"))
    task = digits.get(f"/workforce-tasks/{team}", **dict.fromkeys(statistics, "true"))
    assert task["sample_stats"]["uncheck_sample_count"] == 1
    assert {row["name"]: row["sample_count"] for row in task["label_stats"]}["3"] == 1
    assert task["workforce_stats"] == {"workforce_count": 1, "labeler_count": 1, "reviewer_count": 0}


def test_unknown_team_things(digits: Caller) -> None:
    assert digits.refused("GET", "/workforce-tasks/unknown") == (400, "ModelArts.4619")
    team = digits.emulator.create_team_task(digits.dataset_id)
    url = f"/workforce-tasks/{team}/data-annotations/samples"
    assert digits.refused("PUT", url, json={"email": "x@y.z", "samples": []}) == (400, "ModelArts.4604")
    sample_id = digits.sample_ids(1)[0]
    (worker_id,) = digits.dataset.team_workers(team)
    digits.dataset.accept(team, sample_id, worker_id)
    assert digits.refused("GET", f"{url}/unknown") == (400, "ModelArts.4420")
    digits.dataset.status = 6
    assert digits.refused("PUT", url, json={"samples": []}) == (400, "ModelArts.4381")


# --- the life of a team task over HTTP


class Project:
    """A dataset with a small team: two labelers, a reviewer and a manager."""

    def __init__(self, digits: Caller) -> None:
        self.digits = digits
        self.emulator = digits.emulator
        self.teams = f"/v2/{digits.emulator.project_id}/workforces"
        self.team_id = self.ok("POST", self.teams, {"workforce_name": "night-shift"}, status=201)["workforce_id"]
        for email, role in PEOPLE.items():
            body = {"emails": email, "role": role}
            assert self.ok("POST", f"{self.teams}/{self.team_id}/workers", body, status=201) == {}
        listed = digits.get(f"{self.teams}/{self.team_id}/workers")["workers"]
        self.worker_ids = {one["email"]: one["worker_id"] for one in listed}

    def ok(self, method: str, tail: str, body: Any = None, *, status: int = 200, **query: Any) -> Any:
        response = self.digits(method, tail, json=body, params=query)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def refused(self, method: str, tail: str, body: Any = None, **query: Any) -> tuple[int, str]:
        return self.digits.refused(method, tail, json=body, params=query)

    def config(self, *emails: str) -> dict[str, Any]:
        team: dict[str, Any] = {"workforce_id": self.team_id}
        if emails:
            team["workers"] = [{"email": email} for email in emails]
        return {"workforces": [team]}

    def create(self, name: str = "job-1", *, start: bool = True, **body: Any) -> str:
        """Create a team task of all people, and let it start."""
        body = {"task_name": name, "workforces_config": self.config(), **body}
        task_id: str = self.ok("POST", "/workforce-tasks", body)["task_id"]
        if start:
            self.emulator.clock.advance(self.emulator.team_seconds)
        return task_id

    def task(self, task_id: str, **query: str) -> Any:
        return self.digits.get(f"/workforce-tasks/{task_id}", **query)

    def status(self, task_id: str) -> int:
        return int(self.task(task_id)["status"])


PEOPLE = {"a@example.com": 0, "b@example.com": 0, "r@example.com": 1, "m@example.com": 2}


@pytest.fixture
def project(digits: Caller) -> Project:
    return Project(digits)


def test_with_teams_a_task_starts_and_every_sample_has_one_labeler(project: Project) -> None:
    task_id = project.create(start=False, description="by night", repetition=1)
    assert project.status(task_id) == 0
    project.emulator.clock.advance(project.emulator.team_seconds)
    task = project.task(task_id, sample_stats="true", workforce_stats="true")
    assert (task["status"], task["task_name"], task["description"], task["repetition"]) == (1, "job-1", "by night", 1)
    assert task["sample_stats"]["total_sample_count"] == task["sample_stats"]["unannotated_sample_count"] == 1797
    assert task["workforce_stats"] == {"workforce_count": 1, "labeler_count": 2, "reviewer_count": 1}
    (team,) = task["workforces_config"]["workforces"]
    assert {one["email"]: one["role"] for one in team["workers"]} == PEOPLE
    shares = [one["sample_stats"]["total_sample_count"] for one in task["worker_stats"] if one["role"] == 0]
    assert sorted(shares) == [898, 899]
    assert len(project.digits.dataset.team_copies(task_id)) == 1797


def test_repetition_gives_each_sample_to_so_many_labelers(project: Project) -> None:
    task_id = project.create(repetition=2)
    copies = project.digits.dataset.team_copies(task_id)
    assert len(copies) == 2 * 1797
    assert {worker_id for _, worker_id in copies} == {project.worker_ids[one] for one in list(PEOPLE)[:2]}


def test_conditions_choose_the_samples_of_a_task(project: Project) -> None:
    condition = {"label_list": {"labels": [{"name": "3"}]}}
    task_id = project.create(sample_conditions=json.dumps([condition]))
    threes = {one for one in project.digits.dataset.samples if project.digits.dataset.names_of(one) == ["3"]}
    assert {sample_id for sample_id, _ in project.digits.dataset.team_copies(task_id)} == threes
    assert project.task(task_id)["sample_search_conditions"] == [condition]
    body = {"task_name": "job-2", "sample_conditions": "{"}
    assert project.refused("POST", "/workforce-tasks", body) == (400, "ModelArts.0104")


def test_a_manager_starts_what_waits_for_one(project: Project) -> None:
    task_id = project.create(workforces_config={"agency": "m@example.com"})
    assert project.status(task_id) == 6
    assert project.task(task_id)["workforces_config"] == {"agency": "m@example.com"}
    url = f"/workforce-tasks/{task_id}"
    start = {"workforces_config": project.config("a@example.com")}
    project.emulator.team_member = "a@example.com"
    assert project.refused("POST", url, start) == (403, "ModelArts.4600")
    project.emulator.team_member = "m@example.com"
    assert project.refused("POST", url, {"workforces_config": {"workforces": []}}) == (400, "ModelArts.4621")
    only_a_reviewer = {"workforces_config": project.config("r@example.com")}
    assert project.refused("POST", url, only_a_reviewer) == (400, "ModelArts.4621")
    assert project.refused("POST", url, {**start, "task_id": "other"}) == (400, "ModelArts.0104")
    assert project.ok("POST", url, start) == {}
    assert project.status(task_id) == 0
    project.emulator.clock.advance(project.emulator.team_seconds)
    assert project.status(task_id) == 1
    assert project.refused("POST", url, start) == (400, "ModelArts.4621")
    assert set(project.digits.dataset.team_workers(task_id).values()) == {"a@example.com"}


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"task_name": ""}, "0104"),
        ({"task_name": "x" * 65}, "0104"),
        ({"task_name": "no spaces"}, "0104"),
        ({"description": "x" * 257}, "0104"),
        ({"repetition": 0}, "0104"),
        ({"repetition": 3}, "4822"),
        ({"data_sync_type": 4}, "0104"),
        ({"synchronize_data": "yes"}, "0104"),
        ({"workforces_config": {"workforces": [{"workforce_id": "nobody"}]}}, "4601"),
        ({"workforces_config": {"workforces": []}}, "4621"),
        ({"workforces_config": {"agency": "a@example.com"}}, "4604"),
        ({"workforces_config": {"agency": "m@example.com", "workforces": [{}]}}, "0104"),
    ],
)
def test_a_task_that_cannot_be_is_refused(project: Project, wrong: dict[str, Any], code: str) -> None:
    body = {"task_name": "job-1", "workforces_config": project.config(), **wrong}
    assert project.refused("POST", "/workforce-tasks", body) == (400, f"ModelArts.{code}")
    assert project.digits.get("/workforce-tasks")["count"] == 0


def test_who_is_not_in_the_team_cannot_work_on_it(project: Project) -> None:
    body = {"task_name": "job-1", "workforces_config": project.config("stranger@example.com")}
    assert project.refused("POST", "/workforce-tasks", body) == (400, "ModelArts.4604")
    project.emulator.team_member = "a@example.com"
    assert project.refused("POST", "/workforce-tasks", {"task_name": "job-1"}) == (401, "ModelArts.4804")


@pytest.mark.parametrize("dataset_type", [3, 200, 201, 400, 600, 900])
def test_not_every_type_of_dataset_has_team_tasks(project: Project, dataset_type: int) -> None:
    project.digits.dataset.dataset_type = dataset_type
    assert project.refused("POST", "/workforce-tasks", {"task_name": "job-1"}) == (501, "ModelArts.4383")


def test_a_name_is_taken_once(project: Project) -> None:
    first, second = project.create("job-1"), project.create("job-2")
    assert project.refused("POST", "/workforce-tasks", {"task_name": "job-1"}) == (400, "ModelArts.4620")
    assert project.refused("PUT", f"/workforce-tasks/{second}", {"task_name": "job-1"}) == (400, "ModelArts.4620")
    assert project.ok("PUT", f"/workforce-tasks/{first}", {"task_name": "job-1"}) == {}, "its own name"
    assert project.ok("DELETE", f"/workforce-tasks/{first}", status=204) is None
    assert project.create("job-1") != first


@pytest.mark.wrong_requests
@pytest.mark.parametrize("description", ["a<b", "x" * 257, 'say "no"', "^", "a=b", "it's"])
def test_a_description_with_forbidden_characters_is_refused(project: Project, description: str) -> None:
    task_id = project.create(description="before")
    url = f"/workforce-tasks/{task_id}"
    assert project.refused("PUT", url, {"description": description}) == (400, "ModelArts.0104")
    assert project.task(task_id)["description"] == "before"
    assert project.ok("PUT", url, {"description": ""}) == {}
    assert project.task(task_id)["description"] == ""


def test_nobody_leaves_unfinished_work(project: Project) -> None:
    task_id = project.create(sample_conditions=json.dumps([{"label_list": {"labels": [{"name": "3"}]}}]))
    url = f"/workforce-tasks/{task_id}"
    alone = {"workforces_config": project.config("a@example.com")}
    assert project.refused("PUT", url, alone) == (400, "ModelArts.4628")
    dataset = project.digits.dataset
    for sample_id, worker_id in dataset.team_copies(task_id):
        if worker_id == project.worker_ids["b@example.com"]:
            dataset.label_team_sample(task_id, sample_id, "3", worker_id)
            dataset.accept(task_id, sample_id, worker_id)
    assert project.ok("PUT", url, alone) == {}
    assert list(dataset.team_workers(task_id).values()) == ["a@example.com"]
    labelers = {one["labelers"][0]["email"] for one in project.digits.get(f"{url}/data-annotations/samples")["samples"]}
    assert labelers <= {"a@example.com", "b@example.com"}


def test_a_deleted_task_is_gone_with_what_was_not_accepted(project: Project) -> None:
    task_id = project.create()
    dataset = project.digits.dataset
    (sample_id, worker_id), *_ = dataset.team_copies(task_id)
    before = dataset.labels_of(sample_id)
    dataset.label_team_sample(task_id, sample_id, "3", worker_id)
    project.emulator.team_member = "a@example.com"
    assert project.refused("DELETE", f"/workforce-tasks/{task_id}") == (403, "ModelArts.4600")
    project.emulator.team_member = None
    project.ok("DELETE", f"/workforce-tasks/{task_id}", status=204)
    assert project.refused("GET", f"/workforce-tasks/{task_id}") == (400, "ModelArts.4619")
    assert project.refused("DELETE", f"/workforce-tasks/{task_id}") == (400, "ModelArts.4619")
    assert dataset.labels_of(sample_id) == before


def test_proposals_reach_the_members_of_a_task_that_was_there_before_them(project: Project) -> None:
    without = project.create("without")
    task_id = project.create("with", synchronize_auto_labeling_data=True)
    project.digits.finish()
    after = project.create("after", synchronize_auto_labeling_data=True)
    counts = {one: project.task(one, sample_stats="true")["sample_stats"] for one in (task_id, without, after)}
    waiting = project.digits.dataset.unconfirmed
    assert waiting > 1000
    assert counts[task_id]["auto_annotation_sample_count"] == waiting
    assert counts[without]["auto_annotation_sample_count"] == counts[after]["auto_annotation_sample_count"] == 0
    url = f"/workforce-tasks/{task_id}/data-annotations/samples"
    shown = project.digits.get(url, sample_state="__AUTO_ANNOTATION__")
    assert shown["sample_count"] == waiting
    assert shown["samples"][0]["labels"][0]["score"] > 0
    assert shown["samples"][0]["sample_status"] == "UN_ANNOTATION"


def test_samples_that_come_later_are_given_out_where_that_was_asked_for(project: Project) -> None:
    following, standing = project.create("follows", data_sync_type=1), project.create("stands")
    label = {"name": "3", "type": 0}
    project.digits.dataset.propose([{"sample_id": "new-one", "labels": [label]}])
    totals = [
        project.task(one, sample_stats="true")["sample_stats"]["total_sample_count"] for one in (following, standing)
    ]
    assert totals == [1798, 1797]


def test_a_mail_is_not_repeated_within_a_minute(project: Project) -> None:
    task_id = project.create()
    url = f"/workforce-tasks/{task_id}/notify"
    assert project.refused("POST", url, {"emails": ["x@example.com"]}) == (400, "ModelArts.4604")
    assert project.ok("POST", url, {"emails": ["a@example.com"]}) == {"success": True}
    assert project.refused("POST", url, {"emails": ["b@example.com", "a@example.com"]}) == (400, "ModelArts.4627")
    assert project.ok("POST", url, {"emails": ["b@example.com"]}) == {"success": True}, "nothing was sent before"
    project.emulator.clock.advance(60)
    assert project.ok("POST", url, {"emails": ["a@example.com"]}) == {"success": True}
    task = project.task(task_id, workforce_stats="true")
    mailed = {one["email"]: one["email_status"] for one in task["worker_stats"]}
    assert mailed == {"a@example.com": 3, "b@example.com": 3, "r@example.com": 0}
    worker = project.digits.get(f"{project.teams}/{project.team_id}/workers/{project.worker_ids['a@example.com']}")
    assert worker["status"] == 1


def test_progress_by_member_and_by_state(project: Project) -> None:
    task_id = project.create()
    dataset = project.digits.dataset
    mine = [key for key in dataset.team_copies(task_id) if key[1] == project.worker_ids["a@example.com"]][:3]
    for sample_id, worker_id in mine:
        dataset.label_team_sample(task_id, sample_id, "3", worker_id)
    dataset.review(task_id, *mine[0][:1])
    dataset.review(task_id, mine[1][0], accept=False)
    metrics = project.digits.get(f"/workforce-tasks/{task_id}/metrics")["sample_stats"]
    own = metrics["a@example.com"]
    assert (own["uncheck"], own["rejected"], own["unreviewed"], own["accepted"]) == (1, 1, 1, 0)
    assert metrics["b@example.com"]["un_annotation"] == 898
    stats = project.digits.get(f"/workforce-tasks/{task_id}/data-annotations/stats")
    assert stats["sample_stats"]["total"] == 1797
    assert {one["name"]: one["sample_count"] for one in stats["label_stats"]}["3"] == 3
    stats = project.digits.get(f"/workforce-tasks/{task_id}/data-annotations/stats", sample_state="__REJECTED__")
    assert (stats["sample_stats"]["total"], stats["sample_stats"]["rejected"]) == (1, 1)
