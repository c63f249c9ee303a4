"""The command `modelarts-emulator`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    import pytest


def test_the_command_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; from {0} import main; sys.exit(main(['--port', '0']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code.format("airflow_provider_modelarts.emulator.cli")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(7)]
        url = lines[0].split()[-1]
        assert requests.get(f"{url}/v3/projects", timeout=10).status_code == 401
        variable, _, text = lines[4].partition("=")
        assert variable == "export AIRFLOW_CONN_MODELARTS_DEFAULT"
        connection = json.loads(text.strip("'"))
        assert connection["host"] == url
        page = connection["extra"]["console"].replace("{dataset_id}", lines[2].split()[-1])
        assert lines[6].endswith(page)
        assert requests.get(page, timeout=10).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow_provider_modelarts.emulator.cli import main

    assert main(["--port", "0", "--data", "/nonexistent"]) == 1
    assert "holds no image" in capsys.readouterr().err
