"""Access-key signatures as the gateway computes them (contract 1.4)."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALGORITHM = "SDK-HMAC-SHA256"


def canonical_request(
    method: str, raw_path: str, query_string: str, headers: Mapping[str, str], signed: Sequence[str], body: bytes
) -> str:
    """Return the text whose hash is signed.

    :param raw_path: path as sent; each segment is decoded and encoded again by RFC 3986, and a slash ends it.
    :param headers: lower-case names; only those named by `signed` count.
    :param signed: lower-case header names, sorted.
    """
    path = "/".join(quote(unquote(segment), safe="~") for segment in raw_path.split("/"))
    if not path.endswith("/"):
        path += "/"
    pairs = parse_qsl(query_string, keep_blank_values=True)
    query = "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs))
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in signed)
    payload = headers.get("x-sdk-content-sha256") or hashlib.sha256(body).hexdigest()
    return "\n".join((method, path, query, lines, ";".join(signed), payload))


def signature(secret_key: str, date: str, canonical: str) -> str:
    """Return the hex signature of a canonical request; the secret key itself is the HMAC key.

    :param date: value of X-Sdk-Date.
    """
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{date}\n{digest}"
    return hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
