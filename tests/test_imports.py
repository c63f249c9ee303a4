"""Importing the package does nothing (B21): every module, in a fresh process, under an audit hook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from demo.environment import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

# Runs in the fresh process. Argument: the packages to import, comma-separated. Prints what happened as JSON.
PROBE = r"""
import importlib, json, os, pkgutil, sys

import airflow.sdk
import airflow.sdk.execution_time.context as look_ups
# What other libraries do when they are imported is theirs: botocore and Airflow's API server ask for sockets.
import airflow.api_fastapi.core_api.security
import airflow.models.taskinstance
import s3fs
import croniter  # Airflow loads it for a DAG's schedule, and it asks the operating system how wide a word is
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator, Connection
from airflow.triggers.base import BaseTrigger

seen = []
importing = ""  # what an event belongs to

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
CHANGING = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
SPEAKING = {"socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"}
STARTING = {"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork"}


def audit(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(flags, int) and flags & WRITING or isinstance(mode, str) and set(mode) & set("wax+"):
            seen.append(["write", str(path), importing])
    elif event in CHANGING:
        seen.append(["write", f"{event} {arguments[0]}", importing])
    elif event in SPEAKING:
        seen.append(["socket", event, importing])
    elif event in STARTING:
        seen.append(["process", event, importing])


def look_up(*arguments, **_):
    seen.append(["connection", str(arguments), importing])
    raise RuntimeError("no connection may be looked up here")


for owner, name in [
    (look_ups, "_get_connection"), (look_ups, "_async_get_connection"),
    (BaseHook, "get_connection"), (BaseHook, "aget_connection"), (Connection, "get"),
]:
    getattr(owner, name)
    setattr(owner, name, look_up)
sys.addaudithook(audit)

names, failed = [], []
for package in sys.argv[1].split(","):
    importing = package
    module = importlib.import_module(package)
    names.append(package)
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), package + "."):
        names.append(info.name)
        importing = info.name
        try:
            importlib.import_module(info.name)
        except Exception as error:
            failed.append(f"{info.name}: {error!r}")
print(json.dumps({"names": names, "seen": seen, "failed": failed}))
"""


def probe(packages: str, *paths: Path) -> dict[str, Any]:
    """Import ``packages`` in a fresh process and return what that did."""
    # Compiled files are Python's own; without them every write that is left is the module's.
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, packages],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_no_module_does_anything_when_it_is_imported() -> None:
    report = probe("airflow_provider_modelarts,example_dags", REPOSITORY)
    assert report["failed"] == []
    assert report["seen"] == []
    assert {
        "airflow_provider_modelarts.get_provider_info",
        "airflow_provider_modelarts.client.client",
        "airflow_provider_modelarts.labeling.apply.confirmation",
        "airflow_provider_modelarts.hooks.modelarts",
        "airflow_provider_modelarts.operators.samples",
        "airflow_provider_modelarts.emulator",
        "example_dags.auto_label_images",
    } <= set(report["names"])


PLANTED = {
    "writes": ("import pathlib; pathlib.Path(__file__).with_name('trace').write_text('x')", "write"),
    "makes_a_folder": ("import os; os.mkdir(__file__ + '.d')", "write"),
    "opens_a_socket": ("import socket; socket.socket().close()", "socket"),
    "asks_for_an_address": ("import socket; socket.getaddrinfo('127.0.0.1', 80)", "socket"),
    "starts_a_process": ("import subprocess, sys; subprocess.run([sys.executable, '-c', ''])", "process"),
    "reads_a_connection": (
        "from airflow.sdk import BaseHook\ntry: BaseHook.get_connection('x')\nexcept RuntimeError: pass",
        "connection",
    ),
    "does_nothing": ("import json", None),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found in a package of modules that each do one thing."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "planted").mkdir()
    (folder / "planted" / "__init__.py").touch()
    for name, (body, _) in PLANTED.items():
        (folder / "planted" / f"{name}.py").write_text(body)
    return probe("planted", folder)


@pytest.mark.parametrize("name", PLANTED)
def test_a_module_that_does_something_is_found(planted: dict[str, Any], name: str) -> None:
    assert f"planted.{name}" in planted["names"]
    _, kind = PLANTED[name]
    assert {found for found, _, module in planted["seen"] if module == f"planted.{name}"} == ({kind} if kind else set())
