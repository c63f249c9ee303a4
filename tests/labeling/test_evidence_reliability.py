"""The picture of an audit: what it shows is what was answered, it is bounded, and no name of a label does anything."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from scipy.stats import binomtest

from airflow_provider_modelarts.labeling.evidence.evidence_file import (
    AnsweredSample,
    Evidence,
    EvidenceHeader,
    LabelEvidence,
)
from airflow_provider_modelarts.labeling.evidence.reliability import (
    CHARTS,
    ScoreRange,
    reliability_svg,
    score_ranges,
)
from airflow_provider_modelarts.labeling.evidence.statistics import Audited, Proof
from tests.labeling.test_summary import NASTY, nasty_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SVG = "{http://www.w3.org/2000/svg}"
SIDE = 220
"""Of the square of a chart, in pixels."""

Said = tuple[float, bool]


def evidence_of(
    said: Mapping[str, Iterable[Said]], *, proposals: Mapping[str, int] | None = None, threshold: float | None = None
) -> Evidence:
    """What people said of each label: score, and whether the proposal was right."""
    header = EvidenceHeader("d", "file:///p", "0" * 64, 0.9, 0.95, 0.5, "given")
    answers = tuple(
        AnsweredSample(f"{label}-{number}", label, score, right, ())
        for label, pairs in said.items()
        for number, (score, right) in enumerate(pairs)
    )
    labels = tuple(
        LabelEvidence(
            label,
            (proposals or {}).get(label, 500),
            100,
            sum(one.label == label for one in answers),
            Proof(threshold, Audited(400, 80, 1), 0.01, 0.05, 0.9, 0 if threshold is not None else 7),
        )
        for label in sorted(said)
    )
    return Evidence(header, labels, answers)


class Picture:
    """An SVG as a viewer sees it."""

    def __init__(self, evidence: Evidence) -> None:
        self.source = reliability_svg(evidence)
        self.root = ET.fromstring(self.source)  # as strict as a browser is with a file
        self.texts = [one.text or "" for one in self.root.iter(f"{SVG}text")]
        self.charts = [one for one in self.root if one.tag == f"{SVG}svg"]

    def all(self, tag: str, kind: str) -> list[dict[str, str]]:
        return [one.attrib for one in self.root.iter(f"{SVG}{tag}") if one.get("class") == kind]


ROSES = [(0.05, False), (0.31, True), (0.32, False), (0.39, True), (0.3, True), (0.97, True), (1.0, True)]


def test_a_chart_shows_the_share_and_the_number_of_answers_of_each_range_of_scores() -> None:
    picture = Picture(evidence_of({"rose": ROSES}, threshold=0.6))
    dots = [(float(one["cx"]), float(one["cy"])) for one in picture.all("circle", "share")]
    # Ranges without an answer stay empty.
    assert dots == [(SIDE * 0.05, SIDE), (SIDE * 0.35, SIDE * 0.25), (SIDE * 0.95, 0)]
    titles = [one.text for one in picture.root.iter(f"{SVG}title")]
    assert titles == [
        "Right among the answers, by score",
        "rose",
        "0 to 0.1: 0 of 1 right",
        "0.3 to 0.4: 3 of 4 right",
        "0.9 to 1: 2 of 2 right",
    ]
    assert {"7 of 500 answered, 2 wrong", "proven from 0.6"} <= set(picture.texts)
    counts = [one.text for one in picture.root.iter(f"{SVG}text") if one.get("class") == "count"]
    assert counts == ["1", "4", "2"]
    (line,) = picture.all("line", "threshold")
    assert (float(line["x1"]), float(line["x2"])) == (SIDE * 0.6, SIDE * 0.6)
    (area,) = picture.all("rect", "proven")
    assert (float(area["x"]), float(area["width"])) == (SIDE * 0.6, SIDE * 0.4)
    (target,) = picture.all("line", "target")
    assert float(target["y1"]) == float(target["y2"]) == pytest.approx(SIDE * 0.1)
    (diagonal,) = picture.all("line", "diagonal")
    assert [float(diagonal[name]) for name in ("x1", "y1", "x2", "y2")] == [0, SIDE, SIDE, 0]


def test_ranges_are_counted() -> None:
    answers = evidence_of({"rose": ROSES}).answers
    assert score_ranges(answers) == [ScoreRange(0, 1, 0), ScoreRange(3, 4, 3), ScoreRange(9, 2, 2)]
    assert score_ranges([]) == []


@pytest.mark.parametrize(("answered", "right"), [(1, 0), (1, 1), (4, 3), (50, 50), (2000, 1999), (10_000, 0)])
def test_the_interval_is_wilsons(answered: int, right: int) -> None:
    expected = binomtest(right, answered).proportion_ci(0.95, method="wilson")
    assert ScoreRange(0, answered, right).interval() == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_label_of_which_nothing_is_proven_has_no_threshold() -> None:
    picture = Picture(evidence_of({"rose": ROSES}))
    assert picture.all("line", "threshold") == picture.all("rect", "proven") == []
    assert "not proven" in picture.texts


def test_of_many_labels_those_with_the_most_proposals_are_drawn() -> None:
    said = {f"label {number:03}": [(0.5, True)] for number in range(200)}
    picture = Picture(evidence_of(said, proposals={name: 10 + number for number, name in enumerate(said)}))
    assert len(picture.charts) == CHARTS == 12
    assert [one.findtext(f"{SVG}title") for one in picture.charts] == [f"label {199 - place:03}" for place in range(12)]
    assert any("The 12 of 200 labels that have the most proposals." in text for text in picture.texts)
    places = {(one.get("x"), one.get("y"), one.get("width"), one.get("height")) for one in picture.charts}
    assert len(places) == 12
    assert int(picture.root.attrib["width"]) <= 900


@pytest.mark.parametrize(
    ("said", "text"),
    [({}, "The plan has no proposals"), ({"rose": []}, "Nobody has answered."), ({"": ROSES}, "(no label)")],
    ids=["no label", "no answer", "no name"],
)
def test_what_is_missing_is_said(said: dict[str, list[Said]], text: str) -> None:
    picture = Picture(evidence_of(said))
    assert len(picture.charts) == len(said)
    assert any(text in one for one in picture.texts)


def test_large_numbers_stay_short() -> None:
    picture = Picture(evidence_of({"rose": [(0.55, True)] * 12_345}))
    assert "12k" in picture.texts


@pytest.mark.parametrize(
    "name", ["w" * 10_000, "\u8461" * 10_000, "\u202e" * 500, "\ud800", "\x00", "\ufffe\uffff", "a\nb"]
)
def test_long_and_odd_names_stay_over_their_chart(name: str) -> None:
    picture = Picture(evidence_of({name: ROSES}))
    assert len(picture.source) < 12_000
    (shown,) = (one for one in picture.charts[0].iter(f"{SVG}text") if one.get("class") == "name")
    assert 0 < len(shown.text or "") <= 31
    picture.source.encode()


@given(name=nasty_text)
def test_no_name_does_anything(name: str) -> None:
    for label in (name, f"</text></title></style><script>x</script>{NASTY}", f'" onload="x{name}'):
        picture = Picture(evidence_of({label: ROSES}, threshold=0.5))
        tags = {one.tag.removeprefix(SVG) for one in picture.root.iter()}
        assert tags == {"svg", "title", "style", "rect", "text", "g", "line", "circle"}
        attributes = {attribute for one in picture.root.iter() for attribute in one.attrib}
        assert not [one for one in attributes if one.startswith("on") or "href" in one or one in ("src", "style", "id")]


def test_a_picture_loads_nothing() -> None:
    source = reliability_svg(evidence_of({"rose": ROSES}, threshold=0.5))
    for word in ("url(", "@import", "href", "<script", "<image", "foreignObject"):
        assert word not in source
    assert "prefers-color-scheme: dark" in source
