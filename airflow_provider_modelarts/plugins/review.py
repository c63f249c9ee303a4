"""Airflow plugin: the tab "Review labels" and the application behind it.

Airflow loads plugins in all of its processes, and only the API server serves the page: so the application, and all that
it needs, is imported at its first request.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from fastapi import FastAPI

URL_PREFIX = "/modelarts-review"
TASK_PATH = "dags/{DAG_ID}/runs/{RUN_ID}/tasks/{TASK_ID}/{MAP_INDEX}/"
"""What Airflow's UI fills in; a task that is not mapped leaves ``{MAP_INDEX}`` as it stands."""


@cache
def _application() -> FastAPI:
    from airflow_provider_modelarts.plugins.review_app import make_app

    return make_app(URL_PREFIX)


class ReviewApplication:
    """The ASGI application of the page, made at its first request."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request."""
        await _application()(scope, receive, send)


class ModelArtsReviewPlugin(AirflowPlugin):
    """Adds the tab "Review labels" to the pages of tasks that plan or approve.

    Airflow from 3.4 on shows it on those tasks only; earlier ones show it on all tasks, and the page says so where
    there is nothing to review.
    """

    name = "modelarts_review"
    fastapi_apps: list[Any] = [  # noqa: RUF012 - Airflow's base class has it so
        {"app": ReviewApplication(), "url_prefix": URL_PREFIX, "name": "ModelArts review of labels"}
    ]
    external_views: list[Any] = [  # noqa: RUF012
        {
            "name": "Review labels",
            # Relative, so that it is found under whatever path Airflow is served.
            "href": f"{URL_PREFIX.removeprefix('/')}/{TASK_PATH}",
            "destination": "task_instance",
            "url_route": "modelarts_review_labels",
            "applies_to": {"operators": ["ModelArtsApprovalOperator", "ModelArtsPlanConfirmationOperator"]},
        }
    ]
