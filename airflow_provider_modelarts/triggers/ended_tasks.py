"""Finds the labeling tasks of a dataset that have ended between two polls of their list.

The list only grows at its top, so its newest page is usually enough: what stands above the known labeling tasks is new,
what stands below is of no interest. Requests are sent without retries: the watch itself is the retry (B6).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import NotFound
from airflow_provider_modelarts.client.validation import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.tasks import LabelTask

RECENT = 20
"""How many ids at the top of the list are remembered; several, because labeling tasks can be deleted."""


@dataclass(frozen=True)
class TaskListSnapshot:
    """The top of a dataset's list of labeling tasks at one moment.

    :param tasks: newest first
    :param whole: whether these are all
    """

    tasks: Sequence[LabelTask]
    whole: bool


def read_newest(client: ModelArtsClient, dataset_id: str, label_task_type: str | None) -> TaskListSnapshot:
    """Read the first page of the list; all of it if it is sorted oldest first, which no document rules out."""
    listed = client.tasks.list(dataset_id, task_type=label_task_type, retry=False)
    page = list(islice(listed, MAX_PAGE))
    times = [task.create_time for task in page if task.create_time]
    if len(times) > 1 and times[0] < times[-1]:
        return TaskListSnapshot([*page, *listed][::-1], whole=True)
    return TaskListSnapshot(page, whole=len(page) < MAX_PAGE)


def read_until_known(
    client: ModelArtsClient, dataset_id: str, label_task_type: str | None, known: Collection[str]
) -> TaskListSnapshot:
    """Read the list down to the first known id, over as many pages as that takes."""
    tasks = []
    for task in client.tasks.list(dataset_id, task_type=label_task_type, retry=False):
        tasks.append(task)
        if task.task_id in known:
            return TaskListSnapshot(tasks, whole=False)
    return TaskListSnapshot(tasks, whole=True)


def read_existing(client: ModelArtsClient, dataset_id: str, label_task_ids: Iterable[str]) -> list[LabelTask]:
    """Read labeling tasks one by one; those that were deleted are left out."""
    tasks = []
    for label_task_id in label_task_ids:
        with suppress(NotFound):
            tasks.append(client.tasks.get(dataset_id, label_task_id, retry=False))
    return tasks


class EndedTaskTracker:
    """Remembers one poll of a list, and finds what has ended by the next one.

    :param active: ids of labeling tasks that were not over
    :param recent: ids at the top of the list, newest first, over or not
    """

    def __init__(self, active: Iterable[str] = (), recent: Iterable[str] = ()) -> None:
        self.active = set(active)
        self.recent = list(recent)

    @classmethod
    def begin(cls, snapshot: TaskListSnapshot) -> EndedTaskTracker:
        """Return the tracker of a watch that begins: what is over already is of no interest."""
        tracker = cls()
        tracker._remember(snapshot)
        return tracker

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"active": sorted(self.active), "recent": self.recent}

    @classmethod
    def from_json(cls, value: Any) -> EndedTaskTracker | None:
        """Return a stored tracker; None for anything else."""
        if not isinstance(value, dict):
            return None
        lists = [value.get("active"), value.get("recent")]
        if not all(isinstance(ids, list) and all(isinstance(one, str) for one in ids) for ids in lists):
            return None
        return cls(value["active"], value["recent"])

    def needs_more(self, snapshot: TaskListSnapshot) -> bool:
        """Return whether more labeling tasks were started since the last poll than a snapshot shows."""
        return not snapshot.whole and self._first_known(snapshot) is None

    def active_below(self, snapshot: TaskListSnapshot) -> list[str]:
        """Return the ids of labeling tasks that were active and are too old to be in a snapshot."""
        shown = {task.task_id for task in snapshot.tasks if task.task_id}
        return sorted(self.active - shown)

    def update(self, snapshot: TaskListSnapshot, older: Sequence[LabelTask] = ()) -> list[LabelTask]:
        """Return what has ended since the last poll, oldest first, and remember this poll.

        :param snapshot: the list as it is now
        :param older: those of :meth:`active_below` that still exist
        """
        first_known = self._first_known(snapshot)
        if first_known is None:
            # After an empty list everything is new. If nothing known is left, nobody can say what is new.
            first_known = 0 if self.recent else len(snapshot.tasks)
        candidates = {task.task_id for task in snapshot.tasks[:first_known]} | self.active
        shown = [task for task in reversed(snapshot.tasks) if task.task_id in candidates]
        self._remember(snapshot, older)
        return [task for task in (*older, *shown) if task.is_terminal]

    def _first_known(self, snapshot: TaskListSnapshot) -> int | None:
        """Return the index in a snapshot of the newest labeling task that the last poll has seen."""
        known = set(self.recent)
        return next((index for index, task in enumerate(snapshot.tasks) if task.task_id in known), None)

    def _remember(self, snapshot: TaskListSnapshot, older: Sequence[LabelTask] = ()) -> None:
        self.recent = [task.task_id for task in snapshot.tasks[:RECENT] if task.task_id]
        self.active = {task.task_id for task in (*older, *snapshot.tasks) if task.task_id and not task.is_terminal}
