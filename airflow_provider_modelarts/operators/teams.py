"""Operators for the members of a team task and their copies: labels written and cleared, reviews, mails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.copy_reviews import review_team_samples
from airflow_provider_modelarts.labeling.team_copies import Tries
from airflow_provider_modelarts.labeling.team_mails import notify_members
from airflow_provider_modelarts.labeling.team_samples import (
    clear_team_samples,
    parse_copies,
    parse_team_samples,
    update_team_samples,
)
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._base import StoppableOperator
from airflow_provider_modelarts.operators._templates import TemplatedOperator
from airflow_provider_modelarts.utils.task_record import TaskIntent, TaskStore
from airflow_provider_modelarts.utils.worker_thread import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.labeling.stop_signal import StopSignal
    from airflow_provider_modelarts.labeling.team_samples import TeamResult
    from airflow_provider_modelarts.operators._templates import Readers

_TEAM_TASK: Readers = {
    "dataset_id": parameters.identifier,
    "workforce_task_id": parameters.identifier,
    **parameters.CONNECTION,
}
_UPDATE: Readers = {
    "samples": parameters.optional(lambda _, value: parse_team_samples(value)),
    "samples_uri": parameters.optional(places.uri),
    "worker_email": parameters.optional(parameters.email),
    **_TEAM_TASK,
}
_CLEAR: Readers = {
    "samples": lambda _, value: parse_copies(value),
    "worker_email": parameters.optional(parameters.email),
    **_TEAM_TASK,
}
_REVIEW: Readers = {"comments": parameters.comments, **_TEAM_TASK}
_NOTIFY: Readers = {"emails": parameters.emails, **_TEAM_TASK}


def _tries(context: Context) -> Tries:
    """Return which try this is. Airflow before 3.3 keeps nothing between tries."""
    store = TaskStore(context)
    return Tries(
        is_first=context["ti"].try_number == 1,
        intent=TaskIntent.of(context).marker,
        notes=store if store.outlives_tries else None,
    )


class _CopiesOperator(StoppableOperator):
    """An operator that changes labels of copies, in a thread that no alarm interrupts."""

    workforce_task_id: str | XComArg

    def _carry_out(self, context: Context, write: Callable[[StopSignal], TeamResult]) -> dict[str, int]:
        """Write; push the counts before anything is raised."""
        stop = self.open_gate(context)
        done: list[TeamResult] = []
        try:
            run_in_thread(lambda: done.append(write(stop)), stop)
        except BaseException as error:
            # The alarm of execution_timeout is no Exception.
            self.push_result_after_error(error, context, done[0].to_xcom() if done else None)
            raise
        (result,) = done
        self.log.info("Team labeling task %s: %s", self.workforce_task_id, result.to_xcom())
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

    template_fields: Sequence[str] = tuple(_UPDATE)
    template_fields_renderers: ClassVar[dict[str, str]] = {"samples": "json"}

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        samples: Sequence[dict[str, Any]] | str | XComArg | None = None,
        samples_uri: places.AnyPlace | None = None,
        worker_email: str | None = None,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if worker_email is None:
            # Airflow uses it as the address of its alerts: the write would be the caller's, not the member's.
            parameters.refuse_taken_names(kwargs, email="worker_email")
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.samples = samples
        self.samples_uri = samples_uri
        self.worker_email = worker_email
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        with self.errors_of_making():
            if (samples is None) == (samples_uri is None):
                raise ParameterError("Give either samples or samples_uri.")
        self.check_parameters(_UPDATE)

    def execute(self, context: Context) -> dict[str, int]:
        """Write the labels; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            # The samples are read by what writes them.
            given = self.read_parameters({name: read for name, read in _UPDATE.items() if name != "samples"})
            samples = self.samples if self.samples_uri is None else _read_samples(given["samples_uri"])
            client = parameters.hook(self).look_afresh().client
            tries = _tries(context)

            def write(stop: StopSignal) -> TeamResult:
                return update_team_samples(
                    client,
                    given["dataset_id"],
                    given["workforce_task_id"],
                    samples,
                    worker_email=given["worker_email"],
                    should_stop=stop.is_set,
                    tries=tries,
                )

            return self._carry_out(context, write)


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

    template_fields: Sequence[str] = tuple(_CLEAR)
    template_fields_renderers: ClassVar[dict[str, str]] = {"samples": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        samples: Sequence[dict[str, Any] | str] | str | XComArg,
        worker_email: str | None = None,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if worker_email is None:
            parameters.refuse_taken_names(kwargs, email="worker_email")
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.samples = samples
        self.worker_email = worker_email
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_CLEAR)

    def execute(self, context: Context) -> dict[str, int]:
        """Clear the labels; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_CLEAR)
            hook = parameters.hook(self)
            link_dataset(context, hook, given["dataset_id"])
            client = hook.look_afresh().client
            tries = _tries(context)

            def write(stop: StopSignal) -> TeamResult:
                return clear_team_samples(
                    client,
                    given["dataset_id"],
                    given["workforce_task_id"],
                    given["samples"],
                    worker_email=given["worker_email"],
                    should_stop=stop.is_set,
                    tries=tries,
                )

            return self._carry_out(context, write)


class ModelArtsReviewTeamSamplesOperator(TemplatedOperator):
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

    template_fields: Sequence[str] = tuple(_REVIEW)
    template_fields_renderers: ClassVar[dict[str, str]] = {"comments": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        comments: Sequence[dict[str, Any]] | str | XComArg,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.comments = comments
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_REVIEW)

    def execute(self, context: Context) -> dict[str, int]:
        """Review the copies; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_REVIEW)
            hook = parameters.hook(self)
            link_dataset(context, hook, given["dataset_id"])
            result = review_team_samples(
                hook.look_afresh().client,
                given["dataset_id"],
                given["workforce_task_id"],
                given["comments"],
                tries=_tries(context),
            )
            self.log.info("Team task %s: %s", given["workforce_task_id"], result.to_xcom())
            if result.warning:
                self.log.warning("%s", result.warning)
            return result.to_xcom()


class ModelArtsNotifyTeamOperator(TemplatedOperator):
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

    template_fields: Sequence[str] = tuple(_NOTIFY)
    template_fields_renderers: ClassVar[dict[str, str]] = {"emails": "json"}
    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        emails: Sequence[str] | str | XComArg,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.emails = emails
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self.check_parameters(_NOTIFY)

    def execute(self, context: Context) -> dict[str, int]:
        """Mail the members; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_NOTIFY)
            hook = parameters.hook(self)
            link_dataset(context, hook, given["dataset_id"])
            run_started = context["dag_run"].start_date
            result = notify_members(
                hook.look_afresh().client,
                given["dataset_id"],
                given["workforce_task_id"],
                given["emails"],
                tries=_tries(context),
                run_started=run_started.timestamp() if run_started else None,
            )
            self.log.info("Team task %s: %d of %d members mailed.", given["workforce_task_id"], *result[1::-1])
            return result._asdict()


def _read_samples(samples_uri: Any) -> list[Any]:
    """Return what a file holds: a JSON list, or one JSON value in each line."""
    uri = places.uri("samples_uri", samples_uri)
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
