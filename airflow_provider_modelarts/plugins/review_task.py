"""What Airflow's database says about a task that is looked at: its plan, and whether a person is still asked.

Nothing of this comes from the address of a page but the ids of DAG, run and task, for which the caller has checked the
right to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from airflow_provider_modelarts.operators._base import REVIEW_XCOM

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from sqlalchemy.orm import Session

_WAITING = frozenset({"awaiting_input", "deferred"})
"""States of a task that waits for an answer; Airflow before 3.3 knows the second only."""


class TaskPlace(NamedTuple):
    """One task of one run."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


class PlanPlace(msgspec.Struct, frozen=True):
    """What the task that made a plan says about it, in XCom ``modelarts_review``.

    :param plan_uri: where the plan lies, with the connection that leads there
    :param plan_digest: the digest of the plan that was made
    :param dataset_id: the dataset
    :param modelarts_conn_id: the connection by which the task reached the service
    :param project_id: takes the place of the connection's own project
    """

    plan_uri: str
    plan_digest: str
    dataset_id: str
    modelarts_conn_id: str
    project_id: str | None = None


class _AskedFor(msgspec.Struct, frozen=True):
    """What the task that asks a person says, in the XCom of the same name."""

    plan_task_id: str
    plan_digest: str


class Question(NamedTuple):
    """What a person is asked.

    :param subject: the headline
    :param options: what may be chosen
    :param inputs: names of what may be entered
    :param is_waiting: whether an answer still has an effect
    :param answered_by: who has answered; None: nobody
    :param chosen: what was answered
    :param may_answer: whether this user may answer, as far as can be known; Airflow decides when the answer comes
    """

    subject: str
    options: tuple[str, ...]
    inputs: tuple[str, ...]
    is_waiting: bool
    answered_by: str | None
    chosen: str
    may_answer: bool


class ReviewTask(NamedTuple):
    """A task that has a plan to look at.

    :param place: which task
    :param plan_task: the task that made the plan, which may be the same
    :param plan: where the plan lies
    :param asked_digest: the digest of the plan about which the person was asked; None: nobody is asked
    :param question: what is asked; None: nothing
    """

    place: TaskPlace
    plan_task: TaskPlace
    plan: PlanPlace
    asked_digest: str | None
    question: Question | None

    @property
    def is_replaced(self) -> bool:
        """Whether the plan was made again since the person was asked."""
        return self.asked_digest not in (None, self.plan.plan_digest)


def find_review_task(session: Session, place: TaskPlace, user: BaseUser) -> ReviewTask | None:
    """Return what is known of a task; None if it neither plans nor asks about a plan, or has not done so yet."""
    pushed = _xcom(session, place)
    asked = _converted(pushed, _AskedFor)
    if asked is None:
        plan = _converted(pushed, PlanPlace)
        return None if plan is None else ReviewTask(place, place, plan, None, None)
    # In a mapped task group both have one index; else a plan serves all who are asked.
    for map_index in dict.fromkeys((place.map_index, -1)):
        plan_task = place._replace(task_id=asked.plan_task_id, map_index=map_index)
        plan = _converted(_xcom(session, plan_task), PlanPlace)
        if plan is not None:
            return ReviewTask(place, plan_task, plan, asked.plan_digest, _question(session, place, user))
    return None


def _xcom(session: Session, place: TaskPlace) -> Any:
    query = XComModel.get_many(
        run_id=place.run_id,
        key=REVIEW_XCOM,
        task_ids=place.task_id,
        dag_ids=place.dag_id,
        map_indexes=place.map_index,
        limit=1,
    )
    row = session.scalars(query).first()
    return None if row is None else XComModel.deserialize_value(row)


def _converted(value: Any, kind: Any) -> Any:
    """Return an XCom as a record; None if it is none of that kind, as whoever may write XComs may write anything."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _question(session: Session, place: TaskPlace, user: BaseUser) -> Question | None:
    query = (
        select(TaskInstance)
        .where(
            TaskInstance.dag_id == place.dag_id,
            TaskInstance.run_id == place.run_id,
            TaskInstance.task_id == place.task_id,
            TaskInstance.map_index == place.map_index,
        )
        .options(joinedload(TaskInstance.hitl_detail))
    )
    instance = session.scalar(query)
    detail = None if instance is None else instance.hitl_detail
    if instance is None or detail is None:
        return None
    return Question(
        subject=detail.subject,
        options=tuple(detail.options),
        inputs=tuple(detail.params or ()),
        is_waiting=not detail.response_received and instance.state in _WAITING,
        answered_by=(detail.responded_by_user_name or "nobody, in time") if detail.response_received else None,
        chosen=", ".join(detail.chosen_options or ()),
        may_answer=_may_answer(place.dag_id, {one["id"] for one in detail.assigned_users}, user),
    )


def _may_answer(dag_id: str, assigned: set[str], user: BaseUser) -> bool:
    manager = get_auth_manager()
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return manager.is_authorized_dag(
        method="PUT", access_entity=DagAccessEntity.HITL_DETAIL, details=details, user=user
    ) and (not assigned or manager.is_authorized_hitl_task(assigned_users=assigned, user=user))
