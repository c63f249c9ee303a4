"""A few processes killed with SIGKILL; ``make soak SOAK=confirm`` kills many, with more samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.emulator import Emulator
from tests.labeling.process_kill import Kill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", [1, 8])  # their moments lie in the middle of the writing
def test_a_retry_ends_what_a_killed_process_began(seed: int, tmp_path: Path) -> None:
    with Emulator(seed=seed) as emulator:
        kill = Kill(emulator, tmp_path, 1000, seed, is_held=True)
        kill.tell()
    assert kill.was_killed
