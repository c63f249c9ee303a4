"""Team labeling: one task, a copy of each sample per member (contract 5, and 10, row "Team")."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.confirm import (
    WRITTEN,
    Outcome,
    answer_batch,
    failed,
    find_problem,
    labels_to_write,
)
from airflow_provider_modelarts.emulator.errors import refuse
from airflow_provider_modelarts.emulator.filters import read_filter
from airflow_provider_modelarts.emulator.paging import window
from airflow_provider_modelarts.emulator.render import sample_document
from airflow_provider_modelarts.emulator.schema import UPDATE_SAMPLES, check
from airflow_provider_modelarts.emulator.state import PUBLISHING, Dataset
from airflow_provider_modelarts.emulator.web import Answer, Call, json_answer

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.service import Service

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


def _find(service: Service, call: Call) -> tuple[Dataset, TeamTask]:
    dataset = service.dataset(call.params["dataset_id"])
    task = dataset.team_tasks.get(call.params["workforce_task_id"])
    if task is None:
        raise service.unknown("4619", call.params["workforce_task_id"])  # contract 7.3, unknown team task
    return dataset, task


def _worker(task: TeamTask, worker_id: str) -> dict[str, Any]:
    return {"email": task.workers[worker_id], "worker_id": worker_id, "role": 0}


def list_team_tasks(service: Service, call: Call) -> Answer:
    """`GET D/workforce-tasks` (contract 5.2)."""
    dataset = service.dataset(call.params["dataset_id"])
    part = window(call, service.variants, maximum=1000, default=1000)
    tasks = [_describe(dataset, task) for task in part.cut(list(dataset.team_tasks.values()))]
    return json_answer({**part.total("count", len(dataset.team_tasks), len(tasks)), "tasks": tasks})


def get_team_task(service: Service, call: Call) -> Answer:
    """`GET W` (contract 5.2)."""
    return json_answer(_describe(*_find(service, call)))


def _describe(dataset: Dataset, task: TeamTask) -> dict[str, Any]:
    counts = Counter("accepted" if copy.accepted else bool(copy.labels) for copy in task.copies.values())
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
        "sample_stats": {
            "total_sample_count": len(task.copies),
            "unannotated_sample_count": counts[False],
            "unreviewed_sample_count": 0,
            "uncheck_sample_count": counts[True],
            "sampled_sample_count": 0,
            "rejected_sample_count": 0,
            "accepted_sample_count": counts["accepted"],
            "auto_annotation_sample_count": 0,
        },
    }


def _document(service: Service, dataset: Dataset, task: TeamTask, copy: Copy) -> dict[str, Any]:
    sample = dataset.samples[copy.sample_id]
    document = sample_document(dataset, sample, service.presigner, service.clock.now())
    return document | {
        "labels": copy.labels,
        "sample_status": "MANUAL_ANNOTATION" if copy.labels else "UN_ANNOTATION",
        "annotated_by": copy.author,
        "worker_id": copy.worker_id,
        "labelers": [_worker(task, copy.worker_id)],
    }


def list_team_samples(service: Service, call: Call) -> Answer:
    """`GET W/data-annotations/samples` (contract 5.2): each member's copy with its worker id."""
    dataset, task = _find(service, call)
    part = window(call, service.variants)
    wanted = read_filter(call, service.clock.now())
    documents = [_document(service, dataset, task, copy) for copy in task.copies.values()]
    if wanted.matches is not None:
        documents = [document for document in documents if wanted.matches(document)]
    page = part.cut(documents[::-1] if part.newest_first else documents)
    return json_answer({**part.total("sample_count", len(documents), len(page)), "samples": page})


def get_team_sample(service: Service, call: Call) -> Answer:
    """`GET W/data-annotations/samples/{sample_id}` (contract 5.2), of one member or of the first who has it."""
    dataset, task = _find(service, call)
    sample_id, worker_id = call.params["sample_id"], call.query.get("worker_id")
    for copy in task.copies.values():
        if copy.sample_id == sample_id and worker_id in (None, copy.worker_id):
            return json_answer(_document(service, dataset, task, copy))
    raise service.unknown("4420", sample_id)


def update_team_samples(service: Service, call: Call) -> Answer:
    """`PUT W/data-annotations/samples` (contract 5.2): as the owner's write, but only with existing labels."""
    body = call.json()
    dataset, task = _find(service, call)
    check(body, UPDATE_SAMPLES[service.variants.score], strict=service.variants.strict_requests)
    if dataset.status == PUBLISHING:
        raise refuse("4381")
    by_email = {email: worker_id for worker_id, email in task.workers.items()}
    email = body.get("email")
    if email is not None and email not in by_email:
        raise service.unknown("4604", email)

    def write(written: dict[str, Any]) -> Outcome:
        return _write(service, dataset, task, written, by_email.get(email) if email else None)

    return answer_batch(service, call, body["samples"], write)


def _write(service: Service, dataset: Dataset, task: TeamTask, written: dict[str, Any], member: str | None) -> Outcome:
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
    if labels is not None:
        copy.labels = [dataset.stored(label) for label in labels]
        copy.author = f"human/{task.workers[copy.worker_id]}" if labels else ""
    return WRITTEN
