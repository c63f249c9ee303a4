"""What the last runs of a dataset came to, as sections of a report for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from airflow_provider_modelarts.labeling.drift import compare
from airflow_provider_modelarts.labeling.evidence.reliability import reliability_svg
from airflow_provider_modelarts.labeling.evidence.report import percent
from airflow_provider_modelarts.labeling.plan.summary import ASKED, REASONS, RULES, in_words
from airflow_provider_modelarts.labeling.quality.document import Section, Table, to_html, to_markdown
from airflow_provider_modelarts.labeling.quality.runs import FATES

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.drift import Drift
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.labeling.quality.runs import RunQuality

LABELS_SHOWN = 200
"""Labels in a table; the others are added up."""
_SHIFTS_SHOWN = 5
_DECISIONS = {"review": "left to people", "leave": "left alone"}


@dataclass(frozen=True)
class QualityReport:
    """The report.

    :param dataset_id: the dataset
    :param runs: its last runs, the oldest first
    :param created_at: epoch seconds
    """

    dataset_id: str
    runs: tuple[RunQuality, ...]
    created_at: float

    @property
    def title(self) -> str:
        """The headline."""
        return f"Quality of the labels of dataset {self.dataset_id}"

    @property
    def confirmed(self) -> Counter[str]:
        """For each label name, how many samples all these runs have confirmed with it."""
        total: Counter[str] = Counter()
        for run in self.runs:
            total.update(run.confirmed)
        return total

    @property
    def problems(self) -> list[str]:
        """What could not be read, a line for each run."""
        return [
            f"Run {run.header.run_id}: {problem}"
            for run in self.runs
            for problem in (run.problem, run.evidence_problem)
            if problem
        ]

    def sections(self) -> list[Section]:
        """Return the whole report as plain text."""
        return [
            self._overview(),
            self._labels(),
            self._rules(),
            self._agreement(),
            self._drift(),
            self._hard_examples(),
            self._left(),
        ]

    def markdown(self) -> str:
        """Return the report as Markdown."""
        return to_markdown(self.title, self.sections())

    def html(self) -> str:
        """Return the report as one HTML page that needs nothing else."""
        return to_html(self.title, self.sections())

    @property
    def _readable(self) -> list[RunQuality]:
        return [run for run in self.runs if not run.problem]

    def _overview(self) -> Section:
        lines = [f"Made {_time(self.created_at)} of the last {_number(len(self.runs), 'run')} in the ledger."]
        if not self.runs:
            lines.append("No plan was applied to this dataset.")
        lines += self.problems
        lines.append("What was taken back after a run is counted as the run left it.")
        rows = [
            (
                run.header.run_id,
                _time(run.header.created_at),
                run.header.approved_by or "-",
                *(("-",) * 5 if run.problem else _counts(run)),
            )
            for run in self.runs
        ]
        columns = ("Run", "Applied", "Approved by", "Proposals", "To confirm", "Confirmed", "To people", "Left alone")
        return Section("Runs", lines, [Table(columns, rows)])

    def _labels(self) -> Section:
        total = self.confirmed
        last = self._readable[-1].confirmed if self._readable else Counter[str]()
        names = sorted(total, key=lambda name: (-total[name], name))
        rows = [(_named(name), str(total[name]), str(last[name])) for name in names[:LABELS_SHOWN]]
        if rest := names[LABELS_SHOWN:]:
            of_all, of_last = (str(sum(counts[name] for name in rest)) for counts in (total, last))
            rows.append((f"{len(rest)} other labels", of_all, of_last))
        note = (
            "Samples that carry the label; one with two labels counts for both." if rows else "Nothing was confirmed."
        )
        columns = ("Label", "Confirmed, all runs", "Confirmed, last run")
        return Section("Confirmed by label", [note], [Table(columns, rows)])

    def _rules(self) -> Section:
        if not self._readable:
            return Section("Thresholds", ["No plan can be read."])
        run = self._readable[-1]
        if not run.has_policy:
            return Section("Thresholds", [f"Run {run.header.run_id} had no policy: all proposals with labels."])
        rows = [(f"{ASKED.get(name, name)} ({name})", in_words(value)) for name, value in run.asked.items()]
        return Section("Thresholds", [f"The rules of run {run.header.run_id}."], [Table(("Rule", "Value"), rows)])

    def _agreement(self) -> Section:
        title = "Agreement with people"
        proven = [(run.header.run_id, run.evidence) for run in self.runs if run.evidence is not None]
        if not proven:
            return Section(title, ["No run had evidence: a policy with target_precision asks for it."])
        run_id, last = proven[-1]
        notes = [f"Thresholds and bounds are those of run {run_id}; a sample counts for its first label."]
        if len(last.labels) > LABELS_SHOWN:
            notes.append(f"{len(last.labels) - LABELS_SHOWN} other labels are not shown.")
        columns = ("Run", "Answered", "Right", "Share", "Target")
        runs = Table(columns, [(run_id, *_agreed(evidence)) for run_id, evidence in proven])
        return Section(title, notes, [runs, _proofs(last)], reliability_svg(last))

    def _drift(self) -> Section:
        rows = []
        for before, run in pairwise(self._readable):
            if before.counts is None or run.counts is None:
                rows.append((run.header.run_id, "-", "-", "an older version kept no counts", _verdict(run.drift)))
                continue
            found = compare(before.counts, run.counts)
            labels = next((f"{shift.psi:.2f}" for shift in found if shift.what == "labels"), "-")
            moved = [str(shift) for shift in found if shift.has_moved]
            more = f"; and {len(moved) - _SHIFTS_SHOWN} more" if len(moved) > _SHIFTS_SHOWN else ""
            said = "; ".join(moved[:_SHIFTS_SHOWN]) + more if moved else "nothing beyond chance"
            new = f"{before.counts.total} / {run.counts.total}"
            rows.append((run.header.run_id, new, labels, said, _verdict(run.drift)))
        if not rows:
            return Section("Drift", ["There are no two runs to compare."])
        note = "Each run is compared with the one before it in this report, at a limit of 0.1 or what chance exceeds."
        what = ("New samples: before / now", "PSI of the labels", "What moved since the run before", "Its guard")
        return Section("Drift", [note], [Table(("Run", *what), rows)])

    def _hard_examples(self) -> Section:
        hard = sum(run.hard for run in self.runs)
        if not hard:
            return Section("Hard examples", ["There were none."])
        total: Counter[int] = Counter()
        for run in self.runs:
            total.update(run.reasons)
        last = self._readable[-1]
        rows = [
            (REASONS.get(reason, "a reason unknown to this version"), str(total[reason]), str(last.reasons[reason]))
            for reason in sorted(total, key=lambda reason: (-total[reason], reason))
        ]
        note = f"{hard} proposals of all runs, {last.hard} of the last one; a sample may have several reasons."
        return Section("Hard examples", [note], [Table(("Reason", "All runs", "Last run"), rows)])

    def _left(self) -> Section:
        if not self._readable:
            return Section("What is left", ["No plan can be read."])
        run = self._readable[-1]
        rows = [
            (_DECISIONS.get(action, action), RULES.get(rule, rule), str(count))
            for (action, rule), count in sorted(run.others.items(), key=lambda item: (-item[1], item[0]))
        ]
        rows += [
            ("was to be confirmed", text, str(run.fates[fate]))
            for fate, text in FATES.items()
            if fate != "confirmed" and run.fates[fate]
        ]
        note = f"Proposals of run {run.header.run_id} that it did not confirm."
        if not rows:
            return Section("What is left", ["The last run confirmed all proposals."])
        return Section("What is left", [note], [Table(("What", "Why", "Samples"), rows)])


def _counts(run: RunQuality) -> tuple[str, ...]:
    to_people, left = (sum(count for (of, _), count in run.others.items() if of == one) for one in ("review", "leave"))
    counts = (run.proposals, run.fates.total(), run.fates["confirmed"], to_people, left)
    return tuple(map(str, counts))


def _agreed(evidence: Evidence) -> tuple[str, ...]:
    """Return answers, right ones, their share, and the target."""
    answered, right = len(evidence.answers), sum(one.right for one in evidence.answers)
    share = percent(right / answered) if answered else "-"
    return str(answered), str(right), share, percent(evidence.header.target_precision)


def _proofs(evidence: Evidence) -> Table:
    """Return what is proven of each label."""
    rows = []
    for one in evidence.most_proposals_first[:LABELS_SHOWN]:
        counts = (one.proposals, one.answered, evidence.wrong_by_label[one.label])
        threshold = one.proof.threshold
        proven = ("-", "-") if threshold is None else (f"{threshold:.4g}", percent(one.proof.bound))
        rows.append((_named(one.label), *map(str, counts), *proven))
    return Table(("Label", "Proposals", "Answered", "Wrong", "Proven from score", "At least right"), rows)


def _verdict(drift: Drift | None) -> str:
    if drift is None:
        return "not asked for"
    if drift.baseline_uri is None:
        return "nothing to compare with"
    return f"alarm ({drift.action})" if drift.moved else "no alarm"


def _named(label: str) -> str:
    return label if label else "(no label)"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
