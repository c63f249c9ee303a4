"""Team labeling tasks: created, given out, changed, deleted, and how far they are (contract 5, and 10, row "Team")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.samples import label_stats
from airflow_provider_modelarts.emulator.api.team_assignment import read_assignment, teams_of
from airflow_provider_modelarts.emulator.http import team_schema as shapes
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.filters import read_search, read_state
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, done, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import boolean
from airflow_provider_modelarts.emulator.http.schema import check
from airflow_provider_modelarts.emulator.state import team, team_work
from airflow_provider_modelarts.emulator.state.documents import sample_document
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError
from airflow_provider_modelarts.emulator.state.team import TeamTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Acceptance, Copy

SUPPORTED_TYPES = frozenset({0, 1, 100, 101, 102, 202})  # contract 5
MAIL_PAUSE = 60.0
"""Seconds between two mails to one member."""
# Contract 5.2: the counts of `sample_stats`, by the words of the statistics.
COUNTS = {
    "total": "total",
    "unannotated": "un_annotation",
    "unreviewed": "unreviewed",
    "uncheck": "uncheck",
    "sampled": "sampled",
    "rejected": "rejected",
    "accepted": "accepted",
    "auto_annotation": "auto_annotation",
}
PHASES = ("un_annotation", "rejected", "unreviewed", "accepted", "auto_annotation", "uncheck")


def find(store: Store, call: Call) -> tuple[Dataset, TeamTask]:
    """Return the dataset and the team task that a path names.

    :raises UnknownObjectError: there is no such thing (contract 7.3, "unknown object").
    """
    dataset = store.dataset(call.params["dataset_id"])
    task = dataset.team_tasks.get(call.params["workforce_task_id"])
    if task is None:
        raise UnknownObjectError("ModelArts.4619", call.params["workforce_task_id"])
    team_work.follow(task, dataset)
    return dataset, task


def check_role(store: Store, task: TeamTask, *roles: int) -> None:
    """Check that the caller may do something: the owner of the dataset may, and members of these roles.

    :raises Refusal: 403 ModelArts.4600.
    """
    if store.member is not None and not any(role in roles for role, _ in task.roles_of(store.member)):
        raise refuse("ModelArts.4600", store.member)


# --- creating, starting, changing


def create_team_task(store: Store, call: Call) -> Reply:
    """`POST D/workforce-tasks` (contract 5.2): with teams it starts at once, else it waits for its start."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, shapes.CREATE_TEAM_TASK, strict=store.variants.strict_requests)
    if store.member is not None:
        raise refuse("ModelArts.4804", store.member)
    if dataset.dataset_type not in SUPPORTED_TYPES:
        raise refuse("ModelArts.4383", dataset.dataset_type)
    name = body.get("task_name") or f"task-{dataset.made['team'] + 1}"
    _check_name(dataset, name)
    repetition = body.get("repetition", 1)
    assigned = read_assignment(store, call, body.get("workforces_config") or {}, repetition)
    options = team.OPTIONS | {flag: body[flag] for flag in team.OPTIONS if flag in body}
    options["synchronize_data"] |= body.get("data_sync_type") in (1, 3)
    conditions, wants = _conditions(store, dataset, body.get("sample_conditions"))
    now = store.clock.now()
    task = TeamTask(
        task_id=store.new_id_in(dataset, "team"),
        name=name,
        created=now,
        updated=now,
        workers={},
        copies={},
        description=body.get("description", ""),
        repetition=repetition,
        options=options,
        conditions=conditions,
        wants=wants,
        status=team.CREATED,
    )
    assigned.apply(task)
    dataset.team_tasks[task.task_id] = task
    if task.workers:
        _begin(store, dataset, task)
    return json_reply({"task_id": task.task_id})


def _check_name(dataset: Dataset, name: str, task: TeamTask | None = None) -> None:
    if any(other.name == name and other is not task for other in dataset.team_tasks.values()):
        raise refuse("ModelArts.4620", name)


def _conditions(
    store: Store, dataset: Dataset, text: str | None
) -> tuple[list[dict[str, Any]], Callable[[str], bool] | None]:
    """Return what `sample_conditions` says, as it is shown and as a condition on samples."""
    if not text:
        return [], None
    now = store.clock.now()
    condition = read_search(text, now)
    read = json.loads(text)

    def wants(sample_id: str) -> bool:
        return condition(sample_document(dataset, dataset.samples[sample_id], store.presigner, now))

    return read if isinstance(read, list) else [read], wants


def _begin(store: Store, dataset: Dataset, task: TeamTask) -> None:
    """Give the samples out and start."""
    task.distribute(one for one in dataset.samples if task.wants is None or task.wants(one))
    task.pass_through(team.STARTING, store.clock.now(), store.team_seconds)


def start_team_task(store: Store, call: Call) -> Reply:
    """`POST W` (contract 5.2): the manager whom `agency` names, or the owner, says who works on what."""
    body = call.json()
    dataset, task = find(store, call)
    check(body, shapes.START_TEAM_TASK, strict=store.variants.strict_requests)
    _check_ids(call, body)
    check_role(store, task, team.MANAGER)
    if task.status != team.CREATED:
        raise refuse("ModelArts.4621", f"status={task.status}")
    assigned = read_assignment(store, call, body["workforces_config"], task.repetition)
    if not assigned.teams:
        raise refuse("ModelArts.4621", "there are no labelers")
    assigned.apply(task)
    _begin(store, dataset, task)
    return json_reply({})


def _check_ids(call: Call, body: dict[str, Any]) -> None:
    """Refuse a body that names another dataset or task than the path."""
    for name, param in (("dataset_id", "dataset_id"), ("task_id", "workforce_task_id")):
        if body.get(name) not in (None, call.params[param]):
            raise refuse("ModelArts.0104", f"{name}={body[name]}")


def update_team_task(store: Store, call: Call) -> Reply:
    """`PUT W` (contract 5.2): name, description, and who takes part in what is given out from now on."""
    body = call.json()
    dataset, task = find(store, call)
    check(body, shapes.UPDATE_TEAM_TASK, strict=store.variants.strict_requests)
    _check_ids(call, body)
    check_role(store, task)
    name = body.get("task_name", task.name)
    _check_name(dataset, name, task)
    config = body.get("workforces_config")
    if config is not None:
        _reassign(store, call, task, config)
    task.name, task.description = name, body.get("description", task.description)
    task.updated = store.clock.now()
    return json_reply({})


def _reassign(store: Store, call: Call, task: TeamTask, config: dict[str, Any]) -> None:
    """Change who works on a task; nobody goes who has unfinished work."""
    if task.status in team.ACCEPTING:
        raise refuse("ModelArts.4623", task.task_id)
    assigned = read_assignment(store, call, config, task.repetition)
    if task.status == team.CREATED:
        if assigned.teams:
            raise refuse("ModelArts.0104", "a task that has not started gets its teams with its start")
        assigned.apply(task)
        return
    if not assigned.teams:
        raise refuse("ModelArts.4621", "there are no labelers")
    for worker_id, email in task.workers.items():
        is_gone = worker_id not in assigned.people[team.LABELER]
        if is_gone and any(not copy.accepted for copy in task.of(worker_id)):
            raise refuse("ModelArts.4628", email)
    assigned.apply(task)


def delete_team_task(store: Store, call: Call) -> Reply:
    """`DELETE W` (contract 5.2): results that were not accepted are lost, accepted labels stay (contract 5.1)."""
    dataset, task = find(store, call)
    check_role(store, task)
    del dataset.team_tasks[task.task_id]
    return done(with_body=store.variants.body_with_204)


def notify_members(store: Store, call: Call) -> Reply:
    """`POST W/notify` (contract 5.2): a second mail to somebody within a minute is 400 ModelArts.4627."""
    body = call.json()
    _, task = find(store, call)
    check(body, shapes.NOTIFY, strict=store.variants.strict_requests)
    check_role(store, task, team.MANAGER)
    now = store.clock.now()
    people = {*task.workers.values(), *task.reviewers.values(), task.agency}
    for email in body["emails"]:
        if email not in people:
            raise UnknownObjectError("ModelArts.4604", email)
        if now - task.mailed.get(email, -MAIL_PAUSE) < MAIL_PAUSE:
            raise refuse("ModelArts.4627", email)
    task.mailed |= dict.fromkeys(body["emails"], now)
    for workforce in teams_of(store, call).values():
        for one in workforce.workers.values():
            if one.email in body["emails"]:
                one.status = max(one.status, team.INVITED)
    return json_reply({"success": True})


# --- reading


def list_team_tasks(store: Store, call: Call) -> Reply:
    """`GET D/workforce-tasks` (contract 5.2)."""
    dataset = store.dataset(call.params["dataset_id"])
    page = read_page(call, store.variants, maximum=1000, default=1000)
    shown = page.cut(list(dataset.team_tasks.values()))
    for task in shown:
        team_work.follow(task, dataset)
    tasks = [
        _describe(dataset, task) | {"sample_stats": sample_stats(task), "workforce_stats": _workforce_stats(task)}
        for task in shown
    ]
    return json_reply({**page.total("count", len(dataset.team_tasks), len(tasks)), "tasks": tasks})


def get_team_task(store: Store, call: Call) -> Reply:
    """`GET W` (contract 5.2)."""
    dataset, task = find(store, call)
    body = _describe(dataset, task)
    if boolean(call, "sample_stats"):
        body["sample_stats"] = sample_stats(task)
    if boolean(call, "label_stats"):
        body["label_stats"] = label_stats(dataset, task.copies.values())
    if boolean(call, "workforce_stats"):
        body["workforce_stats"] = _workforce_stats(task)
        people = [(team.LABELER, task.workers), (team.REVIEWER, task.reviewers)]
        body["worker_stats"] = [
            worker_task(dataset, task, worker_id, role) for role, group in people for worker_id in group
        ]
    return json_reply(body)


def sample_stats(task: TeamTask, worker_id: str | None = None) -> dict[str, int]:
    """Return SampleStats of a team task, or of one member's copies (contract 5.2)."""
    counts = task.counts(task.of(worker_id))
    return {
        **{f"{name}_sample_count": counts[word] for name, word in COUNTS.items()},
        "deleted_sample_count": task.deleted,
    }


def _workforce_stats(task: TeamTask) -> dict[str, int]:
    return {
        "workforce_count": len(task.teams),
        "labeler_count": len(task.workers),
        "reviewer_count": len(task.reviewers),
    }


def worker_task(dataset: Dataset, task: TeamTask, worker_id: str, role: int) -> dict[str, Any]:
    """Return WorkerTask (contract 5.3): a team task as one of its members sees it."""
    email = (task.workers | task.reviewers).get(worker_id, task.agency)
    mailed = task.mailed.get(email)
    return {
        "email": email,
        "worker_id": worker_id,
        "role": role,
        "task_id": task.task_id,
        "workforce_task_name": task.name,
        "dataset_id": dataset.dataset_id,
        "dataset_type": dataset.dataset_type,
        "task_status": task.status,
        # A reviewer or manager is about everybody's copies.
        "sample_stats": sample_stats(task, worker_id if role == team.LABELER else None),
        "email_status": team.MAIL_NOT_SENT if mailed is None else team.MAIL_SENT,
        "last_notify_time": int((mailed or 0) * 1000),
        "create_time": int(task.created * 1000),
        "update_time": int(task.updated * 1000),
    }


def _describe(dataset: Dataset, task: TeamTask) -> dict[str, Any]:
    config: dict[str, Any] = {"agency": task.agency} if task.agency else {}
    if task.teams:
        config["workforces"] = [
            {"workforce_id": workforce_id, "workforce_name": name, "workers": workers}
            for workforce_id, (name, workers) in task.teams.items()
        ]
    return {
        "dataset_id": dataset.dataset_id,
        "task_id": task.task_id,
        "task_name": task.name,
        "status": task.status,
        "description": task.description,
        "create_time": int(task.created * 1000),
        "update_time": int(task.updated * 1000),
        "repetition": task.repetition,
        "workforces_config": config,
        **task.options,
        **({"sample_search_conditions": task.conditions} if task.conditions else {}),
        **({"checking_task_desc": _checking(task, task.acceptances[-1])} if task.acceptances else {}),
    }


def _checking(task: TeamTask, acceptance: Acceptance) -> dict[str, Any]:
    return {
        "checking_task_id": acceptance.task_id,
        **({} if acceptance.action is None else {"action": acceptance.action}),
        "overwrite_last_result": acceptance.overwrite,
        "checking_stats": acceptance.stats(),
        "total_stats": task.total_stats(),
    }


def get_team_stats(store: Store, call: Call) -> Reply:
    """`GET W/data-annotations/stats` (contract 5.2), of the copies that `sample_state` asks for."""
    dataset, task = find(store, call)
    state = read_state(call)
    copies = [copy for copy in task.copies.values() if task.is_in_state(copy, state)]
    counts = task.counts(copies)
    hard = sum(_is_hard(dataset, copy) for copy in copies)
    return json_reply(
        {
            "label_stats": label_stats(dataset, copies),
            "sample_stats": {word: counts[word] for word in (*PHASES, "total")},
            "key_sample_stats": {"total": len(copies), "non_key_sample": len(copies) - hard, "key_sample": hard},
            "metadata_stats": {},
            "data_spliting_enable": False,  # quirk 46: spelled so
        }
    )


def _is_hard(dataset: Dataset, copy: Copy) -> bool:
    metadata = (dataset.samples[copy.sample_id].metadata or {}) | (copy.metadata or {})
    return bool(metadata.get("@modelarts:hard"))


def get_metrics(store: Store, call: Call) -> Reply:
    """`GET W/metrics` (contract 5.2): how far each labeler is, by e-mail address."""
    _, task = find(store, call)
    counts = {email: task.counts(task.of(worker_id)) for worker_id, email in task.workers.items()}
    return json_reply(
        {"sample_stats": {email: {word: found[word] for word in PHASES} for email, found in counts.items()}}
    )
