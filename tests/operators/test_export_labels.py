"""The operator that exports labels: what it returns and tells, what it refuses, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.export import FORMAT_NAMES
from airflow_provider_modelarts.labeling.export.exporter import ExportStoppedError
from airflow_provider_modelarts.labeling.export.folder import ExportDamaged, read_export
from airflow_provider_modelarts.labeling.results import LABELS_SHOWN
from airflow_provider_modelarts.links import DATASET_XCOM
from airflow_provider_modelarts.operators.export_labels import ModelArtsExportLabelsOperator
from tests.labeling.export_datasets import expected, label_all, labeled_by_hand, place
from tests.labeling.export_readers import READERS, lines
from tests.operators.runners import RUN_ID, ConfirmRunner
from tests.support.dag_runner import run_operator
from tests.support.operator_driver import Ending, StandInTaskInstance, TaskStates, drive_try, moment

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


class ExportRunner(ConfirmRunner):
    """Exports as well."""

    def export(self, **given: Any) -> Ending:
        parameters = {"dataset_id": self.dataset_id, "uri": self.uri, "format": "jsonl", **given}
        return self.run(ModelArtsExportLabelsOperator(task_id="export", **parameters), 1, 3)

    @property
    def uri(self) -> str:
        return f"file://{self.exported}"

    @property
    def exported(self) -> Path:
        return self.folder / "export"


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> ExportRunner:
    return ExportRunner(emulator, moved_clock, tmp_path, 120)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_boxes_in_every_format(runner: ExportRunner, emulator: Emulator, name: str) -> None:
    dataset_id = label_all(emulator, 60, "detection", left=7)
    ending = runner.export(dataset_id=dataset_id, format=name)
    assert ending.error is None
    assert READERS[name](runner.exported) == expected(emulator, dataset_id)
    assert ending.result["samples"] == 53
    assert ending.result["proposals"] == (7 if name == "label-studio" else 0)
    assert ending.xcoms["return_value"] == ending.result
    assert len(json.dumps(ending.result)) < 4096


def test_a_plan_and_its_ledger_are_told_of(runner: ExportRunner) -> None:
    planned = runner.plan(policy={"min_score": 0.6})
    confirmed = runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri, approved_by="ada")
    given = {"plan_uri": runner.plan_uri, "plan_digest": planned.xcoms["plan_digest"], "ledger_uri": runner.ledger_uri}
    for run in ({}, {"ledger_run_id": RUN_ID}):
        ending = runner.export(**given, **run)
        assert ending.error is None
        assert ending.result["confirmed"] == ending.result["samples"] == confirmed.result["confirmed"] > 0
        assert (ending.result["changed_since"], ending.result["confirmed_missing"]) == (0, 0)
    rows = list(lines(runner.exported / "samples.jsonl"))
    assert {(one["confirmation"]["approved_by"], one["confirmation"]["rule"]) for one in rows} == {("ada", "passed")}
    said = read_export(runner.exported)
    assert said["made_by"]["task_id"] == "export"
    assert said["plan"]["sha256"] == planned.xcoms["plan_digest"]

    runner.revert()
    ending = runner.export(**given)
    assert (ending.result["samples"], ending.result["confirmed_missing"]) == (0, confirmed.result["confirmed"])


def test_what_cannot_be_exported_fails_at_once_with_the_counts(
    runner: ExportRunner, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "circle")], [place("a", "bndbox")]])
    ending = runner.export(dataset_id=dataset_id, format="yolo")
    assert type(ending.error) is AirflowFailException
    assert f"shape_circle: it cannot express a circle (1 sample: {ids[0]})" in str(ending.error)
    counts = ending.xcoms["return_value"]
    assert (counts["seen"], counts["left_out"], counts["digest"]) == (2, 1, "")
    assert counts["problems"] == {"shape_circle": 1}
    assert not (runner.exported / "export.json").exists()
    with pytest.raises(ExportDamaged):
        read_export(runner.exported)

    done = runner.export(dataset_id=dataset_id, format="yolo", on_problem="leave_out_samples")
    assert done.error is None
    assert (done.result["samples"], done.result["left_out"]) == (1, 1)


def test_the_counts_stay_small(runner: ExportRunner, emulator: Emulator) -> None:
    names = [f"{'a long name ' * 20}{number}" for number in range(4 * LABELS_SHOWN)]
    dataset_id, _ = labeled_by_hand(emulator, [[{"name": name, "type": 0}] for name in names])
    ending = runner.export(dataset_id=dataset_id)
    assert len(ending.result["by_label"]) == LABELS_SHOWN + 1
    assert sum(ending.result["by_label"].values()) == len(names)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": "cocoa"}, "format must be one of"),
    ({"format": ""}, "format must be one of"),
    ({"uri": "/data/export"}, "uri must be a URI"),
    ({"uri": "s3://bucket/../x"}, "has . or .. in it"),
    ({"on_problem": "ignore"}, "on_problem must be one of"),
    ({"format": "coco", "include_proposals": True}, "cannot tell a proposal from a decision"),
    ({"format": "yolo", "include_proposals": "true"}, "choose label-studio or jsonl"),
    ({"include_proposals": "maybe"}, "include_proposals"),
    ({"plan_digest": "0"}, "plan_digest is given without plan_uri"),
    ({"ledger_run_id": "r"}, "ledger_run_id is given without ledger_uri"),
    ({"classes": "a,b"}, "classes must be a list"),
    ({"classes": ["a", ""]}, r"classes\[1\]"),
    ({"dataset_id": ""}, "dataset_id is empty"),
    ({"plan_uri": "plan.jsonl"}, "plan_uri must be a URI"),
    ({"ledger_uri": ""}, "ledger_uri"),
]


@pytest.mark.parametrize(("given", "complaint"), WRONG)
def test_wrong_constants_are_found_when_the_dag_is_parsed(given: dict[str, Any], complaint: str) -> None:
    parameters = {"dataset_id": "d", "uri": "file:///data/export", "format": "jsonl", **given}
    with pytest.raises(ParameterError, match=complaint):
        ModelArtsExportLabelsOperator(task_id="export", **parameters)


def test_what_makes_no_sense_together_is_found_when_templates_are_rendered(runner: ExportRunner) -> None:
    operator = ModelArtsExportLabelsOperator(
        task_id="export",
        dataset_id=runner.dataset_id,
        uri=runner.uri,
        format="{{ 'coco' }}",
        include_proposals=True,
    )
    operator.format = "coco"
    ending = runner.run(operator, 1, 3)
    assert type(ending.error) is AirflowFailException
    assert "cannot tell a proposal" in str(ending.error)
    assert len(runner.emulator.journal) == 0


@pytest.mark.parametrize("run_id", [None, "another"])
def test_a_place_without_a_ledger_is_refused(runner: ExportRunner, run_id: str | None) -> None:
    (runner.folder / "ledger" / "other").mkdir(parents=True)
    ending = runner.export(ledger_uri=runner.ledger_uri, ledger_run_id=run_id)
    assert type(ending.error) is AirflowFailException
    assert "holds no ledger" in str(ending.error)
    assert not (runner.exported / "export.json").exists()


def test_the_plan_of_another_dataset_is_refused(runner: ExportRunner, emulator: Emulator) -> None:
    runner.plan()
    ending = runner.export(dataset_id=emulator.load_proposals(3), plan_uri=runner.plan_uri)
    assert type(ending.error) is AirflowFailException
    assert "is of dataset" in str(ending.error)


def test_a_folder_with_other_files_is_refused_and_left_alone(runner: ExportRunner) -> None:
    runner.exported.mkdir()
    (runner.exported / "mine.txt").write_text("mine")
    ending = runner.export()
    assert type(ending.error) is AirflowFailException
    assert "mine.txt" in str(ending.error)
    assert [path.name for path in runner.exported.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(runner: ExportRunner) -> None:
    ending = runner.export(uri="file:///proc/no/such")
    assert type(ending.error) is AirflowFailException
    assert "uri file:///proc/no/such cannot be written to" in str(ending.error)
    assert len(runner.emulator.journal) == 0


def test_an_ended_task_stops_reading(runner: ExportRunner, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset_id = label_all(emulator, 350, "classification")
    TaskStates(monkeypatch, RUN_ID, export="failed")
    operator = ModelArtsExportLabelsOperator(task_id="export", dataset_id=dataset_id, uri=runner.uri, format="jsonl")

    def kill(record: Any) -> None:
        if record.method == "GET" and "/data-annotations/samples" in record.path:
            operator.on_kill()

    emulator.observers.append(kill)
    # The same object, so that on_kill reaches it.
    ti = StandInTaskInstance(moment(runner.clock), run_id=RUN_ID, task_id="export")
    ending = drive_try(operator, runner.clock, ti, run_started=runner.run_started, copies=False)
    emulator.observers.remove(kill)
    assert isinstance(ending.error, ExportStoppedError)
    assert isinstance(ending.error, ModelArtsError)
    assert not (runner.exported / "export.json").exists()


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_in_airflow(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = emulator.connection_with_console
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps({**fields, "extra": json.dumps(fields["extra"])}))
    dataset_id = label_all(emulator, 25, "detection")
    done, log = run_operator(
        ModelArtsExportLabelsOperator,
        dataset_id=dataset_id,
        uri=f"file://{tmp_path}/{{{{ run_id | replace(':', '') }}}}",
        format="coco",
        classes=["tulip", "rose", "daisy", "sunflower"],
    )
    assert done.state == "success", log
    assert done.xcom["samples"] == 25
    assert done.xcoms[DATASET_XCOM]["dataset_id"] == dataset_id
    root = Path(done.xcom["uri"].removeprefix("file://"))
    assert READERS["coco"](root) == expected(emulator, dataset_id)
    assert "{{" not in str(root)
