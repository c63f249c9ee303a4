"""One HTTP request and its answer: sessions, proxies, certificates, time-outs. No retries, no credentials."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote

from airflow_provider_modelarts import __version__
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, ServiceUnavailable
from airflow_provider_modelarts.client.transport.connections import OverdueError, make_adapter
from airflow_provider_modelarts.client.transport.response import Response
from airflow_provider_modelarts.client.validation import shown, validate_seconds

# requests is imported where it is used: urllib3 opens a socket when it is imported, to see whether IPv6 works.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from requests import PreparedRequest
    from urllib3 import HTTPConnectionPool
    from urllib3.exceptions import ProxyError

    from airflow_provider_modelarts.client.validation import Endpoint

JSON = "application/json"
_SCOPES = 4
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Request:
    """A request before it is authorized.

    :param method: HTTP method
    :param endpoint: where to
    :param segments: path segments, not encoded
    :param query: names and values, not encoded
    :param headers: header fields; they may hold a credential, so they are not shown
    :param body: bytes to send; None for no body at all, as GET wants it (contract 0)
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
        return self.endpoint.prefix + "".join(f"/{quote(segment, safe='')}" for segment in self.segments)

    @cached_property
    def encoded_query(self) -> str:
        """The encoded query without question mark, sorted as a signature wants it (contract 1.4)."""
        pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in self.query)
        return "&".join(f"{name}={value}" for name, value in pairs)

    @cached_property
    def target(self) -> str:
        """Path and query as they go out: exactly as they were signed, nothing is parsed and quoted anew."""
        query = self.encoded_query
        return f"{self.path}?{query}" if query else self.path

    @cached_property
    def url(self) -> str:
        """The whole address."""
        scheme, _, rest = self.endpoint.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}{self.target}"

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return the same request with more header fields."""
        return Request(self.method, self.endpoint, self.segments, self.query, {**self.headers, **headers}, self.body)


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
        pair = timeout if isinstance(timeout, (tuple, list)) else (timeout, timeout)
        if len(pair) != 2:
            raise InvalidRequest(
                f"timeout must be a number of seconds, or two: to connect and to wait for an answer; not {shown(pair)}."
            )
        self.timeout = (validate_seconds("timeout", pair[0]), validate_seconds("timeout", pair[1]))
        self.verify = _verify(verify)
        self.pool_size = pool_size
        self._adapter = make_adapter(_SCOPES, pool_size)
        self._headers = _common_headers()
        self._ways: dict[str, tuple[HTTPConnectionPool, dict[str, str]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections; the exchange can still be used and would open new ones."""
        self._ways.clear()
        self._adapter.close()

    def send(self, request: Request, what: str) -> Response:
        """Send once and read the answer to its end.

        :param request: what to send
        :param what: what it is for, as in "list samples of dataset d", for errors
        :return: the answer, whatever its status
        :raises ServiceUnavailable: without a whole answer; ``sent`` tells whether the request may have arrived
        :raises InvalidRequest: if the certificate is not trusted, or the request cannot be built
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError, ProtocolError

        headers = {**self._headers, **request.headers}
        if not all(text.isascii() and text.isprintable() for text in headers.values()):
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
            # What stands between this and the connection in requests (cookies, redirects, hooks, and parsing and
            # quoting the address anew) is not wanted here, and costs more than the rest of an exchange.
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
        return Response(
            response.status,
            response.headers,
            response.data,
            request.method,
            request.path,
            request.endpoint.host,
        )

    def _way(self, request: Request, what: str) -> tuple[HTTPConnectionPool, str]:
        """Return the connections to use, and the target as it stands in the request's first line.

        The environment is asked for proxies once for each endpoint: to ask takes longer than half an exchange.
        """
        place = request.endpoint.url
        pool, proxies = self._ways.get(place) or self._way_to(request, what)
        if pool.pool is None:  # it was closed to make room for other places
            pool, proxies = self._way_to(request, what)
        self._ways[place] = pool, proxies
        return pool, self._adapter.request_url(_addressed(request), proxies) if proxies else request.target

    def _way_to(self, request: Request, what: str) -> tuple[HTTPConnectionPool, dict[str, str]]:
        from requests.utils import get_environ_proxies
        from urllib3.exceptions import LocationValueError

        proxies = {} if request.endpoint.is_loopback else get_environ_proxies(request.url, no_proxy=None)
        try:
            pool = self._adapter.get_connection_with_tls_context(_addressed(request), self.verify, proxies)
            self._adapter.cert_verify(pool, request.url, self.verify, None)  # type: ignore[no-untyped-call]
        except (OSError, LocationValueError) as error:
            # requests' own errors are OSErrors, and about an address; a bare one: there is no such file of certificates
            raise self._error(error, request, what) from None
        return cast("HTTPConnectionPool", pool), proxies

    def _error(self, error: Exception, request: Request, what: str) -> ModelArtsError:
        """Say what happened without quoting the library, whose texts carry whole addresses."""
        from urllib3 import exceptions as lost

        host = request.endpoint.host
        facts: dict[str, Any] = {"method": request.method, "path": request.path}
        if _is_no_address(error):
            return InvalidRequest(
                f"Cannot {what}: {host}, or the proxy for it, is no address that can be connected to "
                f"({type(error).__name__}). Check endpoint, HTTPS_PROXY and HTTP_PROXY.",
                **facts,
                sent=False,
            )
        why = _reason(_root(error))
        if isinstance(error, OSError) or _certificate_refused(error):
            return InvalidRequest(
                f"Cannot {what}: the TLS certificate of {host} cannot be verified{why}. Check endpoint, and that "
                f"verify, {' or '.join(_CA_VARIABLES)} names the file of trusted certificates.",
                **facts,
                sent=False,
            )
        if isinstance(error, lost.ProxyError) and _proxy_never_passed_on(error):
            return ServiceUnavailable(
                f"Cannot {what}: the proxy for {host} gives no connection{why}. Check HTTPS_PROXY and NO_PROXY.",
                **facts,
                sent=False,
            )
        said, sent = self._lost(error, request, why)
        return ServiceUnavailable(
            f"Cannot {what}: {said}. Check endpoint, network and proxies, or try again later.", **facts, sent=sent
        )

    def _lost(self, error: Exception, request: Request, why: str) -> tuple[str, bool]:
        """Return how a request or its answer was lost, and whether it may have arrived."""
        from urllib3 import exceptions as lost

        host, (connect, answer) = request.endpoint.host, self.timeout
        if isinstance(error, lost.ProxyError):
            return f"the proxy for {host} broke the connection before an answer was complete", True
        if isinstance(error, lost.SSLError):
            return f"the encrypted connection to {host} failed{why} (does it speak TLS there?)", True
        if isinstance(error, lost.NameResolutionError):
            return f"{host} could not be reached: its name is not known here{why}", False
        if isinstance(error, lost.NewConnectionError):
            return f"{host} could not be reached at port {request.endpoint.port}{why}", False
        if isinstance(error, lost.ConnectTimeoutError):
            port = request.endpoint.port
            return f"{host} could not be reached: port {port} did not answer within {connect:g} s", False
        if isinstance(error, lost.ReadTimeoutError):
            return f"{host} {_too_late(error, answer)}", True
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


def _is_no_address(error: Exception) -> bool:
    from requests.exceptions import InvalidSchema, InvalidURL
    from urllib3.exceptions import LocationValueError

    return isinstance(error, (InvalidSchema, InvalidURL, LocationValueError))


def _proxy_never_passed_on(error: ProxyError) -> bool:
    """Whether the request certainly stayed here: urllib3 reports a lost answer as an error of the proxy as well."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    cause = error.original_error
    if isinstance(cause, (ConnectTimeoutError, NewConnectionError)):
        return True
    return type(cause) is OSError and str(cause).startswith("Tunnel connection failed")


def _too_late(error: Exception, wait: float) -> str:
    overdue = error.__cause__
    if isinstance(overdue, OverdueError):
        return f"did not complete its answer within {overdue.seconds:g} s"
    return f"did not answer within {wait:g} s"


def _certificate_refused(error: Exception) -> bool:
    return bool(error.args) and isinstance(error.args[0], ssl.SSLCertVerificationError)


def _verify(verify: bool | str) -> bool | str:
    """Return what requests should trust: the variables that it would read if the environment were trusted."""
    if verify is True:
        return next((path for path in map(os.environ.get, _CA_VARIABLES) if path), True)
    if isinstance(verify, str) and not os.path.exists(verify):  # noqa: PTH110 - a file or a folder, as text
        raise InvalidRequest(f"verify names {verify}, which does not exist: give a file of trusted certificates.")
    if isinstance(verify, str) and os.path.isfile(verify):  # noqa: PTH113 - as above
        _check_certificates(verify)
    return verify


def _check_certificates(file: str) -> None:
    """Read the file now: later it would look like a connection that fails, and be tried again and again."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:  # an SSLError is one
        raise InvalidRequest(
            f"verify names {file}, which holds no certificates that can be read ({type(error).__name__}): give a file "
            "of trusted certificates in PEM form."
        ) from None


def _common_headers() -> dict[str, str]:
    from requests.utils import default_headers

    return {
        **default_headers(),
        "User-Agent": f"airflow-provider-modelarts/{__version__}",
        "X-Language": "en-us",
        "Accept": JSON,
    }
