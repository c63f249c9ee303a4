"""A migrated metadata database to copy: migrating takes Airflow seconds, and gives the same each time.

``make`` prepares it during the set-up; where that has not happened it is made when it is first needed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.environment import REPOSITORY, airflow_settings, child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE = REPOSITORY / ".demo"


class MigrationError(Exception):
    """Airflow could not make its metadata database."""


def prepare() -> Path:
    """Return a migrated, empty metadata database of the Airflow that is installed; makes it if it is not there."""
    prepared = STATE / f"metadata-{importlib.metadata.version('apache-airflow-core')}.db"
    if not prepared.exists():
        STATE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=STATE, prefix="prepare-") as folder:
            migrate(Path(folder), child_environment(os.environ, airflow_settings(Path(folder))))
            shutil.move(Path(folder) / "airflow.db", prepared)
    return prepared


def copy_to(home: Path) -> None:
    """Put a migrated metadata database into ``home``, unless one lies there already."""
    database = home / "airflow.db"
    if not database.exists():
        shutil.copyfile(prepare(), database)


def migrate(home: Path, environ: Mapping[str, str]) -> None:
    """Let Airflow make its metadata database in ``home``.

    :raises MigrationError: it could not; the text holds the last line that it said.
    """
    _airflow(home, environ, "db", "migrate")
    # Readers of a copy must find everything in the one file, not in a write-ahead log beside it.
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def add_connection(home: Path, environ: Mapping[str, str], conn_id: str, connection: Mapping[str, Any]) -> None:
    """Store a connection in the metadata database of an Airflow that is not running yet.

    :raises MigrationError: Airflow does not take it; the text holds the last line that it said.
    """
    file = home / "connections.json"
    file.touch(mode=0o600)
    try:
        file.write_text(json.dumps({conn_id: dict(connection)}), encoding="utf-8")
        _airflow(home, environ, "connections", "import", str(file))
    finally:
        file.unlink()


def _airflow(home: Path, environ: Mapping[str, str], *command: str) -> None:
    called = [sys.executable, "-m", "airflow", *command]
    done = subprocess.run(called, env=dict(environ), cwd=home, capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode(errors="replace").split("\n")
    if done.returncode:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        raise MigrationError(f"airflow {' '.join(command[:2])} failed: {last[:300]}")


if __name__ == "__main__":
    prepare()
