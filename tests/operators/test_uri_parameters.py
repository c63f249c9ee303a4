"""Places of plans and ledgers: what is folded, what is refused, and what is said about a storage that fails."""

from __future__ import annotations

import errno
import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.operators import _uri_parameters as places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.operators.runners import ConfirmRunner


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("s3://bucket//ledger", "s3://bucket/ledger"),
        ("s3://conn@bucket//x", "s3://conn@bucket/x"),
        ("s3://conn@bucket/a///b//c.jsonl", "s3://conn@bucket/a/b/c.jsonl"),
        ("s3://bucket/ledger///", "s3://bucket/ledger"),
        ("s3://bucket///", "s3://bucket"),
        ("s3://conn@bucket", "s3://conn@bucket"),
        ("s3://bucket/a@b//c", "s3://bucket/a@b/c"),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/name/c", "s3://arn:aws:s3:eu-west-1:1:accesspoint/name/c"),
        ("s3://bucket/..a/b..", "s3://bucket/..a/b.."),
        ("file:////data/labels", "file:///data/labels"),
        ("file:///data//labels//", "file:///data/labels"),
        ("file:///data/../labels", "file:///data/../labels"),
        ("memory://bucket//labels", "memory://bucket/labels"),
        ("hdfs:///labels//x", "hdfs:///labels/x"),
    ],
)
def test_slashes_are_folded(given: str, taken: str) -> None:
    assert places.uri("ledger_uri", given) == taken


@pytest.mark.parametrize("given", ["s3://AK:se/cret@bucket/k", "obs://AK:/secret@b", "s3://AK:secret@bucket/k"])
def test_a_secret_key_in_a_uri_is_refused_and_not_shown(given: str) -> None:
    with pytest.raises(ParameterError, match="has a password in it") as caught:
        places.uri("ledger_uri", given)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("s3://", "must be a URI"),
        ("s3:////", "must be a URI"),
        ("s3:///key", "names no bucket"),
        ("s3://conn@/key", "names no bucket"),
        ("s3://conn@", "names no bucket"),
        ("s3://@bucket/key", "names no connection before the @"),
        ("gs:///key", "names no bucket"),
        ("s3://bucket/a/../b", "has . or .. in it"),
        ("s3://bucket/./b", "has . or .. in it"),
        ("s3://conn@bucket/..", "has . or .. in it"),
        ("file:///", "must be a URI"),
        ("file:////", "must be a URI"),
    ],
)
@pytest.mark.parametrize("name", ["plan_uri", "ledger_uri"])
def test_what_names_no_place_is_refused(name: str, given: str, complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint) as caught:
        places.uri(name, given)
    assert str(caught.value).startswith(name)


def test_a_password_in_a_uri_is_not_quoted() -> None:
    with pytest.raises(ParameterError) as caught:
        places.uri("plan_uri", "s3://key:hunter2@bucket/x")
    assert "hunter2" not in str(caught.value)
    assert "the id of an Airflow connection" in str(caught.value)


def test_many_slashes_after_file_are_no_place_of_the_process(runner: ConfirmRunner, tmp_path: Path) -> None:
    """Airflow takes ``file:////data`` for a path below the working directory of whoever runs the task."""
    ending = runner.confirm(ledger_uri=f"file:///{tmp_path}//ledger/")
    assert ending.error is None
    assert list((tmp_path / "ledger").iterdir())
    assert runner.revert(ledger_uri=f"file://{tmp_path}/ledger").result["cleared"] == ending.result["confirmed"]


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place where one may write and read what one knows the name of; nothing is ever listed."""
    from airflow.sdk.io import attach

    store = MemoryFileSystem()
    attach("memory", fs=store)
    monkeypatch.setattr(MemoryFileSystem, "ls", lambda *given, **options: [])
    yield "memory://hidden/labels"
    monkeypatch.undo()
    if store.exists("/hidden"):
        store.rm("/hidden", recursive=True)


def test_a_place_that_does_not_list_what_is_written_is_refused(runner: ConfirmRunner, unlisted: str) -> None:
    for ending in (runner.confirm(ledger_uri=unlisted), runner.plan(plan_uri=f"{unlisted}/plan.jsonl")):
        assert type(ending.error) is AirflowFailException
        assert f"{unlisted} cannot be used: what is written there is not listed afterwards" in str(ending.error)
    assert len(runner.emulator.journal) == 0


def test_nothing_is_left_of_the_trial_of_a_disk(runner: ConfirmRunner, tmp_path: Path) -> None:
    assert runner.plan().error is None
    assert runner.confirm(plan_uri=runner.plan_uri, ledger_uri=runner.ledger_uri).error is None
    assert not [path for path in tmp_path.rglob("*") if "write-test" in path.name]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM])
def test_what_no_retry_can_mend_fails_at_once(number: int) -> None:
    with (
        pytest.raises(ParameterError, match="ledger_uri file:///data cannot be written to"),
        places.storage_errors("ledger_uri", "file:///data", "written to"),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ETIMEDOUT])
def test_what_may_pass_is_tried_again(number: int) -> None:
    with (
        pytest.raises(places.PlaceUnavailableError),
        places.storage_errors("ledger_uri", "file:///data", "written to"),
    ):
        raise OSError(number, os.strerror(number))


def failed(code: str, message: str) -> Any:
    """An error of s3fs, as it makes one of botocore's that it does not know."""
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    return translate_boto_error(ClientError({"Error": {"Code": code, "Message": message}}, "PutObject"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("VirtualHostDomainRequired", "Virtual host domain is required while accessing a specific bucket."),
        ("SecondLevelDomainForbidden", "Please use virtual hosted style to access."),
        ("XAmzContentSHA256Mismatch", "The Content-SHA256 you specified did not match what we received"),
        ("InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call."),
        ("InvalidRequest", "The provided 'x-amz-content-sha256' header does not match what was computed."),
    ],
)
def test_what_a_plain_connection_sends_and_obs_refuses_comes_with_the_extra(code: str, message: str) -> None:
    with (
        pytest.raises(ParameterError, match="addressing_style") as caught,
        places.storage_errors("plan_uri", "s3://bucket/x", "written to"),
    ):
        raise failed(code, message)
    assert code in str(caught.value), "also where s3fs leaves the code out of its text"
    assert "\n" not in str(caught.value)


def test_a_template_in_a_pathlib_path_is_refused_as_airflow_renders_none() -> None:
    """All runs would share the one file that is named so."""
    with pytest.raises(
        ParameterError, match=r"^plan_uri '/data/\{\{ run_id \}\}.jsonl' has a template in a pathlib path"
    ):
        places.uri("plan_uri", PurePosixPath("/data/{{ run_id }}.jsonl"))
    assert places.uri("plan_uri", PurePosixPath("/data/x.jsonl")) == "file:///data/x.jsonl"
