"""What the last runs of a dataset came to, for people: one page as Markdown and as HTML.

All numbers are counted from plans and ledgers, not taken from what tasks said. Names of labels, runs and places are
arbitrary text, so none of it may act as Markdown or HTML. The HTML page loads nothing and runs nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape as escape_html
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.labeling.drift import compare
from airflow_provider_modelarts.labeling.evidence.reliability import reliability_svg
from airflow_provider_modelarts.labeling.evidence.report import percent
from airflow_provider_modelarts.labeling.ledger.reader import applied_plans, read_ledger, replay
from airflow_provider_modelarts.labeling.plan.summary import ASKED, REASONS, RULES, escape, in_words
from airflow_provider_modelarts.labeling.policy import different, facts_of_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_provider_modelarts.labeling.drift import Drift, ProposalCounts
    from airflow_provider_modelarts.labeling.evidence.evidence_file import Evidence
    from airflow_provider_modelarts.labeling.ledger.entries import PartHeader
    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

LABELS_SHOWN = 200
"""Labels in a table; the others are added up."""
_SHIFTS_SHOWN = 5
_NAME_BYTES = 200

# What became of a sample that was to be confirmed, in the order of the report.
FATES: dict[str, str] = {
    "confirmed": "confirmed",
    "failed": "refused by the service",
    "gone": "no longer proposed",
    "changed": "changed since the plan",
    "unknown": "labeled, by whom is not known",
    "open": "not reached, or not recorded",
}


@dataclass
class RunQuality:
    """What one run came to.

    :param header: the first line of its ledger
    :param problem: why its plan or its ledger cannot be read, in one line; then there are no numbers. Empty: they can
    :param has_policy: whether its plan was made by a policy
    :param asked: the rules and filters of its plan
    :param counts: of the samples that its plan proposed for the first time; None: an older version made it
    :param drift: what was found when its plan was compared with an earlier one; None: that was not asked for
    :param proposals: how many its plan has
    :param evidence: what people's answers to its audit proved; None: its policy had no target
    :param evidence_problem: why the evidence cannot be read, in one line; empty if it can
    :param fates: of the samples that were to be confirmed, by :data:`FATES`
    :param confirmed: for each label name, how many confirmed samples carry it
    :param others: of the samples that were not to be confirmed: how many, by decision and rule
    :param hard: hard examples among the proposals
    :param reasons: for each reason of the service, how many of them have it
    """

    header: PartHeader
    problem: str = ""
    has_policy: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)
    counts: ProposalCounts | None = None
    drift: Drift | None = None
    proposals: int = 0
    evidence: Evidence | None = None
    evidence_problem: str = ""
    fates: Counter[str] = field(default_factory=Counter)
    confirmed: Counter[str] = field(default_factory=Counter)
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    hard: int = 0
    reasons: Counter[int] = field(default_factory=Counter)


class Table(NamedTuple):
    """A table of plain text; the first column names what the row is about."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Section(NamedTuple):
    """A part of the report.

    :param title: plain text
    :param lines: plain text
    :param tables: of plain text
    :param picture: SVG that may stand in a page as it is; Markdown leaves it out
    """

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    picture: str = ""


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
        return Section("Runs", tuple(lines), (Table(columns, tuple(rows)),) if rows else ())

    def _labels(self) -> Section:
        total = self.confirmed
        last = self._readable[-1].confirmed if self._readable else Counter[str]()
        names = sorted(total, key=lambda name: (-total[name], name))
        rows = [(_named(name), str(total[name]), str(last[name])) for name in names[:LABELS_SHOWN]]
        if rest := names[LABELS_SHOWN:]:
            sums = (str(sum(counts[name] for name in rest)) for counts in (total, last))
            rows.append((f"{len(rest)} other labels", *sums))  # type: ignore[arg-type]
        table = Table(("Label", "Confirmed, all runs", "Confirmed, last run"), tuple(rows))
        note = "Samples that carry the label; one with two labels counts for both."
        return Section("Confirmed by label", (note,) if rows else ("Nothing was confirmed.",), (table,) if rows else ())

    def _rules(self) -> Section:
        if not self._readable:
            return Section("Thresholds", ("No plan can be read.",))
        run = self._readable[-1]
        if not run.has_policy:
            return Section("Thresholds", (f"Run {run.header.run_id} had no policy: all proposals with labels.",))
        rows = tuple((f"{ASKED.get(name, name)} ({name})", in_words(value)) for name, value in run.asked.items())
        return Section("Thresholds", (f"The rules of run {run.header.run_id}.",), (Table(("Rule", "Value"), rows),))

    def _agreement(self) -> Section:
        proven = [(run.header.run_id, run.evidence) for run in self.runs if run.evidence is not None]
        if not proven:
            return Section(
                "Agreement with people", ("No run had evidence: a policy with target_precision asks for it.",)
            )
        rows = []
        for run_id, evidence in proven:
            answered, right = len(evidence.answers), sum(one.right for one in evidence.answers)
            share = percent(right / answered) if answered else "-"
            rows.append((run_id, str(answered), str(right), share, percent(evidence.header.target_precision)))
        runs = Table(("Run", "Answered", "Right", "Share", "Target"), tuple(rows))
        run_id, last = proven[-1]
        wrong = Counter(one.label for one in last.answers if not one.right)
        found = sorted(last.labels, key=lambda one: (-one.proposals, one.label))
        labels = Table(
            ("Label", "Proposals", "Answered", "Wrong", "Proven from score", "At least right"),
            tuple(
                (
                    _named(one.label),
                    *map(str, (one.proposals, one.answered, wrong[one.label])),
                    *(
                        ("-", "-")
                        if one.proof.threshold is None
                        else (f"{one.proof.threshold:.4g}", percent(one.proof.bound))
                    ),
                )
                for one in found[:LABELS_SHOWN]
            ),
        )
        notes = [f"Thresholds and bounds are those of run {run_id}; a sample counts for its first label."]
        if len(found) > LABELS_SHOWN:
            notes.append(f"{len(found) - LABELS_SHOWN} other labels are not shown.")
        return Section("Agreement with people", tuple(notes), (runs, labels), reliability_svg(last))

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
            return Section("Drift", ("There are no two runs to compare.",))
        columns = (
            "Run",
            "New samples: before / now",
            "PSI of the labels",
            "What moved since the run before",
            "Its guard",
        )
        note = "Each run is compared with the one before it in this report, at a limit of 0.1 or what chance exceeds."
        return Section("Drift", (note,), (Table(columns, tuple(rows)),))

    def _hard_examples(self) -> Section:
        hard = sum(run.hard for run in self.runs)
        if not hard:
            return Section("Hard examples", ("There were none.",))
        total: Counter[int] = Counter()
        for run in self.runs:
            total.update(run.reasons)
        last = self._readable[-1]
        rows = [
            (REASONS.get(reason, "a reason unknown to this version"), str(total[reason]), str(last.reasons[reason]))
            for reason in sorted(total, key=lambda reason: (-total[reason], reason))
        ]
        note = f"{hard} proposals of all runs, {last.hard} of the last one; a sample may have several reasons."
        return Section("Hard examples", (note,), (Table(("Reason", "All runs", "Last run"), tuple(rows)),))

    def _left(self) -> Section:
        if not self._readable:
            return Section("What is left", ("No plan can be read.",))
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
            return Section("What is left", ("The last run confirmed all proposals.",))
        return Section("What is left", (note,), (Table(("What", "Why", "Samples"), tuple(rows)),))


_DECISIONS = {"review": "left to people", "leave": "left alone"}


def quality_report(
    ledger: StoragePath,
    dataset_id: str,
    read_applied: Callable[[PartHeader], Plan],
    *,
    read_evidence: Callable[[Plan], Evidence | None] = lambda _: None,
    runs: int = 10,
    created_at: float,
) -> QualityReport:
    """Count what the last runs of a dataset came to.

    :param ledger: the place of the ledger
    :param dataset_id: the dataset
    :param read_applied: returns the plan that a run applied; what it raises is noted as that run's problem if it is of
        this package
    :param read_evidence: returns the evidence that a plan was narrowed by, None if it was not; raises as that does
    :param runs: how many runs at most; a plan that was applied counts as one
    :param created_at: epoch seconds
    """
    latest = {(one.dag_id, one.run_id, one.plan_digest): one for one in reversed(applied_plans(ledger, dataset_id))}
    headers = sorted(latest.values(), key=lambda header: header.created_at)[-runs:]
    return QualityReport(
        dataset_id, tuple(_run(ledger, one, read_applied, read_evidence) for one in headers), created_at
    )


def _run(
    ledger: StoragePath,
    header: PartHeader,
    read_applied: Callable[[PartHeader], Plan],
    read_evidence: Callable[[Plan], Evidence | None],
) -> RunQuality:
    try:
        plan = read_applied(header)
        state = replay(plan, read_ledger(ledger, header.run_id))
    except ModelArtsError as error:
        return RunQuality(header, problem=error.message)
    run = RunQuality(
        header,
        has_policy=plan.policy is not None,
        asked=plan.asked,
        counts=plan.counts_of_new,
        drift=plan.drift,
        proposals=len(plan),
    )
    try:
        run.evidence = read_evidence(plan)
    except ModelArtsError as error:
        run.evidence_problem = error.message
    for row, decision in plan.samples():
        facts = facts_of_row(row)
        if decision.action == "confirm":
            fate = state.fate(row.sample_id) or "open"
            run.fates["open" if fate == "intended" else fate] += 1
            if fate == "confirmed":
                run.confirmed.update(different(facts.names))
        else:
            run.others[decision.action, decision.rule] += 1
        if facts.is_hard:
            run.hard += 1
            run.reasons.update(reason if reason in REASONS else -1 for reason in row.sample.hard_reasons)
    return run


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return sections as Markdown; what stands in them shows as it is, and does nothing else."""
    lines = [f"# {escape(title, _NAME_BYTES)}", ""]
    for section in sections:
        lines += [f"## {escape(section.title)}", ""]
        for line in section.lines:
            lines += [escape(line, 1000), ""]
        for table in section.tables:
            lines += [_row(table.columns), _row(["---", *["---"] * (len(table.columns) - 1)], is_plain=True)]
            lines += [*map(_row, table.rows), ""]
    return "\n".join(lines)


def _row(cells: Sequence[str], *, is_plain: bool = False) -> str:
    return f"| {' | '.join(cell if is_plain else escape(cell, 1000) for cell in cells)} |"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; background: #ffffff; color: #1f2328; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 0 0 1.5rem; }}
th, td {{ border-bottom: 1px solid #d1d9e0; padding: .3rem .8rem; text-align: left; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }}
@media (prefers-color-scheme: dark) {{
:root {{ background: #0d1117; color: #e6edf3; }}
th, td {{ border-color: #2f353d; }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Return sections as one HTML page that loads nothing and runs nothing."""
    return _PAGE.format(title=_text(title), body="\n".join(_html(sections)))


def _html(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"<h2>{_text(section.title)}</h2>"
        yield from (f"<p>{_text(line)}</p>" for line in section.lines)
        for table in section.tables:
            head = "".join(f"<th>{_text(one)}</th>" for one in table.columns)
            yield f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"
            yield from (f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
            yield "</tbody>\n</table>"
        if section.picture:
            yield section.picture


def _text(text: str) -> str:
    """Return arbitrary text for HTML; half a surrogate pair, which no file can hold, becomes a question mark."""
    return escape_html(text.encode("utf-8", "replace").decode())


def _counts(run: RunQuality) -> tuple[str, ...]:
    to_people, left = (sum(count for (of, _), count in run.others.items() if of == one) for one in ("review", "leave"))
    counts = (run.proposals, run.fates.total(), run.fates["confirmed"], to_people, left)
    return tuple(map(str, counts))


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
