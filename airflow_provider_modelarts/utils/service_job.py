"""Kinds of jobs of the service that an Airflow task starts exactly once and waits for: imports, exports, publications.

What differs between the kinds stands in subclasses of :class:`ServiceJob`, what is only waited for in those of
:class:`Waitable`; ``utils/job_kinds.py`` lists them. ``utils/service_job_start.py`` starts any of them or finds what an
earlier try has started (B1), ``utils/service_job_wait.py`` waits (B6). No job is stopped. A job that is not waited for
any more goes on, and the next try finds it.

Labeling tasks have a machinery of their own in ``utils/label_task_start.py``: they can be stopped, and shut others out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient

JobCondition = Literal["active", "succeeded", "failed"]


@dataclass(frozen=True)
class JobState:
    """What the service says of one job.

    :param job_id: its id
    :param condition: ``active`` also for states that are not known
    :param created: when it was started, epoch milliseconds by the service's clock; None: it does not say
    :param shown: text in which the service shows the marker; empty if it shows none
    :param progress: short phrase for the log
    :param summary: small, JSON primitives only: what the operator returns
    :param reason: why it failed, with the service's code
    """

    job_id: str
    condition: JobCondition
    created: int | None = None
    shown: str = ""
    progress: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Waitable(ABC):
    """One kind of thing to wait for, in one place; its fields are the ids that lead there, all of them text.

    Its ``name`` is stored in running Airflows.
    """

    name: ClassVar[str]
    """Of the kind, as triggers and records have it."""

    noun: ClassVar[str]
    """Of a job of this kind, for messages."""

    is_patient: ClassVar[bool] = True
    """Whether a wait survives a few refusals; False where the Airflow task has not started what it waits for."""

    dataset_id: str

    @abstractmethod
    def read(self, client: ModelArtsClient, job_id: str) -> JobState:
        """Return what the service says of one job, in one attempt: the wait is the retry."""

    def describe(self, job_id: str) -> str:
        """Return the name of one job, for messages."""
        return f"{self.noun.capitalize()} {job_id} of dataset {self.dataset_id}"


@dataclass(frozen=True)
class ServiceJob(Waitable):
    """One kind of job that is started here; a subclass says how it is started, listed and read."""

    @abstractmethod
    def start(self, client: ModelArtsClient, request: Mapping[str, Any], marker: str) -> str:
        """Send the start, once.

        :param request: what is asked for, JSON primitives only
        :param marker: text by which a later try finds the job, if the service keeps a text
        :return: id of the job; empty if the service does not say, so that it is looked for in the list
        :raises DatasetBusy: if the same start will do later; the dataset is waited for
        """

    @abstractmethod
    def listed(self, client: ModelArtsClient, request: Mapping[str, Any]) -> list[JobState]:
        """Return the jobs that such a request may have started, in any order."""

    def still_serves(self, client: ModelArtsClient, job_id: str) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether a job that succeeded before a clear leaves nothing to do for another one.

        :param job_id: the job, which has succeeded
        """
        return False

    def facts(self, client: ModelArtsClient) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return what the result needs from the time before the start: small, JSON primitives only."""
        return {}
