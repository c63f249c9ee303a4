"""Team labeling: one task, a copy of each sample per member (contract 5, and 10, row "Team")."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import (
    check_update,
    keep_beside_labels,
    labels_to_write,
    reply_to_batch,
)
from airflow_provider_modelarts.emulator.api.samples import label_stats, processed
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.filters import read_filter, read_state
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import boolean, check_locale
from airflow_provider_modelarts.emulator.state.documents import sample_document
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Copy, TeamTask


def _find(store: Store, call: Call) -> tuple[Dataset, TeamTask]:
    dataset = store.dataset(call.params["dataset_id"])
    task = dataset.team_tasks.get(call.params["workforce_task_id"])
    if task is None:
        raise UnknownObjectError("ModelArts.4619", call.params["workforce_task_id"])
    return dataset, task


def list_team_tasks(store: Store, call: Call) -> Reply:
    """`GET D/workforce-tasks` (contract 5.2)."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants, maximum=1000, default=1000)
    tasks = [
        _describe(dataset, task) | {"sample_stats": _sample_stats(task)}
        for task in page.cut(list(dataset.team_tasks.values()))
    ]
    return json_reply({**page.total("count", len(dataset.team_tasks), len(tasks)), "tasks": tasks})


def get_team_task(store: Store, call: Call) -> Reply:
    """`GET W` (contract 5.2)."""
    dataset, task = _find(store, call)
    body = _describe(dataset, task)
    if boolean(call, "sample_stats"):
        body["sample_stats"] = _sample_stats(task)
    if boolean(call, "label_stats"):
        body["label_stats"] = label_stats(dataset, task.copies.values())
    if boolean(call, "workforce_stats"):
        body["workforce_stats"] = {"workforce_count": 1, "labeler_count": len(task.workers), "reviewer_count": 0}
    return json_reply(body)


def _sample_stats(task: TeamTask) -> dict[str, int]:
    counts = Counter("accepted" if copy.accepted else bool(copy.labels) for copy in task.copies.values())
    return {
        "total_sample_count": len(task.copies),
        "unannotated_sample_count": counts[False],
        "unreviewed_sample_count": 0,
        "uncheck_sample_count": counts[True],
        "sampled_sample_count": 0,
        "rejected_sample_count": 0,
        "accepted_sample_count": counts["accepted"],
        "auto_annotation_sample_count": 0,
    }


def _worker(task: TeamTask, worker_id: str) -> dict[str, Any]:
    return {"email": task.workers[worker_id], "worker_id": worker_id, "role": 0}


def _describe(dataset: Dataset, task: TeamTask) -> dict[str, Any]:
    workers = [_worker(task, worker_id) for worker_id in task.workers]
    return {
        "dataset_id": dataset.dataset_id,
        "task_id": task.task_id,
        "task_name": task.name,
        "status": task.status,
        "create_time": int(task.created * 1000),
        "update_time": int(task.created * 1000),
        "repetition": len(task.workers),
        "workforces_config": {"workforces": [{"workforce_id": task.workforce_id, "workers": workers}]},
        "synchronize_data": False,
        "synchronize_auto_labeling_data": False,
        "auto_sync_dataset": True,
    }


def _document(store: Store, dataset: Dataset, task: TeamTask, copy: Copy) -> dict[str, Any]:
    document = sample_document(dataset, dataset.samples[copy.sample_id], store.presigner, store.clock.now())
    document["metadata"] |= copy.metadata or {}
    if copy.usage is not None:
        document["sample_usage"] = copy.usage
    return document | {
        "labels": copy.labels,
        "sample_status": "MANUAL_ANNOTATION" if copy.labels else "UN_ANNOTATION",
        "annotated_by": copy.author,
        "worker_id": copy.worker_id,
        "labelers": [_worker(task, copy.worker_id)],
    }


def list_team_samples(store: Store, call: Call) -> Reply:
    """`GET W/data-annotations/samples` (contract 5.2): each member's copy with its worker id."""
    dataset, task = _find(store, call)
    check_locale(call)
    page = read_page(call, store.variants)
    matches = read_filter(call, store.clock.now()).matches
    state = read_state(call)
    copies = [copy for copy in task.copies.values() if _is_in_state(copy, state)]
    documents = [_document(store, dataset, task, copy) for copy in copies]
    if matches is not None:
        documents = [document for document in documents if matches(document)]
    shown = page.cut(documents[::-1] if page.newest_first else documents)
    return json_reply({**page.total("sample_count", len(documents), len(shown)), "samples": processed(shown, call)})


def _is_in_state(copy: Copy, state: str) -> bool:
    """Whether a copy is in a state of contract 6.4; nothing is reviewed, sampled or rejected here."""
    is_labeled = bool(copy.labels)
    states = {
        "": True,
        "__all__": is_labeled,
        "__none__": not is_labeled,
        "__uncheck__": is_labeled and not copy.accepted,
        "__accepted__": copy.accepted,
    }
    return states.get(state, False)


def get_team_sample(store: Store, call: Call) -> Reply:
    """`GET W/data-annotations/samples/{sample_id}` (contract 5.2), of one member or of the first who has it."""
    dataset, task = _find(store, call)
    check_locale(call)
    read_state(call)
    sample_id, worker_id = call.params["sample_id"], call.query.get("worker_id")
    for copy in task.copies.values():
        if copy.sample_id == sample_id and worker_id in (None, copy.worker_id):
            return json_reply(_document(store, dataset, task, copy))
    raise UnknownObjectError("ModelArts.4420", sample_id)


def update_team_samples(store: Store, call: Call) -> Reply:
    """`PUT W/data-annotations/samples` (contract 5.2): as the owner's write, but only with existing labels."""
    body = call.json()
    dataset, task = _find(store, call)
    check_update(store, dataset, body)
    email = body.get("email")
    # On whose behalf; None: the dataset's owner writes.
    member = next((worker_id for worker_id, address in task.workers.items() if address == email), None)
    if email is not None and member is None:
        raise UnknownObjectError("ModelArts.4604", email)

    def write(written: dict[str, Any]) -> None:
        sample_id = written["sample_id"]
        worker_id = written.get("worker_id") or member
        if worker_id is None and len(task.workers) == 1:
            worker_id = next(iter(task.workers))  # one member: there is no doubt whose copy it is
        copy = task.copies.get((sample_id, worker_id or ""))
        if copy is None:
            raise refuse("ModelArts.4420", sample_id)
        if member is not None and (copy.accepted or copy.worker_id != member):
            raise refuse("ModelArts.4600", sample_id)  # contract 10: no member edits an accepted sample
        labels = labels_to_write(store, dataset, written, only_known=True)
        keep_beside_labels(store, copy, written)
        if labels is not None:
            copy.labels = [dataset.stored(label) for label in labels]
            copy.author = f"human/{task.workers[copy.worker_id]}" if labels else ""

    return reply_to_batch(store, call, body["samples"], write)
