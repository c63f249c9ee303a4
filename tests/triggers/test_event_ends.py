"""Comparing two looks at a list: any history of starts, ends, deletions and restarts, and lists in another order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client.errors import NotFound
from airflow_provider_modelarts.client.resources.tasks import LabelTask
from airflow_provider_modelarts.triggers import ended_tasks
from airflow_provider_modelarts.triggers.ended_tasks import EndedTaskTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNING, SUCCEEDED = 1, 3


class Service:
    """A list of labeling tasks as a client shows it; the emulator has neither small pages nor another order."""

    def __init__(self) -> None:
        self.newest_first: list[dict[str, Any]] = []
        self.oldest_on_top = False
        self.listed = 0

    @property
    def tasks(self) -> Service:
        return self

    def start(self, number: int) -> None:
        created = f"2021-06-18 {number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
        self.newest_first.insert(0, {"task_id": f"task{number}", "status": RUNNING, "create_time": created})

    def list(self, dataset_id: str, *, task_type: str | None = None, retry: bool = True) -> Iterator[LabelTask]:
        assert not retry, "the watch itself is the retry"
        for task in list(reversed(self.newest_first) if self.oldest_on_top else self.newest_first):
            self.listed += 1
            yield LabelTask(dict(task))

    def get(self, dataset_id: str, task_id: str, *, retry: bool = True) -> LabelTask:
        for task in self.newest_first:
            if task["task_id"] == task_id:
                return LabelTask(dict(task))
        raise NotFound(f"there is no {task_id}")


class Watch:
    """Looks at a service as the trigger does."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.seen: EndedTaskTracker | None = None
        self.fired: list[str] = []

    def look(self) -> None:
        snapshot = ended_tasks.read_newest(self.service, "dataset", None)
        self.seen = self.seen or EndedTaskTracker.begin(snapshot)
        if self.seen.needs_more(snapshot):
            snapshot = ended_tasks.read_until_known(self.service, "dataset", None, self.seen.recent)
        older = ended_tasks.read_existing(self.service, "dataset", self.seen.active_below(snapshot))
        self.fired += [str(task.task_id) for task in self.seen.update(snapshot, older)]

    def restart(self) -> None:
        assert self.seen is not None
        self.seen = EndedTaskTracker.from_json(json.loads(json.dumps(self.seen.to_json())))


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "start", "end", "end", "delete", "look", "restart"]), st.integers(0, 30)),
    max_size=60,
)


@pytest.mark.parametrize("oldest_on_top", [False, True])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(before=st.integers(0, 12), steps=STEPS)
def test_every_end_fires_once_and_nothing_else(oldest_on_top: bool, before: int, steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ended_tasks, "MAX_PAGE", 4)
        patch.setattr(ended_tasks, "RECENT", 3)
        service = Service()
        service.oldest_on_top = oldest_on_top
        for number in range(before):
            service.start(number)
            service.newest_first[0]["status"] = RUNNING if number >= before - 2 else SUCCEEDED
        watch = Watch(service)
        watch.look()
        assert watch.fired == []
        expected: set[str] = set()
        count = before
        for step, number in [*steps, ("look", 0)]:
            if step == "start":
                service.start(count)
                count += 1
            elif step == "look":
                watch.look()
            elif step == "restart":
                watch.restart()
            elif service.newest_first:
                _end_or_delete(service, watch, step, number, expected)
        assert sorted(watch.fired) == sorted(expected)


def _end_or_delete(service: Service, watch: Watch, step: str, number: int, expected: set[str]) -> None:
    task = service.newest_first[number % len(service.newest_first)]
    assert watch.seen is not None
    if step == "end" and task["status"] == RUNNING:
        task["status"] = SUCCEEDED
        expected.add(task["task_id"])
    elif step == "delete" and not _is_last_known(task["task_id"], service, watch.seen):
        service.newest_first.remove(task)
        if task["task_id"] not in watch.fired:
            expected.discard(task["task_id"])


def _is_last_known(task_id: str, service: Service, seen: EndedTaskTracker) -> bool:
    """Whether the watch would not find its place without this one: then it begins anew, as the next test shows."""
    there = {task["task_id"] for task in service.newest_first} & set(seen.recent)
    return there == {task_id}


def test_a_list_of_which_nothing_known_is_left_is_a_new_beginning() -> None:
    service = Service()
    watch = Watch(service)
    service.start(1)
    watch.look()
    service.newest_first.clear()
    for number in range(2, 200):
        service.start(number)
        service.newest_first[0]["status"] = SUCCEEDED
    service.start(200)
    watch.look()
    assert watch.fired == []
    service.newest_first[0]["status"] = SUCCEEDED
    watch.look()
    assert watch.fired == ["task200"]


def test_a_look_reads_one_page_of_thousands() -> None:
    service = Service()
    for number in range(3000):
        service.start(number)
        service.newest_first[0]["status"] = SUCCEEDED
    watch = Watch(service)
    watch.look()
    watch.look()
    assert service.listed == 2 * ended_tasks.MAX_PAGE


@pytest.mark.parametrize("stored", [None, 7, [], {}, {"active": [], "recent": None}, {"active": [1], "recent": []}])
def test_a_memory_that_makes_no_sense_is_none(stored: Any) -> None:
    assert EndedTaskTracker.from_json(stored) is None
