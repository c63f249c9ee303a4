"""From an Airflow connection of type ``modelarts`` to a client that a whole process shares."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.log import mask_secret

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.error_codes import SAMPLE_FAULTS
from airflow_provider_modelarts.client.errors import (
    DatasetBusy,
    ModelArtsError,
    NotFound,
    TaskAlreadyRunning,
    Throttled,
)
from airflow_provider_modelarts.hooks.connection import ConnectionSettings, read_extra, read_settings
from airflow_provider_modelarts.hooks.connection_form import CONNECTION_TYPE, INTEGRATION
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError

if TYPE_CHECKING:
    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.client.auth import Credentials
    from airflow_provider_modelarts.client.transport.transport import ClientSettings

log = logging.getLogger(__name__)

# An id that no dataset has: asking for it proves endpoint, credential and permission, and needs no listing right.
_PROBE = "connection-test"

REREAD_AFTER = 60.0
"""Seconds after which a connection is read again although nothing fails: somebody may have edited it."""

# Seconds within which failures that will be repeated anyway share one reading.
_RECENT = 1.0

# Errors of a service that knows who asks, and what for: the connection is not at fault.
_AT_HOME = (Throttled, DatasetBusy, TaskAlreadyRunning)

# Codes that name a sample: whoever answers so knows its dataset. A run may meet thousands of them.
_SAMPLE_CODES = frozenset(f"ModelArts.{number}" for number in SAMPLE_FAULTS)

# Kept open for each host; more threads than that work too, at the price of reconnecting.
_KEPT_CONNECTIONS = 64

# Orders the readings of connections and those who ask for one.
_turns = itertools.count(1)


class _ConnectionReading(NamedTuple):
    """What one reading of a connection found, and when it began: as a number of ``_turns``, and in epoch seconds."""

    turn: int
    read_at: float
    settings: ConnectionSettings
    of_client: ClientSettings
    client: ModelArtsClient

    def is_younger_than(self, seconds: float) -> bool:
        return 0 <= system_clock.now() - self.read_at < seconds


class _SharedConnection:
    """A connection and project as this process knows them, with the one client for them; safe across threads.

    Reading takes up to seconds in a triggerer. Who asks while another thread reads takes what the next reading finds,
    so that a thousand waits that begin together cost one or two.
    """

    def __init__(self, conn_id: str, project_id: str | None) -> None:
        self._conn_id = conn_id
        self._project_id = project_id
        self._lock = threading.Lock()  # held by the thread that reads
        self._last: _ConnectionReading | None = None

    def peek(self, since: int) -> _ConnectionReading | None:
        """Return the last reading if it began after a turn; nothing is read now."""
        return self._last if self._last and self._last.turn > since else None

    def get(self, since: int) -> _ConnectionReading:
        """Return the last reading if it began after a turn; else read."""
        last = self.peek(since)
        if last is not None:
            return last
        with self._lock:
            try:
                return self.peek(since) or self._read()
            except ConnectionUnknownError as error:
                return self._kept(error)

    def refresh(self, error: ModelArtsError | None) -> ClientSettings:
        """Return what the client is to use. Read again after a failure that the connection may cause, and each minute.

        :raises ModelArtsError: if no retry can mend the failure, and the connection cannot be read
        """
        last = self._last or self._read()
        if error is None:
            # one thread reads, the others go on with what is known
            if not last.is_younger_than(REREAD_AFTER) and self._lock.acquire(blocking=False):
                try:
                    self._reread()
                finally:
                    self._lock.release()
        elif not isinstance(error, _AT_HOME) and error.code not in _SAMPLE_CODES:
            since = next(_turns)
            with self._lock:
                if self.peek(since) is None:  # no other thread has read since
                    if error.permanent:
                        self._read()
                    elif not (self._last or last).is_younger_than(_RECENT):
                        self._reread()
        return (self._last or last).of_client

    def _reread(self) -> _ConnectionReading:
        """Read the connection; if that fails, go on with what it said before, and look again later."""
        try:
            return self._read()
        except ModelArtsError as error:
            return self._kept(error)

    def _kept(self, error: ModelArtsError) -> _ConnectionReading:
        """Return what the connection said before, because it cannot be read now; raise the error if that is nothing."""
        if self._last is None:
            raise error
        log.warning("Using connection %s as it was read before. %s", self._conn_id, error)
        self._last = self._last._replace(read_at=system_clock.now())
        return self._last

    def _read(self) -> _ConnectionReading:
        """Read the connection; as long as it says the same, the client's settings stay the same object."""
        turn, now, last = next(_turns), system_clock.now(), self._last
        settings = _look_up(self._conn_id, self._project_id)
        if last is not None and settings == last.settings:
            self._last = last._replace(turn=turn, read_at=now)
            return self._last
        of_client = _client_settings(settings)
        client = make_client(of_client, refresh=self.refresh)  # raises for what cannot be right
        for phrase in settings.unknown:
            log.warning("Connection %s: %s.", self._conn_id, phrase.rstrip("."))
        if last is not None:
            log.info("Connection %s has changed; using what it says now.", self._conn_id)
        self._last = _ConnectionReading(turn, now, settings, of_client, last.client if last else client)
        return self._last


_shared: dict[tuple[str, str | None], _SharedConnection] = {}
# After a fork the sockets belong to the parent, and a lock may be held: they are not closed, but forgotten.
os.register_at_fork(after_in_child=_shared.clear)


def clear_clients() -> None:
    """Close the shared clients of this process and forget their tokens; the next use reads its connection again.

    For tests, each of which has a service of its own.
    """
    from airflow_provider_modelarts.client.auth import forget_tokens

    for last in filter(None, (shared.peek(0) for shared in _shared.values())):
        last.client.close()
    _shared.clear()
    forget_tokens()


def _look_up(conn_id: str, project_id: str | None) -> ConnectionSettings:
    """Read a connection from Airflow, hide its secrets from all logs, and check it."""
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConnectionUnknownError(
            f"Airflow does not know the connection {conn_id!r}, or could not read it just now: create it with type "
            "'modelarts', or correct modelarts_conn_id. Nothing was sent."
        ) from None
    except (AirflowException, AirflowRuntimeError, OSError) as error:
        raise ConnectionUnknownError(
            f"Airflow could not read the connection {conn_id!r} ({type(error).__name__}): try again later, or look at "
            "Airflow's own logs. Nothing was sent."
        ) from error
    for secret in (connection.password, read_extra(connection)):
        if secret:
            mask_secret(secret)
    settings = read_settings(connection, project_id=project_id)
    # As they are sent: without the blanks and line ends that they were pasted with.
    for secret in (settings.secret, settings.security_token):
        if secret:
            mask_secret(secret)
    return settings


def make_client(settings: ClientSettings, **options: Any) -> ModelArtsClient:
    """Return a new client for settings; nothing is sent yet."""
    from airflow_provider_modelarts.client import ModelArtsClient

    return ModelArtsClient(**vars(settings), **options)


def _client_settings(settings: ConnectionSettings) -> ClientSettings:
    """Return a connection's settings as the client takes them."""
    from airflow_provider_modelarts.client.transport.transport import ClientSettings

    return ClientSettings(
        settings.endpoint,
        _credentials(settings),
        project_id=settings.project_id,
        timeout=settings.timeout,
        verify=settings.verify,
        allow_http=settings.allow_http,
        pool_size=max(_KEPT_CONNECTIONS, settings.poll_threads),
    )


def _credentials(settings: ConnectionSettings) -> Credentials:
    from airflow_provider_modelarts.client import AccessKeyCredentials, PasswordCredentials, TokenCredentials

    if settings.auth == "access_key":
        return AccessKeyCredentials(
            settings.login or "", settings.secret, settings.project_id or "", security_token=settings.security_token
        )
    if settings.auth == "token":
        return TokenCredentials(settings.secret, settings.project_id or "")
    return PasswordCredentials(
        settings.iam_endpoint or "",
        settings.login or "",
        settings.secret,
        settings.domain_name or "",
        # A token has one scope; the id is the more exact of the two.
        project_name=None if settings.project_id else settings.project_name,
        project_id=settings.project_id,
    )


class ModelArtsHook(BaseHook):
    """Gives the client for a connection of type ``modelarts``; all hooks of a process share one for each connection.

    :param modelarts_conn_id: the Airflow connection
    :param project_id: takes the place of the connection's own project
    """

    conn_name_attr = "modelarts_conn_id"
    default_conn_name = "modelarts_default"
    conn_type = CONNECTION_TYPE
    hook_name = INTEGRATION

    def __init__(self, modelarts_conn_id: str = default_conn_name, project_id: str | None = None) -> None:
        super().__init__()
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self._made = next(_turns)
        self._since = 0

    def look_afresh(self) -> Self:
        """Use the connection as it is now: what was read of it before does not count any more.

        For what begins, and before a stop. Nothing is read yet; the next use does so. The first time, what was read
        since this hook was made still counts.

        :return: this hook
        """
        self._since = next(_turns) if self._since else self._made
        return self

    @property
    def known_settings(self) -> ConnectionSettings | None:
        """The connection's settings if they can be had without reading the connection."""
        last = self._shared.peek(self._since)
        return last.settings if last else None

    @property
    def settings(self) -> ConnectionSettings:
        """The connection's settings.

        :raises InvalidRequest: if the connection is half-filled, naming each missing field
        :raises ConnectionUnknownError: if Airflow does not know the connection
        """
        return self._shared.get(self._since).settings

    @property
    def client(self) -> ModelArtsClient:
        """The client that all hooks of this process share for the connection; raises as :attr:`settings` does.

        It may be kept for as long as a task or a wait lasts. It reads the connection again once a minute, and when a
        request is refused or fails; if the connection was edited, the request goes out again by what it says now,
        unless the service may have carried it out. A refused credential is not sent again.
        """
        return self._shared.get(self._since).client

    def get_conn(self) -> ModelArtsClient:
        """Return the shared client."""
        return self.client

    @property
    def _shared(self) -> _SharedConnection:
        key = self.modelarts_conn_id, self.project_id
        return _shared.get(key) or _shared.setdefault(key, _SharedConnection(*key))

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection: get a token if it needs one, and ask ModelArts for a dataset that does not exist.

        A password that was refused before is sent once more: a person asks, and IAM may know it by now.

        :return: whether it works, and one line for people, without secrets
        """
        from airflow_provider_modelarts.client.auth import forget_tokens

        try:
            settings = _look_up(self.modelarts_conn_id, self.project_id)
            forget_tokens()
            # A client of its own: the form may hold values that no task uses yet.
            with make_client(_client_settings(settings), retries=False) as client:
                client.datasets.get(_PROBE)
        except NotFound as error:
            if not error.is_word_of_service:
                return False, str(error)
        except ModelArtsError as error:
            return False, str(error)
        notes = "".join(f" But {phrase}" for phrase in settings.unknown)
        return True, f"ModelArts at {settings.endpoint} answers and accepts the credential.{notes}"
