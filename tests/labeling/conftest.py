"""What the labeling tests share: a client of the emulator, on the moved clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
from airflow_provider_modelarts.client.auth import forget_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock


@pytest.fixture
def client(emulator: Emulator, moved_clock: MovedClock) -> Iterator[ModelArtsClient]:
    forget_tokens()
    credentials = PasswordCredentials(
        emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.project_name
    )
    with ModelArtsClient(emulator.url, credentials) as client:
        yield client
    forget_tokens()
