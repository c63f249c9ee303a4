"""The application of the review page: what may be seen, and by whom. It has no route that writes.

Every route depends on Airflow's own check of the right to see the human-in-the-loop tasks of that DAG. The answer goes
from the browser to Airflow's own API, which checks the right to answer, and writes its audit log.
"""

from __future__ import annotations

import math
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import anyio
import anyio.to_thread
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 - FastAPI reads annotations when it runs
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.plan.plan_file import ACTIONS
from airflow_provider_modelarts.labeling.plan.summary import REASONS, RULES
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._approval import AUDIT_ANSWERS
from airflow_provider_modelarts.plugins.boxes import boxes_of
from airflow_provider_modelarts.plugins.pictures import PictureUnavailableError, fetch
from airflow_provider_modelarts.plugins.review_index import Choice, ReviewIndexes, digest_of
from airflow_provider_modelarts.plugins.review_task import ReviewTask, TaskPlace, find_review_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_modelarts.plugins.review_index import ReviewIndex, ShownSample

Result = TypeVar("Result")

PAGE = 50
"""Samples on one page."""
KEEP_SECONDS = 86_400
_DIGITS = 9
_AUDIT_RULE = "audit_sample"
_TASK = "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/"
_TEMPLATES = Path(__file__).parent / "templates"
_TITLES = {"confirm": "confirm", "review": "review by people", "leave": "leave alone"}

# Threads of the page's own: a slow service or storage must not take those of Airflow's API.
_pictures_at_once = anyio.CapacityLimiter(8)
_plans_at_once = anyio.CapacityLimiter(2)
_indexes = ReviewIndexes()


class NothingToReviewError(Exception):
    """Why there is no plan to show; the text is for people.

    :param status: the HTTP status that says so
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ShownLabel(NamedTuple):
    """A label in the list beside a picture: its name as it is, and its score as text, empty without one."""

    name: str
    score: str


class _Pages:
    """The page's templates, and the header field that lets a browser run its script and nothing else."""

    def __init__(self) -> None:
        script, style = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("review.js", "review.css"))
        self._templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
        self._templates.globals.update(script=Markup(script), style=Markup(style))  # noqa: S704 - files of this package
        self.policy = "; ".join(
            (
                "default-src 'none'",
                "img-src 'self'",
                "connect-src 'self'",
                "form-action 'self'",
                "frame-ancestors 'self'",
                "base-uri 'none'",
                f"script-src '{_hash(script)}'",
                f"style-src '{_hash(style)}'",
            )
        )

    def render(self, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page; half a surrogate pair, which no page can hold, becomes a question mark."""
        text = self._templates.get_template(name).render(**values)
        return HTMLResponse(text.encode("utf-8", "replace"), status)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


_pages = _Pages()


def make_app(url_prefix: str) -> FastAPI:
    """Return the application.

    :param url_prefix: where Airflow mounts it
    """
    look = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.HITL_DETAIL))
    app = FastAPI(title="Review labels", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[look])
    app.state.url_prefix = url_prefix
    app.middleware("http")(_add_headers)
    app.add_exception_handler(NothingToReviewError, _show_nothing)
    app.add_exception_handler(PictureUnavailableError, _show_no_picture)
    app.get(_TASK)(show_page)
    app.get(_TASK + "state")(show_state)
    app.get(_TASK + "pictures/{digest}/{position}")(show_picture)
    return app


def review_task(
    dag_id: str, run_id: str, task_id: str, map_index: str, user: GetUserDep, session: SessionDep
) -> ReviewTask:
    """Return the task that is looked at.

    :raises NothingToReviewError: if it has no plan
    """
    # Airflow's UI leaves the placeholder as it stands for a task that is not mapped.
    number = _number(map_index)
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

    :param label: only the label with this number in the plan's list of labels; empty: all
    :param decision: ``confirm``, ``review`` or ``leave``; empty: all
    :param low: lowest score; empty: any
    :param high: highest score; empty: any
    :param page: number of the page, from 0
    """
    wanted = {"label": label, "decision": decision, "low": low, "high": high}
    url = request.scope["root_path"].removesuffix(request.app.state.url_prefix)
    return await _in_thread(_plans_at_once, _render, task, wanted, max(page, 0), url)


async def show_state(task: ReviewTaskDep) -> Response:
    """Show whether an answer still makes sense: the plan that lies there now, and whether the task waits."""

    def state() -> dict[str, Any]:
        question = task.question
        return {
            "digest": None if task.is_replaced else _digest_now(task),
            "is_waiting": question is not None and question.is_waiting,
            "answered_by": None if question is None else question.answered_by,
        }

    return JSONResponse(await _in_thread(_plans_at_once, state))


async def show_picture(task: ReviewTaskDep, digest: str, position: str) -> Response:
    """Show the picture of a proposal.

    :param digest: the plan's, so that the browser keeps no picture of another plan
    :param position: number of the proposal in the plan, from 0
    """

    def picture() -> Response:
        number = _number(position)
        if digest != task.plan.plan_digest or number is None:
            raise PictureUnavailableError(404, "The plan has no such sample.")
        index = _index_of(task)
        try:
            shown = index.read(number)
        except IndexError:
            raise PictureUnavailableError(404, "The plan has no such sample.") from None
        hook = ModelArtsHook(task.plan.modelarts_conn_id, task.plan.project_id)
        found = fetch(hook, task.plan.dataset_id, shown.sample.sample_id)
        kept = {"Cache-Control": f"private, max-age={KEEP_SECONDS}, immutable"}
        return Response(found.content, media_type=found.kind, headers=kept)

    return await _in_thread(_pictures_at_once, picture)


async def _in_thread(limiter: anyio.CapacityLimiter, work: Callable[..., Result], *args: Any) -> Result:
    return await anyio.to_thread.run_sync(work, *args, limiter=limiter)


async def _add_headers(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await proceed(request)
    response.headers["Content-Security-Policy"] = _pages.policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def _show_nothing(_: Request, error: Exception) -> Response:
    return _pages.render("nothing.html", getattr(error, "status", 500), message=str(error))


def _show_no_picture(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), getattr(error, "status", 500))


def _digest_now(task: ReviewTask) -> str | None:
    """Return the digest of the plan that lies there now; None if there is none."""
    path = _place_of(task)
    try:
        with places.storage_errors("plan_uri", task.plan.plan_uri, "read"):
            return digest_of(path)
    except (ParameterError, OSError) as error:
        raise NothingToReviewError(502, f"The plan cannot be read now. {error}") from error


def _place_of(task: ReviewTask) -> ObjectStoragePath:
    """Return where the plan of a task lies."""
    try:
        return places.storage_path("plan_uri", task.plan.plan_uri)
    except (ModelArtsError, ParameterError, OSError) as error:
        raise NothingToReviewError(502, f"The plan cannot be read by Airflow's API server. {error}") from error


def _index_of(task: ReviewTask) -> ReviewIndex:
    """Return the plan of a task, which must be the one that the task made."""
    path = _place_of(task)
    try:
        with places.storage_errors("plan_uri", task.plan.plan_uri, "read"):
            index = _indexes.get(path, task.plan.plan_digest)
    except (ModelArtsError, ParameterError, OSError) as error:
        raise NothingToReviewError(409, f"The plan cannot be shown. {error}") from error
    dataset_id, made_by = index.header.dataset_id, index.header.made_by
    of_task = {"dag_id": task.plan_task.dag_id, "run_id": task.plan_task.run_id, "task_id": task.plan_task.task_id}
    if dataset_id != task.plan.dataset_id or any(made_by.get(name) != of_task[name] for name in of_task):
        raise NothingToReviewError(403, "The plan cannot be shown: another task made it, or it is of another dataset.")
    return index


def _render(task: ReviewTask, wanted: Mapping[str, str], page: int, url: str) -> Response:
    index = _index_of(task)
    choice = _choice(wanted, index)
    found = index.find(choice)
    shown = [index.read(position) for position in found[page * PAGE : (page + 1) * PAGE]]
    pages = max(1, math.ceil(len(found) / PAGE))
    place, question = task.place, task.question
    is_there = _digest_now(task) == index.digest
    return _pages.render(
        "review.html",
        task=task,
        question=question,
        is_replaced=task.is_replaced or not is_there,
        may_answer=question is not None and question.is_waiting and question.may_answer,
        asks_audit=question is not None and AUDIT_ANSWERS in question.inputs,
        digest=index.digest,
        total=len(index),
        is_candidate=index.is_candidate,
        counts=index.counts,
        labels=index.labels,
        wanted=wanted,
        titles=_TITLES,
        found=len(found),
        page=page,
        pages=pages,
        query=urlencode({name: value for name, value in wanted.items() if value}),
        samples=[_view(one, index.digest) for one in shown],
        answer_url=f"{url}/api/v2/dags/{_quoted(place.dag_id)}/dagRuns/{_quoted(place.run_id)}/taskInstances/"
        f"{_quoted(place.task_id)}/{place.map_index}/hitlDetails",
    )


def _number(text: str) -> int | None:
    """Return a number from 0 on, None for all else. One with more digits than any number here has is cut short."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) <= _DIGITS else 10**_DIGITS


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _choice(wanted: Mapping[str, str], index: ReviewIndex) -> Choice:
    """Return the filter that a page was asked for.

    :raises NothingToReviewError: if it makes no sense
    """
    label, decision = wanted["label"], wanted["decision"]
    number = _number(label)
    if label and (number is None or number >= len(index.labels)):
        raise NothingToReviewError(422, "The plan has no label of that number.")
    if decision and decision not in ACTIONS:
        raise NothingToReviewError(422, f"A decision is one of {', '.join(ACTIONS)}.")
    bounds = {name: _score(wanted[name]) for name in ("low", "high")}
    return Choice(None if number is None else index.labels[number].name, decision or None, **bounds)


def _score(text: str) -> float | None:
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise NothingToReviewError(422, "A score is a number from 0 to 1.")
    return score


def _view(shown: ShownSample, digest: str) -> dict[str, Any]:
    """Return what the page shows of a proposal; nothing of it is HTML."""
    sample = shown.sample
    boxes = boxes_of(sample)
    return {
        "id": sample.sample_id,
        "picture": f"pictures/{digest}/{shown.position}",
        "labels": [
            ShownLabel(label.name, "" if label.score is None else f"{label.score:.3f}") for label in sample.labels
        ],
        "boxes": boxes,
        "is_numbered": bool(boxes.drawn or boxes.faults),
        "action": shown.action,
        "rule": RULES.get(shown.rule, shown.rule),
        "is_audit": shown.rule == _AUDIT_RULE,
        "is_hard": bool(sample.is_hard),
        "reasons": [REASONS.get(reason, f"reason {reason}") for reason in sample.hard_reasons],
        "origin": sample.origin or sample.sample_id,
    }
