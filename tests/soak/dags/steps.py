"""One DAG of one task, ``job``, for each step of a night that starts something; with gates around what it sends.

A run's conf says which dataset, which connection, and which folder the story shares with its task.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from gates import note_error, pass_gate

from airflow_provider_modelarts.client.resources.labels import Labels
from airflow_provider_modelarts.client.resources.team_samples import TeamSamples
from airflow_provider_modelarts.client.resources.team_tasks import TeamTasks
from airflow_provider_modelarts.client.resources.transfers import Exports, Imports, Sync
from airflow_provider_modelarts.client.resources.versions import Versions
from airflow_provider_modelarts.operators import datasets, labels, team_tasks, teams
from airflow_provider_modelarts.operators._service_job import ServiceJobOperator

if TYPE_CHECKING:
    from collections.abc import Callable

TEAM_TASK = {"workforce_task_id": "{{ dag_run.conf['workforce_task_id'] }}"}
PEOPLE = {"workforces_config": "{{ dag_run.conf['workforces_config'] | tojson }}"}
COMMENTS = {"comments": "{{ dag_run.conf['comments'] | tojson }}"}
SAMPLES = {"samples": "{{ dag_run.conf['samples'] | tojson }}"}
WAITS = {"deferrable": True, "poll_interval": 2}
COMMON: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=1),
    "on_failure_callback": note_error,
    "dataset_id": "{{ dag_run.conf['dataset_id'] }}",
    "modelarts_conn_id": "{{ dag_run.conf['conn_id'] }}",
}
STEPS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sync": (datasets.ModelArtsSyncDatasetOperator, WAITS),
    "import": (datasets.ModelArtsImportSamplesOperator, {"import_path": "obs://incoming/flowers/", **WAITS}),
    "export": (datasets.ModelArtsExportSamplesOperator, {"path": "obs://outgoing/flowers/", **WAITS}),
    "publish": (datasets.ModelArtsPublishVersionOperator, WAITS),
    "create": (team_tasks.ModelArtsCreateTeamTaskOperator, {"workforce_task_name": "night", **PEOPLE}),
    "start": (team_tasks.ModelArtsStartTeamTaskOperator, {**TEAM_TASK, **PEOPLE}),
    "begin": (team_tasks.ModelArtsStartAcceptanceOperator, {"sampling_rate": 1, **TEAM_TASK, **WAITS}),
    "comment": (team_tasks.ModelArtsCommentAcceptanceOperator, {**COMMENTS, **TEAM_TASK}),
    "finish": (team_tasks.ModelArtsFinishAcceptanceOperator, {"action": "pass_all", **TEAM_TASK, **WAITS}),
    "results": (
        team_tasks.ModelArtsTeamResultsOperator,
        {"results_uri": "file://{{ dag_run.conf['folder'] }}/results.jsonl", **TEAM_TASK},
    ),
    "update": (teams.ModelArtsUpdateTeamSamplesOperator, {**SAMPLES, **TEAM_TASK}),
    "clear": (teams.ModelArtsClearTeamSamplesOperator, {**SAMPLES, **TEAM_TASK}),
    "review": (teams.ModelArtsReviewTeamSamplesOperator, {**COMMENTS, **TEAM_TASK}),
    "notify": (teams.ModelArtsNotifyTeamOperator, {"emails": "{{ dag_run.conf['emails'] | tojson }}", **TEAM_TASK}),
    "labels": (labels.ModelArtsEnsureLabelsOperator, {"labels": "{{ dag_run.conf['labels'] | tojson }}"}),
}
SENDS = {
    Sync: ("start",),
    Imports: ("start",),
    Exports: ("start",),
    Versions: ("create",),
    Labels: ("create",),
    TeamTasks: ("create", "start", "start_acceptance", "comment_acceptance", "finish_acceptance", "notify"),
    TeamSamples: ("update", "clear_labels", "review"),
}


def gated(call: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    """Return a call with a gate before and after it."""

    def pass_gates(*arguments: Any, **parameters: Any) -> Any:
        pass_gate(before)
        answer = call(*arguments, **parameters)
        pass_gate(after)
        return answer

    return pass_gates


for owner, names in SENDS.items():
    for name in names:
        setattr(owner, name, gated(getattr(owner, name), "before_post", "after_post"))
TeamSamples.list = gated(TeamSamples.list, "before_list", "after_list")  # type: ignore[method-assign]
ServiceJobOperator.execute_complete = gated(ServiceJobOperator.execute_complete, "resumed", "concluded")  # type: ignore[method-assign]

for step, (operator, parameters) in STEPS.items():
    with DAG(f"step_{step}", schedule=None, catchup=False):
        operator(task_id="job", **COMMON, **parameters)
