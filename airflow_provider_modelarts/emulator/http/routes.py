"""Every path that is served, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.routing import compile_path

from airflow_provider_modelarts.emulator.api import (
    acceptance,
    console,
    datasets,
    iam,
    label_updates,
    labels,
    sample_files,
    samples,
    tasks,
    team_samples,
    teams,
    transfers,
    versions,
    workforces,
)
from airflow_provider_modelarts.emulator.http.messages import Call, Reply
from airflow_provider_modelarts.emulator.state.store import Store

Handler = Callable[[Store, Call], Reply]


class Route(NamedTuple):
    """One method of one path.

    :param query: the query parameters that it knows; under the variant `strict_requests` others are refused.
    """

    method: str
    path: str
    handler: Handler
    query: tuple[str, ...] = ()

    @property
    def needs_project(self) -> bool:
        """Whether the gateway asks for a project's credentials, as for all of ModelArts and nothing else."""
        return self.path.startswith(P)


P = "/v2/{project_id}"
D = P + "/datasets/{dataset_id}"
W = D + "/workforce-tasks/{workforce_task_id}"
F = P + "/workforces/{workforce_id}"

LABELS = D + "/data-annotations/labels"

PAGE = ("limit", "offset")
STATE = ("sample_state", "locale")
RUNNING_TASK = ("check_running_task", "running_task_type")
# contract 3.1
FILTERED = (
    *(*PAGE, "order", "label_name", "label_type", "low_score", "high_score", "process_parameter"),
    "search_conditions",
)
DATASETS = (
    *(*PAGE, "order", *RUNNING_TASK, "sort_by", "dataset_type", "search_content", "with_labels", "file_preview"),
    *("contain_versions", "support_export", "train_evaluate_ratio", "version_format", "workspace_id"),
    "dataset_version",
)
LIST = (*PAGE, "order", "sort_by")
TEAM_SAMPLES = (*PAGE, *STATE, "label_name", "label_type", "process_parameter", "search_conditions")

TABLE = (
    # The busiest ones first: routes are tried in this order.
    Route("GET", D + "/auto-annotations/samples", samples.list_proposals, FILTERED),
    Route("PUT", D + "/data-annotations/samples", label_updates.update_samples),
    Route("GET", D + "/tasks/{task_id}", tasks.get_task),
    # contract 2
    Route("POST", D + "/tasks", tasks.start_task),
    Route("GET", D + "/tasks", tasks.list_tasks, (*PAGE, "task_name", "type")),
    Route("POST", D + "/tasks/{task_id}/stop", tasks.stop_task),
    # contract 3 and 6.4
    Route("GET", D + "/auto-annotations/samples/{sample_id}", samples.get_proposal),
    Route(
        "GET",
        D + "/data-annotations/samples",
        samples.list_samples,
        (*FILTERED, *STATE, "sample_type", "email", "preview", "version_id"),
    ),
    Route("GET", D + "/data-annotations/samples/{sample_id}", samples.get_sample, (*STATE, "worker_id")),
    # contract 6.1, 6.2, 6.5
    Route("GET", P + "/datasets", datasets.list_datasets, DATASETS),
    Route("GET", D, datasets.get_dataset, RUNNING_TASK),
    Route("GET", D + "/data-annotations/stats", datasets.get_stats, (*STATE, "email")),
    Route("GET", D + "/metrics", datasets.get_metrics, ("start_time", "end_time", "workforce_task_id")),
    Route("POST", P + "/datasets", datasets.create_dataset),
    Route("PUT", D, datasets.update_dataset),
    Route("DELETE", D, datasets.delete_dataset),
    Route("GET", LABELS, labels.list_labels, (*PAGE, "version_id")),
    Route("POST", LABELS, labels.create_labels),
    Route("PUT", LABELS, labels.update_labels),
    Route("POST", LABELS + "/delete", labels.delete_labels, ("delete_policy",)),
    Route("PUT", LABELS + "/{label_name:path}", labels.update_label, ("label_type",)),
    Route("DELETE", LABELS + "/{label_name:path}", labels.delete_label, ("delete_source", "label_type")),
    Route("GET", D + "/data-annotations/search-condition", datasets.get_search_options),
    # contract 6.3, 6.4, 6.6
    Route("POST", D + "/data-annotations/samples", sample_files.upload_samples),
    Route("POST", D + "/data-annotations/samples/delete", sample_files.delete_samples),
    Route("GET", D + "/versions", versions.list_versions, (*PAGE, "status", "train_evaluate_ratio", "version_format")),
    Route("POST", D + "/versions", versions.create_version),
    Route("GET", D + "/versions/{version_id}", versions.get_version),
    Route("DELETE", D + "/versions/{version_id}", versions.delete_version),
    Route("GET", D + "/import-tasks", transfers.list_imports, PAGE),
    Route("POST", D + "/import-tasks", transfers.start_import),
    Route("GET", D + "/import-tasks/{task_id}", transfers.get_import),
    Route("GET", D + "/export-tasks", transfers.list_exports, (*PAGE, "export_type")),
    Route("POST", D + "/export-tasks", transfers.start_export),
    Route("GET", D + "/export-tasks/{task_id}", transfers.get_export),
    Route("POST", D + "/sync-data", transfers.start_sync),
    Route("GET", D + "/sync-data/status", transfers.get_sync),
    # contract 5.2
    Route("GET", D + "/workforce-tasks", teams.list_team_tasks, PAGE),
    Route("POST", D + "/workforce-tasks", teams.create_team_task),
    Route("GET", W, teams.get_team_task, ("label_stats", "sample_stats", "workforce_stats")),
    Route("POST", W, teams.start_team_task),
    Route("PUT", W, teams.update_team_task),
    Route("DELETE", W, teams.delete_team_task),
    Route("GET", W + "/data-annotations/samples", team_samples.list_team_samples, TEAM_SAMPLES),
    Route("PUT", W + "/data-annotations/samples", team_samples.update_team_samples),
    Route("GET", W + "/data-annotations/samples/{sample_id}", team_samples.get_team_sample, (*STATE, "worker_id")),
    Route("POST", W + "/data-annotations/review", acceptance.review_samples),
    Route("GET", W + "/data-annotations/stats", teams.get_team_stats, ("sample_state",)),
    Route("GET", W + "/metrics", teams.get_metrics),
    Route("POST", W + "/acceptance", acceptance.start_acceptance),
    Route("POST", W + "/acceptance/batch-comment", acceptance.comment_samples),
    Route("GET", W + "/acceptance/report", acceptance.get_report, ("checking_task_id",)),
    Route("PUT", W + "/acceptance/status", acceptance.finish_acceptance, ("locale",)),
    Route("POST", W + "/notify", teams.notify_members),
    # contract 5.3; literal segments win over {workforce_id}
    Route("GET", P + "/workforces", workforces.list_workforces, (*LIST, "search_content", "workforce_task_id")),
    Route("POST", P + "/workforces", workforces.create_workforce),
    Route("GET", P + "/workforces/worker-tasks", workforces.list_worker_tasks, (*LIST, "search_content")),
    Route("GET", P + "/workforces/workers", workforces.list_all_workers, (*LIST, "role")),
    Route("GET", F, workforces.get_workforce),
    Route("PUT", F, workforces.update_workforce),
    Route("DELETE", F, workforces.delete_workforce),
    Route("GET", F + "/workers", workforces.list_workers, LIST),
    Route("POST", F + "/workers", workforces.create_worker),
    Route("POST", F + "/workers/batch-delete", workforces.delete_workers),
    Route("GET", F + "/workers/{worker_id}", workforces.get_worker),
    Route("PUT", F + "/workers/{worker_id}", workforces.update_worker),
    Route("DELETE", F + "/workers/{worker_id}", workforces.delete_worker),
    # contract 1
    Route("POST", "/v3/auth/tokens", iam.create_token),
    Route("GET", "/v3/auth/tokens", iam.validate_token),
    Route("GET", "/v3/projects", iam.list_projects),
    Route("GET", "/v3/auth/projects", iam.list_projects),
    Route("POST", "/v3.0/OS-CREDENTIAL/securitytokens", iam.create_temporary_key),
    # the images behind presigned URLs
    Route("GET", "/obs/{bucket}/{key:path}", samples.get_image),
    # a page for people, in place of the web console
    Route("GET", console.PATH + "{dataset_id}", console.show_dataset),
)


_PATTERNS = [(compile_path(route.path)[0], route) for route in TABLE]


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route and what its placeholders matched, or None for a path or method that is not published."""
    for pattern, route in _PATTERNS:
        found = pattern.match(path) if route.method == method else None
        if found:
            return route, found.groupdict()
    return None
