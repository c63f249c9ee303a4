"""From an Airflow connection of type ``modelarts`` to a client that a whole process shares."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.log import mask_secret

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import (
    DatasetBusy,
    ModelArtsError,
    NotFound,
    TaskAlreadyRunning,
    Throttled,
)
from airflow_provider_modelarts.hooks.connection import ConnectionSettings, read_extra, read_settings
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError
from airflow_provider_modelarts.labeling.apply.batches import SAMPLE_FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import (
        AccessKeyCredentials,
        ModelArtsClient,
        PasswordCredentials,
        TokenCredentials,
    )

T = TypeVar("T")

log = logging.getLogger(__name__)

# An id that no dataset has: asking for it proves endpoint, credential and permission, and needs no listing right.
_PROBE = "connection-test"

# Seconds in which a connection that was read is not read again because a call failed that will be repeated anyway.
_RECENT = 1.0

# Errors of a service that knows who asks, and what for: the connection is not at fault.
_AT_HOME = (Throttled, DatasetBusy, TaskAlreadyRunning)

# Codes that name a sample: whoever answers so knows its dataset. A run may meet thousands of them.
_SAMPLE_CODES = frozenset(f"ModelArts.{number}" for number in SAMPLE_FAULTS)

# Kept open for each host; more threads than that work too, at the price of reconnecting.
_KEPT_CONNECTIONS = 64


@dataclass(frozen=True)
class SharedClient:
    """A client and the settings that it was made from."""

    settings: ConnectionSettings
    client: ModelArtsClient


class _Known:
    """What this process knows of one connection and project."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held by who reads the connection: all others that ask at this time take what it has found."""
        self.shared: SharedClient | None = None
        self.turn = 0
        """When it was read last, as a number of :data:`_turns`."""
        self.read_at = -math.inf
        """When that was, in epoch seconds."""

    def is_newer_than(self, turn: int) -> bool:
        return self.turn > turn

    def read(self, conn_id: str, project_id: str | None) -> SharedClient:
        """Read the connection; as long as it says the same, the client stays the same."""
        turn, now = next(_turns), system_clock.now()
        settings = _look_up(conn_id, project_id)
        if self.shared is None or settings != self.shared.settings:
            changed = self.shared is not None
            client = make_client(settings)
            self.shared = SharedClient(settings, client)
            for phrase in settings.unknown:
                log.warning("Connection %s: %s.", conn_id, phrase.rstrip("."))
            # Not at once: another thread may be in the middle of a call.
            weakref.finalize(self.shared, client.close).atexit = False
            if changed:
                log.info("Connection %s has changed; using what it says now.", conn_id)
        self.read_at = now
        self.turn = turn
        return self.shared


class _Clients:
    """One client for each connection and project of this process; safe across threads.

    A long-lived process, as a triggerer is, reads a connection again when somebody begins to use it and when a call
    fails for what may be the connection's fault. Reading takes up to seconds there, so who asks while another thread
    reads takes what the next reading finds: a thousand waits that begin together cost one or two.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin again without closing anything: after a fork the sockets belong to the parent, a lock may be held."""
        self._known: dict[tuple[str, str | None], _Known] = {}

    def _of(self, conn_id: str, project_id: str | None) -> _Known:
        return self._known.setdefault((conn_id, project_id), _Known())  # atomic

    def peek(self, conn_id: str, project_id: str | None, since: int) -> SharedClient | None:
        """Return the client if the connection was read after a turn; nothing is read now."""
        known = self._of(conn_id, project_id)
        return known.shared if known.is_newer_than(since) else None

    def get(self, conn_id: str, project_id: str | None, since: int) -> SharedClient:
        """Return a client of what the connection has said after a turn; it is read if nobody has done so since."""
        shared = self.peek(conn_id, project_id, since)
        if shared is not None:
            return shared
        known = self._of(conn_id, project_id)
        with known.lock:
            if known.shared is not None and known.is_newer_than(since):
                return known.shared
            try:
                return known.read(conn_id, project_id)
            except ConnectionUnknownError as error:
                if known.shared is None:
                    raise
                log.warning("Using connection %s as it was read before. %s", conn_id, error)
                return known.shared

    def renew(
        self, conn_id: str, project_id: str | None, failed: SharedClient, *, at_once: bool
    ) -> SharedClient | None:
        """Read the connection again after a failure; return a client of what it says now, or None if that is the same.

        The failed client stays in its place then: it knows that its credential was refused and sends it to nobody.

        :param at_once: the caller will not ask again; if not, one reading in a second serves all
        """
        since = next(_turns)
        known = self._of(conn_id, project_id)
        with known.lock:
            is_recent = 0 <= system_clock.now() - known.read_at < _RECENT and not at_once
            if known.shared is failed and not known.is_newer_than(since) and not is_recent:
                known.read(conn_id, project_id)
            return None if known.shared is failed else known.shared

    def close(self) -> None:
        """Close all clients and forget them."""
        known, self._known = self._known, {}
        for one in known.values():
            if one.shared is not None:
                one.shared.client.close()


_turns = itertools.count(1)
_clients = _Clients()
os.register_at_fork(after_in_child=_clients.forget)


def clear_clients() -> None:
    """Close the shared clients of this process and forget their tokens; who needs one next reads its connection anew.

    For tests, each of which has a service of its own.
    """
    _clients.close()
    forget_refusals()


def forget_refusals(settings: ConnectionSettings | None = None) -> None:
    """Forget tokens and refused passwords of this process; with settings also what this machine knows of their user."""
    from airflow_provider_modelarts.client.auth.credentials import PasswordCredentials, forget_tokens

    forget_tokens()
    if settings is not None:
        credentials = _credentials(settings)
        if isinstance(credentials, PasswordCredentials) and credentials.refusals:
            credentials.refusals.forget(credentials)


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


def make_client(settings: ConnectionSettings) -> ModelArtsClient:
    """Return a new client for settings; nothing is sent yet."""
    from airflow_provider_modelarts.client import ModelArtsClient

    return ModelArtsClient(
        settings.endpoint,
        _credentials(settings),
        project_id=settings.project_id,
        timeout=settings.timeout,
        verify=settings.verify,
        allow_http=settings.allow_http,
        pool_size=max(_KEPT_CONNECTIONS, settings.poll_threads),
    )


def _credentials(settings: ConnectionSettings) -> PasswordCredentials | AccessKeyCredentials | TokenCredentials:
    from airflow_provider_modelarts.client import AccessKeyCredentials, PasswordCredentials, TokenCredentials
    from airflow_provider_modelarts.client.auth.refusals import SharedRefusals

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
        # Each task has a process of its own: a hundred of them must not send a wrong password each (B7a).
        refusals=SharedRefusals(),
    )


class ModelArtsHook(BaseHook):
    """Gives the client for a connection of type ``modelarts``; all hooks of a process share one for each connection.

    :param modelarts_conn_id: the Airflow connection
    :param project_id: takes the place of the connection's own project
    """

    conn_name_attr = "modelarts_conn_id"
    default_conn_name = "modelarts_default"
    conn_type = "modelarts"
    hook_name = "Huawei Cloud ModelArts"

    def __init__(self, modelarts_conn_id: str = default_conn_name, project_id: str | None = None) -> None:
        super().__init__()
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id
        self._made = next(_turns)
        self._since = 0

    def look_afresh(self) -> Self:
        """Use the connection as it is now: what was read of it before does not count any more (B5).

        For what begins, and before a stop. Nothing is read yet; the next use does so, and if the connection has not
        changed the client stays the same. The first time, what was read since this hook was made still counts.

        :return: this hook
        """
        self._since = next(_turns) if self._since else self._made
        return self

    @property
    def known(self) -> SharedClient | None:
        """The shared client if it can be had without reading the connection."""
        return _clients.peek(self.modelarts_conn_id, self.project_id, self._since)

    @property
    def shared(self) -> SharedClient:
        """The shared client with its settings.

        :raises InvalidRequest: if the connection is half-filled, naming each missing field
        :raises ConnectionUnknownError: if Airflow does not know the connection
        """
        return _clients.get(self.modelarts_conn_id, self.project_id, self._since)

    @property
    def client(self) -> ModelArtsClient:
        """The shared client; raises as :attr:`shared` does."""
        return self.shared.client

    def get_conn(self) -> ModelArtsClient:
        """Return the shared client."""
        return self.client

    def call(self, function: Callable[[ModelArtsClient], T]) -> T:
        """Call a function with the client; after a failure that may be the connection's, look whether it was edited.

        If so, and if the service certainly has not carried out what failed, the function is called once more with the
        new client. So neither a rotated password nor another host, account or region ends a wait (B5).

        :param function: gets the client
        :return: what the function returns
        :raises ModelArtsError: of the function, if the connection is still the same; a refused credential is not sent
            again
        :raises ConnectionUnknownError: if the service refuses the call for good, and Airflow cannot tell whether the
            connection is still the same
        """
        shared = self.shared
        try:
            return function(shared.client)
        except ModelArtsError as error:
            renewed = self._renewed(shared, error)
            if renewed is None or not error.certainly_not_executed:
                raise
        return function(renewed.client)

    def _renewed(self, failed: SharedClient, error: ModelArtsError) -> SharedClient | None:
        """Return a client of what the connection says now; None if it says the same, or is not at fault."""
        if isinstance(error, _AT_HOME) or error.code in _SAMPLE_CODES:
            return None
        try:
            return _clients.renew(self.modelarts_conn_id, self.project_id, failed, at_once=error.permanent)
        except ModelArtsError:
            if error.permanent:
                raise
            return None  # a later call looks again

    def test_connection(self) -> tuple[bool, str]:
        """Try the connection: get a token if it needs one, and ask ModelArts for a dataset that does not exist.

        A password that was refused before is sent once more: a person asks, and IAM may know it by now.

        :return: whether it works, and one line for people, without secrets
        """
        try:
            settings = _look_up(self.modelarts_conn_id, self.project_id)
            forget_refusals(settings)
            # A client of its own: the form may hold values that no task uses yet.
            with make_client(settings).detached() as client:
                client.datasets.get(_PROBE)
        except NotFound as error:
            if not (error.code or "").startswith("ModelArts."):
                return False, str(error)
        except ModelArtsError as error:
            return False, str(error)
        notes = "".join(f" But {phrase}" for phrase in settings.unknown)
        return True, f"ModelArts at {settings.endpoint} answers and accepts the credential.{notes}"
