"""The way of an audit: planned, answered by people, evaluated, and confirmed only as far as the answers prove."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence, read_evidence
from airflow_provider_modelarts.labeling.evidence.reliability import reliability_svg
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import AUDITED, PASSED
from airflow_provider_modelarts.operators.audit import ModelArtsEvaluateAuditOperator
from airflow_provider_modelarts.operators.samples import ModelArtsConfirmSamplesOperator
from airflow_provider_modelarts.operators.teams import ModelArtsUpdateTeamSamplesOperator
from airflow_provider_modelarts.utils.observation import Observation, bounds_by_label
from tests.operators.runners import ConfirmRunner, check_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.operator_driver import Ending

POLICY = {"target_precision": 0.9, "audit_size": 90, "seed": "night-1", "hard_examples": "confirm"}
LABELS = ["rose", "tulip"]


class AuditRunner(ConfirmRunner):
    """Plans with a target, lets people answer, evaluates and confirms; the machine knows roses, and the sure tulips."""

    def __init__(self, emulator: Emulator, clock: MovedClock, folder: Path) -> None:
        super().__init__(emulator, clock, folder)
        self.dataset_id = emulator.load_proposals(400, labels=LABELS)
        self.evidence_uri = f"file://{folder}/evidence/night.jsonl"
        self.proposed = {
            sample_id: (proposal["labels"][0]["name"], float(proposal["labels"][0]["score"]))
            for sample_id, proposal in self.dataset.proposals.items()
        }

    def is_right(self, sample_id: str) -> bool:
        label, score = self.proposed[sample_id]
        return label == "rose" or score >= 0.85

    def truth(self, sample_id: str) -> str:
        label, _ = self.proposed[sample_id]
        return label if self.is_right(sample_id) else LABELS[1 - LABELS.index(label)]

    def planned(self) -> Plan:
        return read_plan(Path(self.plan_uri.removeprefix("file://")))

    def drawn(self) -> list[str]:
        return [one.row.sample_id for one in self.planned().samples() if one.decision == AUDITED]

    def answer(self, sample_ids: list[str] | None = None) -> None:
        for sample_id in self.drawn() if sample_ids is None else sample_ids:
            self.dataset.edit(sample_id, self.truth(sample_id))

    def evaluate(self, *, answers_from: Any = "dataset", try_number: int = 1, **more: Any) -> Ending:
        given = {"dataset_id": self.dataset_id, "plan_uri": self.plan_uri, "evidence_uri": self.evidence_uri, **more}
        operator = ModelArtsEvaluateAuditOperator(task_id="evaluate", **given)
        operator.answers_from = answers_from  # as Airflow puts in what an approval returned
        return self.run(operator, try_number, 3)

    def apply(self, **more: Any) -> Ending:
        given = {"plan_uri": self.plan_uri, "evidence_uri": self.evidence_uri, "ledger_uri": self.ledger_uri, **more}
        return self.confirm(**{name: value for name, value in given.items() if value is not None})

    def evidence(self) -> Evidence:
        return read_evidence(Path(self.evidence_uri.removeprefix("file://")))

    def confirmed(self) -> dict[str, str]:
        drawn = set(self.drawn())
        return {
            sample_id: labels[0]["name"]
            for sample_id, labels in self.final.items()
            if labels and sample_id not in drawn
        }


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> AuditRunner:
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    ending = runner.plan(policy=POLICY)
    assert ending.error is None, ending.error
    return runner


def message(ending: Ending, kind: type[BaseException] = AirflowFailException) -> str:
    assert isinstance(ending.error, kind), ending.error
    return str(ending.error)


# --- the whole way


def test_only_what_the_answers_prove_is_confirmed(runner: AuditRunner) -> None:
    runner.answer()
    evaluated = runner.evaluate(ledger_uri=runner.ledger_uri)
    assert evaluated.error is None, evaluated.error
    counts = evaluated.result
    assert (counts["labels"], counts["drawn"], counts["answered"], counts["proposals"]) == (2, 180, 180, 400)
    thresholds = counts["min_score_by_label"]
    roses = [score for label, score in runner.proposed.values() if label == "rose"]
    assert thresholds["rose"] == min(roses)
    assert thresholds["tulip"] > 0.8
    assert "Audit of plan" in evaluated.xcoms["summary"]
    assert evaluated.xcoms["evidence_digest"] == runner.evidence().digest

    applied = runner.apply()
    assert applied.error is None, applied.error
    check_sums(applied.result)
    confirmed = runner.confirmed()
    expected = {
        sample_id: label
        for sample_id, (label, score) in runner.proposed.items()
        if score >= thresholds[label] and sample_id not in runner.drawn()
    }
    assert confirmed == expected
    assert applied.result["confirmed"] == counts["confirmable"] == len(expected)
    for label in LABELS:
        taken = [one for one, (name, score) in runner.proposed.items() if name == label and score >= thresholds[label]]
        assert sum(map(runner.is_right, taken)) >= 0.9 * len(taken)
    # What was applied is a plan of its own, made of the other one by the evidence.
    (applied_plan,) = map(read_plan, runner.plans())
    assert applied_plan.header.narrowed_by == {
        "plan_digest": runner.planned().digest,
        "plan_uri": runner.plan_uri,
        "evidence_digest": runner.evidence().digest,
        "evidence_uri": runner.evidence_uri,
    }
    runner.verify()
    reverted = runner.revert()
    assert reverted.result["cleared"] == len(expected)
    assert runner.confirmed() == {}


def test_lineage_is_told_what_the_evidence_proves(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    observed: list[Observation | None] = []

    class Watched(ModelArtsConfirmSamplesOperator):
        def observe(self, *args: Any, **kwargs: Any) -> None:
            super().observe(*args, **kwargs)
            observed.append(self._observation)

    operator = Watched(
        task_id="confirm", dataset_id=runner.dataset_id, plan_uri=runner.plan_uri, evidence_uri=runner.evidence_uri
    )
    assert runner.run(operator, 1, 0).error is None
    (seen,) = observed
    assert seen is not None
    proven = runner.evidence().labels
    assert bounds_by_label(seen.values) == {
        one.label: {"bound": one.proof.bound, "target": 0.9, "answered": one.proof.counts.audited} for one in proven
    }


def test_evidence_survives_its_file(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    evidence = runner.evidence()
    lines = [json.loads(line) for line in Path(runner.evidence_uri.removeprefix("file://")).read_text().splitlines()]
    assert lines[0]["plan_digest"] == runner.planned().digest
    assert {line["label"] for line in lines if "proof" in line} == set(LABELS)
    answers = [line for line in lines if "sample_id" in line]
    assert {line["sample_id"]: line["right"] for line in answers} == {
        one: runner.is_right(one) for one in runner.drawn()
    }
    evidence.check(runner.planned())


def test_a_plan_is_judged_once(runner: AuditRunner) -> None:
    """To look, to let people answer otherwise, and to look again would be a second chance."""
    drawn = runner.drawn()
    for sample_id in drawn:
        runner.dataset.edit(sample_id, "daisy")
    first = runner.evaluate()
    assert (first.result["proven"], first.result["wrong"]) == (0, len(drawn))
    runner.answer()
    second = runner.evaluate(try_number=2)
    assert second.result == first.result
    assert second.xcoms["evidence_digest"] == first.xcoms["evidence_digest"]
    applied = runner.apply()
    assert applied.result["confirmed"] == 0
    assert runner.confirmed() == {}


def mark_of(runner: AuditRunner) -> Path:
    """The file beside the plan that says by what it was judged."""
    (mark,) = Path(runner.plan_uri.removeprefix("file://")).parent.glob("*.judged.jsonl")
    return mark


def test_a_plan_is_judged_once_wherever_the_evidence_is(runner: AuditRunner) -> None:
    for sample_id in runner.drawn():
        runner.dataset.edit(sample_id, "daisy")
    first = runner.evaluate()
    runner.answer()
    better = f"file://{runner.folder}/elsewhere/night.jsonl"
    refused = message(runner.evaluate(evidence_uri=better))
    assert f"what counts is the evidence stored at {runner.evidence_uri} " in refused
    assert not Path(better.removeprefix("file://")).exists()
    assert runner.evaluate(try_number=2).result == first.result


def test_a_judgement_is_named_beside_its_plan(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    assert json.loads(mark_of(runner).read_text().splitlines()[0]) == {
        "evidence_digest": runner.evidence().digest,
        "evidence_uri": runner.evidence_uri,
    }


def test_a_crash_before_the_judgement_is_named_leaves_the_first_evidence(runner: AuditRunner) -> None:
    runner.answer(runner.drawn()[:100])
    first = runner.evaluate()
    mark = mark_of(runner)
    mark.unlink()
    refused = message(runner.apply())
    assert "nothing beside the plan says that its evaluation has ended" in refused
    assert "Clear the task that evaluates its audit: the evidence that is there is kept" in refused
    runner.answer()
    assert runner.evaluate(try_number=2).result == first.result
    assert mark.exists()
    assert runner.apply().error is None


def test_evidence_that_is_gone_is_not_made_twice(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    Path(runner.evidence_uri.removeprefix("file://")).unlink()
    assert "If it is gone, or if more answers are to count, plan again" in message(runner.evaluate(try_number=2))


def test_what_was_stored_second_confirms_nothing(runner: AuditRunner) -> None:
    """Two tasks evaluate at the same time; each has found that the plan was not judged yet."""
    for sample_id in runner.drawn():
        runner.dataset.edit(sample_id, "daisy")
    runner.evaluate()
    mark = mark_of(runner)
    kept = mark.read_bytes()
    mark.unlink()
    runner.answer()
    better = f"file://{runner.folder}/elsewhere/night.jsonl"
    assert runner.evaluate(evidence_uri=better).result["confirmable"] > 0
    mark.write_bytes(kept)
    runner.emulator.journal.clear()
    for preview in (True, False):
        assert "was judged already" in message(runner.apply(evidence_uri=better, preview=preview))
    assert runner.writes == 0


def test_a_copy_of_the_evidence_is_as_good(runner: AuditRunner) -> None:
    runner.answer()
    first = runner.evaluate()
    copy = runner.folder / "copy.jsonl"
    copy.write_bytes(Path(runner.evidence_uri.removeprefix("file://")).read_bytes())
    assert runner.evaluate(evidence_uri=f"file://{copy}").xcoms["evidence_digest"] == first.xcoms["evidence_digest"]
    assert runner.apply(evidence_uri=f"file://{copy}").result["confirmed"] == first.result["confirmable"]


def test_the_next_plan_at_the_same_place_is_judged_by_itself(runner: AuditRunner) -> None:
    runner.answer()
    first = runner.evaluate()
    assert runner.plan(policy={**POLICY, "seed": "night-2"}).error is None
    runner.answer()
    second = runner.evaluate()
    assert second.error is None, second.error
    assert second.xcoms["evidence_digest"] != first.xcoms["evidence_digest"]


def test_a_retry_of_the_confirmation_goes_on_with_the_same_evidence(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    first = runner.apply()
    again = runner.apply(try_number=2)
    assert again.error is None, again.error
    assert again.result["confirmed"] + again.result["gone"] == first.result["confirmed"]
    assert len(runner.plans()) == 1


def test_a_preview_says_what_is_proven_and_writes_nothing(runner: AuditRunner) -> None:
    runner.answer()
    evaluated = runner.evaluate()
    runner.emulator.journal.clear()
    preview = runner.apply(preview=True)
    assert preview.result["confirmed"] == evaluated.result["confirmable"]
    assert runner.writes == 0


def test_the_policy_may_say_where_the_evidence_is(runner: AuditRunner) -> None:
    runner.plan(policy={**POLICY, "evidence_uri": runner.evidence_uri})
    runner.answer()
    assert runner.evaluate(evidence_uri=None).result["evidence_uri"] == runner.evidence_uri
    assert runner.apply(evidence_uri=None).result["confirmed"] > 0


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("night.jsonl", "night"),
        ("manual__2026-01-02T03:04:05+00:00 (a).jsonl", "manual__2026-01-02T03:04:05+00:00 (a)"),
        ("night.md", "night.md"),  # what counts is never written over
        ("night.svg", "night.svg"),
    ],
)
def test_a_report_and_a_picture_lie_beside_the_evidence(runner: AuditRunner, name: str, stem: str) -> None:
    runner.evidence_uri = f"file://{runner.folder}/evidence/{name}"
    runner.answer()
    ending = runner.evaluate()
    assert ending.error is None, ending.error
    folder = runner.folder / "evidence"
    assert {one.name for one in folder.iterdir()} == {name, f"{stem}.md", f"{stem}.svg"}
    assert ending.result["report_uri"] == f"file://{folder}/{stem}.md"
    report = (folder / f"{stem}.md").read_text("utf-8")
    (link,) = re.findall(r"!\[Right among the answers, by score\]\(([^ ():]+)\)", report)
    assert unquote(link) == f"{stem}.svg"
    assert ending.xcoms["summary"] == report.replace(f"![Right among the answers, by score]({link})\n\n", "")
    assert (folder / f"{stem}.svg").read_text("utf-8") == reliability_svg(runner.evidence())
    # A retry writes the same again.
    (folder / f"{stem}.svg").unlink()
    assert runner.evaluate(try_number=2).result == ending.result
    assert (folder / f"{stem}.md").read_text("utf-8") == report
    assert (folder / f"{stem}.svg").exists()


# --- where the answers are


def test_those_whom_nobody_answered_do_not_count(runner: AuditRunner) -> None:
    drawn = runner.drawn()
    runner.answer(drawn[:100])
    ending = runner.evaluate()
    assert (ending.result["drawn"], ending.result["answered"]) == (180, 100)
    assert "80 were not answered" in ending.xcoms["summary"]


@pytest.mark.wrong_answers
def test_an_odd_answer_about_a_sample_is_not_taken_for_the_silence_of_people(
    runner: AuditRunner, emulator: Emulator
) -> None:
    runner.answer()
    odd = [emulator.faults.add("GET", "/samples/", "status", status=200, body="{}", after=n) for n in (1, 40)]
    ending = runner.evaluate()
    assert ending.result["answered"] == 180
    assert [rule.fired for rule in odd] == [1, 1]


def test_a_gateway_that_knows_no_such_api_is_not_taken_for_the_silence_of_people(
    runner: AuditRunner, emulator: Emulator
) -> None:
    runner.answer()
    emulator.faults.add("GET", "/samples/", "status", status=404, times=2)
    assert "no such API" in message(runner.evaluate())
    assert not Path(runner.evidence_uri.removeprefix("file://")).exists()
    assert runner.evaluate(try_number=2).result["answered"] == 180


def test_a_project_that_is_not_known_is_not_taken_for_the_silence_of_people(runner: AuditRunner) -> None:
    runner.answer()
    assert "Check user, account and project" in message(runner.evaluate(project_id="0" * 32))


def test_without_any_answer_nothing_is_stored_and_the_task_may_run_again(runner: AuditRunner) -> None:
    assert "None of the 180 samples" in message(runner.evaluate(), ConfirmationError)
    assert not Path(runner.evidence_uri.removeprefix("file://")).exists()
    runner.answer()
    assert runner.evaluate(try_number=2).error is None


def test_answers_of_a_team(runner: AuditRunner, moved_clock: MovedClock) -> None:
    drawn = runner.drawn()
    moved_clock.sleep(5)
    task_id = runner.dataset.create_team_task(("ann@example.com", "bob@example.com"), tuple(drawn))
    workers = list(runner.dataset.team_workers(task_id))
    for place, sample_id in enumerate(drawn[:100]):
        runner.dataset.label_team_sample(task_id, sample_id, runner.truth(sample_id), workers[0])
        if place < 10:  # one of two disagrees
            runner.dataset.label_team_sample(task_id, sample_id, "tulip", workers[1])
            runner.dataset.label_team_sample(task_id, sample_id, "rose", workers[0])
    ending = runner.evaluate(answers_from="team_task", workforce_task_id=task_id)
    assert ending.error is None, ending.error
    answers = {one.sample_id: one.right for one in runner.evidence().answers}
    assert answers == {one: place >= 10 and runner.is_right(one) for place, one in enumerate(drawn[:100])}


def test_copies_that_the_account_has_filled_are_no_answers(runner: AuditRunner, moved_clock: MovedClock) -> None:
    """The operator wrote what was proposed: else the machine would judge itself."""
    drawn = runner.drawn()
    moved_clock.sleep(5)
    task_id = runner.dataset.create_team_task(("ann@example.com", "bob@example.com"), tuple(drawn))
    workers = list(runner.dataset.team_workers(task_id))
    samples = [
        {"sample_id": one, "worker_id": workers[0], "labels": [{"name": runner.proposed[one][0]}]} for one in drawn
    ]
    fill = ModelArtsUpdateTeamSamplesOperator(
        task_id="fill", dataset_id=runner.dataset_id, workforce_task_id=task_id, samples=samples
    )
    assert runner.run(fill, 1, 0).result["updated"] == len(drawn)
    team: dict[str, Any] = {"answers_from": "team_task", "workforce_task_id": task_id}
    assert "was answered by a person" in message(runner.evaluate(**team), ConfirmationError)
    # Whoever looks at such a copy and labels it says something, and so does another member.
    runner.dataset.label_team_sample(task_id, drawn[0], runner.truth(drawn[0]), workers[0])
    for sample_id in drawn[1:50]:
        runner.dataset.label_team_sample(task_id, sample_id, runner.truth(sample_id), workers[1])
    assert runner.evaluate(**team, try_number=2).error is None
    assert {one.sample_id: one.right for one in runner.evidence().answers} == {
        one: runner.is_right(one) for one in drawn[:50]
    }


def test_a_team_task_that_is_older_than_the_plan_is_refused(runner: AuditRunner, moved_clock: MovedClock) -> None:
    task_id = runner.dataset.create_team_task(("ann@example.com",), tuple(runner.proposed))
    moved_clock.sleep(3600)
    runner.plan(policy={**POLICY, "seed": "another"})
    ending = runner.evaluate(answers_from="team_task", workforce_task_id=task_id)
    assert "is older than the plan" in message(ending)


def test_answers_of_the_review_page(runner: AuditRunner) -> None:
    """As docs/review-page.md says."""
    drawn = runner.drawn()
    given: dict[str, Any] = {
        one: {"verdict": "right"} if runner.is_right(one) else {"verdict": "wrong", "label": runner.truth(one)}
        for one in drawn
    }
    given[drawn[0]] = {"verdict": "wrong"}
    given[drawn[1]] = "wrong"
    approval = {"chosen_options": ["Approve"], "params_input": {"audit_answers": given, "reject_samples": []}}
    ending = runner.evaluate(answers_from=approval)
    assert ending.error is None, ending.error
    answers = {one.sample_id: (one.right, one.names) for one in runner.evidence().answers}
    assert answers == {
        one: (one not in drawn[:2] and runner.is_right(one), () if one in drawn[:2] else (runner.truth(one),))
        for one in drawn
    }
    operator = ModelArtsConfirmSamplesOperator(
        task_id="confirm",
        dataset_id=runner.dataset_id,
        plan_uri=runner.plan_uri,
        evidence_uri=runner.evidence_uri,
        ledger_uri=runner.ledger_uri,
    )
    operator.approval = approval
    assert runner.run(operator, 1, 3).result["confirmed"] == ending.result["confirmable"] > 0


AT = datetime(2036, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "handed",
    [
        lambda answers: answers,
        json.dumps,
        lambda answers: {"audit_answers": answers},
        lambda answers: {
            "chosen_options": ["Approve"],
            "params_input": {"audit_answers": answers},
            "responded_at": AT,
            "responded_by_user": {"id": "17", "name": "ada"},
        },
    ],
    ids=["dict", "json", "field", "approval"],
)
def test_answers_of_a_page(runner: AuditRunner, handed: Callable[[Any], Any]) -> None:
    drawn = runner.drawn()
    given = {one: "right" if runner.is_right(one) else [runner.truth(one)] for one in drawn[:-1]}
    ending = runner.evaluate(answers_from=handed(given))
    assert ending.error is None, ending.error
    assert {one.sample_id: one.right for one in runner.evidence().answers} == {
        one: runner.is_right(one) for one in drawn[:-1]
    }
    assert runner.evidence().header.answers_from == "given"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"no-such-sample": "right"}, "which was not drawn for the audit"),
        ({"DRAWN": "perhaps"}, 'must be "right", "wrong" or a list of label names'),
        ({"DRAWN": {"verdict": "right", "label": "rose"}}, 'must be "right", "wrong" or a list of label names'),
        ({"DRAWN": {"verdict": "perhaps"}}, 'must be "right", "wrong" or a list of label names'),
        ({"DRAWN": {}}, 'must be "right", "wrong" or a list of label names'),
        ({"DRAWN": []}, 'must be "right", "wrong" or a list of label names'),
        ({"DRAWN": [None]}, 'must be "right", "wrong" or a list of label names'),
        ({"DRAWN": None}, 'must be "right", "wrong" or a list of label names'),
        ([1], "answers_from must be"),
        ("people", "answers_from must be"),
    ],
    ids=str,
)
def test_answers_that_are_none_are_refused(runner: AuditRunner, given: Any, said: str) -> None:
    if isinstance(given, dict) and "DRAWN" in given:
        given = {runner.drawn()[0]: given["DRAWN"]}
    assert said in message(runner.evaluate(answers_from=given))


def test_answers_about_another_plan_are_refused(runner: AuditRunner) -> None:
    approval = {
        "chosen_options": ["Approve"],
        "params_input": {"audit_answers": {runner.drawn()[0]: "right"}},
        "responded_at": "2001-11-20T12:00:00+00:00",
    }
    at = datetime(2001, 11, 20, 12, tzinfo=UTC)
    for given in (approval, str(approval), str({**approval, "responded_at": at})):  # the last as a template renders it
        assert "before the plan" in message(runner.evaluate(answers_from=given))
    other = {**approval, "responded_at": "2036-11-20T12:00:00+00:00", "plan_digest": "0" * 64}
    assert "nobody has approved it" in message(runner.evaluate(answers_from=other))


def plan_is_younger(runner: AuditRunner, seconds: float) -> None:
    """Let the plan say that it was made later, as a worker does whose clock is ahead of others'."""
    plan = runner.planned()
    samples = list(plan.samples())
    with PlanWriter(plan.path, replace(plan.header, created_at=plan.header.created_at + seconds)) as writer:
        for row, decision in samples:
            writer.add_rows([row], [decision])


@pytest.mark.parametrize("ahead", [0.0, 55.0])
def test_labels_that_a_confirmation_wrote_are_no_answers(runner: AuditRunner, ahead: float) -> None:
    """Another plan for the same dataset, without an audit, confirms what this one has drawn."""
    plan_is_younger(runner, ahead)
    drawn = runner.drawn()
    runner.answer(drawn[:50])
    elsewhere = f"file://{runner.folder}/plans/other.jsonl"
    assert runner.plan(plan_uri=elsewhere, policy={"labels": ["rose"], "hard_examples": "confirm"}).error is None
    assert runner.confirm(plan_uri=elsewhere, ledger_uri=runner.ledger_uri).error is None
    ours = {one for one in drawn[50:] if runner.proposed[one][0] == "rose"}
    ending = runner.evaluate(ledger_uri=runner.ledger_uri)
    assert ending.error is None, ending.error
    assert {one.sample_id for one in runner.evidence().answers} == set(drawn[:50])
    assert ending.result["excluded"] == len(ours) > 0
    assert f"{len(ours)} of these carry labels that this package wrote itself" in ending.xcoms["summary"]


# --- wrong use


def test_without_evidence_nothing_is_confirmed(runner: AuditRunner) -> None:
    runner.answer()
    runner.emulator.journal.clear()
    assert "nothing says where the evidence is" in message(runner.apply(evidence_uri=None))
    assert "there is nothing" in message(runner.apply())
    assert "which people's answers about a plan must prove first" in message(runner.confirm(policy=POLICY))
    assert "which people's answers about a plan must prove first" in message(
        runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    )
    assert runner.writes == 0
    assert runner.plans() == []


def test_evidence_for_another_plan_is_refused(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    runner.plan(policy={**POLICY, "seed": "night-2"})
    runner.emulator.journal.clear()
    assert "that is another plan, or it was changed" in message(runner.apply())
    assert runner.writes == 0


def test_evidence_for_a_plan_without_a_target_is_refused(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    runner.plan(policy={"min_score": 0.5})
    assert "has no target that is still to be proven" in message(runner.apply())
    assert "has no target_precision" in message(runner.evaluate())


def altered(runner: AuditRunner, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Alter the evidence and seal it once more, as somebody would who knows how."""
    from airflow_provider_modelarts.labeling.storage.sealed_file import SealedWriter, encode_line

    path = Path(runner.evidence_uri.removeprefix("file://"))
    *lines, last = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    with SealedWriter(path) as file:
        for line in lines:
            file.write(encode_line(line))
        file.seal({name: value for name, value in last.items() if name != "sha256"})


def lower_threshold(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line.get("label") == "tulip" and "proof" in line:
            line["proof"]["threshold"] = 0.0


def right_answers(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if "sample_id" in line:
            line["right"] = True


def lower_target(lines: list[dict[str, Any]]) -> None:
    lines[0]["target_precision"] = 0.5


def no_label(lines: list[dict[str, Any]]) -> None:
    del lines[1]["label"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lower_threshold, "its numbers do not follow"),
        (right_answers, "its numbers do not follow"),
        (lower_target, "it is about the target"),
        (no_label, "a line in it is not as it must be"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_altered_evidence_is_refused(
    runner: AuditRunner, change: Callable[[list[dict[str, Any]]], None], said: str
) -> None:
    runner.answer()
    runner.evaluate()
    altered(runner, change)
    runner.emulator.journal.clear()
    assert said in message(runner.apply())
    assert runner.writes == 0


def test_damaged_evidence_is_refused(runner: AuditRunner) -> None:
    runner.answer()
    runner.evaluate()
    path = Path(runner.evidence_uri.removeprefix("file://"))
    path.write_text(path.read_text().replace('"right":false', '"right":true'))
    assert "not complete or was altered" in message(runner.apply())


@pytest.mark.parametrize("ahead", [0.0, 55.0])
def test_answers_read_after_confirming_are_refused(runner: AuditRunner, ahead: float) -> None:
    plan_is_younger(runner, ahead)
    runner.answer()
    runner.evaluate()
    assert runner.apply().error is None
    mark_of(runner).unlink()
    later = f"file://{runner.folder}/evidence/later.jsonl"
    ending = runner.evaluate(evidence_uri=later, ledger_uri=runner.ledger_uri)
    assert "was applied already" in message(ending)


def test_an_audit_that_somebody_chose_is_refused(runner: AuditRunner) -> None:
    """A plan in which a drawn sample was exchanged for another, sealed as any plan."""
    plan = runner.planned()
    samples = list(plan.samples())
    first = next(one for one in samples if one.decision == AUDITED)
    other = next(one for one in samples if one.decision == PASSED)
    with PlanWriter(plan.path, replace(plan.header)) as writer:
        for row, decision in samples:
            exchanged = {first.row.sample_id: PASSED, other.row.sample_id: AUDITED}.get(row.sample_id, decision)
            writer.add_rows([row], [exchanged])
    runner.answer()
    assert "2 are not as its seed draws them" in message(runner.evaluate())


def test_the_digest_of_the_plan_may_be_asked_for(runner: AuditRunner) -> None:
    runner.answer()
    assert "has the digest" in message(runner.evaluate(plan_digest="0" * 64))
    assert runner.evaluate(plan_digest=runner.planned().digest).error is None


@pytest.mark.parametrize(
    "given",
    [
        {"answers_from": "team_task"},
        {"workforce_task_id": "some"},
        {"iou": 2},
    ],
    ids=str,
)
def test_parameters_that_do_not_fit(runner: AuditRunner, given: dict[str, Any]) -> None:
    if "iou" in given:
        with pytest.raises(ParameterError, match="iou"):
            ModelArtsEvaluateAuditOperator(task_id="e", dataset_id="d", plan_uri="file:///p", **given)
    else:
        assert "Give workforce_task_id with" in message(runner.evaluate(**given))


def test_evidence_needs_a_plan() -> None:
    with pytest.raises(ParameterError, match="Give plan_uri with evidence_uri"):
        ModelArtsConfirmSamplesOperator(task_id="c", dataset_id="d", evidence_uri="file:///e")


# --- the draw


def test_so_many_are_drawn_of_each_label_whatever_order_the_list_has(runner: AuditRunner) -> None:
    audited = AuditedPlan(runner.planned())
    assert {label: len(one.drawn) for label, one in audited.populations.items()} == {"rose": 90, "tulip": 90}
    assert len(runner.planned()) == 400
    again = f"file://{runner.folder}/plans/again.jsonl"
    assert runner.plan(plan_uri=again, policy={**POLICY, "audit_size": 10_000}).error is None
    everything = AuditedPlan(read_plan(Path(again.removeprefix("file://"))))
    assert set(everything.rows) == set(runner.proposed)


@pytest.mark.wrong_answers
@pytest.mark.parametrize("kind", ["classification", "multi_label", "detection"])
def test_a_plan_that_draws_late_says_the_same_of_each_proposal(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, kind: str
) -> None:
    """It is written twice, and nothing of a proposal may be lost between."""
    runner = ConfirmRunner(emulator, moved_clock, tmp_path)
    runner.dataset_id = emulator.load_proposals(230, kind=kind, hard_share=0.3)
    odd = [{"sample_id": "odd", "labels": [{"name": ["?"]}]}, {"sample_id": "text", "labels": "none"}]
    runner.dataset.propose([{"sample_id": "bare", "labels": []}, *odd])
    stored = []
    for number, policy in enumerate(({"min_score": 0.5}, {"min_score": 0.5, "audit_size": 7})):
        ending = runner.plan(plan_uri=f"file://{tmp_path}/plans/{number}.jsonl", policy=policy)
        assert ending.error is None, ending.error
        text = (tmp_path / "plans" / f"{number}.jsonl").read_text(encoding="utf-8")
        stored.append([json.loads(line) for line in text.splitlines()[1:-1]])
        assert ending.result["failed"] == 2
    plain, drawn = ({line["sample_id"]: line for line in lines} for lines in stored)
    late = [one for one in plain if (plain[one]["decision"], drawn[one]["decision"]) == ("confirm", "review")]
    assert {drawn[one]["rule"] for one in late} == {"audit_sample"}
    assert len(late) >= 7
    for sample_id in late:
        drawn[sample_id] = {**drawn[sample_id], "decision": "confirm", "rule": "passed"}
    assert list(drawn.values()) == list(plain.values())


@pytest.mark.parametrize("ledger", [True, False])
def test_a_sized_audit_without_a_plan_of_its_own_is_planned_first(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    given = {"policy": {"audit_size": 5, "hard_examples": "confirm"}}
    if ledger:
        given["ledger_uri"] = runner.ledger_uri
    assert "A policy with audit_size needs a plan" in message(runner.confirm(**given, preview=True))
    ending = runner.confirm(**given)
    assert ending.error is None, ending.error
    assert (ending.result["confirmed"], ending.result["review"]) == (390, 10)
    assert len(runner.plans()) == 1


def test_with_few_proposals_nothing_is_proven_and_the_report_says_how_many_answers_are_missing(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    assert runner.plan(policy={**POLICY, "audit_size": 5, "labels": ["rose"]}).error is None
    runner.answer()
    ending = runner.evaluate()
    assert (ending.result["labels"], ending.result["proven"], ending.result["confirmable"]) == (1, 0, 0)
    (rose,) = runner.evidence().labels
    assert rose.proof.more
    assert f"- rose: {rose.proof.more} more answers are needed if all of them are right" in ending.xcoms["summary"]
    assert runner.apply().result["confirmed"] == 0


def test_an_empty_plan_proves_nothing_and_confirms_nothing(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    for sample_id in runner.proposed:
        runner.dataset.edit(sample_id, "rose")
    assert runner.plan(policy=POLICY).error is None
    ending = runner.evaluate()
    assert ending.error is None, ending.error
    assert (ending.result["labels"], ending.result["min_score_by_label"]) == (0, {})
    assert runner.apply().result["confirmed"] == 0


def test_only_audited_samples_are_read(runner: AuditRunner) -> None:
    runner.answer()
    runner.emulator.journal.clear()
    runner.evaluate()
    reads = runner.emulator.journal.select("GET", match=lambda record: "/data-annotations/samples/" in record.path)
    assert {record.path.rpartition("/")[2] for record in reads} == set(runner.drawn())
    assert runner.writes == 0
