"""An Airflow on SQLite that takes many tasks at once."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
from typing import TYPE_CHECKING, Any

from demo.airflow_processes import AirflowProcesses
from demo.environment import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPTS = 6
SERVER_ERROR = 500


class SqliteAirflow(AirflowProcesses):
    """Sends one change at a time, and again when the database was locked; see :mod:`tests.soak.sqlite_settings`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._one_change = threading.Lock()

    def environment_of(self, role: str) -> Mapping[str, str]:
        """Return the environment variables of a part, which say how long it waits for the database."""
        name = "IMPATIENT" if role == "api-server" else "PATIENT"
        path = [str(REPOSITORY), *filter(None, [self.environ.get("PYTHONPATH")])]
        return {
            **self.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": f"tests.soak.sqlite_settings.{name}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC": f"tests.soak.sqlite_settings.{name}",
        }

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Call Airflow's REST API; see the base class."""
        if method == "GET":
            return self._attempt(method, path, body)
        with self._one_change:
            return self._attempt(method, path, body)

    def _attempt(self, method: str, path: str, body: Any) -> Any:
        for _ in range(ATTEMPTS - 1):
            try:
                return super().request(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code != SERVER_ERROR:
                    raise
                time.sleep(1)
        return super().request(method, path, body)
