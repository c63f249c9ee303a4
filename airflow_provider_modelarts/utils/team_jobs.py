"""What is waited for at a team task: people's work, the draw of an acceptance, and its end (contract 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.client.states import AcceptanceAction, TeamTaskState
from airflow_provider_modelarts.utils.service_job import JobState, ServiceJob, Waitable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_tasks import AcceptanceTask, TeamTask
    from airflow_provider_modelarts.utils.service_job import JobCondition

_NOT_BEGUN = (TeamTaskState.STARTING, TeamTaskState.CREATED)

# How copies of samples are counted in results, by the service's fields.
_COUNTS = {
    "samples": "total_sample_count",
    "unlabeled": "unannotated_sample_count",
    "proposed": "auto_annotation_sample_count",
    "sent_back": "rejected_sample_count",
    "unreviewed": "unreviewed_sample_count",
    "awaiting_acceptance": "uncheck_sample_count",
    "accepted": "accepted_sample_count",
}
_OPEN = ("unlabeled", "proposed", "sent_back", "unreviewed")
"""Copies that wait for a member or a reviewer."""


@dataclass(frozen=True)
class TeamWork(Waitable):
    """People's work on one team task, which nobody starts here."""

    noun: ClassVar[str] = "team task"
    is_patient: ClassVar[bool] = False

    workforce_task_id: str


@dataclass(frozen=True)
class TeamLabeling(TeamWork):
    """People's work on a team task: over when each copy is labeled, and reviewed where the team has reviewers."""

    name: ClassVar[str] = "team-labeling"

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return how far people are."""
        task = client.team_tasks.get(self.dataset_id, job_id, sample_stats=True, retry=False)
        summary = _counted(task)
        is_open = summary["unlabeled"] is None or any(summary[name] for name in _OPEN)
        condition: JobCondition = "active" if is_open or task.status in (*_NOT_BEGUN, None) else "succeeded"
        return JobState(job_id, condition, progress=_progress(summary), summary=summary)


@dataclass(frozen=True)
class TeamAcceptance(TeamWork):
    """People's work on a team task until the owner has accepted it; results that were sent back are labeled again."""

    name: ClassVar[str] = "team-acceptance"

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return how far people are."""
        task = client.team_tasks.get(self.dataset_id, job_id, sample_stats=True, retry=False)
        summary = _counted(task)
        return JobState(
            job_id, "succeeded" if task.is_terminal else "active", progress=_progress(summary), summary=summary
        )


@dataclass(frozen=True)
class AcceptanceJob(ServiceJob):
    """A step of the acceptance of one team task."""

    workforce_task_id: str


@dataclass(frozen=True)
class AcceptanceDraw(AcceptanceJob):
    """The begin of an acceptance: copies are drawn, to be judged. One that runs already stands for ours."""

    name: ClassVar[str] = "acceptance-draw"
    noun: ClassVar[str] = "acceptance"

    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:  # noqa: ARG002
        """Begin an acceptance, unless one runs already."""
        task = client.team_tasks.get(self.dataset_id, self.workforce_task_id)
        if task.is_in_acceptance and task.checking_task_id:
            return task.checking_task_id
        return client.team_tasks.start_acceptance(self.dataset_id, self.workforce_task_id, **request)

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:  # noqa: ARG002
        """Return the last acceptance, if there was one."""
        task = client.team_tasks.get(self.dataset_id, self.workforce_task_id)
        return [self._state(task, last)] if (last := task.checking_task_desc) and last.checking_task_id else []

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return the acceptance; it has been drawn also if it is over by now."""
        task = client.team_tasks.get(self.dataset_id, self.workforce_task_id, retry=False)
        last = task.checking_task_desc
        if last is None or last.checking_task_id != job_id:
            return JobState(job_id, "active" if last is None else "succeeded", summary={"checking_task_id": job_id})
        return self._state(task, last)

    def still_serves(self, client: ModelArtsClient, job_id: str) -> bool:  # noqa: ARG002
        """Return whether the results have passed: nothing is left to accept."""
        return client.team_tasks.get(self.dataset_id, self.workforce_task_id).is_terminal

    @staticmethod
    def _state(task: TeamTask, last: AcceptanceTask) -> JobState:
        is_drawn = task.status != TeamTaskState.SAMPLING
        return JobState(
            str(last.checking_task_id),
            "succeeded" if is_drawn else "active",
            progress=_word(task.status),
            summary=_acceptance(task, last),
        )


@dataclass(frozen=True)
class AcceptanceEnd(AcceptanceJob):
    """The end of an acceptance: results are passed or sent back, and what passes reaches the dataset."""

    name: ClassVar[str] = "acceptance-end"
    noun: ClassVar[str] = "end of acceptance"

    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:  # noqa: ARG002
        """Send the end; the acceptance that runs is the job."""
        client.team_tasks.finish_acceptance(self.dataset_id, self.workforce_task_id, **request)
        return ""

    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the last acceptance, if it was ended."""
        task = client.team_tasks.get(self.dataset_id, self.workforce_task_id)
        last = task.checking_task_desc
        if last is None or not last.checking_task_id or last.action is None:
            return []
        state = self._state(task, last)
        return [state] if last.action == request["action"] else []

    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return the acceptance."""
        task = client.team_tasks.get(self.dataset_id, self.workforce_task_id, retry=False)
        last = task.checking_task_desc
        if last is None or last.checking_task_id != job_id:
            return JobState(job_id, "succeeded", summary={"checking_task_id": job_id})
        return self._state(task, last)

    def still_serves(self, client: ModelArtsClient, job_id: str) -> bool:
        """Return whether it is the last acceptance, and over: there is none to end."""
        task = client.team_tasks.get(self.dataset_id, self.workforce_task_id)
        return task.checking_task_id == job_id and not task.is_in_acceptance

    @staticmethod
    def _state(task: TeamTask, last: AcceptanceTask) -> JobState:
        is_passing = task.status in (None, TeamTaskState.SYNCHRONIZING) or task.is_in_acceptance
        return JobState(
            str(last.checking_task_id),
            "active" if is_passing else "succeeded",
            progress=_word(task.status),
            summary=_acceptance(task, last),
        )


def _word(status: TeamTaskState | None) -> str:
    return "status unknown" if status is None else str(getattr(status, "name", status)).lower().replace("_", " ")


def _counted(task: TeamTask) -> dict[str, Any]:
    """Return how far a team task is: its status, and its copies by how far they are."""
    stats = task.sample_stats
    counts = {name: getattr(stats, field) if stats is not None else None for name, field in _COUNTS.items()}
    return {"workforce_task_id": task.task_id, "status": _word(task.status), **counts}


def _progress(summary: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{summary[name]} {name.replace('_', ' ')}" for name in _COUNTS if summary[name])
    return f"{summary['status']}{f': {counts}' if counts else ''}"


def _acceptance(task: TeamTask, last: AcceptanceTask) -> dict[str, Any]:
    stats = last.checking_stats
    action = last.action
    return {
        "checking_task_id": last.checking_task_id,
        "status": _word(task.status),
        "action": action.name.lower() if isinstance(action, AcceptanceAction) else action,
        "drawn": stats.sampled_sample_count if stats is not None else None,
        "judged": stats.checked_sample_count if stats is not None else None,
        "accepted": stats.accepted_sample_count if stats is not None else None,
        "rejected": stats.rejected_sample_count if stats is not None else None,
    }
