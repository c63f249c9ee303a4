"""Reads what people said of the audited samples of a plan: in the dataset, in a team task, or handed over.

Nobody's silence is an answer. Each function returns only samples that somebody has answered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.clock import is_certainly_before
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError
from airflow_provider_modelarts.client.states import SampleStatus
from airflow_provider_modelarts.client.validation import as_label, decoded, shown
from airflow_provider_modelarts.labeling.evidence.judging import Answer, judge, judge_names
from airflow_provider_modelarts.labeling.label_equality import raw_labels
from airflow_provider_modelarts.labeling.proposals.service_calls import DatasetProposals, is_odd_read

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient, Sample
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.resources.team_samples import TeamSample
    from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan

log = logging.getLogger(__name__)

RIGHT, WRONG = "right", "wrong"
"""The answers that leave a proposal as it is, and that do not."""
READERS = 8
_ODD_PAUSES = (0.0, 1.0, 5.0)
_OF_GATEWAY = ("APIGW.", "APIG.")
"""Codes that say nothing about a sample (contract 7.2)."""
_BY_NOBODY = (SampleStatus.UNLABELED, "NONE", "AUTO_ANNOTATION")
"""States of samples whose labels the machine gave, without the underscores that some of the service's words have."""

Answers = dict[str, Answer]


def answers_in_dataset(client: ModelArtsClient, audited: AuditedPlan, iou: float, clock: Clock) -> Answers:
    """Return the answers that are the final labels of the samples, each read by itself.

    A sample that is still without final labels, or is not there any more, was not answered.

    :param iou: see :func:`.judging.judge`
    :raises ModelArtsError: if samples cannot be read
    """
    dataset = DatasetProposals(client, audited.plan.header.dataset_id, clock)
    with ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="modelarts-audit") as pool:
        samples = list(pool.map(partial(_final, dataset, clock), audited.rows))
    return {
        sample_id: judge(row, raw_labels(sample), iou)
        for (sample_id, row), sample in zip(audited.rows.items(), samples, strict=True)
        if sample is not None and _is_labeled(sample)
    }


def _final(dataset: DatasetProposals, clock: Clock, sample_id: str) -> Sample | None:
    """Read a sample. One odd answer proves nothing, and a plan is judged once: several in a row are needed."""
    for pause in _ODD_PAUSES:
        clock.sleep(pause)
        try:
            return dataset.final(sample_id)
        except ModelArtsError as error:
            if not is_odd_read(error) or (error.code or "").startswith(_OF_GATEWAY):
                raise
            refusal = error
    log.warning("Sample %s counts as not answered: %s", sample_id, refusal)
    return None


def _is_labeled(sample: Sample) -> bool:
    """Whether a person labeled it: labels alone do not say so, as those that are only proposed may be shown, too."""
    state = (sample.sample_status or "").strip("_").upper()
    by_person = bool(state) or (sample.annotated_by or "").startswith("human")
    return bool(sample.labels) and by_person and state not in _BY_NOBODY


def answers_in_team_task(client: ModelArtsClient, audited: AuditedPlan, workforce_task_id: str, iou: float) -> Answers:
    """Return the answers that members of a team gave in their copies, accepted or not yet judged.

    Where several members labeled a sample, it is right only if all of them left it as it was. Labels that an account
    wrote into a copy, and not its member, are no answer.

    :param workforce_task_id: the team task
    :param iou: see :func:`.judging.judge`
    :raises InvalidRequest: if the team task is older than the plan: its answers may be as well
    """
    plan = audited.plan
    task = client.team_tasks.get(plan.header.dataset_id, workforce_task_id)
    if task.create_time is not None and is_certainly_before(task.create_time / 1000, plan.header.created_at):
        raise InvalidRequest(
            f"Team task {workforce_task_id} is older than the plan {plan.uri}: its labels may be older than the audit "
            "was drawn, so they prove nothing. Make a team task of this plan."
        )
    found: Answers = {}
    filled = 0
    for copy in client.team_samples.list(plan.header.dataset_id, workforce_task_id):
        row = audited.rows.get(copy.sample_id)
        if row is None or not _is_labeled(copy) or False in (copy.check_accept, copy.review_accept):
            continue
        if _is_by_account(copy):
            filled += 1
            continue
        answer, earlier = judge(row, raw_labels(copy), iou), found.get(copy.sample_id)
        found[copy.sample_id] = answer if earlier is None or earlier.right else earlier
    if filled:
        log.warning(
            "%d copies of audited samples in team task %s were labeled by an account and by no member: no answers.",
            filled,
            workforce_task_id,
        )
    return found


def _is_by_account(copy: TeamSample) -> bool:
    """Whether an account labeled a member's copy, as this package does (contract 4.1): members have addresses."""
    kind, _, author = (copy.annotated_by or "").partition("/")
    return kind == "human" and "/" in author and "@" not in author


def answers_given(audited: AuditedPlan, given: object) -> Answers:
    """Return answers that were given by sample id, as the page of an approval has them.

    :param given: for each sample "right", "wrong", or the list of the label names that it should have; or what the page
        of a review gives, ``{"verdict": "right"}`` or ``{"verdict": "wrong", "label": name}``; or the JSON text of all.
        A sample may be left out. Where boxes were proposed, names say that something is wrong
    :raises InvalidRequest: for anything else, and for a sample that was not drawn: it was chosen by somebody
    """
    read = decoded(given)
    if not isinstance(read, Mapping):
        raise InvalidRequest(
            f'The answers to the audit must be a dict such as {{"sample id": "right"}}, not {shown(given)}.'
        )
    found: Answers = {}
    for sample_id, said in read.items():
        row = audited.rows.get(str(sample_id))
        if row is None:
            raise InvalidRequest(
                f"There is an answer about sample {shown(sample_id)}, which was not drawn for the audit of the plan "
                f"{audited.plan.uri}. Nothing was stored. Were the answers given to another plan?"
            )
        found[str(sample_id)] = _answer_given(row, said, str(sample_id))
    return found


def _answer_given(row: Any, said: object, sample_id: str) -> Answer:
    verdict, label = (said.get("verdict"), said.get("label")) if isinstance(said, Mapping) else (said, None)
    if verdict == RIGHT and label is None:
        return Answer(right=True, names=tuple(row.label_names))
    if verdict == WRONG and (label is None or as_label(label) is not None):
        return Answer(right=False, names=() if label is None else (str(label),))
    said = decoded(said)
    names = [as_label(name) for name in said] if isinstance(said, Sequence) and not isinstance(said, str) else [None]
    if None in names or not names:
        raise InvalidRequest(
            f'The answer about sample {sample_id} must be "{RIGHT}", "{WRONG}" or a list of label names, not '
            f"{shown(said)}. Nothing was stored; leave the sample out if nobody has looked at it."
        )
    return judge_names(row, [name for name in names if name is not None])
