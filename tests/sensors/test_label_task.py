"""The sensor beside its stories: what it skips, when it looks, and that it leaves the labeling task alone."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferred,
)

from airflow_provider_modelarts.client.errors import LabelTaskFailed
from airflow_provider_modelarts.client.resources.tasks import Tasks
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError, ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.sensors.label_task import ModelArtsLabelTaskSensor
from tests.support.operator_driver import StandInTaskInstance, as_task_runner, context_of, drive, moment

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

WAYS: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}
every_way = pytest.mark.parametrize("way", WAYS)


class Job:
    """A labeling task that somebody else has started, and sensors that wait for it."""

    def __init__(self, emulator: Emulator, clock: MovedClock) -> None:
        self.emulator, self.clock = emulator, clock
        self.dataset_id = emulator.load_digits(labeled=100)
        self.label_task_id = ""

    def start(self, task_seconds: float = 300) -> Job:
        self.emulator.task_seconds = task_seconds
        self.label_task_id = ModelArtsHook().client.tasks.start(self.dataset_id)
        return self

    def sensor(self, way: str = "poke", **parameters: Any) -> ModelArtsLabelTaskSensor:
        given = {"dataset_id": self.dataset_id, "label_task_id": self.label_task_id, "timeout": 3600}
        return ModelArtsLabelTaskSensor(task_id="wait", **{**given, **WAYS[way], **parameters})


@pytest.fixture
def job(emulator: Emulator, moved_clock: MovedClock) -> Job:
    return Job(emulator, moved_clock)


@every_way
@pytest.mark.parametrize("end", ["failed", "was stopped", "not over at the deadline"])
def test_soft_fail_skips_on_each_end_but_success(job: Job, way: str, end: str) -> None:
    if end == "failed":
        job.emulator.dataset(job.dataset_id).fail_next_task()
    job.start()
    if end == "was stopped":
        ModelArtsHook().client.tasks.stop(job.dataset_id, job.label_task_id)
    timeout = 60 if end == "not over at the deadline" else 3600
    ending = drive(job.sensor(way, soft_fail=True, timeout=timeout), job.clock)
    assert type(ending.error) is AirflowSkipException
    assert "soft_fail" in str(ending.error)
    assert end in str(ending.error)


@every_way
def test_a_connection_that_is_unknown_from_the_start_is_no_outage_to_wait_for(job: Job, way: str) -> None:
    sensor = job.start().sensor(way, modelarts_conn_id="no_such_connection", soft_fail=True, timeout=7 * 86400)
    ending = drive(sensor, job.clock)
    assert isinstance(ending.error, ConnectionUnknownError)
    assert "no_such_connection" in str(ending.error)
    assert (ending.deferrals, ending.reschedules) == (0, 0)
    assert job.clock.slept == []


def test_a_connection_that_cannot_be_read_later_on_does_not_end_the_wait(job: Job) -> None:
    sensor = job.start().sensor("reschedule", modelarts_conn_id="no_such_connection")
    ti = StandInTaskInstance(start_date=moment(job.clock), first_reschedule_date=moment(job.clock))
    with pytest.raises(AirflowRescheduleException):
        as_task_runner(sensor, context_of(ti, run_started=moment(job.clock), reschedules=1))


@every_way
def test_soft_fail_does_not_hide_a_wrong_password(job: Job, way: str) -> None:
    job.start()
    job.emulator.set_password("changed-behind-our-back")
    ending = drive(job.sensor(way, soft_fail=True), job.clock)
    assert type(ending.error) is AirflowFailException


@every_way
def test_soft_fail_does_not_hide_an_unknown_labeling_task(job: Job, way: str) -> None:
    job.start()
    job.clock.advance(1)
    job.emulator.faults.add("GET", "/tasks/", "status", status=503, times=1)  # so that every way gets to wait
    job.emulator.dataset(job.dataset_id).forget_task(job.label_task_id)
    ending = drive(job.sensor(way, soft_fail=True), job.clock)
    assert type(ending.error) is AirflowFailException
    assert job.label_task_id in str(ending.error)
    assert job.emulator.faults.fired["status"] == 1


@every_way
def test_never_fail_skips_on_everything_as_airflow_promises(job: Job, way: str) -> None:
    job.start()
    job.emulator.dataset(job.dataset_id).forget_task(job.label_task_id)
    ending = drive(job.sensor(way, never_fail=True), job.clock)
    assert type(ending.error) is AirflowSkipException


@every_way
def test_it_never_stops_a_labeling_task(job: Job, way: str) -> None:
    sensor = job.start().sensor(way, timeout=60)
    ending = drive(sensor, job.clock)
    sensor.on_kill()
    assert type(ending.error) is AirflowSensorTimeout
    assert job.emulator.journal.count("POST", "/stop") == 0
    assert job.emulator.dataset(job.dataset_id).tasks[job.label_task_id] in (0, 1)


@every_way
def test_it_looks_at_once_then_often_for_a_minute_then_every_interval(job: Job, way: str) -> None:
    begin = job.clock.now()
    drive(job.start(task_seconds=180).sensor(way, poke_interval=40), job.clock)
    looks = [record.time - begin for record in job.emulator.journal.select("GET", "/tasks/")]
    gaps = [after - before for before, after in pairwise(looks)]
    assert looks[0] == pytest.approx(0, abs=0.01)
    for gap, plain in zip(gaps, [5, 5, 9, 9, 9, 9, 9, 9, 40, 40, 40], strict=True):
        assert plain - 0.01 <= gap <= plain * 1.1 + 0.01


@every_way
def test_a_service_that_asks_for_patience_at_the_first_look_gets_it(job: Job, way: str) -> None:
    sensor = job.start(task_seconds=1200).sensor(way)
    job.emulator.journal.clear()
    job.emulator.faults.add("GET", "/tasks/", "status", status=429, headers={"Retry-After": "600"})
    assert drive(sensor, job.clock).error is None
    first, second, *_ = (record.time for record in job.emulator.journal.select("GET", "/tasks/"))
    assert second - first == pytest.approx(600, abs=1)


@every_way
def test_an_earlier_execution_timeout_is_the_deadline(job: Job, way: str) -> None:
    begin = job.clock.now()
    ending = drive(job.start().sensor(way, execution_timeout=timedelta(seconds=70)), job.clock)
    assert type(ending.error) is AirflowSensorTimeout
    assert job.clock.now() - begin == pytest.approx(70, abs=1)


@every_way
@pytest.mark.parametrize(("soft_fail", "expected"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_airflows_alarm_in_a_look_is_the_deadline(
    job: Job, monkeypatch: pytest.MonkeyPatch, way: str, soft_fail: bool, expected: type
) -> None:
    def strike(*_: Any, **__: Any) -> None:
        raise AirflowTaskTimeout("Timeout, PID: 1")

    sensor = job.start().sensor(way, soft_fail=soft_fail)
    monkeypatch.setattr(Tasks, "get", strike)
    ending = drive(sensor, job.clock)
    assert type(ending.error) is expected
    assert "execution_timeout" in str(ending.error)


def test_a_finished_labeling_task_is_not_deferred_for(job: Job) -> None:
    job.start(task_seconds=10)
    job.clock.advance(60)
    ending = drive(job.sensor("deferred"), job.clock)
    assert (ending.deferrals, ending.error) == (0, None)
    assert ending.result["unconfirmed_sample_count"] == 1697


def test_a_deferred_wait_began_with_the_try(job: Job) -> None:
    ti = StandInTaskInstance(moment(job.clock))
    job.start().clock.advance(20)
    with pytest.raises(TaskDeferred) as deferred:
        as_task_runner(job.sensor("deferred"), context_of(ti, run_started=ti.start_date))
    assert deferred.value.trigger.serialize()[1]["started"] == ti.start_date.timestamp()


def test_the_deadline_of_a_rescheduled_sensor_counts_from_its_first_look(job: Job) -> None:
    begin = job.clock.now()
    ending = drive(job.start().sensor("reschedule", timeout=100), job.clock)
    assert ending.reschedules > 3
    assert job.clock.now() - begin == pytest.approx(100, abs=1)


def test_a_moment_is_waited_out_without_rescheduling(job: Job) -> None:
    """Airflow fails a task that is back in its queue before the last look's process is known to have ended well."""
    begin = job.clock.now()
    ending = drive(job.start().sensor("reschedule", timeout=22), job.clock)
    assert type(ending.error) is AirflowSensorTimeout
    assert ending.reschedules == 3
    assert job.clock.now() - begin == pytest.approx(22, abs=1)


@pytest.mark.parametrize(("soft_fail", "expected"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_airflows_own_deferral_timeout_is_a_sensor_timeout(job: Job, soft_fail: bool, expected: type) -> None:
    sensor = job.start().sensor("deferred", soft_fail=soft_fail)
    with pytest.raises(expected, match="triggerer"):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context={})
    assert job.emulator.journal.count("POST", "/stop") == 0


def test_a_trigger_that_crashed_is_not_skipped_by_soft_fail(job: Job) -> None:
    sensor = job.start().sensor("deferred", soft_fail=True)
    with pytest.raises(TaskDeferralError):
        sensor.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["boom"]}, context={})


def test_poke_looks_once(job: Job) -> None:
    sensor = job.start(task_seconds=100).sensor()
    context: Any = {"ti": StandInTaskInstance(start_date=moment(job.clock))}
    assert not sensor.poke(context).is_done
    job.clock.advance(200)
    found = sensor.poke(context)
    assert found.is_done
    assert found.xcom_value is not None
    assert found.xcom_value["state"] == 3
    assert job.clock.slept == []


def test_a_failed_labeling_task_names_code_reason_and_step(job: Job) -> None:
    job.emulator.dataset(job.dataset_id).fail_next_task("ModelArts.4917", "The job failed.", "RGBA image found.")
    ending = drive(job.start().sensor(), job.clock)
    assert type(ending.error) is LabelTaskFailed
    for words in ("ModelArts.4917", "The job failed", "RGBA image found", job.label_task_id, job.dataset_id):
        assert words in str(ending.error)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"dataset_id": ""}, "dataset_id is empty"),
        ({"label_task_id": "None"}, "label_task_id is empty"),
        ({"poke_interval": 0}, "poke_interval must be a duration longer than 0"),
        ({"poke_interval": "{{ params.interval }}"}, "^poke_interval is not templated"),
        ({"poke_interval": "often"}, "^poke_interval must be a number"),
        ({"timeout": "{{ params.timeout }}"}, "^timeout is not templated"),
        ({"timeout": "long"}, "^timeout must be a number"),
        ({"mode": "{{ params.mode }}"}, "^mode is not templated"),
        ({"mode": "deferred"}, "^mode must be one of poke, reschedule, not 'deferred'"),
        *(
            ({name: value}, rf"^{name} {complaint}")
            for name in ("deferrable", "soft_fail", "never_fail")
            for value, complaint in [
                ("no", "must be true or false, not 'no'"),
                ("{{ params.flag }}", "is not templated"),
                (None, "is empty"),
            ]
        ),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        ModelArtsLabelTaskSensor(task_id="wait", **{"dataset_id": "d", "label_task_id": "t", **parameters})


def test_flags_are_read_from_text_also_when_default_args_hold_them() -> None:
    with DAG("defaults", schedule=None, default_args={"soft_fail": "false", "deferrable": "true"}):
        sensor = ModelArtsLabelTaskSensor(task_id="w", dataset_id="d", label_task_id="t", never_fail="False")
        other = ModelArtsLabelTaskSensor(
            task_id="v", dataset_id="d", label_task_id="t", timeout="60", poke_interval="5"
        )  # type: ignore[arg-type]
    assert (sensor.soft_fail, sensor.never_fail, sensor.deferrable) == (False, False, True)
    assert (other.timeout, other.poke_interval) == (60, 5)


def test_an_id_that_renders_to_nothing_is_said_before_anything_is_sent(job: Job) -> None:
    sensor = job.start().sensor()
    sent = len(job.emulator.journal)
    sensor.label_task_id = "None"
    ending = drive(sensor, job.clock)
    assert type(ending.error) is AirflowFailException
    assert "label_task_id is 'None'" in str(ending.error)
    assert len(job.emulator.journal) == sent


@every_way
@pytest.mark.parametrize("timeout", [timedelta.max, 3e11])
def test_an_endless_time_is_waited_for_as_any_other(job: Job, way: str, timeout: Any) -> None:
    ending = drive(job.start().sensor(way, timeout=timeout), job.clock)
    assert ending.error is None
