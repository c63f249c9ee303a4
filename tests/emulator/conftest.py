"""An emulator per test, spoken to with requests alone: the client has no part in these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_modelarts.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.emulator.inspection import InspectedDataset


AUTO = "/auto-annotations/samples"
SAMPLES = "/data-annotations/samples"


def ids_of(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["sample_id"] for sample in samples]


def back(sample: dict[str, Any]) -> dict[str, Any]:
    """Return what confirms a served sample."""
    return {"sample_id": sample["sample_id"], "labels": sample["labels"]}


def token_body(emulator: Emulator, **changes: Any) -> dict[str, Any]:
    """Return a request for a token, with other parts of the user or another scope."""
    user = {"name": emulator.user, "password": emulator.password, "domain": {"name": emulator.domain}}
    user |= {name: value for name, value in changes.items() if name in user}
    scope = changes.get("scope", {"project": {"name": emulator.region}})
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}


def ask_token(emulator: Emulator, body: Any, **options: Any) -> requests.Response:
    return requests.post(f"{emulator.url}/v3/auth/tokens", json=body, timeout=10, **options)


class Caller:
    """A logged-in user of one dataset of an emulator."""

    def __init__(self, emulator: Emulator, dataset_id: str = "") -> None:
        self.emulator = emulator
        self.dataset_id = dataset_id
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-Auth-Token"] = emulator.issue_token()

    @property
    def dataset(self) -> InspectedDataset:
        return self.emulator.dataset(self.dataset_id)

    def sample_ids(self, count: int) -> list[str]:
        return list(self.dataset.samples)[:count]

    def path(self, tail: str) -> str:
        project = f"/v2/{self.emulator.project_id}"
        return tail if tail.startswith(("/v2/", "/v3")) else f"{project}/datasets/{self.dataset_id}{tail}"

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

    def confirm(self, samples: list[dict[str, Any]]) -> Any:
        return self.put([back(sample) for sample in samples])

    def waiting(self) -> int:
        """Return how many samples the auto list says that it has."""
        return int(self.get(AUTO)["sample_count"])

    def walk(self, limit: int = 100, **query: Any) -> list[dict[str, Any]]:
        """Return the whole auto list, page by page."""
        found: list[dict[str, Any]] = []
        for number in range(10_000):
            samples = self.get(AUTO, limit=limit, offset=number, **query)["samples"]
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
