"""The summary for people: bounded, harmless whatever the labels are called, and right."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.sample_rows import row_of
from airflow_provider_modelarts.labeling.filters import FILTERS
from airflow_provider_modelarts.labeling.markdown import MAX_BYTES, code, escape
from airflow_provider_modelarts.labeling.plan.summary import PlanSummary
from airflow_provider_modelarts.labeling.plan.words import ASKED, REASONS, RULES_IN_WORDS
from airflow_provider_modelarts.labeling.policy import PASSED, RULES, ConfirmPolicy, Decision
from airflow_provider_modelarts.labeling.sample_facts import facts_of, facts_of_row

CONFIRM = Decision("confirm", "passed")
REVIEW = Decision("review", "hard_example")
LEAVE = Decision("leave", "no_labels")

markdown = MarkdownIt("gfm-like")
NASTY = "|`*_[x](http://e.example)<b>&amp;\\\n#-~!$www.e.com a@e.com"
nasty_text = st.text(st.sampled_from(NASTY) | st.characters(), max_size=300)


def proposal(number: int = 0, name: str = "rose", score: Any = 0.9, **metadata: Any) -> Sample:
    origin = {"@modelarts:origin_source": f"s3://bucket/{number}.jpg"}
    label = {"name": name, "type": 0, "score": score}
    return Sample({"sample_id": f"{number}", "labels": [label], "metadata": {**origin, **metadata}})


def add(summary: PlanSummary, sample: Sample, decision: Decision) -> None:
    row = row_of(sample)
    summary.add(row, facts_of_row(row), decision)


def summary_of(*pairs: tuple[Sample, Decision]) -> PlanSummary:
    summary = PlanSummary()
    for sample, decision in pairs:
        add(summary, sample, decision)
    return summary


def cells(text: str) -> list[str]:
    """Return the first cell of each row of the table, as a reader sees it."""
    rows = re.findall(r"<tr>\s*<td>(.*?)</td>", markdown.render(text), flags=re.S)
    return [row.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&") for row in rows]


def seen(name: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", " ", name).split())


def test_it_says_what_was_decided_and_why() -> None:
    hard = {"@modelarts:hard": True, "@modelarts:hard_reasons": [3, 20]}
    text = summary_of(
        *((proposal(number, score=0.97), CONFIRM) for number in range(12)),
        (proposal(20, "tulip", 0.41, **hard), REVIEW),
        (proposal(21, "tulip", 0.42, **{"@modelarts:hard": "1", "@modelarts:hard_reasons": "3"}), REVIEW),
        (Sample({"sample_id": "unplaced"}), LEAVE),
    ).markdown("Flowers")
    assert text.startswith("### Flowers\n")
    for line in (
        "**15 proposals**",
        "- **12** would be confirmed: every rule passed (12)",
        "- **2** left to people (review): hard example (2)",
        "- **1** left alone: no labels (1)",
        "| rose | 12 | 0 | 0 |",
        "| tulip | 0 | 2 | 0 |",
        "2 hard examples; most frequent reasons:",
        "- 2 x far from the training data of its class",
        "- 1 x changes after a left-right flip",
        "- `s3://bucket/0.jpg`: rose 0.970; every rule passed",
        "- `s3://bucket/20.jpg`: tulip 0.410; hard example",
        "- `unplaced`: no label; no labels",
    ):
        assert line in text.splitlines(), line
    bars = {line[:9]: line.count("#") for line in text.splitlines() if re.match(r"\d\.\d - ", line)}
    assert len(bars) == 10
    assert bars["0.9 - 1.0"] == 30
    assert 0 < bars["0.4 - 0.5"] < 30
    assert bars["0.5 - 0.6"] == 0
    assert "unknown" in text


def test_every_rule_and_every_reason_has_words() -> None:
    assert {rule.name for rule in RULES} | {PASSED.rule, "no_policy"} <= set(RULES_IN_WORDS)
    assert set(REASONS) == set(range(31))


def test_reasons_outside_the_contract_are_counted_together() -> None:
    odd = {"@modelarts:hard": True, "@modelarts:hard_reasons": [31, 99]}
    assert "- 2 x a reason unknown to this version" in summary_of((proposal(1, **odd), REVIEW)).markdown()


def test_scores_outside_their_range_and_on_borders_are_counted() -> None:
    text = summary_of(*((proposal(score=score), CONFIRM) for score in (0, 1, 1.0, 1.7, -3, "0.95"))).markdown()
    lines = {line[:9]: line.split()[-1] for line in text.splitlines() if re.match(r"\d\.\d - ", line)}
    assert (lines["0.9 - 1.0"], lines["0.0 - 0.1"]) == ("3", "1")
    assert re.search(r"^unknown +2$", text, re.MULTILINE)
    assert "- **2** with a score that is no number from 0 to 1; it counts as unknown\n" in text


def test_the_score_of_a_sample_is_its_lowest_label_score() -> None:
    labels = [{"name": "a", "score": 0.9}, {"name": "b", "score": "0.3"}]
    assert facts_of(Sample({"labels": labels, "score": 0.1})).lowest_score == 0.3
    assert facts_of(Sample({"labels": [{"name": "a"}], "score": 0.1})).lowest_score == 0.1
    assert facts_of(Sample({"labels": [{"name": "a"}]})).lowest_score is None


@settings(deadline=None, derandomize=True, max_examples=200)
@given(names=st.lists(nasty_text, max_size=60), title=nasty_text, note=nasty_text, place=nasty_text)
def test_it_is_bounded_and_nothing_in_it_acts(names: list[str], title: str, note: str, place: str) -> None:
    summary = PlanSummary()
    for number, name in enumerate(names):
        raw = {
            "sample_id": place,
            "labels": [{"name": name, "score": number / 60}],
            "source": f"{place}?Signature=5ecret",
        }
        add(summary, Sample(raw), (CONFIRM, REVIEW, LEAVE)[number % 3])
    text = summary.markdown(title, [note], {"labels": names, "min_score_by_label": dict.fromkeys(names, 0.5)})
    assert len(text.encode()) <= MAX_BYTES
    assert "5ecret" not in text
    html = markdown.render(text)
    tags = set(re.findall(r"</?([a-z0-9]+)[^>]*>", html))
    allowed = {"h3", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert tags <= allowed


@settings(deadline=None, derandomize=True, max_examples=200)
@given(name=st.text(st.sampled_from(NASTY) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15))
def test_a_label_is_shown_by_its_name(name: str) -> None:
    shown = cells(summary_of((proposal(name=name), CONFIRM)).markdown())
    is_name = bool(name.strip())  # a name of blanks is none
    assert [seen(cell) for cell in shown] == [seen(name) or "(empty)"] * is_name


@pytest.mark.parametrize("name", ["x" * 5000, "|" * 5000, "\U0001f600" * 5000, "<" * 5000, "a b " * 2000])
@pytest.mark.parametrize("count", [1, 30, 3000])
def test_long_names_and_many_labels_fit(name: str, count: int) -> None:
    summary = PlanSummary()
    for number in range(count):
        hard = {"@modelarts:hard": True, "@modelarts:hard_reasons": list(range(31))}
        sample = proposal(number, f"{number} {name}", number / count, **hard)
        row = row_of(sample)
        facts = facts_of_row(row)
        for rule in ("passed", "no_labels", "hard_example", f"{name}{number % 3}"):
            summary.add(row, facts, Decision(("confirm", "review", "leave")[number % 3], rule))
    text = summary.markdown(name, [name] * 5)
    assert len(text.encode()) <= MAX_BYTES
    if count == 3000:
        assert re.search(r"\| \.\.\. \d+ other labels", text)


def test_the_most_frequent_labels_are_shown_first() -> None:
    pairs = [(proposal(name=f"label {number}"), CONFIRM) for number in range(500) for _ in range(1 + (number == 499))]
    rows = cells(summary_of(*pairs).markdown())
    assert rows[0] == "label 499"
    assert rows[-1].endswith("other labels")
    assert len(rows) - 1 + int(rows[-1].split()[1]) == 500


def examples(text: str) -> list[str]:
    """Return the examples of what would be confirmed."""
    part = text.partition("Examples that would be confirmed")[2].partition("Examples that are")[0]
    return [line for line in part.splitlines() if line.startswith("- ")]


def test_of_each_label_the_lowest_scores_that_would_be_confirmed_are_shown() -> None:
    scores = {"rose": [0.99, 0.91, 0.95, 0.97, None, 0.96], "tulip": [0.98, 0.94], "daisy": [1.0]}
    pairs = [
        (proposal(number, name, score), CONFIRM)
        for name, given_scores in scores.items()
        for number, score in enumerate(given_scores)
    ]
    shown = [line.partition(": ")[2] for line in examples(summary_of(*pairs).markdown())]
    assert [line.partition(";")[0] for line in shown] == [
        *("rose", "rose 0.910", "rose 0.950"),
        *("tulip 0.940", "tulip 0.980"),
        "daisy 1.000",
    ]


def test_a_sample_of_several_labels_is_one_example() -> None:
    both = Sample({"sample_id": "x", "labels": [{"name": "rose", "score": 0.9}, {"name": "tulip", "score": 0.8}]})
    assert examples(summary_of((both, CONFIRM)).markdown()) == ["- `x`: rose, tulip 0.800; every rule passed"]


@pytest.mark.parametrize("count", [1, 40, 3000])
def test_examples_leave_room_for_the_labels_and_labels_for_examples(count: int) -> None:
    pairs = [(proposal(number, f"label {number % count}", 0.9), CONFIRM) for number in range(9000)]
    text = summary_of(*pairs).markdown(asked={"min_score": 0.9})
    assert len(text.encode()) <= MAX_BYTES
    assert len(examples(text)) == 3 if count == 1 else len(examples(text)) > 20
    assert len(cells(text)) >= min(count, 20)


def test_it_says_by_what_was_decided() -> None:
    asked = {
        "min_score": 0.9,
        "min_score_by_label": {"rose": 0.95, "tulip|": 0.5},
        "labels": ["rose", "tulip|"],
        "hard_examples": "review",
        "audit_share": 0.02,
        "max_share_per_label": 0.9,
        "low_score": 0.5,
    }
    text = PlanSummary().markdown(asked=asked)
    for line in (
        "Decided by this policy:",
        r"- lowest score (min\_score): 0\.9",
        r"- lowest score of single labels (min\_score\_by\_label): rose 0\.95, tulip\| 0\.5",
        r"- only these labels (labels): rose, tulip\|",
        r"- hard examples (hard\_examples): review",
        r"- share drawn for people instead (audit\_share): 0\.02",
        r"- highest share of one label (max\_share\_per\_label): 0\.9",
        r"- only proposals that score at least (low\_score): 0\.5",
    ):
        assert line in text.splitlines(), line


def test_without_a_policy_it_says_so() -> None:
    text = PlanSummary().markdown(asked={"label_name": "rose"})
    assert "Decided without a policy:" in text
    assert "- every proposal that has labels is confirmed, hard examples too" in text
    assert r"- only proposals with the label (label\_name): rose" in text
    assert "Decided" not in PlanSummary().markdown()


def test_a_long_policy_fits() -> None:
    names = {f"{'x' * 50} {number}": 0.5 for number in range(1000)}
    asked = dict.fromkeys((*ConfirmPolicy.model_fields, "label_name", "another"), names)
    summary = PlanSummary()
    for number in range(500):
        add(summary, proposal(number, f"{number} {'|' * 500}"), Decision("confirm", f"{'|' * 500}{number % 20}"))
    text = summary.markdown("|" * 500, ["|" * 900] * 3, asked)
    assert len(text.encode()) <= MAX_BYTES
    assert "- ... and more, see the plan" in text


def test_every_key_of_a_policy_has_words() -> None:
    assert set(ASKED) == {*ConfirmPolicy.model_fields, *FILTERS}


def test_memory_does_not_grow_with_the_samples() -> None:
    summary = PlanSummary()
    for number in range(100):
        add(summary, proposal(number), CONFIRM)
    tracemalloc.start()
    for number in range(5000):
        add(summary, proposal(number, score=number / 5000), REVIEW)
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/labeling/plan/summary.py")])
    tracemalloc.stop()
    assert sum(statistic.size for statistic in ours.statistics("filename")) < 50_000


def test_more_labels_than_are_tracked_are_counted() -> None:
    summary = PlanSummary()
    for number in range(10_500):
        add(summary, proposal(name=f"{number}"), CONFIRM)
    assert "other labels" in summary.markdown()
    assert "more than" in summary.markdown()


@pytest.mark.parametrize("name", ["www.e.com", "http://e.com/x", "0.FI", "a@e.com", "mailto:a@e.com", "//e.com"])
def test_names_do_not_become_links(name: str) -> None:
    html = markdown.render(summary_of((proposal(name=name), CONFIRM)).markdown(name, [name]))
    assert "<a" not in html
    assert html.count(name) == 4  # heading, note, table, example


@pytest.mark.parametrize(
    ("origin", "shown"),
    [("s3://bucket/1.jpg?X-Amz-Signature=5ecret", "s3://bucket/1.jpg"), ("s3://b/what?/1.jpg", "s3://b/what?/1.jpg")],
)
def test_an_origin_is_shown_without_its_signature(origin: str, shown: str) -> None:
    sample = Sample({"sample_id": "1", "metadata": {"@modelarts:origin_source": origin}})
    text = summary_of((sample, LEAVE)).markdown()
    assert f"- `{shown}`: no label" in text
    assert "5ecret" not in text


def test_nothing_to_say() -> None:
    text = PlanSummary().markdown()
    assert "**0 proposals**" in text
    assert "|" not in text


def test_text_and_code_are_cut_to_a_limit() -> None:
    assert len(escape("é" * 500, 50).encode()) <= 50
    assert escape("a|b") == "a\\|b"
    assert code("s3://b/" + "x" * 500 + "/end.jpg", 60).endswith("/end.jpg`")
    assert len(code("é" * 500, 60).encode()) <= 60
    assert code("a`b\nc") == "`a%60b c`"
