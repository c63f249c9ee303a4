"""What the operators' tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.operators.runners import ConfirmRunner, StartRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock
    from tests.support.s3_server import S3Server


@pytest.fixture
def runner(emulator: Emulator, moved_clock: MovedClock, tmp_path: Path) -> ConfirmRunner:
    return ConfirmRunner(emulator, moved_clock, tmp_path)


@pytest.fixture(scope="module")
def s3_store() -> Iterator[S3Server]:
    from tests.support.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3_store: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A store with an empty bucket, of which Airflow knows nothing yet; nobody else is asked."""
    from aiobotocore.httpsession import AIOHTTPSession
    from airflow.sdk.io import store

    elsewhere: list[str] = []
    send = AIOHTTPSession.send

    async def send_here(session: Any, request: Any) -> Any:
        if not request.url.startswith(f"{s3_store.url}/"):
            elsewhere.append(request.url)
            raise ConnectionRefusedError
        return await send(session, request)

    monkeypatch.setattr(AIOHTTPSession, "send", send_here)
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    s3_store.begin()
    yield s3_store
    assert not elsewhere


@pytest.fixture
def starter(emulator: Emulator, moved_clock: MovedClock) -> StartRunner:
    return StartRunner(emulator, moved_clock)
