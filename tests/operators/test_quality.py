"""The report on the quality of labels: its numbers, counted once more from files; hostile names; what is missing."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.evidence.reliability import reliability_svg
from airflow_provider_modelarts.labeling.plan.words import REASONS, RULES_IN_WORDS
from airflow_provider_modelarts.links import REPORT_XCOM
from airflow_provider_modelarts.operators.quality import ModelArtsQualityReportOperator
from tests.labeling.raw_samples import raw_label, raw_sample
from tests.labeling.test_baseline import EVEN, ROSES, night
from tests.operators.runners import RUN_ID, ConfirmRunner
from tests.operators.test_audit import POLICY as AUDIT
from tests.operators.test_audit import AuditRunner
from tests.operators.test_drift import NightRunner

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.operator_driver import Ending

EVIL = '<script>alert("1")</script> | [x](https://example.com) `<img src=x onerror=y>`'

TABLE_TAGS = {"table", "thead", "tbody", "tr", "th", "td"}
PAGE_TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", *TABLE_TAGS}
PAGE_ATTRIBUTES = {"lang", "charset", "http-equiv", "content"}


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> NightRunner:
    return NightRunner(emulator, moved_clock, tmp_path)


class Page(HTMLParser):
    """What a browser would see of a page: the rows of its tables by headline, its tags and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self._title, self._is_in = "", ""
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._is_in = tag
        if tag == "h2":
            self._title = ""
        if tag == "tr":
            self.tables.setdefault(self._title, []).append([])
        if tag in ("td", "th"):
            self.tables[self._title][-1].append("")

    def handle_data(self, data: str) -> None:
        if self._is_in == "h2":
            self._title += data
        if self._is_in in ("td", "th"):
            self.tables[self._title][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._is_in = ""

    def row(self, title: str, first: str) -> list[str]:
        (found,) = (row for row in self.tables[title] if row[0] == first)
        return found[1:]


def report(runner: ConfirmRunner, **parameters: Any) -> Ending:
    given = {
        "dataset_id": runner.dataset_id,
        "ledger_uri": runner.ledger_uri,
        "report_uri": f"file://{runner.folder}/reports",
        **parameters,
    }
    return runner.run(ModelArtsQualityReportOperator(task_id="report", **given), 1, 3)


def page_of(ending: Ending) -> Page:
    return Page(Path(ending.result["html_uri"].removeprefix("file://")).read_text("utf-8"))


def lines_of(uri: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(uri.removeprefix("file://")).read_text().splitlines()]


def test_its_numbers_are_those_of_plans_and_ledgers(runner: NightRunner) -> None:
    plans = []
    for number in range(3):
        proposals = night(number + 50, EVEN)
        for place, one in enumerate(proposals):
            if place % 7 == 0:
                one["metadata"] = {"@modelarts:hard": True, "@modelarts:hard_reasons": [1, place % 3 + 10]}
            if place % 11 == 0:
                one["labels"].append(raw_label("second"))
        runner.dataset.propose(proposals)
        planned, applied = runner.plan_and_apply({"rose": 1, "tulip": 2, "daisy": 1}, on_drift="warn")
        assert (planned.error, applied.error) == (None, None)
        plans.append((runner.run_id, runner.plan_uri, applied.result))
    ending = report(runner)
    assert ending.error is None
    page = page_of(ending)

    fates = {entry["sample_id"]: entry["fate"] for entry in runner.entries()}
    confirmed = {sample_id for sample_id, fate in fates.items() if fate == "confirmed"}
    by_label: Counter[str] = Counter()
    reasons: Counter[int] = Counter()
    for run_id, plan_uri, result in plans:
        proposals = lines_of(plan_uri)[1:-1]
        to_confirm = [one for one in proposals if one["decision"] == "confirm"]
        done = [one for one in to_confirm if one["sample_id"] in confirmed]
        assert len(done) == result["confirmed"]
        for one in done:
            by_label.update({label["name"] for label in one["labels"]})
        for one in proposals:
            reasons.update(one.get("metadata", {}).get("@modelarts:hard_reasons", ()))
        left = Counter(one["decision"] for one in proposals)
        counts = (len(proposals), len(to_confirm), len(done), left["review"], left["leave"])
        assert page.row("Runs", run_id)[2:] == [str(count) for count in counts]
    last = Counter(name for one in done for name in {label["name"] for label in one["labels"]})
    assert {row[0]: row[1:] for row in page.tables["Confirmed by label"][1:]} == {
        name: [str(count), str(last[name])] for name, count in by_label.items()
    }
    for reason, count in reasons.items():
        assert page.row("Hard examples", REASONS[reason])[0] == str(count)
    rules = Counter(one["rule"] for one in proposals if one["decision"] != "confirm")
    assert {row[1]: row[2] for row in page.tables["What is left"][1:]} == {
        RULES_IN_WORDS[rule]: str(count) for rule, count in rules.items()
    }
    assert ending.result["confirmed"] == len(confirmed) == runner.dataset.annotated
    assert (ending.result["runs"], ending.result["problems"]) == (3, 0)
    markdown = Path(ending.result["markdown_uri"].removeprefix("file://")).read_text("utf-8")
    shown = [
        [cell.replace("\\", "") for cell in re.split(r"(?<!\\) \| ", row.strip("| "))] for row in _table_rows(markdown)
    ]
    assert shown == [row for rows in page.tables.values() for row in rows]


def _table_rows(markdown: str) -> list[str]:
    return [line for line in markdown.splitlines() if line.startswith("| ") and not line.startswith("| ---")]


def test_it_shows_the_drift_from_run_to_run_and_what_the_guard_said(runner: NightRunner) -> None:
    for weights in (EVEN, EVEN, ROSES):
        runner.plan_and_apply(weights, on_drift="warn")
    page = page_of(report(runner))
    calm, moved = (page.row("Drift", name) for name in ("night-2", "night-3"))
    assert (calm[0], calm[2], calm[3]) == ("400 / 400", "nothing beyond chance", "no alarm")
    assert "the share of 'rose' from" in moved[2]
    assert moved[3] == "alarm (warn)"


def test_no_name_acts_as_html_or_markdown(runner: NightRunner) -> None:
    runner.begin_run(EVIL)
    runner.plan_uri = f"file://{runner.folder}/plans/evil.jsonl"
    runner.dataset.propose([raw_sample(number, [raw_label(EVIL)]) for number in range(1, 30)])
    assert runner.confirm(ledger_uri=runner.ledger_uri, approved_by=EVIL).error is None
    ending = report(runner)
    text = Path(ending.result["html_uri"].removeprefix("file://")).read_text("utf-8")
    page = Page(text)
    assert page.tags <= PAGE_TAGS
    assert page.attributes <= PAGE_ATTRIBUTES
    assert "default-src 'none'" in text
    assert page.row("Confirmed by label", EVIL) == ["29", "29"]
    assert page.row("Runs", EVIL)[1] == EVIL
    markdown = Path(ending.result["markdown_uri"].removeprefix("file://")).read_text("utf-8")
    assert "<" not in markdown
    assert "](" not in markdown
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (3, 4, 9) for row in _table_rows(markdown))


@pytest.mark.wrong_answers
def test_no_name_acts_in_the_picture(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    names = (EVIL, f"</style></svg>{EVIL}", "\x00")
    runner.dataset_id = emulator.load_proposals(0)
    samples = [raw_sample(number, [raw_label(names[number % 3], score=0.5 + number / 200)]) for number in range(1, 91)]
    runner.dataset.propose(samples)
    assert runner.plan(policy={**AUDIT, "audit_size": 25}).error is None
    assert runner.evaluate(answers_from=dict.fromkeys(runner.drawn(), "right")).error is None
    assert runner.apply().result["confirmed"] > 0
    text = Path(report(runner).result["html_uri"].removeprefix("file://")).read_text("utf-8")
    assert reliability_svg(runner.evidence()) in text
    page = Page(text)
    assert page.tags <= {*PAGE_TAGS, "svg", "g", "rect", "line", "circle", "text"}
    shape = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "viewbox", "transform"}
    assert page.attributes <= {*PAGE_ATTRIBUTES, *shape, "class", "role", "xmlns", "text-anchor"}


def test_what_people_answered_stands_in_it(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> None:
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    assert runner.plan(policy=AUDIT).error is None
    runner.answer()
    assert runner.evaluate().error is None
    assert runner.apply().error is None
    page = page_of(report(runner))
    lines = lines_of(runner.evidence_uri)
    answers = [line for line in lines if "right" in line]
    right = sum(line["right"] for line in answers)
    assert page.row("Agreement with people", RUN_ID)[:2] == [str(len(answers)), str(right)]
    assert 0 < right < len(answers) == 180
    for label in ("rose", "tulip"):
        ours = [line for line in answers if line["label"] == label]
        (proof,) = (line["proof"] for line in lines if line.get("label") == label and "proof" in line)
        shown = page.row("Agreement with people", label)
        assert shown[1:3] == [str(len(ours)), str(sum(not line["right"] for line in ours))]
        assert shown[3] == ("-" if proof["threshold"] is None else f"{proof['threshold']:.4g}")
    ending = report(runner)
    text = Path(ending.result["html_uri"].removeprefix("file://")).read_text("utf-8")
    assert reliability_svg(runner.evidence()) in text
    assert "svg" not in Path(ending.result["markdown_uri"].removeprefix("file://")).read_text("utf-8")
    Path(runner.evidence_uri.removeprefix("file://")).unlink()
    ending = report(runner)
    assert ending.result["problems"] == 1
    assert f"Run {RUN_ID}: The evidence " in Path(ending.result["html_uri"].removeprefix("file://")).read_text("utf-8")
    assert set(page_of(ending).tables) == set(page.tables) - {"Agreement with people"}


def test_a_run_whose_plan_is_gone_is_named_and_the_others_are_counted(runner: NightRunner) -> None:
    runner.plan_and_apply(EVEN)
    Path(runner.plan_uri.removeprefix("file://")).unlink()
    runner.begin_run("night-x")
    runner.dataset.propose(night(9, EVEN))
    assert runner.confirm(policy={"min_score": 0.5}, ledger_uri=runner.ledger_uri).error is None
    ending = report(runner)
    assert (ending.result["runs"], ending.result["problems"]) == (2, 1)
    page = page_of(ending)
    assert page.row("Runs", "night-1")[2:] == ["-"] * 5
    assert page.row("Runs", "night-x")[4] == str(ending.result["confirmed"])
    assert "Run night-1: " in Path(ending.result["html_uri"].removeprefix("file://")).read_text()


def test_a_damaged_ledger_is_a_problem_and_no_number(runner: NightRunner) -> None:
    runner.plan_and_apply(EVEN)
    part = max(runner.parts(), key=lambda part: part.stat().st_size)
    part.write_bytes(part.read_bytes().replace(b'"confirmed"', b'"failed"', 1))
    ending = report(runner)
    assert ending.result["problems"] == 1
    assert ending.result["confirmed"] == 0


def test_only_the_last_runs_of_this_dataset_are_in_it(
    runner: NightRunner, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        runner.plan_and_apply(EVEN)
    assert report(runner, runs="2").result["runs"] == 2
    other = emulator.load_proposals(10)
    empty = report(runner, dataset_id=other)
    assert (empty.result["runs"], empty.result["confirmed"]) == (0, 0)
    assert "No plan was applied" in Path(empty.result["html_uri"].removeprefix("file://")).read_text()
    assert f"names no run of dataset {other}" in capsys.readouterr().out


def test_a_sample_that_two_tries_wrote_counts_once(runner: NightRunner) -> None:
    runner.begin_night(EVEN)
    given = {"policy": {"min_score": 0.5}, "ledger_uri": runner.ledger_uri}
    first = runner.confirm(**given)
    runner.confirm(**given, try_number=2)
    assert len(runner.headers()) == 2
    assert report(runner).result["confirmed"] == first.result["confirmed"]


def test_the_evidence_is_read_from_where_the_confirming_task_named_it(
    emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    runner = AuditRunner(emulator, moved_clock, tmp_path)
    elsewhere = f"file://{tmp_path}/evidence/of-the-policy.jsonl"
    assert runner.plan(policy={**AUDIT, "evidence_uri": elsewhere}).error is None
    runner.answer()
    assert runner.evaluate().error is None
    assert runner.apply().error is None
    ending = report(runner)
    assert ending.result["problems"] == 0
    assert page_of(ending).row("Agreement with people", RUN_ID)[0] == "180"


@pytest.mark.parametrize(
    ("report_uri", "names"),
    [
        ("reports", {"quality-{}.md", "quality-{}.html"}),
        ("reports/mine.html", {"mine.md", "mine.html"}),
        ("reports/mine.md", {"mine.md", "mine.html"}),
        ("reports/v1.2", {"quality-{}.md", "quality-{}.html"}),
    ],
)
def test_it_is_written_into_a_folder_or_as_a_file(runner: NightRunner, report_uri: str, names: set[str]) -> None:
    ending = report(runner, report_uri=f"file://{runner.folder}/{report_uri}")
    found = {Path(ending.result[name]).name for name in ("markdown_uri", "html_uri")}
    assert found == {name.format(runner.dataset_id) for name in names}
    assert ending.xcoms[REPORT_XCOM] == ending.result["html_uri"]


def test_the_link_is_the_address_that_people_can_open(runner: NightRunner) -> None:
    address = "https://reports.example.com/quality.html"
    assert report(runner, report_link=address).xcoms[REPORT_XCOM] == address
    with pytest.raises(ParameterError, match="begins with https"):
        report(runner, report_link="javascript:alert(1)")
