"""Starting, listing, reading and stopping labeling tasks (contract 2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import EXTRA, Call, Reply, done, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import choice
from airflow_provider_modelarts.emulator.http.schema import START_TASK, check
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.dataset import PUBLISHING, Dataset, names_of
from airflow_provider_modelarts.emulator.state.kinds import CLASSIFICATION, DETECTION, SEGMENTATION
from airflow_provider_modelarts.emulator.state.store import Store, UnknownObjectError
from airflow_provider_modelarts.emulator.state.task import ACTIVE, TYPES, Failure, Task

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES_OF_TASK = {False: {CLASSIFICATION, DETECTION}, True: {CLASSIFICATION, DETECTION, SEGMENTATION}}
"""Which types of datasets labeling tasks take (contract 8.1), and grouping (8.2)."""
LABELED_PER_NAME = 5  # contract 8.1: each label on at least 5 images
RGBA_DEPTH = 4

# Defaults that answers fill in (contract 2.1: "responses fill defaults, marked =").
CONFIG_DEFAULTS = {
    "ambiguity": False,
    "worker_server_num": 0,
    "collect_sample": False,
    "confidence_scope": "0.0-0.5",
    "image_brightness": False,
    "image_colorfulness": False,
}
# The variants of `progress`.
PROGRESS_FORMS: dict[str, Callable[[float], float]] = {"mixed": lambda value: value, "int": int, "float": float}


@dataclass(frozen=True)
class Start:
    """A labeling task that somebody wants to start."""

    store: Store
    dataset: Dataset
    kind: str
    body: dict[str, Any]


def start_task(store: Store, call: Call) -> Reply:
    """`POST D/tasks` (contract 2.1)."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, START_TASK, strict=store.variants.strict_requests)
    start = Start(store, dataset, body["task_type"], body)
    for code, kinds, obstacle in PRECONDITIONS:
        found = obstacle(start) if start.kind in kinds else None
        if found is not None and found is not False:
            raise refuse(code, None if found is True else found)
    if start.kind == "auto-grouping" and active_task_ids(store, dataset, start.kind):
        # Contract 7.3 lists 4964 with HTTP 200.
        return json_reply({"error_code": "ModelArts.4964", "error_msg": "Auto grouping is already running."})
    is_doomed = call.fault == "fail_task"
    task = _new_task(start, Failure(**call.fault_args) if is_doomed else _foreseeable_failure(dataset))
    dataset.tasks[task.task_id] = task
    return json_reply({"task_id": task.task_id})


def _new_task(start: Start, failure: Failure | None) -> Task:
    store, dataset, body = start.store, start.dataset, start.body
    dataset.started_tasks += 1
    number = dataset.started_tasks
    task_id = ids.short_id(store.seed, "task", dataset.dataset_id, number)
    algorithm = "supervisory" if start.kind == "pre-label" else "fast"  # quirk 13
    given = {name: value for name, value in (body.get("config") or {}).items() if value is not None}
    config = CONFIG_DEFAULTS | {"algorithm_type": algorithm} | given
    name = config.pop("name", None)
    if name is None or store.variants.config_name != "echo":
        name = ids.short_id(store.seed, "name", task_id)
    if store.variants.config_name != "absent":
        config["name"] = name
    return Task(
        task_id=task_id,
        dataset_id=dataset.dataset_id,
        kind=start.kind,
        started=store.clock.now(),
        duration=store.task_seconds,
        config=config,
        name=name,
        collect_hard=bool(body.get("collect_key_sample")),
        model_id=body.get("model_id"),
        training={sample.sample_id: names_of(sample)[0] for sample in dataset.samples.values() if names_of(sample)},
        total=len(dataset.samples),
        annotated=dataset.annotated,
        failure=failure,
        job={
            "export_id": ids.short_id(store.seed, "export", task_id),
            # Contract 2.3: pattern of the tutorial.
            "train_job_name": f"AUTO_TRAINING_cls_{dataset.dataset_id}_{task_id[:10]}",
            "train_job_id": str(900000 + number),
            "version_id": str(1700000 + number),
        },
    )


def _foreseeable_failure(dataset: Dataset) -> Failure | None:
    """Return why a task will fail although it starts (contract 8.1, "No RGBA")."""
    if dataset.failures:
        return dataset.failures.pop(0)
    rgba = sum(sample.size[2] == RGBA_DEPTH for sample in dataset.samples.values())
    if rgba:
        return Failure(detail=f"{rgba} images have four channels (RGBA).")
    return Failure(detail="The images of the dataset cannot be read.") if dataset.images is None else None


# --- what keeps a task from starting: None or False (nothing), True, or a text that the refusal then shows


def _type_unfit(start: Start) -> bool:
    """Contract 8.1: image classification or object detection; grouping (8.2) also segmentation."""
    return start.dataset.dataset_type not in TYPES_OF_TASK[start.kind == "auto-grouping"]


def _already_running(start: Start) -> str | None:
    """Contract 8.1: one active task of a kind; auto-label and pre-label may overlap (contract 12)."""
    return next(iter(active_task_ids(start.store, start.dataset, start.kind)), None)


def _too_many_running(start: Start) -> bool:
    limit = start.store.variants.max_running_tasks
    return limit is not None and len(active_task_ids(start.store, start.dataset, None)) >= limit


def _labeled_per_name(start: Start) -> Counter[str]:
    return Counter(name for sample in start.dataset.samples.values() for name in names_of(sample))


def _rare_label(start: Start) -> str | None:
    counts = sorted(_labeled_per_name(start).items())
    return next((f"{name}: {count}" for name, count in counts if count < LABELED_PER_NAME), None)


def _other_shape(start: Start) -> str | None:
    """Contract 8.1: detection labels are rectangles (quirk 25: 4408 means that one is not)."""
    samples = start.dataset.samples.values() if start.dataset.dataset_type == DETECTION else ()
    shapes = (label["property"].get("@modelarts:shape", "bndbox") for sample in samples for label in sample.labels)
    return next((str(shape) for shape in shapes if shape != "bndbox"), None)


def _clusters(start: Start) -> str:
    """Contract 2.1: `n_clusters` is text or a number (quirk 15)."""
    return str((start.body.get("config") or {}).get("n_clusters", 2))


def _clusters_unreadable(start: Start) -> str | None:
    return None if _clusters(start).isdigit() else f"n_clusters={_clusters(start)}"


def _too_many_clusters(start: Start) -> str | None:
    return _clusters(start) if int(_clusters(start)) >= len(start.dataset.samples) else None


AUTO_LABEL, PRE_LABEL, GROUPING = (("auto-label",), ("pre-label",), ("auto-grouping",))
LABELING = AUTO_LABEL + PRE_LABEL
EVERY = LABELING + GROUPING
# Contract 10, row "Preconditions", in this order: code, kinds of tasks, and what stands in the way. Pre-label uses the
# classifier in place of a model, hence the same needs for labeled samples.
PRECONDITIONS: tuple[tuple[str, tuple[str, ...], Callable[[Start], bool | str | None]], ...] = (
    ("ModelArts.4383", EVERY, _type_unfit),
    ("ModelArts.4386", AUTO_LABEL, _already_running),
    ("ModelArts.4387", PRE_LABEL, _already_running),
    ("ModelArts.4409", LABELING, _too_many_running),
    ("ModelArts.4821", EVERY, lambda start: start.dataset.status == PUBLISHING),
    ("ModelArts.4399", PRE_LABEL, lambda start: not start.body.get("model_id")),
    ("ModelArts.4826", AUTO_LABEL + GROUPING, lambda start: start.dataset.encrypted),
    ("ModelArts.4405", LABELING, lambda start: len(_labeled_per_name(start)) < 2),  # contract 12: one label, too
    ("ModelArts.4406", AUTO_LABEL, _rare_label),
    ("ModelArts.4407", LABELING, lambda start: start.dataset.annotated == len(start.dataset.samples)),
    ("ModelArts.4408", AUTO_LABEL, _other_shape),
    ("ModelArts.0104", GROUPING, _clusters_unreadable),
    ("ModelArts.4622", GROUPING, _too_many_clusters),
)


def active_task_ids(store: Store, dataset: Dataset, kind: str | None) -> list[str]:
    """Return the ids of the active tasks of one kind, or of all (contract 6.1, `running_tasks_id`)."""
    now = store.clock.now()
    tasks = dataset.tasks.values()
    return [task.task_id for task in tasks if kind in (None, task.kind) and task.status(now) in ACTIVE]


# --- reading and stopping


def list_tasks(store: Store, call: Call) -> Reply:
    """`GET D/tasks` (contract 2.2)."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants)
    wanted = choice(call, "type", ("", *TYPES, "auto-deploy"), "")
    # Without a type: auto-label and pre-label (contract 2.2).
    kinds = (wanted,) if wanted else LABELING
    name = call.query.get("task_name")
    found = [task for task in dataset.tasks.values() if task.kind in kinds and name in (None, "", task.name)]
    tasks = [_list_item(store, task) for task in page.cut(found)]
    total = page.total("total_count", len(found), len(tasks))
    return json_reply({"tasks": tasks, **total, "exist_running_deploy_task": False})


def _list_item(store: Store, task: Task) -> dict[str, Any]:
    now = store.clock.now()
    return {
        "dataset_id": task.dataset_id,
        "task_id": task.task_id,
        "type": TYPES[task.kind],
        **task.describe(now, PROGRESS_FORMS[store.variants.progress]),
        **task.counters(now),
        "result": task.job_names(),  # quirk 10: list and detail differ; the list's result names the job only
        "model_name": "Supervisory",
        "model_version": "0.0.1",
        **(EXTRA if store.variants.extra_fields else {}),
    }


def get_task(store: Store, call: Call) -> Reply:
    """`GET D/tasks/{task_id}` (contract 2.3)."""
    task = _find(store, call)
    now = store.clock.now()
    body = {
        "resource_id": task.dataset_id,  # quirk 9: not dataset_id
        "task_id": task.task_id,
        **task.describe(now, PROGRESS_FORMS[store.variants.progress]),
        "result": task.result(now),
        **(EXTRA if store.variants.extra_fields else {}),
    }
    if not store.variants.task_id_in_detail:
        del body["task_id"], body["task_name"]
    return json_reply(body)


def stop_task(store: Store, call: Call) -> Reply:
    """`POST D/tasks/{task_id}/stop` (contract 2.4): 204, then status 4 and 5; a finished one is 400 4301."""
    task = _find(store, call)
    now = store.clock.now()
    if task.status(now) not in ACTIVE:
        raise refuse("ModelArts.4301", task.task_id)
    if task.stop_requested is None:
        task.stop_requested = now
    return done(with_body=store.variants.body_with_204)


def _find(store: Store, call: Call) -> Task:
    task = store.dataset(call.params["dataset_id"]).tasks.get(call.params["task_id"])
    if task is None:
        raise UnknownObjectError("ModelArts.4612", call.params["task_id"])
    return task
