"""Gives Airflow the file system of ``obs://``, reached with the access key of a connection of type ``modelarts``.

Airflow loads this module wherever it looks for file systems, so it imports s3fs only when OBS is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.client.validation import Endpoint
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec import AbstractFileSystem

schemes = ["obs"]


def get_fs(conn_id: str | None, storage_options: Mapping[str, Any] | None = None) -> AbstractFileSystem:
    """Return the file system for a connection.

    :param conn_id: a connection of type ``modelarts`` whose authentication is ``access_key``; None: the default one
    :param storage_options: further arguments of ``ObsFileSystem``, which count before what the connection says
    :raises ImportError: if s3fs is not installed
    :raises InvalidRequest: if the connection has no access key, or if it is not known where its OBS is
    :raises ConnectionUnknownError: if Airflow does not know the connection
    """
    try:
        from airflow_provider_modelarts.fs.obs_filesystem import ObsFileSystem
    except ImportError as error:
        raise ImportError("obs:// needs s3fs: install the extra s3 of airflow-provider-modelarts") from error

    hook = ModelArtsHook(ModelArtsHook.default_conn_name if conn_id is None else conn_id)
    settings = hook.look_afresh().settings
    where = f"Connection {hook.modelarts_conn_id!r}"
    if settings.auth != "access_key":
        raise InvalidRequest(
            f"{where} logs in by {settings.auth}, and obs:// needs an access key. Make a connection of type modelarts "
            "with auth access_key, and name it in the URI, as in obs://my_conn@bucket/labels."
        )
    if settings.obs_endpoint is None:
        raise InvalidRequest(
            f"{where} does not say where OBS is: fill in extra.region, or extra.obs_endpoint if that is not known."
        )
    connect, read = settings.timeout
    options: dict[str, Any] = {
        "key": settings.login,
        "secret": settings.secret,
        "token": settings.security_token,
        "endpoint_url": Endpoint(settings.obs_endpoint, "obs_endpoint", allow_http=settings.allow_http).url,
        "client_kwargs": {"verify": settings.verify},
        "config_kwargs": {"connect_timeout": connect, "read_timeout": read},
    }
    return ObsFileSystem(**{**options, **(storage_options or {})})
