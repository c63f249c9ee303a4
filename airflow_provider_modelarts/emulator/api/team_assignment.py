"""Who works on a team task: what `workforces_config` says of teams, their members and a manager (contract 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.state import team
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call
    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import TeamTask, Worker, Workforce

MOST_PEOPLE = 100
"""Labelers of a team task, and reviewers of one (contract 5)."""


def teams_of(store: Store, call: Call) -> dict[str, Workforce]:
    """Return the teams of the project that a path names, by id."""
    return store.workforces.setdefault(call.params["project_id"], {})


@dataclass
class Assignment:
    """Who works on a team task."""

    agency: str = ""
    manager_id: str = ""
    teams: dict[str, tuple[str, list[dict[str, Any]]]] = field(default_factory=dict)
    people: dict[int, dict[str, str]] = field(default_factory=lambda: {team.LABELER: {}, team.REVIEWER: {}})

    def add(self, workforce: Workforce, members: list[Worker]) -> None:
        """Let members of a team take part."""
        shown = [{"email": one.email, "worker_id": one.worker_id, "role": one.role} for one in members]
        self.teams[workforce.workforce_id] = workforce.name, shown
        for one in members:
            self.people.setdefault(one.role, {})[one.worker_id] = one.email

    def check(self, repetition: int) -> None:
        """Refuse too many people, and too few labelers."""
        for role in (team.LABELER, team.REVIEWER):
            if len(self.people[role]) > MOST_PEOPLE:
                raise refuse("ModelArts.0104", f"{len(self.people[role])} members of role {role}")
        labelers = len(self.people[team.LABELER])
        if not labelers:
            raise refuse("ModelArts.4621", "there are no labelers")
        if labelers < repetition:
            raise refuse("ModelArts.4822", f"repetition={repetition}")

    def apply(self, task: TeamTask) -> None:
        """Let them work on a team task."""
        task.left |= task.workers
        if self.agency:
            task.agency, task.manager_id = self.agency, self.manager_id
        task.teams = self.teams
        task.workers, task.reviewers = self.people[team.LABELER], self.people[team.REVIEWER]


def read_assignment(store: Store, call: Call, config: dict[str, Any], repetition: int) -> Assignment:
    """Return whom `workforces_config` names.

    :raises UnknownObjectError: 4601 for a team, 4604 for somebody who is not in it.
    :raises Refusal: 400 ModelArts.0104, 4621 without labelers, 4822 with fewer than work on one sample.
    """
    known = teams_of(store, call)
    agency, listed = config.get("agency"), config.get("workforces")
    if agency and listed:
        raise refuse("ModelArts.0104", "workforces_config has both agency and workforces")
    if agency:
        return _read_agency(known, agency)
    found = Assignment()
    for entry in listed or ():
        workforce = known.get(entry.get("workforce_id", ""))
        if workforce is None:
            raise UnknownObjectError("ModelArts.4601", str(entry.get("workforce_id")))
        found.add(workforce, _members(workforce, entry.get("workers")))
    if listed is not None:
        found.check(repetition)
    return found


def _read_agency(known: dict[str, Workforce], agency: str) -> Assignment:
    """Return the manager who is named by address or id."""
    for workforce in known.values():
        for one in workforce.workers.values():
            if one.role == team.MANAGER and agency in (one.email, one.worker_id):
                return Assignment(one.email, one.worker_id)
    raise UnknownObjectError("ModelArts.4604", agency)


def _members(workforce: Workforce, wanted: list[dict[str, Any]] | None) -> list[Worker]:
    """Return the members of a team that a request names, by address or id; all if it names none."""
    if wanted is None:
        return list(workforce.workers.values())
    by_name = {name: one for one in workforce.workers.values() for name in (one.email, one.worker_id)}
    names = [one.get("email") or one.get("worker_id") or "" for one in wanted]
    for name in names:
        if name not in by_name:
            raise UnknownObjectError("ModelArts.4604", name)
    return [by_name[name] for name in names]
