"""Ids, keys and tokens that look like the service's and come from one seed."""

from __future__ import annotations

import hashlib
import string

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _digest(seed: int, parts: tuple[object, ...]) -> bytes:
    return hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).digest()


def hex_id(seed: int, *parts: object) -> str:
    """Return 32 hex characters: samples, members, projects, users (contract 0, row "Ids")."""
    return _digest(seed, parts).hex()[:32]


def short_id(seed: int, *parts: object) -> str:
    """Return 19 base-62 characters: datasets, tasks, teams (contract 0, row "Ids")."""
    number = int.from_bytes(_digest(seed, parts), "big")
    characters = []
    for _ in range(19):
        number, remainder = divmod(number, 62)
        characters.append(_BASE62[remainder])
    return "".join(characters)


def secret(seed: int, *parts: object, length: int = 40) -> str:
    """Return a credential-like text of base-62 characters.

    :param length: how many characters, at most 2,000,000.
    """
    blocks = (short_id(seed, *parts, block) for block in range(length // 19 + 1))
    return "".join(blocks)[:length]
