"""The drift guard from Airflow: which plan it compares with, night after night, and what stops the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.labeling.policy import InvalidPolicy
from tests.labeling.test_baseline import EVEN, ROSES, night
from tests.operators.runners import ConfirmRunner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.operator_driver import Ending

POLICY = {"min_score": 0.5, "max_drift": 0.1}


class NightRunner(ConfirmRunner):
    """Runs a night: new samples are proposed, planned and confirmed."""

    def __init__(self, emulator: Emulator, clock: MovedClock, folder: Path) -> None:
        super().__init__(emulator, clock, folder, samples=0)
        self.nights = 0

    def begin_night(self, weights: Mapping[str, float]) -> None:
        self.nights += 1
        self.begin_run(f"night-{self.nights}")
        self.dataset.propose(night(self.nights, weights) if weights else [])

    def plan_and_apply(self, weights: Mapping[str, float], **policy: Any) -> tuple[Ending, Ending]:
        self.begin_night(weights)
        planned = self.plan(policy={**POLICY, **policy}, ledger_uri=self.ledger_uri)
        return planned, self.confirm(plan_uri=self.plan_uri, ledger_uri=self.ledger_uri)

    def stored(self, name: str = "") -> Any:
        return read_plan(Path(self.plan_uri.removeprefix("file://")) if not name else self.folder / name)


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> NightRunner:
    return NightRunner(emulator, moved_clock, tmp_path)


def test_each_night_is_compared_with_the_night_applied_last(runner: NightRunner) -> None:
    planned, applied = runner.plan_and_apply(EVEN)
    assert (planned.error, applied.error) == (None, None)
    assert "no earlier plan to compare with" in planned.xcoms["summary"]
    first = runner.stored()
    planned, applied = runner.plan_and_apply(EVEN)
    assert (planned.error, applied.error) == (None, None)
    assert runner.stored().drift.baseline_digest == first.digest
    assert "Nothing has moved more than chance would" in planned.xcoms["summary"]
    second, final = runner.stored(), runner.dataset.annotated
    planned, applied = runner.plan_and_apply(ROSES)
    assert type(planned.error) is AirflowFailException
    assert "max_drift=0.1 does not hold" in str(planned.error)
    assert "the share of 'rose' from 3" in str(applied.error)
    assert runner.dataset.annotated == final
    assert len(planned.xcoms["summary"].encode()) <= 8192
    assert "Something has moved, so nothing is confirmed" in planned.xcoms["summary"]
    # What was not applied is no baseline; its samples are still new.
    runner.dataset.propose([], keep=False)
    planned, _ = runner.plan_and_apply(EVEN)
    assert planned.error is None
    assert runner.stored().drift.baseline_digest == second.digest


def test_review_leaves_to_people_what_moved_and_the_approval_shows_it(runner: NightRunner) -> None:
    runner.plan_and_apply(EVEN)
    before = len(runner.entries())
    planned, applied = runner.plan_and_apply({"rose": 18, "tulip": 10, "daisy": 2}, on_drift="review")
    assert (planned.error, applied.error) == (None, None)
    assert "a label that has drifted" in planned.xcoms["summary"]
    assert planned.result["confirmed"] == applied.result["confirmed"] > 50
    assert runner.stored().drift.labels == {"rose", "daisy"}
    written = [entry for entry in runner.entries()[before:] if entry["fate"] == "confirmed"]
    assert len(written) == applied.result["confirmed"]
    assert {label["name"] for entry in written for label in entry["after"]} == {"tulip"}
    runner.verify()


def test_a_task_that_plans_and_confirms_at_once_judges_too_and_a_retry_keeps_the_verdict(runner: NightRunner) -> None:
    given = {"policy": POLICY, "ledger_uri": runner.ledger_uri}
    runner.begin_night(EVEN)
    assert runner.confirm(**given).error is None
    runner.begin_night(ROSES)
    first = runner.confirm(**given, max_tries=2)
    plans = runner.plans()
    again = runner.confirm(**given, try_number=2, max_tries=2)
    assert "the share of 'rose'" in str(first.error)
    assert str(again.error) == str(first.error)
    assert runner.plans() == plans
    assert first.xcoms["return_value"]["confirmed"] == 0


def test_a_plan_that_is_named_is_the_baseline_of_every_night(runner: NightRunner) -> None:
    runner.plan_and_apply(EVEN)
    named = runner.plan_uri
    runner.plan_and_apply(ROSES, on_drift="warn")
    planned, _ = runner.plan_and_apply(ROSES)
    assert planned.error is None  # the night before was as bad
    runner.begin_night(ROSES)
    planned = runner.plan(policy={**POLICY, "baseline_plan_uri": named})
    assert "does not hold" in str(planned.error)
    assert runner.stored().drift.baseline_uri == named


@pytest.mark.parametrize("is_there", [True, False])
def test_a_named_plan_that_cannot_be_compared_with_is_an_error(runner: NightRunner, is_there: bool) -> None:
    runner.begin_night(EVEN)
    place = runner.folder / "named.jsonl"
    if is_there:
        place.write_text("no plan")
    ending = runner.plan(policy={**POLICY, "baseline_plan_uri": f"file://{place}"})
    assert type(ending.error) is AirflowFailException
    assert ("this is no plan" if is_there else "There is no plan at") in str(ending.error)
    assert not Path(runner.plan_uri.removeprefix("file://")).exists()


def test_the_last_plan_applied_that_is_gone_is_an_error_that_says_what_to_do(runner: NightRunner) -> None:
    runner.plan_and_apply(EVEN)
    Path(runner.plan_uri.removeprefix("file://")).unlink()
    runner.begin_night(EVEN)
    ending = runner.plan(policy=POLICY, ledger_uri=runner.ledger_uri)
    assert "max_drift cannot be judged: the plan that run night-1 applied last" in str(ending.error)
    assert "name another plan as baseline_plan_uri" in str(ending.error)


def test_what_earlier_nights_left_to_people_is_not_new_to_a_plan_that_is_named(runner: NightRunner) -> None:
    """Doubtful samples pile up: counted as new ones they look like scores that sink, though the machine is the same."""
    runner.plan_and_apply(EVEN)
    first = runner.plan_uri
    for _ in range(4):
        planned, applied = runner.plan_and_apply(EVEN, baseline_plan_uri=first)
        assert (planned.error, applied.error) == (None, None)
        drift = runner.stored().drift
        assert (drift.baseline_uri, drift.now) == (first, 400)
    planned, _ = runner.plan_and_apply(ROSES, baseline_plan_uri=first)
    assert "does not hold" in str(planned.error)


def test_nights_without_new_samples_do_not_blind_the_guard(runner: NightRunner) -> None:
    """The plan of such a night is applied, and what comes after it is compared with the night before."""
    runner.plan_and_apply(EVEN)
    quiet = runner.folder / "plans" / "night-2.jsonl"
    runner.plan_and_apply({}, hard_examples="confirm")
    assert read_plan(quiet).drift is not None
    assert runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri).error is None
    planned, _ = runner.plan_and_apply(ROSES)
    assert "does not hold" in str(planned.error)
    assert "night-1.jsonl" in str(planned.error)
    planned, _ = runner.plan_and_apply(EVEN, baseline_plan_uri=f"file://{quiet}")
    assert "no sample was proposed in it for the first time" in str(planned.error)


def test_without_any_place_to_look_nothing_is_planned(runner: NightRunner) -> None:
    runner.begin_night(EVEN)
    for ending in (runner.plan(policy=POLICY), runner.confirm(policy=POLICY)):
        assert "max_drift needs an earlier plan" in str(ending.error)
    assert runner.writes == 0


def test_plans_for_other_proposals_are_passed_over(runner: NightRunner) -> None:
    runner.begin_night(EVEN)
    assert runner.confirm(policy=POLICY, first_label="rose", ledger_uri=runner.ledger_uri).error is None
    runner.begin_night(EVEN)
    assert runner.plan(policy=POLICY, ledger_uri=runner.ledger_uri).error is None
    assert runner.stored().drift.baseline_uri is None


@pytest.mark.parametrize("policy", [{"baseline_plan_uri": "file:///p"}, {"on_drift": "warn"}])
def test_keys_that_say_nothing_without_a_limit_are_refused(runner: NightRunner, policy: dict[str, Any]) -> None:
    with pytest.raises(InvalidPolicy, match="says nothing without max_drift"):
        runner.plan(policy=policy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("baseline_plan_uri", value) for value in ("", "None", " null ", "https://host/plan?X-Amz-Signature=1", 7)),
        *(("max_drift", value) for value in (0, -1, "", "nan", True, "a lot")),
        *(("on_drift", value) for value in ("", "ignore", None)),
    ],
)
def test_values_that_a_template_left_empty_or_that_are_none_are_refused(
    runner: NightRunner, key: str, value: object
) -> None:
    with pytest.raises(InvalidPolicy, match=key):
        runner.plan(policy=json.loads(json.dumps({"max_drift": 0.1, key: value})))


def test_a_template_that_rendered_to_nothing_is_no_missing_baseline(runner: NightRunner) -> None:
    runner.begin_night(EVEN)
    policy = {**POLICY, "baseline_plan_uri": "{{ params.get('nothing', '') }}"}
    ending = runner.plan(policy=policy, ledger_uri=runner.ledger_uri, params={})
    assert isinstance(ending.error, (AirflowFailException, ParameterError))
    assert "baseline_plan_uri" in str(ending.error)
