"""The form of a connection of type ``modelarts`` in Airflow's web interface; ``hooks/connection.py`` reads its values.

Data only, without imports of our own: Airflow reads it in every process.
"""

from __future__ import annotations

from typing import Any

INTEGRATION = "Huawei Cloud ModelArts"
CONNECTION_TYPE = "modelarts"

_OPTIONAL_TEXT = {"type": ["string", "null"]}

EXTRA_FIELDS: dict[str, dict[str, Any]] = {
    "auth": {
        "label": "Authentication",
        "description": "password: IAM user and password. access_key: access key and secret key. token: ready-made",
        "schema": {"type": "string", "enum": ["password", "access_key", "token"], "default": "password"},
    },
    "domain_name": {
        "label": "Account",
        "description": "Name of the account (IAM domain) that the user belongs to; needed for password authentication",
        "schema": _OPTIONAL_TEXT,
    },
    "region": {
        "label": "Region",
        "description": "For example cn-north-4; empty endpoint, IAM endpoint and project are derived from it",
        "schema": _OPTIONAL_TEXT,
    },
    "project_name": {
        "label": "Project name",
        "description": "Project that the token is scoped to; empty: the region's built-in project",
        "schema": _OPTIONAL_TEXT,
    },
    "project_id": {
        "label": "Project id",
        "description": "Needed for access keys and ready-made tokens; with a password it is read from the token",
        "schema": _OPTIONAL_TEXT,
    },
    "iam_endpoint": {
        "label": "IAM endpoint",
        "description": "URL or host of the token service; empty: derived from the region",
        "schema": _OPTIONAL_TEXT,
    },
    "security_token": {
        "label": "Security token",
        "description": "Comes with temporary access keys",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "obs_endpoint": {
        "label": "OBS endpoint",
        "description": "URL or host of object storage, for obs:// with an access key; empty: derived from the region",
        "schema": _OPTIONAL_TEXT,
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a file with CA certificates; empty: true",
        "schema": _OPTIONAL_TEXT,
    },
    "timeout": {
        "label": "Timeout (s)",
        "description": "Seconds to wait for an answer; empty: 30",
        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
    },
    "allow_http": {
        "label": "Allow plain HTTP",
        "description": "Permit unencrypted endpoints other than this machine; the password would travel in clear text",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "poll_threads": {
        "label": "Poll threads",
        "description": "Threads with which a triggerer asks for the state of labeling tasks; empty: 32",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 256},
    },
    "console": {
        "label": "Console",
        "description": "Address of a dataset in the web console, with {dataset_id} and, if wanted, {region} in it: the "
        "link on a task's page. Empty: the vendor's console, if the endpoint is the vendor's",
        "schema": _OPTIONAL_TEXT,
    },
}
"""Fields of the connection's extra, by key. Any other key has no effect, and is warned of."""

CONNECTION_FORM: dict[str, Any] = {
    "connection-type": CONNECTION_TYPE,
    "hook-class-name": "airflow_provider_modelarts.hooks.modelarts.ModelArtsHook",
    "hook-name": INTEGRATION,
    "ui-field-behaviour": {
        "hidden-fields": ["schema"],
        "relabeling": {
            "host": "ModelArts endpoint",
            "login": "User or access key",
            "password": "Password, secret key or token",
        },
        "placeholders": {
            "host": "https://modelarts.cn-north-4.myhuaweicloud.com; empty: derived from the region",
            "port": "443",
            "login": "IAM user, or access key",
            "password": "IAM password, secret key, or token",
        },
    },
    "conn-fields": EXTRA_FIELDS,
}
"""The entry of this connection type in ``get_provider_info``: the form that Airflow shows."""
