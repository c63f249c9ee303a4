"""Points at which a story may hold a task, and what a task leaves behind for it. Not a DAG."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import get_current_context

from airflow_provider_modelarts.client.resources.tasks import Tasks
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


def shared_folder(context: Context) -> Path:
    """Return the folder that a story shares with its task."""
    return Path((context["dag_run"].conf or {})["folder"])


def pass_gate(point: str) -> None:
    """Stand still at ``point`` if the story wants that, until it opens the gate or kills this process; once."""
    folder = shared_folder(get_current_context())
    try:
        (folder / f"{point}.wanted").rename(folder / f"{point}.reached")
    except FileNotFoundError:
        return
    while not (folder / f"{point}.open").exists():
        time.sleep(0.05)


def note_error(context: Context) -> None:
    """Leave the name of the exception that ended a task."""
    error = context.get("exception")
    with (shared_folder(context) / "errors").open("a") as file:
        file.write(f"{type(error).__name__}\n")


def linger(context: Context) -> None:
    """Take longer than Airflow waits for callbacks after a success (``[core] task_success_overtime``, 20 s)."""
    time.sleep(60)
    (shared_folder(context) / "lingered").touch()


class GatedStartOperator(ModelArtsStartLabelTaskOperator):
    """The operator with gates before, between and after its steps."""

    def execute(self, context: Context) -> str:
        pass_gate("begin")
        return super().execute(context)

    def defer(self, **kwargs: Any) -> Never:
        pass_gate("before_defer")
        super().defer(**kwargs)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        pass_gate("resumed")
        return super().execute_complete(context, event)


_start = Tasks.start


def _gated_start(self: Tasks, *args: Any, **kwargs: Any) -> str:
    pass_gate("before_post")
    task_id = _start(self, *args, **kwargs)
    pass_gate("after_post")
    return task_id


Tasks.start = _gated_start  # type: ignore[method-assign]  # the one way to stand between the start and the store
