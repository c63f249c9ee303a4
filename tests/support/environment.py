"""The Airflow environment of a test run, which Airflow reads when it is first imported: so this comes before that."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from demo.environment import airflow_settings, drop_inherited


def prepare() -> Path:
    """Give this process an Airflow home of its own, removed when the process ends, and return it."""
    if "airflow" in sys.modules:
        raise RuntimeError("airflow was imported before the test run could choose its AIRFLOW_HOME")
    home = Path(tempfile.mkdtemp(prefix="modelarts-tests-"))
    owner = os.getpid()

    def remove() -> None:
        # A task may run in a fork of this process, which inherits this hook; only the owner clears up.
        if os.getpid() == owner:
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(remove)
    drop_inherited(os.environ)
    os.environ.update(airflow_settings(home))
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "INFO"
    # Nor on its accounts at other services, or on whether such a service can be reached.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    # What processes of one machine tell each other stays within this run.
    os.environ["TMPDIR"] = tempfile.tempdir = str(home / "tmp")
    (home / "tmp").mkdir()
    return home
