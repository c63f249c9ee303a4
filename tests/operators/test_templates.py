"""What was a template or another task's output in the DAG file must come to something when the task runs."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import pickle
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError, ParameterError
from airflow_provider_modelarts.operators.audit import ModelArtsEvaluateAuditOperator
from airflow_provider_modelarts.operators.export_labels import ModelArtsExportLabelsOperator
from airflow_provider_modelarts.operators.label_task import (
    ModelArtsStartLabelTaskOperator,
    ModelArtsStopLabelTaskOperator,
)
from airflow_provider_modelarts.operators.labels import ModelArtsEnsureLabelsOperator
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
    ModelArtsRevertConfirmationOperator,
)
from airflow_provider_modelarts.operators.team_tasks import (
    ModelArtsCommentAcceptanceOperator,
    ModelArtsCreateTeamTaskOperator,
    ModelArtsFinishAcceptanceOperator,
    ModelArtsStartAcceptanceOperator,
    ModelArtsStartTeamTaskOperator,
    ModelArtsTeamResultsOperator,
)
from airflow_provider_modelarts.operators.teams import (
    ModelArtsClearTeamSamplesOperator,
    ModelArtsNotifyTeamOperator,
    ModelArtsReviewTeamSamplesOperator,
    ModelArtsUpdateTeamSamplesOperator,
)
from airflow_provider_modelarts.sensors.label_task import ModelArtsLabelTaskSensor
from airflow_provider_modelarts.sensors.team_task import ModelArtsTeamTaskSensor
from tests.support.dag_runner import DagOutcome, run_dag
from tests.support.operator_driver import StandInTaskInstance, as_task_runner, context_of, moment

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.operators.runners import ConfirmRunner
    from tests.support.clock import MovedClock

SAMPLES = [{"sample_id": "s", "labels": [{"name": "rose"}]}]

TEAM_TASK = {"dataset_id": "d", "workforce_task_id": "w"}
WAIT = 60.0
"""Seconds after which a sensor gives up. A connection that is unknown may come; in Airflow's seven days it is asked for
20,000 times."""

# What each class is given so that it can be made.
NEEDED: dict[type[Any], dict[str, Any]] = {
    ModelArtsPlanConfirmationOperator: {"dataset_id": "d", "plan_uri": "file:///nowhere/plan.jsonl"},
    ModelArtsConfirmSamplesOperator: {"dataset_id": "d"},
    ModelArtsEvaluateAuditOperator: {"dataset_id": "d", "plan_uri": "file:///nowhere/plan.jsonl"},
    ModelArtsRevertConfirmationOperator: {"ledger_uri": "file:///nowhere", "ledger_run_id": "r"},
    ModelArtsUpdateTeamSamplesOperator: {"dataset_id": "d", "workforce_task_id": "w", "samples": SAMPLES},
    ModelArtsStartLabelTaskOperator: {"dataset_id": "d"},
    ModelArtsStopLabelTaskOperator: {"dataset_id": "d", "label_task_id": "t"},
    ModelArtsLabelTaskSensor: {"dataset_id": "d", "label_task_id": "t", "timeout": WAIT},
    ModelArtsEnsureLabelsOperator: {"dataset_id": "d", "labels": ["rose"]},
    ModelArtsCreateTeamTaskOperator: {"dataset_id": "d", "workforce_task_name": "night"},
    ModelArtsStartTeamTaskOperator: {**TEAM_TASK, "workforces_config": {"agency": "a@b.c"}},
    ModelArtsStartAcceptanceOperator: {**TEAM_TASK, "sampling_rate": 1},
    ModelArtsCommentAcceptanceOperator: {
        **TEAM_TASK,
        "comments": [{"sample_id": "s", "worker_id": "w", "accept": True}],
    },
    ModelArtsFinishAcceptanceOperator: {**TEAM_TASK, "action": "pass_all"},
    ModelArtsTeamResultsOperator: TEAM_TASK,
    ModelArtsClearTeamSamplesOperator: {**TEAM_TASK, "samples": ["s"]},
    ModelArtsReviewTeamSamplesOperator: {
        **TEAM_TASK,
        "comments": [{"sample_id": "s", "worker_id": "w", "accept": True}],
    },
    ModelArtsNotifyTeamOperator: {**TEAM_TASK, "emails": ["a@b.c"]},
    ModelArtsTeamTaskSensor: {**TEAM_TASK, "timeout": WAIT},
    ModelArtsExportLabelsOperator: {"dataset_id": "d", "uri": "file:///nowhere/export", "format": "coco"},
}
EVERY_PARAMETER = [
    pytest.param(operator, name, id=f"{operator.__name__}-{name}")
    for operator in NEEDED
    for name in operator.template_fields
]
OF_SENSORS: dict[type[Any], list[str]] = {
    ModelArtsLabelTaskSensor: ["timeout", "soft_fail", "never_fail", "mode"],
    ModelArtsTeamTaskSensor: ["timeout", "soft_fail", "never_fail", "mode"],
}
# Parameters that exclude each other: what is left out, or added.
BESIDE: dict[str, dict[str, Any]] = {
    "samples_uri": {"samples": None},
    "sampling_num": {"sampling_rate": None},
    "plan_digest": {"plan_uri": "file:///nowhere/plan.jsonl"},
    "approval": {"plan_uri": "file:///nowhere/plan.jsonl"},
    "evidence_uri": {"plan_uri": "file:///nowhere/plan.jsonl"},
}
_numbers = itertools.count(1)


def make(operator: type[Any], *, native: bool = False, undefined: Any = jinja2.StrictUndefined, **given: Any) -> Any:
    parameters = {**NEEDED[operator], **given}
    parameters = {name: value for name, value in parameters.items() if value is not None or name in given}
    with DAG(
        f"templates_{next(_numbers)}",
        schedule=None,
        render_template_as_native_obj=native,
        template_undefined=undefined,
    ):
        return operator(task_id="task", **parameters)


def run(operator: Any, clock: MovedClock, **names: Any) -> Any:
    """Render and execute as Airflow's task runner does."""
    context = context_of(StandInTaskInstance(start_date=moment(clock)), run_started=moment(clock))
    running = operator.prepare_for_execution()
    running.render_template_fields({**context, **names})
    return as_task_runner(running, context)


NOTHING = [
    (True, "{{ nothing }}", None),
    (False, "{{ nothing }}", "None"),
    (False, "{{ empty }}", ""),
    (False, "{% if false %}x{% endif %}", ""),
    (True, "{{ {}.get('missing') }}", None),
]
"""Whether the DAG asks for native objects, a template, and what comes of it."""


@pytest.mark.parametrize(("operator", "name"), EVERY_PARAMETER)
def test_every_parameter_whose_template_comes_to_nothing_is_refused_by_name(
    emulator: Emulator, moved_clock: MovedClock, operator: type[Any], name: str
) -> None:
    for native, template, found in NOTHING:
        made = make(operator, native=native, **{**BESIDE.get(name, {}), name: template})
        with pytest.raises(AirflowFailException, match=rf"^{name} is {found!r}: ") as raised:
            run(made, moved_clock, nothing=None, empty="")
        assert "\n" not in str(raised.value)
    assert emulator.journal.count() == 0


@pytest.mark.parametrize("native", [True, False])
def test_an_undefined_name_that_the_dag_lets_pass_is_nothing_too(
    emulator: Emulator, moved_clock: MovedClock, native: bool
) -> None:
    made = make(
        ModelArtsConfirmSamplesOperator, native=native, undefined=jinja2.Undefined, policy={"min_score": "{{ gone }}"}
    )
    with pytest.raises(AirflowFailException, match=r"^policy\['min_score'\] is "):
        run(made, moved_clock)
    made = make(
        ModelArtsConfirmSamplesOperator, native=native, undefined=jinja2.DebugUndefined, label_name="{{ gone }}"
    )
    with pytest.raises(AirflowFailException, match=r"^label_name is "):
        run(made, moved_clock)


@pytest.mark.parametrize(("name", "value"), [("low_score", "0.{{ x }}"), ("policy", {"min_score": "0.{{ x }}"})])
def test_a_number_whose_digits_got_lost_is_no_number(
    emulator: Emulator, moved_clock: MovedClock, name: str, value: Any
) -> None:
    with pytest.raises(AirflowFailException, match=r"number"):
        run(make(ModelArtsConfirmSamplesOperator, **{name: value}), moved_clock, x="")
    assert emulator.journal.count() == 0


@pytest.mark.parametrize(("operator", "name"), EVERY_PARAMETER)
def test_what_other_marks_than_the_usual_leave_as_none_is_refused_too(
    emulator: Emulator, moved_clock: MovedClock, operator: type[Any], name: str
) -> None:
    """A DAG may choose its own, and nothing tells such a template from a name."""
    needed = {**NEEDED[operator], **BESIDE.get(name, {})}
    given = {key: value for key, value in needed.items() if value is not None and key != name}
    template = "file:///[[ x ]]" if name.endswith("_uri") else "[[ x ]]"
    marks = {"variable_start_string": "[[", "variable_end_string": "]]"}
    try:
        with DAG("d", schedule=None, render_template_as_native_obj=True, jinja_environment_kwargs=marks):
            made = operator(task_id="task", **given, **{name: template})
    except (ParameterError, InvalidRequest):
        return  # no such text can be one
    running = made.prepare_for_execution()
    setattr(running, name, None)  # whatever rendered it
    with pytest.raises(AirflowFailException, match=rf"^{name} is None: "):
        as_task_runner(running, context_of(StandInTaskInstance(moment(moved_clock)), run_started=moment(moved_clock)))
    assert emulator.journal.count() == 0


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("policy", {"min_score": "{{ nothing }}"}, r"policy\['min_score'\]"),
        ("policy", {"min_score_by_label": {"rose": "{{ nothing }}"}}, r"policy\['min_score_by_label'\]\['rose'\]"),
        ("policy", {"labels": ["rose", "{{ nothing }}"]}, r"policy\['labels'\]\[1\]"),
        ("policy", {"labels": ("{{ nothing }}",)}, r"policy\['labels'\]\[0\]"),
        ("policy", {"labels": {"{{ nothing }}"}}, r"policy\['labels'\]"),
        ("policy", {"seed": "{{ nothing }}"}, r"policy\['seed'\]"),
        ("policy", OrderedDict(max_samples="{{ nothing }}"), r"policy\['max_samples'\]"),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_a_place_inside_a_parameter_is_named_too(
    emulator: Emulator, moved_clock: MovedClock, name: str, value: Any, place: str, native: bool
) -> None:
    made = make(ModelArtsConfirmSamplesOperator, native=native, **{name: value})
    with pytest.raises(AirflowFailException, match=rf"^{place} is "):
        run(made, moved_clock, nothing=None)
    assert emulator.journal.count() == 0


def test_a_place_inside_the_configuration_is_named_too(emulator: Emulator, moved_clock: MovedClock) -> None:
    config = {"inf_config_list": [{"model_id": "m", "envs": {"KEY": "{{ nothing }}"}}]}
    made = make(ModelArtsStartLabelTaskOperator, native=True, config=config)
    with pytest.raises(AirflowFailException, match=r"^config\['inf_config_list'\]\[0\]\['envs'\]\['KEY'\] is None: "):
        run(made, moved_clock, nothing=None)


def test_none_and_empty_dicts_of_the_dag_file_stay_what_they_are(
    runner: ConfirmRunner, moved_clock: MovedClock
) -> None:
    made = make(
        ModelArtsConfirmSamplesOperator,
        dataset_id="{{ dataset_id }}",
        policy=None,
        label_name=None,
        low_score=None,
        plan_uri=None,
        ledger_uri=None,
        approved_by=None,
    )
    assert run(made, moved_clock, dataset_id=runner.dataset_id)["confirmed"] == 250
    made = make(ModelArtsConfirmSamplesOperator, native=True, policy="{{ policy }}", dataset_id=runner.dataset_id)
    assert run(made, moved_clock, policy={})["seen"] == 0


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda operator: operator.prepare_for_execution(),
        lambda operator: pickle.loads(pickle.dumps(operator)),
        lambda operator: copy.copy(operator.prepare_for_execution()),
    ],
)
def test_copies_remember_what_were_templates(emulator: Emulator, moved_clock: MovedClock, duplicate: Any) -> None:
    made = ModelArtsConfirmSamplesOperator(task_id="task", dataset_id="d", policy={"min_score": "{{ nothing }}"})
    with pytest.raises(AirflowFailException, match=r"^policy\['min_score'\] is 'None'"):
        run(duplicate(made), moved_clock, nothing=None)


def test_what_is_assigned_after_an_operator_was_made_is_remembered_too(
    emulator: Emulator, moved_clock: MovedClock
) -> None:
    made = make(ModelArtsConfirmSamplesOperator, native=True)
    made.policy = "{{ nothing }}"
    with pytest.raises(AirflowFailException, match=r"^policy is None"):
        run(made, moved_clock, nothing=None)


def test_an_attribute_that_became_none_by_another_way_is_refused_too(
    emulator: Emulator, moved_clock: MovedClock
) -> None:
    made = make(ModelArtsConfirmSamplesOperator, policy={"min_score": "{{ x }}"})
    running = made.prepare_for_execution()
    running.policy = None
    with pytest.raises(AirflowFailException, match=r"^policy\['min_score'\] is None"):
        as_task_runner(running, context_of(StandInTaskInstance(moment(moved_clock)), run_started=moment(moved_clock)))


# --- outputs of other tasks, run by Airflow itself


@task
def nothing() -> None:
    """Return nothing."""


@task
def skipped() -> str:
    """Return nothing, because it is skipped."""
    raise AirflowSkipException("not today")


@task
def these(values: Any) -> Any:
    """Return what it is given."""
    return values


def build_and_run(build: Any, **dag: Any) -> DagOutcome:
    with DAG(f"templates_{next(_numbers)}", schedule=None, **dag) as made:
        build()
    return run_dag(made)


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("upstream", [nothing, skipped])
def test_the_output_of_a_task_that_gave_nothing_widens_nothing(
    emulator: Emulator, moved_clock: MovedClock, upstream: Any, native: bool
) -> None:
    names = ["policy", "low_score", "label_name", "first_label", "plan_uri", "ledger_uri", "approved_by"]
    dataset_id = emulator.load_proposals(20)

    def build() -> None:
        gave_nothing = upstream()
        for name in names:
            ModelArtsConfirmSamplesOperator(
                task_id=f"confirm_{name}", dataset_id=dataset_id, trigger_rule="all_done", **{name: gave_nothing}
            )

    done = build_and_run(build, render_template_as_native_obj=native).tasks
    for name in names:
        confirm = done[f"confirm_{name}"]
        assert confirm.state == "failed"
        assert isinstance(confirm.error, AirflowFailException)
        assert str(confirm.error).startswith(f"{name} is None: ")
    assert emulator.dataset(dataset_id).annotated == 0


@pytest.mark.usefixtures("airflow_db")
def test_the_digest_of_a_plan_that_was_skipped_lets_no_other_plan_pass(runner: ConfirmRunner) -> None:
    plan_uri = f"file://{runner.folder}/plan.jsonl"
    assert runner.plan(plan_uri=plan_uri).error is None

    def build() -> None:
        ModelArtsConfirmSamplesOperator(
            task_id="confirm",
            dataset_id=runner.dataset_id,
            plan_uri=plan_uri,
            plan_digest=skipped(),
            trigger_rule="all_done",
        )

    done = build_and_run(build).tasks["confirm"]
    assert (done.state, str(done.error).split(":")[0]) == ("failed", "plan_digest is None")
    assert runner.dataset.annotated == 0


@pytest.mark.usefixtures("airflow_db")
def test_a_none_among_the_outputs_that_tasks_are_mapped_over_is_refused(
    emulator: Emulator, moved_clock: MovedClock
) -> None:
    dataset_id = emulator.load_proposals(40, labels=["rose"], hard_share=0)

    def build() -> None:
        ModelArtsConfirmSamplesOperator.partial(task_id="confirm", dataset_id=dataset_id).expand(
            policy=these([None, {"min_score": 1}])
        )

    outcome = build_and_run(build)
    lost, read = outcome.tasks["confirm_0"], outcome.tasks["confirm_1"]
    assert str(lost.error).startswith("policy is None: ")
    assert read.state == "success", outcome.log
    assert 0 < emulator.dataset(dataset_id).annotated == read.xcom["confirmed"] < 40


@pytest.mark.usefixtures("airflow_db")
def test_a_none_in_dicts_that_tasks_are_mapped_over_is_refused_and_a_missing_key_is_not(
    emulator: Emulator, moved_clock: MovedClock
) -> None:
    datasets = [emulator.load_proposals(5) for _ in range(3)]

    def build() -> None:
        given = these(
            [
                {"dataset_id": datasets[0], "policy": None},
                {"dataset_id": datasets[1]},
                {"dataset_id": datasets[2], "policy": {"min_score": 0}},
            ]
        )
        ModelArtsConfirmSamplesOperator.partial(task_id="confirm", plan_uri=None).expand_kwargs(given)

    outcome = build_and_run(build)
    assert str(outcome.tasks["confirm_0"].error).startswith("policy is None: ")
    assert [outcome.tasks[f"confirm_{index}"].state for index in range(3)] == ["failed", "success", "success"]
    assert [emulator.dataset(dataset_id).annotated for dataset_id in datasets[:2]] == [0, 5]


@pytest.mark.usefixtures("airflow_db")
def test_a_none_of_the_dag_file_stays_legal_when_tasks_are_mapped(emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(5)

    def build() -> None:
        confirm = ModelArtsConfirmSamplesOperator.partial(task_id="confirm", dataset_id=dataset_id)
        confirm.expand(policy=[None, {"min_score": 0}])
        again = ModelArtsConfirmSamplesOperator.partial(task_id="again", dataset_id=dataset_id)
        again.expand_kwargs([{"policy": None}, {"label_name": "rose"}])

    outcome = build_and_run(build)
    assert outcome.state == "success", outcome.log
    assert emulator.dataset(dataset_id).annotated == 5


@pytest.mark.usefixtures("airflow_db")
def test_what_mapped_tasks_share_is_remembered_too(emulator: Emulator, moved_clock: MovedClock) -> None:
    dataset_id = emulator.load_proposals(5)

    def build() -> None:
        ModelArtsConfirmSamplesOperator.partial(
            task_id="confirm",
            dataset_id=dataset_id,
            policy={"min_score": "{{ params.get('strict') }}", "max_samples": nothing()},
            trigger_rule="all_done",
        ).expand(first_label=["rose"])

    (done,) = (run for name, run in build_and_run(build).tasks.items() if name.startswith("confirm"))
    assert str(done.error).startswith("policy['min_score'] is 'None': ")
    assert emulator.dataset(dataset_id).annotated == 0


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"policy": {"min_score": None}}, "The policy has no value for min_score"),
        ({"first_label": "None"}, "first_label must be the name of a label"),
        ({"policy": {}, "plan_uri": "file:///nowhere/plan.jsonl"}, "Give plan_uri without policy"),
    ],
)
def test_a_wrong_value_that_a_task_is_mapped_over_is_not_tried_again(
    emulator: Emulator, moved_clock: MovedClock, given: dict[str, Any], said: str
) -> None:
    """Airflow makes such an operator when the task runs."""

    def build() -> None:
        confirm = ModelArtsConfirmSamplesOperator.partial(task_id="confirm", retries=2, retry_delay=timedelta(0))
        confirm.expand_kwargs(these([{"dataset_id": "d", **given}]))

    done = build_and_run(build).tasks["confirm_0"]
    assert isinstance(done.error, AirflowFailException)
    assert str(done.error).startswith(said)
    assert done.try_number == 1
    assert emulator.journal.count() == 0


# --- keys of dicts, which Airflow never renders


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("policy", {"{{ params.rule }}": 0.9}, "policy has"),
        ("policy", {"min_score_by_label": {"{{ params.strict }}": 0.95}}, "policy['min_score_by_label'] has"),
        ("policy", {"min_score_by_label": {"{% if x %}a{% endif %}": "{{ y }}"}}, "policy['min_score_by_label'] has"),
        ("approved_by", {"responded_by_user": {"{{ x }}": "n"}}, "approved_by['responded_by_user'] has"),
    ],
)
def test_a_template_as_a_key_is_refused_when_the_dag_is_parsed(name: str, value: Any, place: str) -> None:
    with pytest.raises(ParameterError) as raised:
        make(ModelArtsConfirmSamplesOperator, **{name: value})
    assert str(raised.value).startswith(f"{place} the template ")


def test_a_template_as_a_key_is_refused_in_the_configuration_and_in_samples() -> None:
    with pytest.raises(ParameterError, match=r"^config\['parameters'\]\[0\] has the template '{{ x }}' as a key"):
        make(ModelArtsStartLabelTaskOperator, config={"parameters": [{"{{ x }}": 1}]})
    with pytest.raises(ParameterError, match=r"^samples\[0\] has the template"):
        make(ModelArtsUpdateTeamSamplesOperator, samples=[{**SAMPLES[0], "{{ x }}": 1}])
    with pytest.raises(ParameterError, match=r"^policy\['min_score_by_label'\] has the template"):
        make(
            ModelArtsPlanConfirmationOperator,
            policy={"min_score_by_label": {"{{ x }}": 1}},
            plan_uri="file:///nowhere/{{ run_id }}",
        )


def test_a_whole_dict_as_one_template_may_make_keys(runner: ConfirmRunner, moved_clock: MovedClock) -> None:
    made = make(
        ModelArtsConfirmSamplesOperator,
        dataset_id=runner.dataset_id,
        policy='{"min_score_by_label": {"{{ strict }}": 1, "tulip": 0.5}, "hard_examples": "confirm"}',
    )
    done = run(made, moved_clock, strict="rose")
    assert 0 < done["by_label"]["rose"] < done["by_label"]["tulip"]


# --- values of the wrong kind

JUNK = [None, 5, 1.5, True, "", "junk", b"x", [], ["junk"], {}, {"a": None}, {1: 2}, object(), math.nan, 10**400]
JUNK += [Decimal("NaN"), Path("junk"), datetime(2026, 11, 27, tzinfo=UTC), timedelta.max, frozenset({1}), "1_0"]
TAKEN = {"task_id", "kwargs", "self"}
EVERY_ARGUMENT = [
    pytest.param(operator, name, id=f"{operator.__name__}-{name}")
    for operator in NEEDED
    for name in [*inspect.signature(operator.__init__).parameters, *OF_SENSORS.get(operator, ())]
    if name not in TAKEN
]


def complaint(operator: type[Any], **given: Any) -> str:
    try:
        make(operator, **given)
    except (ValueError, InvalidRequest) as error:  # ours, or Airflow's own
        return str(error)
    return ""


@pytest.mark.parametrize(("operator", "name"), EVERY_ARGUMENT)
def test_a_value_of_the_wrong_kind_is_refused_in_one_line_that_names_it(operator: type[Any], name: str) -> None:
    for junk in JUNK:
        said = complaint(operator, **{**BESIDE.get(name, {}), name: junk})
        assert not said or name.partition("_")[0].rstrip("s") in said.lower(), (junk, said)
        assert "\n" not in said


@pytest.mark.parametrize(("operator", "name"), EVERY_PARAMETER)
def test_a_value_of_the_wrong_kind_at_run_time_fails_without_retries(
    emulator: Emulator, moved_clock: MovedClock, operator: type[Any], name: str
) -> None:
    """Or it is of a right kind, and the service does not know the dataset, or Airflow the connection."""
    for junk in JUNK:
        made = make(operator, native=True, **{**BESIDE.get(name, {}), name: "{{ junk }}"})
        with pytest.raises((AirflowFailException, AirflowSensorTimeout, ConnectionUnknownError)):
            run(made, moved_clock, junk=junk)
