"""Makes a team task exactly once: what is there already is found by its name, and compared with what is asked for.

A dataset has one team task of a name (contract 5.2), so that neither a retry nor a repetition after a lost answer makes
a second one. Nor may they take one for their own that has other samples or other people.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.client.models import to_object, to_objects
from airflow_provider_modelarts.labeling.plan.plan_file import ORIGIN
from airflow_provider_modelarts.labeling.team_review import check_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.resources.team_tasks import TeamTask
    from airflow_provider_modelarts.labeling.team_review import Conditions, ReviewPart

log = logging.getLogger(__name__)

_NAME_TAKEN = "4620"
_PAUSES = (0.0, 5.0, 10.0, 20.0)
"""Seconds before each search for a team task whose creation got no answer."""


@dataclass(frozen=True)
class TeamTaskWanted:
    """What a team task is to be.

    :param dataset_id: the dataset
    :param request: the checked request that creates it
    :param extra: fields that the contract does not know
    :param conditions: search conditions that choose its samples; empty: all of the dataset
    :param part: the samples of a plan that it is for, in the place of ``conditions``; None: no plan
    """

    dataset_id: str
    request: Mapping[str, Any]
    extra: Mapping[str, Any] | None
    conditions: Conditions
    part: ReviewPart | None

    @property
    def task_name(self) -> str:
        """Its name."""
        return str(self.request["task_name"])


def find_or_create(client: ModelArtsClient, wanted: TeamTaskWanted) -> tuple[str, bool]:
    """Return the id of the team task, and whether it was made now.

    Before one is made for a plan, the service is asked whether the conditions find these samples and no others.

    :raises InvalidRequest: if a team task of the name has other samples, or other people
    :raises PreconditionFailed: if the samples of the plan cannot be chosen exactly
    """
    found = _find(client, wanted)
    if found is not None:
        return found, False
    fields = {name: value for name, value in wanted.request.items() if name != "task_name"}
    if wanted.part is not None:
        check_found(client, wanted.part)
        fields["sample_conditions"] = json.dumps(wanted.part.conditions())
    try:
        return client.team_tasks.create(wanted.dataset_id, wanted.task_name, **fields, extra=wanted.extra), True
    except ModelArtsError as error:
        if error.certainly_not_executed and not (error.code or "").endswith(_NAME_TAKEN):
            raise
        return _find_after_loss(client, wanted, error), not error.certainly_not_executed


def _find(client: ModelArtsClient, wanted: TeamTaskWanted) -> str | None:
    """Return the id of the team task of this name, None if there is none.

    :raises InvalidRequest: if it has other samples than are asked for, or other people
    """
    task = client.team_tasks.find(wanted.dataset_id, wanted.task_name)
    if task is None:
        return None
    if wanted.part is not None:
        _check_same_part(client, task, wanted.part)
    else:
        _check_same_conditions(task, wanted.conditions)
    _check_same_people(task, wanted.request.get("workforces_config") or {})
    return task.task_id


def _find_after_loss(client: ModelArtsClient, wanted: TeamTaskWanted, lost: ModelArtsError) -> str:
    """Look for a team task whose creation got no answer, or whose name is taken by now.

    :raises ModelArtsError: the error of the creation, if it does not appear
    """
    for pause in _PAUSES:
        if pause:
            system_clock.sleep(pause)
        try:
            found = _find(client, wanted)
        except InvalidRequest:
            raise
        except ModelArtsError:
            continue
        if found is not None:
            return found
    raise lost


def _check_same_part(client: ModelArtsClient, task: TeamTask, part: ReviewPart) -> None:
    """Check that a team task that is there already has the samples of this plan, as far as the service tells.

    One that shows no conditions may have all samples of the dataset: those that were given out tell.

    :raises InvalidRequest: if it has others
    """
    shown = task.sample_search_conditions
    places = {place for one in to_objects(shown) for place in _places_in(one)}
    if not shown:
        log.warning("The service does not tell which samples team task %s has.", task.task_id)
        given_out = client.team_samples.list(part.dataset_id, str(task.task_id))
        differs = any(copy.sample_id not in part.places for copy in given_out)
    else:
        differs = places != set(part.places.values())
    if differs:
        raise _is_there(task, "samples than the plan leaves to people now")


def _check_same_conditions(task: TeamTask, wanted: Conditions) -> None:
    """Check that a team task that is there already has the samples that conditions choose, none: all of the dataset.

    :raises InvalidRequest: if it was made by other conditions
    """
    shown = [one for one in to_objects(task.sample_search_conditions) if one]
    if wanted and not shown:
        log.warning("The service does not tell which samples team task %s has.", task.task_id)
    elif len(shown) != len(wanted) or not all(map(_holds, shown, wanted)):
        raise _is_there(task, "samples than the search conditions choose that are asked for now")


def _check_same_people(task: TeamTask, config: Mapping[str, Any]) -> None:
    """Check that those work on a team task that is there already who are asked for, as far as the service tells.

    :param config: ``{"workforces": [{"workforce_id": ...}]}`` or ``{"agency": manager}``; empty: whoever it is
    :raises InvalidRequest: if another team works on it
    """
    wanted = {one.get("workforce_id") for one in to_objects(config.get("workforces"))} - {None}
    shown = {team.workforce_id for team in task.teams}
    if wanted and not shown:
        log.warning(
            "Team task %s is there already and shows no team. If it waits for a start, start it with "
            "ModelArtsStartTeamTaskOperator.",
            task.task_id,
        )
    elif not wanted <= shown:
        raise _is_there(task, "teams than are asked for now")


def _is_there(task: TeamTask, others: str) -> InvalidRequest:
    return InvalidRequest(
        f"Team task {task.task_name} is there already ({task.task_id}), with other {others}. Nothing was made. Give "
        "another name, or delete the team task if nobody needs it: labels that were not accepted are lost with it."
    )


def _holds(shown: object, wanted: object) -> bool:
    """Whether a condition, as the service shows it, says all that is wanted; it may add what was left to it."""
    if isinstance(wanted, dict):
        return isinstance(shown, dict) and all(_holds(shown.get(key), part) for key, part in wanted.items())
    if isinstance(wanted, list):
        return isinstance(shown, list) and len(shown) == len(wanted) and all(map(_holds, shown, wanted))
    return shown == wanted


def _places_in(condition: dict[str, Any]) -> list[str]:
    props = to_object(to_object(condition.get("metadata")).get("props"))
    values = props.get(ORIGIN)
    return [str(one) for one in values] if isinstance(values, list) else [json.dumps(condition, sort_keys=True)]
