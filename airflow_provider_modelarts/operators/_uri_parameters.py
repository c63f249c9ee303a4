"""Reads the parameters that are URIs, such as ``plan_uri`` and ``ledger_uri``, and tries the places that they name.

They are URIs of Airflow's object storage. A wrong one is refused before anything is sent.
"""

from __future__ import annotations

import contextlib
import errno
import re
import secrets
import warnings
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.client.wording import cut
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.labeling.storage.atomic import error_response
from airflow_provider_modelarts.labeling.storage.path import (
    PASSWORD,
    display_uri,
    list_folder,
    local_path,
    name_of,
    remove_file,
)
from airflow_provider_modelarts.labeling.storage.sealed_file import SealedWriter
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import has_marks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.definitions.xcom_arg import XComArg

    AnyPlace = str | PurePath | ObjectStoragePath | XComArg

_PROBE = ".modelarts-write-test"
_S3 = ("s3", "s3a", "s3n")
_OBS = "obs://"
_BUCKETS = (*_S3, "gs", "gcs", "obs")
"""Schemes whose URIs begin with the name of a bucket."""

_ADVICE: dict[type[Exception], str] = {
    ImportError: "install what it asks for",
    ValueError: "look at the URI",
    PermissionError: "permit it, or choose another place",
    FileNotFoundError: "look at the URI",
    NotADirectoryError: "look at the URI",
    IsADirectoryError: "give the URI of a file",
}
"""Errors that no retry can mend, and what to do about them; other errors of a storage may pass by themselves."""

_ADVICE_BY_NUMBER = {
    errno.EROFS: "it is mounted read-only: choose another place",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.ELOOP: "look at its symbolic links",
}

_ADVICE_BY_SCHEME = {
    "s3": "s3:// needs apache-airflow-providers-amazon[s3fs]",
    "obs": "obs:// needs the extra s3 of airflow-provider-modelarts",
}

_OBS_EXTRA = (
    'OBS wants the bucket in the host name and no checksums that it does not know: put {"config_kwargs": {"s3": '
    '{"addressing_style": "virtual"}, "request_checksum_calculation": "when_required", "response_checksum_validation": '
    '"when_required"}} into the extra of the connection, and name that in the URI, as in s3://my_conn@bucket/labels'
)
_OBS_CODES = (
    # The bucket stands in the path; the second is what Alibaba's OSS says.
    "virtualhostdomainrequired",
    "secondleveldomainforbidden",
    # Checksums that newer botocore sends by default; some storage says it in words.
    "xamzcontentsha256mismatch",
    "content-sha256",
    "x-amz-sdk-checksum",
    "aws-chunked",
)
"""What S3-like storage says, in small letters, where the connection needs that extra."""


class PlaceUnavailableError(OSError):
    """A storage does not answer now; the next try may succeed."""


def uri(name: str, value: object) -> str:
    """Return a URI as ``ObjectStoragePath`` takes it, such as ``file:///data/plan.jsonl`` or ``s3://conn@bucket/key``.

    Several slashes become one, and none stays at the end: some storage writes such keys and never lists them. An
    ``ObjectStoragePath``, or a ``pathlib`` path from the root on, is as good as its URI.
    """
    text = parameters.identifier(name, _as_text(name, value))
    scheme, separator, rest = text.partition("://")

    def refused(complaint: str) -> ParameterError:
        return ParameterError(f"{name} {_short(text)} {complaint}")

    if not separator or not scheme or not rest.strip("/"):
        raise ParameterError(
            f"{name} must be a URI such as file:///data/labels or s3://bucket/labels, not {_short(text)}."
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise refused("needs three slashes: file:/// and the path from the root on.")
        if "?" in rest:
            # Plans and ledgers name places without what follows it, as it may be a signature.
            raise refused("has a question mark: give a place without one.")
        return f"file://{_folded(rest)}"
    host, _, key = rest.partition("/")
    connection, at, bucket = host.rpartition("@")
    if (not bucket and scheme in _BUCKETS) or (at and not connection):
        missing = "bucket" if not bucket else "connection before the @"
        raise refused(f"names no {missing}: write it as s3://my_conn@bucket/labels.")
    if ":" in connection or PASSWORD.match(rest):
        raise refused(
            "has a password in it. Before the @ stands the id of an Airflow connection: put user and password into "
            "that."
        )
    if {".", ".."} & set(key.split("/")):
        raise refused("has . or .. in it, which object storage does not know: leave it out.")
    return f"{scheme}://{host}{_folded('/' + key)}"


def _as_text(name: str, value: object) -> object:
    """Return the URI of a path; what is no path as it is."""
    if isinstance(value, PurePath):
        if has_marks(str(value)):
            raise ParameterError(
                f"{name} {_short(str(value))} has a template in a pathlib path, which Airflow does not render: give it "
                "as text, such as file:///data/{{ run_id }}.jsonl."
            )
        return f"file://{value}" if value.is_absolute() else str(value)
    if value is None or isinstance(value, str):
        return value
    from airflow.sdk import ObjectStoragePath

    return str(value) if isinstance(value, ObjectStoragePath) else value


def storage_path(name: str, value: object) -> ObjectStoragePath:
    """Return the path of a URI; no request is sent to its storage yet.

    :raises ParameterError: if it is no URI, or of a storage that nobody can speak to here
    :raises PlaceUnavailableError: if Airflow does not know its connection
    """
    # Here, because a DAG file need not load it.
    from airflow.sdk import BaseHook, ObjectStoragePath

    text = _with_connection(uri(name, value))
    with storage_errors(name, text, "used"), warnings.catch_warnings():
        # universal_pathlib does without what it warns of here.
        warnings.filterwarnings("ignore", "Could not find default for known protocol 'obs'")
        path = ObjectStoragePath(text)
        if path.conn_id is not None:
            # Without these lines Airflow ignores an unknown connection and asks the provider's own address as nobody.
            if path.protocol in _S3:
                BaseHook.get_connection(path.conn_id)
            _ = path.fs
        return path


def _with_connection(text: str) -> str:
    """Return a URI of OBS with the connection that leads there: without one Airflow asks as nobody."""
    if not text.startswith(_OBS) or "@" in text.removeprefix(_OBS).partition("/")[0]:
        return text
    return f"{_OBS}{ModelArtsHook.default_conn_name}@{text.removeprefix(_OBS)}"


def file_to_write(name: str, value: object) -> ObjectStoragePath:
    """Return the path of a file that is to be written; its folder is tried.

    :raises ParameterError: also if it is a folder
    """
    path = storage_path(name, value)
    with storage_errors(name, str(path), "written to"):
        has_name = "/" in uri(name, value).partition("://")[2] and not str(value).rstrip().endswith("/")
        is_folder = not has_name or path.is_dir()
    if is_folder:
        raise ParameterError(f"{name} {display_uri(path)} names a folder. Nothing was sent; give the URI of a file.")
    check_writable(name, path.parent)
    return path


def check_writable(name: str, folder: ObjectStoragePath) -> None:
    """Write something below a folder, list it and take it away, so that a wrong place shows before anything is sent.

    A folder that is missing is made.

    :raises ParameterError: if nothing can be written there, or if what is written is not found again
    """
    # In a folder of its own: many tasks may try at once, and the place itself may hold too much to be listed.
    place = folder / f"{_PROBE}-{secrets.token_hex(4)}"
    probe = place / "test.jsonl"
    with storage_errors(name, str(folder), "written to"):
        with SealedWriter(probe) as file:
            file.seal({})
        is_listed = name_of(probe) in map(name_of, list_folder(place))
        with contextlib.suppress(OSError, NotImplementedError):  # a storage may forbid to delete
            remove_file(probe)
            if local := local_path(place):  # only a disk has folders
                local.rmdir()
    if not is_listed:
        raise ParameterError(
            f"{name} {display_uri(folder)} cannot be used: what is written there is not listed afterwards, so a "
            "record would be lost. Nothing was sent; look at the URI, or choose another place."
        )


@contextmanager
def storage_errors(name: str, text: str, doing: str) -> Iterator[None]:
    """Turn what a storage says about a wrong place into one line: which parameter cannot be "used", "read" ...

    :raises ParameterError: for what no retry can mend
    :raises PlaceUnavailableError: for other errors of a storage
    """
    try:
        yield
    except ModelArtsError:
        raise
    except Exception as error:  # what a storage's library raises need be no OSError
        code = error_response(error).get("Error", {}).get("Code", "")
        said = f"{type(error).__name__}: {error}"
        reason = " ".join((said if code in said else f"{said} ({code})").split())
        trouble = f"{name} {display_uri(text)} cannot be {doing}: {reason}. Nothing was sent; "
        advice = _advice(error, text.partition("://")[0], f"{reason} {code}".lower())
        if advice is None:
            raise PlaceUnavailableError(
                f"{trouble}look at its connection and its storage, or run the task again."
            ) from error
        raise ParameterError(f"{trouble}{advice}.") from error


def _advice(error: Exception, scheme: str, said: str) -> str | None:
    """Return what to do about an error that no retry can mend; None if it may pass."""
    if any(code in said for code in _OBS_CODES):
        return _OBS_EXTRA
    advice = next((found for kind, found in _ADVICE.items() if isinstance(error, kind)), None)
    if isinstance(error, (ImportError, ValueError)):
        return _ADVICE_BY_SCHEME.get(scheme, advice)
    return _ADVICE_BY_NUMBER.get(getattr(error, "errno", None) or 0, advice)


def _folded(path: str) -> str:
    """Return a path with single slashes and none at its end."""
    return re.sub("/{2,}", "/", path).rstrip("/")


def _short(text: str) -> str:
    return repr(cut(display_uri(text), 80))
