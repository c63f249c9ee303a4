"""The life of a team task: made once, started, accepted, its results read; a killed worker leaves no second one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_modelarts.client.errors import PreconditionFailed
from airflow_provider_modelarts.client.resources.team_tasks import TeamTasks
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.operators._service_job import ServiceJobOperator
from airflow_provider_modelarts.operators.samples import ModelArtsPlanConfirmationOperator
from airflow_provider_modelarts.operators.team_tasks import (
    ModelArtsCommentAcceptanceOperator,
    ModelArtsCreateTeamTaskOperator,
    ModelArtsFinishAcceptanceOperator,
    ModelArtsStartAcceptanceOperator,
    ModelArtsStartTeamTaskOperator,
    ModelArtsTeamResultsOperator,
)
from airflow_provider_modelarts.sensors.team_task import ModelArtsTeamTaskSensor
from airflow_provider_modelarts.utils.service_job import ServiceJobStore
from tests.support.operator_driver import Ending, StandInStore, drive
from tests.support.operator_tries import Crash, TaskTries, after, before

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.operator_tries import Moment

EMAIL = "labeler@example.com"
CREATE = "/workforce-tasks"
ACCEPTANCE = [("POST", "/acceptance"), ("POST", "/acceptance/batch-comment"), ("PUT", "/acceptance/status")]
POLICY = {"min_score": 0.7}
both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


class Night:
    """A dataset with proposals, a plan that leaves some of them to people, and a team of one."""

    def __init__(self, emulator: Emulator, clock: MovedClock, folder: Path) -> None:
        self.emulator, self.clock, self.folder = emulator, clock, folder
        emulator.team_seconds = 60
        self.dataset_id = emulator.load_proposals(60, hard_share=0.2)
        self.client = ModelArtsHook().client
        self.workforce_id = self.client.workforces.create("people")
        self.client.workforces.create_worker(self.workforce_id, EMAIL, role=0)
        self.config = {"workforces": [{"workforce_id": self.workforce_id, "workers": [{"email": EMAIL}]}]}
        self.plan_uri = f"file://{folder}/plan.jsonl"
        self.tries: dict[str, TaskTries] = {}
        self.has_store = True

    @property
    def dataset(self) -> Any:
        return self.emulator.dataset(self.dataset_id)

    def plan(self, **parameters: Any) -> Ending:
        given = {"dataset_id": self.dataset_id, "plan_uri": self.plan_uri, "policy": POLICY, **parameters}
        return self.run(ModelArtsPlanConfirmationOperator(task_id="plan", **given))

    def reviewed(self) -> set[str]:
        """The samples that the plan leaves to people."""
        plan = read_plan(Path(self.plan_uri.removeprefix("file://")))
        return {one.sample.sample_id for one in plan.samples() if one.decision.action == "review"}

    def tries_of(self, operator: BaseOperator) -> TaskTries:
        """Return the tries of a task, which are those of its id."""
        return self.tries.setdefault(
            operator.task_id, TaskTries(self.clock, store=StandInStore() if self.has_store else None)
        )

    def run(self, operator: BaseOperator) -> Ending:
        return self.tries_of(operator).run(operator)

    def attempt(self, operator: BaseOperator, *, crash: Moment | None = None) -> Ending | None:
        return self.tries_of(operator).attempt(operator, crash=crash)

    def clear(self, operator: BaseOperator) -> Ending:
        return self.tries_of(operator).clear(operator)

    def creator(self, **parameters: Any) -> ModelArtsCreateTeamTaskOperator:
        given = {"dataset_id": self.dataset_id, "workforce_task_name": "night", "workforces_config": self.config}
        return ModelArtsCreateTeamTaskOperator(task_id="create", **{**given, **parameters})

    def create(self, **parameters: Any) -> Ending:
        return self.run(self.creator(**parameters))

    def of_task(self, operator: type[BaseOperator], workforce_task_id: str, **parameters: Any) -> Any:
        given = {"dataset_id": self.dataset_id, "workforce_task_id": workforce_task_id, **parameters}
        return operator(task_id=operator.__name__, **given)

    def label(self, workforce_task_id: str, *, most: int | None = None) -> None:
        """Let people label the copies that wait for it."""
        copies = self.dataset.team_copies(workforce_task_id)
        waiting = [key for key, phase in copies.items() if phase in ("un_annotation", "auto_annotation", "rejected")]
        name = sorted(self.dataset.labels)[0]
        for sample_id, worker_id in waiting[:most]:
            self.dataset.label_team_sample(workforce_task_id, sample_id, name, worker_id)

    def labeled(self, **parameters: Any) -> str:
        """Return a team task that the team is through with."""
        self.plan()
        task_id = self.create(plan_uri=self.plan_uri, **parameters).result
        self.clock.sleep(90)
        self.label(task_id)
        return str(task_id)

    def count(self, method: str, path: str) -> int:
        return len(self.emulator.journal.select(method, match=lambda record: record.path.endswith(path)))

    @property
    def team_tasks(self) -> list[Any]:
        return list(self.client.team_tasks.list(self.dataset_id))


@pytest.fixture
def night(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> Night:
    return Night(emulator, moved_clock, tmp_path)


# --- creating


def test_a_team_gets_just_what_a_plan_leaves_to_people(night: Night) -> None:
    planned = night.plan()
    ending = night.create(plan_uri=night.plan_uri, plan_digest=planned.xcoms["plan_digest"])
    assert ending.error is None
    (task,) = night.team_tasks
    assert (ending.result, task.task_name) == (task.task_id, "night")
    night.clock.sleep(90)
    given_out = {sample_id for sample_id, _ in night.dataset.team_copies(task.task_id)}
    assert given_out == night.reviewed()
    assert 0 < len(given_out) == planned.result["review"] < 60


def test_many_samples_are_looked_for_in_parts(night: Night) -> None:
    night.plan(policy={"min_score": 1.0})
    assert night.create(plan_uri=night.plan_uri).error is None
    searches = night.emulator.journal.select("GET", "/data-annotations/samples")
    assert len(searches) > 1
    assert max(len(record.query["search_conditions"]) for record in searches) < 4000
    night.clock.sleep(90)
    assert {one for one, _ in night.dataset.team_copies(night.team_tasks[0].task_id)} == night.reviewed()


@pytest.mark.parametrize(
    ("made_by", "asked"),
    [
        ({"search_conditions": {"hard": "1"}}, {"search_conditions": {"hard": "0"}}),
        ({"search_conditions": {"hard": "1"}}, {}),
        ({"search_conditions": [{"hard": "1"}, {"sample_time": "day"}]}, {"search_conditions": {"hard": "1"}}),
    ],
    ids=["others", "none", "fewer"],
)
def test_a_team_task_of_the_name_with_other_conditions_is_not_taken_for_this_one(
    night: Night, made_by: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert night.create(**made_by).error is None
    ending = night.create(**asked)
    assert type(ending.error) is AirflowFailException
    assert "there already" in str(ending.error)
    again = night.create(**made_by)
    assert again.result == night.team_tasks[0].task_id
    assert len(night.team_tasks) == 1


@pytest.mark.parametrize("made_by", [{}, {"search_conditions": {"hard": "1"}}], ids=["all samples", "others"])
def test_a_team_task_of_other_samples_is_not_taken_for_that_of_a_plan(night: Night, made_by: dict[str, Any]) -> None:
    """One of all samples shows no conditions, as one does of which the service does not tell them."""
    night.plan()
    assert night.create(**made_by).error is None
    night.clock.sleep(90)
    ending = night.create(plan_uri=night.plan_uri)
    assert type(ending.error) is AirflowFailException
    assert "other samples than the plan" in str(ending.error)
    assert len(night.team_tasks) == 1


def test_a_team_task_of_another_team_is_not_taken_for_this_one(night: Night) -> None:
    first = night.create().result
    others = night.client.workforces.create("others")
    night.client.workforces.create_worker(others, "other@example.com", role=0)
    team = {"workforce_id": others, "workers": [{"email": "other@example.com"}]}
    ending = night.create(workforces_config={"workforces": [team]})
    assert type(ending.error) is AirflowFailException
    assert "other teams" in str(ending.error)
    assert night.create(workforces_config=None).result == first


@pytest.mark.parametrize("config", [{}, "{}", {"workforces": []}, {"workforces": None}, {"agency": ""}], ids=str)
def test_a_configuration_that_names_nobody_is_refused(night: Night, config: Any) -> None:
    """A task that nobody works on would wait for its start all night."""
    with pytest.raises(ParameterError, match="names neither teams"):
        night.creator(workforces_config=config)
    with pytest.raises(ParameterError, match="names neither teams"):
        night.of_task(ModelArtsStartTeamTaskOperator, "any", workforces_config=config)
    with pytest.raises(ParameterError, match="names neither teams"):
        night.creator(workforces_config=None, settings={"workforces_config": {}})
    with pytest.raises(ParameterError, match="names neither teams"):
        night.creator(workforces_config=None, extra={"workforces_config": {"unheard_of": 1}})
    with pytest.raises(ParameterError, match="workforces_config holds no fields"):
        night.creator(workforces_config=None, extra={"workforces_config": {}})
    assert night.team_tasks == []


def test_a_plan_that_leaves_nothing_to_people_skips_the_night(night: Night) -> None:
    night.plan(policy={"hard_examples": "confirm"})
    ending = night.create(plan_uri=night.plan_uri)
    assert type(ending.error) is AirflowSkipException
    strict = night.run(night.creator(plan_uri=night.plan_uri, if_nothing_to_review="fail"))
    assert type(strict.error) is AirflowFailException
    assert "leaves nothing to people" in str(strict.error)
    assert night.team_tasks == []


def test_nothing_is_made_where_the_search_takes_no_notice_of_the_places(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.plan()
    samples = type(night.client.samples)
    monkeypatch.setattr(samples, "list", lambda self, dataset_id, **_: night.client.proposals.list(dataset_id))
    ending = night.create(plan_uri=night.plan_uri)
    assert type(ending.error) is AirflowFailException
    assert "others" in str(ending.error)
    assert "No team task was made" in str(ending.error)
    assert night.count("POST", CREATE) == 0


def test_samples_that_were_deleted_since_are_left_out(night: Night) -> None:
    night.plan()
    gone = sorted(night.reviewed())[:2]
    night.dataset.lose_files(gone)
    night.client.sync.start(night.dataset_id)
    night.clock.sleep(3600)
    ending = night.create(plan_uri=night.plan_uri)
    assert ending.error is None
    night.clock.sleep(90)
    assert {one for one, _ in night.dataset.team_copies(ending.result)} == night.reviewed() - set(gone)


def test_another_plan_than_was_approved_is_refused(night: Night) -> None:
    night.plan()
    ending = night.create(plan_uri=night.plan_uri, plan_digest="0" * 64)
    assert type(ending.error) is AirflowFailException
    assert "digest" in str(ending.error)
    assert night.team_tasks == []


def test_what_is_there_already_is_found_by_its_name(night: Night) -> None:
    first = night.create(search_conditions={"hard": "1"}, settings={"description": "for people", "repetition": "1"})
    again = night.create(search_conditions={"hard": "1"})
    assert (first.error, again.error) == (None, None)
    assert first.result == again.result
    assert night.count("POST", CREATE) == 1
    (task,) = night.team_tasks
    assert task.description == "for people"


@pytest.mark.parametrize("fault", ["reset_after", "truncated"])
def test_after_a_lost_answer_the_team_task_is_looked_for(night: Night, fault: str) -> None:
    night.plan()
    rule = night.emulator.faults.add("POST", CREATE, fault)
    ending = night.create(plan_uri=night.plan_uri)
    assert rule.fired == 1
    assert ending.error is None
    assert [task.task_id for task in night.team_tasks] == [ending.result]


@pytest.mark.parametrize(
    "crash",
    [before(TeamTasks, "create"), after(TeamTasks, "create"), after(TeamTasks, "find")],
    ids=["before it is created", "before the answer", "before it is created, after the look"],
)
def test_a_killed_worker_leaves_no_second_team_task(night: Night, crash: Any) -> None:
    night.plan()
    assert night.attempt(night.creator(plan_uri=night.plan_uri), crash=crash) is None
    ending = night.create(plan_uri=night.plan_uri)
    assert ending.error is None
    assert [task.task_id for task in night.team_tasks] == [ending.result]


def test_an_unknown_team_is_an_error_that_no_retry_can_mend(night: Night) -> None:
    ending = night.create(workforces_config={"workforces": [{"workforce_id": "nobody"}]})
    assert type(ending.error) is AirflowFailException
    assert "ModelArts.4601" in str(ending.error)


# --- starting


def test_it_is_started_once(night: Night) -> None:
    task_id = night.create(workforces_config=None).result
    starter = night.of_task(ModelArtsStartTeamTaskOperator, task_id, workforces_config=night.config)
    assert night.attempt(starter, crash=after(TeamTasks, "start")) is None
    ending = night.run(starter)
    assert (ending.error, ending.result) == (None, task_id)
    assert night.count("POST", task_id) == 1
    night.clock.sleep(90)
    assert night.dataset.team_status(task_id) == 1


def test_a_start_without_labelers_is_refused(night: Night) -> None:
    task_id = night.create(workforces_config=None).result
    config = {"workforces": [{"workforce_id": night.workforce_id, "workers": []}]}
    ending = night.run(night.of_task(ModelArtsStartTeamTaskOperator, task_id, workforces_config=config))
    assert type(ending.error) is AirflowFailException
    assert "4621" in str(ending.error)


# --- acceptance


@both_ways
def test_the_whole_life(night: Night, deferrable: bool) -> None:
    night.plan()
    ids = night.reviewed()
    task_id = night.create(plan_uri=night.plan_uri).result
    night.clock.sleep(90)
    sensor = night.of_task(ModelArtsTeamTaskSensor, task_id, deferrable=deferrable, timeout=60)
    assert "was not over at the deadline" in str(night.run(sensor).error)
    night.label(task_id)
    waited = night.run(night.of_task(ModelArtsTeamTaskSensor, task_id, deferrable=deferrable))
    assert waited.result["awaiting_acceptance"] == len(ids)
    begun = night.run(
        night.of_task(ModelArtsStartAcceptanceOperator, task_id, sampling_rate="1.0", deferrable=deferrable)
    )
    assert begun.error is None
    assert (begun.result["status"], begun.result["drawn"]) == ("in acceptance", len(ids))
    copies = [
        {"sample_id": one.sample_id, "worker_id": one.worker_id, "accept": place > 0}
        for place, one in enumerate(night.client.team_samples.list(night.dataset_id, task_id))
    ]
    judged = night.run(night.of_task(ModelArtsCommentAcceptanceOperator, task_id, comments=json.dumps(copies)))
    assert judged.result == {"judged": len(ids), "accepted": len(ids) - 1, "rejected": 1, "changed": 0}
    ended = night.run(
        night.of_task(ModelArtsFinishAcceptanceOperator, task_id, action="pass_accepted", deferrable=deferrable)
    )
    assert ended.error is None
    assert (ended.result["status"], ended.result["action"]) == ("rejected", "pass_accepted")
    sure = {key for key in night.dataset.samples if night.dataset.names_of(key)}
    assert sure == ids - {copies[0]["sample_id"]}
    uri = f"file://{night.folder}/results.jsonl"
    results = night.run(night.of_task(ModelArtsTeamResultsOperator, task_id, results_uri=uri))
    assert results.error is None
    assert (results.result["copies"], results.result["rejected"]) == (len(ids), 1)
    lines = [json.loads(line) for line in Path(uri.removeprefix("file://")).read_text().splitlines()]
    assert {line["sample_id"] for line in lines} == ids
    assert "http" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("action", "status", "reach_the_dataset"),
    [
        ("pass_all", "passed", True),
        (1, "rejected", False),
        ("2", "running", False),
        ("PASS_ACCEPTED_AND_UNJUDGED", "passed", True),
        ("pass_accepted", "rejected", False),
    ],
)
def test_each_action_ends_an_acceptance(night: Night, action: str | int, status: str, reach_the_dataset: bool) -> None:
    task_id = night.labeled()
    night.run(night.of_task(ModelArtsStartAcceptanceOperator, task_id, sampling_rate=1))
    ending = night.run(night.of_task(ModelArtsFinishAcceptanceOperator, task_id, action=action))
    assert ending.error is None
    assert ending.result["status"] == status
    assert any(map(night.dataset.names_of, night.dataset.samples)) == reach_the_dataset


def test_conflicts_are_listed_and_labels_of_the_dataset_stay(night: Night) -> None:
    task_id = night.labeled()
    first, last = sorted(night.dataset.labels)[0], sorted(night.dataset.labels)[-1]
    sample_id = sorted(night.reviewed())[0]
    night.dataset.edit(sample_id, last)
    night.run(night.of_task(ModelArtsStartAcceptanceOperator, task_id, sampling_rate=1))
    listed = night.run(night.of_task(ModelArtsFinishAcceptanceOperator, task_id, action="list_conflicts"))
    assert listed.result == {"conflicts": 1, "samples": [sample_id]}
    night.run(night.of_task(ModelArtsFinishAcceptanceOperator, task_id, action="pass_all"))
    assert night.dataset.names_of(sample_id) == [last]
    assert night.dataset.names_of(sorted(night.reviewed())[1]) == [first]


def test_without_results_no_acceptance_begins(night: Night) -> None:
    task_id = night.create().result
    night.clock.sleep(90)
    ending = night.run(night.of_task(ModelArtsStartAcceptanceOperator, task_id, sampling_num=1))
    assert type(ending.error) is AirflowFailException
    assert "4625" in str(ending.error)
    ending = night.run(night.of_task(ModelArtsFinishAcceptanceOperator, task_id, action=0))
    assert type(ending.error) is AirflowFailException
    assert PreconditionFailed.__name__ in str(ending.error)


def record_is_written(phase: str, *, written: bool) -> Moment:
    def patch_in(patch: pytest.MonkeyPatch) -> None:
        write = ServiceJobStore.write

        def write_or_die(store: ServiceJobStore, record: Any) -> None:
            if record.phase != phase:
                return write(store, record)
            if written:
                write(store, record)
            raise Crash

        patch.setattr(ServiceJobStore, "write", write_or_die)

    return patch_in


@pytest.mark.parametrize(
    "crash",
    [
        record_is_written("starting", written=True),
        after(TeamTasks, "start_acceptance"),
        after(TeamTasks, "finish_acceptance"),
        record_is_written("started", written=False),
        record_is_written("started", written=True),
        before(ServiceJobOperator, "_conclude"),
    ],
)
def test_a_killed_worker_begins_and_ends_an_acceptance_once(night: Night, crash: Any) -> None:
    task_id = night.labeled()
    begin, _, finish = acceptance(night, task_id)
    for operator in (begin, finish):
        ending = night.attempt(operator, crash=crash) or night.run(operator)
        assert ending.error is None
    assert night.count("POST", "/acceptance") == 1
    assert night.count("PUT", "/acceptance/status") == 1
    assert len(night.team_tasks) == 1


def acceptance(night: Night, task_id: str, **parameters: Any) -> list[BaseOperator]:
    """Return the operators of an acceptance in which all copies are judged."""
    comments = [
        {"sample_id": one.sample_id, "worker_id": one.worker_id, "accept": True, "comment": "fine", "score": "A"}
        for one in night.client.team_samples.list(night.dataset_id, task_id)
    ]
    return [
        night.of_task(ModelArtsStartAcceptanceOperator, task_id, sampling_rate=1),
        night.of_task(ModelArtsCommentAcceptanceOperator, task_id, comments=comments),
        night.of_task(ModelArtsFinishAcceptanceOperator, task_id, **{"action": "pass_all", **parameters}),
    ]


@pytest.mark.parametrize("has_store", [True, False])
def test_a_clear_of_an_acceptance_that_is_over_succeeds_and_sends_nothing(night: Night, has_store: bool) -> None:
    night.has_store = has_store
    operators = acceptance(night, night.labeled())
    first = [night.run(operator) for operator in operators]
    assert [ending.error for ending in first] == [None] * 3
    for _ in range(2):
        again = [night.clear(operator) for operator in operators]
        assert [ending.error for ending in again] == [None] * 3
        assert again[0].result["checking_task_id"] == first[0].result["checking_task_id"]
        assert [ending.result for ending in again[1:]] == [ending.result for ending in first[1:]]
    assert (night.count("POST", "/acceptance"), night.count("PUT", "/acceptance/status")) == (1, 1)


@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("action", ["pass_all", "reject_all", "cancel"])
def test_a_worker_that_is_killed_when_an_acceptance_is_over_ends_it_once(
    night: Night, action: str, has_store: bool
) -> None:
    night.has_store = has_store
    begin, _, finish = acceptance(night, night.labeled(), action=action)
    for operator in (begin, finish):
        assert night.attempt(operator, crash=before(ServiceJobOperator, "_conclude")) is None
        assert night.run(operator).error is None
    assert (night.count("POST", "/acceptance"), night.count("PUT", "/acceptance/status")) == (1, 1)


def test_a_clear_after_results_were_sent_back_accepts_what_was_labeled_since(night: Night) -> None:
    task_id = night.labeled()
    begin, _, finish = acceptance(night, task_id, action="reject_all")
    first = [night.run(begin), night.run(finish)]
    assert night.clear(finish).result == first[1].result
    night.label(task_id)
    begun, ended = night.clear(begin), night.clear(finish)
    assert (begun.error, ended.error) == (None, None)
    assert begun.result["checking_task_id"] != first[0].result["checking_task_id"]
    assert ended.result["checking_task_id"] == begun.result["checking_task_id"]
    assert (night.count("POST", "/acceptance"), night.count("PUT", "/acceptance/status")) == (2, 2)


@pytest.mark.parametrize("has_store", [True, False])
def test_a_clear_that_asks_for_another_end_of_an_acceptance_that_is_over_is_an_error(
    night: Night, has_store: bool
) -> None:
    """Success would say that labels have passed which were sent back."""
    night.has_store = has_store
    begin, _, finish = acceptance(night, night.labeled(), action="reject_all")
    assert [night.run(begin).error, night.run(finish).error] == [None, None]
    finish.action = "pass_all"  # type: ignore[attr-defined]
    ending = night.clear(finish)
    assert type(ending.error) is AirflowFailException
    assert night.count("PUT", "/acceptance/status") == 2, "the second one was refused"


def test_another_word_about_a_copy_after_the_acceptance_is_an_error(night: Night) -> None:
    task_id = night.labeled()
    operators = acceptance(night, task_id)
    for operator in operators:
        assert night.run(operator).error is None
    for changed in ({"accept": False}, {"comment": "no"}, {"score": "B"}):
        comments = [{**one, **changed} for one in operators[1].comments]  # type: ignore[attr-defined]
        ending = night.run(night.of_task(ModelArtsCommentAcceptanceOperator, task_id, comments=comments))
        assert type(ending.error) is AirflowFailException, changed


@pytest.mark.parametrize("fault", ["reset_after", "truncated"])
@pytest.mark.parametrize("path", ["/acceptance", "/acceptance/batch-comment", "/acceptance/status"])
def test_lost_answers_of_an_acceptance_repeat_nothing(night: Night, path: str, fault: str) -> None:
    operators = acceptance(night, night.labeled())
    rule = night.emulator.faults.add("*", path, fault, match=lambda call: call.method in ("POST", "PUT"))
    for operator in operators:
        assert night.run(operator).error is None
    assert rule.fired == 1
    assert [night.count(*sent) for sent in ACCEPTANCE] == [1, 1, 1]


@pytest.mark.parametrize(
    ("operator", "parameters", "complaint"),
    [
        (ModelArtsCreateTeamTaskOperator, {"plan_uri": "file:///p", "search_conditions": {"hard": "1"}}, "not both"),
        (ModelArtsCreateTeamTaskOperator, {"plan_digest": "0"}, "plan_uri with plan_digest"),
        (ModelArtsCreateTeamTaskOperator, {"workforce_task_name": "a name"}, "task_name"),
        (ModelArtsCreateTeamTaskOperator, {"workforce_task_name": "n" * 65}, "64"),
        (ModelArtsCreateTeamTaskOperator, {"workforce_task_name": ""}, "workforce_task_name is empty"),
        (ModelArtsCreateTeamTaskOperator, {"workforces_config": {"workforce": []}}, "workforces"),
        (ModelArtsCreateTeamTaskOperator, {"workforces_config": {"agency": "a@b.c", "workforces": []}}, "not both"),
        (ModelArtsCreateTeamTaskOperator, {"settings": {"repetition": 0}}, "repetition"),
        (ModelArtsCreateTeamTaskOperator, {"settings": {"repetitions": 1}}, "repetition"),
        (ModelArtsCreateTeamTaskOperator, {"search_conditions": []}, "no condition"),
        (ModelArtsCreateTeamTaskOperator, {"if_nothing_to_review": "continue"}, "if_nothing_to_review"),
        (ModelArtsStartAcceptanceOperator, {}, "either sampling_num or sampling_rate"),
        (ModelArtsStartAcceptanceOperator, {"sampling_num": 1, "sampling_rate": 1}, "either sampling_num"),
        (ModelArtsStartAcceptanceOperator, {"sampling_rate": 0}, "sampling_rate"),
        (ModelArtsStartAcceptanceOperator, {"sampling_num": 0}, "sampling_num"),
        (ModelArtsFinishAcceptanceOperator, {"action": "pass"}, r"pass_all \(0\)"),
        (ModelArtsFinishAcceptanceOperator, {"action": 6}, "action must be one of"),
        (ModelArtsFinishAcceptanceOperator, {"action": None}, "action must be one of"),
        (ModelArtsCommentAcceptanceOperator, {"comments": []}, "comments"),
        (ModelArtsCommentAcceptanceOperator, {"comments": None}, "comments is empty"),
        (ModelArtsCommentAcceptanceOperator, {"comments": "x"}, "comments must be a list"),
        (
            ModelArtsCommentAcceptanceOperator,
            {"comments": [{"sample_id": "s", "worker_id": "w", "accept": True}] * 2},
            "once more",
        ),
        (
            ModelArtsCommentAcceptanceOperator,
            {"comments": [{"sample_id": "s", "accept": True, "comment": "<b>"}]},
            "comment",
        ),
        (ModelArtsStartTeamTaskOperator, {"workforces_config": None}, "workforces_config is empty"),
        (ModelArtsTeamTaskSensor, {"until": "reviewed"}, "until"),
    ],
)
def test_wrong_parameters_are_found_when_the_dag_is_parsed(
    operator: Any, parameters: dict[str, Any], complaint: str
) -> None:
    named = "workforce_task_name" if operator is ModelArtsCreateTeamTaskOperator else "workforce_task_id"
    with pytest.raises(ParameterError, match=complaint):
        operator(task_id="t", **{"dataset_id": "d", named: "night", **parameters})


@pytest.mark.parametrize(
    ("operator", "parameters"),
    [
        (ModelArtsStartTeamTaskOperator, {"workforces_config": {"agency": "manager@example.com"}}),
        (ModelArtsStartAcceptanceOperator, {"sampling_num": 1}),
        (ModelArtsCommentAcceptanceOperator, {"comments": [{"sample_id": "s", "worker_id": "w", "accept": True}]}),
        (ModelArtsFinishAcceptanceOperator, {"action": 0}),
        (ModelArtsTeamResultsOperator, {}),
        (ModelArtsTeamTaskSensor, {}),
    ],
)
def test_an_unknown_team_task_is_an_error_that_no_retry_can_mend(
    night: Night, operator: Any, parameters: dict[str, Any]
) -> None:
    ending = drive(night.of_task(operator, "no-such-task", **parameters), night.clock, store=StandInStore())
    assert type(ending.error) is AirflowFailException
    assert "no-such-task" in str(ending.error)
