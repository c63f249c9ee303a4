"""What is sent to Airflow's metrics, as its own module hands it to whatever takes them."""

from __future__ import annotations

import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.utils.metrics import COUNTERS, THROTTLED, TIMERS, counts_of, emit_metrics
from airflow_provider_modelarts.utils.observation import Observation
from tests.support.metrics import record_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.metrics import RecordedMetrics

TI = SimpleNamespace(dag_id="night", task_id="confirm", run_id="run", map_index=3)
VALUES = {"confirmed": 9, "confirmed_now": 5, "review": 3, "failed": 2, "unknown": 1}


@pytest.fixture
def metrics() -> Iterator[RecordedMetrics]:
    with record_metrics() as recorded:
        yield recorded


def observed(operation: Any = "confirm", **more: Any) -> Observation:
    return Observation(operation, [], [], **{"values": VALUES, **more})


def test_a_confirmation_counts_what_this_try_did(metrics: RecordedMetrics) -> None:
    emit_metrics(TI, observed(seconds=12.5, throttled=4))
    assert metrics.counts == {
        "modelarts.samples.confirmed": 5,
        "modelarts.samples.review": 3,
        "modelarts.samples.failed": 2,
        "modelarts.samples.unknown": 1,
        THROTTLED: 4,
    }
    assert metrics.times == {"modelarts.confirm.seconds": timedelta(seconds=12.5)}


def test_the_tags_are_dag_and_task_and_nothing_that_grows(metrics: RecordedMetrics) -> None:
    emit_metrics(TI, observed(seconds=1.0))
    assert metrics.tags == [{"dag_id": "night", "task_id": "confirm"}]


def test_a_try_that_failed_leaves_what_is_for_people_to_the_next_one() -> None:
    found = counts_of(observed(is_complete=False))
    assert "modelarts.samples.review" not in found
    assert found["modelarts.samples.confirmed"] == 5


def test_a_preview_counts_no_sample() -> None:
    assert counts_of(observed(preview=True, throttled=1)) == {THROTTLED: 1}


@pytest.mark.parametrize("operation", TIMERS)
def test_every_operation_has_a_time_of_its_own_and_airflow_takes_every_name(
    metrics: RecordedMetrics, operation: Any
) -> None:
    from airflow.sdk._shared.observability.metrics.validators import stat_name_default_handler

    emit_metrics(TI, observed(operation, values={}, seconds=1.0))
    assert list(metrics.times) == [TIMERS[operation]]
    assert set(metrics.counts.values()) == {0}
    for name in (*COUNTERS, THROTTLED, *TIMERS.values()):
        assert stat_name_default_handler(name) == name


def test_before_airflow_3_3_a_class_takes_them(metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.2 has ``Stats`` in that module, and no functions."""
    from airflow.sdk.observability import stats

    monkeypatch.setitem(sys.modules, "airflow.sdk.observability.stats", SimpleNamespace(Stats=stats.Stats))
    monkeypatch.setattr("airflow.sdk.observability.stats", SimpleNamespace(Stats=stats.Stats))
    emit_metrics(TI, observed())
    assert metrics.counts["modelarts.samples.confirmed"] == 5


def test_an_airflow_without_them_is_none_the_worse(metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.sdk.observability", None)
    emit_metrics(TI, observed())
    assert metrics.counts == {}
