"""What an answer means: the shapes of contract 7.1 into JSON or one of our errors."""

from __future__ import annotations

import html
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_modelarts.client.error_codes import is_progress, rule_for
from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    ForeignAnswer,
    ModelArtsError,
    PermissionDenied,
    ServiceUnavailable,
    Throttled,
    UnexpectedResponse,
)
from airflow_provider_modelarts.client.models import parse_json, to_integer, to_number
from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.client.wording import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    # a function, not the secrets themselves: values in frames end up in tools that show them
    Hide = Callable[[str], str]

_TEXT_LIMIT = 500
# a page may begin with a long style
_READ_LIMIT = 8 * _TEXT_LIMIT
# shorter ones would blot out words, and by that betray themselves
_SHORTEST_SECRET = 6
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
# In this order; contract 7.1.
_CODE_KEYS = ("error_code", "errorCode", "code")
_REFUSING_KEYS = (*_CODE_KEYS, "error")
_TEXT_KEYS = ("error_msg", "error_message", "errorMsg", "message")
_CODE = re.compile(r"[A-Za-z]+\.\w+")


@dataclass(frozen=True)
class Response:
    """An HTTP answer, read to its end, with method, path and host of the request. Its header may hold a token."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str
    path: str
    host: str


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the beginning of a text without secrets, however they are written, and without queries of addresses.

    It takes the whole text: of a secret that was cut, the part that is left would not be known as one.
    """
    spellings = {one for secret in secrets if len(secret) >= _SHORTEST_SECRET for one in _spellings(secret)}
    # longest first: a secret within another one must not save the rest of that
    for one in sorted(spellings, key=len, reverse=True):
        text = text.replace(one, "***")
    return without_queries(text[:_READ_LIMIT])


def _spellings(secret: str) -> set[str]:
    """Return how a secret reads where a request is echoed: as it is, within JSON, and each of them within HTML."""
    written = {secret}
    for only_ascii in (True, False):
        quoted = json.dumps(secret, ensure_ascii=only_ascii)[1:-1]
        written |= {quoted, quoted.replace("/", r"\/")}
    return written | {html.escape(one, quote=quotes) for one in written for quotes in (True, False)}


def parse_response(
    answer: Response,
    what: str,
    hide: Hide,
    now: float,
    own: Collection[str] = (),
    parse: Callable[[bytes], Any] = parse_json,
) -> Any:
    """Return the JSON of a successful answer, None if it has no body.

    An error's code in a success is that error: the service and the gateway before it both do so.

    :param answer: what came back
    :param what: what was asked for, as in "list samples of dataset d"
    :param hide: takes secrets out of text
    :param now: epoch seconds, to read a ``Retry-After`` that is a date
    :param own: keys with which an answer is what was asked for, although it may carry an error's code as well: that of
        a labeling task that failed, those of samples that were not written
    :param parse: reads the body; raises ValueError if it is no JSON
    :raises ModelArtsError: for every status but 2xx, for a body that is not JSON, and for a code of an error
    """
    is_success, content = 200 <= answer.status < 300, None
    if answer.status != 204 and answer.body.strip():
        try:
            content = parse(answer.body)
        except (ValueError, RecursionError):
            if is_success:
                raise _no_json(answer, what, hide) from None
    known = content if isinstance(content, dict) else None
    if is_success and (known is None or not _is_refusal(known, own)):
        return content
    raise _error(answer, known, what, hide, now)


def _is_refusal(content: dict[str, Any], own: Collection[str]) -> bool:
    """Whether the body of a success is that of an error."""
    if content.keys().isdisjoint(_REFUSING_KEYS) or any(_says_something(content.get(key)) for key in own):
        return False
    code, _, _ = _code_and_text(content)
    if code is None:
        # A number is no code that the documents know, but says as well that something is wrong.
        number = next((one for key in _CODE_KEYS[:2] if (one := to_integer(content.get(key)))), 0)
        return _nested_status(content) is not None or not (number == 0 or 200 <= number < 300)
    # "code" alone may be a word of whoever passed the answer on
    is_word = code == content.get("code") and not _CODE.fullmatch(code)
    return not is_word and not is_progress(code)


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _no_json(answer: Response, what: str, hide: Hide) -> ModelArtsError:
    facts = _facts(answer, None)
    if _is_page(answer):
        return _page_error(answer, what, hide, facts)
    return UnexpectedResponse(
        f"Cannot {what}: the answer of {answer.host} is not valid JSON ({len(answer.body)} bytes, perhaps cut off). "
        "Try again; if it stays so, check endpoint and proxies.",
        **facts,
    )


def _error(answer: Response, content: dict[str, Any] | None, what: str, hide: Hide, now: float) -> ModelArtsError:
    """Return the error that an answer stands for, by the code table: what happened and what to do, in one line."""
    code, text, request_id = _code_and_text(content)
    facts = _facts(answer, request_id) | {"retry_after": retry_after(answer.headers, now)}
    if 300 <= answer.status < 400:
        target = "another place"
        with suppress(ValueError):
            target = urlsplit(answer.headers.get("Location", "")).hostname or target
        return ForeignAnswer(
            f"Cannot {what}: {answer.host} redirects to {target}, and redirects are refused because the credential "
            "must not travel. Check endpoint.",
            **facts,
        )
    if content is None and _is_page(answer):
        return _page_error(answer, what, hide, facts)
    rule = rule_for(_nested_status(content) or answer.status if 200 <= answer.status < 300 else answer.status, code)
    said = hide(text or _plain_text(answer, hide) or f"{answer.host} gave no reason")[:_TEXT_LIMIT]
    said = " ".join(said.split()).rstrip(". ") or "no reason given"
    return rule.error(f"Cannot {what}: {said}. {rule.advice or _ADVICE.get(rule.error, '')}", code=code, **facts)


_ADVICE: dict[type[ModelArtsError], str] = {
    AuthenticationError: "Check the credential.",
    PermissionDenied: "Check the permissions of the user.",
    ServiceUnavailable: "Try again later.",
    Throttled: "Send fewer requests at once.",
}


def _page_error(answer: Response, what: str, hide: Hide, facts: dict[str, Any]) -> ModelArtsError:
    text = hide(_plain_text(answer, hide))  # once more: tags may have stood within an address
    said = f"Cannot {what}: {answer.host} answered with a page for people ({cut(text, 120)})"
    # not 401: that would count as the service's word on the credential, which is then never sent again
    if answer.status in (403, 407, 408, 429) or answer.status >= 500:
        said += ", probably from a proxy or load balancer. Try again later, or check the way there."
        return rule_for(answer.status, None).error(said, **facts)
    return ForeignAnswer(f"{said}. Check endpoint, and whether a proxy or a login page stands in between.", **facts)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, given as seconds or as an HTTP date; None without."""
    value = headers.get("Retry-After", "").strip()
    seconds = to_number(value)
    if seconds is None and value:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, IndexError):
            return None
        # a date without a zone is UTC in HTTP
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return None if seconds is None else max(0.0, float(seconds))


def _facts(answer: Response, request_id: str | None) -> dict[str, Any]:
    return {
        "status": answer.status,
        "request_id": request_id or answer.headers.get("X-Request-Id"),
        "method": answer.method,
        "path": answer.path,
    }


def _code_and_text(content: dict[str, Any] | None) -> tuple[str | None, str | None, str | None]:
    if content is None:
        return None, None, None
    code = next((code for key in _CODE_KEYS if (code := _service_code(content.get(key)))), None)
    text = next((text for key in _TEXT_KEYS if (text := _as_text(content.get(key)))), None)
    nested = content.get("error")
    if code is None and text is None and isinstance(nested, dict):
        return _code_and_text(nested)
    return code, text or _as_text(nested), _as_text(content.get("request_id"))


def _nested_status(content: dict[str, Any] | None) -> int | None:
    """Return the status that IAM's older shape repeats: in a success it is the only one that says something."""
    nested = content.get("error") if content else None
    status = to_integer(nested.get("code")) if isinstance(nested, dict) else None
    return status if status is not None and 400 <= status < 600 else None


def _service_code(code: object) -> str | None:
    """Return a code of the service; IAM's older shape repeats the HTTP status there, which is none."""
    return code if isinstance(code, str) and code.strip() and not code.strip().isdigit() else None


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _is_page(answer: Response) -> bool:
    return "html" in answer.headers.get("Content-Type", "").lower() or bool(_MARKUP.match(answer.body))


def _plain_text(answer: Response, hide: Hide) -> str:
    text = hide(answer.body.decode("utf-8", "replace"))
    return " ".join(_TAGS.sub(" ", text).split()) if "<" in text else text
