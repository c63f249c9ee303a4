"""The Airflow environment of a test run, which Airflow reads when it is first imported: so this comes before that."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE_DAGS = REPOSITORY / "airflow_provider_modelarts" / "example_dags"

# A key of its own, so that connections lie encrypted in the metadata database as they do in an installation.
FERNET_KEY = "7mVtZ2hBq0Cxq1s3m0mX3m7b2m3Yk2f0S1mJr5xq9wE="


def airflow_settings(home: Path, *, dags_folder: Path = EXAMPLE_DAGS) -> dict[str, str]:
    """Return the environment variables of an Airflow that lives in ``home`` alone."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-test-run-and-of-nothing-else-0123456789abcdef",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_COLOR": "1",
    }


def drop_inherited(environ: dict[str, str] | os._Environ[str]) -> None:
    """Remove what the caller's shell says about Airflow: a test run must not depend on it, nor touch its database."""
    for name in [name for name in environ if name.startswith(("AIRFLOW_", "_AIRFLOW_", "__AIRFLOW_"))]:
        del environ[name]


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
    return home
