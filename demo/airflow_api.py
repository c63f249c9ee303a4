"""Talks to a running Airflow over its REST API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NOT_FOUND = 404


class AirflowApi:
    """Airflow's REST API, as far as the demo and the tests need it.

    :param url: address of the API server, without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._token: str | None = None

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Call Airflow's REST API.

        :param path: with its leading slash, such as ``/api/v2/dags``.
        :param body: what to send as JSON.
        :returns: the answer's JSON, or None when it has no body.
        :raises urllib.error.HTTPError: a status of 400 or more.
        """
        headers = {"Content-Type": "application/json"}
        if self._token is None and path.startswith("/api/"):
            self._token = self.request("GET", "/auth/token")["access_token"]
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_connection(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        """Store a connection in the metadata database.

        :param connection: ``conn_type``, ``host``, ``login``, ``password``, ``port``, and ``extra`` as a mapping.
        """
        body = {"connection_id": conn_id, **connection, "extra": json.dumps(connection.get("extra") or {})}
        self.request("POST", "/api/v2/connections", body)

    def knows_dag(self, dag_id: str) -> bool:
        """Whether the DAG processor has read the DAG."""
        try:
            self.request("GET", f"/api/v2/dags/{dag_id}")
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return True

    def pause_dag(self, dag_id: str) -> None:
        """Switch a DAG off: it begins no runs until somebody switches it on."""
        self.request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        state: str = self.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_state(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """Return the state of a task of a run; None before it was scheduled."""
        state: str | None = self.task_instance(dag_id, run_id, task_id)["state"]
        return state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return what a task of a run has pushed."""
        task = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        value = self.request("GET", f"{task}/xcomEntries/{key}?deserialize=true&map_index={map_index}")["value"]
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:  # a text is shown as it is, all else as JSON
            return value

    def task_instance(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return what Airflow knows of a task of a run: ``id`` of its latest try, ``state``, ``try_number`` ..."""
        answer: dict[str, Any] = self.request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return answer

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return what Airflow knows of the first hundred tasks of a run, mapped ones each for itself."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100"
        instances: list[dict[str, Any]] = self.request("GET", path)["task_instances"]
        return instances

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task of a run as a user does: failed, success or skipped."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.request("PATCH", path, {"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as a user does: failed or success."""
        self.request("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def clear_tasks(self, dag_id: str, run_id: str, task_ids: Collection[str]) -> None:
        """Clear tasks of a run as a user does, whatever their state."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)
