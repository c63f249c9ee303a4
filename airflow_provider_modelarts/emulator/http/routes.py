"""Every path that is served, as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Match, Route

from airflow_provider_modelarts.emulator.api import console, datasets, teams
from airflow_provider_modelarts.emulator.api import label_updates as confirm
from airflow_provider_modelarts.emulator.api import samples as listings
from airflow_provider_modelarts.emulator.api import tasks as labeling_tasks
from airflow_provider_modelarts.emulator.http.messages import Call, Reply
from airflow_provider_modelarts.emulator.state.store import Store

if TYPE_CHECKING:
    from starlette.types import Scope

Handler = Callable[[Store, Call], Reply]

P = "/v2/{project_id}"
D = P + "/datasets/{dataset_id}"
W = D + "/workforce-tasks/{workforce_task_id}"

PAGE = ("limit", "offset")
ORDERED = (*PAGE, "order")
# contract 3.1
FILTERED = (
    *ORDERED,
    *["label_name", "label_type", "low_score", "high_score", "process_parameter", "search_conditions"],
)
STATE = ("sample_state", "locale")
RUNNING = ("check_running_task", "running_task_type")
# Query parameters of each call; under the variant `strict_requests` others are refused.
QUERY: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", D + "/auto-annotations/samples"): FILTERED,
    ("GET", D + "/tasks"): (*PAGE, "task_name", "type"),
    ("GET", D + "/data-annotations/samples"): (*FILTERED, *STATE, "sample_type", "email", "preview", "version_id"),
    ("GET", D + "/data-annotations/samples/{sample_id}"): (*STATE, "worker_id"),
    ("GET", P + "/datasets"): (
        *(*ORDERED, *RUNNING, "sort_by", "dataset_type", "search_content", "with_labels", "file_preview"),
        *("contain_versions", "support_export", "train_evaluate_ratio", "version_format", "workspace_id"),
        "dataset_version",
    ),
    ("GET", D): RUNNING,
    ("GET", D + "/data-annotations/stats"): (*STATE, "email"),
    ("GET", D + "/data-annotations/labels"): (*PAGE, "version_id"),
    ("GET", D + "/workforce-tasks"): PAGE,
    ("GET", W): ("label_stats", "sample_stats", "workforce_stats"),
    ("GET", W + "/data-annotations/samples"): (
        *(*PAGE, *STATE, "label_name", "label_type", "process_parameter", "search_conditions"),
    ),
    ("GET", W + "/data-annotations/samples/{sample_id}"): (*STATE, "worker_id"),
}

# method, path, handler, whether the gateway asks for a project's credentials
TABLE: tuple[tuple[str, str, Handler, bool], ...] = (
    # The busiest ones first: routes are tried in this order.
    ("GET", D + "/auto-annotations/samples", listings.list_proposals, True),
    ("PUT", D + "/data-annotations/samples", confirm.update_samples, True),
    ("GET", D + "/tasks/{task_id}", labeling_tasks.get_task, True),
    # contract 2
    ("POST", D + "/tasks", labeling_tasks.start_task, True),
    ("GET", D + "/tasks", labeling_tasks.list_tasks, True),
    ("POST", D + "/tasks/{task_id}/stop", labeling_tasks.stop_task, True),
    # contract 3 and 6.4
    ("GET", D + "/auto-annotations/samples/{sample_id}", listings.get_proposal, True),
    ("GET", D + "/data-annotations/samples", listings.list_samples, True),
    ("GET", D + "/data-annotations/samples/{sample_id}", listings.get_sample, True),
    # contract 6.1, 6.2, 6.5
    ("GET", P + "/datasets", datasets.list_datasets, True),
    ("GET", D, datasets.get_dataset, True),
    ("GET", D + "/data-annotations/stats", datasets.get_stats, True),
    ("GET", D + "/data-annotations/labels", datasets.list_labels, True),
    ("POST", D + "/data-annotations/labels", datasets.create_labels, True),
    ("GET", D + "/data-annotations/search-condition", datasets.get_search_options, True),
    # contract 5.2
    ("GET", D + "/workforce-tasks", teams.list_team_tasks, True),
    ("GET", W, teams.get_team_task, True),
    ("GET", W + "/data-annotations/samples", teams.list_team_samples, True),
    ("PUT", W + "/data-annotations/samples", teams.update_team_samples, True),
    ("GET", W + "/data-annotations/samples/{sample_id}", teams.get_team_sample, True),
    # contract 1
    ("POST", "/v3/auth/tokens", lambda service, call: service.identity.create_token(call), False),
    ("GET", "/v3/auth/tokens", lambda service, call: service.identity.validate_token(call), False),
    ("GET", "/v3/projects", lambda service, call: service.identity.list_projects(call), False),
    ("GET", "/v3/auth/projects", lambda service, call: service.identity.list_projects(call), False),
    (
        "POST",
        "/v3.0/OS-CREDENTIAL/securitytokens",
        lambda service, call: service.identity.create_temporary_key(call),
        False,
    ),
    # the images behind presigned URLs
    ("GET", "/obs/{bucket}/{key:path}", listings.get_image, False),
    # a page for people, in place of the web console
    ("GET", console.PATH + "{dataset_id}", console.show_dataset, False),
)


@dataclass(frozen=True)
class Found:
    """The handler of a request and what its placeholders matched."""

    handler: Handler
    needs_project: bool
    params: dict[str, str]
    query: frozenset[str]


class Routes:
    """Finds the handler of a request."""

    def __init__(self) -> None:
        # Starlette's routes are used for matching only; the gateway calls the handlers.
        self._routes = [
            (Route(path, _never, methods=[method]), method, handler, needs, frozenset(QUERY.get((method, path), ())))
            for method, path, handler, needs in TABLE
        ]

    def find(self, scope: Scope) -> Found | None:
        """Return the handler, or None for a path or method that is not published."""
        # a route of Starlette for GET serves HEAD too, which the contract does not know
        for route, method, handler, needs_project, query in self._routes:
            match, child = route.matches(scope)
            if match is Match.FULL and scope["method"] == method:
                return Found(handler, needs_project, child["path_params"], query)
        return None


def _never(_: object) -> None:
    raise AssertionError("the gateway calls handlers itself")
