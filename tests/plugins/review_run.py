"""A run of a DAG whose plan a person is asked about, as the tests of the review page see it."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from starlette.testclient import TestClient

from airflow_provider_modelarts.labeling.plan.plan_file import read_plan
from airflow_provider_modelarts.operators._base import REVIEW_XCOM
from airflow_provider_modelarts.operators.approval import ModelArtsApprovalOperator
from airflow_provider_modelarts.operators.samples import ModelArtsPlanConfirmationOperator
from tests.support.dag_runner import run_dag

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan

ROLES = {"ada": "ADMIN", "vera": "VIEWER"}
# Before Airflow 3.3 a task that waits for a person is deferred.
WAITING = getattr(TaskInstanceState, "AWAITING_INPUT", TaskInstanceState.DEFERRED)
NOTHING_REJECTED = {"reject_samples": [], "reject_labels": []}


class ReviewRun:
    """One run: its plan is made, and its task ``approve`` waits for an answer.

    :param folder: where the plan lies.
    :param plan: further arguments of the task that plans.
    """

    def __init__(self, site: Any, emulator: Emulator, folder: Path, dataset_id: str, plan: dict[str, Any]) -> None:
        self.site, self.emulator, self.folder, self.dataset_id = site, emulator, folder, dataset_id
        self.dag_id = f"review_{uuid4().hex}"
        self.file = folder / "plan.jsonl"
        with DAG(self.dag_id, schedule=None) as dag:
            planned = ModelArtsPlanConfirmationOperator(
                task_id="plan", dataset_id=dataset_id, plan_uri=f"file://{self.file}", **plan
            )
            self.approve = ModelArtsApprovalOperator(task_id="approve", plan=planned.output, ask_audit=True)
        outcome = run_dag(dag, approved="approve")
        assert outcome.state == "success", outcome.log
        self.run_id = outcome.run_id
        self.place: dict[str, Any] = outcome.tasks["plan"].xcoms[REVIEW_XCOM]
        self._ask()

    def _ask(self) -> None:
        """Do what the task does when it asks: ``tests/soak/soak_review.py`` lets Airflow itself do it."""
        self.push("approve", {"plan_task_id": "plan", "plan_digest": self.place["plan_digest"]})
        with create_session() as session:
            instance = self._instance(session)
            instance.state = WAITING
            session.add(
                HITLDetail(
                    ti_id=instance.id,
                    options=self.approve.options,
                    subject=self.approve.subject,
                    params=self.approve.serialized_params,
                )
            )

    def _instance(self, session: Any) -> Any:
        query = select(TaskInstance).where(TaskInstance.dag_id == self.dag_id, TaskInstance.task_id == "approve")
        return session.scalars(query).one()

    def push(self, task_id: str, value: Any) -> None:
        """Store what a task pushes for the page."""
        with create_session() as session:
            XComModel.set(REVIEW_XCOM, value, dag_id=self.dag_id, task_id=task_id, run_id=self.run_id, session=session)

    def set_state(self, state: str) -> None:
        """Let the task that asks be in another state."""
        with create_session() as session:
            self._instance(session).state = state

    @property
    def plan(self) -> Plan:
        return read_plan(self.file)

    @property
    def page(self) -> str:
        return f"/modelarts-review/dags/{self.dag_id}/runs/{self.run_id}/tasks/approve/-1/"

    @property
    def answer_path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/approve/-1/hitlDetails"

    def client(self, user: str | None = "ada") -> TestClient:
        """Return a browser of a user; None: of nobody who has logged in."""
        client = TestClient(self.site, raise_server_exceptions=False)
        if user is not None:
            token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=user, role=ROLES[user]))
            client.cookies.set("_token", token)
        return client

    def get(self, path: str = "", *, user: str | None = "ada", **query: Any) -> Any:
        """Ask for a path below the page's."""
        return self.client(user).get(self.page + path, params=query)

    def answer(self, option: str = "Approve", *, user: str = "ada", **inputs: Any) -> Any:
        """Answer as the page's script does."""
        body = {"chosen_options": [option], "params_input": {**NOTHING_REJECTED, **inputs}}
        return self.client(user).patch(self.answer_path, json=body)


def shown_ids(text: str) -> list[str]:
    """Return the ids of the samples on a page, in its order."""
    return [json.loads(html.unescape(one)) for one in re.findall(r"data-sample='([^']*)'", text)]
