"""Where plans and ledgers lie: URIs of Airflow's object storage, tried before anything is sent."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.hooks.errors import ParameterError
from airflow_provider_modelarts.labeling.storage import SealedWriter, shown
from airflow_provider_modelarts.operators import _parameters as parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.definitions.xcom_arg import XComArg

    AnyPlace = str | PurePath | ObjectStoragePath | XComArg

# One name for all: storage that lets nobody delete keeps a single one of them.
_PROBE = ".modelarts-write-test"

_ADVICE = {
    ImportError: "install what it asks for",
    ValueError: "look at the URI",
    PermissionError: "permit it, or choose another place",
    FileNotFoundError: "look at the URI",
    NotADirectoryError: "look at the URI",
    IsADirectoryError: "give the URI of a file",
}
"""What no retry can mend, and what to do about it; other errors of a storage may pass by themselves."""


_ADVICE_BY_SCHEME = {
    "s3": "s3:// needs apache-airflow-providers-amazon[s3fs]",
    "obs": "OBS is reached by its S3 endpoint: write s3://, which needs apache-airflow-providers-amazon[s3fs]",
}


class PlaceUnavailableError(OSError):
    """A storage that may answer at the next try does not answer now."""


def uri(name: str, value: object) -> str:
    """Return a URI as ``ObjectStoragePath`` takes it, such as ``file:///data/plan.jsonl`` or ``s3://conn@bucket/key``.

    An ``ObjectStoragePath``, or a ``pathlib`` path from the root on, is as good as its URI.
    """
    if isinstance(value, PurePath):
        value = f"file://{value}" if value.is_absolute() else str(value)
    elif not isinstance(value, (str, type(None))):
        from airflow.sdk import ObjectStoragePath

        value = str(value) if isinstance(value, ObjectStoragePath) else value
    text = parameters.identifier(name, value)
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme or not rest.strip("/"):
        raise ParameterError(
            f"{name} must be a URI such as file:///data/labels or s3://bucket/labels, not {_short(text)}."
        )
    if scheme == "file" and not rest.startswith("/"):
        raise ParameterError(f"{name} {_short(text)} needs three slashes: file:/// and the path from the root on.")
    if scheme == "file" and "?" in rest:
        # Plans and ledgers name places without what follows it, as it may be a signature.
        raise ParameterError(f"{name} {_short(text)} has a question mark: give a place without one.")
    return text


def storage_path(name: str, value: object) -> ObjectStoragePath:
    """Return the path that a URI stands for; nothing is asked of its storage yet.

    :param name: the parameter, for errors
    :param value: its value, rendered
    :raises ParameterError: if it is no URI, or of a storage that nobody can speak to here
    """
    # Here, because a DAG file need not load what only a running task uses.
    from airflow.sdk import ObjectStoragePath

    text = uri(name, value)
    with readable_errors(name, text, "used"):
        return ObjectStoragePath(text)


def file_to_write(name: str, value: object) -> ObjectStoragePath:
    """Return the path of a file that is to be written; its folder is tried.

    :raises ParameterError: also if it is a folder
    """
    path = storage_path(name, value)
    with readable_errors(name, str(path), "written to"):
        is_folder = str(value).rstrip().endswith("/") or path.is_dir()
    if is_folder:
        raise ParameterError(f"{name} {_shown(str(path))} names a folder. Nothing was sent; give the URI of a file.")
    prove_writable(name, path.parent)
    return path


def prove_writable(name: str, folder: Any) -> None:
    """Write something into a folder and take it away again, so that a wrong place shows before anything is sent.

    :param name: the parameter, for errors
    :param folder: is made if it is missing
    :raises ParameterError: if nothing can be written there
    """
    probe = folder / _PROBE
    with readable_errors(name, str(folder), "written to"):
        with SealedWriter(probe) as file:
            file.seal({})
        _remove(probe)


def _remove(probe: Any) -> None:
    try:
        probe.unlink(missing_ok=True)
    except (OSError, NotImplementedError):
        # A storage may forbid to delete what it lets one write.
        return


@contextmanager
def readable_errors(name: str, text: str, doing: str) -> Iterator[None]:
    """Turn what a storage says about a wrong place into one line.

    :param name: the parameter
    :param text: its value
    :param doing: what cannot be done with the place
    :raises ParameterError: for what no retry can mend
    :raises PlaceUnavailableError: for other errors of a storage
    """
    try:
        yield
    except ModelArtsError:
        raise
    except Exception as error:  # what a storage's library raises need be no OSError
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        trouble = f"{name} {_shown(text)} cannot be {doing}: {reason}. Nothing was sent; "
        advice = next((found for kind, found in _ADVICE.items() if isinstance(error, kind)), None)
        if isinstance(error, (ImportError, ValueError)):
            advice = _ADVICE_BY_SCHEME.get(text.partition("://")[0], advice)
        if advice is None:
            raise PlaceUnavailableError(f"{trouble}look at its storage, or run the task again.") from error
        raise ParameterError(f"{trouble}{advice}.") from error


def _shown(text: str) -> str:
    return shown(text)  # type: ignore[arg-type]  # it asks for no more than the text of a path


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
