"""Teams, their members, and what these work on: contract 5.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest, UnexpectedResponse
from airflow_provider_modelarts.client.lost_replies import advice_after_loss, change, delete, holds, id_of
from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    read,
    to_integer,
    to_name,
    to_number,
    to_object,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.sample_updates import OWN, send_of
from airflow_provider_modelarts.client.states import (
    DatasetType,
    MailStatus,
    Order,
    TeamTaskState,
    WorkerRole,
    WorkerStatus,
)
from airflow_provider_modelarts.client.validation import validate_choice, validate_id, validate_list, validate_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.sample_updates import SampleOutcome
    from airflow_provider_modelarts.client.transport.transport import Transport

ORDERS = tuple(map(str, Order))
_UNKNOWN_MEMBER = "ModelArts.4604"
_MILLISECONDS = "integer, epoch milliseconds"


class SampleCounts(Model):
    """How many copies of samples are how far; None where the service does not say."""

    total_sample_count = Field(to_integer, "integer, copies: all of them.")
    unannotated_sample_count = Field(to_integer, "integer, copies: without labels.")
    unreviewed_sample_count = Field(to_integer, "integer, copies: labeled, and a reviewer has not seen them.")
    uncheck_sample_count = Field(to_integer, "integer, copies: they await acceptance.")
    sampled_sample_count = Field(to_integer, "integer, copies: drawn for the acceptance.")
    rejected_sample_count = Field(to_integer, "integer, copies: sent back, to be labeled again.")
    accepted_sample_count = Field(to_integer, "integer, copies: accepted.")
    auto_annotation_sample_count = Field(to_integer, "integer, copies: with the machine's proposals only.")
    deleted_sample_count = Field(to_integer, "integer, copies: gone with samples that were deleted.")


def to_sample_counts(value: object) -> SampleCounts | None:
    """Return counts of samples; None where the service left them out."""
    return SampleCounts(value) if isinstance(value, dict) else None


class Worker(Model):
    """A member of a team. In the answers about team tasks only address, id and role are filled."""

    worker_id = Field(to_name, "text: id; somebody who is in several teams may have the same one in all of them.")
    workforce_id = Field(to_text, "text: id of the team.")
    email = Field(to_name, "text: e-mail address.")
    role = Field(WorkerRole.read, "integer, see WorkerRole: what the member does; unknown ones stay numbers.")
    status = Field(WorkerStatus.read, "integer, see WorkerStatus: invited or not; unknown ones stay numbers.")
    description = Field(to_text, "text: what the owner says of the member.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when the member was added.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when the member was changed.")


class Workforce(Model):
    """A team; its id and name are empty, and other fields None, if the service left them out."""

    workforce_id = Field(to_name, "text: id.")
    workforce_name = Field(to_name, "text: name.")
    description = Field(to_text, "text: what the owner says of the team.")
    worker_count = Field(to_integer, "integer, members: how many there are.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was created.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")
    workspace_id = Field(to_text, "text: id of the workspace.")


class WorkerTask(Model):
    """A team task as one of its members sees it."""

    worker_id = Field(to_name, "text: id of the member.")
    email = Field(to_name, "text: e-mail address of the member.")
    role = Field(WorkerRole.read, "integer, see WorkerRole: what the member does in it.")
    task_id = Field(to_name, "text: id of the team task.")
    workforce_task_name = Field(to_name, "text: name of the team task.")
    dataset_id = Field(to_name, "text: id of the dataset.")
    dataset_type = Field(DatasetType.read, "integer, see DatasetType: type of the dataset.")
    task_status = Field(TeamTaskState.read, "integer, see TeamTaskState: status of the team task.")
    sample_stats = Field(to_sample_counts, "SampleCounts: how far the member's copies are.")
    score = Field(to_number, "number: the grade of the member's work, as the service counts it.")
    pass_rate = Field(to_number, "number, 0 to 1: share of the member's work that passed.")
    email_status = Field(MailStatus.read, "integer, see MailStatus: what became of the mail to the member.")
    user = Field(to_object, "object: account and user; only in the edition of 2021.")
    last_notify_time = Field(to_integer, f"{_MILLISECONDS}: when the member was mailed last; 0 for never.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was created.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")


@dataclass(frozen=True, slots=True)
class WorkerRemoval:
    """What became of the removal of one member.

    :param worker_id: the member
    :param ok: True: removed; False: refused; None: unknown, list the members
    :param error_code: the service's code
    :param error_msg: one line for people
    """

    worker_id: str
    ok: bool | None
    error_code: str | None = None
    error_msg: str | None = None


class Workforces:
    """Calls about teams and their members."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    # --- teams

    def list(
        self,
        *,
        search: str | None = None,
        workforce_task_id: str | None = None,
        sort_by: str | None = None,
        order: Order | str | None = None,
    ) -> Iterator[Workforce]:
        """Yield the teams of the project, newest first unless ordered otherwise.

        :param search: only those with this text in their name
        :param workforce_task_id: only those that take part in this team task
        :param sort_by: ``create_time`` (the service's default) or ``workforce_name``
        :param order: ``asc`` or ``desc`` (the service's default)
        """
        query = _sorted(sort_by, ("create_time", "workforce_name"), order)
        query |= {"search_content": search, "workforce_task_id": workforce_task_id}
        return ListEndpoint(
            "list teams", ("workforces",), Workforce, "workforces", "total_number", ("workforce_id",), query
        ).walk(self._transport)

    def find(self, workforce_name: str) -> Workforce | None:
        """Return the team of this name, None if there is none: to be asked after the reply to a creation was lost.

        :param workforce_name: the whole name
        """
        found = self.list(search=workforce_name)
        return next((one for one in found if one.workforce_name == workforce_name), None)

    def create(
        self, workforce_name: str, *, description: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> str:
        """Create a team. It is never sent twice once it may have been carried out.

        :param workforce_name: 1 to 64 letters, digits, ``_`` or ``-``; no other team has it
        :param description: at most 256 characters, none of ``^!<>=&"'``
        :param extra: fields that the contract does not know, sent as they are
        :return: its id
        :raises InvalidRequest: for values outside the contract, before anything is sent, and for a name that is taken
        :raises PreconditionFailed: if there are too many teams; an account has 10
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import CreateWorkforceRequest

        given = {"workforce_name": workforce_name, "description": description}
        body = to_body(CreateWorkforceRequest, given, "create a team", extra)
        what = f"create team {body['workforce_name']}"
        advice = "It may have been created: look for its name with workforces.find before you create it again."
        with advice_after_loss(advice):
            answer = self._transport.write("POST", what, "workforces", body=body)
            return id_of(answer, "workforce_id", what, advice)

    def get(self, workforce_id: str) -> Workforce:
        """Return a team.

        :param workforce_id: the team
        :raises NotFound: if the service does not know it
        """
        what = f"read {_team(workforce_id)}"
        answer = self._transport.get(what, "workforces", workforce_id)
        return read(Workforce, checked_answer(answer, what, workforce_id=workforce_id), what)

    def update(
        self,
        workforce_id: str,
        *,
        workforce_name: str | None = None,
        description: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a team. After a lost reply it is read, and not sent again.

        :param workforce_id: the team
        :param workforce_name: a new name; None: it stays
        :param description: a new description; None: it stays
        :param extra: fields that the contract does not know, sent as they are
        :raises InvalidRequest: for values outside the contract, before anything is sent, and for a name that is taken
        :raises NotFound: if the service does not know it
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import UpdateWorkforceRequest

        what = f"change {_team(workforce_id)}"
        given = {"workforce_name": workforce_name, "description": description}
        body = to_body(UpdateWorkforceRequest, given, what, extra)
        change(
            lambda: self._transport.write("PUT", what, "workforces", workforce_id, body=body),
            lambda: holds(self.get(workforce_id), body),
        )

    def delete(self, workforce_id: str) -> None:
        """Delete a team, which is read before.

        :param workforce_id: the team
        :raises NotFound: if the service does not know it
        :raises PreconditionFailed: if it cannot be deleted, for example while it works on a team task
        """
        what = f"delete {_team(workforce_id)}"
        delete(
            lambda: self.get(workforce_id),
            lambda: self._transport.harmless("DELETE", what, "workforces", workforce_id),
        )

    # --- members

    def list_workers(
        self, workforce_id: str, *, sort_by: str | None = None, order: Order | str | None = None
    ) -> Iterator[Worker]:
        """Yield the members of a team, newest first unless ordered otherwise.

        :param workforce_id: the team
        :param sort_by: ``create_time`` (the service's default) or ``email``
        :param order: ``asc`` or ``desc`` (the service's default)
        """
        query = _sorted(sort_by, ("create_time", "email"), order)
        what = f"list members of {_team(workforce_id)}"
        return _workers(what, ("workforces", workforce_id, "workers"), query).walk(self._transport)

    def list_all_workers(
        self, *, role: WorkerRole | int | None = None, sort_by: str | None = None, order: Order | str | None = None
    ) -> Iterator[Worker]:
        """Yield the members of all teams who have one role.

        :param role: 0 labeler (also without it: the service's default), 1 reviewer, 2 manager
        :param sort_by: ``create_time`` (the service's default) or ``email``
        :param order: ``asc`` or ``desc`` (the service's default)
        """
        query = _sorted(sort_by, ("create_time", "email"), order)
        query["role"] = None if role is None else str(validate_whole("role", role, 0, WorkerRole.MANAGER))
        return _workers("list members of all teams", ("workforces", "workers"), query).walk(self._transport)

    def find_worker(self, workforce_id: str, email: str) -> Worker | None:
        """Return the member of a team who has this address, None if there is none.

        :param workforce_id: the team
        :param email: the whole address
        """
        return next((one for one in self.list_workers(workforce_id) if one.email == email), None)

    def create_worker(
        self,
        workforce_id: str,
        email: str,
        role: WorkerRole | int | str,
        *,
        description: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Worker:
        """Add a member to a team; the service names no id, so the members are listed.

        After a lost reply the member is looked for: one of this address and role counts as added.

        :param workforce_id: the team
        :param email: one e-mail address, which no other member has
        :param role: 0 labeler, 1 reviewer, 2 manager: a team has one
        :param description: at most 256 characters, none of ``^!<>=&"'``
        :param extra: fields that the contract does not know, sent as they are
        :return: the member
        :raises InvalidRequest: for values outside the contract, before anything is sent, and for an address that is
            taken
        :raises PreconditionFailed: if there is a manager already, or if there are too many members; a team has 100
        :raises NotFound: if the service does not know the team
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import CreateWorkerRequest

        what = f"add a member to {_team(workforce_id)}"
        given = {"emails": email, "role": role, "description": description}
        body = to_body(CreateWorkerRequest, given, what, extra)
        found: Worker | None = None

        def is_there() -> bool:
            nonlocal found
            found = self.find_worker(workforce_id, email)
            return found is not None and found.role == body["role"]

        path = ("workforces", workforce_id, "workers")
        change(lambda: self._transport.write("POST", what, *path, body=body), is_there)
        found = found or self.find_worker(workforce_id, email)
        if found is None:
            raise UnexpectedResponse(f"Cannot {what}: the service accepted {email}, but does not list it. List again.")
        return found

    def get_worker(self, workforce_id: str, worker_id: str) -> Worker:
        """Return a member of a team.

        :param workforce_id: the team
        :param worker_id: the member
        :raises NotFound: if the service does not know one of them
        """
        what = f"read {_member(workforce_id, worker_id)}"
        answer = self._transport.get(what, "workforces", workforce_id, "workers", worker_id)
        return read(Worker, checked_answer(answer, what, worker_id=worker_id), what)

    def update_worker(
        self,
        workforce_id: str,
        worker_id: str,
        *,
        role: WorkerRole | int | str | None = None,
        description: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a member of a team. After a lost reply the member is read, and the change not sent again.

        :param workforce_id: the team
        :param worker_id: the member
        :param role: a new role; None: it stays
        :param description: a new description; None: it stays
        :param extra: fields that the contract does not know, sent as they are
        :raises InvalidRequest: for values outside the contract, before anything is sent
        :raises PreconditionFailed: if there is a manager already
        :raises NotFound: if the service does not know one of them
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import UpdateWorkerRequest

        what = f"change {_member(workforce_id, worker_id)}"
        body = to_body(UpdateWorkerRequest, {"role": role, "description": description}, what, extra)
        path = ("workforces", workforce_id, "workers", worker_id)
        change(
            lambda: self._transport.write("PUT", what, *path, body=body),
            lambda: holds(self.get_worker(workforce_id, worker_id), body),
        )

    def delete_worker(self, workforce_id: str, worker_id: str) -> None:
        """Remove a member from a team, who is read before.

        :param workforce_id: the team
        :param worker_id: the member
        :raises NotFound: if the service does not know one of them
        :raises PreconditionFailed: if the member has unfinished work
        """
        what = f"remove {_member(workforce_id, worker_id)}"
        delete(
            lambda: self.get_worker(workforce_id, worker_id),
            lambda: self._transport.harmless("DELETE", what, "workforces", workforce_id, "workers", worker_id),
        )

    def delete_workers(self, workforce_id: str, worker_ids: Iterable[str]) -> Sequence[WorkerRemoval]:
        """Remove members from a team, in one request. If an answer leaves doubt, the members are listed.

        :param workforce_id: the team
        :param worker_ids: the members
        :return: one removal for each, in the same order
        :raises InvalidRequest: for no members, a missing id or one given twice, before anything is sent
        :raises NotFound: if the service does not know the team
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import BatchDeleteWorkersRequest

        given = worker_ids if isinstance(worker_ids, str) else validate_list("worker_ids", worker_ids, " of ids")
        what = f"remove members of {_team(workforce_id)}"
        body = to_body(BatchDeleteWorkersRequest, {"workers": given}, what)
        ids: list[str] = body["workers"]
        if len(set(ids)) < len(ids):
            raise InvalidRequest(f"Cannot {what}: a member is named twice.")
        path = ("workforces", workforce_id, "workers", "batch-delete")
        outcomes = send_of(ids, lambda: self._transport.write("POST", what, *path, body=body, own=OWN))
        left: set[str] = set()
        if not all(one.ok for one in outcomes):
            left = {one.worker_id for one in self.list_workers(workforce_id)}
        return tuple(_removal(one, left) for one in outcomes)

    def worker_tasks(
        self, *, search: str | None = None, sort_by: str | None = None, order: Order | str | None = None
    ) -> Iterator[WorkerTask]:
        """Yield the team tasks in which the caller is a member.

        :param search: only those with this text in their name
        :param sort_by: ``create_time`` (the service's default) or ``workforce_task_name``
        :param order: ``asc`` or ``desc`` (the service's default)
        """
        query = _sorted(sort_by, ("create_time", "workforce_task_name"), order) | {"search_content": search}
        # somebody may be in a team task in two roles
        keys = ("task_id", "worker_id", "role")
        path = ("workforces", "worker-tasks")
        return ListEndpoint(
            "list the caller's team tasks", path, WorkerTask, "worker_tasks", "count", keys, query
        ).walk(self._transport)


def _removal(said: SampleOutcome, left: Collection[str]) -> WorkerRemoval:
    """Return what became of a removal: who is left decides, as positions in an answer prove nothing.

    :param said: what the answer says
    :param left: the members who are still there
    """
    if said.sample_id in left:
        ok = None if said.ok is None else False
    else:
        ok = not (said.ok is False and said.error_code == _UNKNOWN_MEMBER)
    return WorkerRemoval(said.sample_id, ok, *(() if ok else (said.error_code, said.error_msg)))


def _sorted(sort_by: str | None, fields: tuple[str, ...], order: str | None) -> dict[str, str | None]:
    return {
        "sort_by": None if sort_by is None else validate_choice("sort_by", sort_by, fields),
        "order": None if order is None else validate_choice("order", order, ORDERS),
    }


def _workers(what: str, path: tuple[str, ...], query: Mapping[str, str | None]) -> ListEndpoint[Worker]:
    # somebody may be in several teams
    return ListEndpoint(what, path, Worker, "workers", "total_number", ("worker_id", "workforce_id"), query)


def _team(workforce_id: str) -> str:
    return f"team {validate_id('workforce_id', workforce_id)}"


def _member(workforce_id: str, worker_id: str) -> str:
    return f"member {validate_id('worker_id', worker_id)} of {_team(workforce_id)}"
