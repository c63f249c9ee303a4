"""Paths of OBS for universal_pathlib, on which Airflow's own paths rest."""

from __future__ import annotations

from upath.implementations.cloud import CloudPath


class ObsPath(CloudPath):
    """A path such as ``obs://bucket/folder/file``."""

    __slots__ = ()
