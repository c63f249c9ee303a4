"""What the page shows of a plan: the filter of its address, and the values of its template. Nothing of them is HTML."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from airflow_provider_modelarts.labeling.plan.plan_file import ACTIONS
from airflow_provider_modelarts.labeling.plan.summary import REASONS, RULES
from airflow_provider_modelarts.operators._approval import AUDIT_ANSWERS
from airflow_provider_modelarts.plugins.boxes import boxes_of
from airflow_provider_modelarts.plugins.review_index import Choice

if TYPE_CHECKING:
    from airflow_provider_modelarts.plugins.review_index import ReviewIndex, ShownSample
    from airflow_provider_modelarts.plugins.review_task import ReviewTask, TaskPlace

SAMPLES_PER_PAGE = 50
_MOST_DIGITS = 9
_AUDIT_RULE = "audit_sample"
_ACTION_TITLES = {"confirm": "confirm", "review": "review by people", "leave": "leave alone"}


class BadFilterError(ValueError):
    """A filter that makes no sense; the text is for people."""


class PageFilter(NamedTuple):
    """Which proposals a page is asked for, as it stands in the page's address.

    :param label: only the label with this number in the plan's list of labels; empty: all
    :param decision: ``confirm``, ``review`` or ``leave``; empty: all
    :param low: lowest score; empty: any
    :param high: highest score; empty: any
    """

    label: str = ""
    decision: str = ""
    low: str = ""
    high: str = ""

    @property
    def query(self) -> str:
        """The same as the query of an address."""
        return urlencode({name: value for name, value in self._asdict().items() if value})

    def choice(self, index: ReviewIndex) -> Choice:
        """Return what the filter chooses from a plan.

        :raises BadFilterError: if it makes no sense
        """
        number = parse_number(self.label)
        if self.label and (number is None or number >= len(index.labels)):
            raise BadFilterError("The plan has no label of that number.")
        if self.decision and self.decision not in ACTIONS:
            raise BadFilterError(f"A decision is one of {', '.join(ACTIONS)}.")
        label = None if number is None else index.labels[number].name
        return Choice(label, self.decision or None, _parse_score(self.low), _parse_score(self.high))


class ShownLabel(NamedTuple):
    """A label beside its picture: its name as it is, and its score as text, empty without one."""

    name: str
    score: str


def parse_number(text: str) -> int | None:
    """Return a number from 0 on, None for all else. One with more digits than any number here has is cut short."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _parse_score(text: str) -> float | None:
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise BadFilterError("A score is a number from 0 to 1.")
    return score


def page_values(
    task: ReviewTask, index: ReviewIndex, wanted: PageFilter, page: int, *, is_replaced: bool, airflow_url: str
) -> dict[str, Any]:
    """Return the values of the template ``review.html``.

    :param task: whose plan is shown
    :param index: the plan
    :param wanted: which of its proposals
    :param page: number of the page, from 0
    :param is_replaced: the plan cannot be answered here, because another one has taken its place
    :param airflow_url: path under which Airflow's own API is served
    :raises BadFilterError: if the filter makes no sense
    """
    positions = index.find(wanted.choice(index))
    on_page = positions[page * SAMPLES_PER_PAGE : (page + 1) * SAMPLES_PER_PAGE]
    question = task.question
    return {
        "task": task,
        "question": question,
        "is_replaced": is_replaced,
        "takes_answers": question is not None and question.is_waiting and question.may_answer and not is_replaced,
        "asks_audit": question is not None and AUDIT_ANSWERS in question.inputs,
        "digest": index.digest,
        "total": len(index),
        "is_candidate": index.is_candidate,
        "counts": index.counts,
        "labels": index.labels,
        "wanted": wanted,
        "titles": _ACTION_TITLES,
        "found": len(positions),
        "page": page,
        "pages": max(1, math.ceil(len(positions) / SAMPLES_PER_PAGE)),
        "samples": [_sample_values(index.read(position), index.digest) for position in on_page],
        "answer_url": _answer_url(airflow_url, task.place),
    }


def _sample_values(shown: ShownSample, digest: str) -> dict[str, Any]:
    """Return what the page shows of a proposal."""
    sample = shown.sample
    boxes = boxes_of(sample)
    return {
        "id": sample.sample_id,
        "picture": f"pictures/{digest}/{shown.position}",
        "labels": [ShownLabel(one.name, "" if one.score is None else f"{one.score:.3f}") for one in sample.labels],
        "boxes": boxes,
        "is_numbered": bool(boxes.drawn or boxes.faults),
        "action": shown.action,
        "rule": RULES.get(shown.rule, shown.rule),
        "is_audit": shown.rule == _AUDIT_RULE,
        "is_hard": bool(sample.is_hard),
        "reasons": [REASONS.get(reason, f"reason {reason}") for reason in sample.hard_reasons],
        "origin": sample.origin or sample.sample_id,
    }


def _answer_url(airflow_url: str, place: TaskPlace) -> str:
    """Return where Airflow's own API takes the answer to what a task asks."""
    dag_id, run_id, task_id = (quote(text, safe="") for text in (place.dag_id, place.run_id, place.task_id))
    return f"{airflow_url}/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{place.map_index}/hitlDetails"
