"""The README tells the truth: its code is run, and its tables name what is there."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.get_provider_info import get_provider_info
from airflow_provider_modelarts.labeling.policy import ConfirmPolicy
from demo import metadata
from demo.environment import EXAMPLE_DAGS, REPOSITORY, airflow_settings, child_environment
from tests.support.harness import run_dag
from tests.support.readme import code_block

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PACKAGE = REPOSITORY / "airflow_provider_modelarts"


def test_the_dag_has_twenty_lines_at_most() -> None:
    lines = [line for line in code_block("A DAG").splitlines() if line.strip()]
    assert len(lines) <= 20


def test_the_test_of_the_dag_passes(tmp_path: Path) -> None:
    """As a user would have it: own folder, own Airflow, DAG in the DAG folder, the test beside it."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "dags" / "label_flowers.py").write_text(code_block("A DAG"), encoding="utf-8")
    (tmp_path / "test_label_flowers.py").write_text(code_block("A test of it"), encoding="utf-8")
    metadata.copy_to(tmp_path / "home")
    settings = airflow_settings(tmp_path / "home", dags_folder=tmp_path / "dags")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_label_flowers.py"],
        cwd=tmp_path,
        env=child_environment(os.environ, settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 passed" in done.stdout


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_a_plan_is_approved_applied_and_undone(emulator: Emulator, tmp_path: Path) -> None:
    """The two DAGs as they stand there, but on this disk, and with nobody to be asked."""
    from airflow.dag_processing.dagbag import DagBag

    dags = []
    for number in range(2):
        code = code_block("Plan, approve, apply, undo", number=number)
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


def test_the_commands_are_in_the_makefile() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"make (\w+)", README)) - {"and"}
    assert {"demo", "test", "lint", "emulator"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("number", [0, 1])
def test_the_connections_can_be_read(number: int, tmp_path: Path) -> None:
    from airflow.sdk import Connection

    from airflow_provider_modelarts.hooks.connection import read_settings

    texts = re.findall(r"^export AIRFLOW_CONN_MODELARTS_DEFAULT='(.*?)'$", README, re.DOTALL | re.MULTILINE)
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

    setting, _, command = code_block("The connection", "sh", number=2).strip().partition(" airflow ")
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
    if works:
        parsed.func(parsed)
    else:
        with pytest.raises(SystemExit):
            parsed.func(parsed)
    assert ("success" if works else "Cannot get a token") in capsys.readouterr().out


def test_the_connection_table_names_every_field() -> None:
    table = README.partition("## The connection")[2].partition("The fields from")[0]
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
    table = README.partition("A policy is a plain dict:")[2].partition("Without a policy")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(ConfirmPolicy.model_fields)


def test_the_table_of_examples_names_every_dag() -> None:
    table = README.partition("| DAG | Does |")[2].partition("##")[0]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named == {path.stem for path in EXAMPLE_DAGS.glob("[!_]*.py")}


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    tables = re.findall(r"(?:^\|.*\|$\n?)+", README, re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        head, *rows = table.splitlines()
        assert {row.count("|") for row in rows} == {head.count("|")}, head


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(((?!https?://)[^)]+)\)", README):
        assert (REPOSITORY / target).exists(), target
