"""The extra of asset events: small, JSON, without secrets; outlets of other kinds are left alone."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator

from airflow_provider_modelarts.assets import DatasetUri
from airflow_provider_modelarts.utils.observation import Observation
from airflow_provider_modelarts.utils.outlet_events import EVENT_VALUES, event_extra, fill_outlet_events

IDS = ["one", "two"]
DATASETS = [DatasetUri.of("cn-north-4", "project", name) for name in IDS]
LEAKY = {
    "plan": ["s3://key:secret@bucket/plan.jsonl?X-Amz-Signature=s3nt1nel"],
    "ledger": ["s3://my_conn@bucket/ledger"],
    "manifest": ["obs://bucket/m?Signature=s3nt1nel"],
}


@pytest.mark.parametrize("operation", EVENT_VALUES)
def test_an_event_is_small_and_holds_no_secret(operation: Any) -> None:
    values = {**dict.fromkeys(EVENT_VALUES[operation], 1), "by_label": {"daisy": 1}, "password": "s3nt1nel"}
    extra = event_extra(Observation(operation, IDS[:1], DATASETS[:1], values, LEAKY))
    text = json.dumps(extra)
    assert len(text) < 1000
    assert "s3nt1nel" not in text
    assert "secret" not in text
    assert extra["ledger_uri"] == "s3://my_conn@bucket/ledger", "the connection leads there, and is an id"
    assert {name: extra[name] for name in EVENT_VALUES[operation]} == dict.fromkeys(EVENT_VALUES[operation], 1)


def test_several_datasets_or_plans_are_none_of_them() -> None:
    extra = event_extra(Observation("revert", IDS, DATASETS, {}, {"plan": ["file:///a", "file:///b"], "ledger": []}))
    assert extra["dataset_id"] is None
    assert "plan_uri" not in extra
    assert "ledger_uri" not in extra


def test_what_the_author_put_into_an_event_stays_and_other_outlets_are_left_alone() -> None:
    asset = Asset("digits")
    with DAG("dag", schedule=None):
        operator = BaseOperator(task_id="task", outlets=[asset, "a table of somebody's"])
    event = SimpleNamespace(extra={"mine": 1})
    context: Any = {"outlet_events": {asset: event}}
    fill_outlet_events(operator, context, Observation("plan", IDS[:1], (), {"seen": 3}))
    assert event.extra["mine"] == 1
    assert event.extra["seen"] == 3
    # The id is known also where the project is not, as after a wait.
    assert event.extra["dataset_id"] == "one"
