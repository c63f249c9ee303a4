"""Members' copies in a team labeling task, and mails: parameters in, one call, counts out (contract 5.2, B13, B19)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import ConfirmationError, InvalidRequest
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators.teams import (
    ModelArtsClearTeamSamplesOperator,
    ModelArtsNotifyTeamOperator,
    ModelArtsReviewTeamSamplesOperator,
    ModelArtsUpdateTeamSamplesOperator,
)
from tests.support.dag_runner import run_dag, run_operator
from tests.support.on_request import AlarmOnRequest
from tests.support.operator_driver import Ending, StandInStore, TaskStates, drive
from tests.support.operator_tries import TaskTries

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

EMAIL = "labeler@example.com"


class Team:
    """A dataset with a team labeling task and one member."""

    def __init__(self, emulator: Emulator, clock: MovedClock) -> None:
        self.emulator, self.clock = emulator, clock
        self.dataset_id = emulator.load_digits(labeled=100)
        dataset = emulator.dataset(self.dataset_id)
        self.sample_ids = list(dataset.samples)[:3]
        self.task_id = emulator.create_team_task(self.dataset_id, [EMAIL], sample_ids=self.sample_ids)
        (self.worker_id,) = dataset.team_workers(self.task_id)

    def samples(self, label: str = "7") -> list[dict[str, Any]]:
        return [{"sample_id": one, "worker_id": self.worker_id, "labels": [{"name": label}]} for one in self.sample_ids]

    def operator(self, kind: Any = ModelArtsUpdateTeamSamplesOperator, **parameters: Any) -> Any:
        given = {"dataset_id": self.dataset_id, "workforce_task_id": self.task_id, **parameters}
        if kind is ModelArtsUpdateTeamSamplesOperator:
            given = {"worker_email": EMAIL, **given}
        return kind(task_id="update", **given)

    def tries(self, *, keeps: bool = True) -> TaskTries:
        """Return the tries of a task, five minutes apart."""
        return TaskTries(self.clock, store=StandInStore() if keeps else None, pause=300)

    def update(self, **parameters: Any) -> Ending:
        return drive(self.operator(**parameters), self.clock)

    def names(self) -> list[str]:
        dataset = self.emulator.dataset(self.dataset_id)
        return [dataset.team_labels_of(self.task_id, one, self.worker_id)[0]["name"] for one in self.sample_ids]


@pytest.fixture
def team(emulator: Emulator, moved_clock: MovedClock) -> Team:
    return Team(emulator, moved_clock)


@pytest.mark.parametrize("form", ["list", "text", "json file", "json lines"])
def test_samples_are_given_as_list_as_text_or_as_file(team: Team, tmp_path: Path, form: str) -> None:
    file = tmp_path / "samples"
    samples: Any = {"samples": team.samples()}
    if form == "text":
        samples = {"samples": json.dumps(team.samples())}
    elif form == "json file":
        file.write_text(json.dumps(team.samples()))
        samples = {"samples_uri": f"file://{file}"}
    elif form == "json lines":
        file.write_text("".join(json.dumps(sample) + "\n" for sample in team.samples()))
        samples = {"samples_uri": f"file://{file}"}
    ending = team.update(**samples)
    assert ending.error is None
    assert ending.result == {
        "samples": 3,
        "updated": 3,
        "unchanged": 0,
        "changed": 0,
        "failed": 0,
        "unknown": 0,
        "requests": 1,
    }
    assert team.names() == ["7", "7", "7"]
    (record,) = team.emulator.journal.select("PUT", "/workforce-tasks/")
    assert json.loads(record.body)["email"] == EMAIL


def test_a_refused_sample_fails_the_task_after_the_counts_were_stored(team: Team) -> None:
    samples = team.samples()
    samples[1]["labels"] = [{"name": "no such label"}]
    ending = team.update(samples=samples)
    assert type(ending.error) is ConfirmationError
    assert team.sample_ids[1] in str(ending.error)
    assert "ModelArts.4410" in str(ending.error)
    counts = ending.xcoms["return_value"]
    assert (counts["samples"], counts["updated"], counts["failed"], counts["unknown"]) == (3, 2, 1, 0)


def test_an_unknown_team_task_fails_without_retries(team: Team) -> None:
    ending = team.update(workforce_task_id="no-such-task", samples=team.samples())
    assert type(ending.error) is AirflowFailException
    assert "no-such-task" in str(ending.error)


def test_airflows_own_addresses_are_left_to_airflow(team: Team) -> None:
    """Those for its alerts, where it is clear that they are no member's."""
    with DAG("alerts", schedule=None, default_args={"email": ["ops@example.com"]}):
        team.operator(samples=team.samples(), worker_email=None)
        mapped: Any = ModelArtsUpdateTeamSamplesOperator.partial(
            task_id="mapped", dataset_id=team.dataset_id, workforce_task_id=team.task_id
        ).expand(samples=[team.samples()])
    made = mapped.unmap({"samples": team.samples()})
    assert (made.worker_email, made.email) == (None, ["ops@example.com"])
    assert team.operator(samples=team.samples(), email="ops@example.com").worker_email == EMAIL


def test_labels_of_digits_may_come_as_numbers(team: Team) -> None:
    given = [{**sample, "labels": [{"name": 3}]} for sample in team.samples()]
    assert team.update(samples=given).result["updated"] == 3
    assert team.names() == ["3", "3", "3"]
    assert given[0]["labels"] == [{"name": 3}]
    again = [{**sample, "labels": [{"name": "3", "type": "0"}]} for sample in team.samples()]
    assert team.update(samples=again).result["unchanged"] == 3, "a template makes text of a number"
    other = [{**sample, "labels": [{"name": "4", "type": "0"}]} for sample in team.samples()]
    assert team.update(samples=json.dumps(other)).result["updated"] == 3


@pytest.mark.usefixtures("airflow_db")
def test_samples_come_from_mapped_tasks(team: Team) -> None:
    @task
    def label(sample_id: str) -> dict[str, Any]:
        return {"sample_id": sample_id, "worker_id": team.worker_id, "labels": [{"name": "3"}]}

    with DAG("mapped_samples", schedule=None) as dag:
        team.operator(samples=label.expand(sample_id=team.sample_ids))
    outcome = run_dag(dag)
    assert outcome.state == "success", outcome.log
    assert outcome.tasks["update"].xcom["updated"] == 3
    assert team.names() == ["3", "3", "3"]


@pytest.mark.parametrize(
    ("rendered", "complaint"),
    [
        ({"worker_email": "bob"}, "worker_email must be an e-mail address"),
        ({"samples": '[{"sample_id": "s", "labels": [{"name": "7"}], "bogus": 1}]'}, "bogus"),
    ],
)
def test_what_renders_wrongly_fails_without_retries_and_nothing_is_sent(
    team: Team, rendered: dict[str, Any], complaint: str
) -> None:
    operator = team.operator(samples=team.samples())
    for name, value in rendered.items():
        setattr(operator, name, value)
    ending = drive(operator, team.clock)
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert len(team.emulator.journal) == 0


@pytest.mark.parametrize("state", ["failed", "running"])
def test_after_a_user_has_ended_the_task_no_further_write_goes_out(
    team: Team, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    TaskStates(monkeypatch, update=state)
    # Copies of one sample travel apart, so these are two writes.
    (first, second) = (team.samples()[0], {**team.samples()[0], "worker_id": "f" * 32})
    operator = team.operator(samples=[first, second])
    team.emulator.observers.append(lambda record: operator.on_kill() if record.method == "PUT" else None)
    ending = drive(operator, team.clock, copies=False)
    assert type(ending.error) is ConfirmationError
    assert team.emulator.journal.count("PUT") == {"failed": 1, "running": 2}[state]
    assert ending.xcoms["return_value"]["updated"] == 1


@pytest.mark.usefixtures("airflow_db")
def test_an_execution_timeout_leaves_the_counts_of_what_was_written(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = team.samples() + [{**one, "worker_id": "f" * 32} for one in team.samples()]
    alarm = AlarmOnRequest(team.emulator, monkeypatch, "PUT", "workforce-tasks", after=1)
    run, log = run_operator(
        ModelArtsUpdateTeamSamplesOperator,
        dataset_id=team.dataset_id,
        workforce_task_id=team.task_id,
        samples=samples,
        execution_timeout=timedelta(hours=1),
    )
    assert alarm.has_sounded
    assert "AirflowTaskTimeout" in log
    assert run.xcom["updated"] == 3
    assert run.xcom["samples"] == 6


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "cannot be read: FileNotFoundError"), ("{", "holds neither")]
)
def test_a_file_that_cannot_be_used_is_named(team: Team, tmp_path: Path, content: str | None, complaint: str) -> None:
    file = tmp_path / "samples.json"
    if content is not None:
        file.write_text(content)
    ending = team.update(samples_uri=f"file://{file}")
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert str(file) in str(ending.error)
    assert team.emulator.journal.count("PUT") == 0


# --- retries, reviews and mails


def test_a_retry_writes_only_what_failed_and_what_nobody_has_changed(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = team.tries()
    operator = team.operator(samples=team.samples())
    team.emulator.faults.add("PUT", "/workforce-tasks/", "fail_sample", sample_id=team.sample_ids[2])
    assert type(tries.run(operator).error) is ConfirmationError
    team.emulator.dataset(team.dataset_id).label_team_sample(team.task_id, team.sample_ids[0], "3", team.worker_id)
    ending = tries.run(operator)
    assert ending.error is None
    counts = {"samples": 3, "updated": 1, "unchanged": 1, "changed": 1, "failed": 0, "unknown": 0, "requests": 1}
    assert ending.result == counts
    assert team.names() == ["3", "7", "7"]
    assert f"not overwritten: {team.sample_ids[0]}" in capsys.readouterr().out
    again = tries.clear(operator)
    assert again.result["updated"] == 1
    assert team.names() == ["7", "7", "7"]


def test_where_airflow_keeps_nothing_a_retry_replaces_no_labels(team: Team) -> None:
    tries = team.tries(keeps=False)
    operator = team.operator(samples=team.samples())
    team.emulator.faults.add("PUT", "/workforce-tasks/", "fail_sample", sample_id=team.sample_ids[2])
    tries.run(operator)
    team.emulator.dataset(team.dataset_id).label_team_sample(team.task_id, team.sample_ids[0], "3", team.worker_id)
    ending = tries.run(operator)
    assert type(ending.error) is ConfirmationError
    assert "new DAG run" in str(ending.error)
    assert team.names() == ["3", "7", "7"]
    assert ending.xcoms["return_value"]["updated"] == 1


def test_labels_are_taken_from_the_named_copies(team: Team) -> None:
    team.update(samples=team.samples())
    tries = team.tries()
    operator = team.operator(
        ModelArtsClearTeamSamplesOperator, samples=json.dumps(team.sample_ids[:2]), worker_email=EMAIL
    )
    assert tries.run(operator).result["updated"] == 2
    dataset = team.emulator.dataset(team.dataset_id)
    assert [len(dataset.team_labels_of(team.task_id, one, team.worker_id)) for one in team.sample_ids] == [0, 0, 1]
    dataset.label_team_sample(team.task_id, team.sample_ids[0], "3", team.worker_id)
    again = tries.run(operator)
    assert (again.error, again.result["changed"], again.result["unchanged"]) == (None, 1, 1)
    assert team.emulator.journal.count("PUT") == 2


def test_copies_are_reviewed_once(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = team.emulator.dataset(team.dataset_id)
    team.task_id = team.emulator.create_team_task(
        team.dataset_id, [EMAIL], sample_ids=team.sample_ids, reviewers=["r@example.com"]
    )
    (team.worker_id,) = dataset.team_workers(team.task_id)
    team.update(samples=team.samples())
    comments = [
        {"sample_id": one, "worker_id": team.worker_id, "accept": place > 0, "score": "B"}
        for place, one in enumerate(team.sample_ids)
    ]
    tries = team.tries()
    operator = team.operator(ModelArtsReviewTeamSamplesOperator, comments=json.dumps(comments))
    assert tries.run(operator).result == {"samples": 3, "accepted": 2, "rejected": 1, "unchanged": 0, "changed": 0}
    dataset.label_team_sample(team.task_id, team.sample_ids[0], "3", team.worker_id)
    again = tries.run(operator)
    assert again.result == {"samples": 3, "accepted": 0, "rejected": 0, "unchanged": 2, "changed": 1}
    assert "labeled again since an earlier try" in capsys.readouterr().out
    assert team.emulator.journal.count("POST", "/review") == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_members_are_mailed_once_also_if_the_answer_was_lost(team: Team, keeps: bool) -> None:
    tries = team.tries(keeps=keeps)
    operator = team.operator(ModelArtsNotifyTeamOperator, emails=json.dumps([EMAIL]))
    team.emulator.faults.add("POST", "/notify", "reset_after")
    assert tries.run(operator).result == {"members": 1, "mailed": 1, "mailed_before": 0}
    assert tries.run(operator).result == {"members": 1, "mailed": 0, "mailed_before": 1}
    assert team.emulator.journal.count("POST", "/notify") == 1


@pytest.mark.parametrize(
    ("kind", "parameters", "complaint"),
    [
        (ModelArtsUpdateTeamSamplesOperator, {}, "either samples or samples_uri"),
        (
            ModelArtsUpdateTeamSamplesOperator,
            {"samples": [], "samples_uri": "file:///x"},
            "either samples or samples_uri",
        ),
        (ModelArtsUpdateTeamSamplesOperator, {"samples": []}, "at least one sample"),
        (ModelArtsUpdateTeamSamplesOperator, {"samples": [{"sample_id": "s", "labels": []}]}, "has no labels"),
        (ModelArtsUpdateTeamSamplesOperator, {"samples": "not json"}, "no JSON"),
        (
            ModelArtsUpdateTeamSamplesOperator,
            {"samples": [{"sample_id": "s", "labels": [{"type": 0}]}]},
            "a label without a name",
        ),
        (
            ModelArtsUpdateTeamSamplesOperator,
            {"samples_uri": "file:///x", "worker_email": "bob"},
            "worker_email must be an e-mail address",
        ),
        (ModelArtsUpdateTeamSamplesOperator, {"samples_uri": "file:///x", "worker_email": ""}, "worker_email is empty"),
        (
            ModelArtsUpdateTeamSamplesOperator,
            {"samples_uri": "file:///x", "email": EMAIL},
            "email is a name .* give worker_email",
        ),
        (ModelArtsUpdateTeamSamplesOperator, {"samples": None}, "either samples or samples_uri"),
        (ModelArtsUpdateTeamSamplesOperator, {"samples": 5}, "at least one sample"),
        (ModelArtsUpdateTeamSamplesOperator, {"samples": [None]}, 'must be an object with a "sample_id"'),
        (
            ModelArtsUpdateTeamSamplesOperator,
            {"samples_uri": "file:///x", "workforce_task_id": "None"},
            "workforce_task_id is empty",
        ),
        (ModelArtsClearTeamSamplesOperator, {"samples": []}, "at least one sample"),
        (ModelArtsClearTeamSamplesOperator, {"samples": [{"sample_id": "s", "labels": []}]}, "nothing else"),
        (ModelArtsClearTeamSamplesOperator, {"samples": ["s"], "email": EMAIL}, "give worker_email"),
        (ModelArtsReviewTeamSamplesOperator, {"comments": []}, "comments"),
        (ModelArtsReviewTeamSamplesOperator, {"comments": [{"sample_id": "s"}]}, "accept is missing"),
        (
            ModelArtsReviewTeamSamplesOperator,
            {"comments": [{"sample_id": "s", "accept": True, "score": "F"}]},
            "score must be one of",
        ),
        (ModelArtsNotifyTeamOperator, {"emails": []}, "at least one"),
        (ModelArtsNotifyTeamOperator, {"emails": ["bob"]}, r"emails\[0\] must be an e-mail address"),
        (ModelArtsNotifyTeamOperator, {"emails": {"a": 1}}, "emails must be a list"),
        (ModelArtsNotifyTeamOperator, {"emails": [""]}, r"emails\[0\] is empty"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(
    kind: type[Any], parameters: dict[str, Any], complaint: str
) -> None:
    with pytest.raises((ParameterError, InvalidRequest), match=complaint):
        kind(task_id="it", **{"dataset_id": "d", "workforce_task_id": "w", **parameters})


@pytest.mark.parametrize("rendered", ["[]", "", "None", "null"])
def test_a_template_that_gives_no_copies_clears_nothing(team: Team, rendered: str) -> None:
    team.update(samples=team.samples())
    tries = team.tries()
    operator = team.operator(ModelArtsClearTeamSamplesOperator, samples="{{ doubtful }}", worker_email=EMAIL)
    operator.samples = rendered
    ending = tries.run(operator)
    assert type(ending.error) is AirflowFailException
    assert team.names() == ["7", "7", "7"]
    assert team.emulator.journal.count("PUT") == 1
