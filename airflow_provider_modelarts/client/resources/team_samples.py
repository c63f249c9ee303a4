"""Samples of a team labeling task: contract 5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.lost_replies import advice_after_loss, check_success
from airflow_provider_modelarts.client.models import (
    Field,
    checked_answer,
    read,
    to_flag,
    to_object,
    to_objects,
    to_text,
)
from airflow_provider_modelarts.client.paging import ListEndpoint
from airflow_provider_modelarts.client.resources.samples import Sample, filters
from airflow_provider_modelarts.client.resources.team_tasks import LOCALES, comments_body, path_of, team_task
from airflow_provider_modelarts.client.resources.workforces import Worker
from airflow_provider_modelarts.client.sample_updates import OWN, emptied_copies, labeled_elements, send_updates
from airflow_provider_modelarts.client.validation import validate_choice, validate_email, validate_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.client.requests.samples import SampleLabels
    from airflow_provider_modelarts.client.requests.teams import SampleComment
    from airflow_provider_modelarts.client.sample_updates import SampleOutcome
    from airflow_provider_modelarts.client.states import SampleState
    from airflow_provider_modelarts.client.transport.transport import Transport

_REVIEWED_ALREADY = "ModelArts.4606"


class TeamSample(Sample):
    """A member's copy of a sample, with what a reviewer and the owner have said of it."""

    labelers = Field(lambda value: tuple(map(Worker, to_objects(value))), "Worker: the members who label it.")
    review_accept = Field(to_flag, "flag: whether a reviewer has accepted it; None: nobody has reviewed it.")
    review_comment = Field(to_text, "text: what the reviewer said.")
    review_score = Field(to_text, "text: the reviewer's grade, A to D.")
    check_accept = Field(to_flag, "flag: whether the owner has accepted it in an acceptance; None: not judged.")
    check_comment = Field(to_text, "text: what the owner said.")
    check_score = Field(to_text, "text: the owner's grade, A to D.")


class TeamSamples:
    """Calls about the samples that a team works on; each member may have a copy of its own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        dataset_id: str,
        workforce_task_id: str,
        *,
        sample_state: SampleState | str | None = None,
        label_name: str | None = None,
        label_type: int | None = None,
        search_conditions: Any = None,
        process_parameter: str | None = None,
        locale: str | None = None,
    ) -> Iterator[TeamSample]:
        """Yield the samples of a team task; ``worker_id`` tells whose copy it is.

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task
        :param sample_state: only in this state (contract 6.4)
        :param label_name: only with this label
        :param label_type: only with labels of this type
        :param search_conditions: conditions of contract 3.1, one or a list, all of which must hold
        :param process_parameter: image processing for the addresses in the answer
        :param locale: language of the answer, ``en-us`` (the service's default) or ``zh-cn``
        """
        query = filters(label_name, label_type, None, None, None, search_conditions, process_parameter)
        query |= {"sample_state": sample_state, "locale": _locale(locale)}
        what = f"list samples of {team_task(dataset_id, workforce_task_id)}"
        # each member has a copy of the same sample
        keys = ("sample_id", "worker_id")
        path = _path(dataset_id, workforce_task_id)
        return ListEndpoint(what, path, TeamSample, "samples", "sample_count", keys, query, keeps_odd_rows=True).walk(
            self._transport
        )

    def get(
        self,
        dataset_id: str,
        workforce_task_id: str,
        sample_id: str,
        *,
        worker_id: str | None = None,
        sample_state: SampleState | str | None = None,
        locale: str | None = None,
        retry: bool = True,
    ) -> TeamSample:
        """Return a member's copy of a sample; to be had once an acceptance has begun.

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task
        :param sample_id: the sample
        :param worker_id: whose copy; None leaves it to the service
        :param sample_state: only in this state (contract 6.4)
        :param locale: language of the answer, ``en-us`` (the service's default) or ``zh-cn``
        :param retry: False: one attempt
        :raises NotFound: if the service does not know one of them
        :raises PreconditionFailed: before the first acceptance
        :raises UnexpectedResponse: if the answer is about something else
        """
        what = f"read sample {validate_id('sample_id', sample_id)} of {team_task(dataset_id, workforce_task_id)}"
        if worker_id is not None:
            validate_id("worker_id", worker_id)
        query = {"worker_id": worker_id, "sample_state": sample_state, "locale": _locale(locale)}
        path = (*_path(dataset_id, workforce_task_id), sample_id)
        answer = self._transport.get(what, *path, query=query, retry=retry)
        ids = {"sample_id": sample_id} | ({} if worker_id is None else {"worker_id": worker_id})
        return read(TeamSample, checked_answer(answer, what, **ids), what)

    def update(
        self,
        dataset_id: str,
        workforce_task_id: str,
        samples: Iterable[Sample | SampleLabels | Mapping[str, Any]],
        *,
        email: str | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> Sequence[SampleOutcome]:
        """Replace the labels of samples in a team task; labels must exist in the dataset (contract 5.2).

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task
        :param samples: as for ``samples.update``; ``worker_id`` says whose copy
        :param email: the member on whose behalf
        :param before_sending: called each time that the request is about to go out, also after a pause that the service
            asked for. What it raises keeps the request from being sent, and comes through as it is
        :return: an outcome per sample, in the same order
        :raises InvalidRequest: for samples without labels, without id, or given twice, and for labels without the name
            that all but those of speech (types 201, 202) need; before anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        elements = labeled_elements(samples)
        return self._write(dataset_id, workforce_task_id, elements, "write labels of", email, before_sending)

    def clear_labels(
        self,
        dataset_id: str,
        workforce_task_id: str,
        samples: Iterable[Sample | Mapping[str, Any] | str],
        *,
        email: str | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> Sequence[SampleOutcome]:
        """Take all labels from copies of samples; the only call that does. The dataset's own labels stay.

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task
        :param samples: copies as listed, objects with ``sample_id`` and ``worker_id``, or ids of samples of which
            ``email`` says whose copy is meant
        :param email: the member on whose behalf
        :param before_sending: as of :meth:`update`
        :return: an outcome per copy, in the same order
        :raises InvalidRequest: for a missing id, other fields, or a copy given twice, before anything is sent
        :raises ModelArtsError: if the service certainly did not carry the request out
        """
        elements = emptied_copies(samples)
        return self._write(dataset_id, workforce_task_id, elements, "clear labels of", email, before_sending)

    def _write(
        self,
        dataset_id: str,
        workforce_task_id: str,
        elements: Sequence[dict[str, Any]],
        verb: str,
        email: str | None,
        before_sending: Callable[[], None] | None,
    ) -> Sequence[SampleOutcome]:
        body: dict[str, Any] = {"samples": elements}
        if email is not None:
            body["email"] = validate_email("email", email)
        what = f"{verb} {len(elements)} samples of {team_task(dataset_id, workforce_task_id)}"
        path = _path(dataset_id, workforce_task_id)
        return send_updates(
            elements,
            lambda: self._transport.write("PUT", what, *path, body=body, before_sending=before_sending, own=OWN),
        )

    def review(
        self,
        dataset_id: str,
        workforce_task_id: str,
        comments: Iterable[SampleComment | Mapping[str, Any]],
        *,
        before_sending: Callable[[], None] | None = None,
    ) -> bool:
        """Review labeled copies. Those that are not accepted go back to their members.

        :param dataset_id: the dataset
        :param workforce_task_id: the team labeling task, which has reviewers
        :param comments: for each copy ``sample_id``, ``worker_id`` and ``accept``; also ``comment``, of at most 256
            characters, none of ``!<>=&"'``, and ``score`` A to D
        :param before_sending: as of :meth:`update`
        :return: True: all of it is new; False: the service says that a copy had been reviewed already
        :raises InvalidRequest: for values outside the contract, or none, before anything is sent
        :raises NotFound: if the service does not know a copy
        :raises PermissionDenied: if the task has no reviewers, or the caller is none
        """
        from airflow_provider_modelarts.client.requests.teams import ReviewRequest

        what = f"review samples of {team_task(dataset_id, workforce_task_id)}"
        body = comments_body(ReviewRequest, comments, what)
        path = (*path_of(dataset_id, workforce_task_id), "data-annotations", "review")
        with advice_after_loss("They may have been reviewed: read review_accept of the samples."):
            answer = self._transport.write("POST", what, *path, body=body, before_sending=before_sending)
        if to_text(to_object(answer).get("error_code")) == _REVIEWED_ALREADY:
            return False
        check_success(answer, what)
        return True


def _locale(locale: str | None) -> str | None:
    return None if locale is None else validate_choice("locale", locale, LOCALES)


def _path(dataset_id: str, workforce_task_id: str) -> tuple[str, ...]:
    return (*path_of(dataset_id, workforce_task_id), "data-annotations", "samples")
