"""Undo keeps what a person gave where one try may have written the same and a later one found that it did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_modelarts.labeling.ledger import Entry, LedgerWriter, RunIdentity
from airflow_provider_modelarts.labeling.undo.reverter import revert
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator

LOST: dict[str, Any] = {"fate": "failed", "code": "unknown"}
FOUND_OUT: dict[str, list[dict[str, Any]]] = {
    "gone": [{"fate": "gone", "read": True}],
    "proposed otherwise": [{"fate": "changed"}],
    "refused": [{"fate": "failed", "code": "ModelArts.4423"}],
    "refused, then gone": [{"fate": "failed", "code": "ModelArts.4423"}, {"fate": "gone", "read": True}],
}


def undo(client: ModelArtsClient, emulator: Emulator, *tries: dict[str, Any]) -> bool:
    """Let a person accept a proposal of which tries have recorded this; return whether undo took the labels away."""
    dataset_id = emulator.load_proposals(1)
    dataset = emulator.dataset(dataset_id)
    ((sample_id, raw),) = dataset.proposals.items()
    dataset.edit(sample_id, raw["labels"])
    bucket = Bucket()
    for number, facts in enumerate(tries, start=1):
        with LedgerWriter(bucket, RunIdentity("dag", "run", "task", try_number=number), dataset_id) as ledger:
            ledger.record(Entry(sample_id, rule="passed", after=raw["labels"], **facts))
    result = revert(client, bucket, "run")
    assert result.cleared + result.changed == 1
    return not dataset.labels_of(sample_id)


@pytest.mark.parametrize("name", FOUND_OUT)
def test_what_a_later_try_found_not_written_is_a_persons(
    client: ModelArtsClient, emulator: Emulator, name: str
) -> None:
    assert not undo(client, emulator, LOST, *FOUND_OUT[name])


@pytest.mark.parametrize("name", FOUND_OUT)
def test_what_an_earlier_try_found_proves_nothing(client: ModelArtsClient, emulator: Emulator, name: str) -> None:
    assert undo(client, emulator, *FOUND_OUT[name], LOST)


def test_a_refusal_says_nothing_of_a_try_that_may_be_alive(client: ModelArtsClient, emulator: Emulator) -> None:
    assert undo(client, emulator, {"fate": "intended"}, *FOUND_OUT["refused"])
