"""A refused password is known to all processes of a machine (B8, B7a)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_modelarts.client.auth.credentials import forget_tokens
from airflow_provider_modelarts.client.auth.refusals import REMEMBERED, SharedRefusals
from airflow_provider_modelarts.client.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

    Make = Callable[..., ModelArtsClient]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "refused"


@pytest.fixture
def wrong(password: PasswordCredentials, folder: Path) -> PasswordCredentials:
    return replace(password, password="sentinel-password", refusals=SharedRefusals(folder))


def asked(emulator: Emulator) -> int:
    return emulator.journal.count("POST", "/v3/auth/tokens")


def refused(make: Make, credentials: PasswordCredentials, dataset_id: str) -> AuthenticationError:
    """Try as a new process would: with nothing in memory."""
    forget_tokens()
    with pytest.raises(AuthenticationError) as caught:
        make(credentials).datasets.get(dataset_id)
    return caught.value


def test_a_hundred_processes_send_a_wrong_password_once(
    make_client: Make, emulator: Emulator, wrong: PasswordCredentials, dataset_id: str
) -> None:
    errors = [refused(make_client, wrong, dataset_id) for _ in range(100)]
    assert asked(emulator) == 1
    assert errors[0].details() == errors[-1].details()
    assert "not sent again" in str(errors[-1])
    assert emulator.user in str(errors[-1])


def test_another_password_is_tried_and_clears_the_way(
    make_client: Make, emulator: Emulator, password: PasswordCredentials, wrong: PasswordCredentials, dataset_id: str
) -> None:
    refused(make_client, wrong, dataset_id)
    forget_tokens()
    assert make_client(replace(password, refusals=wrong.refusals)).datasets.get(dataset_id)
    assert asked(emulator) == 2
    refused(make_client, wrong, dataset_id)
    assert asked(emulator) == 3


def test_a_refusal_is_forgotten_after_a_while(
    make_client: Make, emulator: Emulator, wrong: PasswordCredentials, dataset_id: str, moved_clock: MovedClock
) -> None:
    refused(make_client, wrong, dataset_id)
    moved_clock.advance(REMEMBERED - 1)
    refused(make_client, wrong, dataset_id)
    assert asked(emulator) == 1
    moved_clock.advance(2)
    refused(make_client, wrong, dataset_id)
    assert asked(emulator) == 2


def test_what_is_kept_is_private_and_holds_no_password(
    make_client: Make, wrong: PasswordCredentials, dataset_id: str, folder: Path
) -> None:
    refused(make_client, wrong, dataset_id)
    files = list(folder.iterdir())
    assert sorted(file.suffix for file in files) == [".json", ".lock"]
    assert [file.stat().st_mode & 0o077 for file in files] == [0, 0]
    assert folder.stat().st_mode & 0o077 == 0
    assert not any("sentinel-password" in file.read_text() for file in files)


@pytest.mark.parametrize("spoil", ["open folder", "no json", "other fields", "a link"])
def test_what_others_may_have_written_is_not_believed(
    make_client: Make, emulator: Emulator, wrong: PasswordCredentials, dataset_id: str, folder: Path, spoil: str
) -> None:
    refused(make_client, wrong, dataset_id)
    (file,) = folder.glob("*.json")
    if spoil == "open folder":
        folder.chmod(0o777)
    elif spoil == "a link":
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to(folder.with_name("elsewhere"))
    else:
        file.write_text("{" if spoil == "no json" else json.dumps({"until": "soon"}))
    refused(make_client, wrong, dataset_id)
    assert asked(emulator) == 2


def test_without_a_folder_each_process_asks_itself(
    make_client: Make, emulator: Emulator, wrong: PasswordCredentials, dataset_id: str, folder: Path
) -> None:
    folder.write_text("a file stands in the way")
    for _ in range(2):
        refused(make_client, wrong, dataset_id)
    assert asked(emulator) == 2
