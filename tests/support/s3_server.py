"""Moto's S3 on loopback, which plays other stores too: those that refuse what S3 takes, or pay no heed to it."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BUCKET = "labels"
_ERRORS = {
    403: "VirtualHostDomainRequired",
    400: "XAmzContentSHA256Mismatch",
    405: "MethodNotAllowed",
    409: "ConditionalRequestConflict",
    501: "NotImplemented",
}


class Request(NamedTuple):
    """What one request asked for.

    :param is_signed: it came with somebody's credentials
    """

    method: str
    path: str
    query: str
    is_conditional: bool
    is_signed: bool
    headers: dict[str, str]


class S3Server:
    """A store that a connection of Airflow leads to.

    :param app: moto's
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.url = ""
        self.begin()

    def begin(self) -> None:
        """Empty the bucket, and be an honest S3."""
        self.conditions: int | str = "held"
        """What becomes of a conditional write: "held", "ignored", or the status it is refused with."""
        self.refuses: Callable[[Request], int | None] = lambda request: None
        """Says with which status a request is refused; None: it is not."""
        self.before_answer: Callable[[Request], None] = lambda request: None
        """Called when a request has been carried out, before it is answered."""
        if self.url:
            client = self.client()
            for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
                client.delete_object(Bucket=BUCKET, Key=found["Key"])
        self.requests: list[Request] = []

    def client(self) -> Any:
        """Return boto3's client of it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="an-access-key",
            aws_secret_access_key="a-secret-key",
        )

    def connection(self, **extra: Any) -> str:
        """Return a connection as Airflow's environment variables have it."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1", **extra}
        return json.dumps({"conn_type": "aws", "login": "an-access-key", "password": "a-secret-key", "extra": extra})

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = {
            name[5:].lower().replace("_", "-"): str(value) for name, value in environ.items() if name[:5] == "HTTP_"
        }
        request = Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            "if-none-match" in headers,
            "authorization" in headers,
            headers,
        )
        self.requests.append(request)
        status = self.refuses(request)
        if status is None and request.is_conditional and request.method in ("PUT", "POST"):
            if self.conditions == "ignored":
                del environ["HTTP_IF_NONE_MATCH"]
            elif self.conditions != "held":
                status = int(self.conditions)
        if status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = f"<Error><Code>{_ERRORS[status]}</Code><Message>Refused.</Message></Error>".encode()
            start_response(
                f"{status} Refused", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
            )
            return [body]
        answer = list(self._app(environ, start_response))
        self.before_answer(request)
        return answer


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a store with one bucket on a free port."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = S3Server(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        store.client().create_bucket(Bucket=BUCKET)
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
