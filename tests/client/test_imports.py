"""What a DAG file may import must not pay for the HTTP library; the client must not need Airflow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_modelarts.emulator import Emulator


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["errors", "states", "clock", "waiting"])
def test_light_modules_do_not_load_requests(module: str) -> None:
    loaded = modules_after(f"import airflow_provider_modelarts.client.{module}")
    assert f"airflow_provider_modelarts.client.{module}" in loaded
    assert not {"requests", "urllib3", "tenacity", "airflow"} & loaded


def test_the_whole_client_does_not_load_airflow() -> None:
    loaded = modules_after("from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials")
    assert "airflow_provider_modelarts.client.transport.transport" in loaded
    assert not {"airflow", "starlette", "sklearn", "pydantic"} & loaded
    assert not [name for name in loaded if name.startswith("airflow_provider_modelarts.client.requests")]


def test_every_public_name_resolves() -> None:
    from airflow_provider_modelarts import client

    assert all(getattr(client, name).__name__ == name for name in client.__all__)
    assert set(client.__all__) <= set(dir(client))
    with pytest.raises(AttributeError):
        client.Nonsense  # noqa: B018 - the look-up is the test


BARE = (
    "import os, sys;"
    "[delattr(os, name) for name in ('register_at_fork', 'fork', 'forkpty', 'getuid', 'geteuid', 'getgid', 'getppid')];"
    "sys.modules.update(dict.fromkeys(('fcntl', 'pwd', 'grp', 'resource', 'termios')));"
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_client_works_where_processes_do_not_fork_and_files_have_no_owner() -> None:
    with Emulator() as emulator:
        dataset_id = emulator.load_proposals(3)
        words = (emulator.url, emulator.user, emulator.password, emulator.domain)
        done = run(
            f"{BARE}"
            "from airflow_provider_modelarts.client import *;"
            f"credentials = PasswordCredentials(*{words!r}, {emulator.project_name!r});"
            f"client = ModelArtsClient({emulator.url!r}, credentials);"
            f"print(client.datasets.get({dataset_id!r}).dataset_id, len(list(client.proposals.list({dataset_id!r}))))"
        )
    assert (done.stdout.split(), done.stderr) == ([dataset_id, "3"], "")


@pytest.mark.parametrize("kind", ["AttributeError", "ImportError", "OSError"])
def test_what_keeps_the_client_from_being_loaded_is_told(kind: str) -> None:
    done = run(
        "import sys\nclass Missing:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name.endswith('client.transport.session'): raise {kind}('no such thing here')\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from airflow_provider_modelarts.client import ModelArtsClient"
    )
    assert done.returncode == 1
    assert "no such thing here" in done.stderr.splitlines()[-1]
    assert "cannot import name" not in done.stderr
