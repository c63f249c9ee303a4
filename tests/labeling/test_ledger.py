"""The ledger: chains that show what is missing, and what a plan wants that nobody did."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.client.clock import Clock
from airflow_provider_modelarts.labeling.ledger.entries import Entry, LedgerBroken, RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger, replay
from airflow_provider_modelarts.labeling.ledger.writer import LedgerWriter
from airflow_provider_modelarts.labeling.plan.lines import PlanHeader
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.policy import Decision
from airflow_provider_modelarts.labeling.storage.sealed_file import seal_line
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from airflow_provider_modelarts.labeling.plan.plan_file import Plan

RUN = RunIdentity("flowers", "manual__2026-11-20T00:00:00+00:00", "confirm", try_number=1, intent="af-1")
ROSE = [{"name": "rose", "type": 0, "score": 1.0}]


class StandingClock(Clock):
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


def entry(number: int, **more: Any) -> Entry:
    return Entry(**{"sample_id": f"{number:032x}", "fate": "confirmed", "rule": "passed", "after": ROSE, **more})


def chain_of(bucket: Bucket, entries: Iterable[Entry], identity: RunIdentity = RUN, *, window: int = 2) -> LedgerWriter:
    with LedgerWriter(bucket, identity, "dataset", clock=StandingClock(), window=window) as ledger:
        for one in entries:
            ledger.record(one)
    return ledger


def read(bucket: Bucket, run: RunIdentity = RUN) -> list[Entry]:
    return [one for _, one in read_ledger(bucket, run.run_id).entries()]


def problems(bucket: Bucket) -> list[str]:
    return read_ledger(bucket, RUN.run_id).verify()


def plan_of(count: int, *, reviewed: int = 0) -> Plan:
    path = Bucket() / "plan.jsonl"
    with PlanWriter(path, PlanHeader("dataset")) as writer:
        for number in range(count):
            action = Decision("review", "hard_example") if number < reviewed else Decision("confirm", "passed")
            writer.add(Sample({"sample_id": f"{number:032x}", "labels": ROSE}), action)
    return read_plan(path)


def test_entries_come_back_as_they_were() -> None:
    bucket = Bucket()
    box = {"name": "a\n|\u2028é", "type": 1, "property": {"@modelarts:feature": [[1, 2.0], [3, 4]]}, "score": 1}
    entries = [
        entry(1, after=[box], before=[{"name": "x", "property": {}}], origin="s3://b/1.jpg", read=True),
        entry(2, fate="failed", code="ModelArts.4423", message="no size"),
        entry(3, fate="gone", before=[]),
    ]
    chain_of(bucket, entries)
    back = read(bucket)
    assert back == entries
    assert json.dumps(back[0].after) == json.dumps([box])


def test_no_signature_reaches_a_part() -> None:
    bucket = Bucket()
    leaking = "see https://obs.example.com/b/1.jpg?Expires=1&Signature=5ecret for more"
    chain_of(bucket, [entry(1, fate="failed", origin="s3://b/1.jpg?Signature=5ecret", message=leaking)])
    assert not any(b"5ecret" in content for content in bucket.objects.values())
    (back,) = read(bucket)
    assert (back.origin, back.message) == ("s3://b/1.jpg", "see https://obs.example.com/b/1.jpg for more")


def test_an_object_may_have_a_question_mark_in_its_name() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(1, origin="s3://b/what?/1.jpg")])
    assert read(bucket)[0].origin == "s3://b/what?/1.jpg"


def test_writers_of_one_try_sort_by_age() -> None:
    bucket, clock = Bucket(), StandingClock()
    writers = []
    for _ in range(5):
        with LedgerWriter(bucket, RUN, "dataset", clock=clock) as ledger:
            writers.append(ledger.writer)
        clock.time += 0.5
    assert [chain.first().writer for chain in read_ledger(bucket, RUN.run_id).chains] == writers


def test_a_part_says_who_wrote_it(tmp_path: Path) -> None:
    with LedgerWriter(
        tmp_path, RUN, "dataset", plan_uri="s3://b/plan", plan_digest="abc", approved_by="mary", clock=StandingClock()
    ) as ledger:
        ledger.record(entry(1))
    (part,) = tmp_path.rglob("*.jsonl")
    header = json.loads(part.read_text().splitlines()[0])
    assert header.items() >= {
        "dag_id": "flowers", "run_id": RUN.run_id, "task_id": "confirm", "map_index": -1, "try_number": 1,
        "plan_digest": "abc", "approved_by": "mary", "writer": ledger.writer, "sequence": 0, "previous": None,
        "dataset_id": "dataset", "created_at": 1000.0, "closing": True,
    }.items()  # fmt: skip
    assert str(part.parent) == ledger.uri


def test_a_window_is_a_part_and_the_last_one_closes_the_chain() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(number) for number in range(5)])
    (chain,) = read_ledger(bucket, RUN.run_id).chains
    parts = list(chain.read())
    assert [len(entries) for _, entries in parts] == [2, 2, 1]
    assert [header.closing for header, _ in parts] == [False, False, True]
    assert [header.sequence for header, _ in parts] == [0, 1, 2]
    assert problems(bucket) == []


def test_an_old_window_is_stored_although_it_is_not_full() -> None:
    bucket, clock = Bucket(), StandingClock()
    ledger = LedgerWriter(bucket, RUN, "dataset", clock=clock)
    ledger.record(entry(1))
    assert bucket.objects == {}
    clock.time += 10
    ledger.record(entry(2))
    assert read(bucket) == [entry(1), entry(2)]
    ledger.record(entry(3))
    assert len(bucket.objects) == 1


def test_what_was_added_waits_in_memory_and_says_when_it_is_due() -> None:
    bucket, clock = Bucket(), StandingClock()
    ledger = LedgerWriter(bucket, RUN, "dataset", clock=clock, window=3)
    ledger.add(entry(1))
    assert not ledger.is_due
    clock.time += 10
    assert ledger.is_due
    ledger.flush()
    assert not ledger.is_due
    ledger.add(entry(2), entry(3), entry(4))
    assert ledger.is_due
    assert read(bucket) == [entry(1)]
    ledger.close()
    assert read(bucket) == [entry(number) for number in (1, 2, 3, 4)]


def test_flushing_nothing_stores_nothing_and_closing_twice_is_closing_once() -> None:
    bucket = Bucket()
    ledger = LedgerWriter(bucket, RUN, "dataset")
    ledger.flush()
    assert bucket.objects == {}
    ledger.close()
    ledger.close()
    assert len(bucket.objects) == 1
    assert problems(bucket) == []
    with pytest.raises(ValueError, match="closed"):
        ledger.record(entry(1))


def test_a_crash_shows_as_a_chain_that_does_not_end() -> None:
    bucket = Bucket()
    ledger = LedgerWriter(bucket, RUN, "dataset", window=2)
    for number in range(5):
        ledger.record(entry(number))
    (problem,) = problems(bucket)
    assert f"{ledger.writer}.000001.jsonl is not the last part" in problem
    assert len(read(bucket)) == 4


def test_a_part_that_could_not_be_stored_is_stored_first_next_time() -> None:
    bucket = Bucket()
    is_down = True

    class Shaky(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if is_down and mode == "wb":
                raise OSError("storage is down")
            return super().open(mode)

    ledger = LedgerWriter(Shaky(objects=bucket.objects), RUN, "dataset", window=2)
    ledger.record(entry(0))
    for number in (1, 2):
        with pytest.raises(OSError, match="down"):
            ledger.record(entry(number), entry(number + 10))
    is_down = False
    ledger.close()
    assert [one.sample_id for one in read(bucket)] == [entry(number).sample_id for number in (0, 1, 11, 2, 12)]
    assert problems(bucket) == []


def test_closing_fails_and_is_tried_again() -> None:
    bucket = Bucket()
    is_down = True

    class Shaky(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if is_down and mode == "wb":
                raise OSError("storage is down")
            return super().open(mode)

    ledger = LedgerWriter(Shaky(objects=bucket.objects), RUN, "dataset")
    ledger.record(entry(0))
    with pytest.raises(OSError, match="down"):
        ledger.close()
    is_down = False
    ledger.close()
    assert read(bucket) == [entry(0)]
    assert problems(bucket) == []


@settings(deadline=None, derandomize=True, max_examples=300)
@given(data=st.data(), count=st.integers(1, 9))
def test_whatever_happens_to_a_part_is_found_and_the_part_is_named(data: st.DataObject, count: int) -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(number) for number in range(count)])
    names = sorted(bucket.objects)
    victim = data.draw(st.sampled_from(names))
    whole = bucket.objects[victim]
    kinds = ["cut", "change"] + (["remove", "swap", "copy"] if len(names) > 1 else [])
    kind = data.draw(st.sampled_from(kinds))
    if kind == "remove":
        del bucket.objects[victim]
    elif kind == "cut":
        bucket.objects[victim] = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif kind == "change":
        place = data.draw(st.integers(0, len(whole) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
        bucket.objects[victim] = whole[:place] + bytes([byte]) + whole[place + 1 :]
    else:
        other = data.draw(st.sampled_from([name for name in names if name != victim]))
        if kind == "swap":
            bucket.objects[victim], bucket.objects[other] = bucket.objects[other], whole
        else:
            bucket.objects[victim] = bucket.objects[other]
    found = problems(bucket)
    assert len(found) == 1
    assert any(name.rpartition("/")[2] in found[0] for name in names)
    if kind != "remove" or victim != names[-1]:
        with pytest.raises(LedgerBroken):
            read(bucket)


def test_a_part_added_behind_the_last_one_is_found() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(0)])
    (name,) = bucket.objects
    bucket.objects[name.replace(".000000.jsonl", ".000001.jsonl")] = bucket.objects[name]
    (problem,) = problems(bucket)
    assert "000001.jsonl cannot be" in problem


def resealed(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return a part with something exchanged and a last line that belongs to it: only the chain can tell."""
    *lines, last = content.replace(old, new).splitlines(keepends=True)
    facts = json.loads(last)
    del facts["sha256"]
    return b"".join([*lines, seal_line(facts, sha256(b"".join(lines)).hexdigest())])


def test_a_part_altered_by_somebody_who_can_seal_is_found_by_the_next_one() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(number) for number in range(4)])
    names = sorted(bucket.objects)
    bucket.objects[names[0]] = resealed(bucket.objects[names[0]], b'"rose"', b'"tulip"')
    (problem,) = problems(bucket)
    assert names[1].rpartition("/")[2] in problem
    assert "does not follow" in problem


def test_nothing_may_follow_the_last_part() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(number) for number in range(4)])
    names = sorted(bucket.objects)
    assert len(names) == 3
    bucket.objects[names[1]] = resealed(bucket.objects[names[1]], b'"closing":false', b'"closing":true')
    digest = json.loads(bucket.objects[names[1]].splitlines()[-1])["sha256"].encode()
    was = json.loads(bucket.objects[names[2]].splitlines()[0])["previous"].encode()
    bucket.objects[names[2]] = resealed(bucket.objects[names[2]], was, digest)
    (problem,) = problems(bucket)
    assert (
        f"{names[2].rpartition('/')[2]} cannot be trusted: it does not follow {names[1].rpartition('/')[2]}" in problem
    )


def test_a_missing_part_is_called_missing() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(number) for number in range(6)])
    name = sorted(bucket.objects)[1]
    del bucket.objects[name]
    (problem,) = problems(bucket)
    assert f"{name.rpartition('/')[2]} is missing" in problem


def test_a_chain_under_another_name_is_found() -> None:
    bucket = Bucket()
    ledger = chain_of(bucket, [entry(number) for number in range(4)])
    for name in sorted(bucket.objects):
        bucket.objects[name.replace(".try001.", ".try002.")] = bucket.objects.pop(name)
    (problem,) = problems(bucket)
    assert f"it was written as {RUN.chain_name(ledger.writer)}.000000.jsonl" in problem


def test_a_part_of_another_chain_is_found() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(number) for number in range(4)])
    first = sorted(bucket.objects)
    chain_of(bucket, [entry(number) for number in range(4)], replace(RUN, try_number=2))
    second = [name for name in sorted(bucket.objects) if name not in first]
    bucket.objects[second[1]] = bucket.objects[first[1]]
    (problem,) = problems(bucket)
    assert second[1].rpartition("/")[2] in problem


def test_a_zombie_writes_beside_the_retry() -> None:
    bucket = Bucket()
    zombie = LedgerWriter(bucket, RUN, "dataset", window=1)
    retry = LedgerWriter(bucket, replace(RUN, try_number=2), "dataset", window=1)
    twin = LedgerWriter(bucket, RUN, "dataset", window=1)
    for number in range(3):
        for ledger in (retry, zombie, twin):
            ledger.record(entry(number))
    for ledger in (zombie, twin, retry):
        ledger.close()
    found = read_ledger(bucket, RUN.run_id)
    assert found.verify() == []
    assert len(found.chains) == 3
    assert [header.try_number for header, _ in found.entries()] == [1] * 6 + [2] * 3


def test_threads_share_a_writer() -> None:
    bucket = Bucket()
    with LedgerWriter(bucket, RUN, "dataset", window=7) as ledger:

        def write(first: int) -> None:
            for number in range(first, first + 100):
                ledger.record(entry(number))

        threads = [threading.Thread(target=write, args=(number * 100,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems(bucket) == []
    assert sorted(one.sample_id for one in read(bucket)) == [entry(number).sample_id for number in range(800)]


def test_runs_do_not_mix_although_their_names_look_alike_once_cleaned() -> None:
    bucket = Bucket()
    chain_of(bucket, [entry(1)], replace(RUN, run_id="a b"))
    chain_of(bucket, [entry(2)], replace(RUN, run_id="a-b"))
    assert read(bucket, replace(RUN, run_id="a b")) == [entry(1)]
    assert read(bucket, replace(RUN, run_id="a-b")) == [entry(2)]
    assert read(bucket, replace(RUN, run_id="a")) == []


def test_tasks_and_map_indexes_have_plans_and_chains_of_their_own() -> None:
    bucket = Bucket()
    works = [RUN, replace(RUN, task_id="con firm"), replace(RUN, map_index=0), replace(RUN, map_index=1)]
    works += [replace(RUN, dag_id="other"), replace(RUN, intent="af-2"), replace(RUN, task_id="con-firm")]
    assert len({str(work.plan_path(bucket)) for work in works}) == len(works)
    assert str(replace(RUN, try_number=5).plan_path(bucket)) == str(RUN.plan_path(bucket))
    assert len({work.chain_name("w") for work in works}) == len(works) - 1  # an intent has no chain of its own


def test_a_plan_beside_the_ledger_is_no_part() -> None:
    bucket = Bucket()
    path = RUN.plan_path(bucket)
    with PlanWriter(path, PlanHeader("dataset")):
        pass
    chain_of(bucket, [entry(1)])
    assert path.exists()
    assert problems(bucket) == []


def test_what_nobody_did_is_unsettled() -> None:
    bucket, plan = Bucket(), plan_of(8, reviewed=1)
    unsettling = [
        entry(1),
        entry(2, fate="failed", code="ModelArts.4423"),
        entry(3, fate="failed", code="unknown"),
        entry(4, fate="intended"),
        entry(5, fate="gone"),
        entry(99),
    ]
    with LedgerWriter(bucket, RUN, "dataset", plan_digest=plan.digest) as ledger:
        ledger.record(*unsettling)
    state = replay(plan, read_ledger(bucket, RUN.run_id))
    assert [planned.sample.sample_id for planned in state.unsettled()] == [f"{n:032x}" for n in (3, 4, 6, 7)]
    assert state.fate(f"{1:032x}") == "confirmed"
    assert state.fate(f"{2:032x}") == "failed"
    assert state.fate(f"{6:032x}") is None
    assert state.fate("unknown") is None


def test_what_was_confirmed_stays_so_whatever_a_later_try_found() -> None:
    bucket, plan = Bucket(), plan_of(2)
    for number, fate in enumerate(["confirmed", "gone"], 1):
        with LedgerWriter(bucket, replace(RUN, try_number=number), "dataset", plan_digest=plan.digest) as ledger:
            ledger.record(entry(0, fate=fate))
    with LedgerWriter(bucket, replace(RUN, try_number=3), "dataset", plan_digest="another") as ledger:
        ledger.record(entry(1))
    state = replay(plan, read_ledger(bucket, RUN.run_id))
    assert state.fate(f"{0:032x}") == "confirmed"
    assert [planned.sample.sample_id for planned in state.unsettled()] == [f"{1:032x}"]


def test_on_a_disk_no_half_part_ever_has_its_name(tmp_path: Path) -> None:
    chain_of(tmp_path, [entry(number) for number in range(3)])  # type: ignore[arg-type]
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(names) == 2
    assert all(name.endswith(".jsonl") and not name.startswith(".") for name in names)
    assert read_ledger(tmp_path, RUN.run_id).verify() == []
