"""The DAG that runs when a labeling task has ended, in a real Airflow whose triggerer is killed."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from demo.environment import EXAMPLE_DAGS

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from demo.airflow_processes import AirflowProcesses

DAG_ID = "confirm_when_labeled"
FILE = EXAMPLE_DAGS / f"{DAG_ID}.py"
LIST = "/tasks"


class Watching:
    """A real Airflow that watches a dataset by this DAG."""

    def __init__(self, airflow: AirflowProcesses, emulator: Emulator, dataset_id: str) -> None:
        self.airflow = airflow
        self.emulator = emulator
        self.dataset_id = dataset_id

    def wait_for_looks(self, looks: int) -> None:
        """Wait until the watcher has looked so many times from now on."""
        self.emulator.journal.clear()
        self.airflow.wait_until(
            lambda: self.emulator.journal.count("GET", LIST) >= looks, 120, "the watcher does not look"
        )

    def label(self) -> str:
        """Let a labeling task run to its end and return its id."""
        tasks = ModelArtsHook().client.tasks
        return tasks.wait(self.dataset_id, tasks.start(self.dataset_id), timeout=60, poll_interval=1).task_id or ""

    def runs(self) -> dict[str, str]:
        """Return the state of each run by its id."""
        answer = self.airflow.request("GET", f"/api/v2/dags/{DAG_ID}/dagRuns")
        return {run["dag_run_id"]: run["state"] for run in answer["dag_runs"]}

    def wait_for_successes(self, count: int) -> None:
        """Wait until so many runs have succeeded."""
        self.airflow.wait_until(
            lambda: list(self.runs().values()).count("success") >= count, 150, f"there are no {count} successful runs"
        )

    def named_tasks(self) -> list[str]:
        """Return the labeling tasks that the runs were about."""
        found = []
        for run_id in self.runs():
            path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/name_ended_tasks/xcomEntries/return_value"
            value = self.airflow.request("GET", path)["value"]
            found += json.loads(value) if isinstance(value, str) else value
        return found


def test_each_end_starts_one_run_also_after_the_triggerer_was_killed(emulator: Emulator, tmp_path: Path) -> None:
    from demo.airflow_processes import AirflowProcesses

    emulator.task_seconds = 2
    dataset_id = emulator.load_digits()
    folder = tmp_path / "dags"
    folder.mkdir()
    text = FILE.read_text(encoding="utf-8")
    assert text.count("poll_interval=30") == 1
    (folder / FILE.name).write_text(text.replace("poll_interval=30", "poll_interval=2"), encoding="utf-8")
    settings = {
        "AIRFLOW_CONN_MODELARTS_DEFAULT": emulator.connection_json,
        "MODELARTS_WATCHED_DATASET": dataset_id,
        # so that the triggers of the killed triggerer are given to the next one soon
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    }
    with AirflowProcesses(tmp_path / "home", dags_folder=folder, settings=settings) as airflow:
        watching = Watching(airflow, emulator, dataset_id)
        watching.wait_for_looks(2)
        ended = [watching.label()]
        watching.wait_for_successes(1)
        # what the watch saw is written down five seconds after an event
        watching.wait_for_looks(5)

        os.killpg(airflow.process_id("triggerer"), signal.SIGKILL)
        ended.append(watching.label())
        airflow.start_component("triggerer")
        watching.wait_for_looks(2)
        if has_asset_store():
            watching.wait_for_successes(2)
        else:
            ended.pop()
        watching.wait_for_looks(5)
        assert sorted(watching.named_tasks()) == sorted(ended)
    assert emulator.dataset(dataset_id).annotated > 1000, "the runs confirmed what was proposed"


def has_asset_store() -> bool:
    """Whether this Airflow gives watchers a memory."""
    from airflow.sdk.execution_time import context

    return hasattr(context, "AssetStateStoreAccessors")
