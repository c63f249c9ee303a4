"""Which evidence a plan was judged by: a small sealed file beside the plan, made once.

A plan is judged once. To look, to ask for more answers and to look again would be a second chance for a machine that
does not reach the target. Evidence may be stored anywhere, so the plan's own folder remembers which of it came first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_modelarts.labeling.storage.path import forget_listings, name_of
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    decode_object,
    encode_line,
)

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

_STEM_CHARACTERS = 150


class Judgement(NamedTuple):
    """The evidence that a plan was judged by.

    :param evidence_digest: its digest
    :param evidence_uri: where it was stored, for people
    """

    evidence_digest: str
    evidence_uri: str


def find_judgement(plan: Plan) -> Judgement | None:
    """Return by what a plan was judged; None if it was not yet, or if nothing whole says so."""
    place = _place(plan)
    forget_listings(place)  # another task may have judged it just now
    file = SealedReader(place)
    try:
        lines = [decode_object(line) or {} for line in file.lines()]
        file.check({})
        return Judgement(**lines[0])
    except (StorageDamaged, LookupError, TypeError):
        return None


def record_judgement(plan: Plan, judgement: Judgement) -> Judgement:
    """Note by what a plan is judged; return what counts, which is what was noted first.

    :raises NotStoredError: if neither this nor an earlier judgement is there afterwards
    """
    with SealedWriter(_place(plan), keeps=lambda: find_judgement(plan) is not None) as file:
        file.write(encode_line(judgement._asdict()))
        file.seal({})
    return find_judgement(plan) or judgement


def _place(plan: Plan) -> StoragePath:
    """Return where a plan's judgement lies: of another plan at the same place it would be another file."""
    stem = name_of(plan.path).removesuffix(".jsonl")[:_STEM_CHARACTERS]
    return plan.path.parent / f"{stem}.{plan.digest[:16]}.judged.jsonl"
