"""Team labeling tasks, from their creation to the acceptance of what the team has labeled: contract 5.1, 5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest, NotFound
from airflow_provider_modelarts.client.lost_replies import (
    advice_after_loss,
    change,
    check_success,
    delete,
    holds,
    id_of,
    with_one_of,
)
from airflow_provider_modelarts.client.models import (
    Field,
    Model,
    checked_answer,
    read,
    to_flag,
    to_integer,
    to_name,
    to_number,
    to_object,
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.datasets import DatasetStats
from airflow_provider_modelarts.client.resources.labels import LabelStats
from airflow_provider_modelarts.client.resources.samples import Sample
from airflow_provider_modelarts.client.resources.workforces import Worker, WorkerTask, to_sample_counts
from airflow_provider_modelarts.client.states import AcceptanceAction, DatasetType, TeamTaskState
from airflow_provider_modelarts.client.validation import validate_choice, validate_id, validate_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.requests.base import RequestBody
    from airflow_provider_modelarts.client.requests.teams import SampleComment, WorkforcesConfigInput
    from airflow_provider_modelarts.client.states import SampleState
    from airflow_provider_modelarts.client.transport.transport import Transport

LOCALES = ("en-us", "zh-cn")
_MILLISECONDS = "integer, epoch milliseconds"


class AcceptanceStats(Model):
    """How an acceptance, or all acceptances of a team task, have turned out so far."""

    task_id = Field(to_text, "text: id of the acceptance.")
    sampling_rate = Field(to_number, "number, 0 to 1: share of the results that were drawn.")
    sampling_num = Field(to_integer, "integer, copies: how many were drawn.")
    pass_rate = Field(to_number, "number, 0 to 1: share of the judged copies that were accepted.")
    score = Field(to_text, "text: grade A to D of the judged copies; E was seen where nothing was judged.")
    total_score = Field(to_integer, "integer: sum of the grades, as the service counts them.")
    total_sample_count = Field(to_integer, "integer, copies: those that awaited acceptance.")
    sampled_sample_count = Field(to_integer, "integer, copies: drawn.")
    checked_sample_count = Field(to_integer, "integer, copies: drawn and judged.")
    unchecked_sample_count = Field(to_integer, "integer, copies: drawn and not judged.")
    accepted_sample_count = Field(to_integer, "integer, copies: drawn and accepted.")
    rejected_sample_count = Field(to_integer, "integer, copies: drawn and rejected.")


def _stats(value: object) -> AcceptanceStats | None:
    return AcceptanceStats(value) if isinstance(value, dict) else None


class AcceptanceReport(Model):
    """The report of an acceptance."""

    checking_stats = Field(_stats, "AcceptanceStats: the acceptance that was asked for; None if it was left out.")
    total_stats = Field(_stats, "AcceptanceStats: all acceptances of the team task together.")


class AcceptanceTask(AcceptanceReport):
    """The last acceptance of a team task."""

    checking_task_id = Field(to_text, "text: id of the acceptance.")
    action = Field(AcceptanceAction.read, "integer, see AcceptanceAction: how it ended; None: it has not.")
    overwrite_last_result = Field(to_flag, "flag: whether it replaced labels that samples had in the dataset.")


class TeamTaskTeam(Model):
    """A team that works on a team task, with those of its members who take part."""

    workforce_id = Field(to_name, "text: id of the team.")
    workforce_name = Field(to_text, "text: name of the team.")
    workers = Field(lambda value: tuple(map(Worker, to_objects(value))), "Worker: the members who take part.")


class TeamCounts(Model):
    """How many people work on a team task."""

    workforce_count = Field(to_integer, "integer, teams.")
    labeler_count = Field(to_integer, "integer, members who label.")
    reviewer_count = Field(to_integer, "integer, members who review.")


class TeamTask(Model):
    """A team labeling task; its ids and name are empty, and other fields None, if the service left them out."""

    task_id = Field(to_name, "text: id.")
    task_name = Field(to_name, "text: name.")
    dataset_id = Field(to_name, "text: id of the dataset.")
    dataset_name = Field(to_text, "text: name of the dataset.")
    version_id = Field(to_text, "text: id of the version of the dataset.")
    project_id = Field(to_text, "text: id of the project.")
    task_type = Field(DatasetType.read, "integer, see DatasetType: what is labeled.")
    status = Field(TeamTaskState.read, "integer, see TeamTaskState: how far it is; unknown numbers become states, too.")
    description = Field(to_text, "text: what the owner says of it.")
    repetition = Field(to_integer, "integer, members: how many label each sample.")
    create_time = Field(to_integer, f"{_MILLISECONDS}: when it was created.")
    update_time = Field(to_integer, f"{_MILLISECONDS}: when it was changed.")
    synchronize_data = Field(to_flag, "flag: whether samples that come later are given out.")
    synchronize_auto_labeling_data = Field(to_flag, "flag: whether labelers see the machine's proposals.")
    auto_sync_dataset = Field(to_flag, "flag: whether accepted labels are written into the dataset.")
    sync_labels = Field(to_flag, "flag: whether labels that come later are given out.")
    auto_check_samples = Field(to_flag, "flag: not documented.")
    workforce_task = Field(to_flag, "flag: whether a team works on it.")
    check_rate = Field(to_number, "number, 0 to 1: share of the results that were judged.")
    pass_rate = Field(to_number, "number, 0 to 1: share of the judged results that were accepted.")
    score = Field(to_number, "number: grade of the results, as the service counts it.")
    total_sample_count = Field(to_integer, "integer, samples: all of them.")
    annotated_sample_count = Field(to_integer, "integer, samples: labeled.")
    label_task_status = Field(to_integer, "integer: not documented.")
    workforce_stats = Field(
        lambda value: TeamCounts(value) if isinstance(value, dict) else None,
        "TeamCounts: how many people work on it; only if asked for.",
    )
    sample_stats = Field(to_sample_counts, "SampleCounts: how far it is; in lists, else only if asked for.")
    label_stats = Field(
        lambda value: tuple(map(LabelStats, to_objects(value))), "LabelStats for each label; only if asked for."
    )
    worker_stats = Field(lambda value: tuple(map(WorkerTask, to_objects(value))), "WorkerTask for each member.")
    sample_search_conditions = Field(to_objects, "objects: the search conditions that its samples meet.")
    feature_supports = Field(
        lambda value: tuple(text for text in map(to_text, value) if text) if isinstance(value, list) else (),
        "texts: not documented.",
    )
    checking_task_desc = Field(
        lambda value: AcceptanceTask(value) if isinstance(value, dict) else None,
        "AcceptanceTask: the last acceptance; None before the first one.",
    )

    @property
    def is_terminal(self) -> bool:
        """Whether it is over: its results have passed; False for states that are not known."""
        return self.status is not None and self.status.is_terminal

    @property
    def is_in_acceptance(self) -> bool:
        """Whether an acceptance runs: copies are drawn, or judged; False for states that are not known."""
        return self.status in (TeamTaskState.SAMPLING, TeamTaskState.IN_ACCEPTANCE)

    @property
    def agency(self) -> str | None:
        """The team manager who gives the work out; None if nobody was named."""
        return to_text(to_object(self.raw.get("workforces_config")).get("agency"))

    @property
    def teams(self) -> tuple[TeamTaskTeam, ...]:
        """The teams that work on it, with those of their members who take part."""
        return tuple(map(TeamTaskTeam, to_objects(to_object(self.raw.get("workforces_config")).get("workforces"))))

    @property
    def checking_task_id(self) -> str | None:
        """Id of its last acceptance; None before the first one."""
        return self.checking_task_desc.checking_task_id if self.checking_task_desc else None


class TeamTasks:
    """Calls about team labeling tasks; those about their samples are in ``team_samples``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, dataset_id: str) -> Iterator[TeamTask]:
        """Yield the team tasks of a dataset, newest first.

        :param dataset_id: the dataset
        """
        what = f"list team tasks of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "workforce-tasks")
        return ListEndpoint(what, path, TeamTask, "tasks", "count", ("task_id",)).walk(self._transport)

    def find(self, dataset_id: str, task_name: str) -> TeamTask | None:
        """Return the team task of this name, None if there is none: to be asked after a creation whose reply was lost.

        :param dataset_id: the dataset
        :param task_name: the whole name
        """
        return next((one for one in self.list(dataset_id) if one.task_name == task_name), None)

    def create(
        self,
        dataset_id: str,
        task_name: str,
        *,
        workforces_config: WorkforcesConfigInput | Mapping[str, Any] | None = None,
        description: str | None = None,
        repetition: int | None = None,
        data_sync_type: int | None = None,
        sample_conditions: Any = None,
        synchronize_data: bool | None = None,
        synchronize_auto_labeling_data: bool | None = None,
        auto_sync_dataset: bool | None = None,
        task_type: DatasetType | int | None = None,
        version_id: str | None = None,
        labels: Sequence[Mapping[str, Any]] | None = None,
        workspace_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a team task. It is never sent twice once it may have been carried out.

        With teams it starts at once. With a manager, or with neither, it waits for :meth:`start`.

        :param dataset_id: the dataset, of type 0, 1, 100, 101, 102 or 202
        :param task_name: 1 to 64 letters, digits, ``_`` or ``-``; no other team task of the dataset has it
        :param workforces_config: ``{"workforces": [{"workforce_id", "workers": [{"email"}]}]}``, or
            ``{"agency": manager}``; not both
        :param description: at most 256 characters
        :param repetition: how many labelers label each sample; None leaves it to the service
        :param data_sync_type: what follows the dataset: 0 nothing, 1 data, 2 labels, 3 both
        :param sample_conditions: which samples belong to it: search conditions of contract 3.1, one, a list, or JSON
            text; None for all
        :param synchronize_data: give out samples that come later
        :param synchronize_auto_labeling_data: show labelers what auto-label tasks propose that start later; None leaves
            it to the service (they are not shown)
        :param auto_sync_dataset: write accepted labels into the dataset; None leaves it to the service (it does)
        :param task_type: what is labeled; only in the edition of 2021, as the three after it
        :param version_id: a version of the dataset
        :param labels: labels of the team task
        :param workspace_id: the workspace
        :param extra: fields that the contract does not know, sent as they are
        :return: its id
        :raises InvalidRequest: for values outside the contract, before anything is sent, and for a name that is taken
        :raises NotFound: if the service does not know the dataset, a team or a member
        :raises PreconditionFailed: if it has no or too few labelers, or for another type of dataset
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.search import conditions_text
        from airflow_provider_modelarts.client.requests.teams import CreateWorkforceTaskRequest

        what = f"create a team task on dataset {validate_id('dataset_id', dataset_id)}"
        given = {
            "task_name": task_name,
            "workforces_config": workforces_config,
            "description": description,
            "repetition": repetition,
            "data_sync_type": data_sync_type,
            "sample_conditions": conditions_text(sample_conditions, what),
            "synchronize_data": synchronize_data,
            "synchronize_auto_labeling_data": synchronize_auto_labeling_data,
            "auto_sync_dataset": auto_sync_dataset,
            "task_type": task_type,
            "version_id": version_id,
            "labels": labels,
            "workspace_id": workspace_id,
        }
        body = to_body(CreateWorkforceTaskRequest, given, what, extra)
        advice = "It may have been created: look for its name with team_tasks.find before you create it again."
        with advice_after_loss(advice):
            answer = self._transport.write("POST", what, "datasets", dataset_id, "workforce-tasks", body=body)
            return id_of(answer, "task_id", what, advice)

    def get(
        self,
        dataset_id: str,
        workforce_task_id: str,
        *,
        label_stats: bool = False,
        sample_stats: bool = False,
        workforce_stats: bool = False,
        retry: bool = True,
    ) -> TeamTask:
        """Return a team task.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :param label_stats: also ask how often each label was given
        :param sample_stats: also ask how far it is
        :param workforce_stats: also ask how many people work on it, and how far each is
        :param retry: False: one attempt, for polls
        :raises NotFound: if the service does not know one of them
        """
        what = f"read {team_task(dataset_id, workforce_task_id)}"
        asked = {"label_stats": label_stats, "sample_stats": sample_stats, "workforce_stats": workforce_stats}
        query = {name: "true" if is_wanted else None for name, is_wanted in asked.items()}
        answer = self._transport.get(what, *path_of(dataset_id, workforce_task_id), query=query, retry=retry)
        return read(TeamTask, checked_answer(answer, what, task_id=workforce_task_id), what)

    def start(
        self,
        dataset_id: str,
        workforce_task_id: str,
        workforces_config: WorkforcesConfigInput | Mapping[str, Any],
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Give a team task out and start it. After a lost reply it is read, and not sent again.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task, which nobody has started yet
        :param workforces_config: ``{"workforces": [{"workforce_id", "workers": [{"email"}]}]}``
        :param extra: fields that the contract does not know, sent as they are
        :raises InvalidRequest: for values outside the contract, before anything is sent
        :raises NotFound: if the service does not know one of them, a team or a member
        :raises PreconditionFailed: if it has started already, or has no or too few labelers
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import StartWorkforceTaskRequest

        what = f"start {team_task(dataset_id, workforce_task_id)}"
        body = to_body(StartWorkforceTaskRequest, {"workforces_config": workforces_config}, what, extra)
        change(
            lambda: self._transport.write("POST", what, *path_of(dataset_id, workforce_task_id), body=body),
            lambda: self.get(dataset_id, workforce_task_id).status not in (TeamTaskState.CREATED, None),
        )

    def update(
        self,
        dataset_id: str,
        workforce_task_id: str,
        *,
        task_name: str | None = None,
        description: str | None = None,
        workforces_config: WorkforcesConfigInput | Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a team task. After a lost reply it is read, and not sent again.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :param task_name: a new name; None: it stays
        :param description: a new description; None: it stays
        :param workforces_config: who works on it from now on; None: who does already
        :param extra: fields that the contract does not know, sent as they are
        :raises InvalidRequest: for values outside the contract, before anything is sent, and for a name that is taken
        :raises NotFound: if the service does not know one of them, a team or a member
        :raises PreconditionFailed: if somebody with unfinished work is left out
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import UpdateWorkforceTaskRequest

        what = f"change {team_task(dataset_id, workforce_task_id)}"
        given = {"task_name": task_name, "description": description, "workforces_config": workforces_config}
        body = to_body(UpdateWorkforceTaskRequest, given, what, extra)
        change(
            lambda: self._transport.write("PUT", what, *path_of(dataset_id, workforce_task_id), body=body),
            lambda: _is_changed(self.get(dataset_id, workforce_task_id), body),
        )

    def delete(self, dataset_id: str, workforce_task_id: str) -> None:
        """Delete a team task, which is read before. Labels that were not accepted are lost; accepted ones stay.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :raises NotFound: if the service does not know one of them
        """
        what = f"delete {team_task(dataset_id, workforce_task_id)}"
        delete(
            lambda: self.get(dataset_id, workforce_task_id),
            lambda: self._transport.harmless("DELETE", what, *path_of(dataset_id, workforce_task_id)),
        )

    def stats(
        self, dataset_id: str, workforce_task_id: str, *, sample_state: SampleState | str | None = None
    ) -> DatasetStats:
        """Return the statistics of a team task; each member's copy of a sample counts.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :param sample_state: count only copies in this state (contract 6.4)
        :return: counts of copies by ``un_annotation, total, rejected, unreviewed, accepted, auto_annotation, uncheck``
            in ``samples``
        :raises NotFound: if the service does not know one of them
        """
        what = f"read statistics of {team_task(dataset_id, workforce_task_id)}"
        path = (*path_of(dataset_id, workforce_task_id), "data-annotations", "stats")
        answer = self._transport.get(what, *path, query={"sample_state": sample_state})
        return read(DatasetStats, with_one_of(answer, what, "label_stats", "sample_stats", "key_sample_stats"), what)

    def metrics(self, dataset_id: str, workforce_task_id: str) -> dict[str, dict[str, int]]:
        """Return how far each member is, by e-mail address.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :return: counts of copies by ``un_annotation, rejected, unreviewed, accepted, auto_annotation, uncheck``
        :raises NotFound: if the service does not know one of them
        """
        what = f"read the members' progress in {team_task(dataset_id, workforce_task_id)}"
        answer = self._transport.get(what, *path_of(dataset_id, workforce_task_id), "metrics")
        found = to_object(with_one_of(answer, what, "sample_stats")["sample_stats"])
        return {
            email: {name: number for name, one in to_object(counts).items() if (number := to_integer(one)) is not None}
            for email, counts in found.items()
        }

    def notify(self, dataset_id: str, workforce_task_id: str, emails: Sequence[str]) -> None:
        """Mail members of a team task. A lost reply is an error, and nothing is sent again.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :param emails: addresses of the members, at least one
        :raises InvalidRequest: for values that are no addresses, before anything is sent
        :raises NotFound: if somebody is not in it
        :raises Throttled: if mails were requested too often
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import NotifyRequest

        what = f"mail members of {team_task(dataset_id, workforce_task_id)}"
        body = to_body(NotifyRequest, {"emails": emails}, what)
        with advice_after_loss("The mails may have been sent: ask again only if they have not come."):
            answer = self._transport.write("POST", what, *path_of(dataset_id, workforce_task_id), "notify", body=body)
        check_success(answer, what)

    # --- acceptance

    def start_acceptance(
        self,
        dataset_id: str,
        workforce_task_id: str,
        *,
        sampling_num: int | None = None,
        sampling_rate: float | None = None,
    ) -> str:
        """Begin to accept what a team has labeled. It is never sent twice once it may have been carried out.

        The team task goes through ``SAMPLING`` to ``IN_ACCEPTANCE``. Then judge the copies that were drawn, see
        :meth:`comment_acceptance`, and end it with :meth:`finish_acceptance`.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :param sampling_num: how many copies to draw, at least 1
        :param sampling_rate: which share of them, above 0 and at most 1; give this or ``sampling_num``
        :return: id of the acceptance
        :raises InvalidRequest: for values outside the contract, before anything is sent
        :raises DatasetBusy: if an acceptance runs already
        :raises PreconditionFailed: if nothing awaits acceptance
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import StartAcceptanceRequest

        what = f"begin an acceptance of {team_task(dataset_id, workforce_task_id)}"
        given = {"sampling_num": sampling_num, "sampling_rate": sampling_rate}
        body = to_body(StartAcceptanceRequest, given, what)
        advice = "It may have begun: read the team task, whose status and checking_task_id say so."
        path = (*path_of(dataset_id, workforce_task_id), "acceptance")
        with advice_after_loss(advice):
            return id_of(self._transport.write("POST", what, *path, body=body), "task_id", what, advice)

    def comment_acceptance(
        self,
        dataset_id: str,
        workforce_task_id: str,
        comments: Iterable[SampleComment | Mapping[str, Any]],
        *,
        before_sending: Callable[[], None] | None = None,
    ) -> None:
        """Judge copies that were drawn for the acceptance.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task, in acceptance
        :param comments: for each copy ``sample_id``, ``worker_id`` and ``accept``; also ``comment``, of at most 256
            characters, none of ``!<>=&"'``, and ``score`` A to D
        :param before_sending: called each time that the request is about to go out, also after a pause that the service
            asked for. What it raises keeps the request from being sent, and comes through as it is
        :raises InvalidRequest: for values outside the contract, or none, before anything is sent
        :raises NotFound: if a copy was not drawn
        :raises PreconditionFailed: if no acceptance runs
        """
        from airflow_provider_modelarts.client.requests.teams import AcceptCommentRequest

        what = f"judge samples of {team_task(dataset_id, workforce_task_id)}"
        path = (*path_of(dataset_id, workforce_task_id), "acceptance", "batch-comment")
        body = comments_body(AcceptCommentRequest, comments, what)
        with advice_after_loss("They may have been judged: read check_accept of the samples, or judge them again."):
            answer = self._transport.write("POST", what, *path, body=body, before_sending=before_sending)
        check_success(answer, what)

    def acceptance_report(
        self, dataset_id: str, workforce_task_id: str, checking_task_id: str | None = None
    ) -> AcceptanceReport:
        """Return how an acceptance has turned out so far.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task
        :param checking_task_id: the acceptance; None: the last one, for which the team task is read
        :raises NotFound: if there is no such acceptance
        """
        what = f"read an acceptance of {team_task(dataset_id, workforce_task_id)}"
        if checking_task_id is None:
            checking_task_id = self.get(dataset_id, workforce_task_id).checking_task_id
            if checking_task_id is None:
                raise NotFound(f"Cannot {what}: none has begun. Begin one with start_acceptance.")
        query = {"checking_task_id": validate_id("checking_task_id", checking_task_id)}
        path = (*path_of(dataset_id, workforce_task_id), "acceptance", "report")
        answer = with_one_of(self._transport.get(what, *path, query=query), what, "checking_stats", "total_stats")
        return read(AcceptanceReport, answer, what)

    def finish_acceptance(
        self,
        dataset_id: str,
        workforce_task_id: str,
        action: AcceptanceAction | int,
        *,
        overwrite_last_result: bool | None = None,
        locale: str = "en-us",
    ) -> tuple[Sample, ...]:
        """End an acceptance, or list what it would overwrite. After a lost reply the team task is read.

        What passes reaches the dataset, unless the team task has ``auto_sync_dataset`` off; the team task goes through
        ``SYNCHRONIZING`` to ``PASSED`` or ``REJECTED``.

        :param dataset_id: the dataset
        :param workforce_task_id: the team task, in acceptance
        :param action: see ``AcceptanceAction``; 3 only lists the samples whose labels conflict with the dataset's
        :param overwrite_last_result: replace labels that samples have in the dataset; None leaves it to the service (it
            does not)
        :param locale: language of the answer, ``en-us`` or ``zh-cn``
        :return: the samples in conflict for action 3, else nothing
        :raises InvalidRequest: for values outside the contract, before anything is sent
        :raises PreconditionFailed: if no acceptance runs
        :raises DatasetBusy: while samples are drawn, or results carried over
        """
        from airflow_provider_modelarts.client.requests.base import to_body
        from airflow_provider_modelarts.client.requests.teams import FinishAcceptanceRequest

        what = f"finish the acceptance of {team_task(dataset_id, workforce_task_id)}"
        body = to_body(
            FinishAcceptanceRequest, {"action": action, "overwrite_last_result": overwrite_last_result}, what
        )
        query = {"locale": validate_choice("locale", locale, LOCALES)}
        path = (*path_of(dataset_id, workforce_task_id), "acceptance", "status")
        answer: Any = None

        def write() -> None:
            nonlocal answer
            answer = self._transport.write("PUT", what, *path, query=query, body=body)

        if body["action"] == AcceptanceAction.LIST_CONFLICTS:
            write()
            return tuple(map(Sample, to_objects(with_one_of(answer, what, "samples", "sample_count").get("samples"))))
        change(write, lambda: _is_finished(self.get(dataset_id, workforce_task_id), body["action"]))
        check_success(answer, what)
        return ()


def comments_body(
    model: type[RequestBody], comments: Iterable[SampleComment | Mapping[str, Any]], what: str
) -> dict[str, Any]:
    """Return the body that judges copies.

    :param model: the request
    :param comments: one for each copy
    :param what: what the request is to do, for the error
    :raises InvalidRequest: if they do not fit, name no sample, or name a copy twice
    """
    from airflow_provider_modelarts.client.requests.base import to_body

    given = comments if isinstance(comments, str) else validate_list("comments", comments)
    body = to_body(model, {"comments": given}, what)
    seen: set[tuple[Any, Any]] = set()
    for place, one in enumerate(body["comments"]):
        copy = one.get("sample_id"), one.get("worker_id")
        if copy[0] is None:
            raise InvalidRequest(f"Cannot {what}: comments[{place}].sample_id is missing.")
        if copy in seen:
            raise InvalidRequest(f"Cannot {what}: comments[{place}] names sample {copy[0]} once more.")
        seen.add(copy)
    return body


def _is_changed(task: TeamTask, wanted: Mapping[str, Any]) -> bool:
    """Whether a team task is what a change asked for; teams are compared by who takes part."""
    if not holds(task, {name: value for name, value in wanted.items() if name != "workforces_config"}):
        return False
    config = wanted.get("workforces_config", {})
    asked = config.get("workforces")
    if task.agency != config.get("agency", task.agency):
        return False
    present = {team.workforce_id: team for team in task.teams}
    return asked is None or (
        len(asked) == len(present)
        and all(_has_members(present.get(one.get("workforce_id")), one.get("workers")) for one in asked)
    )


def _has_members(team: TeamTaskTeam | None, asked: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether just those take part who are named by address or id; whoever it is, where nobody is named."""
    if team is None or asked is None:
        return team is not None
    known = {name for one in team.workers for name in (one.email, one.worker_id)}
    return len(asked) == len(team.workers) and all(one.get("email", one.get("worker_id")) in known for one in asked)


def _is_finished(task: TeamTask, action: int) -> bool:
    """Whether the last acceptance of a team task was ended by an action."""
    last = task.checking_task_desc
    is_over = task.status is not None and not task.is_in_acceptance
    return is_over and (last is None or last.action in (None, action))


def team_task(dataset_id: str, workforce_task_id: str) -> str:
    """Return what a team task is called in errors."""
    task_id = validate_id("workforce_task_id", workforce_task_id)
    return f"team task {task_id} of dataset {validate_id('dataset_id', dataset_id)}"


def path_of(dataset_id: str, workforce_task_id: str) -> tuple[str, ...]:
    """Return the path of a team task below the project."""
    return ("datasets", dataset_id, "workforce-tasks", workforce_task_id)
