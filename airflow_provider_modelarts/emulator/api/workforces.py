"""Teams and their members (contract 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import reply_to_batch
from airflow_provider_modelarts.emulator.api.team_assignment import teams_of
from airflow_provider_modelarts.emulator.api.teams import worker_task
from airflow_provider_modelarts.emulator.http import team_schema as shapes
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, done, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import choice, integer
from airflow_provider_modelarts.emulator.http.schema import check
from airflow_provider_modelarts.emulator.state import team, team_work
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError
from airflow_provider_modelarts.emulator.state.team import Worker, Workforce

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.emulator.state.dataset import Dataset
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import TeamTask

MOST_TEAMS = 10  # contract 5
MOST_WORKERS = 100


def _find_team(store: Store, call: Call) -> Workforce:
    workforce = teams_of(store, call).get(call.params["workforce_id"])
    if workforce is None:
        raise UnknownObjectError("ModelArts.4601", call.params["workforce_id"])
    return workforce


def _find_worker(workforce: Workforce, worker_id: str) -> Worker:
    worker = workforce.workers.get(worker_id)
    if worker is None:
        raise UnknownObjectError("ModelArts.4604", worker_id)
    return worker


def _check_caller(store: Store, workforce: Workforce | None = None) -> None:
    """Check that the caller may change teams, or the members of one team: the owner may, and that team's manager.

    :raises Refusal: 401 ModelArts.4630.
    """
    if store.member is None:
        return
    own = workforce.workers.values() if workforce else ()
    if not any(one.email == store.member and one.role == team.MANAGER for one in own):
        raise refuse("ModelArts.4630", store.member)


def _team_tasks(store: Store, call: Call) -> Iterable[tuple[Dataset, TeamTask]]:
    """Return all team tasks of the project that a path names, with their datasets."""
    if call.params["project_id"] == store.identity.project_id:
        for dataset_id in list(store.datasets):
            dataset = store.dataset(dataset_id)
            for task in dataset.team_tasks.values():
                team_work.follow(task, dataset)
                yield dataset, task


# --- teams


def list_workforces(store: Store, call: Call) -> Reply:
    """`GET P/workforces` (contract 5.3)."""
    by_name = choice(call, "sort_by", ("create_time", "workforce_name"), "create_time") == "workforce_name"
    page = read_page(call, store.variants)
    text, task_id = call.query.get("search_content", ""), call.query.get("workforce_task_id")
    found = [one for one in teams_of(store, call).values() if text in one.name]
    if task_id:
        wanted = {team_id for _, task in _team_tasks(store, call) if task.task_id == task_id for team_id in task.teams}
        found = [one for one in found if one.workforce_id in wanted]
    if by_name:
        found.sort(key=lambda one: one.name)
    shown = [one.document() for one in page.cut(found)]
    return json_reply({**page.total("total_number", len(found), len(shown)), "workforces": shown})


def create_workforce(store: Store, call: Call) -> Reply:
    """`POST P/workforces` (contract 5.3): 201; at most ten teams, each with a name of its own (4602)."""
    body = call.json()
    check(body, shapes.CREATE_WORKFORCE, strict=store.variants.strict_requests)
    _check_caller(store)
    known = teams_of(store, call)
    _check_name(known, body["workforce_name"])
    if len(known) >= MOST_TEAMS:
        raise refuse("ModelArts.0118", f"{MOST_TEAMS} teams")
    workforce_id = store.new_workforce_id()
    now = store.clock.now()
    known[workforce_id] = Workforce(workforce_id, body["workforce_name"], now, body.get("description", ""))
    return json_reply({"workforce_id": workforce_id}, status=201)


def _check_name(known: dict[str, Workforce], name: str, workforce: Workforce | None = None) -> None:
    if any(one.name == name and one is not workforce for one in known.values()):
        raise refuse("ModelArts.4602", name)


def get_workforce(store: Store, call: Call) -> Reply:
    """`GET P/workforces/{id}` (contract 5.3)."""
    return json_reply(_find_team(store, call).document())


def update_workforce(store: Store, call: Call) -> Reply:
    """`PUT P/workforces/{id}` (contract 5.3)."""
    body = call.json()
    workforce = _find_team(store, call)
    check(body, shapes.UPDATE_WORKFORCE, strict=store.variants.strict_requests)
    _check_caller(store)
    name = body.get("workforce_name", workforce.name)
    _check_name(teams_of(store, call), name, workforce)
    workforce.name, workforce.description = name, body.get("description", workforce.description)
    workforce.updated = store.clock.now()
    return json_reply({})


def delete_workforce(store: Store, call: Call) -> Reply:
    """`DELETE P/workforces/{id}` (contract 5.3): not while it takes part in a team task that is not passed (4603)."""
    workforce = _find_team(store, call)
    _check_caller(store)
    busy = (task for _, task in _team_tasks(store, call) if task.status != team.PASSED)
    found = next((task.task_id for task in busy if workforce.workforce_id in task.teams), None)
    if found is not None:
        raise refuse("ModelArts.4603", found)
    del teams_of(store, call)[workforce.workforce_id]
    return done(with_body=store.variants.body_with_204)


# --- members


def _page_of_workers(store: Store, call: Call, workers: list[Worker]) -> Reply:
    by_email = choice(call, "sort_by", ("create_time", "email"), "create_time") == "email"
    page = read_page(call, store.variants)
    if by_email:
        workers = sorted(workers, key=lambda one: one.email)
    shown = [one.document() for one in page.cut(workers)]
    return json_reply({**page.total("total_number", len(workers), len(shown)), "workers": shown})


def list_workers(store: Store, call: Call) -> Reply:
    """`GET P/workforces/{id}/workers` (contract 5.3)."""
    return _page_of_workers(store, call, list(_find_team(store, call).workers.values()))


def list_all_workers(store: Store, call: Call) -> Reply:
    """`GET P/workforces/workers` (contract 5.3): members of all teams with one role, labelers by default."""
    role = integer(call, "role") or team.LABELER
    if role not in (team.LABELER, team.REVIEWER, team.MANAGER):
        raise refuse("ModelArts.0104", f"role={role}")
    everybody = [one for workforce in teams_of(store, call).values() for one in workforce.workers.values()]
    found = sorted((one for one in everybody if one.role == role), key=lambda one: one.created)
    return _page_of_workers(store, call, found)


def create_worker(store: Store, call: Call) -> Reply:
    """`POST P/workforces/{id}/workers` (contract 5.3): 201 without an id (quirk 40).

    At most 100 members, each address once (4605), one manager (4617).
    """
    body = call.json()
    workforce = _find_team(store, call)
    check(body, shapes.CREATE_WORKER, strict=store.variants.strict_requests)
    _check_caller(store, workforce)
    if any(one.email == body["emails"] for one in workforce.workers.values()):
        raise refuse("ModelArts.4605", body["emails"])
    role = int(body["role"])
    _check_manager(workforce, role)
    if len(workforce.workers) >= MOST_WORKERS:
        raise refuse("ModelArts.0118", f"{MOST_WORKERS} members")
    workforce.add(store.seed, body["emails"], role, store.clock.now(), body.get("description", ""))
    return json_reply({}, status=201)


def _check_manager(workforce: Workforce, role: int, worker: Worker | None = None) -> None:
    others = (one for one in workforce.workers.values() if one is not worker)
    if role == team.MANAGER and any(one.role == team.MANAGER for one in others):
        raise refuse("ModelArts.4617", workforce.workforce_id)


def get_worker(store: Store, call: Call) -> Reply:
    """`GET P/workforces/{id}/workers/{worker_id}` (contract 5.3)."""
    return json_reply(_find_worker(_find_team(store, call), call.params["worker_id"]).document())


def update_worker(store: Store, call: Call) -> Reply:
    """`PUT P/workforces/{id}/workers/{worker_id}` (contract 5.3)."""
    body = call.json()
    workforce = _find_team(store, call)
    worker = _find_worker(workforce, call.params["worker_id"])
    check(body, shapes.UPDATE_WORKER, strict=store.variants.strict_requests)
    _check_caller(store, workforce)
    role = body.get("role", worker.role)
    _check_manager(workforce, role, worker)
    worker.role, worker.description = role, body.get("description", worker.description)
    worker.updated = store.clock.now()
    return json_reply({})


def _remove(store: Store, call: Call, workforce: Workforce, worker_id: str) -> None:
    """Take a member out of a team: not oneself (4618), and nobody with unfinished work (4628)."""
    worker = _find_worker(workforce, worker_id)
    if worker.email == store.member:
        raise refuse("ModelArts.4618", worker.email)
    for _, task in _team_tasks(store, call):
        is_own = worker_id in task.workers and workforce.workforce_id in task.teams
        if is_own and any(not copy.accepted for copy in task.of(worker_id)):
            raise refuse("ModelArts.4628", worker.email)
    del workforce.workers[worker_id]


def delete_worker(store: Store, call: Call) -> Reply:
    """`DELETE P/workforces/{id}/workers/{worker_id}` (contract 5.3)."""
    workforce = _find_team(store, call)
    _check_caller(store, workforce)
    _remove(store, call, workforce, call.params["worker_id"])
    return done(with_body=store.variants.body_with_204)


def delete_workers(store: Store, call: Call) -> Reply:
    """`POST P/workforces/{id}/workers/batch-delete` (contract 5.3): a result for each, in the order of the request."""
    body = call.json()
    workforce = _find_team(store, call)
    check(body, shapes.DELETE_WORKERS, strict=store.variants.strict_requests)
    _check_caller(store, workforce)
    # An injected fault names a member as it names a sample.
    named = [{"sample_id": worker_id} for worker_id in body["workers"]]

    def remove(one: dict[str, Any]) -> None:
        try:
            _remove(store, call, workforce, one["sample_id"])
        except UnknownObjectError as unknown:
            raise refuse(unknown.code, unknown.name) from None

    return reply_to_batch(store, call, named, remove)


def list_worker_tasks(store: Store, call: Call) -> Reply:
    """`GET P/workforces/worker-tasks` (contract 5.3): team tasks of the calling member; the owner has none."""
    by_name = choice(call, "sort_by", ("create_time", "workforce_task_name"), "create_time") != "create_time"
    page = read_page(call, store.variants)
    text = call.query.get("search_content", "")
    found = [
        worker_task(dataset, task, worker_id, role)
        for dataset, task in _team_tasks(store, call)
        for role, worker_id in task.roles_of(store.member or "")
        if text in task.name
    ]
    found.sort(key=lambda one: one["workforce_task_name" if by_name else "create_time"])
    shown = page.cut(found)
    return json_reply({**page.total("count", len(found), len(shown)), "worker_tasks": shown})
