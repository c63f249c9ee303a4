"""The README and the pages in docs/ tell the truth: their code is run, and their tables name what is there."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import TaskState
from airflow_provider_modelarts.get_provider_info import get_provider_info
from airflow_provider_modelarts.labeling.policy import ConfirmPolicy
from airflow_provider_modelarts.labeling.results import ConfirmationResult
from demo import metadata
from demo.environment import EXAMPLE_DAGS, REPOSITORY, airflow_settings, child_environment
from tests.support.dag_runner import run_dag
from tests.support.readme import code_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import DAG

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {
    name: (REPOSITORY / name).read_text(encoding="utf-8")
    for name in ["README.md", *re.findall(r"\]\((docs/[\w-]+\.md)\)", README)]
}
PLANS, CONNECTION, POLICIES = "docs/plans-and-ledgers.md", "docs/connection.md", "docs/policies.md"
DATASETS, PEOPLE, EXPORTS = "docs/datasets.md", "docs/people.md", "docs/exports.md"
LABELING_TASKS, EVIDENCE = "docs/labeling-tasks.md", "docs/evidence.md"
PACKAGE = REPOSITORY / "airflow_provider_modelarts"


def test_the_readme_is_short_and_names_every_page() -> None:
    assert len(README.splitlines()) < 200
    there = {f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")}
    assert there - set(PAGES) == {"docs/emulator-assumptions.md"}, "docs/emulator.md links to that one"


def test_the_description_of_the_package_has_no_relative_link() -> None:
    hook = runpy.run_path(str(REPOSITORY / "hatch_build.py"))
    text = hook["description"](README)
    assert re.findall(r"\]\((?!https?://)", text) == []
    assert "[Apache Airflow](https://airflow.apache.org)" in text
    assert "The connection (`docs/connection.md`)" in text
    assert "docs/images" not in text
    for page in PAGES:
        assert page == "README.md" or page in text


def test_the_dag_has_twenty_lines_at_most() -> None:
    lines = [line for line in code_block("A DAG").splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_test_of_the_dag_passes(tmp_path: Path) -> None:
    """As a user would have it: own folder, own Airflow, DAG in the DAG folder, the tests beside it."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "dags" / "label_flowers.py").write_text(code_block("A DAG"), encoding="utf-8")
    (tmp_path / "test_label_flowers.py").write_text(code_block("A test of it"), encoding="utf-8")
    further = code_block("In pytest", page="docs/emulator.md")
    (tmp_path / "test_refused_samples.py").write_text(further, encoding="utf-8")
    metadata.copy_to(tmp_path / "home")
    settings = airflow_settings(tmp_path / "home", dags_folder=tmp_path / "dags")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=child_environment(os.environ, settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "2 passed" in done.stdout


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_a_plan_is_approved_applied_and_undone(emulator: Emulator, tmp_path: Path) -> None:
    """The two DAGs as they stand there, but on this disk, and with nobody to be asked."""
    from airflow.dag_processing.dagbag import DagBag

    dags = []
    for number, heading in enumerate(("A DAG that asks first", "Undo")):
        code = code_block(heading, page=PLANS)
        assert "s3://my-bucket/labels" in code
        file = tmp_path / f"dag_{number}.py"
        file.write_text(code.replace("s3://my-bucket/labels", f"file://{tmp_path}"), encoding="utf-8")
        bag = DagBag(file)
        assert bag.import_errors == {}
        dags += bag.dags.values()
    dataset_id = emulator.load_proposals(200)
    confirming, undoing = dags

    done = run_dag(confirming, conf={"dataset_id": dataset_id}, approved="approve")
    assert done.state == "success", done.log
    confirmed = emulator.dataset(dataset_id).annotated
    assert 0 < confirmed == done.tasks["confirm"].xcom["confirmed"] < 200

    for preview, left in ((True, confirmed), (False, 0)):
        undone = run_dag(undoing, conf={"run": done.run_id, "preview": preview})
        assert undone.state == "success", undone.log
        assert undone.tasks["undo"].xcom["cleared"] == confirmed
        assert emulator.dataset(dataset_id).annotated == left


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_the_dag_of_the_review_page_asks_and_confirms(emulator: Emulator, tmp_path: Path) -> None:
    dag = page_dag("How to get it", tmp_path, "docs/review-page.md")
    assert set(dag.get_task("approve").params) == {"reject_samples", "reject_labels", "audit_answers"}
    done = run_dag(dag, conf={"dataset_id": emulator.load_proposals(200)}, approved="approve")
    assert done.state == "success", done.log
    assert 0 < done.tasks["confirm"].xcom["confirmed"] < 200


def page_dag(heading: str, folder: Path, page: str = DATASETS) -> DAG:
    """Return the DAG below a heading of a page, with its files on this disk."""
    from airflow.dag_processing.dagbag import DagBag

    file = folder / "dag_of_the_page.py"
    code = code_block(heading, page=page).replace("s3://my-bucket/labels", f"file://{folder}")
    file.write_text(code, encoding="utf-8")
    bag = DagBag(file)
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    return dag


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_a_night_takes_images_in_and_publishes_and_the_next_one_is_skipped(emulator: Emulator, tmp_path: Path) -> None:
    night = page_dag("A night", tmp_path)
    dataset_id = emulator.load_digits(labeled=150)
    dataset = emulator.dataset(dataset_id)
    emulator.add_images(dataset_id, 5)

    done = run_dag(night, conf={"dataset_id": dataset_id})
    assert done.state == "success", done.log
    assert done.tasks["sync"].xcom["added"] == 5
    assert done.tasks["check"].xcom["ready"] is True
    labeled = dataset.annotated
    assert 150 < labeled == done.tasks["publish"].xcom["labeled"] < 1802
    assert done.tasks["publish"].xcom["manifest_path"]

    for sample_id, sample in dataset.samples.items():
        if not sample.labels:
            dataset.edit(sample_id, "1")
    again = run_dag(night, conf={"dataset_id": dataset_id})
    assert again.state == "success", again.log
    states = {name: task.state for name, task in again.tasks.items()}
    assert states == {"sync": "success", **dict.fromkeys(("check", "label", "confirm", "publish"), "skipped")}
    assert emulator.journal.count("POST", "/versions") == 1


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_samples_are_exchanged(emulator: Emulator, tmp_path: Path) -> None:
    exchange = page_dag("Import and export", tmp_path)
    dataset_id = emulator.load_digits(labeled=150)
    emulator.put_images("/my-bucket/incoming/", 4, label="1")
    done = run_dag(exchange, conf={"dataset_id": dataset_id})
    assert done.state == "success", done.log
    assert {name: done.tasks["bring"].xcom[name] for name in ("imported", "unconfirmed")} == {
        "imported": 4,
        "unconfirmed": 4,
    }
    assert done.tasks["take"].xcom["exported"] == 150


@pytest.mark.usefixtures("airflow_db")
def test_a_night_that_drifts_is_left_to_people_and_reported(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    dag = page_dag("A night with both", tmp_path, page="docs/drift.md")
    dataset_id = emulator.load_proposals(0)
    dataset = emulator.dataset(dataset_id)
    done = {}
    for number, low in enumerate((0.9, 0.9, 0.3)):
        moved_clock.advance(86400)
        dataset.propose(
            [
                {
                    "sample_id": f"{number}-{place}",
                    "labels": [{"name": "rose", "type": 0, "score": low + place % 10 / 100}],
                }
                for place in range(300)
            ]
        )
        done[number] = run_dag(dag, conf={"dataset_id": dataset_id})
        assert done[number].state == "success", done[number].log
    confirmed = [done[number].tasks["confirm"].xcom["confirmed"] for number in done]
    assert confirmed == [300, 300, 0]
    assert "the scores of" in done[2].tasks["plan"].xcoms["summary"]
    report = done[2].tasks["report"].xcom
    assert (report["runs"], report["confirmed"]) == (3, 600)
    assert "alarm (review)" in (tmp_path / "reports" / f"quality-{dataset_id}.html").read_text(encoding="utf-8")


def test_the_page_about_datasets_names_what_is_checked_and_what_is_returned(emulator: Emulator) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.labeling.preconditions import check_preconditions

    report = check_preconditions(ModelArtsHook().client, emulator.load_proposals(3, kind="detection"))
    table = PAGES[DATASETS].partition("## The check")[2].partition("The service does not")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        *(check.name for check in report.checks if check.name != "boxes_only"),
        "boxes_only",
    ]


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_what_is_confirmed_is_exported(emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.dag_processing.dagbag import DagBag

    code = code_block("A DAG that exports", page=EXPORTS)
    assert "s3://my-bucket/labels" in code
    file = tmp_path / "dag_of_the_page.py"
    file.write_text(code.replace("s3://my-bucket/labels", f"file://{tmp_path}"), encoding="utf-8")
    bag = DagBag(file)
    assert bag.import_errors == {}
    done = run_dag(bag.dags["confirm_and_export"], conf={"dataset_id": emulator.load_proposals(80)})
    assert done.state == "success", done.log
    confirmed, exported = (done.tasks[name].xcom for name in ("confirm", "export"))
    assert 0 < confirmed["confirmed"] == exported["samples"] == exported["confirmed"] < 80
    folder = exported["uri"].removeprefix("file://")
    capsys.readouterr()
    exec(code_block("The folder", page=EXPORTS).replace("/data/exports/by_hand", folder), {})
    assert capsys.readouterr().out == f"{exported['samples']}\n"


def test_the_page_about_exports_names_every_format_and_every_fault() -> None:
    from airflow_provider_modelarts.labeling.export import FORMAT_NAMES, ON_PROBLEM

    page = PAGES[EXPORTS]
    formats = page.partition("## The formats")[2].partition("Every export")[0]
    assert tuple(re.findall(r"^\| `([\w-]+)` \| `", formats, re.MULTILINE)) == FORMAT_NAMES
    problems = page.partition("## What cannot be exported")[2].partition("##")[0]
    named = re.findall(r"^\| `(\w+)`", problems, re.MULTILINE)
    assert tuple(named[: len(ON_PROBLEM) + 1]) == ("on_problem", *ON_PROBLEM)
    source = "".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "labeling" / "export").rglob("*.py"))
    codes = set(re.findall(r'ExportFault\("(\w+)"', source)) | {"odd_sample", "shape_circle"}
    assert set(named[len(ON_PROBLEM) + 1 :]) == codes


def test_the_commands_are_in_the_makefile() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    named = {name for page in PAGES.values() for name in re.findall(r"`make (\w+)|^make (\w+)", page, re.MULTILINE)}
    named = {name for pair in named for name in pair if name}
    assert {"demo", "test", "lint", "emulator"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("number", [0, 1])
def test_the_connections_can_be_read(number: int, tmp_path: Path) -> None:
    from airflow.sdk import Connection

    from airflow_provider_modelarts.hooks.connection import read_settings

    texts = re.findall(r"^export AIRFLOW_CONN_MODELARTS_DEFAULT='(.*?)'$", PAGES[CONNECTION], re.DOTALL | re.MULTILINE)
    assert len(texts) == 2
    certificates = tmp_path / "example.pem"
    certificates.touch()
    fields = json.loads(texts[number].replace("/etc/ssl/certs/example.pem", str(certificates)))
    settings = read_settings(
        Connection(conn_id="modelarts_default", **{**fields, "extra": json.dumps(fields["extra"])})
    )
    domain = ("cn-north-4.myhuaweicloud.com", "region1.example.com")[number]
    assert (settings.endpoint, settings.iam_endpoint) == (f"https://modelarts.{domain}", f"https://iam.{domain}")


@pytest.mark.parametrize("works", [True, False])
def test_the_command_that_tests_a_connection_does_so(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], works: bool
) -> None:
    from airflow.cli.cli_parser import get_parser

    setting, _, command = code_block("Test it", "sh", page=CONNECTION).strip().partition(" airflow ")
    name, _, value = setting.partition("=")
    parsed = get_parser().parse_args(command.split())
    if not works:
        emulator.set_password("another-one")
        monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps({**emulator.connection, "password": "wrong"}))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    with pytest.raises(SystemExit):
        parsed.func(parsed)
    assert "disabled" in capsys.readouterr().out
    monkeypatch.setenv(name, value)
    with contextlib.nullcontext() if works else contextlib.suppress(SystemExit):  # before Airflow 3.3 it just ends
        parsed.func(parsed)
    assert ("success" if works else "Cannot get a token") in capsys.readouterr().out


def test_the_connection_table_names_every_field() -> None:
    table = PAGES[CONNECTION].partition("## Fields")[2].partition("The fields from")[0]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named == set(get_provider_info()["connection-types"][0]["conn-fields"])


def test_the_table_of_classes_names_every_class() -> None:
    named = set(re.findall(r"^\| `([\w.]+\.ModelArts\w+)`", README, re.MULTILINE))
    there = {
        ".".join((*path.relative_to(PACKAGE).with_suffix("").parts, node.name))
        for part in ("operators", "sensors", "triggers", "hooks")
        for path in (PACKAGE / part).glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.startswith("ModelArts")
    }
    assert named == there


def test_the_policy_table_names_every_key() -> None:
    table = PAGES[POLICIES].partition("## The policy")[2].partition("Without a policy")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(ConfirmPolicy.model_fields)


def test_the_table_of_counts_names_every_one() -> None:
    table = PAGES[POLICIES].partition("## The counts")[2].partition("##")[0]
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert len(named) == len(set(named) & {field.name for field in fields(ConfirmationResult)}) == 5
    assert f"`seen` = {' + '.join(f'`{name}`' for name in named)}" in PAGES[POLICIES]


def test_the_table_of_examples_names_every_dag() -> None:
    table = README.partition("| DAG | Does |")[2].partition("##")[0]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named == {path.stem for path in EXAMPLE_DAGS.glob("[!_]*.py")}


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_what_people_prove_is_confirmed(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
    from tests.support import dag_runner

    dag = page_dag("A DAG with evidence", tmp_path, EVIDENCE)
    dataset_id = emulator.load_proposals(500, labels=["rose", "tulip"])
    dataset, approve = emulator.dataset(dataset_id), dag_runner._approve

    def label_and_approve(context: Any) -> dict[str, Any]:
        (plan,) = (tmp_path / "plans").iterdir()
        for row, decision in read_plan(plan).samples():
            if decision.rule == "audit_sample":  # the machine takes roses for tulips
                dataset.edit(row.sample_id, "rose")
        return approve(context)

    monkeypatch.setattr(dag_runner, "_approve", label_and_approve)
    done = run_dag(dag, conf={"dataset_id": dataset_id}, approved="people")
    assert done.state == "success", done.log
    assert "This plan alone confirms nothing" in done.tasks["plan"].xcoms["summary"]
    evaluated = done.tasks["evaluate"].xcom
    assert set(evaluated["min_score_by_label"]) == {"rose"}
    assert done.tasks["confirm"].xcom["by_label"] == {"rose": evaluated["confirmable"]}
    assert dataset.annotated == evaluated["answered"] + evaluated["confirmable"]


def test_so_many_answers_as_the_page_says_prove_a_label_and_one_less_does_not() -> None:
    from airflow_provider_modelarts.labeling.evidence.statistics import p_value

    table = PAGES[EVIDENCE].partition("## How many answers it takes")[2].partition("Where several")[0]
    rows = re.findall(r"^\| (\d+) \| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) \|$", table, re.MULTILINE)
    assert len(rows) == 6
    for labels, proposals, *answers in rows:
        total, risk = int(proposals.replace(",", "")), 0.05 / int(labels)
        for target, count in zip((0.9, 0.95, 0.99), map(int, answers), strict=True):
            assert p_value(total, count, 0, target) <= risk < p_value(total, count - 1, 0, target)


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: str) -> None:
    for table in re.findall(r"(?:^\|.*\|$\n?)+", PAGES[page], re.MULTILINE):
        head, *rows = table.splitlines()
        assert {row.count("|") for row in rows} == {head.count("|")}, head


@pytest.mark.parametrize("page", PAGES)
def test_the_python_and_json_of_a_page_can_be_read(page: str) -> None:
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE):
        if language == "python":
            ast.parse(code)
        elif language == "json":
            json.loads(code)


def test_the_links_lead_to_headings_that_are_there() -> None:
    for name, text in PAGES.items():
        for target, anchor in re.findall(r"\]\(((?!https?://)[^)#]*)#([\w-]+)\)", text):
            file = (REPOSITORY / name).parent / target if target else REPOSITORY / name
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{name}: {target}#{anchor}"


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_what_the_machine_is_not_sure_of_goes_to_people_and_comes_back(emulator: Emulator, tmp_path: Path) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    dag = page_dag("A night with people", tmp_path, PEOPLE)
    emulator.team_seconds = 5
    dataset_id = emulator.load_proposals(40)
    dataset = emulator.dataset(dataset_id)
    workforces = ModelArtsHook().client.workforces
    workforce_id = workforces.create("people")
    workforces.create_worker(workforce_id, "labeler@example.com", role=0)

    def label(record: Any) -> None:
        """Label, as the member does, when the team task is looked at for the first time."""
        parent, _, task_id = record.path.rpartition("/")
        if record.method == "GET" and parent.endswith("/workforce-tasks") and dataset.team_status(task_id) == 1:
            for (sample_id, worker_id), phase in dataset.team_copies(task_id).items():
                if phase == "un_annotation":
                    dataset.label_team_sample(task_id, sample_id, "unclear", worker_id)

    emulator.observers.append(label)
    done = run_dag(dag, conf={"dataset_id": dataset_id, "workforce_id": workforce_id})
    assert done.state == "success", done.log
    planned = done.tasks["plan"].xcom
    assert planned["confirmed"] + planned["review"] == 40
    assert done.tasks["people"].xcom["awaiting_acceptance"] == planned["review"] > 0
    assert done.tasks["results"].xcom["by_label"] == {"unclear": planned["review"]}
    names = [dataset.names_of(sample_id) for sample_id in dataset.samples]
    assert names.count(["unclear"]) == planned["review"]
    assert all(names)


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_a_team_task_is_given_out_reviewed_and_judged(emulator: Emulator, tmp_path: Path) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    emulator.team_seconds = 5
    dataset_id = emulator.load_proposals(12)
    dataset = emulator.dataset(dataset_id)
    workforces = ModelArtsHook().client.workforces
    workforce_id = workforces.create("people")
    for number, name in enumerate(("labeler", "reviewer")):
        workforces.create_worker(workforce_id, f"{name}@example.com", role=number)

    given_out = run_dag(
        page_dag("Start later", tmp_path, PEOPLE), conf={"dataset_id": dataset_id, "workforce_id": workforce_id}
    )
    assert given_out.state == "success", given_out.log
    assert given_out.tasks["mail"].xcom == {"members": 2, "mailed": 2, "mailed_before": 0}
    team_task_id = given_out.tasks["team"].xcom
    emulator.clock.advance(60)
    copies = dataset.team_copies(team_task_id)
    assert len(copies) == 12
    words = []
    for sample_id, worker_id in copies:
        dataset.label_team_sample(team_task_id, sample_id, sorted(dataset.labels)[0], worker_id)
        words.append({"sample_id": sample_id, "worker_id": worker_id, "accept": True, "score": "A"})

    conf = {"dataset_id": dataset_id, "workforce_task_id": team_task_id, "words": words}
    judged = run_dag(page_dag("Review and judge", tmp_path, PEOPLE), conf=conf)
    assert judged.state == "success", judged.log
    assert judged.tasks["review"].xcom["accepted"] == len(words)
    assert judged.tasks["judge"].xcom == {
        "judged": len(words),
        "accepted": len(words),
        "rejected": 0,
        "changed": 0,
    }
    assert dataset.annotated == len(words)


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_copies_of_members_are_written_and_cleared(emulator: Emulator, tmp_path: Path) -> None:
    dataset_id = emulator.load_proposals(5)
    dataset = emulator.dataset(dataset_id)
    team_task_id = emulator.create_team_task(dataset_id)
    ids = list(dataset.samples)
    name = sorted(dataset.labels)[0]
    lines = [json.dumps({"sample_id": one, "labels": [{"name": name}]}) for one in ids]
    (tmp_path / "suggested.jsonl").write_text("\n".join(lines), encoding="utf-8")
    conf = {"dataset_id": dataset_id, "workforce_task_id": team_task_id, "doubtful": ids[:2]}
    done = run_dag(page_dag("Members' copies", tmp_path, PEOPLE), conf=conf)
    assert done.state == "success", done.log
    assert (done.tasks["suggest"].xcom["updated"], done.tasks["clear"].xcom["updated"]) == (5, 2)
    phases = {sample_id: phase for (sample_id, _), phase in dataset.team_copies(team_task_id).items()}
    assert [one for one in ids if phases[one] == "un_annotation"] == ids[:2]


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_a_labeling_task_is_started_awaited_and_never_left_behind(emulator: Emulator, tmp_path: Path) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    dag = page_dag("Start, wait, stop", tmp_path, LABELING_TASKS)
    dataset_id = emulator.load_digits(labeled=150)
    done = run_dag(dag, conf={"dataset_id": dataset_id})
    assert done.state == "success", done.log
    assert done.tasks["wait"].xcom["state"] == TaskState.SUCCEEDED
    assert done.tasks["stop"].state == "success"

    emulator.task_seconds = 7 * 3600  # longer than the sensor waits
    given_up = run_dag(dag, conf={"dataset_id": dataset_id})
    assert (given_up.state, given_up.tasks["wait"].state) == ("failed", "failed")
    (left, _) = ModelArtsHook().client.tasks.list(dataset_id)
    assert left.task_id == given_up.tasks["start"].xcom
    assert left.state in (TaskState.STOPPING, TaskState.STOPPED)


# --- each operator and sensor is shown in a page, and that part of the page is run


def provided() -> set[str]:
    """Return the names of the operators and sensors of the modules that Airflow is told of."""
    info = get_provider_info()
    modules = [name for part in ("operators", "sensors") for one in info[part] for name in one["python-modules"]]
    return {
        name
        for module in map(importlib.import_module, modules)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__ and name.startswith("ModelArts")
    }


def blocks_that_are_run() -> Iterator[tuple[str, str, str]]:
    """Yield page, heading and code of each Python block in docs/ that a test of this file runs as a DAG.

    Such a test names the heading and calls ``run_dag``.
    """
    tests = ast.parse(Path(__file__).read_text(encoding="utf-8")).body
    for test in tests:
        if not isinstance(test, ast.FunctionDef) or not test.name.startswith("test_"):
            continue
        called = {
            node.func.id for node in ast.walk(test) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        named = {node.value for node in ast.walk(test) if isinstance(node, ast.Constant)}
        if {"run_dag"} <= called and called & {"page_dag", "code_block"}:
            for page, text in PAGES.items():
                headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
                for heading in named.intersection(headings) if page.startswith("docs/") else ():
                    yield page, heading, code_block(heading, page=page)


def test_each_operator_and_sensor_is_shown_in_a_page_by_code_that_is_run() -> None:
    there = provided()
    assert len(there) > 20
    shown: dict[str, set[str]] = {name: set() for name in there}
    for page, heading, code in blocks_that_are_run():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in there:
                shown[node.func.id].add(f"{page}, {heading}")
    assert {name for name, places in shown.items() if not places} == set()
