"""Mails members of a team task (contract 5.2): each once in all tries of an Airflow task, if that can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.lost_replies import change
from airflow_provider_modelarts.labeling.team_copies import Tries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.client import ModelArtsClient

_KEY = "modelarts_team_mails"
_MARGIN = 60.0
"""Seconds by which the service's clock may be behind; it refuses a second mail within a minute anyway."""


class MailResult(NamedTuple):
    """Counts of one notification.

    :param members: members to mail
    :param mailed: mails that this try has asked for
    :param mailed_before: members whom an earlier try had mailed, or somebody else since it began
    """

    members: int
    mailed: int
    mailed_before: int


def notify_members(
    client: ModelArtsClient,
    dataset_id: str,
    workforce_task_id: str,
    emails: Sequence[str],
    *,
    tries: Tries | None = None,
    run_started: float | None = None,
) -> MailResult:
    """Mail members of a team task.

    In a retry, and after a lost answer, the team task is read: it shows when each member was mailed last. Members who
    were mailed since the first try began are not mailed again. Of whom it does not show that, as of a manager, only a
    stored note that all were mailed is known.

    :param client: the client to use
    :param dataset_id: the dataset
    :param workforce_task_id: the team task
    :param emails: addresses of its members
    :param tries: which try it is; None: the only one
    :param run_started: epoch seconds; where tries keep no notes, a mail since then counts as that of an earlier try
    :raises ModelArtsError: if the service refuses, or if nothing tells whether a lost request was carried out
    """
    tries = tries or Tries()
    people = list(dict.fromkeys(emails))
    note = _note(tries, [dataset_id, workforce_task_id, sorted(people)])
    if note.get("sent"):
        return MailResult(len(people), 0, len(people))
    since = note.get("since")
    if tries.notes is None and not tries.is_first:
        since = run_started
    due = people if since is None else _not_mailed(client, dataset_id, workforce_task_id, people, since)
    if since is None:
        since = system_clock.now()
        _store(tries, note | {"since": since})
    if due:
        change(
            lambda: client.team_tasks.notify(dataset_id, workforce_task_id, due),
            lambda: not _not_mailed(client, dataset_id, workforce_task_id, due, since),
        )
    _store(tries, note | {"since": since, "sent": True})
    return MailResult(len(people), len(due), len(people) - len(due))


def _note(tries: Tries, asked: list[Any]) -> dict[str, Any]:
    """Return what an earlier try has stored about the same mails, or the beginning of such a note."""
    new = {"intent": tries.intent, "asked": asked}
    kept = None if tries.notes is None else tries.notes.get(_KEY)
    return kept if isinstance(kept, dict) and {name: kept.get(name) for name in new} == new else new


def _store(tries: Tries, note: dict[str, Any]) -> None:
    if tries.notes is not None:
        tries.notes.set(_KEY, note)


def _not_mailed(
    client: ModelArtsClient, dataset_id: str, workforce_task_id: str, emails: Sequence[str], since: float
) -> list[str]:
    """Return the members of whom the team task does not show that they were mailed since a moment."""
    members = client.team_tasks.get(dataset_id, workforce_task_id, workforce_stats=True).worker_stats
    mailed = {one.email for one in members if (one.last_notify_time or 0) / 1000 >= since - _MARGIN}
    return [email for email in emails if email not in mailed]
