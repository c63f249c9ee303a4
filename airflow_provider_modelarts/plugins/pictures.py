"""Pictures of samples, fetched for the review page: by a fresh address each, and nothing else comes through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.client.transport.session import LimitedAnswer

if TYPE_CHECKING:
    from requests import PreparedRequest, Session

    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

MOST_BYTES = 8 << 20
"""Larger pictures are not shown: fifty of them stand on a page."""
SECONDS = (3.0, 10.0)
"""To connect, and to wait for each part of a picture."""
MOST_SECONDS = 20.0
"""For a whole picture: a storage that sends a byte now and then would hold a thread for ever."""
_CHUNK = 1 << 16
_PLAIN = {"Accept-Encoding": "identity"}
"""Nothing is unpacked: some kilobytes may become gigabytes."""

# By their first bytes, whatever the storage calls them. No SVG: that is a document, which may hold a script.
_KINDS: tuple[tuple[bytes, int, bytes, str], ...] = (
    (b"\xff\xd8\xff", 0, b"", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, b"", "image/png"),
    (b"GIF87a", 0, b"", "image/gif"),
    (b"GIF89a", 0, b"", "image/gif"),
    (b"RIFF", 8, b"WEBP", "image/webp"),
    (b"BM", 6, bytes(4), "image/bmp"),
)


class Picture(NamedTuple):
    """A picture.

    :param content: its bytes
    :param kind: its type, told by the bytes
    """

    content: bytes
    kind: str


class PictureUnavailableError(Exception):
    """There is no picture to show. The text holds no address, for addresses of samples carry signatures (B20).

    :param status: the HTTP status that says so
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def fetch(hook: ModelArtsHook, dataset_id: str, sample_id: str) -> Picture:
    """Return the picture of a sample, by the address that the service gives for it now (contract 6.4).

    :param hook: gives the client
    :param dataset_id: the dataset
    :param sample_id: one of a plan that the caller has checked
    :raises PictureUnavailableError: if the service or the storage does not give it, if it is too large, or no picture
    """
    try:
        sample = hook.client.samples.get(dataset_id, sample_id, retry=False)
        settings = hook.settings
    except ModelArtsError as error:
        raise PictureUnavailableError(502, f"The picture cannot be shown: {error}") from None
    address = sample.raw.get("source")
    schemes = {"https", settings.endpoint.partition("://")[0]}  # plain http only where the service itself is so reached
    if not isinstance(address, str) or address.partition("://")[0] not in schemes:
        raise PictureUnavailableError(404, "The service gives no address of a picture for this sample.")
    content = _download(address, settings.verify)
    kind = kind_of(content)
    if kind is None:
        raise PictureUnavailableError(415, "The sample is no picture of a kind that is shown here.")
    return Picture(content, kind)


def kind_of(content: bytes) -> str | None:
    """Return the type of a picture by its first bytes; None for anything else."""
    for begin, offset, further, kind in _KINDS:
        if content.startswith(begin) and content[offset:].startswith(further):
            return kind
    return None


def _download(address: str, verify: bool | str) -> bytes:
    """Return what lies at an address. No redirect is followed, and no credential goes along."""
    import requests
    from urllib3.exceptions import HTTPError

    parts: list[bytes] = []
    size, end = 0, time.monotonic() + MOST_SECONDS
    try:
        with (
            _session() as session,
            session.get(
                address,
                auth=_without_credentials,
                headers=_PLAIN,
                stream=True,
                allow_redirects=False,
                verify=verify,
                timeout=SECONDS,
            ) as answer,
        ):
            if answer.status_code != requests.codes.ok:
                raise PictureUnavailableError(
                    502, f"The storage does not give the picture: it answers {answer.status_code}."
                )
            for part in answer.raw.stream(_CHUNK, decode_content=False):
                size += len(part)
                if size > MOST_BYTES:
                    raise PictureUnavailableError(413, f"The picture has more than {MOST_BYTES >> 20} MB.")
                parts.append(part)
    except (OSError, ValueError, HTTPError) as error:  # their texts quote the address
        if time.monotonic() > end:
            raise PictureUnavailableError(504, f"The picture did not come within {MOST_SECONDS:g} s.") from None
        raise PictureUnavailableError(502, f"The storage does not answer ({type(error).__name__}).") from None
    return b"".join(parts)


def _session() -> Session:
    """Return a session in which a whole answer, header included, takes no longer than ``MOST_SECONDS``."""
    from requests import Session
    from requests.adapters import HTTPAdapter

    class InTime(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*args, **options)
            answer = type("_Answer", (LimitedAnswer,), {"seconds": MOST_SECONDS})
            pool.ConnectionCls = type("_Connection", (pool.ConnectionCls,), {"response_class": answer})
            return pool

    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, InTime())
    return session


def _without_credentials(request: PreparedRequest) -> PreparedRequest:
    """Return a request as it is: without this, requests adds a credential from ``.netrc`` (B12)."""
    return request
