"""The index of a plan says the same as the plan, also where proposals are not as documented, and in object storage."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.labeling.drift import Drift, Shift
from airflow_provider_modelarts.labeling.plan.plan_file import ACTIONS, Plan, PlanHeader, PlanNotes, PlanWriter
from airflow_provider_modelarts.labeling.policy import Decision, different, facts_of_row
from airflow_provider_modelarts.labeling.storage.sealed_file import StorageDamaged
from airflow_provider_modelarts.plugins import review_index
from airflow_provider_modelarts.plugins.review_index import Choice, ReviewIndex, ReviewIndexes, digest_of

if TYPE_CHECKING:
    from pathlib import Path

ODD: list[dict[str, Any]] = [
    {"sample_id": "plain", "labels": [{"name": "rose", "score": 0.5}]},
    {"sample_id": "two", "labels": [{"name": "tulip", "score": 0.9}, {"name": "rose", "score": 0.1}]},
    {"sample_id": "twice", "labels": [{"name": "rose", "score": 0.3}, {"name": "rose", "score": 0.4}]},
    {"sample_id": "own score", "labels": [{"name": "rose"}], "score": 0.2},
    {"sample_id": "both scores", "labels": [{"name": "rose", "score": 0.7}, {"name": "tulip"}], "score": 0.25},
    {"sample_id": "text", "labels": [{"name": "rose", "score": "0.6"}]},
    {"sample_id": "whole", "labels": [{"name": "rose", "score": 1}]},
    {"sample_id": "too high", "labels": [{"name": "rose", "score": 1.5}, {"name": "tulip", "score": 0.2}]},
    {"sample_id": "truth", "labels": [{"name": "rose", "score": True}]},
    {"sample_id": "none", "labels": []},
    {"sample_id": "null", "labels": None, "score": 0.4},
    {"sample_id": "no name", "labels": [{"name": "", "score": 0.4}]},
    {"sample_id": "number", "labels": [{"name": 7, "score": 0.4}]},
    {"sample_id": "list", "labels": [["rose"]]},
    {"sample_id": "half \ud800", "labels": [{"name": "half \ud800", "score": 0.4}]},
    {"sample_id": "lines\r\n\u2028", "labels": [{"name": "a\r\nb\u2028", "score": 0.4}]},
]


def plan_of(path: Path, raws: list[dict[str, Any]]) -> Plan:
    with PlanWriter(path, PlanHeader("d", made_by={"dag_id": "x"})) as writer:
        for number, raw in enumerate(raws):
            writer.add(Sample(raw), Decision(ACTIONS[number % 3], "passed"))  # type: ignore[arg-type]
    return writer.plan()


def test_it_says_what_the_plan_says(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "plan.jsonl", ODD)
    index = ReviewIndex(plan.path, plan.digest)
    assert (len(index), index.counts) == (len(ODD), plan.counts)
    assert (index.header.dataset_id, index.header.made_by) == ("d", {"dag_id": "x"})
    expected: dict[str, set[int]] = {}
    for position, (row, decision) in enumerate(plan.samples()):
        facts = facts_of_row(row)
        shown = index.read(position)
        assert (shown.sample.sample_id, shown.action) == (row.sample_id, decision.action)
        assert shown.sample.raw["labels"] == (ODD[position]["labels"] or [])
        for name in different(facts.names):
            expected.setdefault(name, set()).add(position)
        score = facts.lowest_score
        for low, high in ((0.0, 0.3), (0.3, 1.0)):
            found = position in index.find(Choice(low=low, high=high))
            assert found == (score is not None and low <= score <= high), (row.sample_id, score)
    assert {label.name: set(index.find(Choice(label.name))) for label in index.labels} == expected
    for label in index.labels:
        counts = [sum(position % 3 == number for position in expected[label.name]) for number in range(3)]
        assert [label.confirm, label.review, label.leave] == counts
    everything = index.find(Choice())
    assert sorted(everything) == list(range(len(ODD)))


def test_what_has_drifted_is_shown_as_it_will_be_treated(tmp_path: Path) -> None:
    """The lines were written before it was known; the last line says it."""
    names = ("rose", "tulip")
    with PlanWriter(tmp_path / "plan.jsonl", PlanHeader("d")) as writer:
        for number in range(10):
            labels = [{"name": names[number % 2], "score": 0.9}]
            writer.add(Sample({"sample_id": str(number), "labels": labels}), Decision("confirm", "passed"))
        moved = Shift("scores", "rose", 1.0, 0.1, 0.9, 0.5)
        writer.notes = PlanNotes(drift=Drift("review", moved=(moved,)))
    plan = writer.plan()
    index = ReviewIndex(plan.path, plan.digest)
    assert index.counts == plan.counts == {"confirm": 5, "review": 5, "leave": 0}
    for position in range(10):
        shown = index.read(position)
        held = shown.sample.label_names == ["rose"]
        assert (shown.action, shown.rule) == (("review", "label_drifted") if held else ("confirm", "passed"))
    assert [(one.name, one.confirm, one.review) for one in index.labels] == [("rose", 0, 5), ("tulip", 5, 0)]


def test_the_least_sure_come_first(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "plan.jsonl", ODD)
    index = ReviewIndex(plan.path, plan.digest)
    shown = [index.read(position).sample.sample_id for position in index.find(Choice("rose"))]
    assert shown[:2] == ["too high", "truth"], "nobody knows their scores"
    assert shown[2:] == ["two", "own score", "both scores", "twice", "plain", "text", "whole"]


@pytest.mark.parametrize("position", [-1, len(ODD)])
def test_there_is_nothing_beyond_the_plan(tmp_path: Path, position: int) -> None:
    plan = plan_of(tmp_path / "plan.jsonl", ODD)
    with pytest.raises(IndexError):
        ReviewIndex(plan.path, plan.digest).read(position)


def test_an_empty_plan_is_a_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "plan.jsonl", [])
    index = ReviewIndex(plan.path, plan.digest)
    assert (len(index), index.find(Choice()), index.labels) == (0, [], [])


def test_what_is_shown_stays_what_was_checked(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "plan.jsonl", ODD)
    index = ReviewIndex(plan.path, plan.digest)
    plan_of(tmp_path / "plan.jsonl", list(reversed(ODD)))
    assert index.read(0).sample.sample_id == "plain"
    assert digest_of(plan.path) != plan.digest


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_changed_byte_is_noticed(tmp_path: Path, place: str) -> None:
    plan = plan_of(tmp_path / "plan.jsonl", ODD)
    content = bytearray((tmp_path / "plan.jsonl").read_bytes())
    at = {
        "first": content.index(b'"dataset_id":"d"') + 14,
        "middle": content.index(b"rose"),
        "last": content.index(b"lines"),
    }
    content[at[place]] ^= 1
    (tmp_path / "plan.jsonl").write_bytes(content)
    with pytest.raises(StorageDamaged):
        ReviewIndex(plan.path, plan.digest)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b'{"format": "other"}\n{}\n', b"\x00" * 100])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(content)
    with pytest.raises(StorageDamaged):
        ReviewIndex(path, "0" * 64)
    assert digest_of(path) is None


def test_a_last_line_of_any_length_holds_the_digest(tmp_path: Path) -> None:
    """It counts the labels, and a dataset may have many."""
    many = [{"sample_id": str(number), "labels": [{"name": f"{number}" * 60}]} for number in range(3000)]
    plan = plan_of(tmp_path / "plan.jsonl", many)
    assert digest_of(plan.path) == plan.digest


def test_many_boxes_take_little_memory(tmp_path: Path) -> None:
    """The API server keeps the last few plans; a proposal with several boxes stands under several labels."""
    count = 5_000
    boxes = [[{"name": f"label {(number + place) % 50}"} for place in range(4)] for number in range(count)]
    plan = plan_of(tmp_path / "plan.jsonl", [{"sample_id": str(n), "labels": one} for n, one in enumerate(boxes)])
    ReviewIndex(plan.path, plan.digest)  # what is made once for all plans is not counted
    tracemalloc.start()
    try:
        index = ReviewIndex(plan.path, plan.digest)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(index) == count
    assert kept / count < 80, "bytes for each proposal"


def test_each_plan_is_read_once_and_only_the_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [plan_of(tmp_path / f"{number}.jsonl", ODD[number:] if number else []) for number in range(3)]
    made = []

    class Counted(ReviewIndex):
        def __init__(self, path: Any, digest: str) -> None:
            made.append(digest)
            super().__init__(path, digest)

    monkeypatch.setattr(review_index, "ReviewIndex", Counted)
    indexes = ReviewIndexes(kept=2)
    for number in (0, 0, 1, 0, 2, 0, 1):
        indexes.get(plans[number].path, plans[number].digest)
    assert made == [plans[number].digest for number in (0, 1, 2, 1)]
    with pytest.raises(StorageDamaged):
        indexes.get(plans[0].path, plans[1].digest)


def test_a_storage_that_hangs_keeps_nobody_from_another_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever asks for the plan that hangs gets it by one reading."""
    slow, quick = (plan_of(tmp_path / name, ODD[:number]) for name, number in (("slow", 2), ("quick", 3)))
    reads, goes_on = Event(), Event()
    made: list[str] = []

    class Slow(ReviewIndex):
        def __init__(self, path: Path, digest: str) -> None:
            made.append(digest)
            if digest == slow.digest:
                reads.set()
                assert goes_on.wait(30)
            super().__init__(path, digest)

    monkeypatch.setattr("airflow_provider_modelarts.plugins.review_index.ReviewIndex", Slow)
    indexes = ReviewIndexes()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(indexes.get, slow.path, slow.digest) for _ in range(2)]
        try:
            assert reads.wait(30)
            assert len(pool.submit(indexes.get, quick.path, quick.digest).result(10)) == 3
        finally:
            goes_on.set()
        assert [len(one.result(30)) for one in waiting] == [2, 2]
    assert sorted(made) == sorted([slow.digest, quick.digest])
