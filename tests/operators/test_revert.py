"""Taking a confirmation back from Airflow: what is restored, what people are told, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.errors import ConfirmationError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.ledger.entries import Entry, RunIdentity
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.lines import PlanHeader
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.operators.samples import ModelArtsRevertConfirmationOperator
from tests.operators.runners import RUN_ID, WRITE, ConfirmRunner
from tests.support.dag_runner import run_operator
from tests.support.on_request import AlarmOnRequest

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

FATES = ("restored", "cleared", "already", "changed", "gone", "failed")
POLICY = {"min_score": 0.9}


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> ConfirmRunner:
    """A dataset of which a person has labeled some samples that the machine has proposals for nevertheless."""
    runner = ConfirmRunner(emulator, moved_clock, tmp_path)
    proposals = runner.dataset.proposals
    for sample_id in list(proposals)[:20]:
        runner.dataset.edit(sample_id, ["by a person, before"])
        runner.dataset.propose([{**proposals[sample_id], "annotated_by": "human/ada/ada"}])
    return runner


def sums_up(counts: dict[str, Any]) -> bool:
    return bool(counts["seen"] == sum(counts[fate] for fate in FATES))


def test_everything_is_as_before_but_what_a_person_changed_which_is_listed(runner: ConfirmRunner) -> None:
    before = runner.final
    confirmed = runner.confirm(policy={"hard_examples": "confirm"}, ledger_uri=runner.ledger_uri).result["confirmed"]
    assert confirmed == 250
    corrected = list(runner.dataset.proposals or runner.dataset.samples)[40:43]
    for sample_id in corrected:
        runner.dataset.edit(sample_id, ["by a person, afterwards"])
    ending = runner.revert()
    assert ending.error is None
    assert sums_up(ending.result)
    expected = {"seen": 250, "restored": 20, "cleared": 227, "changed": 3, "unsettled": 0, "preview": False}
    assert expected.items() <= ending.result.items()
    for sample_id, labels in runner.final.items():
        if sample_id in corrected:
            assert runner.dataset.names_of(sample_id) == ["by a person, afterwards"]
        else:
            assert labels == before[sample_id]
    summary = ending.xcoms["summary"]
    assert "were not touched" in summary
    origins = {s.sample.sample_id: s.sample.origin for s in read_plan(runner.plans()[0]).samples()}
    for sample_id in corrected:
        assert str(origins[sample_id]) in summary, "where it lies, so that a person finds it"
    assert "do not come back" in summary
    assert len(summary.encode()) <= 8192


def test_a_preview_counts_and_writes_nothing(runner: ConfirmRunner) -> None:
    runner.confirm(policy=POLICY, ledger_uri=runner.ledger_uri)
    after, writes = runner.final, runner.writes
    ending = runner.revert(preview=True)
    assert ending.result["preview"] is True
    assert ending.result["restored"] + ending.result["cleared"] == ending.result["seen"] > 0
    assert (runner.final, runner.writes) == (after, writes)
    assert "would be reverted" in ending.xcoms["summary"]


def test_it_may_be_repeated(runner: ConfirmRunner) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    runner.revert()
    writes = runner.writes
    ending = runner.revert()
    assert ending.result["already"] == ending.result["seen"] == 250
    assert runner.writes == writes


def test_a_refused_sample_fails_the_task_after_its_counts_are_stored(runner: ConfirmRunner) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    sample_id = list(runner.dataset.samples)[100]
    fault = runner.emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=sample_id)
    ending = runner.revert()
    assert fault.fired
    assert type(ending.error) is ConfirmationError
    assert sample_id in str(ending.error)
    assert "\n" not in str(ending.error)
    assert ending.xcoms["return_value"]["failed"] == 1
    assert sums_up(ending.xcoms["return_value"])
    runner.emulator.faults.clear()
    assert runner.revert().result["already"] == 249


@pytest.mark.parametrize("place", ["beside the ledger", "of its own"])
def test_what_a_crash_left_unsettled_is_counted(runner: ConfirmRunner, place: str) -> None:
    given: dict[str, Any] = {}
    if place == "of its own":
        runner.plan()
        given = {"plan_uri": runner.plan_uri}
    runner.confirm(ledger_uri=runner.ledger_uri, **given)
    last = runner.parts()[-1]
    lines = last.read_text().splitlines()
    lost = sum(json.loads(line)["fate"] == "confirmed" for line in lines[1:-1])
    last.unlink()  # as if the process had died before it could store the last part
    known = {entry["sample_id"] for entry in runner.entries()}
    ending = runner.revert()
    assert ending.error is None
    assert ending.result["unsettled"] == lost >= 20
    # What a person had given before was stored before the write.
    assert (ending.result["seen"], ending.result["restored"]) == (len(known), 20)
    assert len(known) == 250 - lost + 20
    assert f"{lost}** are not settled" in ending.xcoms["summary"]


def test_a_plan_that_is_gone_is_a_warning(runner: ConfirmRunner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.plan()
    runner.confirm(ledger_uri=runner.ledger_uri, plan_uri=runner.plan_uri)
    for path in runner.files(f"{RUN_ID}.jsonl"):
        path.unlink()
    assert runner.revert().result["cleared"] == 230
    assert "left unsettled are not counted" in capsys.readouterr().out


def test_without_its_ledger_nothing_is_reverted(runner: ConfirmRunner) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    runner.emulator.journal.clear()
    other = f"file://{runner.folder}/elsewhere"
    for parameters, complaint in (
        ({"ledger_run_id": "another-run"}, "There is no ledger of run another-run"),
        ({"ledger_uri": other}, "There is no ledger of run"),
        ({"dataset_id": "another"}, "about dataset another"),
    ):
        ending = runner.revert(**parameters)
        assert type(ending.error) is AirflowFailException
        assert complaint in str(ending.error)
        assert "Check ledger_uri and ledger_run_id" in str(ending.error)
    assert len(runner.emulator.journal) == 0


def test_of_two_dags_whose_runs_share_an_id_the_named_one_is_reverted(runner: ConfirmRunner) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    root = Path(runner.ledger_uri.removeprefix("file://"))
    sample_id = runner.entries()[-1]["sample_id"]
    theirs = PlanWriter(root / "theirs.jsonl", PlanHeader(runner.dataset_id))
    with theirs:
        theirs.add(Sample({"sample_id": "unsettled", "labels": [{"name": "theirs"}]}), Decision("confirm", "passed"))
    facts = {"plan_uri": f"file://{root}/theirs.jsonl", "plan_digest": theirs.plan().digest}
    crashed = LedgerWriter(root, RunIdentity("other", RUN_ID, "confirm"), runner.dataset_id, **facts)
    crashed.record(Entry(sample_id, "confirmed", "passed", [{"name": "theirs"}]))
    crashed.flush()
    ending = runner.revert()
    assert type(ending.error) is AirflowFailException
    assert "2 DAGs under one run id (dag, other): name the one to revert as ledger_dag_id" in str(ending.error)
    other = runner.revert(ledger_dag_id="other").result
    assert (other["changed"], other["unsettled"]) == (1, 1)
    ours = runner.revert(ledger_dag_id="dag").result
    assert (ours["restored"], ours["cleared"], ours["unsettled"]) == (20, 230, 0)


def test_an_altered_part_is_named_before_anything_is_sent(runner: ConfirmRunner) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    part = runner.parts()[-1]
    altered = part.read_bytes().replace(b'"fate":"confirmed"', b'"fate":"gone"', 1)
    assert part.read_bytes() != altered
    part.write_bytes(altered)
    runner.emulator.journal.clear()
    ending = runner.revert()
    assert type(ending.error) is AirflowFailException
    assert part.name in str(ending.error)
    assert len(runner.emulator.journal) == 0


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"ledger_uri": ""}, "ledger_uri is empty"),
        ({"ledger_uri": "/data"}, "ledger_uri must be a URI"),
        ({"ledger_run_id": "None"}, "ledger_run_id is empty"),
        ({"ledger_dag_id": ""}, "ledger_dag_id is empty"),
        ({"dataset_id": ""}, "dataset_id is empty"),
        ({"preview": "perhaps"}, "preview must be true or false"),
        ({"concurrency": 100}, "concurrency must be a number from 1 to 64"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(parameters: dict[str, Any], complaint: str) -> None:
    given = {"ledger_uri": "file:///data", "ledger_run_id": "run", **parameters}
    with pytest.raises(ParameterError, match=complaint):
        ModelArtsRevertConfirmationOperator(task_id="r", **given)


@pytest.mark.usefixtures("airflow_db")
def test_in_a_dag_it_takes_its_run_from_a_template_and_leaves_a_report(runner: ConfirmRunner) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    run, log = run_operator(
        ModelArtsRevertConfirmationOperator,
        ledger_uri=runner.ledger_uri,
        ledger_run_id=f"{{{{ '{RUN_ID}' }}}}",
    )
    assert run.state == "success", log
    assert run.rendered["ledger_run_id"] == RUN_ID
    assert run.xcom["restored"] + run.xcom["cleared"] == 250
    assert "were reverted" in run.xcoms["summary"]
    for text in (json.dumps(run.xcoms), log):
        assert not any(secret in text for secret in runner.emulator.secrets)


@pytest.mark.usefixtures("airflow_db")
def test_an_execution_timeout_leaves_the_counts_of_what_was_taken_back(
    runner: ConfirmRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.confirm(ledger_uri=runner.ledger_uri)
    runner.emulator.journal.clear()
    alarm = AlarmOnRequest(runner.emulator, monkeypatch, "PUT", WRITE, after=1)
    run, log = run_operator(
        ModelArtsRevertConfirmationOperator,
        ledger_uri=runner.ledger_uri,
        ledger_run_id=RUN_ID,
        execution_timeout=timedelta(hours=1),
    )
    assert alarm.has_sounded
    assert "AirflowTaskTimeout" in log
    assert run.xcom["stopped"]
    assert sums_up(run.xcom)
    taken_back = 250 - sum(
        1 for labels in runner.final.values() if labels and labels[0]["name"] != "by a person, before"
    )
    assert 0 < run.xcom["restored"] + run.xcom["cleared"] == taken_back < 250
    assert "were reverted" in run.xcoms["summary"]


@pytest.mark.wrong_answers
@pytest.mark.parametrize(
    ("status", "code"), [(400, "ModelArts.4420"), (404, "ModelArts.4420"), (404, "ModelArts.0015")]
)
def test_a_sample_that_the_service_does_not_know_is_gone(
    runner: ConfirmRunner, emulator: Emulator, status: int, code: str
) -> None:
    runner.confirm(policy={"hard_examples": "confirm"}, ledger_uri=runner.ledger_uri)
    deleted = next(iter(runner.final))
    emulator.faults.add("GET", f"/samples/{deleted}", "status", status=status, code=code, times=None)
    ending = runner.revert()
    assert ending.error is None
    assert (ending.result["restored"] + ending.result["cleared"], ending.result["gone"]) == (249, 1)


def test_a_project_that_is_not_known_does_not_make_samples_gone(runner: ConfirmRunner) -> None:
    runner.confirm(policy={"hard_examples": "confirm"}, ledger_uri=runner.ledger_uri)
    before = runner.final
    ending = runner.revert(project_id="0" * 32)
    assert isinstance(ending.error, AirflowFailException)
    assert "Check user, account and project" in str(ending.error)
    assert runner.final == before


@pytest.mark.wrong_answers
@pytest.mark.parametrize(
    "body",
    [
        "",
        '{"code": "NotFound", "message": "no such route"}',
        '{"error_code": "Gateway.0404", "error_msg": "no such route"}',
        '{"error_code": "APIG.0101", "error_msg": "The API does not exist."}',
        '{"error_code": "APIGW.0199", "error_msg": "There is no backend."}',
    ],
)
def test_a_proxy_that_knows_no_sample_does_not_make_samples_gone(
    runner: ConfirmRunner, emulator: Emulator, body: str
) -> None:
    runner.confirm(policy={"hard_examples": "confirm"}, ledger_uri=runner.ledger_uri)
    behind_it = next(iter(runner.final))
    emulator.faults.add("GET", f"/samples/{behind_it}", "status", status=404, body=body, times=None)
    ending = runner.revert()
    assert isinstance(ending.error, ConfirmationError)
    counts = ending.xcoms["return_value"]
    assert (counts["restored"] + counts["cleared"], counts["failed"], counts["gone"]) == (249, 1, 0)
    emulator.faults.clear()
    again = runner.revert()
    assert again.error is None
    assert (again.result["restored"] + again.result["cleared"], again.result["already"]) == (1, 249)
