"""Team labeling tasks, from their creation to the acceptance (contract 5.1, 5.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import AcceptanceAction, MailStatus, TeamTaskState, WorkerRole
from airflow_provider_modelarts.client.errors import (
    DatasetBusy,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    ServiceUnavailable,
    Throttled,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

pytestmark = pytest.mark.usefixtures("moved_clock")

TASKS = "/workforce-tasks"
A, B, M = "a@example.com", "b@example.com", "m@example.com"


class Project:
    """A dataset of six samples and a team of two labelers and a manager."""

    def __init__(self, client: ModelArtsClient, emulator: Emulator) -> None:
        self.client, self.emulator = client, emulator
        self.dataset_id = emulator.load_proposals(6)
        self.dataset = emulator.dataset(self.dataset_id)
        self.ids = list(self.dataset.samples)
        self.team_id = client.workforces.create("night-shift")
        roles = {A: 0, B: 0, M: 2}
        self.workers = {
            email: client.workforces.create_worker(self.team_id, email, role).worker_id for email, role in roles.items()
        }
        self.config = {"workforces": [{"workforce_id": self.team_id, "workers": [{"email": A}, {"email": B}]}]}

    def create(self, name: str = "job-1", **more: Any) -> str:
        task_id = self.client.team_tasks.create(self.dataset_id, name, workforces_config=self.config, **more)
        self.wait()
        return task_id

    def wait(self) -> None:
        self.emulator.clock.advance(self.emulator.team_seconds)

    def get(self, task_id: str, **more: bool) -> Any:
        return self.client.team_tasks.get(self.dataset_id, task_id, **more)

    def label(self, task_id: str, name: str) -> None:
        for sample_id, worker_id in self.dataset.team_copies(task_id):
            self.dataset.label_team_sample(task_id, sample_id, name, worker_id)

    def in_acceptance(self, name: str) -> str:
        """Return a team task whose copies have a label; one was drawn for the acceptance."""
        task_id = self.create()
        self.label(task_id, name)
        self.client.team_tasks.start_acceptance(self.dataset_id, task_id, sampling_num=1)
        self.wait()
        return task_id

    def comments(self, task_id: str, *, accept: bool) -> list[dict[str, Any]]:
        found = self.client.team_samples.list(self.dataset_id, task_id, sample_state="__WORKFORCE_SAMPLED__")
        return [{"sample_id": one.sample_id, "worker_id": one.worker_id, "accept": accept} for one in found]


@pytest.fixture
def project(client: ModelArtsClient, emulator: Emulator) -> Project:
    return Project(client, emulator)


@pytest.fixture
def name(project: Project) -> str:
    """A label of the dataset."""
    return next(iter(project.dataset.labels))


def test_a_team_task_from_its_creation_to_its_end(project: Project, name: str) -> None:
    tasks, dataset_id = project.client.team_tasks, project.dataset_id
    task_id = tasks.create(dataset_id, "job-1", workforces_config=project.config, description="by night")
    assert project.get(task_id).status == TeamTaskState.STARTING
    project.wait()
    task = project.get(task_id, sample_stats=True, workforce_stats=True, label_stats=True)
    assert (task.task_name, task.description, task.dataset_id) == ("job-1", "by night", dataset_id)
    assert (task.status, task.is_terminal, task.repetition) == (TeamTaskState.RUNNING, False, 1)
    assert (task.synchronize_data, task.synchronize_auto_labeling_data, task.auto_sync_dataset) == (False, False, True)
    assert (task.sample_stats.total_sample_count, task.workforce_stats.labeler_count) == (6, 2)
    assert {one.name for one in task.label_stats} == set(project.dataset.labels)
    assert [(one.email, one.sample_stats.total_sample_count) for one in task.worker_stats] == [(A, 3), (B, 3)]
    (team,) = task.teams
    assert (team.workforce_id, team.workforce_name) == (project.team_id, "night-shift")
    assert [(one.email, one.worker_id, one.role) for one in team.workers] == [
        (email, project.workers[email], WorkerRole.LABELER) for email in (A, B)
    ]
    assert [one.task_id for one in tasks.list(dataset_id)] == [task_id]
    with pytest.raises(PreconditionFailed, match="4625"):
        tasks.start_acceptance(dataset_id, task_id, sampling_rate=1)
    project.label(task_id, name)
    assert tasks.metrics(dataset_id, task_id)[A]["uncheck"] == 3
    assert tasks.stats(dataset_id, task_id).samples["uncheck"] == 6
    assert tasks.stats(dataset_id, task_id, sample_state="__ACCEPTED__").samples["total"] == 0

    checking = tasks.start_acceptance(dataset_id, task_id, sampling_rate=0.5)
    assert project.get(task_id).status == TeamTaskState.SAMPLING
    with pytest.raises(DatasetBusy):
        tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.PASS_ALL)
    project.wait()
    first, *others = project.comments(task_id, accept=True)
    tasks.comment_acceptance(dataset_id, task_id, [{**first, "score": "A", "comment": "good"}])
    tasks.comment_acceptance(dataset_id, task_id, [{**others[0], "accept": False}])
    for asked in (checking, None):
        report = tasks.acceptance_report(dataset_id, task_id, asked)
        assert report.checking_stats is not None
        assert (report.checking_stats.sampled_sample_count, report.checking_stats.checked_sample_count) == (3, 2)
        assert (report.checking_stats.pass_rate, report.checking_stats.score) == (0.5, "A")
    assert [project.dataset.names_of(one) for one in project.ids] == [[]] * 6
    assert tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.PASS_ACCEPTED_AND_UNJUDGED) == ()
    assert project.get(task_id).status == TeamTaskState.SYNCHRONIZING
    project.wait()
    task = project.get(task_id)
    assert (task.status, task.is_terminal) == (TeamTaskState.REJECTED, False)
    assert (task.checking_task_id, task.checking_task_desc.action) == (
        checking,
        AcceptanceAction.PASS_ACCEPTED_AND_UNJUDGED,
    )
    assert sorted(project.dataset.names_of(one) for one in project.ids) == [[], *[[name]] * 5]


def test_conflicts_are_listed_and_not_overwritten_unless_that_is_asked_for(project: Project, name: str) -> None:
    tasks, dataset_id = project.client.team_tasks, project.dataset_id
    task_id = project.in_acceptance(name)
    project.dataset.edit(project.ids[0], "something else")
    conflicts = tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.LIST_CONFLICTS)
    assert [(one.sample_id, one.label_names) for one in conflicts] == [(project.ids[0], [name])]
    tasks.finish_acceptance(dataset_id, task_id, 0, overwrite_last_result=False)
    project.wait()
    assert project.dataset.names_of(project.ids[0]) == ["something else"]
    assert project.get(task_id).is_terminal


def test_a_task_that_waits_for_its_manager_is_started_once(project: Project, emulator: Emulator) -> None:
    tasks, dataset_id = project.client.team_tasks, project.dataset_id
    task_id = tasks.create(dataset_id, "job-1", workforces_config={"agency": M})
    task = project.get(task_id)
    assert (task.status, task.agency, task.teams) == (TeamTaskState.CREATED, M, ())
    emulator.faults.add("POST", task_id, "reset")
    with pytest.raises(ServiceUnavailable, match="had not been carried out"):
        tasks.start(dataset_id, task_id, project.config)
    emulator.faults.add("POST", task_id, "reset_after")
    tasks.start(dataset_id, task_id, project.config)
    assert emulator.journal.count("POST", task_id) == 2
    project.wait()
    assert project.get(task_id).status == TeamTaskState.RUNNING
    with pytest.raises(PreconditionFailed, match="4621"):
        tasks.start(dataset_id, task_id, project.config)


def test_a_task_is_changed_and_deleted(project: Project, emulator: Emulator) -> None:
    tasks, dataset_id = project.client.team_tasks, project.dataset_id
    task_id = project.create(description="before")
    tasks.update(dataset_id, task_id, task_name="job-2", description="")
    task = project.get(task_id)
    assert (task.task_name, task.description) == ("job-2", "")
    assert tasks.find(dataset_id, "job-1") is None
    assert (tasks.find(dataset_id, "job-2") or task).task_id == task_id
    more = {"workforces": [{**project.config["workforces"][0], "workers": [{"email": A}, {"email": B}, {"email": M}]}]}
    emulator.faults.add("PUT", task_id, "reset_after")
    tasks.update(dataset_id, task_id, workforces_config=more)
    assert {one.email for one in project.get(task_id).teams[0].workers} == {A, B, M}
    emulator.faults.add("PUT", task_id, "reset")
    with pytest.raises(ServiceUnavailable, match="had not been carried out"):
        tasks.update(dataset_id, task_id, workforces_config=project.config)
    alone = {"workforces": [{"workforce_id": project.team_id, "workers": [{"email": A}]}]}
    with pytest.raises(PreconditionFailed, match="4628"):
        tasks.update(dataset_id, task_id, workforces_config=alone)
    lost = emulator.faults.add("DELETE", task_id, "reset_after")
    tasks.delete(dataset_id, task_id)
    assert lost.fired == 1
    assert list(tasks.list(dataset_id)) == []
    with pytest.raises(NotFound, match="workforce_task_id"):
        tasks.delete(dataset_id, task_id)


@pytest.mark.parametrize("form", ["addresses", "ids", "everybody"])
def test_new_people_are_found_however_they_were_named(project: Project, emulator: Emulator, form: str) -> None:
    task_id = project.create()
    workers = {
        "addresses": {"workers": [{"email": email} for email in project.workers]},
        "ids": {"workers": [{"worker_id": worker_id} for worker_id in project.workers.values()]},
        "everybody": {},
    }
    config = {"workforces": [{"workforce_id": project.team_id, **workers[form]}]}
    emulator.faults.add("PUT", task_id, "reset_after")
    project.client.team_tasks.update(project.dataset_id, task_id, workforces_config=config)
    assert len(project.get(task_id).teams[0].workers) == 3
    assert emulator.journal.count("PUT", task_id) == 1


@pytest.mark.parametrize(("fault", "made"), [("reset_after", True), ("reset", False), ("truncated", True)])
def test_a_creation_whose_reply_is_lost_is_not_repeated_and_can_be_looked_for(
    project: Project, emulator: Emulator, fault: str, *, made: bool
) -> None:
    emulator.faults.add("POST", TASKS, fault)
    with pytest.raises((ServiceUnavailable, UnexpectedResponse), match=r"team_tasks\.find"):
        project.create()
    assert emulator.journal.count("POST", TASKS) == 1
    assert (project.client.team_tasks.find(project.dataset_id, "job-1") is not None) is made


@pytest.mark.parametrize(("fault", "begun"), [("reset_after", True), ("reset", False)])
def test_an_acceptance_whose_reply_is_lost_is_not_begun_twice(
    project: Project, emulator: Emulator, name: str, fault: str, *, begun: bool
) -> None:
    task_id = project.create()
    project.label(task_id, name)
    emulator.faults.add("POST", "/acceptance", fault)
    with pytest.raises(ServiceUnavailable, match="checking_task_id"):
        project.client.team_tasks.start_acceptance(project.dataset_id, task_id, sampling_num=1)
    assert emulator.journal.count("POST", "/acceptance") == 1
    assert (project.get(task_id).checking_task_id is not None) is begun


@pytest.mark.parametrize("fault", ["reset_after", "reset"])
def test_after_a_lost_reply_the_end_of_an_acceptance_is_read(
    project: Project, emulator: Emulator, name: str, fault: str
) -> None:
    tasks, dataset_id = project.client.team_tasks, project.dataset_id
    task_id = project.in_acceptance(name)
    emulator.faults.add("PUT", "/acceptance/status", fault)
    if fault == "reset":
        with pytest.raises(ServiceUnavailable, match="had not been carried out"):
            tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.REJECT_ALL)
        assert project.get(task_id).status == TeamTaskState.IN_ACCEPTANCE
    else:
        tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.REJECT_ALL)
        project.wait()
        assert project.get(task_id).status == TeamTaskState.REJECTED
    assert emulator.journal.count("PUT", "/acceptance/status") == 1


def test_an_end_by_somebody_else_is_not_taken_for_ours(project: Project, emulator: Emulator, name: str) -> None:
    tasks, dataset_id = project.client.team_tasks, project.dataset_id
    task_id = project.in_acceptance(name)
    tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.REJECT_ALL)
    emulator.faults.add("PUT", "/acceptance/status", "reset")
    with pytest.raises(ServiceUnavailable, match="had not been carried out"):
        tasks.finish_acceptance(dataset_id, task_id, AcceptanceAction.PASS_ALL)


def test_mails(project: Project, make_client: Callable[..., ModelArtsClient]) -> None:
    task_id = project.create()
    tasks = make_client(retries=False).team_tasks
    tasks.notify(project.dataset_id, task_id, [A])
    with pytest.raises(Throttled, match="4627"):
        tasks.notify(project.dataset_id, task_id, [A])
    with pytest.raises(NotFound, match="4604"):
        tasks.notify(project.dataset_id, task_id, ["x@example.com"])
    mailed = {one.email: one.email_status for one in project.get(task_id, workforce_stats=True).worker_stats}
    assert mailed == {A: MailStatus.SENT, B: MailStatus.NOT_SENT}


def test_a_mail_that_was_no_success_is_an_error(project: Project, emulator: Emulator) -> None:
    task_id = project.create()
    emulator.faults.add("POST", "/notify", "status", status=200, body=json.dumps({"success": False}))
    with pytest.raises(UnexpectedResponse, match="no success"):
        project.client.team_tasks.notify(project.dataset_id, task_id, [A])


CONFIG = {"workforces": [{"workforce_id": "t"}]}
REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "name": (lambda tasks: tasks.create("d", "two words"), "task_name must be 1 to 64 letters"),
    "long name": (lambda tasks: tasks.create("d", "x" * 65), "task_name must be 1 to 64 letters"),
    "description": (lambda tasks: tasks.create("d", "n", description="x" * 257), "description must have at most 256"),
    "repetition": (lambda tasks: tasks.create("d", "n", repetition=0), "repetition must be at least 1"),
    "synchronization": (lambda tasks: tasks.create("d", "n", data_sync_type=4), "data_sync_type must be one of"),
    "flag": (lambda tasks: tasks.create("d", "n", auto_sync_dataset="maybe"), "auto_sync_dataset must be true or"),
    "conditions": (lambda tasks: tasks.create("d", "n", sample_conditions="{"), "search_conditions"),
    "both": (
        lambda tasks: tasks.create("d", "n", workforces_config={"agency": "m", **CONFIG}),
        "workforces_config must hold either agency or workforces",
    ),
    "misspelled": (
        lambda tasks: tasks.create("d", "n", workforces_config={"workforces": [{"workforce": "t"}]}),
        r"workforces_config\.workforces\[0\]\.workforce is unknown; is workforces?_\w+ meant",
    ),
    "address": (
        lambda tasks: tasks.start("d", "w", {"workforces": [{"workforce_id": "t", "workers": [{"email": "bob"}]}]}),
        r"workforces_config\.workforces\[0\]\.workers\[0\]\.email must be one e-mail address",
    ),
    "no teams": (lambda tasks: tasks.start("d", "w", None), "workforces_config is missing"),
    "new name": (lambda tasks: tasks.update("d", "w", task_name=""), "task_name must be 1 to 64"),
    "task": (lambda tasks: tasks.get("d", ""), "workforce_task_id"),
    "dataset": (lambda tasks: list(tasks.list("..")), "dataset_id"),
    "no mail": (lambda tasks: tasks.notify("d", "w", []), "emails must have at least 1"),
    "one mail": (lambda tasks: tasks.notify("d", "w", A), "emails must be a list"),
    "no sampling": (lambda tasks: tasks.start_acceptance("d", "w"), "either sampling_num or sampling_rate"),
    "two samplings": (
        lambda tasks: tasks.start_acceptance("d", "w", sampling_num=1, sampling_rate=1),
        "either sampling_num or sampling_rate",
    ),
    "none": (lambda tasks: tasks.start_acceptance("d", "w", sampling_num=0), "sampling_num must be at least 1"),
    "no share": (lambda tasks: tasks.start_acceptance("d", "w", sampling_rate=0), "sampling_rate must be above 0"),
    "too much": (lambda tasks: tasks.start_acceptance("d", "w", sampling_rate=1.1), "sampling_rate must be at most 1"),
    "no verdicts": (lambda tasks: tasks.comment_acceptance("d", "w", []), "comments must have at least 1"),
    "no verdict": (
        lambda tasks: tasks.comment_acceptance("d", "w", [{"sample_id": "s"}]),
        r"comments\[0\]\.accept is missing",
    ),
    "no sample": (
        lambda tasks: tasks.comment_acceptance("d", "w", [{"accept": True}]),
        r"comments\[0\]\.sample_id is missing",
    ),
    "twice": (
        lambda tasks: tasks.comment_acceptance("d", "w", [{"sample_id": "s", "accept": one} for one in (True, False)]),
        r"comments\[1\] names sample s once more",
    ),
    "grade": (
        lambda tasks: tasks.comment_acceptance("d", "w", [{"sample_id": "s", "accept": True, "score": "E"}]),
        r"comments\[0\]\.score must be one of",
    ),
    "action": (lambda tasks: tasks.finish_acceptance("d", "w", 6), "action must be one of"),
    "locale": (lambda tasks: tasks.finish_acceptance("d", "w", 0, locale="de"), "locale must be one of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_contract_does_not_allow_is_refused_before_it_is_sent(
    client: ModelArtsClient, emulator: Emulator, name: str
) -> None:
    call, text = REFUSED[name]
    with pytest.raises(InvalidRequest, match=text) as caught:
        call(client.team_tasks)
    assert caught.value.status is None
    assert emulator.journal.count(None, TASKS) == 0


def test_text_from_templates_is_converted(project: Project, emulator: Emulator) -> None:
    tasks = project.client.team_tasks
    task_id = tasks.create(
        project.dataset_id,
        "job-1",
        workforces_config=json.dumps(project.config),  # type: ignore[arg-type]
        repetition="2",  # type: ignore[arg-type]
        auto_sync_dataset="False",  # type: ignore[arg-type]
        sample_conditions={"hard": "0"},
    )
    sent = json.loads(emulator.journal.select("POST", TASKS)[-1].body)
    assert sent == {
        "task_name": "job-1",
        "workforces_config": project.config,
        "repetition": 2,
        "auto_sync_dataset": False,
        "sample_conditions": '[{"hard":"0"}]',
    }
    assert project.get(task_id).auto_sync_dataset is False


def test_states_that_are_not_known_stay_numbers(project: Project, emulator: Emulator) -> None:
    task_id = project.create()
    body = {"task_id": task_id, "status": 42, "checking_task_desc": {"action": 9}}
    emulator.faults.add("GET", task_id, "status", status=200, body=json.dumps(body))
    task = project.get(task_id)
    assert (task.status, task.is_terminal, task.checking_task_desc.action) == (42, False, 9)
    terminal = {state for state in TeamTaskState if state.is_terminal}
    passing = {state for state in TeamTaskState if state.is_passing}
    assert terminal == {TeamTaskState.PASSED}
    assert passing == {TeamTaskState.STARTING, TeamTaskState.SAMPLING, TeamTaskState.SYNCHRONIZING}


def test_an_answer_about_something_else_is_refused(project: Project, emulator: Emulator) -> None:
    task_id = project.create()
    emulator.faults.add("GET", task_id, "status", status=200, body=json.dumps({"task_id": "other", "status": 1}))
    with pytest.raises(UnexpectedResponse, match="names task_id other"):
        project.get(task_id)
    emulator.faults.add("GET", "/metrics", "status", status=200, body="{}")
    with pytest.raises(UnexpectedResponse, match="none of sample_stats"):
        project.client.team_tasks.metrics(project.dataset_id, task_id)


def test_no_acceptance_no_report(project: Project) -> None:
    task_id = project.create()
    with pytest.raises(NotFound, match="start_acceptance"):
        project.client.team_tasks.acceptance_report(project.dataset_id, task_id)
    with pytest.raises(NotFound, match="4631"):
        project.client.team_tasks.acceptance_report(project.dataset_id, task_id, "other")
