"""An Airflow API in this process with the review page in it, and a run that has a plan and asks a person."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.plugins.review_run import ReviewRun
    from tests.support.clock import MovedClock


@pytest.fixture(scope="session")
def site(airflow_db: Path) -> Iterator[Any]:
    """The core API of Airflow and the page, as the API server has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "ada:admin,vera:viewer")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(airflow_db.with_name("passwords.json")))
        from airflow.api_fastapi.app import create_app, purge_cached_app
        from fastapi import FastAPI

        from airflow_provider_modelarts.plugins.review import URL_PREFIX, ReviewApplication

        site = FastAPI()
        site.mount(URL_PREFIX, ReviewApplication())  # before Airflow's own, which answers to every path
        site.mount("/", create_app("core"))
        yield site
        purge_cached_app()


@pytest.fixture
def begin(site: Any, emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> Callable[..., ReviewRun]:
    """Plan for a dataset in a run of its own, and ask; returns the run."""
    from tests.plugins.review_run import ReviewRun

    os.environ.setdefault("NO_PROXY", "127.0.0.1")

    def begin(dataset_id: str, **plan: Any) -> ReviewRun:
        return ReviewRun(site, emulator, tmp_path / uuid4().hex, dataset_id, plan)

    return begin
