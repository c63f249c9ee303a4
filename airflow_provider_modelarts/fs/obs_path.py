"""Paths of OBS for universal_pathlib, on which Airflow's own paths rest."""

from __future__ import annotations

from upath._flavour import WrappedFileSystemFlavour
from upath.implementations.cloud import CloudPath

from airflow_provider_modelarts.fs.obs_filesystem import ObsFileSystem


class ObsPath(CloudPath):
    """A path such as ``obs://bucket/folder/file``."""

    __slots__ = ()

    # universal_pathlib knows for a few schemes how their paths are cut into bucket and key, and takes another way for
    # all others: names lose their first letter, parents their bucket. No public way leads there; a test holds it.
    parser = WrappedFileSystemFlavour(ObsFileSystem, netloc_is_anchor=True, supports_empty_parts=True)
