"""All that is waited for, by names that are stored in running Airflows: a name may not change its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.utils import dataset_jobs, team_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.utils.service_job import Waitable

JOB_KINDS: dict[str, type[Waitable]] = {
    kind.name: kind
    for kind in (
        dataset_jobs.DatasetReadiness,
        dataset_jobs.SyncJob,
        dataset_jobs.ImportJob,
        dataset_jobs.ExportJob,
        dataset_jobs.PublicationJob,
        team_jobs.TeamLabeling,
        team_jobs.TeamAcceptance,
        team_jobs.AcceptanceDraw,
        team_jobs.AcceptanceEnd,
    )
}


def job_of(kind: str, ids: Mapping[str, str]) -> Waitable:
    """Return the kind of job, and where, that a trigger or a record names.

    :param kind: its name
    :param ids: its fields
    :raises KeyError: for a name that this version does not know
    """
    return JOB_KINDS[kind](**ids)
