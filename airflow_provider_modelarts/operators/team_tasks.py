"""Operators for the life of a team task: created, started, accepted, its results read."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_modelarts.client.errors import PreconditionFailed
from airflow_provider_modelarts.client.states import AcceptanceAction, SampleStatus, TeamTaskState
from airflow_provider_modelarts.hooks.errors import ParameterError, permanent_errors_fail_at_once
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators import _uri_parameters as places
from airflow_provider_modelarts.operators._calls import (
    OF_DATASET,
    OF_TEAM_TASK,
    DatasetCallOperator,
    TeamCommentsOperator,
    TeamTaskOperator,
)
from airflow_provider_modelarts.operators._service_job import ServiceJobOperator
from airflow_provider_modelarts.operators._templates import constant, is_template
from airflow_provider_modelarts.utils.team_jobs import AcceptanceDraw, AcceptanceEnd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample
    from airflow_provider_modelarts.labeling.team_review import ReviewPart
    from airflow_provider_modelarts.operators._base import SearchConditions
    from airflow_provider_modelarts.operators._templates import Readers

_ACTIONS = {action.name.lower(): action for action in AcceptanceAction}
_MOST_CONFLICTS_SHOWN = 20


def _action(name: str, value: object) -> int:
    """Return the number of an action, given by its name or number."""
    if isinstance(value, str) and value.strip().lower() in _ACTIONS:
        return int(_ACTIONS[value.strip().lower()])
    try:
        return parameters.whole(0, max(AcceptanceAction))(name, value)
    except ParameterError:
        known = ", ".join(f"{word} ({int(number)})" for word, number in _ACTIONS.items())
        raise ParameterError(f"{name} must be one of {known}, not {value!r}.") from None


def _task_name(name: str, value: object) -> str:
    from airflow_provider_modelarts.client.requests.teams import CreateWorkforceTaskRequest

    text = parameters.text(name, value)
    parameters.request_body(CreateWorkforceTaskRequest, f"read {name}", {"task_name": text}, None)
    return text


def _settings(name: str, value: object) -> dict[str, Any]:
    from airflow_provider_modelarts.client.requests.teams import CreateWorkforceTaskRequest

    found = parameters.plain(name, value)
    parameters.request_body(CreateWorkforceTaskRequest, f"read {name}", {"task_name": "any"}, found)
    return found


def _check_names_somebody(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that names nobody: the team task would wait for a start that does not come."""
    if not config.get("agency") and not config.get("workforces"):
        raise ParameterError(
            "workforces_config names neither teams (workforces) nor a manager (agency): look at the template or the "
            "task that it comes from, or leave it out to start the team task later."
        )


def _people(name: str, value: object) -> dict[str, Any]:
    found: dict[str, Any] = parameters.plain(name, value)
    _check_names_somebody(found)
    return found


_CREATE: Readers = {
    "workforce_task_name": _task_name,
    "workforces_config": parameters.optional(parameters.plain),
    "plan_uri": parameters.optional(places.uri),
    "plan_digest": parameters.optional(parameters.identifier),
    "search_conditions": parameters.optional(parameters.search_conditions),
    "settings": parameters.optional(_settings),
    "extra": parameters.optional(parameters.plain),
    **OF_DATASET,
}
_START: Readers = {"workforces_config": _people, **OF_TEAM_TASK}
_BEGIN_ACCEPTANCE: Readers = {
    "sampling_num": parameters.optional(parameters.whole(1, 2**31 - 1)),
    "sampling_rate": parameters.optional(parameters.number(0, 1)),
    **OF_TEAM_TASK,
}
_FINISH: Readers = {
    "action": _action,
    "overwrite_last_result": parameters.optional(parameters.flag),
    **OF_TEAM_TASK,
}
_RESULTS: Readers = {"results_uri": parameters.optional(places.uri), **OF_TEAM_TASK}


class ModelArtsCreateTeamTaskOperator(DatasetCallOperator):
    """Create a team task, exactly once; give a team what the policy of a plan left to people.

    A dataset has one team task of a name. If it is there already, as after a lost answer, a retry or a clear, nothing
    is created. Returns the id of the team task. With teams it starts at once. With a manager, or with neither, it waits
    for :class:`ModelArtsStartTeamTaskOperator`.

    With ``plan_uri`` it has just the samples for review of that plan. They are chosen by the places of their files.
    Before anything is created the service is asked whether that finds these samples and no others.

    :param dataset_id: the dataset (templated)
    :param workforce_task_name: 1 to 64 letters, digits, ``_`` or ``-``. Give each night its own, with
        ``{{ ds_nodash }}`` in it (templated)
    :param workforces_config: who works on it: ``{"workforces": [{"workforce_id", "workers": [{"email"}]}]}``, or
        ``{"agency": manager}`` (templated)
    :param plan_uri: the plan whose samples for review the team gets (templated)
    :param plan_digest: the digest that this plan must have: the XCom ``plan_digest`` of the task that made it
        (templated)
    :param search_conditions: instead of a plan, which samples the team gets: conditions of the service's search;
        neither: all of the dataset (templated)
    :param settings: further fields of the service's request, such as ``{"repetition": 2}`` (templated)
    :param extra: fields that the contract does not know, sent as they are (templated)
    :param if_nothing_to_review: ``skip`` or ``fail``, if the plan leaves nothing to people
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowSkipException: if the plan leaves nothing to people, with ``if_nothing_to_review="skip"``
    :raises AirflowFailException: if a team task of the name has other samples or other teams, and for what else no
        retry can mend
    """

    readers = _CREATE
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(
        ("workforces_config", "search_conditions", "settings", "extra"), "json"
    )

    def __init__(
        self,
        *,
        workforce_task_name: str,
        workforces_config: dict[str, Any] | str | None = None,
        plan_uri: places.AnyPlace | XComArg | None = None,
        plan_digest: str | XComArg | None = None,
        search_conditions: SearchConditions | None = None,
        settings: dict[str, Any] | str | None = None,
        extra: dict[str, Any] | str | None = None,
        if_nothing_to_review: str = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workforce_task_name = workforce_task_name
        self.workforces_config = workforces_config
        self.plan_uri = plan_uri
        self.plan_digest = plan_digest
        self.search_conditions = search_conditions
        self.settings = settings
        self.extra = extra
        self.if_nothing_to_review: str = constant("if_nothing_to_review", if_nothing_to_review, parameters.fail_or_skip)
        with self.errors_of_making():
            if plan_uri is not None and search_conditions is not None:
                raise ParameterError("Give plan_uri or search_conditions, not both: either says which samples.")
            if plan_uri is None and plan_digest is not None:
                raise ParameterError("Give plan_uri with plan_digest.")
        self.check_parameters(self.readers)
        if not any(is_template(getattr(self, name)) for name in self.readers):
            with self.errors_of_making():
                _create_request(self.read_parameters(self.readers))

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], _: Context) -> str:
        """Create the team task, or find it."""
        from airflow_provider_modelarts.labeling.team_task_creation import TeamTaskWanted, find_or_create

        wanted = TeamTaskWanted(
            given["dataset_id"],
            _create_request(given),
            given["extra"],
            given["search_conditions"] or [],
            self._review_part(given),
        )
        task_id, is_new = find_or_create(client, wanted)
        self.log.info(
            "Team task %s (%s) of dataset %s, for %s%s.",
            wanted.task_name,
            task_id,
            wanted.dataset_id,
            "the chosen samples" if wanted.part is None else f"{len(wanted.part.places)} samples of the plan",
            "" if is_new else ", is there already",
        )
        return task_id

    def _review_part(self, given: Mapping[str, Any]) -> ReviewPart | None:
        """Return the samples of the plan that people get; None without a plan."""
        if given["plan_uri"] is None:
            return None
        from airflow_provider_modelarts.labeling.team_review import review_part
        from airflow_provider_modelarts.operators._plan_and_ledger import stored_plan

        path = places.storage_path("plan_uri", given["plan_uri"])
        plan = stored_plan(path, given["dataset_id"], given["plan_digest"])
        with places.storage_errors("plan_uri", str(path), "read"):
            part = review_part(plan)
        if part.places:
            return part
        text = f"The plan {plan.uri} leaves nothing to people, so that a team has nothing to do."
        if self.if_nothing_to_review == "skip":
            raise AirflowSkipException(text)
        raise PreconditionFailed(f"{text} Nothing was created. Set if_nothing_to_review to skip such a night.")


def _create_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked request that creates a team task."""
    from airflow_provider_modelarts.client.requests.teams import CreateWorkforceTaskRequest

    conditions = given["search_conditions"]
    own = {
        "task_name": given["workforce_task_name"],
        "workforces_config": given["workforces_config"],
        "sample_conditions": None if conditions is None else json.dumps(conditions),
    }
    request = parameters.request_body(
        CreateWorkforceTaskRequest, "create a team task", own, given["settings"], given["extra"]
    )
    if "sample_conditions" in (given["settings"] or {}):
        raise ParameterError("Give search_conditions in the place of sample_conditions in settings.")
    if "workforces_config" in {**request, **(given["extra"] or {})}:
        _check_names_somebody(request.get("workforces_config") or {})
    return request


class ModelArtsStartTeamTaskOperator(TeamTaskOperator):
    """Give a team task out and start it. One that has started already stays as it is. Returns its id.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task (templated)
    :param workforces_config: who works on it: ``{"workforces": [{"workforce_id", "workers": [{"email"}]}]}``
        (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowFailException: if it has too few labelers, and for what else no retry can mend
    """

    readers = _START
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"workforces_config": "json"}

    def __init__(self, *, workforces_config: dict[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workforces_config = workforces_config
        self.check_parameters(self.readers)

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], _: Context) -> str:
        """Start the team task, unless it has started."""
        dataset_id, task_id = given["dataset_id"], str(given["workforce_task_id"])

        def waits() -> bool:
            return client.team_tasks.get(dataset_id, task_id).status == TeamTaskState.CREATED

        if not waits():
            self.log.info("Team task %s has started already.", task_id)
            return task_id
        try:
            client.team_tasks.start(dataset_id, task_id, given["workforces_config"])
        except PreconditionFailed:
            # Another try, or the manager, may have started it since it was read.
            if waits():
                raise
        self.log.info("Started team task %s.", task_id)
        return task_id


class ModelArtsStartAcceptanceOperator(ServiceJobOperator):
    """Begin to accept what a team has labeled, exactly once; wait until the copies to be judged are drawn.

    One acceptance of a team task runs at a time: one that runs already is taken for this one. After a clear another one
    is begun, unless all results have passed since. Returns
    ``checking_task_id, status, action, drawn, judged, accepted, rejected``.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task (templated)
    :param sampling_num: how many copies to draw, at least 1 (templated)
    :param sampling_rate: which share of them, above 0 and at most 1; give this or ``sampling_num`` (templated)
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ServiceJobTimeout: if it was not over in time; a retry goes on with it
    :raises AirflowFailException: if nothing awaits acceptance, and for what else no retry can mend
    """

    readers = _BEGIN_ACCEPTANCE
    template_fields: Sequence[str] = tuple(readers)

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        sampling_num: int | str | None = None,
        sampling_rate: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.sampling_num = sampling_num
        self.sampling_rate = sampling_rate
        self.check_job()

    def job(self, given: Mapping[str, Any]) -> AcceptanceDraw:
        """Return the acceptance of the team task."""
        return AcceptanceDraw(given["dataset_id"], given["workforce_task_id"])

    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be drawn."""
        from airflow_provider_modelarts.client.requests.teams import StartAcceptanceRequest

        own = {name: given[name] for name in ("sampling_num", "sampling_rate")}
        return parameters.request_body(StartAcceptanceRequest, "begin an acceptance", own, None)


class ModelArtsCommentAcceptanceOperator(TeamCommentsOperator):
    """Judge copies of samples that were drawn for an acceptance; a later word about one replaces an earlier one.

    If the acceptance is over, as after a clear, that is no error if the copies have been judged so before. A retry
    leaves alone what somebody has judged otherwise, or labeled again, since the first try. Airflow before 3.3 keeps
    nothing between tries: there a copy that is judged otherwise ends a retry with an error. Returns ``judged, accepted,
    rejected, changed``.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task, in acceptance (templated)
    :param comments: for each copy a dict with ``sample_id``, ``worker_id`` and ``accept``; also ``comment`` and
        ``score``, A to D; or its JSON text (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowFailException: if a copy was not drawn or no acceptance runs, and for what else no retry can mend
    """

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], context: Context) -> dict[str, int]:
        """Judge the copies."""
        from airflow_provider_modelarts.labeling.copy_comments import judge_team_samples

        counts = self.comment(judge_team_samples, client, given, context)
        return {
            "judged": counts["accepted"] + counts["rejected"],
            **{name: counts[name] for name in ("accepted", "rejected", "changed")},
        }


class ModelArtsFinishAcceptanceOperator(ServiceJobOperator):
    """End the acceptance of a team task, exactly once; wait until what passes has reached the dataset.

    Labels that samples have in the dataset stay, unless ``overwrite_last_result`` is set. After a clear the end from
    before it counts, unless another acceptance runs. Returns ``checking_task_id,
    status, action, drawn, judged, accepted, rejected``. The action ``list_conflicts`` ends nothing: it returns
    ``conflicts``, how many samples have other labels in the dataset, and the ids of the first 20 in ``samples``.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task, in acceptance (templated)
    :param action: ``pass_all``, ``reject_all``, ``cancel``, ``list_conflicts``, ``pass_accepted_and_unjudged`` or
        ``pass_accepted``; or the service's number for it, 0 to 5 (templated)
    :param overwrite_last_result: replace labels that samples have in the dataset; None: no (templated)
    :param deferrable: wait in the triggerer, not in the worker; default: Airflow's ``[operators] default_deferrable``
    :param poll_interval: seconds between polls; in the first minute at most 10
    :param timeout: seconds, or a timedelta, from the start of the try until the wait gives up
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises ServiceJobTimeout: if it was not over in time; a retry goes on with it
    :raises AirflowFailException: if no acceptance runs, and for what else no retry can mend
    """

    readers = _FINISH
    template_fields: Sequence[str] = tuple(readers)

    def __init__(
        self,
        *,
        dataset_id: str,
        workforce_task_id: str | XComArg,
        action: str | int,
        overwrite_last_result: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.workforce_task_id = workforce_task_id
        self.action = action
        self.overwrite_last_result = overwrite_last_result
        self.check_job()

    def job(self, given: Mapping[str, Any]) -> AcceptanceEnd:
        """Return the end of the acceptance."""
        return AcceptanceEnd(given["dataset_id"], given["workforce_task_id"])

    def job_request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return how it is to be ended."""
        request = {"action": given["action"], "overwrite_last_result": given["overwrite_last_result"]}
        return {name: value for name, value in request.items() if value is not None}

    def execute(self, context: Context) -> Any:
        """End the acceptance, or list conflicts; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(_FINISH)
            if given["action"] != AcceptanceAction.LIST_CONFLICTS:
                return super().execute(context)
            found = (
                parameters.hook(self)
                .look_afresh()
                .client.team_tasks.finish_acceptance(
                    given["dataset_id"], given["workforce_task_id"], AcceptanceAction.LIST_CONFLICTS
                )
            )
            return {"conflicts": len(found), "samples": [one.sample_id for one in found[:_MOST_CONFLICTS_SHOWN]]}


class ModelArtsTeamResultsOperator(TeamTaskOperator):
    """Read what a team has labeled so far. Nothing is changed.

    Returns ``copies, labeled, accepted, rejected, by_label``: the last three of what the owner has judged in the last
    acceptance, and for each label name how many copies have it.

    :param dataset_id: the dataset (templated)
    :param workforce_task_id: the team task (templated)
    :param results_uri: file to store the results in, a JSON object in each line: ``sample_id, worker_id, labels,
        accepted, comment, score``. ``file://``, or ``s3://`` with s3fs. What is there is replaced (templated)
    :param modelarts_conn_id: the Airflow connection (templated)
    :param project_id: used instead of the connection's own project (templated)
    :raises AirflowFailException: for errors that no retry can mend
    """

    readers = _RESULTS
    template_fields: Sequence[str] = tuple(readers)

    def __init__(self, *, results_uri: places.AnyPlace | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.results_uri = results_uri
        self.check_parameters(self.readers)

    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], _: Context) -> dict[str, Any]:
        """Read the results."""
        path = None if given["results_uri"] is None else places.file_to_write("results_uri", given["results_uri"])
        copies = list(client.team_samples.list(given["dataset_id"], given["workforce_task_id"]))
        if path is not None:
            with places.storage_errors("results_uri", str(path), "written"):
                path.write_text("".join(json.dumps(_result(one)) + "\n" for one in copies))
        return _counts(copies)


def _result(copy: TeamSample) -> dict[str, Any]:
    """Return a line of a file of results; no addresses, which carry signatures (B20)."""
    return {
        "sample_id": copy.sample_id,
        "worker_id": copy.worker_id,
        "labels": copy.raw.get("labels") or [],
        "accepted": copy.check_accept,
        "comment": copy.check_comment,
        "score": copy.check_score,
    }


def _counts(copies: Sequence[TeamSample]) -> dict[str, Any]:
    from airflow_provider_modelarts.labeling.sample_facts import different

    labeled = [copy for copy in copies if copy.sample_status != SampleStatus.UNLABELED and copy.labels]
    by_label = Counter(name for copy in labeled for name in different(copy.label_names))
    return {
        "copies": len(copies),
        "labeled": len(labeled),
        "accepted": sum(copy.check_accept is True for copy in copies),
        "rejected": sum(copy.check_accept is False for copy in copies),
        "by_label": dict(sorted(by_label.items())),
    }
