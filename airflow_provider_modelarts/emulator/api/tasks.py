"""Starting, listing, reading and stopping labeling tasks (contract 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_answer
from airflow_provider_modelarts.emulator.http.paging import choice, window
from airflow_provider_modelarts.emulator.http.schema import START_TASK, check
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.dataset import DETECTION, PUBLISHING, Dataset, names_of
from airflow_provider_modelarts.emulator.state.store import Store
from airflow_provider_modelarts.emulator.state.task import ACTIVE, TYPES, Failure, Task

LABELED_PER_NAME = 5  # contract 8.1: each label on at least 5 images
RGBA_DEPTH = 4
GROUPABLE = frozenset({0, 1, 3})  # contract 8.2, "Auto-grouping"
RUNNING_CODES = {"auto-label": "4386", "pre-label": "4387"}  # contract 8.1: one active task of a kind

# Defaults that answers fill in (contract 2.1: "responses fill defaults, marked =").
CONFIG_DEFAULTS = {
    "ambiguity": False,
    "worker_server_num": 0,
    "collect_sample": False,
    "confidence_scope": "0.0-0.5",
    "image_brightness": False,
    "image_colorfulness": False,
}


def start_task(service: Store, call: Call) -> Reply:
    """`POST D/tasks` (contract 2.1)."""
    body = call.json()
    dataset = service.dataset(call.params["dataset_id"])
    check(body, START_TASK, strict=service.variants.strict_requests)
    kind = body["task_type"]
    for precondition in PRECONDITIONS[kind]:
        precondition(service, dataset, body)
    if kind == "auto-grouping" and _active(service, dataset, kind):
        # Contract 7.3 lists 4964 with HTTP 200.
        return json_answer({"error_code": "ModelArts.4964", "error_msg": "Auto grouping is already running."})
    task = _new_task(service, dataset, body, call.doom or _foreseeable_failure(dataset))
    dataset.tasks[task.task_id] = task
    return json_answer({"task_id": task.task_id})


def _new_task(service: Store, dataset: Dataset, body: dict[str, Any], failure: Failure | None) -> Task:
    dataset.started_tasks += 1
    number = dataset.started_tasks
    task_id = ids.short_id(service.seed, "task", dataset.dataset_id, number)
    kind = body["task_type"]
    given = {name: value for name, value in (body.get("config") or {}).items() if value is not None}
    config = CONFIG_DEFAULTS | given
    config.setdefault("algorithm_type", "supervisory" if kind == "pre-label" else "fast")  # quirk 13
    invented = ids.short_id(service.seed, "name", task_id)
    mode = service.variants.config_name
    name = config.pop("name", invented) if mode == "echo" else invented
    if mode != "absent":
        config["name"] = name
    else:
        config.pop("name", None)
    return Task(
        task_id=task_id,
        dataset_id=dataset.dataset_id,
        kind=kind,
        number=number,
        started=service.clock.now(),
        duration=service.task_seconds,
        config=config,
        name=name,
        collect_hard=bool(body.get("collect_key_sample")),
        model_id=body.get("model_id"),
        training={sample.sample_id: names_of(sample)[0] for sample in dataset.samples.values() if names_of(sample)},
        total=len(dataset.samples),
        annotated=dataset.annotated,
        failure=failure,
        job={
            "export_id": ids.short_id(service.seed, "export", task_id),
            # Contract 2.3: pattern of the tutorial.
            "train_job_name": f"AUTO_TRAINING_cls_{dataset.dataset_id}_{task_id[:10]}",
            "train_job_id": str(900000 + number),
            "version_id": str(1700000 + number),
        },
    )


def _foreseeable_failure(dataset: Dataset) -> Failure | None:
    if dataset.failures:
        return dataset.failures.pop(0)
    # Contract 8.1, "No RGBA": the start succeeds, the task fails.
    rgba = sum(sample.size[2] == RGBA_DEPTH for sample in dataset.samples.values())
    if rgba:
        return Failure("ModelArts.4917", "The auto labeling job failed.", f"{rgba} images have four channels (RGBA).")
    if dataset.images is None:
        return Failure("ModelArts.4917", "The auto labeling job failed.", "The images of the dataset cannot be read.")
    return None


# --- preconditions, in the order of contract 10, row "Preconditions"


def _type_fits(_: Store, dataset: Dataset, body: dict[str, Any]) -> None:
    """Contract 8.1: image classification or object detection; grouping also segmentation."""
    allowed = GROUPABLE if body["task_type"] == "auto-grouping" else {0, DETECTION}
    if dataset.dataset_type not in allowed:
        raise refuse("4383")


def _none_active(service: Store, dataset: Dataset, body: dict[str, Any]) -> None:
    """Contract 8.1: one active task of a kind; auto-label and pre-label may overlap (contract 12)."""
    active = _active(service, dataset, body["task_type"])
    if active:
        raise refuse(RUNNING_CODES[body["task_type"]], active[0].task_id)
    limit = service.variants.max_running_tasks
    if limit is not None and len(_active(service, dataset, None)) >= limit:
        raise refuse("4409")


def _not_publishing(_: Store, dataset: Dataset, __: dict[str, Any]) -> None:
    """Contract 8.1: not while the dataset is being published."""
    if dataset.status == PUBLISHING:
        raise refuse("4821")


def _not_encrypted(_: Store, dataset: Dataset, __: dict[str, Any]) -> None:
    """Contract 8.1: not from a KMS-encrypted bucket."""
    if dataset.encrypted:
        raise refuse("4826")


def _labels_exist(_: Store, dataset: Dataset, __: dict[str, Any]) -> None:
    """Contract 8.1: labeled samples exist, of at least two labels (contract 12: one label is 4405, too)."""
    if len(_labeled_per_name(dataset)) < 2:
        raise refuse("4405")


def _five_of_each(_: Store, dataset: Dataset, __: dict[str, Any]) -> None:
    """Contract 8.1: each label that is used is on at least five images."""
    for name, count in sorted(_labeled_per_name(dataset).items()):
        if count < LABELED_PER_NAME:
            raise refuse("4406", f"{name}: {count}")


def _something_unlabeled(_: Store, dataset: Dataset, __: dict[str, Any]) -> None:
    """Contract 8.1: at least one unlabeled image."""
    if dataset.annotated == len(dataset.samples):
        raise refuse("4407")


def _only_boxes(_: Store, dataset: Dataset, __: dict[str, Any]) -> None:
    """Contract 8.1: detection labels are rectangles (quirk 25: 4408 means that one is not)."""
    if dataset.dataset_type != DETECTION:
        return
    for sample in dataset.samples.values():
        for label in sample.labels:
            shape = label["property"].get("@modelarts:shape", "bndbox")
            if shape != "bndbox":
                raise refuse("4408", shape)


def _model_given(_: Store, __: Dataset, body: dict[str, Any]) -> None:
    """Contract 8.1: the model fits the dataset type; without one nothing fits."""
    if not body.get("model_id"):
        raise refuse("4399")


def _clusters_fit(_: Store, dataset: Dataset, body: dict[str, Any]) -> None:
    """Contract 2.1: `n_clusters` is below the sample count; text or number (quirk 15)."""
    text = str((body.get("config") or {}).get("n_clusters", 2))
    if not text.isdigit():
        raise refuse("0104", f"n_clusters={text}")
    if int(text) >= len(dataset.samples):
        raise refuse("4622", text)


Precondition = Callable[[Store, Dataset, dict[str, Any]], None]
PRECONDITIONS: dict[str, tuple[Precondition, ...]] = {
    "auto-label": (
        _type_fits,
        _none_active,
        _not_publishing,
        _not_encrypted,
        _labels_exist,
        _five_of_each,
        _something_unlabeled,
        _only_boxes,
    ),
    # Reuses the classifier in place of a model, hence the same needs for labeled samples.
    "pre-label": (
        _type_fits,
        _none_active,
        _not_publishing,
        _model_given,
        _labels_exist,
        _something_unlabeled,
    ),
    "auto-grouping": (_type_fits, _not_publishing, _not_encrypted, _clusters_fit),
}


def _labeled_per_name(dataset: Dataset) -> Counter[str]:
    return Counter(name for sample in dataset.samples.values() for name in names_of(sample))


def _active(service: Store, dataset: Dataset, kind: str | None) -> list[Task]:
    now = service.clock.now()
    return [task for task in dataset.tasks.values() if kind in (None, task.kind) and task.status(now) in ACTIVE]


def active_task_ids(service: Store, dataset: Dataset, kind: str) -> list[str]:
    """Return the ids of the active tasks of one kind (contract 6.1, `running_tasks_id`)."""
    return [task.task_id for task in _active(service, dataset, kind)]


# --- reading


def _progress_shape(service: Store) -> Callable[[float], float]:
    shapes: dict[str, Callable[[float], float]] = {"mixed": lambda value: value, "int": int, "float": float}
    return shapes[service.variants.progress]


def list_tasks(service: Store, call: Call) -> Reply:
    """`GET D/tasks` (contract 2.2)."""
    dataset = service.dataset(call.params["dataset_id"])
    part = window(call, service.variants)
    wanted = choice(call, "type", ("", *TYPES, "auto-deploy"), "")
    # Without a type: auto-label and pre-label (contract 2.2).
    kinds = (wanted,) if wanted else ("auto-label", "pre-label")
    name = call.query.get("task_name")
    found = [task for task in dataset.tasks.values() if task.kind in kinds and name in (None, "", task.name)]
    now = service.clock.now()
    shape = _progress_shape(service)
    tasks = [_list_item(service, task, now, shape) for task in part.cut(found)]
    total = part.total("total_count", len(found), len(tasks))
    return json_answer({"tasks": tasks, **total, "exist_running_deploy_task": False})


def _list_item(service: Store, task: Task, now: float, shape: Callable[[float], float]) -> dict[str, Any]:
    item = {
        "dataset_id": task.dataset_id,
        "task_id": task.task_id,
        "type": TYPES[task.kind],
        **task.describe(now, shape),
        **task.counters(now),
        # Quirk 10: list and detail differ; the list's result names the job only.
        "result": {name: task.job[name] for name in ("train_job_name", "train_job_id", "version_id")},
    }
    item.setdefault("model_name", "Supervisory")
    item.setdefault("model_version", "0.0.1")
    return _with_extra(service, item)


def get_task(service: Store, call: Call) -> Reply:
    """`GET D/tasks/{task_id}` (contract 2.3)."""
    dataset, task = _find(service, call)
    now = service.clock.now()
    body: dict[str, Any] = {"resource_id": dataset.dataset_id}  # quirk 9: not dataset_id
    if service.variants.task_id_in_detail:
        body["task_id"] = task.task_id
    body |= task.describe(now, _progress_shape(service))
    body["result"] = task.result(now)
    if not service.variants.task_id_in_detail:
        body.pop("task_name")
    return json_answer(_with_extra(service, body))


def _with_extra(service: Store, body: dict[str, Any]) -> dict[str, Any]:
    if service.variants.extra_fields:
        body["emulator_extra"] = {"unknown": [1, 1.0, None]}
    return body


def stop_task(service: Store, call: Call) -> Reply:
    """`POST D/tasks/{task_id}/stop` (contract 2.4): 204, then status 4 and 5; a finished one is 400 4301."""
    _, task = _find(service, call)
    if task.status(service.clock.now()) not in ACTIVE:
        raise refuse("4301", task.task_id)
    if task.stop_requested is None:
        task.stop_requested = service.clock.now()
    body = b'{"success":true}' if service.variants.body_with_204 else b""  # quirk 28
    return Reply(204, body)


def _find(service: Store, call: Call) -> tuple[Dataset, Task]:
    dataset = service.dataset(call.params["dataset_id"])
    task = dataset.tasks.get(call.params["task_id"])
    if task is None:
        raise service.unknown("4612", call.params["task_id"])
    return dataset, task
