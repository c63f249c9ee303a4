"""A hundred thousand samples in every format, with a ledger: read back equal, in memory that stays flat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.emulator import Emulator
from airflow_provider_modelarts.labeling.apply import confirm
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget
from tests.labeling.export_datasets import expected, export_in_a_process
from tests.labeling.export_readers import READERS, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLES = 100_000
MOST_MEGABYTES = 64
"""The ids that the client's list keeps, pages of the service, and what sqlite and Python keep of what is over."""


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulator, str, Path]]:
    """A dataset that a run has confirmed as a whole, and the ledger of that run."""
    ledger = tmp_path_factory.mktemp("ledger")
    with Emulator() as emulator:
        dataset_id = emulator.load_proposals(SAMPLES, kind="detection", hard_share=0)
        credentials = PasswordCredentials(
            emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.project_name
        )
        with ModelArtsClient(emulator.url, credentials) as client:
            target = LedgerTarget(ledger, RunIdentity("dag", "run", "confirm"), "ada")
            assert confirm(client, dataset_id, ledger=target).confirmed == SAMPLES
        yield emulator, dataset_id, ledger


@pytest.mark.parametrize("name", READERS)
def test_a_hundred_thousand_samples(confirmed: tuple[Emulator, str, Path], tmp_path: Path, name: str) -> None:
    emulator, dataset_id, ledger = confirmed
    took = export_in_a_process(emulator, dataset_id, tmp_path, name, ledger)
    print(f"{name}: {took.seconds:.0f} s, {took.megabytes:.0f} MB more")
    assert took.samples == SAMPLES
    assert took.megabytes < MOST_MEGABYTES
    assert READERS[name](tmp_path) == expected(emulator, dataset_id)
    assert all(one["confirmation"]["approved_by"] == "ada" for one in lines(tmp_path / "samples.jsonl"))
