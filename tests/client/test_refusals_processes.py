"""Processes that begin in the same moment do not all send a wrong password (B8, B7a)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.auth.refusals import LONGEST_TURN, SharedRefusals
from airflow_provider_modelarts.client.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

    Start = Callable[..., list[subprocess.Popen[str]]]

PROCESSES = 8

# A task's process. Reads what it is to do once everything is loaded, so that all begin together; prints how it ended.
TASK = """
import json, pathlib, sys
from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.client.refusals import SharedRefusals
print("ready", flush=True)
folder, dataset_id, fields = json.loads(sys.stdin.readline())
credentials = PasswordCredentials(**fields, refusals=SharedRefusals(pathlib.Path(folder)))
try:
    print(ModelArtsClient(fields["iam_endpoint"], credentials).datasets.get(dataset_id).dataset_id)
except ModelArtsError as error:
    print(type(error).__name__, "not sent again" in str(error))
"""

# Holds the turn, and dies in it without an end; a child that it has forked lives on.
HOLDER = """
import os, pathlib, signal, sys, time
from airflow_provider_modelarts.client import PasswordCredentials
from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.refusals import SharedRefusals
credentials = PasswordCredentials(*sys.argv[2:4], "any", sys.argv[4])
with SharedRefusals(pathlib.Path(sys.argv[1])).turn(credentials, system_clock):
    if not os.fork():
        print(os.getpid(), flush=True)
        signal.alarm(60)
        time.sleep(60)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "refused"


@pytest.fixture
def shared(folder: Path) -> SharedRefusals:
    return SharedRefusals(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that can be written to and read from; what is left of them is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str, times: int = 1) -> list[subprocess.Popen[str]]:
        command = [sys.executable, "-c", code, *arguments]
        pipe = subprocess.PIPE
        started.extend(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(times))
        return started[-times:]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


def ends_of_tasks(start: Start, folder: Path, password: PasswordCredentials, dataset_id: str) -> Counter[str]:
    """Let processes that are ready ask for a dataset all at once, and return how often each end came."""
    names = ("iam_endpoint", "user", "password", "domain", "project_name")
    fields = {name: getattr(password, name) for name in names}
    processes = start(TASK, times=PROCESSES)
    assert {line(process) for process in processes} == {"ready"}
    for process in processes:
        say(process, json.dumps([str(folder), dataset_id, fields]))
    return Counter(line(process) for process in processes)


def asked(emulator: Emulator) -> int:
    return emulator.journal.count("POST", "/v3/auth/tokens")


def test_of_tasks_that_begin_together_few_send_a_wrong_password(
    start: Start, emulator: Emulator, password: PasswordCredentials, dataset_id: str, folder: Path
) -> None:
    emulator.faults.add("POST", "/v3/auth/tokens", "delay", seconds=0.5, times=None)
    ends = ends_of_tasks(start, folder, replace(password, password="sentinel-password"), dataset_id)
    sent = asked(emulator)
    assert 1 <= sent <= 2
    assert ends == {"AuthenticationError False": sent, "AuthenticationError True": PROCESSES - sent}


def test_tasks_that_begin_together_with_the_right_password_all_succeed(
    start: Start, emulator: Emulator, password: PasswordCredentials, dataset_id: str, folder: Path
) -> None:
    emulator.faults.add("POST", "/v3/auth/tokens", "delay", seconds=0.1, times=None)
    assert ends_of_tasks(start, folder, password, dataset_id) == {dataset_id: PROCESSES}
    (left,) = folder.iterdir()
    assert left.stat().st_mode & 0o077 == 0
    assert left.read_bytes() == b""


def test_who_waits_too_long_for_the_others_goes_on(
    make_client: Callable[..., ModelArtsClient],
    password: PasswordCredentials,
    dataset_id: str,
    shared: SharedRefusals,
    moved_clock: MovedClock,
) -> None:
    with shared.turn(password, Clock()):
        assert make_client(replace(password, refusals=shared)).datasets.get(dataset_id)
    assert sum(moved_clock.slept) == pytest.approx(LONGEST_TURN)


def test_a_user_waits_for_no_other_user(
    password: PasswordCredentials, shared: SharedRefusals, moved_clock: MovedClock
) -> None:
    with shared.turn(password, Clock()), shared.turn(replace(password, user="another"), Clock()):
        assert moved_clock.slept == []


@pytest.mark.parametrize("spoil", ["open folder", "file in the way", "no locks"])
def test_where_no_lock_can_be_kept_nobody_waits(
    password: PasswordCredentials,
    shared: SharedRefusals,
    moved_clock: MovedClock,
    monkeypatch: pytest.MonkeyPatch,
    spoil: str,
) -> None:
    if spoil == "open folder":
        shared.folder.mkdir()
        shared.folder.chmod(0o777)
    elif spoil == "file in the way":
        shared.folder.write_text("")
    else:
        monkeypatch.setitem(sys.modules, "fcntl", None)
    with shared.turn(password, Clock()), shared.turn(password, Clock()):
        assert moved_clock.slept == []


def test_a_signal_handler_does_not_wait_for_what_it_interrupts(
    make_client: Callable[..., ModelArtsClient],
    emulator: Emulator,
    password: PasswordCredentials,
    dataset_id: str,
    shared: SharedRefusals,
    moved_clock: MovedClock,
) -> None:
    """The signal comes while the interrupted thread asks IAM, having the turn."""
    credentials = replace(password, refusals=shared)
    read: list[object] = []

    def handle(*_: object) -> None:
        emulator.faults.clear()
        read.append(make_client(credentials, retries=False).datasets.get(dataset_id))

    def interrupt(call: Any) -> bool:
        del call
        os.kill(os.getpid(), signal.SIGUSR1)
        return True

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        emulator.faults.add("POST", "/auth/tokens", "delay", seconds=0.3, match=interrupt)
        read.append(make_client(credentials).datasets.get(dataset_id))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(read) == 2
    assert asked(emulator) == 2
    assert moved_clock.slept == []


def test_a_process_that_dies_holds_up_nobody_although_its_child_lives(
    start: Start, password: PasswordCredentials, shared: SharedRefusals, moved_clock: MovedClock
) -> None:
    (holder,) = start(HOLDER, str(shared.folder), password.iam_endpoint, password.user, password.domain)
    child = int(line(holder))
    try:
        with shared.turn(password, Clock()):
            assert sum(moved_clock.slept) == pytest.approx(LONGEST_TURN)
        moved_clock.slept.clear()
        say(holder, "die")
        assert holder.wait() == -signal.SIGKILL
        with shared.turn(password, Clock()):
            assert moved_clock.slept == []
    finally:
        os.kill(child, signal.SIGKILL)
