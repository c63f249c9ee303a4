"""What a DAG file may import must not pay for the HTTP library; the client must not need Airflow."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
    assert "airflow_provider_modelarts.client.transport" in loaded
    assert not {"airflow", "starlette", "sklearn"} & loaded


def test_every_public_name_resolves() -> None:
    from airflow_provider_modelarts import client

    assert all(getattr(client, name).__name__ == name for name in client.__all__)
    assert set(client.__all__) <= set(dir(client))
    with pytest.raises(AttributeError):
        client.Nonsense  # noqa: B018 - the look-up is the test
