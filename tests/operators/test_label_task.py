"""Start and stop: what is sent, and what is said about a dataset that is not fit (B2, B7a, B22)."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators.label_task import (
    ModelArtsStartLabelTaskOperator,
    ModelArtsStopLabelTaskOperator,
)
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from tests.support.operator_driver import Ending, drive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operators.runners import StartRunner


# --- what is sent


def test_it_starts_returns_the_id_and_does_not_wait(starter: StartRunner) -> None:
    ending = starter.start()
    assert starter.emulator.dataset(starter.dataset_id).tasks == {ending.result: TaskState.QUEUED}
    marker = starter.body["config"]["name"]
    assert re.fullmatch(r"af-[0-9a-f]{16}-0", marker)
    assert starter.body == {"task_type": "auto-label", "config": {"name": marker}}
    assert starter.emulator.journal.count("GET", "/tasks/") == 0
    assert starter.clock.slept == []


def test_all_parameters_reach_the_service_and_text_is_as_good_as_values(starter: StartRunner) -> None:
    starter.start(
        label_task_type="auto-label",
        algorithm_type="accurate",
        collect_key_sample="true",
        config='{"n_clusters": "2", "name": "nightly"}',
    )
    name = starter.body["config"]["name"]
    assert re.fullmatch(r"nightly-af-[0-9a-f]{16}-0", name)
    assert starter.body == {
        "task_type": "auto-label",
        "collect_key_sample": True,
        "config": {"n_clusters": 2, "name": name, "algorithm_type": "accurate"},
    }


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"dataset_id": "None"}, "dataset_id is empty"),
        ({"label_task_type": "auto_label"}, "label_task_type must be one of auto-label, pre-label, auto-grouping"),
        ({"algorithm_type": "quick"}, "algorithm_type must be one of fast, accurate"),
        ({"collect_key_sample": "maybe"}, "collect_key_sample must be true or false"),
        ({"config": "{"}, "config must be a dict"),
        ({"config": {"algorithm_type": "slow"}}, "algorithm_type'] must be one of fast, accurate, not 'slow'"),
        ({"algorithm_type": "fast", "config": {"algorithm_type": "accurate"}}, "Give one of them"),
        ({"label_task_type": "pre-label"}, "pre-label runs a model: give its model_id"),
        ({"model_id": ""}, "model_id is empty"),
        ({"project_id": ""}, "project_id is empty"),
        ({"poll_interval": 0}, "poll_interval must be a duration"),
        *(
            ({name: value}, rf"^{name} {complaint}")
            for name in ("wait_for_completion", "deferrable", "cancel_on_kill", "cancel_on_timeout")
            for value, complaint in [
                ("no", "must be true or false, not 'no'"),
                (None, "is empty"),
                ("{{ params.wait }}", "is not templated: give the value itself, not '{{ params.wait }}'"),
                (object(), "is not templated"),
            ]
        ),
        ({"poll_interval": "{{ params.interval }}"}, "^poll_interval is not templated"),
        ({"timeout": "{{ params.timeout }}"}, "^timeout is not templated"),
        ({"if_running": "{{ params.other }}"}, "^if_running is not templated"),
        ({"if_running": None}, "^if_running must be one of"),
        ({"task_type": "pre-label"}, "^task_type is a name that Airflow keeps for itself: give label_task_type"),
        ({"timeout": timedelta(0)}, "timeout must be a duration"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        ModelArtsStartLabelTaskOperator(task_id="start", **{"dataset_id": "d", **parameters})


@pytest.mark.parametrize(
    ("rendered", "complaint"),
    [
        ({"dataset_id": ""}, "dataset_id is ''"),
        ({"algorithm_type": "None"}, "algorithm_type must be one of fast, accurate, not 'None'"),
        ({"config": "None"}, "config is empty ('None')"),
        ({"config": '{"algorithm_type": "slow"}'}, "must be one of fast, accurate, not 'slow'"),
        ({"label_task_type": "pre-label"}, "give its model_id"),
        ({"algorithm_type": "fast", "config": {"algorithm_type": "accurate"}}, "Give one of them."),
        ({"modelarts_conn_id": ""}, "modelarts_conn_id is ''"),
    ],
)
def test_what_a_template_got_wrong_is_said_before_anything_is_sent(
    starter: StartRunner, rendered: dict[str, Any], complaint: str
) -> None:
    operator = starter.operator()
    for name, value in rendered.items():
        setattr(operator, name, value)
    ending = drive(operator, starter.clock)
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert len(starter.emulator.journal) == 0
    assert ending.xcoms == {}


def test_flags_are_read_from_text() -> None:
    start = ModelArtsStartLabelTaskOperator(
        task_id="start",
        dataset_id="d",
        wait_for_completion="true",  # type: ignore[arg-type]
        deferrable="false",  # type: ignore[arg-type]
        cancel_on_kill="False",  # type: ignore[arg-type]
        cancel_on_timeout=" true ",  # type: ignore[arg-type]
    )
    assert (start.wait_for_completion, start.deferrable) == (True, False)
    assert (start.cancel_on_kill, start.cancel_on_timeout) == (False, True)


def test_flags_of_default_args_are_read_too() -> None:
    with DAG("defaults", schedule=None, default_args={"deferrable": "false", "cancel_on_kill": "no"}):
        with pytest.raises(ParameterError, match=r"^cancel_on_kill must be true or false, not 'no'"):
            ModelArtsStartLabelTaskOperator(task_id="start", dataset_id="d")
        assert ModelArtsStartLabelTaskOperator(task_id="s", dataset_id="d", cancel_on_kill=True).deferrable is False


@pytest.mark.parametrize(
    ("template", "name"),
    [("{{ ds_nodash }}", "20261127"), ("{{ when }}", "2026-11-27T01:02:00+00:00"), ("{{ ratio }}", "0.5")],
)
def test_what_native_rendering_makes_of_a_name_is_text_again(starter: StartRunner, template: str, name: str) -> None:
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        start = starter.operator(config={"name": template, "n_clusters": "{{ 2 }}"})
    start.render_template_fields(
        {"ds_nodash": "20261127", "when": datetime(2026, 11, 27, 1, 2, tzinfo=UTC), "ratio": 0.5}  # type: ignore[typeddict-item,typeddict-unknown-key]
    )
    assert drive(start, starter.clock).error is None
    assert starter.body["config"]["name"].startswith(f"{name}-af-")
    assert starter.body["config"]["n_clusters"] == 2


def test_what_json_cannot_say_is_refused_before_anything_is_sent(starter: StartRunner) -> None:
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        start = starter.operator(config={"flavor": {"code": "{{ thing }}"}})
    start.render_template_fields({"thing": object()})  # type: ignore[typeddict-item,typeddict-unknown-key]
    ending = drive(start, starter.clock)
    assert type(ending.error) is AirflowFailException
    assert "config['flavor']['code'] must be what JSON can say" in str(ending.error)
    assert len(starter.emulator.journal) == 0


def test_what_only_the_run_knows_is_not_asked_of_the_dag_file() -> None:
    for given in (
        {"label_task_type": "{{ params.kind }}"},
        {"label_task_type": "pre-label", "model_id": "{{ params.model_id }}"},
        {"algorithm_type": "fast", "config": {"algorithm_type": "{{ params.algorithm }}"}},
        {"algorithm_type": "{{ params.algorithm }}", "config": {"algorithm_type": "fast"}},
    ):
        ModelArtsStartLabelTaskOperator(task_id="start", dataset_id="d", **given)  # type: ignore[arg-type]


def test_kwargs_that_cannot_be_stored_orphan_nothing(starter: StartRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    serialize = ModelArtsLabelTaskTrigger.serialize

    def broken(self: ModelArtsLabelTaskTrigger) -> tuple[str, dict[str, Any]]:
        path, kwargs = serialize(self)
        return path, {**kwargs, "poll_interval": object()}

    monkeypatch.setattr(ModelArtsLabelTaskTrigger, "serialize", broken)
    ending = starter.start(wait_for_completion=True, deferrable=True)
    assert isinstance(ending.error, TypeError)
    assert len(starter.emulator.journal) == 0


# --- what the service says


def dataset_type_text(starter: StartRunner) -> None:
    starter.emulator.dataset(starter.dataset_id).dataset_type = 100


def nothing_labeled(starter: StartRunner) -> None:
    starter.dataset_id = starter.emulator.load_digits(labeled=0)


def too_few_labeled(starter: StartRunner) -> None:
    starter.dataset_id = starter.emulator.load_digits(labeled=20)


def nothing_unlabeled(starter: StartRunner) -> None:
    starter.dataset_id = starter.emulator.load_digits(labeled=1797)


def unknown_dataset(starter: StartRunner) -> None:
    starter.dataset_id = "no-such-dataset"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (dataset_type_text, ("ModelArts.4383", "image classification or object detection")),
        (nothing_labeled, ("ModelArts.4405", "Label images first")),
        (too_few_labeled, ("ModelArts.4406", "at least five images")),
        (nothing_unlabeled, ("ModelArts.4407", "unlabeled")),
        (unknown_dataset, ("ModelArts.4352", "Check dataset_id")),
    ],
)
def test_a_dataset_that_is_not_fit_fails_at_once_with_the_next_step_in_one_line(
    starter: StartRunner, prepare: Callable[[StartRunner], None], words: tuple[str, ...]
) -> None:
    prepare(starter)
    ending = starter.start(retries=3)
    assert type(ending.error) is AirflowFailException
    text = str(ending.error)
    for word in (*words, starter.dataset_id, "request id"):
        assert word in text
    assert "\n" not in text


def test_a_wrong_password_is_sent_once_for_a_hundred_mapped_tasks(
    starter: StartRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**starter.emulator.connection, "password": "wrong-passw0rd"}
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(wrong))
    for _ in range(100):
        ending = starter.start(retries=3)
        assert type(ending.error) is AirflowFailException
        assert "wrong-passw0rd" not in str(ending.error)
    assert starter.emulator.journal.count("POST", "/v3/auth/tokens") == 1


# --- stop


def stop(starter: StartRunner, **parameters: Any) -> Ending:
    given = {"dataset_id": starter.dataset_id, **parameters}
    return drive(ModelArtsStopLabelTaskOperator(task_id="stop", **given), starter.clock)


def test_stop_stops_and_may_be_repeated(starter: StartRunner) -> None:
    label_task_id = starter.start().result
    for _ in range(2):
        ending = stop(starter, label_task_id=label_task_id)
        assert (ending.error, ending.result) == (None, None)
        starter.clock.advance(60)
    assert starter.states == [TaskState.STOPPED]


def test_stop_leaves_a_finished_labeling_task_as_it_is(starter: StartRunner) -> None:
    label_task_id = starter.start().result
    starter.clock.advance(600)
    assert stop(starter, label_task_id=label_task_id).error is None
    assert starter.states == [TaskState.SUCCEEDED]


def test_stop_names_an_unknown_labeling_task(starter: StartRunner) -> None:
    ending = stop(starter, label_task_id="no-such-task")
    assert type(ending.error) is AirflowFailException
    assert "no-such-task" in str(ending.error)
    assert "\n" not in str(ending.error)


def test_the_hook_is_needed_only_when_the_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was looked up while the DAG was parsed")

    monkeypatch.setattr(ModelArtsHook, "get_connection", refuse)
    ModelArtsStartLabelTaskOperator(task_id="a", dataset_id="{{ params.x }}")
    ModelArtsStopLabelTaskOperator(task_id="b", dataset_id="d", label_task_id="t")


# --- a night without new images, and what the contract does not know


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_night_without_new_images_is_a_skip_if_wanted(starter: StartRunner, deferrable: bool) -> None:
    starter.dataset_id = starter.emulator.load_digits(labeled=1797)
    given = {"wait_for_completion": True, "deferrable": deferrable}
    assert type(starter.start(**given).error) is AirflowFailException
    ending = starter.start(if_nothing_to_label="skip", **given)
    assert type(ending.error) is AirflowSkipException
    assert "Nothing to label" in str(ending.error)
    assert starter.dataset_id in str(ending.error)
    assert starter.states == []


def test_only_the_lack_of_images_is_skipped(starter: StartRunner) -> None:
    starter.dataset_id = starter.emulator.load_digits(labeled=1)
    assert type(starter.start(if_nothing_to_label="skip").error) is AirflowFailException


def test_nothing_to_label_after_somebody_elses_task_is_a_skip_too(starter: StartRunner) -> None:
    client = ModelArtsHook().client
    client.tasks.start(starter.dataset_id)
    dataset = starter.emulator.dataset(starter.dataset_id)
    for sample_id, sample in dataset.samples.items():
        if not sample.labels:
            dataset.edit(sample_id, "1")
    ending = starter.start(if_running="wait", if_nothing_to_label="skip", wait_for_completion=True, deferrable=True)
    assert type(ending.error) is AirflowSkipException
    assert ending.deferrals == 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"config": {"new_setting": 1}}, "config.new_setting is unknown; if the service knows it, give it in extra"),
        ({"config": '{"stop_time": 0}'}, "config.stop_time must be at least 1, not 0"),
        ({"extra": {"config": {"stop_time": 5}}}, "extra.config.stop_time is a field of the request itself"),
        ({"extra": {"model_id": "m"}, "config": "{{ params.x }}"}, None),
        ({"extra": {"config": {"new_setting": 1}}, "algorithm_type": "fast"}, None),
    ],
)
def test_a_config_that_does_not_fit_is_found_when_the_dag_is_parsed(given: Any, complaint: str | None) -> None:
    expected = pytest.raises(ParameterError, match=complaint) if complaint else nullcontext()
    with expected:
        ModelArtsStartLabelTaskOperator(task_id="start", dataset_id="d", **given)


@pytest.mark.parametrize("value", [None, "ignore", "{{ params.x }}"])
def test_a_wrong_choice_is_found_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ParameterError, match="if_nothing_to_label"):
        ModelArtsStartLabelTaskOperator(task_id="start", dataset_id="d", if_nothing_to_label=value)


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "extra", [{"priority": "low", "config": {"seed": 7}}, '{"priority": "low", "config": {"seed": 7}}']
)
def test_what_the_contract_does_not_know_is_sent_as_it_is(starter: StartRunner, extra: Any) -> None:
    assert starter.start(config={"algorithm_type": "fast"}, extra=extra).error is None
    body = starter.body
    assert re.fullmatch(r"af-[0-9a-f]{16}-0", body["config"].pop("name"))
    assert body == {"task_type": "auto-label", "config": {"algorithm_type": "fast", "seed": 7}, "priority": "low"}


def test_what_the_contract_knows_has_no_place_in_extra(starter: StartRunner) -> None:
    operator = starter.operator()
    operator.extra = {"config": {"algorithm_type": "fast"}}  # as a template renders it
    ending = drive(operator, starter.clock)
    assert type(ending.error) is AirflowFailException
    assert "algorithm_type" in str(ending.error)
    assert starter.states == []
