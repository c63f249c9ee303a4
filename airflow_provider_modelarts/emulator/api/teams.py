"""Team labeling: one task, a copy of each sample per member (contract 5, and 10, row "Team")."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import (
    WRITTEN,
    Outcome,
    answer_batch,
    check_update,
    failed,
    find_problem,
    keep_beside_labels,
    labels_to_write,
)
from airflow_provider_modelarts.emulator.http.filters import read_filter, read_state
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_answer
from airflow_provider_modelarts.emulator.http.paging import boolean, locale, window
from airflow_provider_modelarts.emulator.state.documents import processed, sample_document

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.store import Store

RUNNING = 1  # contract 5.1, task status


@dataclass(eq=False)
class Copy:
    """One member's copy of a sample.

    :param accepted: its labels were accepted; the member cannot edit it any more (contract 5.1).
    """

    sample_id: str
    worker_id: str
    labels: list[dict[str, Any]] = field(default_factory=list)
    accepted: bool = False
    author: str = ""
    metadata: dict[str, Any] | None = None
    usage: str | None = None


@dataclass(eq=False)
class TeamTask:
    """One team labeling task.

    :param workers: e-mail address of each member by worker id.
    :param copies: by sample id and worker id.
    """

    task_id: str
    name: str
    created: float
    workforce_id: str
    workers: dict[str, str]
    copies: dict[tuple[str, str], Copy]
    status: int = RUNNING


def _find(service: Store, call: Call) -> tuple[Dataset, TeamTask]:
    dataset = service.dataset(call.params["dataset_id"])
    task = dataset.team_tasks.get(call.params["workforce_task_id"])
    if task is None:
        raise service.unknown("4619", call.params["workforce_task_id"])  # contract 7.3, unknown team task
    return dataset, task


def _worker(task: TeamTask, worker_id: str) -> dict[str, Any]:
    return {"email": task.workers[worker_id], "worker_id": worker_id, "role": 0}


def list_team_tasks(service: Store, call: Call) -> Reply:
    """`GET D/workforce-tasks` (contract 5.2)."""
    dataset = service.dataset(call.params["dataset_id"])
    part = window(call, service.variants, maximum=1000, default=1000)
    tasks = [
        _describe(dataset, task) | {"sample_stats": _sample_stats(task)}
        for task in part.cut(list(dataset.team_tasks.values()))
    ]
    return json_answer({**part.total("count", len(dataset.team_tasks), len(tasks)), "tasks": tasks})


def get_team_task(service: Store, call: Call) -> Reply:
    """`GET W` (contract 5.2)."""
    dataset, task = _find(service, call)
    body = _describe(dataset, task)
    if boolean(call, "sample_stats"):
        body["sample_stats"] = _sample_stats(task)
    if boolean(call, "label_stats"):
        body["label_stats"] = _label_stats(dataset, task)
    if boolean(call, "workforce_stats"):
        body["workforce_stats"] = {"workforce_count": 1, "labeler_count": len(task.workers), "reviewer_count": 0}
    return json_answer(body)


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


def _label_stats(dataset: Dataset, task: TeamTask) -> list[dict[str, Any]]:
    labels: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for copy in task.copies.values():
        names = [label["name"] for label in copy.labels if "name" in label]
        labels.update(names)
        samples.update(set(names))
    return [{**label, "count": labels[name], "sample_count": samples[name]} for name, label in dataset.labels.items()]


def _describe(dataset: Dataset, task: TeamTask) -> dict[str, Any]:
    return {
        "dataset_id": dataset.dataset_id,
        "task_id": task.task_id,
        "task_name": task.name,
        "status": task.status,
        "create_time": int(task.created * 1000),
        "update_time": int(task.created * 1000),
        "repetition": len(task.workers),
        "workforces_config": {
            "workforces": [
                {"workforce_id": task.workforce_id, "workers": [_worker(task, worker_id) for worker_id in task.workers]}
            ]
        },
        "synchronize_data": False,
        "synchronize_auto_labeling_data": False,
        "auto_sync_dataset": True,
    }


def _document(service: Store, dataset: Dataset, task: TeamTask, copy: Copy) -> dict[str, Any]:
    sample = dataset.samples[copy.sample_id]
    document = sample_document(dataset, sample, service.presigner, service.clock.now())
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


def list_team_samples(service: Store, call: Call) -> Reply:
    """`GET W/data-annotations/samples` (contract 5.2): each member's copy with its worker id."""
    dataset, task = _find(service, call)
    locale(call)
    part = window(call, service.variants)
    wanted = read_filter(call, service.clock.now())
    state = read_state(call)
    copies = [copy for copy in task.copies.values() if _is_in_state(copy, state)]
    documents = [_document(service, dataset, task, copy) for copy in copies]
    if wanted.matches is not None:
        documents = [document for document in documents if wanted.matches(document)]
    page = part.cut(documents[::-1] if part.newest_first else documents)
    return json_answer({**part.total("sample_count", len(documents), len(page)), "samples": processed(page, call)})


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


def get_team_sample(service: Store, call: Call) -> Reply:
    """`GET W/data-annotations/samples/{sample_id}` (contract 5.2), of one member or of the first who has it."""
    dataset, task = _find(service, call)
    locale(call)
    read_state(call)
    sample_id, worker_id = call.params["sample_id"], call.query.get("worker_id")
    for copy in task.copies.values():
        if copy.sample_id == sample_id and worker_id in (None, copy.worker_id):
            return json_answer(_document(service, dataset, task, copy))
    raise service.unknown("4420", sample_id)


def update_team_samples(service: Store, call: Call) -> Reply:
    """`PUT W/data-annotations/samples` (contract 5.2): as the owner's write, but only with existing labels."""
    body = call.json()
    dataset, task = _find(service, call)
    check_update(service, dataset, body)
    by_email = {email: worker_id for worker_id, email in task.workers.items()}
    email = body.get("email")
    if email is not None and email not in by_email:
        raise service.unknown("4604", email)

    def write(written: dict[str, Any]) -> Outcome:
        return _write(service, dataset, task, written, by_email.get(email) if email else None)

    return answer_batch(service, call, body["samples"], write)


def _write(service: Store, dataset: Dataset, task: TeamTask, written: dict[str, Any], member: str | None) -> Outcome:
    """Write one copy.

    :param member: worker id of the member on whose behalf; None: the dataset's owner writes.
    """
    sample_id = written["sample_id"]
    worker_id = written.get("worker_id") or member
    if worker_id is None and len(task.workers) == 1:
        worker_id = next(iter(task.workers))  # one member: there is no doubt whose copy it is
    copy = task.copies.get((sample_id, worker_id or ""))
    if copy is None:
        return failed("4420", sample_id)
    if member is not None and (copy.accepted or copy.worker_id != member):
        return failed("4600", sample_id)  # contract 10: an accepted sample is not editable by a member
    labels = labels_to_write(service, written)
    problem = find_problem(dataset, dataset.samples[sample_id], labels or [], written, only_known=True)
    if problem is not None:
        return problem
    keep_beside_labels(service, copy, written)
    if labels is not None:
        copy.labels = [dataset.stored(label) for label in labels]
        copy.author = f"human/{task.workers[copy.worker_id]}" if labels else ""
    return WRITTEN
