"""Request signing with an access key: contract 1.4."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_modelarts.client.transport.session import Request

ALGORITHM = "SDK-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"


def canonical_request(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return the text whose hash is signed: path and query encoded, the query sorted, body empty for none.

    The path is signed with a slash at its end; header fields with an underscore in their name are left out.
    """
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items() if "_" not in name}
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    slashed = path if path.endswith("/") else path + "/"
    return "\n".join((method, slashed, query, lines, ";".join(sorted(signed)), hashlib.sha256(body).hexdigest()))


def signature(canonical: str, date: str, secret_key: str) -> str:
    """Return the signature of a canonical request: the secret key itself is the key, nothing is derived from it."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{date}\n{digest}"
    return hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed_headers(
    request: Request, access_key: str, secret_key: str, now: float, extra: Mapping[str, str]
) -> dict[str, str]:
    """Return the header fields that authorize a request: ``extra`` ones, such as ``X-Security-Token``, are signed too.

    ``now`` are epoch seconds; the service accepts 15 minutes of difference.
    """
    date = datetime.fromtimestamp(now, UTC).strftime(DATE_FORMAT)
    sent = {"X-Sdk-Date": date, **extra}
    types = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
    to_sign = {**types, **sent, "Host": request.endpoint.host}
    canonical = canonical_request(request.method, request.path, request.encoded_query, to_sign, request.body or b"")
    names = ";".join(sorted(name.lower() for name in to_sign))
    sent["Authorization"] = (
        f"{ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature={signature(canonical, date, secret_key)}"
    )
    return sent
