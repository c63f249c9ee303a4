"""A client for calls that go on for long: it outlives an edited connection (B5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook


def lasting_client(hook: ModelArtsHook) -> ModelArtsClient:
    """Return a client each call of which goes through the hook's ``call``.

    It begins with the connection as it is now. If a request is refused or cannot be delivered in the middle of a
    confirmation, and the connection has changed since it was read, that one request goes out again by the new
    connection, and the confirmation does not notice it. This holds for writes too, as long as the service certainly has
    not carried them out. Lists are renewed before their first item only.

    :param hook: whose connection is read again
    """
    return cast("ModelArtsClient", _Lasting(hook.look_afresh()))


class _Lasting:
    """Has the client's resources as attributes."""

    def __init__(self, hook: ModelArtsHook) -> None:
        self._hook = hook

    def __getattr__(self, name: str) -> _Resource:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Resource(self._hook, name)


class _Resource:
    """Has a resource's calls as attributes."""

    def __init__(self, hook: ModelArtsHook, name: str) -> None:
        self._hook = hook
        self._name = name

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if verb.startswith("_"):
            raise AttributeError(verb)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._hook.call(lambda client: _begun(getattr(getattr(client, self._name), verb)(*args, **kwargs)))

        return call


def _begun(answer: Any) -> Any:
    """Ask for the first items of a list; without this nothing has been asked yet when the call returns."""
    return chain(list(islice(answer, 1)), answer) if isinstance(answer, Iterator) else answer
