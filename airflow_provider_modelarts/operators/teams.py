"""Operators for the members of a team task and their copies: labels written and cleared, reviews, mails."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.copy_comments import review_team_samples
from airflow_provider_modelarts.labeling.team_elements import parse_copies, parse_team_samples
from airflow_provider_modelarts.labeling.team_mails import notify_members
from airflow_provider_modelarts.labeling.team_samples import clear_team_samples, update_team_samples
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._base import StoppableOperator
from airflow_provider_modelarts.operators._calls import (
    OF_TEAM_TASK,
    TeamCommentsOperator,
    TeamTaskOperator,
    tries_of,
)
from airflow_provider_modelarts.utils.worker_thread import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.labeling.team_results import TeamResult
    from airflow_provider_modelarts.operators._templates import Readers

_UPDATE: Readers = {
    "samples": parameters.optional(lambda _, value: parse_team_samples(value)),
    "samples_uri": parameters.optional(places.uri),
    "worker_email": parameters.optional(parameters.email),
    **OF_TEAM_TASK,
}
_CLEAR: Readers = {
    "samples": lambda _, value: parse_copies(value),
    "worker_email": parameters.optional(parameters.email),
    **OF_TEAM_TASK,
}
_NOTIFY: Readers = {"emails": parameters.emails, **OF_TEAM_TASK}


class _CopiesOperator(TeamTaskOperator, StoppableOperator):
    """An operator that changes labels of copies, in a thread that no alarm interrupts."""

    def __init__(self, *, worker_email: str | None = None, **kwargs: Any) -> None:
        if worker_email is None:
            # Airflow uses it as the address of its alerts: the write would be the caller's, not the member's.
            parameters.refuse_taken_names(kwargs, email="worker_email")
        super().__init__(**kwargs)
        self.worker_email = worker_email

    def write(
        self,
        function: Callable[..., TeamResult],
        client: ModelArtsClient,
        given: Mapping[str, Any],
        samples: object,
        context: Context,
    ) -> dict[str, int]:
        """Write by a function of ``labeling.team_samples``; push the counts before anything is raised."""
        stop, tries = self.open_gate(context), tries_of(context)
        call = partial(function, client, given["dataset_id"], given["workforce_task_id"], samples)
        done: list[TeamResult] = []
        try:
            run_in_thread(
                lambda: done.append(call(worker_email=given["worker_email"], should_stop=stop.is_set, tries=tries)),
                stop,
            )
        except BaseException as error:
            # The alarm of execution_timeout is no Exception.
            self.push_result_after_error(error, context, done[0].to_xcom() if done else None)
            raise
        (result,) = done
        self.log.info("Team task %s: %s", given["workforce_task_id"], result.to_xcom())
        if result.warning:
            self.log.warning("%s", result.warning)
        if result.failures:
            self.push_result(context, result.to_xcom())
        result.check()
        return result.to_xcom()


class ModelArtsUpdateTeamSamplesOperator(_CopiesOperator):
    """Write labels into samples of a team labeling task. The labels must exist in the dataset.

    A write replaces all labels of a sample. The team task is read first, at most 25 s before each write, and only
    samples that do not have these labels yet are written. What somebody changes while this task waits to write is left
    alone. Of several copies of a sample none is written while no member is named. A retry leaves alone what somebody
    has changed since the first try; a clear begins from the start. Airflow before 3.3 keeps nothing between tries:
    there a retry, also after a clear, writes only samples that nobody has labeled, and fails if others have other
    labels. All samples are checked before the first write.
    Returns the counts ``samples, updated, unchanged, changed, failed, unknown, requests``, which are pushed before
    anything is raised.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team labeling task (templated)
    :param samples: list of dicts with ``sample_id``, ``labels`` and, to name whose copy is meant, ``worker_id``; or its
        JSON text, or the outputs of mapped tasks (templated)
    :param samples_uri: instead of ``samples`` a file of them, as a JSON list or one JSON object in each line
        (templated)
    :param worker_email: e-mail address of the team member on whose behalf the labels are written; None: the caller
        (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ConfirmationError: if the service refused samples, or does not say what became of them
    :raises AirflowFailException: for errors that no retry can mend
    """

    readers = _UPDATE
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"samples": "json"}

    def __init__(
        self,
        *,
        samples: Sequence[dict[str, Any]] | str | XComArg | None = None,
        samples_uri: places.AnyPlace | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.samples = samples
        self.samples_uri = samples_uri
        with self.errors_of_making():
            if (samples is None) == (samples_uri is None):
                raise ParameterError("Give either samples or samples_uri.")
        self.check_parameters(self.readers)

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], context: Context) -> dict[str, int]:
        """Write the labels."""
        samples = given["samples"] if given["samples_uri"] is None else _read_samples(given["samples_uri"])
        return self.write(update_team_samples, client, given, samples, context)


class ModelArtsClearTeamSamplesOperator(_CopiesOperator):
    """Take all labels from copies of samples in a team labeling task. The dataset's own labels stay.

    Only the copies that are named lose their labels. The team task is read first; a sample of which it has no copy, or
    several while no member is named, is not sent and fails. A retry leaves alone what somebody has labeled since the
    first try; a clear begins from the start. Airflow before 3.3 keeps nothing between tries: there a retry clears
    nothing, and fails if a copy has labels.
    Returns the counts ``samples, updated, unchanged, changed, failed, unknown, requests``, which are pushed before
    anything is raised.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team labeling task (templated)
    :param samples: list of sample ids, or of dicts with ``sample_id`` and, to name whose copy is meant, ``worker_id``;
        or its JSON text. An empty list is an error (templated)
    :param worker_email: e-mail address of the team member on whose behalf, and whose copies are meant where no
        ``worker_id`` says so; None: the caller (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ConfirmationError: if a copy was not found or refused, or if it is not known what became of it
    :raises AirflowFailException: for errors that no retry can mend
    """

    readers = _CLEAR
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"samples": "json"}

    def __init__(self, *, samples: Sequence[dict[str, Any] | str] | str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.samples = samples
        self.check_parameters(self.readers)

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], context: Context) -> dict[str, int]:
        """Clear the labels."""
        return self.write(clear_team_samples, client, given, given["samples"], context)


class ModelArtsReviewTeamSamplesOperator(TeamCommentsOperator):
    """Review labeled copies of a team task that has reviewers. Those that are not accepted go back to their members.

    A copy that has a review already keeps it. A retry leaves alone what its member has labeled again since the first
    try. Airflow before 3.3 keeps nothing between tries: there a retry reviews each copy that has no review.
    Returns ``samples, accepted, rejected, unchanged, changed``.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task (templated)
    :param comments: for each copy a dict with ``sample_id``, ``worker_id`` and ``accept``; also ``comment``, of at most
        256 characters, and ``score``, A to D; or its JSON text (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowFailException: if a copy is not labeled, the task has no reviewers or the caller is none, and for
        what else no retry can mend
    """

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], context: Context) -> dict[str, int]:
        """Review the copies."""
        return self.comment(review_team_samples, client, given, context)


class ModelArtsNotifyTeamOperator(TeamTaskOperator):
    """Mail members of a team task that work waits for them.

    A retry mails nobody again of whom the service shows a mail since the first try began. Airflow before 3.3 keeps
    nothing between tries: there a mail since the start of the DAG run counts as that of an earlier try.
    Returns ``members, mailed, mailed_before``.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task (templated)
    :param emails: addresses of members, at least one; or the JSON text of a list (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises Throttled: if somebody has mailed one of them within a minute; a retry takes that for this mail
    :raises AirflowFailException: if somebody is not in the team task, and for what else no retry can mend
    """

    readers = _NOTIFY
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"emails": "json"}

    def __init__(self, *, emails: Sequence[str] | str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.emails = emails
        self.check_parameters(self.readers)

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], context: Context) -> dict[str, int]:
        """Mail the members."""
        run_started = context["dag_run"].start_date
        result = notify_members(
            client,
            given["dataset_id"],
            given["workforce_task_id"],
            given["emails"],
            tries=tries_of(context),
            run_started=run_started.timestamp() if run_started else None,
        )
        self.log.info(
            "Team task %s: %d of %d members mailed.", given["workforce_task_id"], result.mailed, result.members
        )
        return result._asdict()


def _read_samples(uri: str) -> list[Any]:
    """Return what a file holds: a JSON list, or one JSON value in each line."""
    path = places.storage_path("samples_uri", uri)
    with places.storage_errors("samples_uri", uri, "read"):
        data = path.read_bytes()
    try:
        text = data.decode("utf-8")
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise ParameterError(f"samples_uri {uri} holds neither a JSON list nor a JSON object in each line.") from error
