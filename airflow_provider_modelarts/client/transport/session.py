"""One HTTP request and its answer: sessions, proxies, certificates, time-outs. No retries, no credentials."""

from __future__ import annotations

import http.client
import io
import os
import ssl
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_modelarts import __version__
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, ServiceUnavailable
from airflow_provider_modelarts.client.transport.response import Response
from airflow_provider_modelarts.client.validation import shown, validate_seconds

# requests is imported where it is used: urllib3 opens a socket when it is imported, to see whether IPv6 works.
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from requests import PreparedRequest
    from urllib3 import HTTPConnectionPool
    from urllib3.exceptions import ProxyError

    from airflow_provider_modelarts.client.validation import Endpoint

JSON = "application/json"
WAITS = 4
LEAST_LIMIT = 60.0
"""A whole answer may take ``WAITS`` times the time-out of each wait for a part of it, and at least these seconds.

A server that sends a byte now and then would otherwise hold a thread for ever.
"""

_BUFFER = 1 << 16  # each further call of the system lets other threads run first; larger ones cost a mapping each
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return quote(text, safe="")


@dataclass(frozen=True)
class Request:
    """A request before it is authorized.

    Segments and query are not encoded yet. Header fields may hold a credential, so they are not shown. A body of None
    is no body at all, as GET wants it (contract 0).
    """

    method: str
    endpoint: Endpoint
    segments: Sequence[str]
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)

    @cached_property
    def path(self) -> str:
        """The encoded path; an id cannot leave its segment."""
        return self.endpoint.prefix + "".join([f"/{_quoted(segment)}" for segment in self.segments])

    @cached_property
    def encoded_query(self) -> str:
        """The encoded query without question mark, sorted as a signature wants it (contract 1.4)."""
        pairs = sorted([(_quoted(name), _quoted(value)) for name, value in self.query])
        return "&".join(f"{name}={value}" for name, value in pairs)

    @cached_property
    def target(self) -> str:
        """Path and query as they go out: exactly as they were signed, nothing is parsed and quoted again."""
        query = self.encoded_query
        return f"{self.path}?{query}" if query else self.path

    @cached_property
    def url(self) -> str:
        """The whole address."""
        return self.endpoint.url.removesuffix(self.endpoint.prefix) + self.target

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return the same request with more header fields."""
        return Request(self.method, self.endpoint, self.segments, self.query, {**self.headers, **headers}, self.body)


class OverdueError(TimeoutError):
    """Parts of an answer came in time, but not the whole of it within these seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__("timed out")
        self.seconds = seconds


class _Limited(io.RawIOBase):
    """Reads a socket until the whole answer is overdue. Each wait for a part has the socket's own time-out."""

    def __init__(self, raw: Any, seconds: float) -> None:
        self._raw = raw
        self._seconds = seconds
        self._end = monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if monotonic() > self._end:
            raise OverdueError(self._seconds)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class LimitedAnswer(http.client.HTTPResponse):
    """An answer that must be complete in time, header included."""

    seconds: float | None = None
    """How long the whole answer may take; None: as long as :data:`LEAST_LIMIT` says."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        seconds = self.seconds
        if seconds is None:
            seconds = max(WAITS * (sock.gettimeout() or 0.0), LEAST_LIMIT)
        self.fp = io.BufferedReader(_Limited(self.fp.detach(), seconds), _BUFFER)


class _OnePiece:
    """A connection that sends the head of a request together with its body: a server wakes up once for both."""

    _head = b""
    _holds_back = False
    """Whether what is sent next is the head of a request that has a body."""

    def request(self, method: str, url: str, body: bytes | None = None, *args: Any, **options: Any) -> None:
        self._holds_back = bool(body)
        try:
            super().request(method, url, body, *args, **options)  # type: ignore[misc]  # it stands before a connection
        finally:
            # A head must never wait for the next request: before that one a proxy may be asked, unencrypted.
            self._head, self._holds_back = b"", False

    def send(self, data: Any) -> None:
        if self._holds_back:
            self._head, self._holds_back = data, False
            return
        head, self._head = self._head, b""
        super().send(head + data if head else data)  # type: ignore[misc]


class HttpSession:
    """Sends requests over kept connections; safe to share between threads.

    :param timeout: seconds for the connection and for each wait on the answer; one number serves for both. The whole
        answer may take four times as long, and at least a minute
    :param verify: check certificates; a path names a file of certificates to trust
    :param pool_size: connections kept open per host; more threads than that still work, at the price of reconnecting
    """

    def __init__(
        self, timeout: float | tuple[float, float] = (5, 30), verify: bool | str = True, pool_size: int = 64
    ) -> None:
        from requests.adapters import HTTPAdapter
        from requests.utils import default_headers

        pair = timeout if isinstance(timeout, (tuple, list)) else (timeout, timeout)
        if len(pair) != 2:
            raise InvalidRequest(
                f"timeout must be a number of seconds, or two: to connect and to wait for an answer; not {shown(pair)}."
            )
        self.timeout = (validate_seconds("timeout", pair[0]), validate_seconds("timeout", pair[1]))
        self.verify = _verify(verify)
        self._adapter = HTTPAdapter(pool_maxsize=pool_size, max_retries=0)
        self._headers = {
            **default_headers(),
            "User-Agent": f"airflow-provider-modelarts/{__version__}",
            "X-Language": "en-us",
            "Accept": JSON,
        }
        self._ways: dict[str, tuple[HTTPConnectionPool, dict[str, str]]] = {}

    def close(self) -> None:
        """Close the kept connections; the session can still be used and would open new ones."""
        self._ways.clear()
        self._adapter.close()

    def send(self, request: Request, what: str) -> Response:
        """Send once and return the answer, whatever its status; ``what`` says in errors what the request is for.

        :raises ServiceUnavailable: without a whole answer; ``sent`` tells whether the request may have arrived
        :raises InvalidRequest: if the certificate is not trusted, or the request cannot be built
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError, ProtocolError

        headers = {**self._headers, **request.headers}
        fields = "".join(headers.values())
        if not (fields.isascii() and fields.isprintable()):
            # the value is not quoted, it may be a token
            raise InvalidRequest(
                f"Cannot {what}: the request to {request.endpoint.host} cannot be built, for a header field holds "
                "characters that none may have. Check endpoint.",
                method=request.method,
                path=request.path,
                sent=False,
            )
        pool, target = self._way(request, what)
        try:
            # urllib3 at once: cookies, redirects and hooks of requests are not wanted here, and its parsing and quoting
            # of the address costs more than the rest of an exchange.
            response = pool.urlopen(
                request.method,
                target,
                request.body,
                headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=self.timeout[0], read=self.timeout[1]),
            )
        except (OSError, ValueError, HTTPError) as error:
            # urllib3 wraps what happens on the way; should it forget one, the request may have arrived all the same
            lost = ProtocolError(error) if isinstance(error, OSError) else error
            raise self._error(lost, request, what) from _root(error)
        host = request.endpoint.host
        return Response(response.status, response.headers, response.data, request.method, request.path, host)

    def _way(self, request: Request, what: str) -> tuple[HTTPConnectionPool, str]:
        """Return the connections to use, and the target as it stands in the request's first line.

        The environment is asked for proxies once for each endpoint: that takes longer than half an exchange.
        """
        place = request.endpoint.url
        pool, proxies = self._ways.get(place) or self._way_to(request, what)
        self._ways[place] = pool, proxies
        return pool, self._adapter.request_url(_addressed(request), proxies) if proxies else request.target

    def _way_to(self, request: Request, what: str) -> tuple[HTTPConnectionPool, dict[str, str]]:
        from requests.utils import get_environ_proxies
        from urllib3.exceptions import LocationValueError

        proxies = {} if request.endpoint.is_loopback else get_environ_proxies(request.url, no_proxy=None)
        try:
            pool: Any = self._adapter.get_connection_with_tls_context(_addressed(request), self.verify, proxies)
            self._adapter.cert_verify(pool, request.url, self.verify, None)  # type: ignore[no-untyped-call]
        except (OSError, LocationValueError) as error:
            # requests' own errors are OSErrors, and about an address; a bare one: there is no such file of certificates
            raise self._error(error, request, what) from None
        if not issubclass(pool.ConnectionCls, _OnePiece):  # IAM may be at the same host
            pool.ConnectionCls = type("_Connection", (_OnePiece, pool.ConnectionCls), {"response_class": LimitedAnswer})
        return pool, proxies

    def _error(self, error: Exception, request: Request, what: str) -> ModelArtsError:
        """Say what happened without quoting the library, whose texts carry whole addresses."""
        from requests.exceptions import InvalidSchema, InvalidURL
        from urllib3.exceptions import LocationValueError, ProxyError

        host, why = request.endpoint.host, _reason(_root(error))
        kind: type[ModelArtsError] = InvalidRequest
        sent = False
        if isinstance(error, (InvalidSchema, InvalidURL, LocationValueError)):
            said = f"{host}, or the proxy for it, is no address that can be connected to ({type(error).__name__})"
            advice = "Check endpoint, HTTPS_PROXY and HTTP_PROXY."
        elif isinstance(error, OSError) or isinstance(next(iter(error.args), None), ssl.SSLCertVerificationError):
            said = f"the TLS certificate of {host} cannot be verified{why}"
            names = " or ".join(_CA_VARIABLES)
            advice = f"Check endpoint, and that verify, {names} names the file of trusted certificates."
        elif isinstance(error, ProxyError) and _proxy_never_passed_on(error):
            kind, said = ServiceUnavailable, f"the proxy for {host} gives no connection{why}"
            advice = "Check HTTPS_PROXY and NO_PROXY."
        else:
            kind, (said, sent) = ServiceUnavailable, self._lost(error, request, why)
            advice = "Check endpoint, network and proxies, or try again later."
        return kind(f"Cannot {what}: {said}. {advice}", method=request.method, path=request.path, sent=sent)

    def _lost(self, error: Exception, request: Request, why: str) -> tuple[str, bool]:
        """Return how a request or its answer was lost, and whether it may have arrived."""
        from urllib3 import exceptions as lost

        host, port = request.endpoint.host, request.endpoint.port
        if isinstance(error, lost.ProxyError):
            return f"the proxy for {host} broke the connection before an answer was complete", True
        if isinstance(error, lost.SSLError):
            return f"the encrypted connection to {host} failed{why} (does it speak TLS there?)", True
        if isinstance(error, lost.NameResolutionError):
            return f"{host} could not be reached: its name is not known here{why}", False
        if isinstance(error, lost.NewConnectionError):
            return f"{host} could not be reached at port {port}{why}", False
        if isinstance(error, lost.ConnectTimeoutError):
            return f"{host} could not be reached: port {port} did not answer within {self.timeout[0]:g} s", False
        if isinstance(error, lost.ReadTimeoutError):
            if isinstance(error.__cause__, OverdueError):
                return f"{host} did not complete its answer within {error.__cause__.seconds:g} s", True
            return f"{host} did not answer within {self.timeout[1]:g} s", True
        if isinstance(error, (lost.ProtocolError, lost.PoolError)):
            return f"{host} broke the connection before its answer was complete{why}", True
        # such as a body that does not decode, or header fields that contradict each other
        return f"the answer of {host} is garbled", True


def _root(error: BaseException) -> BaseException:
    """Return what went wrong first, without the frames it went through: what was sent stands there, with its token."""
    seen: list[BaseException] = []
    inner: object = error
    while isinstance(inner, BaseException) and not any(inner is one for one in seen):
        seen.append(inner)
        # urllib3 keeps what it wraps in either of these
        within = getattr(inner, "original_error", None) or next(iter(inner.args), None)
        inner = inner.__cause__ or (within if isinstance(within, BaseException) else inner.__context__)
    root = next((one for one in reversed(seen) if isinstance(one, OSError)), seen[-1])
    bare = root.with_traceback(None)
    bare.__cause__ = bare.__context__ = None
    return bare


def _reason(root: BaseException) -> str:
    """Return what the operating system or the encryption says, in brackets; nothing where it says nothing."""
    said = getattr(root, "verify_message", None) or getattr(root, "reason", None) or getattr(root, "strerror", None)
    if type(root) is OSError and not said:  # a proxy's refusal
        said = next(iter(root.args), None)
    return f" ({' '.join(said.replace('_', ' ').split())[:120]})" if isinstance(said, str) and said.strip() else ""


def _addressed(request: Request) -> PreparedRequest:
    """Return what requests asks for an address."""
    from requests import PreparedRequest

    addressed = PreparedRequest()
    addressed.url = request.url
    return addressed


def _proxy_never_passed_on(error: ProxyError) -> bool:
    """Whether the request certainly stayed here: urllib3 reports a lost answer as an error of the proxy as well."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    cause = error.original_error
    if isinstance(cause, (ConnectTimeoutError, NewConnectionError)):
        return True
    return type(cause) is OSError and str(cause).startswith("Tunnel connection failed")


def _verify(verify: bool | str) -> bool | str:
    """Return what requests should trust: the variables that it would read if the environment were trusted."""
    if verify is True:
        return next((path for path in map(os.environ.get, _CA_VARIABLES) if path), True)
    if isinstance(verify, str) and not os.path.exists(verify):  # noqa: PTH110 - a file or a folder, as text
        raise InvalidRequest(f"verify names {verify}, which does not exist: give a file of trusted certificates.")
    if isinstance(verify, str) and os.path.isfile(verify):  # noqa: PTH113 - as above
        try:
            # now: later it would look like a connection that fails, and be tried again and again
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(verify)
        except OSError as error:  # an SSLError is one
            raise InvalidRequest(
                f"verify names {verify}, which holds no certificates that can be read ({type(error).__name__}): give a "
                "file of trusted certificates in PEM form."
            ) from None
    return verify
