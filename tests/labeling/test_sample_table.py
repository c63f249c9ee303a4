"""The statuses of samples, and their sums."""

from __future__ import annotations

import pytest

from airflow_provider_modelarts.client import Sample
from airflow_provider_modelarts.labeling.sample_table import ConfirmationStatus, SampleTable

SAMPLE = Sample({"sample_id": "a", "labels": [{"name": "rose"}]})


@pytest.mark.parametrize("later", [ConfirmationStatus.CONFIRMED, ConfirmationStatus.GONE, ConfirmationStatus.FAILED])
def test_a_changed_sample_counts_as_left_only_until_more_is_known(later: ConfirmationStatus) -> None:
    table = SampleTable()
    table.begin_pass()
    table.set_status(SAMPLE, ConfirmationStatus.CHANGED)
    assert (table.counts["left"], table.count(ConfirmationStatus.CHANGED), table.remaining) == (1, 1, 1)
    table.set_status(SAMPLE, later)
    assert (table.counts["left"], table.count(ConfirmationStatus.CHANGED)) == (0, 0)
    assert table.counts[later.name.lower()] == len(table) == 1


def test_statuses_fit_into_the_bits_that_a_sample_has() -> None:
    table = SampleTable()
    for status in ConfirmationStatus:
        table.begin_pass()
        table.set_status(SAMPLE, status)
        assert table.status("a") is status
        assert table.is_listed("a")
