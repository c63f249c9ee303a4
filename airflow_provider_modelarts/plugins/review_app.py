"""The application of the review page: what may be seen, and by whom. It has no route that writes.

Every route depends on Airflow's own check of the right to see the human-in-the-loop tasks of that DAG. The answer goes
from the browser to Airflow's own API, which checks the right to answer, and writes its audit log.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 - FastAPI reads annotations when it runs
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.operators._uri_parameters import storage_errors, storage_path
from airflow_provider_modelarts.plugins.page_templates import PageTemplates
from airflow_provider_modelarts.plugins.pictures import Picture, PictureUnavailableError, fetch
from airflow_provider_modelarts.plugins.review_index import ReviewIndexes, digest_of
from airflow_provider_modelarts.plugins.review_page import BadFilterError, PageFilter, page_values, parse_number
from airflow_provider_modelarts.plugins.review_task import ReviewTask, TaskPlace, find_review_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_modelarts.plugins.review_index import ReviewIndex

Result = TypeVar("Result")

PICTURE_SECONDS = 86_400
"""How long a browser keeps a picture."""
_TASK = "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/"

# Threads of the page's own: a slow service or storage must not take those of Airflow's API.
_pictures_at_once = anyio.CapacityLimiter(8)
_plans_at_once = anyio.CapacityLimiter(2)
_indexes = ReviewIndexes()
_templates = PageTemplates()


class NothingToReviewError(Exception):
    """Why there is no plan to show; the text is for people.

    :param status: the HTTP status that says so
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(url_prefix: str) -> FastAPI:
    """Return the application.

    :param url_prefix: where Airflow mounts it
    """
    may_look = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.HITL_DETAIL))
    app = FastAPI(title="Review labels", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[may_look])
    app.state.url_prefix = url_prefix
    app.middleware("http")(_add_headers)
    app.add_exception_handler(NothingToReviewError, _show_nothing)
    app.add_exception_handler(PictureUnavailableError, _show_no_picture)
    app.get(_TASK)(show_page)
    app.get(_TASK + "state")(show_state)
    app.get(_TASK + "pictures/{digest}/{position}")(show_picture)
    return app


async def _add_headers(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await proceed(request)
    response.headers["Content-Security-Policy"] = _templates.content_policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def _show_nothing(_: Request, error: Exception) -> Response:
    return _templates.render("nothing.html", getattr(error, "status", 500), message=str(error))


def _show_no_picture(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), getattr(error, "status", 500))


def review_task(
    dag_id: str, run_id: str, task_id: str, map_index: str, user: GetUserDep, session: SessionDep
) -> ReviewTask:
    """Return the task that is looked at.

    :raises NothingToReviewError: if it has no plan
    """
    # Airflow's UI leaves the placeholder as it stands for a task that is not mapped.
    number = parse_number(map_index)
    place = TaskPlace(dag_id, run_id, task_id, -1 if number is None else number)
    task = find_review_task(session, place, user)
    session.close()  # plans and pictures may take long, and the whole API has a few connections to its database
    if task is None:
        raise NothingToReviewError(
            404,
            "There is no plan to review here. A plan is shown on the task that made it "
            "(ModelArtsPlanConfirmationOperator) and on the task that asks for approval (ModelArtsApprovalOperator), "
            "once they have run.",
        )
    return task


ReviewTaskDep = Annotated[ReviewTask, Depends(review_task)]


# --- routes


async def show_page(
    request: Request,
    task: ReviewTaskDep,
    label: str = "",
    decision: str = "",
    low: str = "",
    high: str = "",
    page: int = 0,
) -> Response:
    """Show the plan of a task: fifty proposals by label and score, and how to answer.

    :param label: as of :class:`PageFilter`, and so are the other filters
    :param page: number of the page, from 0
    """
    wanted = PageFilter(label, decision, low, high)
    airflow_url = request.scope["root_path"].removesuffix(request.app.state.url_prefix)
    return await _in_thread(_plans_at_once, _render_plan, task, wanted, max(page, 0), airflow_url)


async def show_state(task: ReviewTaskDep) -> Response:
    """Show whether an answer still makes sense: the plan that lies there now, and whether the task waits."""
    return JSONResponse(await _in_thread(_plans_at_once, _state_of, task))


async def show_picture(task: ReviewTaskDep, digest: str, position: str) -> Response:
    """Show the picture of a proposal.

    :param digest: the plan's, so that the browser keeps no picture of another plan
    :param position: number of the proposal in the plan, from 0
    """
    picture = await _in_thread(_pictures_at_once, _fetch_picture, task, digest, position)
    headers = {"Cache-Control": f"private, max-age={PICTURE_SECONDS}, immutable"}
    return Response(picture.content, media_type=picture.kind, headers=headers)


async def _in_thread(limiter: anyio.CapacityLimiter, work: Callable[..., Result], *args: Any) -> Result:
    return await anyio.to_thread.run_sync(work, *args, limiter=limiter)


# --- what the routes do in threads


def _render_plan(task: ReviewTask, wanted: PageFilter, page: int, airflow_url: str) -> Response:
    index = _load_plan(task)
    is_replaced = task.is_replaced or _digest_now(task) != index.digest
    try:
        values = page_values(task, index, wanted, page, is_replaced=is_replaced, airflow_url=airflow_url)
    except BadFilterError as error:
        raise NothingToReviewError(422, str(error)) from error
    return _templates.render("review.html", **values)


def _state_of(task: ReviewTask) -> dict[str, Any]:
    question = task.question
    return {
        "digest": None if task.is_replaced else _digest_now(task),
        "is_waiting": question is not None and question.is_waiting,
        "answered_by": None if question is None else question.answered_by,
    }


def _fetch_picture(task: ReviewTask, digest: str, position: str) -> Picture:
    """Return the picture of a proposal; samples that are not in the plan of the task have none."""
    number = parse_number(position)
    if digest != task.plan.plan_digest or number is None:
        raise PictureUnavailableError(404, "The plan has no such sample.")
    index = _load_plan(task)
    try:
        sample_id = index.read(number).sample.sample_id
    except IndexError:
        raise PictureUnavailableError(404, "The plan has no such sample.") from None
    hook = ModelArtsHook(task.plan.modelarts_conn_id, task.plan.project_id)
    return fetch(hook, task.plan.dataset_id, sample_id)


# --- the plan of a task


def _load_plan(task: ReviewTask) -> ReviewIndex:
    """Return the plan of a task, which must be the one that the task made."""
    path = _plan_path(task)
    with _failing(409, "The plan cannot be shown."), storage_errors("plan_uri", task.plan.plan_uri, "read"):
        index = _indexes.get(path, task.plan.plan_digest)
    if not _is_made_by(index, task):
        raise NothingToReviewError(403, "The plan cannot be shown: another task made it, or it is of another dataset.")
    return index


def _digest_now(task: ReviewTask) -> str | None:
    """Return the digest of the plan that lies there now; None if there is none."""
    path = _plan_path(task)
    with _failing(502, "The plan cannot be read now."), storage_errors("plan_uri", task.plan.plan_uri, "read"):
        return digest_of(path)


def _plan_path(task: ReviewTask) -> ObjectStoragePath:
    with _failing(502, "The plan cannot be read by Airflow's API server."):
        return storage_path("plan_uri", task.plan.plan_uri)


@contextmanager
def _failing(status: int, message: str) -> Iterator[None]:
    """Say on the page why a plan cannot be read."""
    try:
        yield
    except (ModelArtsError, ParameterError, OSError) as error:
        raise NothingToReviewError(status, f"{message} {error}") from error


def _is_made_by(index: ReviewIndex, task: ReviewTask) -> bool:
    """Whether the plan says of itself that this task made it, for the same dataset."""
    header, maker = index.header, task.plan_task
    ids = {"dag_id": maker.dag_id, "run_id": maker.run_id, "task_id": maker.task_id}
    return header.dataset_id == task.plan.dataset_id and all(header.made_by.get(name) == ids[name] for name in ids)
