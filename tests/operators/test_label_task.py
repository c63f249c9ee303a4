"""Start and stop: what is sent, what is said about a dataset that is not fit, deadlines, kills (B2 to B4, B7a, B22)."""

from __future__ import annotations

import json
import re
import signal
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout, TaskDeferralError, TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_modelarts.client.errors import (
    LabelTaskStopped,
    LabelTaskTimeout,
    StartUnknown,
    TaskAlreadyRunning,
)
from airflow_provider_modelarts.client.states import TaskState
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.hooks.task_memory import MEMORY_KEY
from airflow_provider_modelarts.operators.label_task import (
    ModelArtsStartLabelTaskOperator,
    ModelArtsStopLabelTaskOperator,
)
from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger
from tests.support.drive import Ending, StandInStore, StandInTaskInstance, as_task_runner, context_of, drive, moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


class Scene:
    """A dataset, and start operators on it."""

    def __init__(self, emulator: Emulator, clock: MovedClock) -> None:
        self.emulator, self.clock = emulator, clock
        emulator.task_seconds = 300
        self.dataset_id = emulator.load_digits(labeled=100)

    def operator(self, **parameters: Any) -> ModelArtsStartLabelTaskOperator:
        return ModelArtsStartLabelTaskOperator(task_id="start", **{"dataset_id": self.dataset_id, **parameters})

    def start(self, **parameters: Any) -> Ending:
        return drive(self.operator(**parameters), self.clock)

    @property
    def body(self) -> dict[str, Any]:
        """What the only start said."""
        (record,) = self.emulator.journal.select("POST", match=lambda record: record.path.endswith("/tasks"))
        found: dict[str, Any] = json.loads(record.body)
        return found

    @property
    def states(self) -> list[int]:
        return list(self.emulator.dataset(self.dataset_id).tasks.values())

    @property
    def stops(self) -> int:
        return self.emulator.journal.count("POST", "/stop")


@pytest.fixture
def scene(emulator: Emulator, moved_clock: MovedClock) -> Scene:
    return Scene(emulator, moved_clock)


# --- what is sent


def test_it_starts_returns_the_id_and_does_not_wait(scene: Scene) -> None:
    ending = scene.start()
    assert scene.emulator.dataset(scene.dataset_id).tasks == {ending.result: TaskState.QUEUED}
    marker = scene.body["config"]["name"]
    assert re.fullmatch(r"af-[0-9a-f]{16}-0", marker)
    assert scene.body == {"task_type": "auto-label", "config": {"name": marker}}
    assert scene.emulator.journal.count("GET", "/tasks/") == 0
    assert scene.clock.slept == []


def test_all_parameters_reach_the_service_and_text_is_as_good_as_values(scene: Scene) -> None:
    scene.start(
        label_task_type="auto-label",
        algorithm_type="accurate",
        collect_key_sample="true",
        config='{"n_clusters": "2", "name": "nightly"}',
    )
    name = scene.body["config"]["name"]
    assert re.fullmatch(r"nightly-af-[0-9a-f]{16}-0", name)
    assert scene.body == {
        "task_type": "auto-label",
        "collect_key_sample": True,
        "config": {"n_clusters": 2, "name": name, "algorithm_type": "accurate"},
    }


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"dataset_id": "None"}, "dataset_id is empty"),
        ({"label_task_type": "auto_label"}, "label_task_type must be one of auto-label, pre-label, auto-grouping"),
        ({"algorithm_type": "quick"}, "algorithm_type must be one of fast, accurate"),
        ({"collect_key_sample": "maybe"}, "collect_key_sample must be true or false"),
        ({"config": "{"}, "config must be a dict"),
        ({"config": {"algorithm_type": "slow"}}, "algorithm_type'] must be one of fast, accurate, not 'slow'"),
        ({"algorithm_type": "fast", "config": {"algorithm_type": "accurate"}}, "Give one of them"),
        ({"label_task_type": "pre-label"}, "pre-label runs a model: give its model_id"),
        ({"model_id": ""}, "model_id is empty"),
        ({"project_id": ""}, "project_id is empty"),
        ({"poll_interval": 0}, "poll_interval must be a duration"),
        ({"timeout": timedelta(0)}, "timeout must be a duration"),
    ],
)
def test_wrong_constants_are_found_when_the_dag_is_parsed(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint):
        ModelArtsStartLabelTaskOperator(task_id="start", **{"dataset_id": "d", **parameters})


@pytest.mark.parametrize(
    ("rendered", "complaint"),
    [
        ({"dataset_id": ""}, "dataset_id is empty ('')"),
        ({"algorithm_type": "None"}, "algorithm_type must be one of fast, accurate, not 'None'"),
        ({"config": "None"}, "config is empty ('None')"),
        ({"config": '{"algorithm_type": "slow"}'}, "must be one of fast, accurate, not 'slow'"),
        ({"label_task_type": "pre-label"}, "give its model_id"),
        ({"algorithm_type": "fast", "config": {"algorithm_type": "accurate"}}, "Give one of them."),
        ({"modelarts_conn_id": ""}, "modelarts_conn_id is empty"),
    ],
)
def test_what_a_template_got_wrong_is_said_before_anything_is_sent(
    scene: Scene, rendered: dict[str, Any], complaint: str
) -> None:
    operator = scene.operator()
    for name, value in rendered.items():
        setattr(operator, name, value)
    ending = drive(operator, scene.clock)
    assert type(ending.error) is AirflowFailException
    assert complaint in str(ending.error)
    assert len(scene.emulator.journal) == 0
    assert ending.xcoms == {}


def test_what_only_the_run_knows_is_not_asked_of_the_dag_file() -> None:
    for given in (
        {"label_task_type": "{{ params.kind }}"},
        {"label_task_type": "pre-label", "model_id": "{{ params.model_id }}"},
        {"algorithm_type": "fast", "config": {"algorithm_type": "{{ params.algorithm }}"}},
        {"algorithm_type": "{{ params.algorithm }}", "config": {"algorithm_type": "fast"}},
    ):
        ModelArtsStartLabelTaskOperator(task_id="start", dataset_id="d", **given)  # type: ignore[arg-type]


def test_kwargs_that_cannot_be_stored_orphan_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    serialize = ModelArtsLabelTaskTrigger.serialize

    def broken(self: ModelArtsLabelTaskTrigger) -> tuple[str, dict[str, Any]]:
        path, kwargs = serialize(self)
        return path, {**kwargs, "poll_interval": object()}

    monkeypatch.setattr(ModelArtsLabelTaskTrigger, "serialize", broken)
    ending = scene.start(wait_for_completion=True, deferrable=True)
    assert isinstance(ending.error, TypeError)
    assert len(scene.emulator.journal) == 0


# --- what the service says


def dataset_type_text(scene: Scene) -> None:
    scene.emulator.dataset(scene.dataset_id).dataset_type = 100


def nothing_labeled(scene: Scene) -> None:
    scene.dataset_id = scene.emulator.load_digits(labeled=0)


def too_few_labeled(scene: Scene) -> None:
    scene.dataset_id = scene.emulator.load_digits(labeled=20)


def nothing_unlabeled(scene: Scene) -> None:
    scene.dataset_id = scene.emulator.load_digits(labeled=1797)


def unknown_dataset(scene: Scene) -> None:
    scene.dataset_id = "no-such-dataset"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (dataset_type_text, ("ModelArts.4383", "image classification or object detection")),
        (nothing_labeled, ("ModelArts.4405", "Label images first")),
        (too_few_labeled, ("ModelArts.4406", "at least five images")),
        (nothing_unlabeled, ("ModelArts.4407", "unlabeled")),
        (unknown_dataset, ("ModelArts.4352", "Check dataset_id")),
    ],
)
def test_a_dataset_that_is_not_fit_fails_at_once_with_the_next_step_in_one_line(
    scene: Scene, prepare: Callable[[Scene], None], words: tuple[str, ...]
) -> None:
    prepare(scene)
    ending = scene.start(retries=3)
    assert type(ending.error) is AirflowFailException
    text = str(ending.error)
    for word in (*words, scene.dataset_id, "request id"):
        assert word in text
    assert "\n" not in text


def test_a_labeling_task_that_runs_already_is_named_and_worth_a_retry(scene: Scene) -> None:
    running = ModelArtsHook().client.tasks.start(scene.dataset_id)
    ending = scene.start()
    assert type(ending.error) is TaskAlreadyRunning
    for word in ("ModelArts.4386", running, scene.dataset_id, "if_running"):
        assert word in str(ending.error)


@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_a_lost_reply_is_answered_by_finding_what_was_started(scene: Scene, kind: str) -> None:
    fault = scene.emulator.faults.add("POST", "/tasks", kind)
    ending = scene.start()
    assert fault.fired == 1
    assert list(scene.emulator.dataset(scene.dataset_id).tasks) == [ending.result]
    assert scene.emulator.journal.count("POST", "/tasks") == 1


def test_a_start_that_was_lost_on_its_way_is_never_sent_again(scene: Scene) -> None:
    fault = scene.emulator.faults.add("POST", "/tasks", "reset")
    ending = scene.start()
    assert fault.fired == 1
    assert type(ending.error) is StartUnknown
    assert scene.states == []


def test_a_wrong_password_is_sent_once_for_a_hundred_mapped_tasks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**scene.emulator.connection, "password": "wrong-passw0rd"}
    monkeypatch.setenv("AIRFLOW_CONN_MODELARTS_DEFAULT", json.dumps(wrong))
    for _ in range(100):
        ending = scene.start(retries=3)
        assert type(ending.error) is AirflowFailException
        assert "wrong-passw0rd" not in str(ending.error)
    assert scene.emulator.journal.count("POST", "/v3/auth/tokens") == 1


# --- deadlines


@both_ways
def test_at_the_deadline_the_labeling_task_is_stopped(scene: Scene, deferrable: bool) -> None:
    ending = scene.start(wait_for_completion=True, deferrable=deferrable, timeout=60)
    assert type(ending.error) is LabelTaskTimeout
    assert scene.stops == 1
    assert scene.states[0] in (TaskState.STOPPING, TaskState.STOPPED)


@both_ways
def test_without_cancel_on_timeout_it_goes_on(scene: Scene, deferrable: bool) -> None:
    ending = scene.start(wait_for_completion=True, deferrable=deferrable, timeout=60, cancel_on_timeout=False)
    assert type(ending.error) is LabelTaskTimeout
    assert scene.stops == 0


@both_ways
def test_an_earlier_execution_timeout_is_the_deadline(scene: Scene, deferrable: bool) -> None:
    begin = scene.clock.now()
    ending = scene.start(wait_for_completion=True, deferrable=deferrable, execution_timeout=timedelta(seconds=45))
    assert type(ending.error) is LabelTaskTimeout
    assert scene.clock.now() - begin == pytest.approx(45, abs=1)
    assert scene.stops == 1


def test_airflows_own_alarm_ends_the_wait_as_the_deadline_does(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = scene.clock.sleep

    def alarm(seconds: float) -> None:
        sleep(seconds)
        if len(scene.clock.slept) == 2:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    monkeypatch.setattr(scene.clock, "sleep", alarm)
    ending = scene.start(wait_for_completion=True)
    assert type(ending.error) is LabelTaskTimeout
    assert scene.stops == 1


class InterruptedStore(StandInStore):
    """A state store whose answer Airflow's alarm cuts off: later questions get the answers to earlier ones."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self._writes_left = writes

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default) if self._writes_left else default

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        if self._writes_left:
            self._writes_left -= 1
            if not self._writes_left:
                raise AirflowTaskTimeout("Timeout, PID: 1")


@pytest.mark.parametrize(("writes", "jobs"), [(1, 0), (2, 1), (3, 1)], ids=["before", "between", "at the deadline"])
def test_an_alarm_that_cuts_airflows_answer_off_leaves_no_labeling_task_behind(
    scene: Scene, writes: int, jobs: int
) -> None:
    store = InterruptedStore(writes)
    ending = drive(scene.operator(wait_for_completion=True, timeout=60), scene.clock, store=store)
    assert type(ending.error) is LabelTaskTimeout
    assert len(scene.states) == jobs
    assert scene.stops == jobs
    assert store.get("anything", "lost") == "lost"


def test_a_stop_that_fails_at_the_deadline_does_not_hide_the_timeout(scene: Scene) -> None:
    fault = scene.emulator.faults.add("POST", "/stop", "status", status=403, code="ModelArts.0108", times=None)
    ending = scene.start(wait_for_completion=True, timeout=60)
    assert fault.fired
    assert type(ending.error) is LabelTaskTimeout


@pytest.mark.parametrize(
    ("reason", "expected"), [("Trigger timeout", LabelTaskTimeout), ("Trigger failure", TaskDeferralError)]
)
@pytest.mark.parametrize("cancel_on_timeout", [True, False])
def test_a_wait_that_airflow_ended_stops_the_labeling_task(
    scene: Scene, reason: str, expected: type[Exception], cancel_on_timeout: bool
) -> None:
    ti = StandInTaskInstance(moment(scene.clock), task_id="start", xcoms=scene.start().xcoms)
    operator = scene.operator(wait_for_completion=True, deferrable=True, cancel_on_timeout=cancel_on_timeout)
    with pytest.raises(expected):
        operator.resume_execution("__fail__", {"error": reason}, context_of(ti, run_started=ti.start_date))
    assert scene.stops == int(cancel_on_timeout)


def test_a_deferred_start_remembers_its_labeling_task(scene: Scene) -> None:
    ending = scene.start(wait_for_completion=True, deferrable=True)
    assert ending.xcoms[MEMORY_KEY]["label_task_id"] == ending.result


def test_a_deferred_wait_begins_with_its_deferral(scene: Scene) -> None:
    operator = scene.operator(wait_for_completion=True, deferrable=True)
    ti = StandInTaskInstance(moment(scene.clock), task_id="start")
    scene.clock.advance(20)
    with pytest.raises(TaskDeferred) as deferred:
        as_task_runner(operator, context_of(ti, run_started=ti.start_date))
    assert deferred.value.trigger.serialize()[1]["started"] == pytest.approx(scene.clock.now(), abs=1)


# --- kills


class Killed:
    """Sends the worker's signal while the operator works, and lets Airflow report a state of our choice."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch, state: str | None) -> None:
        self.asked_in: list[threading.Thread] = []
        self._monkeypatch = monkeypatch
        self.scene = scene

        def answer(**_: Any) -> dict[str, dict[str, Any]]:
            self.asked_in.append(threading.current_thread())
            return {"run": {"start": state}}

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answer))

    def at_the_second_sleep(self, operator: ModelArtsStartLabelTaskOperator) -> Ending:
        """As Airflow does: ``on_kill`` runs inside a signal handler of the main thread, then the task goes on."""
        sleep = self.scene.clock.sleep

        def interrupted(seconds: float) -> None:
            if len(self.scene.clock.slept) == 1:
                signal.raise_signal(signal.SIGUSR1)
            sleep(seconds)

        self._monkeypatch.setattr(self.scene.clock, "sleep", interrupted)
        before = signal.signal(signal.SIGUSR1, lambda *_: self._current.on_kill())
        try:
            self._current = operator
            self._monkeypatch.setattr("tests.support.drive.fresh", lambda one: one)
            return drive(operator, self.scene.clock)
        finally:
            signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "upstream_failed", "restarting"])
def test_a_user_who_ends_or_clears_the_task_stops_the_job(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    killed = Killed(scene, monkeypatch, state)
    ending = killed.at_the_second_sleep(scene.operator(wait_for_completion=True))
    assert scene.stops == 1
    assert type(ending.error) is LabelTaskStopped
    assert killed.asked_in[0] is not threading.main_thread()


@pytest.mark.parametrize("state", ["running", "up_for_retry", "queued", "deferred", None])
def test_an_evicted_worker_stops_nothing_and_the_task_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    killed = Killed(scene, monkeypatch, state)
    ending = killed.at_the_second_sleep(scene.operator(wait_for_completion=True))
    assert killed.asked_in
    assert scene.stops == 0
    assert ending.error is None
    assert scene.states == [TaskState.SUCCEEDED]


def test_with_cancel_on_kill_off_nothing_is_asked_or_stopped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = Killed(scene, monkeypatch, "failed")
    ending = killed.at_the_second_sleep(scene.operator(wait_for_completion=True, cancel_on_kill=False))
    assert (killed.asked_in, scene.stops, ending.error) == ([], 0, None)


def test_the_stop_of_a_kill_is_sent_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = scene.emulator.faults.add("POST", "/stop", "status", status=503, times=None)
    killed = Killed(scene, monkeypatch, "failed")
    killed.at_the_second_sleep(scene.operator(wait_for_completion=True))
    assert fault.fired == 1


def test_a_kill_while_the_start_is_on_its_way_stops_what_was_started(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    Killed(scene, monkeypatch, "failed")
    operator = scene.operator()
    monkeypatch.setattr("tests.support.drive.fresh", lambda one: one)
    scene.emulator.observers.append(
        lambda record: operator.on_kill() if record.method == "POST" and record.path.endswith("/tasks") else None
    )
    ending = drive(operator, scene.clock)
    assert type(ending.error) is LabelTaskStopped
    assert scene.stops == 1


def test_a_kill_before_the_start_does_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = Killed(scene, monkeypatch, "failed")
    scene.operator().on_kill()
    assert killed.asked_in == []


# --- stop


def stop(scene: Scene, **parameters: Any) -> Ending:
    given = {"dataset_id": scene.dataset_id, **parameters}
    return drive(ModelArtsStopLabelTaskOperator(task_id="stop", **given), scene.clock)


def test_stop_stops_and_may_be_repeated(scene: Scene) -> None:
    label_task_id = scene.start().result
    for _ in range(2):
        ending = stop(scene, label_task_id=label_task_id)
        assert (ending.error, ending.result) == (None, None)
        scene.clock.advance(60)
    assert scene.states == [TaskState.STOPPED]


def test_stop_leaves_a_finished_labeling_task_as_it_is(scene: Scene) -> None:
    label_task_id = scene.start().result
    scene.clock.advance(600)
    assert stop(scene, label_task_id=label_task_id).error is None
    assert scene.states == [TaskState.SUCCEEDED]


def test_stop_names_an_unknown_labeling_task(scene: Scene) -> None:
    ending = stop(scene, label_task_id="no-such-task")
    assert type(ending.error) is AirflowFailException
    assert "no-such-task" in str(ending.error)
    assert "\n" not in str(ending.error)


def test_the_hook_is_needed_only_when_the_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was looked up while the DAG was parsed")

    monkeypatch.setattr(ModelArtsHook, "get_connection", refuse)
    ModelArtsStartLabelTaskOperator(task_id="a", dataset_id="{{ params.x }}")
    ModelArtsStopLabelTaskOperator(task_id="b", dataset_id="d", label_task_id="t")
