"""Fixtures for all tests. The environment comes first: Airflow reads it at its first import."""

from __future__ import annotations

from tests.support import environment

AIRFLOW_HOME = environment.prepare()

import gc  # noqa: E402  # everything below may import airflow
import shutil  # noqa: E402
import sys  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from airflow_provider_modelarts.emulator.pytest_plugin import modelarts_emulator  # noqa: E402, F401  # a fixture
from demo import metadata  # noqa: E402
from tests.support.guesses import make_once  # noqa: E402
from tests.support.summary import write_lines  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.contract import ContractCheck

# What takes longest comes first, so that no process of the run is left alone with it at the end; before all what waits
# for processes of its own.
FIRST = (
    "tests/soak/test_few_stories.py",
    "tests/test_demo.py",
    "tests/test_readme.py",
    "tests/operators/test_templates.py",
    "tests/plugins/test_review_app.py",
    "tests/operators/test_s3.py",
    "tests/operators/test_observed.py",
    "tests/labeling/test_simulation.py",
    "tests/utils/test_label_task_start.py",
    "tests/operators/test_datasets.py",
    "tests/test_leaks.py",
    "tests/labeling/test_export_scale.py",
    "tests/labeling/test_plan.py",
    "tests/operators/test_audit.py",
    "tests/test_client_alone.py",
    "tests/client/test_typing.py",
    "tests/labeling/test_confirm.py",
    "tests/utils/test_label_task_start_machine.py",
)


@pytest.hookimpl(trylast=True)  # after the files were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hand out the files that take longest first; the order of all others stays random."""

    def rank(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return FIRST.index(file) if file in FIRST else len(FIRST)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported and collected: it stays until the end."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Collect all garbage before a process of xdist says that it is done.

    What it does after that may take five seconds; then execnet sends it a SIGINT, and a ``KeyboardInterrupt`` comes up
    wherever it is. pytest collects garbage at that time, which takes long if there is much, or the machine is busy.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have to say, whichever process of the run they were in."""
    write_lines(terminalreporter)


# The same examples each time, and no test fails because the machine is busy.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def contract_check() -> Iterator[ContractCheck]:
    """Watches every emulator of the run, whoever starts it."""
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.contract import ContractCheck

    check = ContractCheck()
    start = Emulator.start

    def start_watched(self: Emulator) -> Emulator:
        if check not in self.observers:  # it may be stopped and started again
            self.observers.append(check)
        return start(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Emulator, "start", start_watched)
        yield check


@pytest.fixture(autouse=True)
def _keeps_to_the_contract(request: pytest.FixtureRequest, contract_check: ContractCheck) -> Iterator[None]:
    """Fail a test whose requests or whose answers do not agree with the contract."""
    contract_check.check_requests = request.node.get_closest_marker("wrong_requests") is None
    contract_check.check_answers = request.node.get_closest_marker("wrong_answers") is None
    contract_check.forget()
    yield
    if contract_check.problems:
        pytest.fail("against the contract:\n" + "\n".join(contract_check.problems[:20]), pytrace=False)


@pytest.fixture(autouse=True)
def _guesses_are_made_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train once on the same images; the emulator's own tests train each time."""
    if not request.node.nodeid.startswith("tests/emulator/"):
        make_once(monkeypatch)


LONGEST_SLEEP = 5.0
"""Seconds for which a test may really sleep: more than a first pause ever is, whatever chance adds to it."""


@pytest.fixture(autouse=True)
def _sleeps_for_a_moment_at_most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that really sleeps for seconds: it would pass, and nobody would see that it waits half a minute."""
    from airflow_provider_modelarts.client.clock import Clock

    sleep, sleep_async = Clock.sleep, Clock.sleep_async
    refused: list[float] = []

    def check(seconds: float) -> None:
        if seconds > LONGEST_SLEEP:
            refused.append(seconds)
            raise RuntimeError(f"this test would really sleep for {seconds:.1f} s")

    def sleep_for_a_moment(clock: Clock, seconds: float) -> None:
        check(seconds)
        sleep(clock, seconds)

    async def sleep_for_a_moment_async(clock: Clock, seconds: float) -> None:
        check(seconds)
        await sleep_async(clock, seconds)

    is_long = request.node.nodeid.startswith("tests/soak/") or request.node.get_closest_marker("e2e") is not None
    if not is_long:
        monkeypatch.setattr(Clock, "sleep", sleep_for_a_moment)
        monkeypatch.setattr(Clock, "sleep_async", sleep_for_a_moment_async)
    yield
    if refused:
        pytest.fail(f"slept for {refused} s without the fixture moved_clock", pytrace=False)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The folder that holds this run's metadata database and task logs."""
    return AIRFLOW_HOME


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """A migrated metadata database; needed by whatever runs a task. Returns its file."""
    database = airflow_home / "airflow.db"
    if not database.exists() or not database.stat().st_size:  # Airflow makes an empty file when it is first asked
        shutil.copyfile(metadata.prepare(), database)
    _spare_the_disk()
    return database


def _spare_the_disk() -> None:
    """Let SQLite not wait for the disk: nothing of the database is needed after this process."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def set_pragma(connection: Any, _: object) -> None:
        if "sqlite" in type(connection).__module__:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.close()

    event.listen(Engine, "connect", set_pragma)


def forget_masks() -> None:
    """Let Airflow forget what it masks in logs: every emulator would add to what it searches each line for."""
    for package in ("airflow", "airflow.sdk"):
        masker = sys.modules.get(f"{package}._shared.secrets_masker.secrets_masker")
        if masker is not None:
            masker.reset_secrets_masker()


def forget_clients() -> None:
    """Close the hook's shared clients, if the hook was loaded at all: pure client tests must not import airflow."""
    hook_module = sys.modules.get("airflow_provider_modelarts.hooks.modelarts")
    if hook_module is not None:
        hook_module.clear_clients()
    forget_masks()


@pytest.fixture
def emulator(modelarts_emulator: Emulator) -> Iterator[Emulator]:  # noqa: F811  # pytest hands fixtures over by name
    """The emulator of the package's own fixture, met by a hook that knows no other yet."""
    forget_clients()
    yield modelarts_emulator
    forget_clients()


@pytest.fixture
def moved_clock(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    """The package's clock and the emulator's as one, standing still until somebody sleeps or a test moves it."""
    from tests.support.clock import MovedClock

    emulator.clock.freeze()
    clock = MovedClock(emulator)
    clock.install(monkeypatch)
    return clock
