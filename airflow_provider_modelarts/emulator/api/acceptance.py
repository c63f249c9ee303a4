"""Judging what members have labeled: review by members, acceptance by the owner (contract 5.1, 5.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_provider_modelarts.emulator.api.team_samples import document, find_copy
from airflow_provider_modelarts.emulator.api.teams import check_role, find
from airflow_provider_modelarts.emulator.http import team_schema as shapes
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, json_reply
from airflow_provider_modelarts.emulator.http.query import LOCALES, choice
from airflow_provider_modelarts.emulator.http.schema import check
from airflow_provider_modelarts.emulator.state import team, team_work
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError
from airflow_provider_modelarts.emulator.state.team import Acceptance, Verdict

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Copy, TeamTask


def _read_comments(store: Store, call: Call, task: TeamTask) -> list[tuple[Copy, Verdict]]:
    """Return which copies a request judges, and how.

    :raises Refusal: 400 ModelArts.0104, or 4420 for a copy that is not there or not named without doubt.
    """
    body = call.json()
    check(body, shapes.COMMENTS, strict=store.variants.strict_requests)
    return [
        (
            find_copy(task, one["sample_id"], one.get("worker_id")),
            Verdict(one["accept"], one.get("comment", ""), one.get("score", "")),
        )
        for one in body["comments"]
    ]


def review_samples(store: Store, call: Call) -> Reply:
    """`POST W/data-annotations/review` (contract 5.2).

    All or nothing: one copy that is not labeled, and nothing is stored. What has been reviewed already stays, and the
    answer says so with HTTP 200.
    """
    _, task = find(store, call)
    comments = _read_comments(store, call, task)
    check_role(store, task, team.REVIEWER)
    if not task.reviewers:
        raise refuse("ModelArts.4600", "the team task has no reviewers")
    if task.status in team.ACCEPTING:
        raise refuse("ModelArts.4623", task.task_id)
    for copy, _ in comments:
        if not copy.labels or (copy.rejected and copy.review is None):
            raise refuse("ModelArts.4628", copy.sample_id)
    done = [copy.sample_id for copy, _ in comments if copy.review is not None or copy.accepted]
    for copy, verdict in comments:
        if copy.review is None and not copy.accepted:
            copy.review, copy.rejected = verdict, not verdict.accept
    if done:
        known = refuse("ModelArts.4606", done[0])
        return json_reply({"error_code": known.code, "error_msg": known.message})
    return json_reply({})


def start_acceptance(store: Store, call: Call) -> Reply:
    """`POST W/acceptance` (contract 5.2): status 7 while samples are drawn, then 2."""
    body = call.json()
    dataset, task = find(store, call)
    check(body, shapes.START_ACCEPTANCE, strict=store.variants.strict_requests)
    check_role(store, task)
    if task.status in team.ACCEPTING:
        raise refuse("ModelArts.4623", task.task_id)
    if not any(task.phase(copy) == "uncheck" for copy in task.copies.values()):
        raise refuse("ModelArts.4625", task.task_id)
    rate: float | None = body.get("sampling_rate")
    number: int = body.get("sampling_num", 0)

    def wanted(waiting: int) -> int:
        return math.ceil(rate * waiting) if rate is not None else number

    acceptance = Acceptance(store.new_id_in(dataset, "acceptance"), wanted, rate)
    task.acceptances.append(acceptance)
    task.pass_through(team.SAMPLING, store.clock.now(), store.team_seconds)
    return json_reply({"task_id": acceptance.task_id})


def _check_open(task: TeamTask) -> None:
    """Check that an acceptance waits for the owner's word.

    :raises Refusal: 403 ModelArts.4613 while samples are drawn, 400 4623 while results are carried over, 400 4625
        without an acceptance.
    """
    if task.status == team.SAMPLING:
        raise refuse("ModelArts.4613", task.task_id)
    if task.status == team.SYNCHRONIZING:
        raise refuse("ModelArts.4623", task.task_id)
    if task.status != team.IN_ACCEPTANCE:
        raise refuse("ModelArts.4625", task.task_id)


def comment_samples(store: Store, call: Call) -> Reply:
    """`POST W/acceptance/batch-comment` (contract 5.2): of sampled copies only; all or nothing."""
    _, task = find(store, call)
    comments = _read_comments(store, call, task)
    check_role(store, task)
    _check_open(task)
    for copy, _ in comments:
        if not copy.is_sampled:
            raise refuse("ModelArts.4420", copy.sample_id)
    for copy, verdict in comments:
        task.judge(copy, verdict)
    return json_reply({})


def get_report(store: Store, call: Call) -> Reply:
    """`GET W/acceptance/report` (contract 5.2); without `checking_task_id` that of the last one (quirk 39)."""
    _, task = find(store, call)
    check_role(store, task)
    wanted = call.query.get("checking_task_id")
    found = [one for one in task.acceptances if wanted in (None, one.task_id)]
    if not found:
        raise UnknownObjectError("ModelArts.4631", wanted or task.task_id)
    return json_reply({"checking_stats": found[-1].stats(), "total_stats": task.total_stats()})


def finish_acceptance(store: Store, call: Call) -> Reply:
    """`PUT W/acceptance/status` (contract 5.2): status 5 while results are carried over, then 3 or 4.

    `locale` may stand in the query or in the body (quirk 39).
    """
    body = call.json()
    dataset, task = find(store, call)
    check(body, shapes.FINISH_ACCEPTANCE, strict=store.variants.strict_requests)
    if not choice(call, "locale", ("", *LOCALES), "") and "locale" not in body:
        raise refuse("ModelArts.0104", "locale is missing")
    check_role(store, task)
    _check_open(task)
    action = body["action"]
    if action == team.LIST_CONFLICTS:
        acceptance = task.acceptances[-1]
        found = [task.copies[key] for key in acceptance.candidates if key in task.copies]
        documents = [document(store, dataset, task, copy) for copy in found if team_work.conflicts(dataset, copy)]
        return json_reply({"sample_count": len(documents), "samples": documents})
    if action == team.CANCEL:
        task.cancel()
    else:
        task.acceptances[-1].overwrite = body.get("overwrite_last_result", False)
        task.pass_through(team.SYNCHRONIZING, store.clock.now(), store.team_seconds)
    task.acceptances[-1].action = action
    return json_reply({})
