"""Where the services of a region are reached, as far as that is known. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# The first row that fits the region counts. Elsewhere an installation has a domain of its own, which nobody can guess.
_DOMAINS: tuple[tuple[str, str], ...] = (
    (r"eu-west-101", "myhuaweicloud.eu"),
    (r"eu-(de|nl)", "otc.t-systems.com"),
    (r"(cn|ap|af|la|na|sa|tr|me|ae|my)-[a-z]+\d*(-\d+)?|ru-northwest-\d+", "myhuaweicloud.com"),
)

_HOST = re.compile(r"modelarts\.([a-z0-9-]+)\.[^.]+\..+")


def region_of(name: str) -> str:
    """Return the region that a name begins with: a project within it is named ``{region}_{name}``."""
    return name.partition("_")[0]


def region_at(endpoint: str) -> str:
    """Return the region that the address of ModelArts names, or its host name if that names none."""
    host = urlsplit(endpoint).hostname or ""
    named = _HOST.fullmatch(host)
    return named[1] if named else host


def address_of(service: str, region: str) -> str | None:
    """Return the base URL of a service.

    :param service: ``modelarts`` or ``iam``
    :param region: a region, or the name of a project within it
    :return: a URL; None if it is not known under which domain the region is
    """
    region = region_of(region).lower()
    domain = next((domain for pattern, domain in _DOMAINS if re.fullmatch(pattern, region)), None)
    return domain and f"https://{service}.{region}.{domain}"
