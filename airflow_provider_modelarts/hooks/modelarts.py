"""From an Airflow connection of type ``modelarts`` to a client that a whole process shares."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from airflow_provider_modelarts.client.errors import AuthenticationError, ModelArtsError, NotFound
from airflow_provider_modelarts.hooks.connection import ConnectionSettings, read_extra, read_settings
from airflow_provider_modelarts.hooks.errors import ConnectionUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import (
        AccessKeyCredentials,
        ModelArtsClient,
        PasswordCredentials,
        TokenCredentials,
    )

T = TypeVar("T")

# An id that no dataset has: asking for it proves endpoint, credential and permission, and needs no listing right.
_PROBE = "connection-test"

# Kept open for each host; more threads than that work too, at the price of reconnecting.
_KEPT_CONNECTIONS = 64


@dataclass(frozen=True)
class SharedClient:
    """A client and the settings that it was made from."""

    settings: ConnectionSettings
    client: ModelArtsClient


class _Clients:
    """One client for each connection and project of this process; safe across threads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew without closing anything: after a fork the sockets belong to the parent, a lock may be held."""
        self._lock = threading.Lock()
        self._shared: dict[tuple[str, str | None], SharedClient] = {}

    def get(self, conn_id: str, project_id: str | None) -> SharedClient:
        with self._lock:
            shared = self._shared.get((conn_id, project_id))
            if shared is None:
                settings = _look_up(conn_id, project_id)
                shared = SharedClient(settings, make_client(settings))
                self._shared[conn_id, project_id] = shared
            return shared

    def renew(self, conn_id: str, project_id: str | None, refused: SharedClient) -> SharedClient | None:
        """Read the connection again; return a client of what it says now, or None if it says the same as before.

        The refused client stays in its place then: it knows that its credential was refused and sends it to nobody.
        """
        with self._lock:
            shared = self._shared.get((conn_id, project_id))
            if shared is not None and shared is not refused:
                return shared
            settings = _look_up(conn_id, project_id)
            if settings == refused.settings:
                return None
            shared = SharedClient(settings, make_client(settings))
            self._shared[conn_id, project_id] = shared
            return shared

    def close(self) -> None:
        with self._lock:
            for shared in self._shared.values():
                shared.client.close()
            self._shared.clear()


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
    from airflow_provider_modelarts.client.auth import PasswordCredentials, forget_tokens

    forget_tokens()
    if settings is not None:
        credentials = _credentials(settings)
        if isinstance(credentials, PasswordCredentials) and credentials.refusals:
            credentials.refusals.forget(credentials)


def _look_up(conn_id: str, project_id: str | None) -> ConnectionSettings:
    """Read a connection from Airflow, hide its secrets from all logs, and check it."""
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConnectionUnknownError(
            f"Airflow does not know the connection {conn_id!r}, or could not read it just now: create it with type "
            "'modelarts', or correct modelarts_conn_id. Nothing was sent."
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
    from airflow_provider_modelarts.client.refusals import SharedRefusals

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

    @property
    def shared(self) -> SharedClient:
        """The shared client with its settings.

        :raises InvalidRequest: if the connection is half-filled, naming each missing field
        :raises ConnectionUnknownError: if Airflow does not know the connection
        """
        return _clients.get(self.modelarts_conn_id, self.project_id)

    @property
    def client(self) -> ModelArtsClient:
        """The shared client; raises as :attr:`shared` does."""
        return self.shared.client

    def get_conn(self) -> ModelArtsClient:
        """Return the shared client."""
        return self.client

    def call(self, function: Callable[[ModelArtsClient], T]) -> T:
        """Call a function with the client; if its credential is refused, once more with a connection that has changed.

        So a password that was rotated while a labeling task was waited for does not end the wait (B5).

        :param function: gets the client; a refused credential means that the service carried out nothing
        :return: what the function returns
        :raises AuthenticationError: if the connection still holds the refused credential; it is not sent again
        """
        shared = self.shared
        try:
            return function(shared.client)
        except AuthenticationError:
            renewed = _clients.renew(self.modelarts_conn_id, self.project_id, shared)
            if renewed is None:
                raise
            self.log.info("Connection %s has changed; using its new credential.", self.modelarts_conn_id)
            return function(renewed.client)

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
        return True, f"ModelArts at {settings.endpoint} answers and accepts the credential."
