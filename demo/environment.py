"""The settings of an Airflow that lives in one folder and reads nothing from the machine around it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE_DAGS = REPOSITORY / "example_dags"


def airflow_settings(home: Path, *, dags_folder: Path = EXAMPLE_DAGS) -> dict[str, str]:
    """Return the environment variables of such an Airflow.

    :param home: the folder that holds its metadata database, its logs and nothing of anybody else.
    :param dags_folder: where its DAG files lie.
    """
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A key of the form Fernet wants, so that connections lie encrypted in the database as in an installation.
        "AIRFLOW__CORE__FERNET_KEY": f"{secrets.token_urlsafe(32)}=",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_COLOR": "1",
        # Airflow's own processes talk over loopback, whatever proxy this machine uses otherwise.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def drop_inherited(environ: MutableMapping[str, str]) -> None:
    """Remove what the caller's shell says about Airflow: nothing here may depend on it or touch its database."""
    for name in [name for name in environ if name.startswith(("AIRFLOW_", "_AIRFLOW_", "__AIRFLOW_"))]:
        del environ[name]


def child_environment(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without its own Airflow settings and with ``settings``."""
    child = dict(environ)
    drop_inherited(child)
    child.update(settings)
    return child
