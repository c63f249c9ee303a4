"""Paths of the object storage as requests write them."""

from __future__ import annotations

import re

from airflow_provider_modelarts.emulator.http.errors import refuse

_SCHEME = re.compile(r"(obs|s3):/")


def obs_path(text: str, *, code: str = "ModelArts.4374") -> str:
    """Return "/bucket/folder/..." of a path that may begin with `obs://` or `s3://` (contract 6.6).

    :param code: what a path of another form is refused with.
    :raises Refusal: that code, or 400 ModelArts.4315 for a double slash.
    """
    path = _SCHEME.sub("", text, count=1)
    if "//" in path:
        raise refuse("ModelArts.4315", text)
    if not re.fullmatch(r"/[^/]+/.*", path):
        raise refuse(code, text)
    return path


def obs_folder(text: str, *, code: str = "ModelArts.4374") -> str:
    """Return the path of a folder, with a slash at its end; see :func:`obs_path`."""
    path = obs_path(text, code=code)
    return path if path.endswith("/") else path + "/"
