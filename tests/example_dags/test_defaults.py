"""What the examples' params are when nobody gives them: set in the environment once, or as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.environment import EXAMPLE_DAGS

if TYPE_CHECKING:
    import pytest

NAMES = ("MODELARTS_DATASET_ID", "MODELARTS_PLACE", "MODELARTS_LEDGER_URI")


def params() -> dict[str, dict[str, Any]]:
    """Return the defaults of all examples, as a DAG processor reads them."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(EXAMPLE_DAGS)
    assert bag.import_errors == {}
    return {dag_id: {name: dag.params[name] for name in dag.params} for dag_id, dag in bag.dags.items()}


def test_the_environment_fills_in_datasets_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(zip(NAMES, ("6mHUGe7ETlhayb4qDMN", "s3://bucket/labels", "s3://bucket/labels/ledger"), strict=True))
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = params()
    for names in found.values():
        for param, variable in zip(("dataset_id", "place", "ledger_uri"), NAMES, strict=True):
            assert names.get(param, values[variable]) == values[variable]
    assert sum("dataset_id" in names for names in found.values()) == 5
    assert sum("place" in names for names in found.values()) == 5
    assert sum("ledger_uri" in names for names in found.values()) == 1


def test_without_it_no_dataset_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    found = params()
    assert {names["dataset_id"] for names in found.values() if "dataset_id" in names} == {""}
    assert found["confirm_with_approval"]["place"] == "file:///tmp/modelarts"
    assert found["revert_confirmation"]["ledger_uri"] == "file:///tmp/modelarts/ledger"
