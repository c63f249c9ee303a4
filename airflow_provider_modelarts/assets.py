"""Datasets of ModelArts as assets of Airflow: ``modelarts://REGION/PROJECT/DATASET``, or a version below that.

Airflow finds the functions by the provider's description. Standard library only, until a function needs more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset

SCHEME = "modelarts"

_FORM = f"{SCHEME}://REGION/PROJECT/DATASET, or {SCHEME}://REGION/PROJECT/DATASET/VERSION"
_REGION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class DatasetUri(NamedTuple):
    """A dataset, or one version of it, as assets and lineage name it.

    :param region: such as ``cn-north-4``; where an installation has none, the host name of its endpoint
    :param project_id: the project
    :param dataset_id: the dataset
    :param version_id: id of a version, not its name: a name may be given again after its version was deleted. None: the
        dataset itself
    """

    region: str
    project_id: str
    dataset_id: str
    version_id: str | None = None

    @classmethod
    def of(cls, region: str, project_id: str, dataset_id: str, version_id: str | None = None) -> Self:
        """Return the URI of checked parts.

        :raises ValueError: naming the first part that a URI cannot hold
        """
        parts = (("region", region, _REGION), ("project", project_id, _ID), ("dataset", dataset_id, _ID))
        for name, value, pattern in (*parts, *([] if version_id is None else [("version", version_id, _ID)])):
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise ValueError(f"{value!r} is no {name}. Write {_FORM}, with ids as the console shows them.")
        return cls(region.lower(), project_id, dataset_id, version_id)

    @property
    def namespace(self) -> str:
        """The namespace of the dataset in lineage."""
        return f"{SCHEME}://{self.region}/{self.project_id}"

    @property
    def name(self) -> str:
        """The name within the namespace."""
        return self.dataset_id if self.version_id is None else f"{self.dataset_id}/{self.version_id}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the URI of an asset in the one form that it has; Airflow calls this for each ``modelarts://`` asset.

    Two spellings of one dataset would be two assets, and a DAG scheduled on one never hears of the other.

    :param uri: as Airflow has split it
    :raises ValueError: for any other form: a missing part, a template, a user, a port, a query
    """
    if uri.query or uri.fragment or "@" in uri.netloc or ":" in uri.netloc:
        raise ValueError(f"The URI of a {SCHEME} asset has no user, port, query or fragment. Write {_FORM}.")
    parts = uri.path.removeprefix("/").split("/")
    if len(parts) not in (2, 3):
        raise ValueError(f"The URI of a {SCHEME} asset names {len(parts)} parts after the region. Write {_FORM}.")
    found = DatasetUri.of(uri.netloc, *parts)
    return uri._replace(scheme=SCHEME, netloc=found.region, path=f"/{found.project_id}/{found.name}")


def create_asset(
    *, region: str, project_id: str, dataset_id: str, version_id: str | None = None, **options: Any
) -> Asset:
    """Return the asset of a dataset, or of one version of it.

    :param region: such as ``cn-north-4``
    :param project_id: the project, as the operators use it
    :param dataset_id: the dataset
    :param version_id: a version; None: the dataset itself
    :param options: further parameters of Airflow's ``Asset``: ``name``, ``group``, ``extra`` ...
    :raises ValueError: naming the first part that a URI cannot hold
    """
    from airflow.sdk import Asset

    return Asset(uri=str(DatasetUri.of(region, project_id, dataset_id, version_id)), **options)


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Any:  # noqa: ARG001 - as Airflow calls it
    """Return the OpenLineage dataset of an asset, the same that the operators name in their lineage.

    :param asset: with a URI as :func:`sanitize_uri` leaves it
    :param lineage_context: not used
    """
    from urllib.parse import urlsplit

    from openlineage.client.event_v2 import Dataset

    parts = urlsplit(asset.uri)
    found = DatasetUri.of(parts.netloc, *parts.path.removeprefix("/").split("/"))
    return Dataset(namespace=found.namespace, name=found.name)
