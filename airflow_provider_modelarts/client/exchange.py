"""One HTTP request and its answer: sessions, proxies, certificates, time-outs. No retries, no credentials."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from airflow_provider_modelarts import __version__
from airflow_provider_modelarts.client.answers import Answer
from airflow_provider_modelarts.client.checking import checked_seconds
from airflow_provider_modelarts.client.errors import InvalidRequest, ModelArtsError, ServiceUnavailable

# requests is imported where it is used: urllib3 opens a socket when it is imported, to see whether IPv6 works (B21).
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import requests

    from airflow_provider_modelarts.client.checking import Endpoint

JSON = "application/json"
_SCOPES = 4
_CHUNK = 1 << 20
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

    @property
    def path(self) -> str:
        """The encoded path; an id cannot leave its segment (B12)."""
        return self.endpoint.prefix + "".join(f"/{quote(segment, safe='')}" for segment in self.segments)

    @property
    def encoded_query(self) -> str:
        """The encoded query without question mark, sorted as a signature wants it (contract 1.4)."""
        pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in self.query)
        return "&".join(f"{name}={value}" for name, value in pairs)

    @property
    def url(self) -> str:
        """The whole address."""
        scheme, _, rest = self.endpoint.url.partition("://")
        host = rest.partition("/")[0]
        query = self.encoded_query
        return f"{scheme}://{host}{self.path}" + (f"?{query}" if query else "")

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return the same request with more header fields."""
        return Request(self.method, self.endpoint, self.segments, self.query, {**self.headers, **headers}, self.body)


class Exchange:
    """Sends requests over kept connections; safe to share between threads.

    :param timeout: seconds for the connection and for each wait on the answer; one number serves for both
    :param verify: check certificates; a path names a file of certificates to trust
    :param pool_size: connections kept open per host; more threads than that still work, at the price of reconnecting
    """

    def __init__(
        self, timeout: float | tuple[float, float] = (5, 30), verify: bool | str = True, pool_size: int = 64
    ) -> None:
        pair = timeout if isinstance(timeout, (tuple, list)) else (timeout, timeout)
        if len(pair) != 2:
            raise InvalidRequest("timeout must be a number of seconds, or two: to connect, and to wait for an answer.")
        self.timeout = (checked_seconds("timeout", pair[0]), checked_seconds("timeout", pair[1]))
        self.verify = _verify(verify)
        self.pool_size = pool_size
        self._session = _session(pool_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections; the exchange can still be used and would open new ones."""
        self._session.close()

    def send(self, request: Request, what: str) -> Answer:
        """Send once and read the answer to its end.

        :param request: what to send
        :param what: what it is for, as in "list samples of dataset d", for errors
        :return: the answer, whatever its status
        :raises ServiceUnavailable: without a whole answer; ``sent`` tells whether the request may have arrived
        :raises InvalidRequest: if the certificate is not trusted, or the request cannot be built
        """
        from requests.utils import get_environ_proxies
        from urllib3.exceptions import HTTPError

        prepared = self._prepared(request, what)
        proxies = {} if request.endpoint.is_loopback else get_environ_proxies(request.url, no_proxy=None)
        try:
            # The adapter alone: what the session adds (cookies, redirects, hooks) is not wanted here and costs time.
            response = self._session.get_adapter(request.url).send(
                prepared, timeout=self.timeout, verify=self.verify, proxies=proxies
            )
            body = b"".join(response.iter_content(_CHUNK))
        except (OSError, ValueError, HTTPError) as error:
            # requests' own errors are OSErrors; a file of certificates that is not there is a bare one; what requests
            # does not expect of the library underneath comes through as it is
            raise self._error(error, request, what) from None
        return Answer(
            response.status_code,
            response.headers,
            body,
            request.method,
            request.path,
            request.endpoint.host,
        )

    def _prepared(self, request: Request, what: str) -> requests.PreparedRequest:
        import requests

        prepared = requests.PreparedRequest()
        # Sent exactly as it was signed: nothing of the address is parsed and quoted anew.
        prepared.method, prepared.url = request.method, request.url
        try:
            prepared.prepare_headers({**self._session.headers, **request.headers})
            prepared.prepare_body(request.body, None)
        except ValueError as error:
            # its text would quote the header field that does not fit, which may be a token
            raise InvalidRequest(
                f"Cannot {what}: the request to {request.endpoint.host} cannot be built ({type(error).__name__}). "
                "Check endpoint.",
                method=request.method,
                path=request.path,
                sent=False,
            ) from None
        return prepared

    def _error(self, error: Exception, request: Request, what: str) -> ModelArtsError:
        """Say what happened without quoting the library, whose texts carry whole addresses."""
        import requests

        host, (connect, answer) = request.endpoint.host, self.timeout
        facts: dict[str, Any] = {"method": request.method, "path": request.path}
        if _is_no_address(error):
            return InvalidRequest(
                f"Cannot {what}: {host}, or the proxy for it, is no address that can be connected to "
                f"({type(error).__name__}). Check endpoint, HTTPS_PROXY and HTTP_PROXY.",
                **facts,
                sent=False,
            )
        if _certificate_refused(error) or (
            isinstance(error, OSError) and not isinstance(error, requests.RequestException)
        ):
            return InvalidRequest(
                f"Cannot {what}: the TLS certificate of {host} cannot be verified. Check endpoint, and that verify, "
                f"{' or '.join(_CA_VARIABLES)} names the file of trusted certificates.",
                **facts,
                sent=False,
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return ServiceUnavailable(
                f"Cannot {what}: the proxy for {host} gives no connection. Check HTTPS_PROXY and NO_PROXY.",
                **facts,
                sent=False,
            )
        if isinstance(error, requests.exceptions.SSLError):
            said, sent = f"the encrypted connection to {host} failed (does it speak TLS there?)", True
        elif isinstance(error, requests.exceptions.ConnectTimeout):
            said, sent = f"{host} could not be reached within {connect:g} s", False
        elif isinstance(error, requests.exceptions.Timeout):
            said, sent = f"{host} did not answer within {answer:g} s", True
        elif _never_connected(error):
            said, sent = f"{host} could not be reached (time-out {connect:g} s)", False
        elif isinstance(error, (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            said, sent = f"{host} broke the connection before its answer was complete", True
        else:
            # such as a body that does not decode, or header fields that contradict each other
            said, sent = f"the answer of {host} is garbled", True
        return ServiceUnavailable(
            f"Cannot {what}: {said}. Check endpoint, network and proxies, or try again later.", **facts, sent=sent
        )


def _is_no_address(error: Exception) -> bool:
    from requests.exceptions import InvalidSchema, InvalidURL
    from urllib3.exceptions import LocationValueError

    return isinstance(error, (InvalidSchema, InvalidURL, LocationValueError))


def _never_connected(error: Exception) -> bool:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return isinstance(_reason(error), (NewConnectionError, ConnectTimeoutError))


def _certificate_refused(error: Exception) -> bool:
    reason = _reason(error)
    return bool(getattr(reason, "args", None)) and isinstance(reason.args[0], ssl.SSLCertVerificationError)


def _reason(error: Exception) -> Any:
    """Return what the library underneath reports."""
    from urllib3.exceptions import MaxRetryError

    reason = error.args[0] if error.args else None
    return reason.reason if isinstance(reason, MaxRetryError) else reason


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


def _session(pool_size: int) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    # .netrc must not add a credential (B9); proxies and certificates of the environment are asked for one by one
    session.trust_env = False
    # one session serves many threads and credentials: nothing may stick to it
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"airflow-provider-modelarts/{__version__}"
    session.headers["X-Language"] = "en-us"
    session.headers["Accept"] = JSON
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=_SCOPES, pool_maxsize=pool_size, max_retries=0))
    return session
