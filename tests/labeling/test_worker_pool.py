"""The threads of a confirmation end, whatever happens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool, WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_pool_ends_its_threads_although_one_could_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def job(work: Callable[[], bool]) -> WorkItem[bool]:
        return WorkItem(work, lambda _: ())

    before = set(threading.enumerate())
    pool, may_end, ended = WorkerPool(2), threading.Event(), []
    pool.start(job(lambda: may_end.wait(30) and not ended.append("the first")))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        pool.start(job(lambda: not ended.append("the second")))
    may_end.set()
    pool.close()
    assert set(threading.enumerate()) <= before
    assert ended[0] == "the first"
