"""Who an Airflow task is for its labeling task, and the record that it keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_modelarts.utils.task_record import LabelTaskRecord, RecordStore, TaskIntent
from tests.support.operator_driver import StandInTaskInstance, context_of
from tests.utils.task_life import with_and_without_store


def test_the_marker_is_of_the_run_and_its_clear_not_of_the_try(begin: Any) -> None:
    life = begin()
    first = TaskIntent.of(life.context()).marker
    life.ti.try_number = 2
    assert TaskIntent.of(life.context()).marker == first
    assert first.startswith("af-")
    assert first.endswith("-3")
    life.ti.max_tries = 5
    assert TaskIntent.of(life.context()).marker == first[:-1] + "5"


@pytest.mark.parametrize(
    ("map_index", "marker"),
    [(None, "af-17a3f750a501798b-2"), (-1, "af-17a3f750a501798b-2"), (3, "af-311765df4db7035b-2")],
)
def test_the_marker_is_the_one_that_running_labeling_tasks_have(map_index: int | None, marker: str) -> None:
    ti: Any = StandInTaskInstance(datetime.now(UTC), task_id="start", map_index=map_index, max_tries=2)  # type: ignore[arg-type]
    context = context_of(ti, run_started=datetime(2026, 11, 27, 1, 2, 3, tzinfo=UTC))
    assert TaskIntent.of(context).marker == marker


@pytest.mark.parametrize("other", [{"run_id": "other"}, {"map_index": 3}])
def test_other_runs_and_mapped_tasks_have_other_markers(begin: Any, other: dict[str, Any]) -> None:
    one, another = TaskIntent.of(begin().context()), TaskIntent.of(begin(**other).context())
    assert one.marker != another.marker
    assert not one.is_before_a_clear(another.marker)


def test_a_run_that_was_deleted_and_made_again_is_another(begin: Any) -> None:
    life = begin()
    before = TaskIntent.of(life.context())
    life.run_started += timedelta(microseconds=1)
    after = TaskIntent.of(life.context())
    assert after.marker != before.marker
    assert not after.is_before_a_clear(before.marker)
    life.clear_number = 1
    cleared = TaskIntent.of(life.context())
    assert cleared.is_before_a_clear(before.marker)
    assert not cleared.is_before_a_clear(cleared.marker)


@pytest.mark.parametrize("value", [None, "text", {}, {"phase": "started"}, ["list"]])
def test_what_is_no_record_is_read_as_none(value: object) -> None:
    assert LabelTaskRecord.from_json(value) is None


@with_and_without_store
def test_a_record_comes_back_as_it_was_written(begin: Any, has_store: bool) -> None:
    store = RecordStore(begin(has_store=has_store).context())
    record = LabelTaskRecord("starting", "d", "af-x-1", "f", 12.5, known=("a", "b"))
    assert store.read() is None
    store.write(record)
    assert store.read() == record


def test_the_record_is_stored_in_the_form_that_running_airflows_have(begin: Any) -> None:
    life = begin()
    RecordStore(life.context()).write(LabelTaskRecord("started", "d", "af-x-1", "f", 12.5, "t", known=("a",)))
    assert life.store.get("modelarts_label_task") == {
        "phase": "started",
        "dataset_id": "d",
        "marker": "af-x-1",
        "fingerprint": "f",
        "deadline": 12.5,
        "label_task_id": "t",
        "ours": True,
        "known": ["a"],
        "adopted": False,
    }
