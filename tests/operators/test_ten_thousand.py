"""One bad sample among ten thousand costs only itself, and is named (B15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.client.errors import ConfirmationError
from tests.operators.runners import WRITE, ConfirmRunner, check_sums

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

CODE = "ModelArts.4423"


@pytest.mark.parametrize(("mode", "samples"), [("fail", 10_000), ("warn", 2_000)])
def test_one_bad_sample_among_many(
    emulator: Emulator,
    moved_clock: MovedClock,
    tmp_path: Path,
    mode: Any,
    samples: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # That each request keeps to the contract is checked where there are fewer of them.
    emulator.observers.clear()
    runner = ConfirmRunner(emulator, moved_clock, tmp_path, samples)
    bad = sorted(runner.dataset.proposals)[samples // 3]
    fault = emulator.faults.add("PUT", WRITE, "fail_sample", times=None, sample_id=bad, code=CODE, message="No size.")
    ending = runner.confirm(on_partial_failure=mode, ledger_uri=runner.ledger_uri)
    counts = ending.result if mode == "warn" else ending.xcoms["return_value"]
    check_sums(counts)
    assert fault.fired
    assert (counts["confirmed"], counts["failed"], counts["passes"]) == (samples - 1, 1, 1)
    assert [sample_id for sample_id, labels in runner.final.items() if not labels] == [bad]
    said = str(ending.error) if mode == "fail" else capsys.readouterr().out
    assert bad in said
    assert CODE in said
    assert (type(ending.error) is ConfirmationError) is (mode == "fail")
    assert runner.writes < samples // 100 + 20
    (failed,) = (entry for entry in runner.entries() if entry["fate"] != "confirmed")
    assert (failed["sample_id"], failed["fate"], failed["code"]) == (bad, "failed", CODE)
