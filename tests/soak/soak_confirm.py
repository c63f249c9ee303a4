"""Confirming in many simulated histories, and processes that are killed for real (B13 to B18)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.emulator import Emulator
from tests.labeling.process_kill import Kill
from tests.labeling.state_machine import COUNTS, MUST_HAPPEN, report, run_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARDS = (False, False, True) * 8
"""Whether the real pool carries the requests; each is drawn from a seed of its own."""
HISTORIES = 170
"""In each shard: what hypothesis draws within one resembles itself."""
KILLS = 50
SAMPLES = 20_000
OFTEN = 50


def live_through(seed: int, threads: bool) -> Counter[str]:
    """Run the histories of one shard in a process of its own; return how often everything happened."""
    logging.disable()
    COUNTS.clear()
    run_machine(HISTORIES, steps=8, threads=threads, seed=seed, shrinks=False)
    return Counter(COUNTS)


def test_histories(record_property: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """No label is lost, changed or sent empty, and everything that can happen does, at least fifty times."""
    COUNTS.clear()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
        for counts in processes.map(live_through, range(len(SHARDS)), SHARDS):
            COUNTS.update(counts)
    with capsys.disabled():
        print(f"\n{report()}")
    seldom = {name: COUNTS[name] for name in MUST_HAPPEN if COUNTS[name] < OFTEN}
    assert not seldom
    assert COUNTS["histories"] >= 5000
    assert COUNTS["finished"] >= COUNTS["histories"]
    record_property("story", f"{COUNTS['histories']} histories, {COUNTS['finished']} ended as they must")


_killed: list[bool] = []


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.mark.parametrize("seed", range(KILLS))
def test_kills(seed: int, emulator: Emulator, tmp_path: Path, record_property: Any) -> None:
    emulator.reset()
    kill = Kill(emulator, tmp_path, SAMPLES, seed)
    kill.tell()
    _killed.append(kill.was_killed)
    record_property("story", kill.note)


def test_hardly_any_was_over_before_it_was_killed() -> None:
    assert sum(_killed) >= 0.9 * len(_killed)
