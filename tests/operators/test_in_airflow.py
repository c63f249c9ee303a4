"""Start operators run by Airflow itself: its store and XComs between tries, its links, its mapped tasks."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.xcom import XCom

from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.errors import ServiceJobFailed
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import DATASET_XCOM, ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators.datasets import ModelArtsPublishVersionOperator, ModelArtsSyncDatasetOperator
from airflow_provider_modelarts.operators.label_task import ModelArtsStartLabelTaskOperator
from airflow_provider_modelarts.utils.service_job_start import ServiceJobRecord, ServiceJobStore
from airflow_provider_modelarts.utils.task_record import LabelTaskRecord, RecordStore
from tests.support.dag_runner import DagOutcome, run_dag, run_operator
from tests.support.operator_driver import StandInTaskInstance

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

pytestmark = pytest.mark.usefixtures("airflow_db", "moved_clock")

_numbers = itertools.count(1)


@pytest.fixture
def dataset_id(emulator: Emulator) -> str:
    emulator.task_seconds = 0.5
    return emulator.load_digits(labeled=100)


def run_start(**parameters: Any) -> DagOutcome:
    given = {"wait_for_completion": True, "poll_interval": 0.2, "retries": 1, "retry_delay": timedelta(0), **parameters}
    with DAG(f"start_{next(_numbers)}", schedule=None) as dag:
        ModelArtsStartLabelTaskOperator(task_id="start", **given)
    return run_dag(dag)


def crash_once(monkeypatch: pytest.MonkeyPatch, phase: str, *, written: bool) -> list[str]:
    """Let the first process that reaches a phase die there."""
    write = RecordStore.write
    crashed: list[str] = []

    def write_or_crash(store: RecordStore, record: LabelTaskRecord) -> None:
        if record.phase != phase or crashed:
            return write(store, record)
        crashed.append(record.marker)
        if written:
            write(store, record)
        raise OSError("the process died here")

    monkeypatch.setattr(RecordStore, "write", write_or_crash)
    return crashed


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
@pytest.mark.parametrize(("phase", "written"), [("starting", True), ("started", False), ("started", True)])
def test_a_retry_by_airflow_goes_on_with_the_job_of_the_try_before(
    emulator: Emulator,
    dataset_id: str,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    written: bool,
    deferrable: bool,
) -> None:
    crashed = crash_once(monkeypatch, phase, written=written)
    outcome = run_start(dataset_id=dataset_id, deferrable=deferrable)
    task = outcome.tasks["start"]
    assert (task.state, task.try_number) == ("success", 2)
    assert emulator.dataset(dataset_id).tasks == {task.xcom: TaskState.SUCCEEDED}
    (record,) = emulator.journal.select("POST", match=lambda record: record.path.endswith("/tasks"))
    assert json.loads(record.body)["config"]["name"] == crashed[0]


def test_somebody_elses_job_is_waited_out_in_the_triggerer_and_then_ours(emulator: Emulator, dataset_id: str) -> None:
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

    theirs = ModelArtsHook().client.tasks.start(dataset_id)
    outcome = run_start(dataset_id=dataset_id, deferrable=True, if_running="wait")
    task = outcome.tasks["start"]
    assert task.state == "success"
    assert list(emulator.dataset(dataset_id).tasks) == [theirs, task.xcom]
    assert emulator.journal.count("POST", "/stop") == 0


def test_mapped_tasks_have_jobs_of_their_own(emulator: Emulator) -> None:
    emulator.task_seconds = 0.5
    datasets = [emulator.load_digits(labeled=100) for _ in range(3)]
    with DAG(f"start_{next(_numbers)}", schedule=None) as dag:
        ModelArtsStartLabelTaskOperator.partial(
            task_id="start", wait_for_completion=True, deferrable=True, poll_interval=0.2
        ).expand(dataset_id=datasets)
    outcome = run_dag(dag)
    assert outcome.state == "success"
    starts = emulator.journal.select("POST", match=lambda record: record.path.endswith("/tasks"))
    assert len({json.loads(record.body)["config"]["name"] for record in starts}) == 3
    for index, dataset_id in enumerate(datasets):
        assert list(emulator.dataset(dataset_id).tasks) == [outcome.tasks[f"start_{index}"].xcom]


# --- other jobs of the service


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
@pytest.mark.parametrize(("phase", "written"), [("starting", True), ("started", False), ("started", True)])
def test_a_retry_by_airflow_goes_on_with_the_publication_of_the_try_before(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, phase: str, written: bool, deferrable: bool
) -> None:
    emulator.job_seconds = 0.5
    dataset_id = emulator.load_proposals(4)
    write = ServiceJobStore.write
    crashed: list[str] = []

    def write_or_crash(store: ServiceJobStore, record: ServiceJobRecord) -> None:
        if record.phase != phase or crashed:
            return write(store, record)
        crashed.append(record.marker)
        if written:
            write(store, record)
        raise OSError("the process died here")

    monkeypatch.setattr(ServiceJobStore, "write", write_or_crash)
    task, log = run_operator(
        ModelArtsPublishVersionOperator,
        dataset_id=dataset_id,
        deferrable=deferrable,
        poll_interval=0.2,
        retries=1,
        retry_delay=timedelta(0),
    )
    assert (task.state, task.try_number) == ("success", 2), log
    (start,) = emulator.journal.select("POST", match=lambda record: record.path.endswith("/versions"))
    assert json.loads(start.body)["description"] == crashed[0]


def test_mapped_tasks_synchronize_each_its_own_dataset_and_defaults_of_a_dag_count(emulator: Emulator) -> None:
    emulator.job_seconds = 0.5
    datasets = [emulator.load_proposals(4), emulator.load_digits(labeled=10)]
    emulator.add_images(datasets[1], 3)
    defaults = {"deferrable": True, "poll_interval": 0.2}
    with DAG(f"sync_{next(_numbers)}", schedule=None, default_args=defaults) as dag:
        ModelArtsSyncDatasetOperator.partial(task_id="sync").expand(dataset_id=datasets)
        single = ModelArtsSyncDatasetOperator(task_id="single", dataset_id=datasets[0])
    assert (single.deferrable, single.poll_interval) == (True, 0.2)
    outcome = run_dag(dag)
    assert outcome.state == "success", outcome.log
    assert [outcome.tasks[f"sync_{index}"].xcom["added"] for index in (0, 1)] == [0, 3]


def test_a_job_that_failed_leaves_its_result(emulator: Emulator) -> None:
    emulator.job_seconds = 0.2
    dataset_id = emulator.load_proposals(4)
    emulator.faults.add("POST", "versions", "fail_task", code="ModelArts.4917", message="It broke")
    task, _ = run_operator(ModelArtsPublishVersionOperator, dataset_id=dataset_id, poll_interval=0.1, deferrable=True)
    assert task.state == "failed"
    assert task.xcom["version_id"]
    assert type(task.error) is ServiceJobFailed


# --- the link


def test_the_tasks_page_links_to_the_dataset_in_the_console(
    emulator: Emulator, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = emulator.connection
    connection["extra"]["console"] = "https://console.example.com/{region}/datasets/{dataset_id}"
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(connection))
    task, _ = run_operator(ModelArtsStartLabelTaskOperator, dataset_id=dataset_id)
    region = connection["extra"].get("region", "")
    assert task.xcoms[ModelArtsDatasetLink().xcom_key] == f"https://console.example.com/{region}/datasets/{dataset_id}"
    assert set(task.xcoms[DATASET_XCOM]) == {"dataset_id", "console"}


def test_the_link_is_there_when_the_task_fails(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = emulator.connection
    connection["extra"]["console"] = "https://console.example.com/{dataset_id}"
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(connection))
    task, _ = run_operator(ModelArtsStartLabelTaskOperator, dataset_id="no such dataset")
    assert task.state == "failed"
    assert task.xcoms[ModelArtsDatasetLink().xcom_key] == "https://console.example.com/no%20such%20dataset"


def test_an_installation_whose_console_nobody_knows_has_no_link(emulator: Emulator, dataset_id: str) -> None:
    task, _ = run_operator(ModelArtsStartLabelTaskOperator, dataset_id=dataset_id)
    assert DATASET_XCOM not in task.xcoms
    assert not task.xcoms.get(ModelArtsDatasetLink().xcom_key)


def test_the_process_that_told_the_dataset_does_not_ask_airflow_for_it(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its alarm Airflow answers an earlier question."""
    connection = emulator.connection
    connection["extra"]["console"] = "https://console.example.com/{dataset_id}"
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(connection))

    def shifted(*_: Any, **__: Any) -> None:
        raise TypeError("Expected XComResult, received: OKResponse")

    monkeypatch.setattr(XCom, "get_value", shifted)
    ti: Any = StandInTaskInstance(datetime.now(UTC))
    link_dataset({"ti": ti}, ModelArtsHook(), "d1")  # type: ignore[typeddict-item]
    operator = ModelArtsStartLabelTaskOperator(task_id="task", dataset_id="d1")
    assert ModelArtsDatasetLink().get_link(operator, ti_key=ti) == "https://console.example.com/d1"
    ti.try_number = 2
    with pytest.raises(TypeError):
        ModelArtsDatasetLink().get_link(operator, ti_key=ti)


def test_airflow_serves_the_link_for_the_operators_of_a_stored_dag() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("with_a_link", schedule=None) as dag:
        ModelArtsStartLabelTaskOperator(task_id="start", dataset_id="d")
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    link = stored.get_task("start").operator_extra_link_dict[ModelArtsDatasetLink.name]
    assert link.xcom_key == ModelArtsDatasetLink().xcom_key
