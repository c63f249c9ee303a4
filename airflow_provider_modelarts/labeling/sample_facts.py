"""What rules and summaries look at of a proposal: its labels, their scores, and whether the service found it hard."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.client.models import to_flag, to_number
from airflow_provider_modelarts.client.sample_updates import needs_no_name
from airflow_provider_modelarts.client.states import LabelType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.client import Sample, SampleLabel
    from airflow_provider_modelarts.client.sample_rows import SampleRow

SPEECH = (LabelType.SPEECH_CONTENT, LabelType.SPEECH_SEGMENTS)
"""Types of labels that need no name: what they say stands in their properties (contract 3.3)."""


class SampleFacts(NamedTuple):
    """The facts about one sample.

    :param sample_id: the sample; empty if it came without
    :param names: the name of each label; empty where it has none, or only blanks
    :param scores: for each label its own score, or the sample's if it has none; None if that is not known, or is not
        from 0 to 1. Without labels the sample's own score
    :param has_odd_score: a score that counts was given, and is not from 0 to 1
    :param is_hard: the service found it hard
    :param oddity: what keeps it from being read as the API documents it; None if nothing does
    :param is_speech: it has labels without a name, and each of them is one of speech, which needs none
    """

    sample_id: str
    names: list[str]
    scores: list[float | None]
    has_odd_score: bool = False
    is_hard: bool = False
    oddity: str | None = None
    is_speech: bool = False

    @property
    def has_labels(self) -> bool:
        """Whether it has labels that can be written: at least one, and each has a name or needs none (contract 4.1)."""
        return bool(self.names) and (self.is_speech or all(self.names))

    @property
    def lowest_score(self) -> float | None:
        """The lowest score of a label; None if none is known, or one is odd: the others say nothing about that one."""
        return None if self.has_odd_score else min((one for one in self.scores if one is not None), default=None)


def facts_of(sample: Sample) -> SampleFacts:
    """Return the facts about a sample, however it is spelled."""
    own = sample.raw.get("score")
    given = [own if (score := label.raw.get("score")) is None else score for label in sample.labels] or [own]
    scores, has_odd_score = _read_scores(given)
    nameless = [label for label in sample.labels if not (label.name or "").strip()]
    return SampleFacts(
        sample.sample_id,
        [name if name.strip() else "" for name in sample.label_names],
        scores,
        has_odd_score,
        bool(sample.is_hard),
        sample.oddity,
        is_speech=bool(nameless) and all(map(_is_speech, nameless)),
    )


def _is_speech(label: SampleLabel) -> bool:
    """Whether a label is one of speech and says so; one without a type may be refused, by datasets of other kinds."""
    return label.type in SPEECH and needs_no_name(label.raw)


def facts_of_row(row: SampleRow) -> SampleFacts:
    """Return the facts about a row of a list; what is not spelled as documented is read as a sample."""
    labels, metadata = row.plain_labels(), row.metadata
    if labels is None:
        return facts_of(row.sample)
    given = [row.score if label.score is None else label.score for label in labels]
    scores, has_odd_score = _read_scores(given)
    is_hard = None if metadata is None or metadata.hard is None else to_flag(metadata.hard)
    if is_hard is None:
        is_hard = any(label.property is not None and to_flag(label.property.hard) for label in labels)
    return SampleFacts(row.sample_id, [label.name for label in labels], scores, has_odd_score, is_hard)


def _read_scores(given: Sequence[object]) -> tuple[list[float | None], bool]:
    """Return scores from 0 to 1, None for each that is missing or none; and whether one of them is none."""
    scores = [score if (score := to_number(one)) is not None and 0 <= score <= 1 else None for one in given]
    has_odd_score = any(score is None and one is not None for score, one in zip(scores, given, strict=True))
    return scores, has_odd_score


def different(names: list[str]) -> list[str]:
    """Return the different label names of a sample, in order: a box per rose still is one sample with roses.

    Labels of speech have none and are no label that a machine may prefer, so they do not count.
    """
    if len(names) == 1 and names[0]:
        return names
    return [name for name in dict.fromkeys(names) if name]
