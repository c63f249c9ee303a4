"""An emulator per test, spoken to with requests alone: the client has no part in these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_modelarts.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Caller:
    """A logged-in user of one emulator.

    :param keep: one connection for all requests; otherwise each has its own, so that resets stay apart.
    """

    def __init__(self, emulator: Emulator, dataset_id: str = "") -> None:
        self.emulator = emulator
        self.dataset_id = dataset_id
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-Auth-Token"] = emulator.issue_token()

    def path(self, tail: str) -> str:
        project = f"/v2/{self.emulator.project_id}"
        return tail if tail.startswith("/v") else f"{project}/datasets/{self.dataset_id}{tail}"

    def __call__(self, method: str, tail: str = "", **options: Any) -> requests.Response:
        return self.session.request(method, self.emulator.url + self.path(tail), timeout=20, **options)

    def get(self, tail: str = "", **query: Any) -> Any:
        response = self("GET", tail, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, method: str, tail: str = "", **options: Any) -> tuple[int, str]:
        response = self(method, tail, **options)
        body = response.json()
        return response.status_code, body["error_code"]

    def start(self, **body: Any) -> str:
        response = self("POST", "/tasks", json={"task_type": "auto-label", **body})
        assert response.status_code == 200, response.text
        return str(response.json()["task_id"])

    def finish(self, **body: Any) -> str:
        """Start a labeling task and let it end."""
        task_id = self.start(**body)
        self.emulator.clock.advance(self.emulator.task_seconds)
        return task_id

    def put(self, samples: list[dict[str, Any]], **body: Any) -> Any:
        response = self("PUT", "/data-annotations/samples", json={"samples": samples, **body})
        assert response.status_code == 200, response.text
        return response.json()

    def walk(self, limit: int = 100, **query: Any) -> list[dict[str, Any]]:
        """Return the whole auto list, page by page."""
        found: list[dict[str, Any]] = []
        for number in range(10_000):
            samples = self.get("/auto-annotations/samples", limit=limit, offset=number, **query)["samples"]
            found += samples
            if not samples:
                return found
        raise AssertionError("the list does not end")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        running.clock.freeze()
        yield running


@pytest.fixture
def digits(emulator: Emulator) -> Caller:
    """A user of a dataset of digits of which 150 are labeled."""
    return Caller(emulator, emulator.load_digits())


@pytest.fixture
def proposals(emulator: Emulator) -> Callable[..., Caller]:
    """Makes a user of a dataset of so many proposals."""

    def make(count: int = 250, **options: Any) -> Caller:
        return Caller(emulator, emulator.load_proposals(count, **options))

    return make
