"""The demo: its table is the run's own, another seed gives other numbers, and a failure is one line."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import demo.airflow_processes
import demo.run
import demo.ui
from airflow_provider_modelarts.emulator import Emulator
from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from demo.__main__ import main
from demo.airflow_api import AirflowApi
from demo.environment import EXAMPLE_DAGS, REPOSITORY
from demo.journal_steps import STEPS, step_of, steps
from demo.metadata import STATE
from tests.e2e.support import processes_of
from tests.support.readme import code_block

if TYPE_CHECKING:
    from collections.abc import Iterator


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def numbers(output: str) -> dict[str, int]:
    """Return the counts of the table that ends the demo."""
    rows = re.findall(r"^  ([a-z ]+?)  +([\d,]+)(?: \([\d.]+%\))?$", output, re.MULTILINE)
    return {name: int(value.replace(",", "")) for name, value in rows}


def check_record(output: str, table: dict[str, int]) -> None:
    """What the demo says of plan and ledger is what lies where it says."""
    place = re.search(r"plan and ledger of ([\d,]+) confirmed images\n +(\S+)", output)
    assert place is not None, output
    assert int(place[1].replace(",", "")) == table["confirmed"]
    (plan_file,) = Path(place[2]).glob("*.plan.jsonl")
    plan = read_plan(plan_file)
    assert (len(plan), plan.counts["confirm"]) == (table["proposals"], table["confirmed"])
    assert f"{plan.counts['confirm']:,} to be confirmed: every rule passed" in output
    assert "left for people: score too low" in output


@pytest.mark.e2e
def test_the_table_is_the_outcome_of_the_run_and_the_seed_changes_it() -> None:
    runs = [started("--seed", seed) for seed in ("0", "7")]
    outputs = [run.communicate(timeout=600) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    tables = [numbers(output) for output, _ in outputs]
    for (output, errors), table in zip(outputs, tables, strict=True):
        assert errors == ""
        assert table["images"] == 1797
        assert table["labeled before"] == 150
        assert table["proposals"] == 1797 - 150
        assert table["confirmed"] + table["left for people"] == table["proposals"]
        assert 0 < table["right among the confirmed"] <= table["confirmed"] < table["proposals"]
        assert [line.split()[0] for line in output.splitlines()[-5:]] == list(STEPS)
        progress = [line for line in output.splitlines() if re.match(r"^ *[\d.]+ s  ", line)]
        assert 6 <= len(progress) <= 20, "progress, but no stack of log lines"
        check_record(output, table)
    assert tables[0]["confirmed"] != tables[1]["confirmed"]
    assert code_block("Try it", "text") in outputs[0][0], "the README shows another output"


@pytest.fixture
def _own_handlers() -> Iterator[None]:
    """Give the signals that the demo listens for back to pytest."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.e2e
@pytest.mark.usefixtures("_own_handlers")
def test_a_broken_dag_is_one_line_and_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "auto_label_images.py").write_text("from airflow.sdk import DAG\nraise ValueError('spoiled')\n")
    monkeypatch.setattr(demo.run, "EXAMPLE_DAGS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo"])
    assert main() == 1
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert "auto_label_images.py: ValueError: spoiled" in errors


@pytest.mark.usefixtures("_own_handlers")
def test_a_port_that_cannot_be_had_is_one_line_and_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("[Errno 98] address\nalready in use")

    monkeypatch.setattr(Emulator, "start", refuse)
    with pytest.raises(OSError, match="already in use"):
        demo.run.run(0, io.StringIO())
    monkeypatch.setattr(demo.run, "run", refuse)
    monkeypatch.setattr(sys, "argv", ["demo"])
    assert main() == 1
    assert capsys.readouterr().err.startswith("The demo failed: [Errno 98] address already in use")


def test_the_ui_takes_another_port_if_its_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(demo.ui, "PORT", port)
        assert demo.ui.free_or_any(port) == 0
    assert demo.ui.free_or_any(port) == port


def check_introduction(text: str) -> None:
    """What the UI says to try is there, with the dataset filled in, and the dataset has its page."""
    airflow = AirflowApi(str(re.search(r"^  Airflow +(\S+)", text, re.MULTILINE)[1]))  # type: ignore[index]
    page = re.search(r"^  dataset +(\S+)", text, re.MULTILINE)
    assert page is not None
    dataset_id = page[1].rpartition("/")[2]
    with urllib.request.urlopen(page[1], timeout=30) as answer:
        assert dataset_id.encode() in answer.read()
    named = set(re.findall(r"/dags/(\w+)$", text, re.MULTILINE))
    assert named == {file.stem for file in EXAMPLE_DAGS.glob("[!_]*.py")}
    for dag_id in named:
        params = airflow.request("GET", f"/api/v2/dags/{dag_id}/details")["params"] or {}
        if "dataset_id" in params:
            assert params["dataset_id"]["value"] == dataset_id
        for place in ("place", "ledger_uri"):
            if place in params:
                assert params[place]["value"].startswith(f"file://{STATE}")
    assets = airflow.request("GET", "/api/v2/assets")["assets"]
    watchers = {asset["name"]: [watcher["name"] for watcher in asset["watchers"]] for asset in assets}
    assert watchers.pop("published_versions") == []
    assert list(watchers.values()) == [["label_task_succeeded"]]
    connection = airflow.request("GET", "/api/v2/connections/modelarts_default")
    assert "/console/datasets/" in connection["extra"]


def check_ui(number: signal.Signals) -> None:
    """The UI runs until it is interrupted by a signal, and leaves nothing behind."""
    ui = started("--ui")
    assert ui.stdout is not None
    lines = []
    for line in ui.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    text = "".join(lines)
    home = re.search(r"^  logs +(\S+)", text, re.MULTILINE)
    assert home is not None, text + (ui.stderr.read() if ui.stderr else "")
    check_introduction(text)
    running = processes_of(home[1])
    assert all(any(part in command for command in running) for part in ("scheduler", "triggerer", "dag-processor")), (
        running
    )
    os.kill(ui.pid, number)
    time.sleep(0.2)
    os.kill(ui.pid, number)  # an impatient user
    assert ui.wait(timeout=300) in (0, 130)
    assert processes_of(home[1]) == []


def test_a_port_that_is_taken_is_not_called_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setattr(demo.airflow_processes, "PORTS", [listener.getsockname()[1]])
        with pytest.raises(OSError, match="no free port"):
            demo.airflow_processes.free_port()
    assert demo.airflow_processes.free_port() == demo.airflow_processes.PORTS[0]


@pytest.mark.e2e
def test_the_ui_runs_until_it_is_interrupted_and_leaves_nothing_behind() -> None:
    check_ui(signal.SIGINT)  # by SIGTERM: in the long runs


def test_the_steps_add_up_to_the_run(emulator: Emulator) -> None:
    from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials

    dataset_id = emulator.load_proposals(250)
    credentials = PasswordCredentials(
        emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.region
    )
    with ModelArtsClient(emulator.url, credentials) as client:
        samples = list(client.proposals.list(dataset_id))
        client.samples.update(dataset_id, samples[:100])
    ended = emulator.clock.now()
    cost = {step.name: step for step in steps(emulator.journal, ended)}
    assert [cost[name].requests for name in STEPS] == [1, 0, 0, 3, 1]
    first = next(record for record in emulator.journal if step_of(record) is not None)
    assert sum(step.seconds for step in cost.values()) == pytest.approx(ended - first.time)
