"""What the client's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.client.auth import forget_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_modelarts.emulator import Emulator


@pytest.fixture(autouse=True)
def _no_tokens() -> Iterator[None]:
    """Begin as a new process does: tokens and refusals are kept per process."""
    forget_tokens()
    yield
    forget_tokens()


@pytest.fixture
def password(emulator: Emulator) -> PasswordCredentials:
    return PasswordCredentials(
        emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.project_name
    )


@pytest.fixture
def make_client(emulator: Emulator, password: PasswordCredentials) -> Iterator[Callable[..., ModelArtsClient]]:
    made: list[ModelArtsClient] = []

    def make(credentials: object = password, **settings: object) -> ModelArtsClient:
        made.append(ModelArtsClient(emulator.url, credentials, **settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., ModelArtsClient]) -> ModelArtsClient:
    return make_client()


@pytest.fixture
def dataset_id(emulator: Emulator) -> str:
    """A dataset with 250 proposals of one label each: three pages."""
    return emulator.load_proposals(250)
