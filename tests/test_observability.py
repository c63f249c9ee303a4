"""The page about lineage, asset events and metrics tells the truth: its DAGs are run, its tables name what is there."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.utils.lineage import FLOWS
from airflow_provider_modelarts.utils.metrics import COUNTERS, THROTTLED, TIMERS
from airflow_provider_modelarts.utils.outlet_events import EVENT_VALUES
from demo.environment import REPOSITORY
from tests.support.dag_runner import run_dag
from tests.support.readme import code_block

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

PAGE = "docs/observability.md"
TEXT = (REPOSITORY / PAGE).read_text(encoding="utf-8")
PLACES = {"plan_uri", "ledger_uri", "manifest_uri"}


def table(head: str) -> list[list[str]]:
    """Return the cells of the table whose head begins so."""
    rows = TEXT.partition(f"\n{head}")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows, head
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def words(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


@pytest.mark.usefixtures("airflow_db", "moved_clock")
def test_the_dags_of_the_page_do_what_it_says(emulator: Emulator, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    file = tmp_path / "flowers.py"
    file.write_text(code_block("Assets", page=PAGE), encoding="utf-8")
    bag = DagBag(file)
    assert bag.import_errors == {}
    (asset,) = bag.dags["train_on_flowers"].timetable.asset_condition.objects
    assert asset.uri == "modelarts://cn-north-4/0123456789abcdef/6mHUGe7ETlhayb4qDMN"
    done = run_dag(bag.dags["confirm_flowers"], conf={"dataset_id": emulator.load_proposals(20)})
    assert done.state == "success", done.log
    extra = last_extra(done.run_id)
    train = bag.dags["train_on_flowers"].get_task("train").python_callable
    events = {asset: [SimpleNamespace(extra=extra)]}
    assert train(triggering_asset_events=events) == [done.tasks["publish"].xcom["version_id"]]


def last_extra(run_id: str) -> dict[str, object]:
    """Return the extra of the one asset event of a run."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        (event,) = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id))
        return dict(event.extra)


def test_the_table_of_events_names_every_value() -> None:
    (_, common), *rows = table("| Task | Values |")
    assert words(common) == {"operation", "dataset_id", "preview", *EVENT_VALUES}
    named = {operation: words(values) - PLACES for tasks, values in rows for operation in words(tasks)}
    assert named == {operation: set(values) for operation, values in EVENT_VALUES.items()}


def test_the_table_of_lineage_names_every_flow() -> None:
    rows = {task.strip("`"): (read, written) for task, read, written in table("| Task | Inputs |")}
    assert set(rows) == set(FLOWS)
    for operation, flow in FLOWS.items():
        read, written = rows[operation]
        assert all(role in read for role in flow.inputs)
        assert all(role.removeprefix("own_") in written for role in flow.outputs)


def test_the_table_of_metrics_names_each_and_its_kind() -> None:
    kinds = {name.strip("`"): kind for name, kind, _ in table("| Metric | Kind |")}
    assert kinds == {
        **dict.fromkeys([*COUNTERS, THROTTLED], "counter"),
        **dict.fromkeys(TIMERS.values(), "timer"),
    }
