"""The client: one connection to the service, handed out as resources."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.resources.datasets import Datasets
from airflow_provider_modelarts.client.resources.labels import Labels
from airflow_provider_modelarts.client.resources.proposals import Proposals
from airflow_provider_modelarts.client.resources.sample_files import SampleFiles
from airflow_provider_modelarts.client.resources.samples import Samples
from airflow_provider_modelarts.client.resources.tasks import Tasks
from airflow_provider_modelarts.client.resources.team_samples import TeamSamples
from airflow_provider_modelarts.client.resources.team_tasks import TeamTasks
from airflow_provider_modelarts.client.resources.transfers import Exports, Imports, Sync
from airflow_provider_modelarts.client.resources.versions import Versions
from airflow_provider_modelarts.client.resources.workforces import Workforces
from airflow_provider_modelarts.client.transport.transport import ClientSettings, Transport
from airflow_provider_modelarts.client.validation import as_number, validate_choice, wrong

if TYPE_CHECKING:
    from airflow_provider_modelarts.client.auth.credentials import Credentials
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.transport import Refresh

__all__ = ["ModelArtsClient"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class ModelArtsClient:
    """Speaks to ModelArts; may be shared between threads, and closed when no longer needed.

    Building one sends nothing: a password credential gets its token with the first call.

    :param endpoint: where ModelArts is reached: a URL, or a host, which means https
    :param credentials: ``PasswordCredentials``, ``AccessKeyCredentials`` or ``TokenCredentials``
    :param project_id: the project to work in; default: the one of the credential
    :param timeout: seconds for the connection and for each wait on an answer, as one number or two
    :param verify: check the service's certificate; a path names a file of certificates to trust
    :param allow_http: allow plain http also to other hosts than this machine; the credential is then sent in the clear
    :param retries: False: send every request once
    :param pool_size: connections kept open per host; give the number of threads that will share the client
    :param clock: tells the time and sleeps
    :param refresh: returns the ``ClientSettings`` to use, for a process that outlives a change of them. Called with
        None before each request, and with the error after a refused or failed one; the same object as before stands for
        no change. With another one a request that failed is sent again, unless the service may have carried it out.
        Default: the settings stay
    :raises InvalidRequest: for an endpoint, project or time-out that cannot be right
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        *,
        project_id: str | None = None,
        timeout: float | tuple[float, float] = (5, 30),
        verify: bool | str = True,
        allow_http: bool = False,
        retries: bool = True,
        pool_size: int = 64,
        clock: Clock = system_clock,
        refresh: Refresh | None = None,
    ) -> None:
        settings = ClientSettings(endpoint, credentials, project_id, timeout, verify, allow_http, pool_size)
        self._transport = Transport(settings, clock, retries=retries, refresh=refresh)

    def __repr__(self) -> str:
        route = self._transport.route
        return f"ModelArtsClient({route.endpoint.url!r}, {route.settings.credentials!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.route.session.close()

    def detached(self) -> ModelArtsClient:
        """Return a client with connections of its own that sends every request once.

        A signal handler needs it: the thread that it interrupts may hold a lock of this client.
        """
        transport = self._transport
        settings = vars(transport.route.settings)
        return ModelArtsClient(**settings, retries=False, clock=transport.clock, refresh=transport.refresh)

    @property
    def endpoint(self) -> str:
        """Where ModelArts is reached, as URL."""
        return self._transport.follow().endpoint.url

    @property
    def project_id(self) -> str:
        """The project worked in; for a password credential this may fetch the token."""
        return self._transport.project_id()

    @property
    def known_project_id(self) -> str | None:
        """The project, if it is known without a request: it was given, or a token was fetched before; else None."""
        return self._transport.known_project_id()

    @property
    def throttled(self) -> int:
        """How many answers asked this client for fewer requests so far, those that were repeated included."""
        return self._transport.throttled

    def request(
        self,
        method: str,
        *segments: str,
        query: Mapping[str, str | float | bool | None] | None = None,
        body: Any = None,
    ) -> Any:
        """Send a request for which there is no method yet, and return the parsed JSON of the answer.

        It is authorized, and refused or failed requests raise the same errors as those of the other methods. Reads are
        repeated where that may help; all others only if the service certainly did not carry them out. ::

            client.request("GET", "datasets", dataset_id, "tasks", query={"limit": 10})

        :param method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``
        :param segments: the path below the project, each part on its own and not encoded
        :param query: parameters of the address; those that are None are not sent
        :param body: what to send as JSON, unchecked; None: nothing
        :return: parsed JSON; None if the answer has no body
        :raises InvalidRequest: for an unknown method, a path without parts or with an empty one, a GET with a body, or
            what JSON cannot say; before anything is sent
        :raises ModelArtsError: if the service refused it or could not be reached; also for a success that holds an
            error's code
        """
        verb = validate_choice("method", method, METHODS)
        if not segments or not isinstance(segments[0], str) or "/" in segments[0]:
            raise InvalidRequest('Give each part of the path on its own: "datasets", dataset_id, "tasks".')
        what = f"send {verb} {'/'.join(map(str, segments))}"
        if isinstance(body, (bytes, bytearray)):
            raise wrong("body", "what JSON can say", body)
        if not isinstance(query, Mapping) and query is not None:
            raise wrong("query", 'a dict of parameters, such as {"limit": 10}', query)
        sent = {name: _query_text(name, value) for name, value in (query or {}).items()}
        if verb != "GET":
            return self._transport.write(verb, what, *segments, query=sent, body=body)
        if body is not None:
            raise InvalidRequest("GET has no body: give query.")
        return self._transport.get(what, *segments, query=sent)

    @cached_property
    def tasks(self) -> Tasks:
        """Labeling tasks: start, get, list, stop, wait."""
        return Tasks(self._transport)

    @cached_property
    def proposals(self) -> Proposals:
        """What the machine suggests: list, page, get."""
        return Proposals(self._transport)

    @cached_property
    def samples(self) -> Samples:
        """Samples and their final labels: list, get, update, clear_labels."""
        return Samples(self._transport)

    @cached_property
    def team_samples(self) -> TeamSamples:
        """Samples of team labeling tasks: list, get, update, clear_labels, review."""
        return TeamSamples(self._transport)

    @cached_property
    def team_tasks(self) -> TeamTasks:
        """Team labeling tasks: create, start, change, delete, count; accept what the team has labeled."""
        return TeamTasks(self._transport)

    @cached_property
    def workforces(self) -> Workforces:
        """Teams and their members."""
        return Workforces(self._transport)

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets: get, list, find, create, update, delete, stats, metrics, search_options."""
        return Datasets(self._transport)

    @cached_property
    def labels(self) -> Labels:
        """Labels of datasets: list, create, update, delete, update_one, delete_with_samples."""
        return Labels(self._transport)

    @cached_property
    def sample_files(self) -> SampleFiles:
        """Samples as files: upload, delete."""
        return SampleFiles(self._transport)

    @cached_property
    def versions(self) -> Versions:
        """Published versions of datasets: list, find, get, create, delete."""
        return Versions(self._transport)

    @cached_property
    def imports(self) -> Imports:
        """Imports into datasets: start, get, list."""
        return Imports(self._transport)

    @cached_property
    def exports(self) -> Exports:
        """Exports of datasets: start, get, list."""
        return Exports(self._transport)

    @cached_property
    def sync(self) -> Sync:
        """Synchronization of datasets with their input folders: start, status."""
        return Sync(self._transport)


def _query_text(name: object, value: object) -> str | None:
    """Return a parameter of an address as the service reads it."""
    if not isinstance(name, str):
        raise wrong("A name in query", "text", name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    number = as_number(value)
    if number is None:
        raise wrong(f"query[{name!r}]", "text, a number, true or false", value)
    return str(number)
