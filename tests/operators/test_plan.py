"""Planning from Airflow: what is stored, what people see, what a retry and a clear do, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.io import store
from fsspec.registry import _registry as known_filesystems

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import InvalidPolicy
from airflow_provider_modelarts.operators import _plan_and_ledger as _plans
from airflow_provider_modelarts.operators.samples import (
    ModelArtsConfirmSamplesOperator,
    ModelArtsPlanConfirmationOperator,
)
from tests.operators.runners import RUN_ID, ConfirmRunner, check_sums
from tests.support.dag_runner import run_operator
from tests.support.entry_points import register_filesystems

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

LIST = "/auto-annotations/samples"
POLICY = {"min_score": "0.9"}


def stored(runner: ConfirmRunner) -> Path:
    return Path(runner.plan_uri.removeprefix("file://"))


def test_it_stores_every_decision_and_writes_nothing(runner: ConfirmRunner) -> None:
    ending = runner.plan(policy=POLICY, label_task_id="label-task-1")
    assert ending.error is None
    check_sums(ending.result)
    assert ending.result["seen"] == 250
    assert 0 < ending.result["confirmed"] < 250
    assert ending.result["plan_uri"] == runner.plan_uri
    assert (runner.writes, runner.dataset.unconfirmed) == (0, 250)
    plan = read_plan(stored(runner))
    assert plan.counts["confirm"] == ending.result["confirmed"]
    assert {sample.sample.sample_id for sample in plan.samples()} == set(runner.dataset.proposals)
    header = plan.header
    assert (header.dataset_id, header.label_task_id, header.policy) == (
        runner.dataset_id,
        "label-task-1",
        {"min_score": 0.9},
    )
    assert (header.made_by["run_id"], header.made_by["task_id"]) == (RUN_ID, "plan")


def test_people_get_a_summary_that_fits_the_body_of_an_approval(runner: ConfirmRunner) -> None:
    ending = runner.plan(policy=POLICY)
    summary = ending.xcoms["summary"]
    assert len(summary.encode()) <= 8192
    assert f"**{ending.result['confirmed']}** would be confirmed" in summary
    assert "score too low" in summary


def test_a_guard_fails_after_plan_counts_and_summary_are_stored(runner: ConfirmRunner) -> None:
    ending = runner.plan(policy={"max_samples": 10, "hard_examples": "confirm"})
    assert type(ending.error) is AirflowFailException
    assert "max_samples=10" in str(ending.error)
    assert read_plan(stored(runner)).counts["confirm"] == 250
    check_sums(ending.xcoms["return_value"])
    assert "**250** would be confirmed" in ending.xcoms["summary"]
    assert runner.writes == 0


def test_people_see_by_what_was_decided_and_examples_of_every_label(runner: ConfirmRunner) -> None:
    ending = runner.plan(policy={**POLICY, "max_share_per_label": 0.9}, low_score=0.2)
    summary = ending.xcoms["summary"]
    assert r"- lowest score (min\_score): 0\.9" in summary
    assert r"- hard examples (hard\_examples): review" in summary
    assert r"- highest share of one label (max\_share\_per\_label): 0\.9" in summary
    assert r"- only proposals that score at least (low\_score): 0\.2" in summary
    names = ending.result["by_label"]
    assert len(names) > 2
    assert all(len(re.findall(rf"^- `.*`: {name} [01]\.\d+; every rule", summary, re.M)) == 3 for name in names)
    assert "Decided without a policy" in runner.plan(max_tries=7).xcoms["summary"]


NOTHING_HIGH = {"min_score": 1, "hard_examples": "review", "audit_share": 1}


def test_nothing_to_confirm_skips_the_approval_after_all_is_stored(
    runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    ending = runner.plan(policy=NOTHING_HIGH, if_nothing_to_confirm="skip")
    assert type(ending.error) is AirflowSkipException
    text = str(ending.error)
    assert "Nothing would be confirmed of the 250 proposals" in text
    assert "250 for review" in text
    assert "there is nothing to approve" in text
    assert ending.xcoms["return_value"]["review"] == 250
    assert "**0** would be confirmed" in ending.xcoms["summary"]
    assert ending.xcoms["plan_digest"] == read_plan(stored(runner)).digest
    assert "warning" in capsys.readouterr().out
    # A retry, or the same without proposals at all, ends the same.
    assert type(runner.plan(policy=NOTHING_HIGH, if_nothing_to_confirm="skip", try_number=2).error) is type(
        ending.error
    )
    empty = runner.plan(label_name="orchid", if_nothing_to_confirm="skip", max_tries=4)
    assert type(empty.error) is AirflowSkipException
    assert "has no proposals with label_name='orchid'" in capsys.readouterr().out


def test_nothing_to_confirm_goes_on_with_a_warning(runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.plan(policy=NOTHING_HIGH).error is None
    assert re.search(r"warning.*Nothing would be confirmed of the 250 proposals", capsys.readouterr().out)
    assert runner.plan(if_nothing_to_confirm="skip", max_tries=4).error is None
    assert "Nothing would be" not in capsys.readouterr().out


def test_a_guard_fails_also_where_nothing_would_be_confirmed(runner: ConfirmRunner) -> None:
    ending = runner.plan(policy={**NOTHING_HIGH, "min_samples": 1}, if_nothing_to_confirm="skip")
    assert type(ending.error) is AirflowFailException


@pytest.mark.parametrize("value", ["stop", "", None, True, "{{ params.x }}"])
def test_what_to_do_if_there_is_nothing_to_confirm_is_one_of_two_words(value: Any) -> None:
    with pytest.raises(ParameterError, match=r"if_nothing_to_confirm (must be one of continue, skip|is not templated)"):
        ModelArtsPlanConfirmationOperator(
            task_id="p", dataset_id="d", plan_uri="file:///tmp/plan", if_nothing_to_confirm=value
        )


def test_the_log_says_what_would_be_confirmed(runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.plan()
    text = capsys.readouterr().out
    assert "250 proposals seen: 250 would be confirmed, 0 review, 0 left, 0 failed, 0 gone; " in text
    assert "passes" not in text


def test_with_do_xcom_push_off_only_the_plan_is_stored(runner: ConfirmRunner) -> None:
    assert runner.plan(do_xcom_push=False).xcoms == {}
    assert len(read_plan(stored(runner))) == 250


def test_a_retry_goes_on_with_the_plan_of_an_earlier_try(runner: ConfirmRunner) -> None:
    first = runner.plan(policy=POLICY)
    content = stored(runner).read_bytes()
    runner.emulator.journal.clear()
    again = runner.plan(policy=POLICY, try_number=2)
    assert stored(runner).read_bytes() == content
    assert runner.emulator.journal.count("GET", LIST) == 0
    assert again.xcoms["summary"] == first.xcoms["summary"]
    assert {**again.result, "requests": 0, "seconds": 0} == {**first.result, "requests": 0, "seconds": 0}


@pytest.mark.parametrize(
    "changed",
    [
        {"policy": {"min_score": 0.99}},
        {"policy": None},
        {"low_score": 0.5},
        {"label_name": "daisy"},
        {"first_label": "daisy"},
        {"label_task_id": "another"},
        {"dataset_id": "another"},
    ],
    ids=str,
)
def test_a_retry_makes_its_plan_anew_if_something_else_is_asked_for_now(
    runner: ConfirmRunner, changed: dict[str, Any]
) -> None:
    runner.plan(policy=POLICY)
    given: dict[str, Any] = {"dataset_id": runner.dataset_id, "policy": POLICY, **changed}
    if "dataset_id" in changed:
        given["dataset_id"] = runner.emulator.load_proposals(10)
    again = runner.plan(try_number=2, **given)
    header = read_plan(stored(runner)).header
    assert header.made_by["try_number"] == 2
    assert header.dataset_id == given["dataset_id"]
    afresh = runner.plan(max_tries=9, **given)
    assert {**again.result, "seconds": 0} == {**afresh.result, "seconds": 0}


def test_a_plan_for_a_first_label_is_applied_with_its_own_counts(runner: ConfirmRunner) -> None:
    runner.dataset_id = runner.emulator.load_proposals(200, kind="multi_label")
    planned = runner.plan(first_label="daisy").result
    assert 0 < planned["seen"] < 200
    applied = runner.confirm(plan_uri=runner.plan_uri).result
    assert {**planned, **dict.fromkeys(("seconds", "requests", "passes"))} == {
        **applied, **dict.fromkeys(("seconds", "requests", "passes"))
    }  # fmt: skip


def test_a_retry_replaces_what_is_only_a_part_of_a_plan(runner: ConfirmRunner) -> None:
    runner.plan(policy=POLICY)
    whole = stored(runner).read_bytes()
    stored(runner).write_bytes(whole[: len(whole) // 2])
    assert runner.plan(policy=POLICY, try_number=2).error is None
    assert len(read_plan(stored(runner))) == 250


def test_a_zombie_does_not_replace_the_plan_of_its_retry(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found no plan when it began; by now somebody may have approved the other one."""
    retry = runner.plan(policy=POLICY, try_number=2)
    digest = read_plan(stored(runner)).digest
    runner.clock.advance(60)
    monkeypatch.setattr(_plans, "_found", lambda *_, **__: None)
    zombie = runner.plan(policy=POLICY, try_number=1)
    assert zombie.error is None
    assert runner.emulator.journal.count("GET", LIST) > retry.result["requests"], "it read all and made a plan"
    assert read_plan(stored(runner)).digest == digest
    assert zombie.xcoms["summary"] == retry.xcoms["summary"]
    cleared = runner.plan(policy=POLICY, try_number=3, max_tries=5)
    assert cleared.error is None
    assert read_plan(stored(runner)).digest != digest


@pytest.mark.parametrize("at_once", [False, True], ids=["one after the other", "at once"])
@pytest.mark.parametrize("cleared", [False, True], ids=["first", "cleared"])
def test_mapped_tasks_do_not_replace_each_others_plan(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch, at_once: bool, cleared: bool
) -> None:
    names = sorted(runner.plan().result["by_label"])
    stored(runner).unlink()
    assert runner.plan(map_index=0, label_name=names[0]).error is None
    content = stored(runner).read_bytes()
    if at_once:  # the other one had not stored its plan when this one began
        monkeypatch.setattr(_plans, "_found", lambda *_, **__: None)
    given: dict[str, Any] = {"try_number": 2, "max_tries": 5} if cleared else {}
    ending = runner.plan(map_index=1, label_name=names[1], **given)
    assert type(ending.error) is AirflowFailException
    text = str(ending.error)
    assert "was made by map index 0 of this task, and this is map index 1" in text
    assert "{{ ti.map_index }}" in text
    assert "\n" not in text
    assert stored(runner).read_bytes() == content
    assert "plan_digest" not in ending.xcoms


def test_a_mapped_task_keeps_its_own_plan_and_replaces_it_after_a_clear(runner: ConfirmRunner) -> None:
    runner.plan(map_index=2, policy=POLICY)
    content = stored(runner).read_bytes()
    runner.clock.advance(60)
    assert runner.plan(map_index=2, policy=POLICY, try_number=2).error is None
    assert stored(runner).read_bytes() == content
    assert runner.plan(map_index=2, policy=POLICY, try_number=3, max_tries=5).error is None
    assert stored(runner).read_bytes() != content


def test_the_plan_of_another_run_or_task_is_replaced_whatever_its_map_index(runner: ConfirmRunner) -> None:
    runner.plan(map_index=0)
    for changed in ({"run_id": "another"}, {"task_id": "another"}, {"dag_id": "another"}):
        header = read_plan(stored(runner)).header
        with PlanWriter(stored(runner), replace(header, made_by={**header.made_by, **changed})):
            pass
        assert runner.plan(map_index=1).error is None
        assert read_plan(stored(runner)).header.made_by["map_index"] == 1
        stored(runner).unlink()
        runner.plan(map_index=0)


def test_a_clear_makes_a_new_plan(runner: ConfirmRunner) -> None:
    runner.plan(policy=POLICY)
    runner.dataset.edit(next(iter(runner.dataset.proposals)), ["by hand"])
    ending = runner.plan(policy=POLICY, try_number=2, max_tries=4)
    assert ending.result["seen"] == len(read_plan(stored(runner))) == 249


def test_the_log_tells_how_far_the_reading_is(runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.emulator.observers.append(lambda _: runner.clock.advance(2))
    runner.plan()
    assert re.search(r" %: \d+ of 250 proposals: \d+ confirm, \d+ samples/s", capsys.readouterr().out)


def test_filters_choose_and_are_noted(runner: ConfirmRunner) -> None:
    names = sorted(runner.plan().result["by_label"])
    ending = runner.plan(max_tries=4, label_name=names[0], low_score="0.5")
    assert 0 < ending.result["seen"] < 250
    assert set(ending.result["by_label"]) == {names[0]}
    assert read_plan(stored(runner)).header.filters == {"label_name": names[0], "low_score": 0.5}


@pytest.mark.parametrize(
    ("parameters", "error", "complaint"),
    [
        ({"plan_uri": ""}, ParameterError, "plan_uri is empty"),
        ({"plan_uri": "/data/plan.jsonl"}, ParameterError, "plan_uri must be a URI such as file:///"),
        ({"plan_uri": "file://data/plan.jsonl"}, ParameterError, "needs three slashes"),
        ({"plan_uri": "s3://"}, ParameterError, "must be a URI"),
        ({"policy": {"max_samples": 0}}, InvalidPolicy, "max_samples"),
        ({"low_score": 2}, ParameterError, "low_score must be a number from 0 to 1"),
        ({"label_task_id": ""}, ParameterError, "label_task_id is empty"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(
    parameters: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        ModelArtsPlanConfirmationOperator(
            task_id="p", **{"dataset_id": "d", "plan_uri": "file:///tmp/plan", **parameters}
        )


@pytest.mark.parametrize(
    ("plan_uri", "complaint"),
    [
        ("s3://bucket/plan.jsonl", "s3:// needs apache-airflow-providers-amazon[s3fs]"),
        ("obs://bucket/plan.jsonl", "obs:// needs the extra s3"),
        ("file:///proc/no/such/plan.jsonl", "plan_uri file:///proc/no/such"),
        ("file:///dev/null/plan.jsonl", "plan_uri file:///dev/null"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_sent(
    runner: ConfirmRunner, plan_uri: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_filesystems()
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "airflow_provider_modelarts.fs.obs_filesystem", raising=False)
    # A test before may have made a file system of it.
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    for scheme in ("s3", "obs"):
        monkeypatch.delitem(known_filesystems, scheme, raising=False)
    ending = runner.plan(plan_uri=plan_uri)
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert "Nothing was sent" in str(ending.error)
    assert "\n" not in str(ending.error)
    assert len(runner.emulator.journal) == 0


def test_a_folder_is_no_place_for_a_plan(runner: ConfirmRunner) -> None:
    for plan_uri in (f"file://{runner.folder}", f"{runner.plan_uri}/"):
        ending = runner.plan(plan_uri=plan_uri)
        assert type(ending.error) is AirflowFailException
        assert "names a folder" in str(ending.error)
    assert len(runner.emulator.journal) == 0


def test_two_filters_by_label_are_refused(runner: ConfirmRunner) -> None:
    ending = runner.plan(label_name="a", first_label="b")
    assert "label_name or first_label, not both" in str(ending.error)
    assert len(runner.emulator.journal) == 0


@pytest.mark.usefixtures("airflow_db")
def test_plan_and_xcoms_hold_no_presigned_address(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(60)
    run, log = run_operator(
        ModelArtsPlanConfirmationOperator,
        dataset_id=dataset_id,
        plan_uri=f"file://{tmp_path}/{{{{ run_id }}}}.jsonl",
        policy={"min_score": "{{ 0.5 + 0.4 }}"},
    )
    assert run.state == "success", log
    served = b"".join(record.response for record in emulator.journal)
    assert any(secret.encode() in served for secret in emulator.secrets), "the service does serve signatures"
    (plan,) = tmp_path.glob("*.jsonl")
    for text in (plan.read_text(), json.dumps(run.xcoms), log):
        assert not any(secret in text for secret in emulator.secrets)
        assert "Signature=" not in text
    assert b"s3://" in plan.read_bytes()


def test_the_list_is_filtered_by_conditions_and_types_that_a_template_gave(runner: ConfirmRunner) -> None:
    hard = sum(bool(raw["metadata"].get("@modelarts:hard")) for raw in runner.dataset.proposals.values())
    ending = runner.plan(search_conditions='{"hard": "1"}', label_type="0")
    assert ending.error is None
    assert (ending.result["seen"], ending.result["confirmed"]) == (hard, hard)
    header = read_plan(stored(runner)).header
    assert dict(header.filters) == {"search_conditions": [{"hard": "1"}], "label_type": 0}
    assert r"only proposals that meet the conditions (search\_conditions): hard 1" in ending.xcoms["summary"]
    assert "Decided without a policy" in ending.xcoms["summary"]
    confirmed = runner.confirm(plan_uri=runner.plan_uri)
    assert confirmed.result["confirmed"] == hard
    assert runner.dataset.unconfirmed == 250 - hard


def test_a_retry_with_other_conditions_makes_another_plan(runner: ConfirmRunner) -> None:
    runner.plan(search_conditions={"hard": "1"})
    ending = runner.plan(try_number=2, search_conditions={"hard": "0"})
    assert ending.error is None
    assert dict(read_plan(stored(runner)).header.filters) == {"search_conditions": [{"hard": "0"}]}


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"search_conditions": {"hart": "1"}}, "hard"),
        ({"search_conditions": []}, "no condition"),
        ({"search_conditions": {}}, "says nothing"),
        ({"search_conditions": ""}, "search_conditions is empty"),
        ({"label_type": "rose"}, "label_type"),
        ({"label_type": 5}, "label_type must be a type of labels"),
    ],
)
def test_wrong_filters_are_found_when_the_dag_is_parsed(parameters: dict[str, Any], complaint: str) -> None:
    plan: Any = partial(ModelArtsPlanConfirmationOperator, plan_uri="file:///plan")
    for make in (plan, ModelArtsConfirmSamplesOperator):
        with pytest.raises(ParameterError, match=complaint):
            make(task_id="t", dataset_id="d", **parameters)


@pytest.mark.parametrize("condition", [{"sample_dir": "{{ nothing }}"}, {"hard": "{{ nothing }}"}])
def test_a_condition_whose_template_gave_nothing_is_refused(runner: ConfirmRunner, condition: dict[str, Any]) -> None:
    operator = ModelArtsPlanConfirmationOperator(
        task_id="plan", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri, search_conditions=[condition]
    )
    operator._record_places(operator.template_fields)
    operator.search_conditions = [dict.fromkeys(condition, "")]
    ending = runner.run(operator, 1, 3)
    assert type(ending.error) is AirflowFailException
    assert "search_conditions" in str(ending.error)
    assert len(runner.emulator.journal) == 0


@pytest.mark.parametrize("verb", ["plan", "confirm"])
def test_a_policy_for_a_label_that_the_dataset_does_not_have_is_refused(runner: ConfirmRunner, verb: str) -> None:
    name = sorted(runner.dataset.labels)[0]
    ending = getattr(runner, verb)(policy={"min_score_by_label": {f"{name}s": 0.9}})
    assert type(ending.error) is AirflowFailException
    assert f"{name}s" in str(ending.error)
    assert f"did you mean '{name}'?" in str(ending.error)
    assert (runner.writes, runner.dataset.unconfirmed) == (0, 250)
