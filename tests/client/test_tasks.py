"""Labeling tasks: start, look, list, stop, wait. Contract 2, B6."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client import TaskState
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    InvalidRequest,
    LabelTaskFailed,
    LabelTaskStopped,
    LabelTaskTimeout,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    TaskAlreadyRunning,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def digits(emulator: Emulator) -> str:
    emulator.task_seconds = 100
    return emulator.load_digits(labeled=100)


def test_a_start_sends_what_was_asked_and_nothing_else(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    task_id = client.tasks.start(digits, config={"algorithm_type": "fast", "name": "af-1"}, collect_key_sample=True)
    record = emulator.journal.select("POST", "/tasks")[-1]
    assert json.loads(record.body) == {
        "task_type": "auto-label",
        "collect_key_sample": True,
        "config": {"algorithm_type": "fast", "name": "af-1"},
    }
    assert record.headers["content-type"] == "application/json"
    assert client.tasks.get(digits, task_id).name == "af-1"


def test_what_the_service_refuses_to_start(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    with pytest.raises(NotFound, match="unknown-dataset"):
        client.tasks.start("unknown-dataset")
    with pytest.raises(PreconditionFailed, match=r"Label images|five"):
        client.tasks.start(emulator.load_digits(labeled=3))
    first = client.tasks.start(digits)
    with pytest.raises(TaskAlreadyRunning) as caught:
        client.tasks.start(digits)
    assert (caught.value.status, caught.value.code) == (501, "ModelArts.4386")
    assert [task.task_id for task in client.tasks.list(digits, task_type="auto-label")] == [first]


@pytest.mark.parametrize("told", [True, False])
def test_a_task_is_known_by_the_id_it_was_asked_with(
    client: ModelArtsClient, emulator: Emulator, digits: str, told: bool
) -> None:
    emulator.variants.task_id_in_detail = told
    task_id = client.tasks.start(digits)
    task = client.tasks.get(digits, task_id)
    assert (task.task_id, task.dataset_id, task.is_terminal) == (task_id, digits, False)
    assert ("task_id" in task.raw) is told


def test_a_wait_ends_with_the_task(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    lines: list[str] = []
    began = moved_clock.now()
    task = client.tasks.wait(digits, task_id, timeout=3600, on_progress=lines.append)
    assert task.state is TaskState.SUCCEEDED
    assert task.unconfirmed_sample_count == 1697
    assert 100 <= moved_clock.now() - began <= 135
    assert emulator.journal.count("GET", f"/tasks/{task_id}") in (9, 10)
    assert len(lines) == len(set(lines)) >= 3
    assert "jobstat_running" in "".join(lines)


def test_a_wait_survives_what_a_later_look_mends(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    down = emulator.faults.add("GET", f"/tasks/{task_id}", "status", status=503, times=3)
    reset = emulator.faults.add("GET", f"/tasks/{task_id}", "reset", after=3)
    revoked = emulator.faults.add("GET", f"/tasks/{task_id}", "revoke", after=4)
    assert client.tasks.wait(digits, task_id, timeout=3600, poll_interval=10).state is TaskState.SUCCEEDED
    assert (down.fired, reset.fired, revoked.fired) == (3, 1, 1)
    # a look is one attempt: what would be a retry's short pause is not there
    assert min(moved_clock.slept) >= 5
    assert len(moved_clock.slept) <= 13


def test_a_wait_honours_retry_after(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    emulator.faults.add("GET", f"/tasks/{task_id}", "status", status=429, headers={"Retry-After": "90"})
    client.tasks.wait(digits, task_id, timeout=3600)
    assert 90 in moved_clock.slept


def test_a_wait_ends_at_once_when_no_look_can_help(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    with pytest.raises(NotFound):
        client.tasks.wait(digits, "unknown", timeout=3600)
    assert emulator.journal.count("GET", "/tasks/unknown") == 1
    task_id = client.tasks.start(digits)
    emulator.set_password("rotated-password")
    with pytest.raises(AuthenticationError):
        client.tasks.wait(digits, task_id, timeout=3600)
    assert emulator.journal.count("GET", f"/tasks/{task_id}") == 1


def test_a_wait_gives_up_at_its_deadline_and_leaves_the_task_alone(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    began = moved_clock.now()
    with pytest.raises(LabelTaskTimeout, match=task_id):
        client.tasks.wait(digits, task_id, timeout=60)
    assert moved_clock.now() - began == pytest.approx(60)
    assert emulator.journal.count("POST", "/stop") == 0


def test_a_failed_task_tells_why(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    emulator.faults.add(
        "POST", "/tasks", "fail_task", code="ModelArts.4917", message="It failed.", detail="a four-channel image"
    )
    task_id = client.tasks.start(digits)
    with pytest.raises(LabelTaskFailed, match="four-channel") as caught:
        client.tasks.wait(digits, task_id, timeout=3600)
    assert caught.value.code == "ModelArts.4917"
    assert digits in str(caught.value)


def test_a_stopped_task_raises(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    client.tasks.stop(digits, task_id)
    with pytest.raises(LabelTaskStopped):
        client.tasks.wait(digits, task_id, timeout=3600)


def test_stopping_is_idempotent(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    for _ in range(3):
        client.tasks.stop(digits, task_id)
        moved_clock.advance(30)
    assert client.tasks.get(digits, task_id).state is TaskState.STOPPED
    assert all(record.body == b"" for record in emulator.journal.select("POST", "/stop"))


def test_stopping_a_finished_task_is_no_error(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock
) -> None:
    task_id = client.tasks.start(digits)
    moved_clock.advance(101)
    client.tasks.stop(digits, task_id)
    assert client.tasks.get(digits, task_id).state is TaskState.SUCCEEDED


@pytest.mark.parametrize("fault", ["reset", "reset_after", "truncated"])
def test_a_stop_whose_answer_is_lost_is_sent_again(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock, fault: str
) -> None:
    task_id = client.tasks.start(digits)
    rule = emulator.faults.add("POST", "/stop", fault)
    client.tasks.stop(digits, task_id)
    moved_clock.advance(30)
    assert rule.fired == 1
    assert client.tasks.get(digits, task_id).state is TaskState.STOPPED


def test_a_stop_that_is_refused_while_the_task_runs_is_told(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    with pytest.raises(NotFound):
        client.tasks.stop(digits, "unknown")
    task_id = client.tasks.start(digits)
    emulator.faults.add("POST", "/stop", "status", status=403, code="ModelArts.0108")
    with pytest.raises(PermissionDenied):
        client.tasks.stop(digits, task_id)


def test_a_204_with_a_body_is_a_204(client: ModelArtsClient, emulator: Emulator, digits: str) -> None:
    emulator.variants.body_with_204 = True
    task_id = client.tasks.start(digits)
    client.tasks.stop(digits, task_id)
    assert client.tasks.get(digits, task_id).state in (TaskState.STOPPING, TaskState.STOPPED)


@pytest.mark.parametrize(
    ("status", "code"), [(403, "ModelArts.4613"), (500, "ModelArts.4614"), (501, None), (502, None)]
)
def test_whatever_a_finished_task_answers_to_a_stop_its_state_decides(
    client: ModelArtsClient, emulator: Emulator, digits: str, moved_clock: MovedClock, status: int, code: str | None
) -> None:
    task_id = client.tasks.start(digits)
    rule = emulator.faults.add("POST", "/stop", "status", status=status, code=code, times=None)
    with pytest.raises(ModelArtsError) as caught:
        client.tasks.stop(digits, task_id)
    assert caught.value.status == status
    moved_clock.advance(101)
    client.tasks.stop(digits, task_id)
    assert rule.fired >= 2


@pytest.mark.parametrize("status", [401, 429])
def test_a_stop_that_was_not_listened_to_asks_no_further(
    make_client: Callable[..., ModelArtsClient], emulator: Emulator, digits: str, status: int
) -> None:
    client = make_client(retries=False)
    task_id = client.tasks.start(digits)
    emulator.faults.add("POST", "/stop", "status", status=status, code="ModelArts.0201", times=None)
    with pytest.raises(ModelArtsError):
        client.tasks.stop(digits, task_id)
    assert emulator.journal.count("GET", "/tasks/") == 0


def test_settings_may_be_a_model_and_have_fields_that_are_not_known(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    from airflow_provider_modelarts.client.requests.tasks import SmartTaskConfig

    config = SmartTaskConfig(algorithm_type="fast", name="af-2")
    with pytest.raises(InvalidRequest, match=r"config\.algoritm_type is unknown; is algorithm_type meant\?"):
        client.tasks.start(digits, config={"algoritm_type": "fast"})
    assert emulator.journal.count("POST", "/tasks") == 0
    client.tasks.start(digits, config=config, collect_key_sample=False)
    sent = json.loads(emulator.journal.select("POST", "/tasks")[-1].body)
    assert sent["config"] == {"algorithm_type": "fast", "name": "af-2"}
    assert sent["collect_key_sample"] is False


@pytest.mark.wrong_requests
def test_fields_that_the_contract_does_not_know_are_sent_if_asked_for(
    client: ModelArtsClient, emulator: Emulator, digits: str
) -> None:
    client.tasks.start(digits, config={"stop_time": "5"}, extra={"config": {"seed": 7}, "priority": "low"})
    sent = json.loads(emulator.journal.select("POST", "/tasks")[-1].body)
    assert sent == {"task_type": "auto-label", "config": {"stop_time": 5, "seed": 7}, "priority": "low"}
