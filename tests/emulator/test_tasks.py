"""The life of a labeling task (contract 2, 8 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator.http.schema import START_TASK
from tests.emulator.conftest import Caller
from tests.support.contract import at

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator import Emulator

START = {"task_type": "auto-label"}


def test_a_task_goes_through_its_states(digits: Caller) -> None:
    clock = digits.emulator.clock
    task_id = digits.start(collect_key_sample=True, config={"algorithm_type": "fast"})
    seen = []
    for _ in range(33):
        task = digits.get(f"/tasks/{task_id}")
        seen.append((task["status"], task["progress"], task.get("code")))
        clock.advance(0.2)
    assert list(dict.fromkeys(seen)) == [
        (-1, 0, None),
        (0, 0, "ModelArts.4900"),
        (1, 10.0, "ModelArts.4902"),
        (1, 30, "ModelArts.4914"),
        (3, 100.0, "ModelArts.4996"),
    ]


@pytest.mark.parametrize(
    ("seconds", "status", "progress", "code"),
    [
        (0.0, -1, 0, None),
        (0.4, 0, 0, "ModelArts.4900"),
        (0.7, 1, 10.0, "ModelArts.4902"),
        (2.0, 1, 30, "ModelArts.4914"),
        (6.0, 3, 100.0, "ModelArts.4996"),
        (9000.0, 3, 100.0, "ModelArts.4996"),
    ],
)
def test_the_state_is_a_function_of_time(
    digits: Caller, seconds: float, status: int, progress: float, code: str | None
) -> None:
    task_id = digits.start()
    digits.emulator.clock.advance(seconds)
    task = digits.get(f"/tasks/{task_id}")
    assert (task["status"], task["progress"], task.get("code")) == (status, progress, code)
    assert task["resource_id"] == digits.dataset_id
    assert task["elapsed_time"] == int(min(seconds, 6.0))


def test_events_advance_and_start_late(digits: Caller) -> None:
    task_id = digits.start()
    digits.emulator.clock.advance(0.7)
    assert set(digits.get(f"/tasks/{task_id}")["result"]) == {"total_sample_count", "annotated_sample_count"}
    digits.emulator.clock.advance(2.3)
    events = digits.get(f"/tasks/{task_id}")["result"]["events"]
    assert [event["name"] for event in events] == ["start", "init", "labeling", "result_processing", "end"]
    assert [event["status"] for event in events] == ["success", "success", "running", "waiting", "waiting"]
    assert [event["status"] for event in events[2]["events"]] == ["success", "success", "running", "waiting"]
    assert "create_time" not in events[3]
    assert "elapsed_time" not in events[2]
    digits.emulator.clock.advance(10)
    events = digits.get(f"/tasks/{task_id}")["result"]["events"]
    assert {event["status"] for event in events} == {"success"}


def test_proposals_come_with_success_and_not_before(digits: Caller) -> None:
    task_id = digits.start()
    digits.emulator.clock.advance(5.9)
    assert digits.waiting() == 0
    digits.emulator.clock.advance(0.2)
    assert digits.waiting() == 1647
    dataset = digits.get()
    assert (dataset["annotated_sample_count"], dataset["unconfirmed_sample_count"]) == (150, 1647)
    result = digits.get(f"/tasks/{task_id}")["result"]
    assert (result["total_sample_count"], result["unconfirmed_sample_count"]) == (1797, 1647)
    assert digits.get("/data-annotations/stats")["sample_stats"]["auto_annotation"] == 1647


def test_a_new_run_replaces_old_proposals(digits: Caller) -> None:
    digits.finish()
    first = digits.walk()
    digits.confirm(first[:50])
    digits.finish(config={"algorithm_type": "accurate"})
    second = digits.walk()
    assert len(second) == len(first) - 50
    assert {s["sample_id"] for s in second} == {s["sample_id"] for s in first[50:]}


def _unknown(caller: Caller) -> None:
    caller.dataset_id = "0000000000000000000"


def _wrong_type(caller: Caller) -> None:
    caller.dataset.dataset_type = 100


def _running(caller: Caller) -> None:
    caller.start()


def _publishing(caller: Caller) -> None:
    caller.dataset.status = 6


def _encrypted(caller: Caller) -> None:
    caller.dataset.encrypted = True


@pytest.mark.parametrize(
    ("prepare", "refusal"),
    [
        (_unknown, (400, "ModelArts.4352")),
        (_wrong_type, (501, "ModelArts.4383")),
        (_running, (501, "ModelArts.4386")),
        (_publishing, (403, "ModelArts.4821")),
        (_encrypted, (401, "ModelArts.4826")),
    ],
)
def test_what_a_start_needs(digits: Caller, prepare: Callable[[Caller], None], refusal: tuple[int, str]) -> None:
    prepare(digits)
    assert digits.refused("POST", "/tasks", json=START) == refusal


@pytest.mark.parametrize(
    ("labeled", "refusal"),
    [
        (0, (400, "ModelArts.4405")),
        (20, (400, "ModelArts.4406")),
        (49, (400, "ModelArts.4406")),  # four of one digit, five of the others
        (1797, (400, "ModelArts.4407")),
    ],
)
def test_how_many_labels_a_start_needs(emulator: Emulator, labeled: int, refusal: tuple[int, str]) -> None:
    caller = Caller(emulator, emulator.load_digits(labeled=labeled))
    assert caller.refused("POST", "/tasks", json=START) == refusal
    assert caller.get("/tasks")["total_count"] == 0


def test_five_of_each_label_are_enough(emulator: Emulator) -> None:
    caller = Caller(emulator, emulator.load_digits(labeled=50))
    assert caller.start()


def test_one_label_is_not_enough(emulator: Emulator) -> None:
    caller = Caller(emulator, emulator.load_digits(labeled=0))
    dataset = emulator.dataset(caller.dataset_id)
    for sample_id in list(dataset.samples)[:10]:
        dataset.edit(sample_id, "0")
    assert caller.refused("POST", "/tasks", json=START) == (400, "ModelArts.4405")


@pytest.mark.parametrize("other", ["polygon", ""])
def test_detection_needs_rectangles(proposals: Callable[..., Caller], other: str) -> None:
    caller = proposals(30, kind="detection")
    dataset = caller.dataset
    for index, sample_id in enumerate(list(dataset.samples)[:20]):
        shape = other if index == 7 else "bndbox"
        dataset.edit(sample_id, [{"name": "ab"[index % 2], "property": {"@modelarts:shape": shape}}])
    assert caller.refused("POST", "/tasks", json=START) == (400, "ModelArts.4408")


def test_preconditions_are_checked_in_order(emulator: Emulator) -> None:
    """With everything wrong at once the codes appear one after the other as each is mended."""
    caller = Caller(emulator, emulator.load_digits(labeled=0))
    dataset = emulator.dataset(caller.dataset_id)
    dataset.dataset_type, dataset.status = 100, 6
    codes = [caller.refused("POST", "/tasks", json=START)[1]]
    dataset.dataset_type = 0
    codes.append(caller.refused("POST", "/tasks", json=START)[1])
    dataset.status = 1
    codes.append(caller.refused("POST", "/tasks", json=START)[1])
    assert codes == ["ModelArts.4383", "ModelArts.4821", "ModelArts.4405"]


def test_auto_label_and_pre_label_may_overlap_but_not_with_themselves(digits: Caller) -> None:
    digits.start()
    pre = {"task_type": "pre-label", "model_id": "c4989033"}
    assert digits("POST", "/tasks", json=pre).status_code == 200
    assert digits.refused("POST", "/tasks", json=pre) == (501, "ModelArts.4387")
    assert digits.refused("POST", "/tasks", json={"task_type": "pre-label"}) == (501, "ModelArts.4387")
    types = {task["type"] for task in digits.get("/tasks")["tasks"]}
    assert types == {0, 1}


def test_a_second_start_works_after_the_first_has_ended(digits: Caller) -> None:
    first = digits.finish()
    second = digits.start()
    assert first != second
    tasks = digits.get("/tasks", type="auto-label")
    assert [task["task_id"] for task in tasks["tasks"]] == [second, first]
    assert tasks["total_count"] == 2


def test_too_many_running_tasks(digits: Caller) -> None:
    digits.emulator.variants.max_running_tasks = 0
    assert digits.refused("POST", "/tasks", json=START) == (400, "ModelArts.4409")


def test_pre_label_needs_a_model_and_leaves_proposals(digits: Caller) -> None:
    assert digits.refused("POST", "/tasks", json={"task_type": "pre-label"}) == (400, "ModelArts.4399")
    task_id = digits.finish(task_type="pre-label", model_id="m-1")
    task = digits.get(f"/tasks/{task_id}")
    assert (task["status"], task["message"]) == (3, "prelabel task execute successfully.")
    assert task["config"]["algorithm_type"] == "supervisory"
    assert digits.waiting() == 1647


def test_auto_grouping_leaves_nothing_to_confirm(digits: Caller) -> None:
    body = {"task_type": "auto-grouping", "config": {"n_clusters": "5"}}
    task_id = digits.finish(**body)
    assert digits.get(f"/tasks/{task_id}")["status"] == 3
    assert digits.waiting() == 0
    assert digits.get("/tasks")["total_count"] == 0
    assert digits.get("/tasks", type="auto-grouping")["total_count"] == 1
    body["config"] = {"n_clusters": 1797}
    assert digits.refused("POST", "/tasks", json=body) == (400, "ModelArts.4622")


def test_stopping_goes_through_stopping(digits: Caller) -> None:
    clock = digits.emulator.clock
    task_id = digits.start()
    clock.advance(3)
    response = digits("POST", f"/tasks/{task_id}/stop")
    assert (response.status_code, response.content) == (204, b"")
    assert digits.get(f"/tasks/{task_id}")["status"] == 4
    assert digits.refused("POST", "/tasks", json=START) == (501, "ModelArts.4386")
    clock.advance(0.6)
    assert digits("POST", f"/tasks/{task_id}/stop").status_code == 204
    clock.advance(0.5)  # the second stop does not start the time again
    assert digits.get(f"/tasks/{task_id}")["status"] == 5
    clock.advance(600)
    assert digits.get(f"/tasks/{task_id}")["status"] == 5
    assert digits.waiting() == 0
    assert digits.refused("POST", f"/tasks/{task_id}/stop") == (400, "ModelArts.4301")
    digits.start()


def test_stopping_an_unknown_task(digits: Caller) -> None:
    assert digits.refused("POST", "/tasks/unknown/stop") == (400, "ModelArts.4612")
    assert digits.refused("GET", "/tasks/unknown") == (400, "ModelArts.4612")


def test_a_task_that_was_told_to_fail(digits: Caller) -> None:
    digits.dataset.fail_next_task("ModelArts.4991", "Free quota used.", "details")
    task_id = digits.finish()
    task = digits.get(f"/tasks/{task_id}")
    assert (task["status"], task["error_code"], task["error_msg"]) == (2, "ModelArts.4991", "Free quota used.")
    assert digits.get(f"/tasks/{digits.finish()}")["status"] == 3


def test_a_task_that_is_gone(digits: Caller) -> None:
    task_id = digits.start()
    digits.dataset.forget_task(task_id)
    assert digits.refused("GET", f"/tasks/{task_id}") == (400, "ModelArts.4612")


@pytest.mark.parametrize("mode", ["echo", "absent", "invented"])
def test_what_becomes_of_the_name(digits: Caller, mode: str) -> None:
    digits.emulator.variants.config_name = mode
    task_id = digits.start(config={"name": "af-0123456789abcdef-1"})
    names = {
        digits.get(f"/tasks/{task_id}")["config"].get("name"),
        digits.get("/tasks")["tasks"][0]["config"].get("name"),
    }
    assert len(names) == 1
    name = names.pop()
    if mode == "echo":
        assert name == "af-0123456789abcdef-1"
        assert digits.get("/tasks", task_name="af-0123456789abcdef-1")["total_count"] == 1
        assert digits.get("/tasks", task_name="other")["total_count"] == 0
    elif mode == "absent":
        assert name is None
    else:
        assert len(name) == 19


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "config",
    [
        {"algoritm_type": "accurate"},
        {"weight": 5},
        {"inf_config_list": [{"specificaton": "modelarts.vm.cpu.2u"}]},
        {"flavor": {"kode": "modelarts.p3.large"}},
    ],
)
def test_unknown_fields_of_a_config_are_ignored_or_refused(digits: Caller, config: dict[str, Any]) -> None:
    body = {"task_type": "auto-label", "config": config}
    digits.emulator.variants.strict_requests = True
    assert digits.refused("POST", "/tasks", json=body) == (400, "ModelArts.0104")
    digits.emulator.variants.strict_requests = False
    assert digits("POST", "/tasks", json=body).status_code == 200


def test_every_documented_field_of_a_config_is_known(digits: Caller) -> None:
    digits.emulator.variants.strict_requests = True
    fields = at("/components/schemas/SmartTaskConfigInput/properties")
    assert set(fields) == set(START_TASK.fields["config"].fields)
