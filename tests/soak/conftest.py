"""One Airflow for all stories, and a line for each of them.

``make soak`` names the files ``soak_*.py``, which ``make test`` does not collect.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.environment import EXAMPLE_DAGS
from tests.e2e.support import processes_of
from tests.soak.sqlite_airflow import SqliteAirflow
from tests.soak.story_runner import Story, StoryRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PARTS = "soak_"

SETTINGS = {
    # What takes minutes in an installation takes seconds here; the order of things stays.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    # The DAG files stay as they are.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    # Room for stories side by side, and for the slots that killed supervisors never give back.
    "AIRFLOW__CORE__PARALLELISM": "32",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "100",
    "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "100",
}


NIGHTLY_ARGUMENTS = {
    "modelarts_conn_id": "{{ dag_run.conf.get('conn_id', 'modelarts_night') }}",
    # For the night in which every worker is killed.
    "retries": 2,
    "retry_delay": 1.0,
}
"""What all tasks of the nightly example are given besides."""


@pytest.fixture(autouse=True)
def _keeps_to_the_contract() -> None:
    """Stand in for the check of all other tests: here each story has a check of its own."""


@pytest.fixture(scope="session")
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does, so that no process is left behind."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="package")  # not of the session: it would go on beside all other tests
def airflow(tmp_path_factory: pytest.TempPathFactory, _interruptible: None) -> Iterator[SqliteAirflow]:
    """A running Airflow with the stories' DAGs and the example DAG; nothing of it is left at the end."""
    folder = tmp_path_factory.mktemp("soak")
    home = folder / "airflow"
    dags = shutil.copytree(HERE / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE_DAGS / "auto_label_images.py", dags)
    # The stories of both are told side by side, each with an emulator of its own; only they start runs.
    nightly = (EXAMPLE_DAGS / "nightly_pipeline.py").read_text(encoding="utf-8")
    for asked, here in {
        'schedule="0 22 * * *"': "schedule=None",
        "is_paused_upon_creation=True": f"default_args={NIGHTLY_ARGUMENTS}",
    }.items():
        assert asked in nightly
        nightly = nightly.replace(asked, here)
    (dags / "nightly_pipeline.py").write_text(nightly, encoding="utf-8")
    proven = (EXAMPLE_DAGS / "confirm_with_evidence.py").read_text(encoding="utf-8")
    assert "schedule=None," in proven
    proven = proven.replace("schedule=None,", "schedule=None, default_args={'modelarts_conn_id': 'modelarts_proven'},")
    (dags / "confirm_with_evidence.py").write_text(proven, encoding="utf-8")
    with SqliteAirflow(home, dags_folder=dags, settings=SETTINGS) as running:
        yield running
        assert processes_of(home) != []
    assert processes_of(home) == []


@pytest.fixture(scope="module")
def story_runner(
    airflow: SqliteAirflow, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[StoryRunner]:
    """Tells the selected stories of a module side by side; they begin when the first of them is asked for."""
    story_runner = StoryRunner(airflow, tmp_path_factory.mktemp("stories"))
    story_runner.begin(
        story
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
        if isinstance(story := item.callspec.params.get("story"), Story)
    )
    yield story_runner
    story_runner.give_up()


@pytest.fixture
def run_story(story_runner: StoryRunner, record_property: Any) -> Any:
    """Hears a story to its end; fails if it took another course than it must."""

    def hear(story: Story) -> None:
        outcome = story_runner.outcome(story)
        record_property("story", ", ".join([f"{outcome.seconds:.0f} s", *outcome.notes]))
        if outcome.error is not None:
            raise outcome.error

    return hear


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> Any:
    """Say behind each story how long it took."""
    notes = dict(getattr(report, "user_properties", ())).get("story")  # files that cannot be read have none
    if report.when == "call" and notes:
        return report.outcome, report.outcome[0].upper(), f"{report.outcome.upper()} in {notes}"
    return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Count the stories, in one line."""
    if any(PARTS in str(argument) for argument in config.args):
        counts = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error")}
        terminalreporter.write_line(f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed")
