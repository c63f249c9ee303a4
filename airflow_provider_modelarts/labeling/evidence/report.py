"""What an audit showed, for people: Markdown of at most 8 KB, whatever the labels are called (B19)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_modelarts.labeling.evidence.reliability import score_ranges
from airflow_provider_modelarts.labeling.plan.summary import MAX_BYTES, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.labeling.evidence.audited_plan import AuditedPlan
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence, LabelEvidence

_BAR = 30
_NAME_BYTES = 80


def confirmable(audited: AuditedPlan, evidence: Evidence) -> dict[str, int]:
    """Return how many proposals of each label may be confirmed: those of proven scores that people have not seen."""
    found = {}
    for one in evidence.labels:
        threshold = one.proof.threshold
        drawn = audited.populations[one.label].drawn.values()
        seen = sum(threshold is not None and score >= threshold for score in drawn)
        found[one.label] = 0 if threshold is None else one.proof.counts.total - seen
    return found


def markdown(audited: AuditedPlan, evidence: Evidence, picture: str | None = None) -> str:
    """Return the report of an audit.

    :param audited: the plan
    :param evidence: what the answers to its audit prove
    :param picture: name of the file beside the report that shows the shares by score; None: there is none
    """
    head = _head(audited, evidence)
    if picture is not None:
        # A colon that is left as it is would make a scheme of what stands before it.
        head += [f"![Right among the answers, by score]({quote(picture, safe='')})", ""]
    reliability = _reliability(evidence)
    budget = MAX_BYTES - _size(head) - _size(reliability) - 2
    table = _bounded(_table(audited, evidence), budget * 2 // 3, "| ... {} other labels | | | | | | |")
    missing = _bounded(_missing(evidence), budget - _size(table), "- ... and {} other labels")
    return "\n".join([*head, *table, *missing, *reliability]) + "\n"


def _head(audited: AuditedPlan, evidence: Evidence) -> list[str]:
    header, labels = evidence.header, evidence.labels
    drawn, answered = sum(one.drawn for one in labels), len(evidence.answers)
    wrong = evidence.wrong_by_label.total()
    to_confirm = sum(confirmable(audited, evidence).values())
    lines = [
        f"### Audit of plan {header.plan_digest[:12]} of dataset {escape(header.dataset_id)}",
        "",
        f"- **{len(evidence.min_score_by_label)}** of {len(labels)} labels are proven from some score upwards",
        f"- target: {percent(header.target_precision)} right for each label; confidence {percent(header.confidence)}",
        f"- **{to_confirm}** of {sum(one.proposals for one in labels)} proposals may be confirmed",
        f"- **{answered}** of {drawn} samples drawn for the audit were answered, **{wrong}** of them were wrong",
    ]
    if answered < drawn:
        lines.append(
            f"- {drawn - answered} were not answered: the proof holds if chance chose them, and not if people passed "
            "over what is hard"
        )
    if header.excluded:
        lines.append(
            f"- {header.excluded} of these carry labels that this package wrote itself, which count for nothing"
        )
    return [*lines, ""]


def _table(audited: AuditedPlan, evidence: Evidence) -> list[str]:
    if not evidence.labels:
        return []
    to_confirm = confirmable(audited, evidence)
    lines = [
        "| Label | Proposals | Answered | Wrong | From score | Proven right | May be confirmed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in evidence.most_proposals_first:
        proof = one.proof
        cells = (
            escape(one.label, _NAME_BYTES),
            one.proposals,
            one.answered,
            evidence.wrong_by_label[one.label],
            "-" if proof.threshold is None else f"{proof.threshold:.4g}",
            percent(proof.bound),
            to_confirm[one.label],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _missing(evidence: Evidence) -> list[str]:
    """Return a line for each label of which nothing is proven: what would have been needed."""
    lines = [_need(one) for one in evidence.most_proposals_first if one.proof.threshold is None]
    return ["Not proven, so left to people:", "", *lines, ""] if lines else []


def _need(one: LabelEvidence) -> str:
    name, more = escape(one.label, _NAME_BYTES), one.proof.more
    if more is None:
        return f"- {name}: more of its proposals are wrong than the target allows, whatever else is answered"
    answers = "answer is" if more == 1 else "answers are"
    return f"- {name}: {more} more {answers} needed if all of them are right; give the next plan a larger audit"


def _reliability(evidence: Evidence) -> list[str]:
    """Return bars: for each range of scores the share of the answers that said right."""
    if not evidence.answers:
        return []
    lines = ["Right among the answers, by score:", "", "```text"]
    lines += [
        f"{one.low:.1f} - {one.high:.1f} {'#' * round(_BAR * one.share):<{_BAR}} "
        f"{one.right} of {one.answered} ({percent(one.share)})"
        for one in reversed(score_ranges(evidence.answers))
    ]
    return [*lines, "```", ""]


def _bounded(lines: Sequence[str], budget: int, rest: str) -> list[str]:
    """Return lines of at most so many bytes; ``rest`` says how many others there are."""
    if _size(lines) <= budget:
        return list(lines)
    kept: list[str] = []
    budget -= len(rest) + 12
    for line in lines:
        budget -= _size([line])
        if budget < 0:
            break
        kept.append(line)
    # The last line of all is empty.
    return [*kept, rest.format(len(lines) - len(kept) - 1), ""]


def percent(share: float) -> str:
    """Return a share in percent, cut and not rounded: 99.96 % is not all."""
    return f"{int(share * 1000 + 1e-9) / 10:g} %"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
