"""An Airflow whose REST API is asked with patience."""

from __future__ import annotations

import threading
import time
import urllib.error
from typing import Any

from demo.airflow_processes import AirflowProcesses

ATTEMPTS = 6
SERVER_ERROR = 500


class PatientAirflow(AirflowProcesses):
    """Sends changes one after the other, and again when the database was locked.

    Airflow's API server writes its audit log on its event loop. On SQLite, where one writer excludes all others, two
    changes at once wait for each other until one of them fails with status 500, undone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._one_change = threading.Lock()

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
