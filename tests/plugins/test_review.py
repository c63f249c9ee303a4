"""The plugin: Airflow takes it, loads nothing heavy with it, and finds its files in the package."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

from airflow.plugins_manager import is_valid_plugin

from airflow_provider_modelarts.get_provider_info import get_provider_info
from airflow_provider_modelarts.plugins.review import URL_PREFIX, ModelArtsReviewPlugin
from demo.environment import REPOSITORY


def test_airflow_takes_it() -> None:
    assert is_valid_plugin(ModelArtsReviewPlugin)
    from airflow.api_fastapi.app import RESERVED_URL_PREFIXES
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    (view,) = ModelArtsReviewPlugin.external_views
    assert ExternalViewResponse.model_validate(view).destination == "task_instance"
    assert not any(URL_PREFIX.startswith(prefix) for prefix in RESERVED_URL_PREFIXES)


def test_it_is_found_by_its_entry_point_and_named_in_the_provider_info() -> None:
    (found,) = (
        one for one in importlib.metadata.entry_points(group="airflow.plugins") if one.name == "modelarts_review"
    )
    assert found.load() is ModelArtsReviewPlugin
    (named,) = get_provider_info()["plugins"]
    assert named["name"] == ModelArtsReviewPlugin.name
    assert named["plugin-class"] == f"{ModelArtsReviewPlugin.__module__}.{ModelArtsReviewPlugin.__qualname__}"


def test_processes_that_only_load_plugins_load_little() -> None:
    """Workers, schedulers and DAG processors do so."""
    script = (
        "import sys, airflow.plugins_manager, airflow_provider_modelarts\nbefore = set(sys.modules)\n"
        "import airflow_provider_modelarts.plugins.review\nprint(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300, cwd=REPOSITORY
    )
    assert done.stdout.split() == [
        "airflow_provider_modelarts.plugins",
        "airflow_provider_modelarts.plugins.review",
    ]
