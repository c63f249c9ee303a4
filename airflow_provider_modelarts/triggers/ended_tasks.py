"""Finds the labeling tasks of a dataset that have ended between two looks at its list; it knows no clock.

A list of labeling tasks only ever grows at its top, so it is enough to look at its newest page: what stands above the
tasks seen before is new, what stands below them is old and of no interest, however many there are. Every request is
sent once: the watch itself is the retry (B6).
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
"""Ids by which a later look finds its place in the list again; several, because tasks can be deleted."""


@dataclass(frozen=True)
class TaskListSnapshot:
    """The top of a dataset's list of labeling tasks at one moment.

    :param tasks: newest first
    :param whole: whether the list ends with them
    """

    tasks: Sequence[LabelTask]
    whole: bool


def newest(client: ModelArtsClient, dataset_id: str, label_task_type: str | None) -> TaskListSnapshot:
    """Read the newest labeling tasks: one page, one request.

    A list that turns out to be sorted the other way round, which no document rules out, is read to its end.

    :param client: asks the service
    :param dataset_id: the dataset
    :param label_task_type: only this kind; None: auto-label and pre-label
    """
    listed = client.tasks.list(dataset_id, task_type=label_task_type, retry=False)
    page = list(islice(listed, MAX_PAGE))
    if _rises(page):
        return TaskListSnapshot([*page, *listed][::-1], whole=True)
    return TaskListSnapshot(page, whole=len(page) < MAX_PAGE)


def since(
    client: ModelArtsClient, dataset_id: str, label_task_type: str | None, known: Collection[str]
) -> TaskListSnapshot:
    """Read the newest labeling tasks down to the first known one, over as many pages as that takes.

    :param client: asks the service
    :param dataset_id: the dataset
    :param label_task_type: only this kind; None: auto-label and pre-label
    :param known: ids at which to stop
    """
    tasks = []
    for task in client.tasks.list(dataset_id, task_type=label_task_type, retry=False):
        tasks.append(task)
        if task.task_id in known:
            return TaskListSnapshot(tasks, whole=False)
    return TaskListSnapshot(tasks, whole=True)


def still_there(client: ModelArtsClient, dataset_id: str, label_task_ids: Iterable[str]) -> list[LabelTask]:
    """Read labeling tasks one by one; those that were deleted are left out.

    :param client: asks the service
    :param dataset_id: the dataset
    :param label_task_ids: which
    """
    tasks = []
    for label_task_id in label_task_ids:
        with suppress(NotFound):
            tasks.append(client.tasks.get(dataset_id, label_task_id, retry=False))
    return tasks


def _rises(tasks: Sequence[LabelTask]) -> bool:
    """Whether the creation times, texts of one form, grow from first to last."""
    times = [task.create_time for task in tasks if task.create_time]
    return len(times) > 1 and times[0] < times[-1]


class EndedTaskTracker:
    """Remembers what was seen of a list, and tells from the next look at it what has ended since.

    :param active: ids of labeling tasks that were not over
    :param recent: ids at the top of the list, newest first, over or not
    """

    def __init__(self, active: Iterable[str] = (), recent: Iterable[str] = ()) -> None:
        self.active = set(active)
        self.recent = list(recent)

    @classmethod
    def begin(cls, glance: TaskListSnapshot) -> EndedTaskTracker:
        """Return the memory of somebody who starts to watch: what is over by now is of no interest."""
        ends = cls()
        ends._remember(glance)
        return ends

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"active": sorted(self.active), "recent": self.recent}

    @classmethod
    def from_json(cls, value: Any) -> EndedTaskTracker | None:
        """Return a stored memory; None if there is none, or nothing that can be made sense of."""
        if not isinstance(value, dict):
            return None
        lists = [value.get("active"), value.get("recent")]
        if not all(isinstance(ids, list) and all(isinstance(one, str) for one in ids) for ids in lists):
            return None
        return cls(value["active"], value["recent"])

    def has_lost_its_place(self, glance: TaskListSnapshot) -> bool:
        """Whether more labeling tasks have been started since the last look than a glance shows."""
        return not glance.whole and self._first_known(glance) is None

    def not_in(self, glance: TaskListSnapshot) -> list[str]:
        """Return the ids of labeling tasks that were active and are too old to be in a glance."""
        shown = {task.task_id for task in glance.tasks if task.task_id}
        return sorted(self.active - shown)

    def take(self, glance: TaskListSnapshot, older: Sequence[LabelTask] = ()) -> list[LabelTask]:
        """Return what has ended since the last look, each labeling task once, oldest first; and remember this look.

        :param glance: the list as it is now
        :param older: those of :meth:`not_in` that still exist
        """
        first_known = self._first_known(glance)
        if first_known is None:
            # Above an empty list everything is new; if nothing is left of the list that was seen, nobody can tell.
            first_known = 0 if self.recent else len(glance.tasks)
        candidates = {task.task_id for task in glance.tasks[:first_known]} | self.active
        shown = [task for task in reversed(glance.tasks) if task.task_id in candidates]
        self._remember(glance, older)
        return [task for task in (*older, *shown) if task.is_terminal]

    def _first_known(self, glance: TaskListSnapshot) -> int | None:
        """Return the place in a glance of the newest labeling task that was there at the last look."""
        known = set(self.recent)
        return next((place for place, task in enumerate(glance.tasks) if task.task_id in known), None)

    def _remember(self, glance: TaskListSnapshot, older: Sequence[LabelTask] = ()) -> None:
        self.recent = [task.task_id for task in glance.tasks[:RECENT] if task.task_id]
        self.active = {task.task_id for task in (*older, *glance.tasks) if task.task_id and not task.is_terminal}
