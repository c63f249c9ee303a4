"""A person approves a plan in part: what was rejected is never confirmed, and what is not understood stops all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanWriter, read_plan
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from tests.operators.runners import ConfirmRunner

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.operator_driver import Ending

AT = datetime(2036, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> ConfirmRunner:
    runner = ConfirmRunner(emulator, moved_clock, tmp_path)
    assert runner.plan().error is None
    emulator.journal.clear()
    return runner


def answer(**params: Any) -> dict[str, Any]:
    return {
        "chosen_options": ["Approve"],
        "params_input": params,
        "responded_at": AT,
        "responded_by_user": {"id": "17", "name": "ada"},
    }


def confirm(runner: ConfirmRunner, approval: Any, *, try_number: int = 1, max_tries: int = 3, **more: Any) -> Ending:
    operator = ModelArtsConfirmSamplesOperator(
        task_id="confirm",
        dataset_id=runner.dataset_id,
        plan_uri=runner.plan_uri,
        **{"ledger_uri": runner.ledger_uri, **more},
    )
    operator.approval = approval  # as Airflow puts in what the approval returned
    return runner.run(operator, try_number, max_tries)


def planned(runner: ConfirmRunner) -> Plan:
    return read_plan(Path(runner.plan_uri.removeprefix("file://")))


def written(runner: ConfirmRunner) -> set[str]:
    return {sample_id for sample_id, labels in runner.final.items() if labels}


def to_confirm(runner: ConfirmRunner) -> dict[str, list[str]]:
    return {
        one.sample.sample_id: one.row.label_names for one in planned(runner).samples() if one.decision[0] == "confirm"
    }


def test_rejected_samples_and_labels_stay_with_people_and_all_else_is_confirmed(runner: ConfirmRunner) -> None:
    wanted = to_confirm(runner)
    label = Counter(name for names in wanted.values() for name in names).most_common()[-1][0]
    rejected = [sample_id for sample_id, names in wanted.items() if label not in names][:2]
    done = confirm(runner, answer(reject_samples=rejected, reject_labels=[label]))
    assert done.error is None
    rest = {sample_id for sample_id, names in wanted.items() if sample_id not in rejected and label not in names}
    assert 0 < len(rest) < len(wanted) - 2
    assert written(runner) == rest
    assert {entry["sample_id"] for entry in runner.entries()} == rest, "the ledger speaks of nothing else"
    (header,) = runner.headers()
    assert (header.approved_by, header.approved_at) == ("ada", AT.isoformat())
    narrowed = read_plan(Path(done.result["plan_uri"].removeprefix("file://")))
    assert (header.plan_digest, narrowed.counts["confirm"]) == (narrowed.digest, len(rest))
    assert narrowed.header.narrowed_by == {
        "plan_digest": planned(runner).digest,
        "plan_uri": runner.plan_uri,
        "rejected_samples": sorted(rejected),
        "rejected_labels": [label],
    }
    assert runner.revert().result["cleared"] == len(rest)
    assert not written(runner)


def test_an_approval_that_rejects_nothing_applies_the_plan_itself(runner: ConfirmRunner) -> None:
    done = confirm(runner, answer(reject_samples=[], reject_labels=[]))
    assert done.result["plan_uri"] == runner.plan_uri
    assert written(runner) == set(to_confirm(runner))
    assert runner.plans() == [], "no second plan is stored"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"reject_sample": ["a"]}, "reject_sample"),
        ({"reject_samples": [], "reject_labels": [], "note": "all but the roses"}, "note"),
        ({"reject_samples": "all"}, "list of texts"),
        ({"reject_samples": {"a": 1}}, "list of texts"),
        ({"reject_samples": [None]}, "list of texts"),
        ({"reject_labels": [""]}, "list of texts"),
        ({"reject_labels": 0}, "list of texts"),
        ({"reject_labels": False}, "list of texts"),
        ({"reject_samples": ["nowhere"]}, "'nowhere', which the plan"),
        ({"reject_labels": ["nothing like it"]}, "'nothing like it', which no proposal"),
    ],
    ids=str,
)
def test_an_answer_that_is_not_understood_or_is_about_something_else_stops_all(
    runner: ConfirmRunner, params: dict[str, Any], said: str
) -> None:
    for given in (answer(**params), str(answer(**params))):
        done = confirm(runner, given)
        assert said in str(done.error)
        assert "othing was " in str(done.error)
        assert type(done.error) is AirflowFailException, "no retry can mend it"
    assert runner.writes == 0
    assert runner.files(".try") == []


@pytest.mark.parametrize(
    "chosen",
    [["Reject"], ["reject"], ["No"], ["OK"], ["Approve", "Reject"], "Approve", [["Approve"]], [], None],
    ids=str,
)
def test_without_an_approval_nothing_is_written(runner: ConfirmRunner, chosen: Any) -> None:
    """Other operators that ask people give the same form with other options, such as "Yes" and "No"."""
    for given in ({**answer(), "chosen_options": chosen}, str({**answer(), "chosen_options": chosen})):
        assert confirm(runner, given).error is not None
        assert _with_approved_by(runner, given).error is not None
    assert confirm(runner, {**answer(), "params_input": ["a"]}).error is not None
    assert confirm(runner, "ada").error is not None, "a name rejects nothing"
    assert runner.writes == 0


def test_a_name_noted_from_an_answer_with_rejections_is_refused(runner: ConfirmRunner) -> None:
    """Who wires the output as ``approved_by`` would confirm what was rejected."""
    rejecting = answer(reject_samples=sorted(to_confirm(runner))[:1], reject_labels=[])
    for given in (rejecting, str(rejecting), json.dumps({**rejecting, "responded_at": AT.isoformat()})):
        done = _with_approved_by(runner, given)
        assert "approval=approve.output" in str(done.error)
    assert runner.writes == 0


def _with_approved_by(runner: ConfirmRunner, given: Any) -> Ending:
    operator = ModelArtsConfirmSamplesOperator(
        task_id="confirm", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri
    )
    operator.approved_by = given
    return runner.run(operator, 1, 3)


def test_the_text_that_a_template_makes_of_an_answer_rejects_as_well(runner: ConfirmRunner) -> None:
    (first, *_, last) = sorted(to_confirm(runner))
    assert confirm(runner, str(answer(reject_samples=[first, last], reject_labels=[]))).error is None
    assert written(runner) == set(to_confirm(runner)) - {first, last}


def test_guards_judge_what_rejections_leave(runner: ConfirmRunner) -> None:
    assert runner.plan(policy={"min_samples": 190}).error is None
    wanted = sorted(to_confirm(runner))
    done = confirm(runner, answer(reject_samples=wanted[: len(wanted) - 189], reject_labels=[]))
    assert "min_samples=190 does not hold: only 189" in str(done.error)
    assert runner.writes == 0


def test_a_preview_shows_what_is_left_and_stores_nothing(runner: ConfirmRunner) -> None:
    wanted = sorted(to_confirm(runner))
    before = runner.files()
    done = confirm(runner, answer(reject_samples=wanted[:3], reject_labels=[]), preview=True)
    assert (done.result["confirmed"], runner.writes, runner.files()) == (len(wanted) - 3, 0, before)


def test_without_a_ledger_the_narrowed_plan_lies_beside_the_logs(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(runner.folder / "logs"))
    wanted = sorted(to_confirm(runner))
    done = confirm(runner, answer(reject_samples=wanted[:3], reject_labels=[]), ledger_uri=None)
    assert done.result["plan_uri"].startswith(f"file://{runner.folder}/logs/modelarts/")
    assert written(runner) == set(wanted[3:])


def test_a_retry_goes_on_with_the_same_rejections_and_refuses_others(runner: ConfirmRunner) -> None:
    wanted = sorted(to_confirm(runner))
    given = answer(reject_samples=wanted[:3], reject_labels=[])
    assert confirm(runner, given).error is None
    assert confirm(runner, given, try_number=2).error is None
    other = confirm(runner, answer(reject_samples=wanted[:2], reject_labels=[]), try_number=3)
    assert "was narrowed otherwise" in str(other.error)
    assert written(runner) == set(wanted[3:])
    assert len(runner.plans()) == 1


def test_a_plan_exchanged_after_the_answer_is_refused_by_its_digest(runner: ConfirmRunner) -> None:
    digest = planned(runner).digest
    first = sorted(to_confirm(runner))[0]
    assert runner.plan(policy={"min_score": 0.2}, map_index=-1).error is None
    done = confirm(runner, answer(reject_samples=[first], reject_labels=[]), plan_digest=digest)
    assert "it is another one than was made, shown or approved" in str(done.error)
    assert runner.writes == 0


def test_an_approval_that_is_older_than_the_plan_does_not_count(runner: ConfirmRunner) -> None:
    """Whoever clears the tasks that plan and confirm, and not the one that asks, confirms what nobody has seen."""
    old = {**answer(), "responded_at": datetime(2001, 11, 20, tzinfo=UTC)}
    digest = planned(runner).digest
    for given in (old, str(old), {**old, "responded_at": "2001-11-20T00:00:00Z"}):
        assert "before the plan" in str(confirm(runner, given, plan_digest=digest).error)
    assert runner.writes == 0
    assert runner.files(".try") == []


def test_an_answer_that_says_something_twice_is_refused_by_its_name(runner: ConfirmRunner) -> None:
    twice = '{"chosen_options": ["Reject"], "chosen_options": ["Approve"]}'
    for name, done in (("approval", confirm(runner, twice)), ("approved_by", _with_approved_by(runner, twice))):
        assert isinstance(done.error, AirflowFailException)
        assert f"{name} has the key 'chosen_options' twice" in str(done.error)
    assert runner.writes == 0


@pytest.mark.parametrize("shown", [dict, str])
def test_an_answer_that_is_older_than_the_plan_says_not_who_approved_it(runner: ConfirmRunner, shown: Any) -> None:
    old = {**answer(), "responded_at": datetime(2001, 11, 20, tzinfo=UTC)}
    done = runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri, approved_by=shown(old))
    assert str(done.error).startswith("approved_by was given at 2001-11-20"), done.error
    assert runner.writes == 0
    assert runner.confirm(ledger_uri=runner.ledger_uri, approved_by=shown(old)).error is None, "it is about no plan"


@pytest.mark.parametrize("name", ["approval", "approved_by"])
@pytest.mark.parametrize("shown", [dict, str, lambda given: json.dumps({**given, "responded_at": AT.isoformat()})])
def test_an_approval_that_names_its_plan_is_good_for_no_other(runner: ConfirmRunner, name: str, shown: Any) -> None:
    """A plan may have been begun before the answer and stored after it, so that its time does not tell."""
    seen = {**answer(), "plan_digest": planned(runner).digest}
    assert runner.plan(policy={"min_score": 0.2}, map_index=-1, max_tries=4).error is None
    assert planned(runner).digest != seen["plan_digest"]
    text = str(runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri, **{name: shown(seen)}).error)
    assert text.startswith(f"{name} is an answer about the plan with the digest {seen['plan_digest']}"), text
    assert planned(runner).digest in text
    assert runner.writes == 0
    good = {**seen, "plan_digest": planned(runner).digest}
    assert runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri, **{name: shown(good)}).error is None
    assert runner.writes


def test_whoever_approved_a_plan_did_not_approve_what_the_task_decides_itself(runner: ConfirmRunner) -> None:
    seen = {**answer(), "plan_digest": planned(runner).digest}
    assert "Give plan_uri with approved_by" in str(runner.confirm(approved_by=seen).error)
    assert runner.writes == 0


def test_an_approval_that_was_given_while_the_plan_was_made_does_not_count(runner: ConfirmRunner) -> None:
    """Its author saw the plan that lay there before."""
    plan = planned(runner)
    samples = list(plan.samples())
    with PlanWriter(plan.path, plan.header) as writer:
        writer.add_rows([one.row for one in samples], [one.decision for one in samples])
        writer.notes = replace(plan.notes, completed_at=plan.header.created_at + 600)
    while_made = {**answer(), "responded_at": datetime.fromtimestamp(plan.header.created_at + 300, UTC)}
    assert "before the plan" in str(confirm(runner, while_made).error)
    assert runner.writes == 0


def test_an_approval_needs_the_plan_that_was_approved() -> None:
    with pytest.raises(ParameterError, match="Give plan_uri with approval"):
        ModelArtsConfirmSamplesOperator(task_id="c", dataset_id="d", approval=answer())
    with pytest.raises(ParameterError, match="not both"):
        ModelArtsConfirmSamplesOperator(
            task_id="c", dataset_id="d", plan_uri="file:///p", approval=answer(), approved_by="ada"
        )
