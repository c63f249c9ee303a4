"""Decisions by sample id, packed: a plan of a million samples must fit beside everything else (B18)."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_modelarts.labeling.policy import Decision


class PlanIndex:
    """Decisions by sample id, in about 35 bytes per proposal (B18).

    Each bucket is a run of records of fixed width; looking one up is a search for its key in a few kilobytes.
    """

    _RECORD = Struct("<16sQIB")
    _BUCKETS = 4096

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(self._BUCKETS)]
        self._decisions: list[Decision] = []
        self._codes: dict[Decision, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, sample_id: str) -> bool:
        key = _key(sample_id)
        return self._place(key) >= 0

    def add(self, sample_id: str, decision: Decision, mark: int) -> None:
        """Add a proposal at the next position.

        :param sample_id: its id
        :param decision: what to do with it
        :param mark: the fingerprint of its labels
        """
        key = _key(sample_id)
        code = self._codes.setdefault(decision, len(self._decisions))
        if code == len(self._decisions):
            self._decisions.append(decision)
        self._buckets[_bucket(key)] += self._RECORD.pack(key, mark, self._count, code)
        self._count += 1

    def find(self, sample_id: str) -> tuple[Decision, int, int] | None:
        """Return decision, fingerprint and position of a proposal; None if it is not in the plan."""
        key = _key(sample_id)
        place = self._place(key)
        if place < 0:
            return None
        _, mark, position, code = self._RECORD.unpack_from(self._buckets[_bucket(key)], place)
        return self._decisions[code], mark, position

    def _place(self, key: bytes) -> int:
        # 16 bytes of a hash are found nowhere but where they were put, so records need not be stepped through.
        return self._buckets[_bucket(key)].find(key)


def _key(sample_id: str) -> bytes:
    return blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _bucket(key: bytes) -> int:
    return key[0] << 4 | key[1] >> 4
